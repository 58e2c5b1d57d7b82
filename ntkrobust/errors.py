"""What users meet when something can't be done: bad input, or results that can't be written."""


class InputError(ValueError):
    """Input that can't be used: one sentence that says what was expected and what arrived.

    It is raised before any long work. The command line prints it on stderr and exits with status 2.
    """


class NotWrittenError(OSError):
    """A file could not be written: one sentence that says which, and why. What stood in its place is still there.

    The command line prints it on stderr and exits with status 2, after the results themselves.

    Attributes:
        found: what was to be written, such as the :class:`~ntkrobust.workflow.Verdicts`; None if it was a single file.
    """

    def __init__(self, sentence: str, found: object = None) -> None:
        super().__init__(sentence)
        self.found = found
