"""The plot that shows a trend: the measure against an axis, every network a dot, the theory a dashed line.

For a stated exponent a line of that slope is drawn beside the fitted one; a stated turning point is marked beside the
cell where the means turn.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkrobust.reports import axes as scales
from ntkrobust.reports import marks, words
from ntkrobust.reports.facets import Cell, Facet, facets, interval_of, values_of
from ntkrobust.reports.palette import LIGHT
from ntkrobust.reports.picture import Picture
from ntkrobust.reports.slopes import Slope, fit

DOTS = 60
"""Networks drawn per cell, the first so many."""

_THEORY: dict[str, Any] = {"ls": (0, (4, 2)), "lw": 1.2}
_FARTHEST = 3.0
"""Single networks are shown in place up to this factor beyond means, intervals and theory."""

_STATED: dict[str, Any] = {"color": LIGHT["supported"], "lw": 1.3, "ls": (0, (1, 1.5)), "zorder": 2.4}
_TURN: dict[str, Any] = {"color": LIGHT["ink"], "lw": 0.9, "ls": (0, (4, 2)), "zorder": 0.8}

_LOG_AXES = ("width", "n", "epsilon", "alpha")


@dataclasses.dataclass(frozen=True)
class _Line:
    """The axis of the trend: depth in steps, width and n in factors, any axis in factors for an exponent.

    Attributes:
        axis: its name.
        values: its values, increasing.
        log: whether it is one of factors.
    """

    axis: str
    values: tuple[float, ...]
    log: bool

    def position(self, cell: Cell) -> float:
        """Where a cell stands: at its value, or at its logarithm."""
        value = float(cell["coordinates"][self.axis])
        return math.log(value) if self.log else value

    def place(self, position: Any) -> Any:
        """From a position back to a value."""
        return np.exp(position) if self.log else position

    @property
    def gap(self) -> float:
        """The smallest distance between neighbours."""
        positions = [math.log(value) if self.log else value for value in self.values]
        return min((after - before for before, after in itertools.pairwise(positions)), default=1.0)

    def in_words(self, slope: Slope) -> str:
        """``exponent 0.045 [0.036, 0.053]``, or a factor per layer."""
        if self.log:
            return f"exponent {words.estimate(slope.value, (slope.low, slope.high))}"
        once = [math.exp(value) for value in (slope.value, slope.low, slope.high)]
        return f"×{words.estimate(once[0], once[1:])} per {'layer' if self.axis == 'depth' else self.axis}"


def draw_trend(verdict: Mapping[str, Any], measured: xr.Dataset, quantity: str) -> Figure:
    """Draw a verdict on a trend.

    Args:
        verdict: as ``verdicts.json`` describes it.
        measured: the group ``measured`` of the evidence.
        quantity: the measure, as the label of an axis.
    """
    cells = verdict["cells"]
    axis = verdict["relation"]["axis"]
    values = tuple(sorted(float(value) for value in values_of(cells, axis)))
    kind = verdict["relation"]["kind"]
    line = _Line(axis, values, log=(axis in _LOG_AXES or kind == "scales_as") and values[0] > 0)
    groups = facets(cells, axis)
    networks = [_networks(cell, verdict["measure"]["name"], measured) for group in groups for cell in group.cells]
    low, high, log = _limits(cells, networks)

    figure = Picture(figsize=(6.2, 3.75), layout="constrained")
    axes = figure.add_subplot()
    scales.scale(axes, "y", low, high, log=log)
    axes.set_ylabel(quantity, parse_math=True)
    axes.grid(axis="y")
    _set_x_axis(axes, line)
    remaining = iter(networks)
    for index, group in enumerate(groups):
        style = marks.style_of(index)
        shift = line.gap * 0.4 * ((index + 0.5) / len(groups) - 0.5)
        for cell in group.cells:
            at = line.position(cell) + shift
            colour = style["color"] if marks.counts(cell) else LIGHT["out-of-scope"]
            _draw_networks(axes, next(remaining), line, at, 0.3 / len(groups), colour)
            marks.draw_cell(axes, line.place(at), cell["mean"], interval_of(cell), cell, style)
            if cell["coordinates"] == verdict["counterexample"] and cell["mean"] is not None:
                marks.ring(axes, line.place(at), cell["mean"])
        _connect(axes, group, line, shift, style["color"])
        _draw_theory(axes, group, line, LIGHT["ink"] if len(groups) == 1 else style["color"])

        if kind == "scales_as":
            _draw_power(axes, group, line, shift, verdict["relation"]["power"])
        elif kind == "turns":
            _mark_turn(axes, group, line, shift, verdict["relation"]["sign"], style["color"])

    # A straight line says nothing about what turns; a stated exponent is compared with the one in the verdict.
    slopes = [None if kind in ("turns", "scales_as") else _slope(group, line) for group in groups]
    headline = words.headline(verdict["effect"])
    if len(groups) == 1 and slopes[0] is not None:
        headline += f"\nfitted {line.in_words(slopes[0])}"
    exponent = verdict["exponent"]
    if kind == "scales_as" and exponent is not None and exponent["name"] != (verdict["effect"] or exponent)["name"]:
        headline += f"\n{words.headline(exponent)} over the whole range"
    axes.set_title(headline.strip(), loc="left", fontsize=9, linespacing=1.6, pad=10)
    entries = []
    if len(groups) > 1:
        for index, (group, slope) in enumerate(zip(groups, slopes, strict=True)):
            name = words.coordinates(group.fixed.items()) + ("" if slope is None else f": {line.in_words(slope)}")
            entries.append(Line2D([], [], ms=5, lw=1, label=name, **marks.style_of(index)))
    beyond = sum(int(np.sum((values < low) | (values > high))) for values in networks)
    entries += _legend(verdict, len(groups) == 1, any(map(len, networks)), beyond)
    marks.draw_legend(figure, entries)
    return figure


def _networks(cell: Cell, measure: str, measured: xr.Dataset) -> np.ndarray:
    """(n,) the first networks of a cell."""
    if measure not in measured:
        return np.empty(0)
    values = measured[measure].to_numpy()[cell["evidence_cell"], : min(DOTS, cell["networks"])]
    return values[np.isfinite(values)]


def _slope(group: Facet, line: _Line) -> Slope | None:
    used = list(filter(marks.counts, group.cells))
    means, intervals = [cell["mean"] for cell in used], [interval_of(cell) for cell in used]
    known = [interval for interval in intervals if interval is not None]
    if not used or len(known) < len(used):
        return None
    return fit([line.position(cell) for cell in used], means, known)


def _limits(cells: Sequence[Cell], networks: Sequence[np.ndarray]) -> tuple[float, float, bool]:
    """Limits of the measure's axis, and whether it is logarithmic.

    They hold all means, intervals and theory, and single networks that are not too far off: one dead network must not
    press everything else into a corner.
    """
    single = np.concatenate(networks)
    log = all(cell["mean"] is None or cell["mean"] > 0 for cell in cells)
    fixed = [cell["theory"] for cell in cells if cell["theory"] is not None]
    for cell in cells:
        if cell["mean"] is not None:
            # An interval may reach to zero and beyond; on a logarithmic axis it then leaves the picture.
            fixed += [cell["mean"], *(max(end, cell["mean"] / 10) if log else end for end in interval_of(cell) or ())]
    if log:
        fixed, single = [value for value in fixed if value > 0], single[single > 0]
    fixed = fixed or ([float(np.median(single))] if len(single) else [1.0])
    low, high = min(fixed), max(fixed)
    air = 2 * (high - low)
    near = (low / _FARTHEST, high * _FARTHEST) if log else (low - air, high + air)
    return *scales.padded([low, high, *single[(near[0] <= single) & (single <= near[1])]], log=log), log


def _set_x_axis(axes: Axes, line: _Line) -> None:
    positions = [math.log(value) if line.log else value for value in line.values]
    ends = line.place(positions[0] - 0.4 * line.gap), line.place(positions[-1] + 0.4 * line.gap)
    scales.scale(axes, "x", *ends, log=line.log)
    labels = [words.tick(value) for value in line.values]
    kept = scales.spaced(positions, labels, positions[-1] - positions[0] + 0.8 * line.gap, inches=5.2)
    scales.set_ticks(axes, "x", [line.values[index] for index in kept], [labels[index] for index in kept])
    axes.set_xlabel(words.axis_name(line.axis))


def _draw_networks(axes: Axes, values: np.ndarray, line: _Line, centre: float, spread: float, colour: str) -> None:
    """A dot for each network; at the edge, an arrow for those beyond it."""
    low, high = axes.get_ylim()
    at = line.place(centre + marks.jitter(len(values)) * spread * line.gap)
    look: dict[str, Any] = {"ls": "none", "mew": 0, "alpha": 0.3, "color": colour, "zorder": 1}
    for which, height, marker, size in (
        ((low <= values) & (values <= high), values, "o", 3.2),
        (values < low, np.full(len(values), low), "v", 4.5),
        (values > high, np.full(len(values), high), "^", 4.5),
    ):
        if which.any():
            axes.plot(at[which], height[which], marker=marker, ms=size, clip_on=False, **look)


def _connect(axes: Axes, group: Facet, line: _Line, shift: float, colour: str) -> None:
    """A thin line through the means that count."""
    used = list(filter(marks.counts, group.cells))
    at = [line.place(line.position(cell) + shift) for cell in used]
    axes.plot(at, [cell["mean"] for cell in used], lw=0.9, alpha=0.7, color=colour, zorder=2)


def _draw_theory(axes: Axes, group: Facet, line: _Line, colour: str) -> None:
    known = [cell for cell in group.cells if cell["theory"] is not None]
    at = [line.place(line.position(cell)) for cell in known]
    axes.plot(at, [cell["theory"] for cell in known], color=colour, zorder=2.5, **_THEORY)


def _draw_power(axes: Axes, group: Facet, line: _Line, shift: float, power: float) -> None:
    """The stated power law through the middle of the means that count, and the fitted one where there is one."""
    used = [cell for cell in group.cells if marks.counts(cell) and cell["mean"] > 0]
    if not used:
        return
    positions = np.array([line.position(cell) for cell in used])
    level = np.mean(np.log([cell["mean"] for cell in used]))
    ends = np.array([positions.min(), positions.max()])
    places = [line.place(end + shift) for end in ends]
    axes.plot(places, np.exp(level + power * (ends - positions.mean())), **_STATED)
    fitted = _slope(group, line)
    if fitted is not None:
        drawn = np.exp(level + fitted.value * (ends - positions.mean()))
        axes.plot(places, drawn, color=LIGHT["muted"], lw=1.1, zorder=2.3)


def _mark_turn(axes: Axes, group: Facet, line: _Line, shift: float, sign: int, colour: str) -> None:
    """Upright lines: dashed where the statement says that it turns, dotted through the mean where it does."""
    used = [cell for cell in group.cells if marks.counts(cell)]
    for stated in {cell["reference"] for cell in group.cells if cell["reference"]}:
        if line.values[0] <= stated <= line.values[-1]:
            axes.axvline(line.place(math.log(stated) if line.log else stated), **_TURN)
    if used:
        turn = max(used, key=lambda cell: sign * cell["mean"])
        axes.axvline(line.place(line.position(turn) + shift), color=colour, lw=1.0, ls=(0, (1, 2)), zorder=0.9)


def _legend(verdict: Mapping[str, Any], one_series: bool, networks: bool, beyond: int) -> list[Line2D]:
    cells = verdict["cells"]
    refuted = verdict["counterexample"] is not None
    entries = marks.legend_entries(cells, refuted, marks.style_of(0) if one_series else None)
    if any(cell["theory"] is not None for cell in cells):
        entries.append(Line2D([], [], color=LIGHT["ink"], label=verdict["theory_label"] or "theory", **_THEORY))
    relation = verdict["relation"]
    if relation["kind"] == "scales_as":
        entries.append(Line2D([], [], label=f"stated exponent {words.number(relation['power'])}", **_STATED))
        entries.append(Line2D([], [], color=LIGHT["muted"], lw=1.1, label="fitted"))
    elif relation["kind"] == "turns":
        if any(cell["reference"] for cell in cells):
            entries.append(Line2D([], [], label="stated turning point", **_TURN))
        extreme = "largest mean" if relation["sign"] > 0 else "smallest mean"
        entries.append(Line2D([], [], color=LIGHT["muted"], lw=1.0, ls=(0, (1, 2)), label=extreme))
    dot: dict[str, Any] = {"ls": "none", "mew": 0, "alpha": 0.6, "color": LIGHT["muted"]}
    if networks:
        entries.append(Line2D([], [], marker="o", ms=3.2, label="single networks", **dot))
    if beyond:
        entries.append(Line2D([], [], marker="v", ms=4.5, label=f"{words.integer(beyond)} off the scale", **dot))
    return entries
