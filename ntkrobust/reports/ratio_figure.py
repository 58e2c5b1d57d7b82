"""The plot that shows an equality or a bound: measured over stated, cell by cell, against the line at one.

Where a bound leaves its constant open there is no such line: what counts is whether measured over bound grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ntkrobust.reports import axes as scales
from ntkrobust.reports import marks, words
from ntkrobust.reports.facets import Cell, Facet, facets, interval_of, main_axis, panel_axis, values_of
from ntkrobust.reports.palette import LIGHT
from ntkrobust.reports.picture import Picture

_PANELS_PER_ROW = 4
_LINEAR_UP_TO = 3.0
_THEORY: dict[str, Any] = {"color": LIGHT["ink"], "marker": "_", "ls": "none", "ms": 9, "mew": 1.2}


def draw_ratios(verdict: Mapping[str, Any], quantity: str) -> Figure:
    """Draw a verdict on an equality or a bound.

    Args:
        verdict: as ``verdicts.json`` describes it.
        quantity: the measure, as the label of an axis.
    """
    cells = verdict["cells"]
    axis = main_axis(cells)
    by_panel = panel_axis(cells, axis)
    panels: dict[Any, list[Cell]] = {}
    for cell in cells:
        panels.setdefault(None if by_panel is None else cell["coordinates"][by_panel], []).append(cell)
    rows = math.ceil(len(panels) / _PANELS_PER_ROW)
    columns = min(len(panels), _PANELS_PER_ROW)
    figure = Picture(figsize=(6.2, 1.25 + 2.1 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    low, high, log = _limits(verdict)
    groups: list[Facet] = []
    for axes, (position, (value, members)) in zip(grid, enumerate(panels.items()), strict=False):
        groups = facets(members, axis)
        _draw_panel(axes, groups, values_of(cells, axis), axis, verdict)
        _set_x_axis(axes, values_of(cells, axis), axis, inches=5.2 / columns)
        scales.scale(axes, "y", low, high, log=log)
        _shade(axes, verdict, low, high)
        # The lowest panel of each column has labels, also where the last row is not full.
        lowest = position + columns >= len(panels)
        axes.xaxis.label.set_visible(lowest)
        axes.tick_params(labelbottom=lowest, labelleft=position % columns == 0)
        if by_panel is not None:
            axes.set_title(words.coordinates([(by_panel, value)]), fontsize=8.5)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.supylabel(f"{quantity}\nmeasured / {words.stated_name(verdict['relation'])}", fontsize=9, parse_math=True)
    figure.suptitle(words.headline(verdict["effect"]), x=0.01, ha="left", fontsize=9)
    marks.draw_legend(figure, _legend(verdict, groups))
    return figure


def _ratio(cell: Cell) -> tuple[float | None, list[float] | None]:
    """Mean and interval of a cell in units of what is stated there."""
    stated = cell["reference"]
    if stated is None or stated <= 0 or cell["mean"] is None:
        return None, None
    interval = interval_of(cell)
    return cell["mean"] / stated, None if interval is None else [end / stated for end in interval]


def _theory(cell: Cell) -> float | None:
    """The theory of a cell in units of what is stated there."""
    return None if cell["theory"] is None or not cell["reference"] else cell["theory"] / cell["reference"]


def _has_own_theory(cells: Sequence[Cell]) -> bool:
    """Whether the theory says anything besides what is stated."""
    return any(not math.isclose(ratio, 1.0) for ratio in map(_theory, cells) if ratio is not None)


def _limits(verdict: Mapping[str, Any]) -> tuple[float, float, bool]:
    """Limits that hold all ratios and the line at one, and whether they call for logarithms."""
    cells = verdict["cells"]
    kind = verdict["relation"]["kind"]
    values = [] if kind in _OPEN else [1.0]
    for cell in cells:
        ratio, interval = _ratio(cell)
        values += [value for value in (ratio, *(interval or ()), _theory(cell)) if value is not None]
    values += {"at_most": [1.05], "at_least": [0.95]}.get(kind, [])
    if kind == "equals":
        values += [1 + 1.2 * verdict["relation"]["margin"], 1 - 1.2 * verdict["relation"]["margin"]]
    values = values or [1.0]
    positive = [value for value in values if value > 0]
    log = len(positive) == len(values) and max(values) / min(values) > _LINEAR_UP_TO
    return *scales.padded(values, log=log), log


def _draw_panel(
    axes: Axes, groups: Sequence[Facet], values: Sequence[Any], axis: str, verdict: Mapping[str, Any]
) -> None:
    """The cells side by side at evenly spaced places, one place for each value of the axis."""
    places = {value: place for place, value in enumerate(values)}
    open_constant = verdict["relation"]["kind"] in _OPEN
    with_theory = _has_own_theory(verdict["cells"])
    for index, group in enumerate(groups):
        shift = 0.55 * ((index + 0.5) / len(groups) - 0.5)
        if open_constant:
            shifted = {value: place + shift for value, place in places.items()}
            _connect(axes, group, shifted, axis, marks.style_of(index)["color"])
        for cell in group.cells:
            at = places[cell["coordinates"][axis]] + shift
            ratio, interval = _ratio(cell)
            marks.draw_cell(axes, at, ratio, interval, cell, marks.style_of(index))
            theory = _theory(cell)
            if with_theory and theory is not None:
                axes.plot([at], [theory], zorder=4, **_THEORY)
            if cell["coordinates"] == verdict["counterexample"] and ratio is not None:
                marks.ring(axes, at, ratio)


def _connect(axes: Axes, group: Facet, places: Mapping[Any, float], axis: str, colour: str) -> None:
    """A thin line through the ratios that count: it is their growth that is judged."""
    ratios = {cell["coordinates"][axis]: _ratio(cell)[0] for cell in group.cells if marks.counts(cell)}
    known = {places[value]: ratio for value, ratio in ratios.items() if ratio is not None}
    axes.plot(list(known), list(known.values()), lw=0.9, alpha=0.7, color=colour, zorder=2)


def _set_x_axis(axes: Axes, values: Sequence[Any], axis: str, inches: float) -> None:
    axes.set_xlim(-0.6, len(values) - 0.4)
    labels = [words.axis_value(value) for value in values]
    kept = scales.spaced(range(len(values)), labels, len(values) + 0.2, inches)
    scales.set_ticks(axes, "x", kept, [labels[index] for index in kept])
    axes.set_xlabel(words.axis_name(axis))


def _shade(axes: Axes, verdict: Mapping[str, Any], low: float, high: float) -> None:
    """The line at one, and what the statement allows (an equality) or excludes (a bound)."""
    kind = verdict["relation"]["kind"]
    if kind not in _OPEN:
        axes.axhline(1.0, color=LIGHT["ink"], lw=0.9, zorder=0.5)
    if kind == "at_most":
        axes.axhspan(1.0, high, zorder=0, **_EXCLUDED)
    elif kind == "at_least":
        axes.axhspan(low, 1.0, zorder=0, **_EXCLUDED)
    elif kind == "equals":
        margin = verdict["relation"]["margin"]
        axes.axhspan(max(low, 1 - margin), 1 + margin, zorder=0, **_ALLOWED)
    axes.grid(axis="y")


def _legend(verdict: Mapping[str, Any], groups: Sequence[Facet]) -> list[Line2D | Patch]:
    cells = verdict["cells"]
    entries: list[Line2D | Patch] = []
    if len(groups) > 1:
        for index, group in enumerate(groups):
            name = words.coordinates(group.fixed.items())
            entries.append(Line2D([], [], ls="none", ms=5, label=name, **marks.style_of(index)))
    refuted = verdict["counterexample"] is not None
    entries += marks.legend_entries(cells, refuted, None if len(groups) > 1 else marks.style_of(0))
    if _has_own_theory(cells):
        entries.append(Line2D([], [], label=verdict["theory_label"] or "theory", **_THEORY))
    kind = verdict["relation"]["kind"]
    if kind in ("at_most", "at_least"):
        entries.append(Patch(label=f"{'above' if kind == 'at_most' else 'below'} the bound", **_EXCLUDED))
    elif kind == "equals":
        entries.append(Patch(label=f"stated value ± {verdict['relation']['margin']:.0%}", **_ALLOWED))
    return entries


_OPEN = ("order_at_most", "order_at_least")
_ALLOWED: dict[str, Any] = {"color": LIGHT["supported"], "alpha": 0.13, "lw": 0}
_EXCLUDED: dict[str, Any] = {"color": LIGHT["refuted"], "alpha": 0.13, "lw": 0}
