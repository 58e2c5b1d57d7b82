"""What stands for a cell in a figure: its mean, and what says that it doesn't count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ntkrobust.reports.facets import Cell
from ntkrobust.reports.palette import LIGHT, SERIES

MARKERS = ("o", "s", "^", "D", "v", "P")


def style_of(index: int) -> dict[str, Any]:
    """Colour and marker of a series. Markers differ too, for eyes and printers that tell no colours apart."""
    turn = index // len(SERIES)
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[(index + turn) % len(MARKERS)]}


def counts(cell: Cell) -> bool:
    """Whether the verdict rests on the cell."""
    return cell["in_scope"] and not cell["problem"]


def draw_cell(
    axes: Axes, x: float, value: float | None, interval: Sequence[float] | None, cell: Cell, style: Mapping[str, Any]
) -> None:
    """A value with its interval: filled where the cell counts, hollow and grey where it is out of scope; where there
    is none, a cross at the foot of the panel.
    """
    if value is None or cell["problem"]:
        axes.plot([x], [0.09], transform=axes.get_xaxis_transform(), zorder=4, **_UNUSABLE)
        return
    look = dict(style) if counts(cell) else {**style, **_OUT_OF_SCOPE}
    bars = None if interval is None else [[value - interval[0]], [interval[1] - value]]
    axes.errorbar([x], [value], bars, ms=5, capsize=2.5, elinewidth=1.2, capthick=1.2, ls="none", zorder=3, **look)


def ring(axes: Axes, x: float, y: float) -> None:
    """Point at the cell that refutes."""
    axes.plot([x], [y], zorder=5, **_COUNTEREXAMPLE)


def jitter(n: int) -> np.ndarray:
    """n numbers that fill [−1/2, 1/2] evenly, however many there are: multiples of the golden ratio."""
    return (np.arange(n) * 0.6180339887498949) % 1 - 0.5


def legend_entries(cells: Sequence[Cell], counterexample: bool, style: Mapping[str, Any] | None) -> list[Line2D]:
    """Entries for the marks that occur.

    Args:
        cells: the cells drawn.
        counterexample: whether one is ringed.
        style: of the means, or None if each series has its own entry.
    """
    entries = []
    if style is not None and any(counts(cell) for cell in cells):
        entries.append(Line2D([], [], ms=5, lw=1, label="mean, 95 % interval", **style))
    if counterexample:
        entries.append(Line2D([], [], label="counterexample", **_COUNTEREXAMPLE | {"ms": 8}))
    if any(not cell["in_scope"] and not cell["problem"] for cell in cells):
        entries.append(Line2D([], [], ms=5, ls="none", marker="o", label="out of scope", **_OUT_OF_SCOPE))
    if any(cell["problem"] for cell in cells):
        entries.append(Line2D([], [], label="unusable cell", **_UNUSABLE))
    return entries


_OUT_OF_SCOPE = {"color": LIGHT["out-of-scope"], "mfc": LIGHT["paper"]}
_UNUSABLE = {"color": LIGHT["out-of-scope"], "marker": "x", "ms": 6, "mew": 1.5, "ls": "none"}
_COUNTEREXAMPLE = {"color": LIGHT["refuted"], "marker": "o", "mfc": "none", "ms": 12, "mew": 1.3, "ls": "none"}
