"""What stands for a cell in a figure: its mean, and what says that it doesn't count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkrobust.reports.facets import Cell
from ntkrobust.reports.palette import LIGHT, SERIES

_ROW = 0.17  # inches

MARKERS = ("o", "s", "^", "D", "v", "P")


def style_of(index: int) -> dict[str, Any]:
    """Colour and marker of a series. Markers differ too, for eyes and printers that tell no colours apart."""
    turn = index // len(SERIES)
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[(index + turn) % len(MARKERS)]}


def counts(cell: Cell) -> bool:
    """Whether the verdict rests on the cell."""
    return cell["in_scope"] and is_usable(cell)


def is_usable(cell: Cell) -> bool:
    """Whether the cell has a mean to show: its networks got where they should, and there are at least two."""
    return not cell["problem"] and cell["mean"] is not None


def is_left_out(cell: Cell) -> bool:
    """Whether nothing was run, because the cell's coordinates alone put it out of scope."""
    return not cell["in_scope"] and not cell["problem"] and cell["networks"] == 0


def draw_cell(
    axes: Axes, x: float, value: float | None, interval: Sequence[float] | None, cell: Cell, style: Mapping[str, Any]
) -> None:
    """A value with its interval: filled where the cell counts, hollow and grey where it is out of scope; where there
    is none, a cross at the foot of the panel.
    """
    if is_left_out(cell):
        return
    if value is None or not is_usable(cell):
        axes.plot([x], [0.09], transform=axes.get_xaxis_transform(), zorder=4, **_UNUSABLE)
        return
    look = dict(style) if counts(cell) else {**style, **_OUT_OF_SCOPE}
    bars = None if interval is None else [[value - interval[0]], [interval[1] - value]]
    axes.errorbar([x], [value], bars, ms=5, capsize=2.5, elinewidth=1.2, capthick=1.2, ls="none", zorder=3, **look)


def ring(axes: Axes, x: float, y: float) -> None:
    """Point at the cell that refutes."""
    axes.plot([x], [y], zorder=5, **_RING)


def jitter(n: int) -> np.ndarray:
    """n numbers that fill [−1/2, 1/2] evenly, however many there are: multiples of the golden ratio."""
    return (np.arange(n) * 0.6180339887498949) % 1 - 0.5


def draw_legend(figure: Figure, entries: Sequence[Artist]) -> None:
    """A legend below everything, in as many columns as its texts leave room for. The figure grows by its rows.

    Where nothing is drawn there is nothing to explain, and no legend.
    """
    if not entries:
        return
    widths = [4.7 * len(str(entry.get_label())) + 42 for entry in entries]  # points: the text, its mark, some air
    columns = len(entries)
    while columns > 1 and sum(_column_widths(widths, columns)) > 72 * figure.get_figwidth():
        columns -= 1
    figure.set_figheight(figure.get_figheight() + _ROW * (math.ceil(len(entries) / columns) - 1))
    figure.legend(handles=list(entries), loc="outside lower left", ncols=columns)


def _column_widths(widths: Sequence[float], columns: int) -> list[float]:
    """Legends fill columns from the top, as evenly as they can, the first ones longer."""
    return [max(map(float, part)) for part in np.array_split(widths, columns)]


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
        entries.append(Line2D([], [], label="counterexample", **_RING | {"ms": 8}))
    if any(is_usable(cell) and not cell["in_scope"] for cell in cells):
        entries.append(Line2D([], [], ms=5, ls="none", marker="o", label="out of scope", **_OUT_OF_SCOPE))
    if not all(is_usable(cell) or is_left_out(cell) for cell in cells):
        entries.append(Line2D([], [], label="unusable cell", **_UNUSABLE))
    return entries


_OUT_OF_SCOPE: dict[str, Any] = {"color": LIGHT["out-of-scope"], "mfc": LIGHT["paper"]}
_UNUSABLE: dict[str, Any] = {"color": LIGHT["out-of-scope"], "marker": "x", "ms": 6, "mew": 1.5, "ls": "none"}
_RING: dict[str, Any] = {"color": LIGHT["refuted"], "marker": "o", "mfc": "none", "ms": 12, "mew": 1.3, "ls": "none"}
