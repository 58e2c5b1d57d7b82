"""Figures that can't be drawn: each says so in its place, the rest of the page stands, and a warning names them."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Literal

from ntkrobust.errors import UndrawnWarning, one_line
from ntkrobust.files.atomic import named


class Drawings:
    """Draws the figures of a page.

    Attributes:
        undrawn: the names of those that could not be drawn, each with its cause.
    """

    def __init__(self) -> None:
        self.undrawn: dict[str, str] = {}

    def draw(self, name: str, figure: Callable[[], str], element: Literal["p", "svg"] = "p") -> str:
        """A figure as an ``svg`` element, or a sentence in its place: a paragraph, or again an ``svg`` element."""
        try:
            return figure()
        except Exception as error:
            # Whatever it is, it must not take the verdicts with it.
            self.undrawn[name] = cause(error)
        sentence = f"This figure could not be drawn ({escape(self.undrawn[name])})."
        return f'<p class="undrawn">{sentence}</p>' if element == "p" else sentence_svg(sentence)


def drawn(figure: Callable[[], str]) -> str:
    """A figure as an ``svg`` element, or a paragraph that says why there is none, where nobody else is to know."""
    return Drawings().draw("", figure)


def sentence_svg(sentence: str) -> str:
    """A sentence, given as HTML, as an ``svg`` element that stands for a figure."""
    size = 'xmlns="http://www.w3.org/2000/svg" width="960" height="40"'
    return f'<svg {size} role="img" aria-label="{sentence}"><text x="10" y="25" font-size="14">{sentence}</text></svg>'


def cause(error: Exception) -> str:
    """What went wrong, in one line: ``ZeroDivisionError: division by zero``."""
    return ": ".join(filter(None, (type(error).__name__, one_line(str(error), 200))))


def tell(undrawn: Mapping[str, str], file: Path) -> None:
    """Warn of the figures that a file lacks; nothing where it lacks none.

    Args:
        undrawn: name → cause.
        file: in the folder that ``ntkrobust report`` takes.
    """
    if undrawn:
        # Claims that fail alike are named together.
        by_cause: dict[str, list[str]] = {}
        for name, why in undrawn.items():
            by_cause.setdefault(why, []).append(name)
        which = "; ".join(f"{', '.join(names)} ({why})" for why, names in by_cause.items())
        warn(f"{named(file)} lacks what could not be drawn: {which}", file.parent)


def warn(sentence: str, folder: Path) -> None:
    """Warn that something of a folder could not be drawn, and name the command that draws it again."""
    again = f"ntkrobust report {shlex.quote(str(folder))}"
    warnings.warn(UndrawnWarning(f"{sentence}; all else is there, and `{again}` draws again"), stacklevel=2)
