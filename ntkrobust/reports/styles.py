"""Figures of the size and in the letters of a publication."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ntkrobust.errors import InputError
from ntkrobust.reports.svg import drawing


@dataclasses.dataclass(frozen=True)
class Style:
    """How figures are made.

    Attributes:
        width: of a figure, in inches.
        size: of its letters, in points; None leaves everything as the report has it.
        serif: whether letters are like Times.
    """

    width: float
    size: float | None = None
    serif: bool = True

    def settings(self) -> dict[str, Any]:
        """What it asks of matplotlib."""
        if self.size is None:
            return {}
        small = self.size - 1
        return {
            "font.family": "STIXGeneral" if self.serif else "DejaVu Sans",  # both come with matplotlib
            "mathtext.fontset": "stix" if self.serif else "dejavusans",
            "font.size": self.size,
            "axes.labelsize": self.size,
            "axes.titlesize": self.size,
            "xtick.labelsize": small,
            "ytick.labelsize": small,
            "legend.fontsize": small,
            "figure.figsize": (self.width, self.height),
            "figure.constrained_layout.use": True,
        }

    @property
    def height(self) -> float:
        """Inches of a figure with one panel, in golden proportion."""
        return self.width / 1.618

    def fitted(self, figure: Figure) -> Figure:
        """A figure of the report, as wide as the style has it and as much less high."""
        if self.size is not None:
            width, height = figure.get_size_inches()
            figure.set_size_inches(self.width, max(height * self.width / width, self.height))
        return figure


OWN = Style(6.2, serif=False)
"""That of the report."""

STYLES = {
    "neurips": Style(5.5, 9),
    "iclr": Style(5.5, 9),
    "icml": Style(3.25, 8),
    "icml-wide": Style(6.75, 9),
    "aistats": Style(3.25, 8),
    "aistats-wide": Style(6.75, 9),
    "jmlr": Style(6.0, 10),
    "colt": Style(6.0, 10),
    "tmlr": Style(6.5, 9),
    "slides": Style(9.0, 16, serif=False),
}
"""Widths of the text, or of a column, that the style files of venues set; ``-wide`` goes over both columns."""

_ACTIVE: ContextVar[Style | None] = ContextVar("style of figures", default=None)


def style_named(name: str, width: float | None = None) -> Style:
    """A style by its name, with another width if one is given.

    Raises:
        InputError: there is none of this name.
    """
    if name not in STYLES:
        raise InputError(f"a style must be one of {', '.join(STYLES)}, got {name!r:.60}")
    return STYLES[name] if width is None else dataclasses.replace(STYLES[name], width=width)


@contextmanager
def active(style: Style) -> Iterator[Style]:
    """Inside, plots are made in this style, and so is what one draws with matplotlib oneself."""
    token = _ACTIVE.set(style)
    try:
        with drawing(), matplotlib.rc_context():
            matplotlib.rcParams.update(style.settings())  # type: ignore[arg-type]
            yield style
    finally:
        _ACTIVE.reset(token)


@contextmanager
def plotting() -> Iterator[Style]:
    """Inside, a figure is made in the style that is active, or in that of the report."""
    style = _ACTIVE.get()
    if style is None:
        with drawing():
            yield OWN
    else:  # with what the user has set besides
        yield style
