"""What users meet when something can't be done: bad input, or results that can't be written."""

LONGEST = 4000
"""Characters of a sentence that are kept: what arrived may be long, and belongs into it."""


class InputError(ValueError):
    """Input that can't be used: one sentence that says what was expected and what arrived.

    It is raised before any long work. The command line prints it on stderr and exits with status 2. Whatever text the
    sentence quotes, it is one line of printable characters: others are written as their escapes.
    """

    def __init__(self, sentence: object = "") -> None:
        super().__init__(one_line(str(sentence)))


class NotWrittenError(OSError):
    """A file could not be written: one sentence that says which, and why. What stood in its place is still there.

    The command line prints it on stderr and exits with status 2, after the results themselves.

    Attributes:
        found: what was to be written, such as the :class:`~ntkrobust.workflows.verify.Verdicts`; None if it was a
            single file.
    """

    def __init__(self, sentence: str, found: object = None) -> None:
        super().__init__(one_line(sentence))
        self.found = found


class UndrawnWarning(UserWarning):
    """A figure could not be drawn: one sentence that says which, why, and how to draw it again.

    In its place stands a sentence, and all else is written. The command line prints the warning on stderr, and exits
    with status 3.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


def failed(what: str, error: Exception) -> InputError:
    """That a user's own code fails, and how, by the first line of what it says; to be raised from the error."""
    sentence = str(error).strip().partition("\n")[0]
    return InputError(f"{what} fails: {type(error).__name__}: {sentence}")


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text with single spaces, unprintable characters as escapes, and its middle left out if it is long."""
    line = printable(" ".join(text.split()))
    if len(line) <= longest:
        return line
    end = longest // 4
    return f"{line[: longest - end - 3]} … {line[-end:]}"


def printable(text: str) -> str:
    """The text with what a terminal would act upon, or can't encode, written as escapes: ``\\x1b[31m`` stays text.

    Control and format characters (such as those that turn the direction of writing), surrogates and characters without
    an assignment are unprintable in this sense; letters and signs of any script are not. Line ends are kept out, too.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
