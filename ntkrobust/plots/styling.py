"""Colours that stay, and the sizes that venues ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib

from ntkrobust.checks import check_number, check_text
from ntkrobust.errors import InputError
from ntkrobust.reports.marks import MARKERS
from ntkrobust.reports.palette import SERIES
from ntkrobust.reports.styles import active, plotting, style_named

NAMED = ("he", "lecun", "ntk", "xavier", "mean_field")
"""Initializations whose colours are theirs alone as far as these reach."""


def colour_of(initialization: str) -> str:
    """The colour that an initialization has in every plot, ``#rrggbb``.

    Raises:
        InputError: it is none of he, lecun, ntk, xavier and mean_field, which have one.
    """
    if check_text("initialization", initialization) not in NAMED:
        raise InputError(f"these have a colour of their own: {', '.join(NAMED)}; got {initialization!r:.60}")
    return SERIES[NAMED.index(initialization)]


def looks(names: Sequence[Any]) -> list[dict[str, Any]]:
    """Colour and marker of each curve: numbers from dark to light, in their order; initializations always the same.

    Other names take what is left, in the order in which they come.
    """
    if len(names) > 1 and all(isinstance(name, int | float) for name in names):
        order = sorted(names)
        shades = matplotlib.colormaps["cividis"]
        # The last quarter is too light for a line on paper.
        places = [0.75 * order.index(name) / (len(order) - 1) for name in names]
        return [
            {"color": shades(place), "marker": MARKERS[order.index(name) % len(MARKERS)]}
            for place, name in zip(places, names, strict=True)
        ]
    taken = [NAMED.index(name) for name in names if name in NAMED]
    free = [index for index in range(len(names) + len(NAMED)) if index not in taken]
    found = []
    for name in names:
        index = NAMED.index(name) if name in NAMED else free.pop(0)
        turn = index // len(SERIES)
        found.append({"color": SERIES[index % len(SERIES)], "marker": MARKERS[(index + turn) % len(MARKERS)]})
    return found


@contextmanager
def style(name: str, *, width: float | None = None) -> Iterator[None]:
    """Inside, figures have the width, the letters and the type of a publication; so have those drawn by hand.

    Args:
        name: ``neurips``, ``iclr`` (5.5 inches wide), ``icml``, ``aistats`` (a column of 3.25; 6.75 with ``-wide``
            behind the name), ``jmlr``, ``colt`` (6), ``tmlr`` (6.5) or ``slides`` (9, larger letters): the widths of
            the text from recollection of the venues' style files. LaTeX says what it is: ``\\the\\textwidth``.
        width: of figures, in inches, where it is another one.

    Raises:
        InputError: there is no such style, or the width is not positive.
    """
    if width is not None and check_number("width", width) <= 0:
        raise InputError(f"width must be positive, got {width}")
    with active(style_named(check_text("name", name), width)):
        yield


def size(rows: float = 1.0, columns: float = 1.0) -> tuple[float, float]:
    """Width and height in inches of a figure of so many rows of panels, in the style that is active.

    Args:
        rows: of panels, one above the other.
        columns: share of the width that the figure takes.

    Raises:
        InputError: one is not positive.
    """
    for what, given in (("rows", rows), ("columns", columns)):
        if check_number(what, given) <= 0:
            raise InputError(f"{what} must be positive, got {given}")
    with plotting() as own:
        return own.width * columns, own.height * rows
