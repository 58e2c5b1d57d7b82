"""Figures that can't be drawn: each says so in its place, and the rest of the page stands."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Literal

from ntkrobust.errors import one_line


def drawn(draw: Callable[[], str], element: Literal["p", "svg"] = "p") -> str:
    """A figure as an ``svg`` element, or a sentence in its place: a paragraph, or again an ``svg`` element."""
    try:
        return draw()
    except Exception as error:
        # Whatever it is, it must not take the verdicts with it.
        sentence = f"This figure could not be drawn ({escape(cause(error))})."
    if element == "p":
        return f'<p class="undrawn">{sentence}</p>'
    size = 'xmlns="http://www.w3.org/2000/svg" width="960" height="40"'
    return f'<svg {size} role="img" aria-label="{sentence}"><text x="10" y="25" font-size="14">{sentence}</text></svg>'


def cause(error: Exception) -> str:
    """What went wrong, in one line: ``ZeroDivisionError: division by zero``."""
    return ": ".join(filter(None, (type(error).__name__, one_line(str(error), 200))))
