"""Finite ensembles against infinite width: the gap against the width, one panel per time, and its rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from ntkrobust.reports import axes as scales
from ntkrobust.reports import words
from ntkrobust.reports.marks import draw_legend
from ntkrobust.reports.palette import LIGHT, SERIES
from ntkrobust.reports.picture import Picture
from ntkrobust.reports.styles import OWN, Style

_COLUMNS = 2
_NARROWEST = 2.4
"""Inches that a panel needs."""
_SMOOTH, _KINKED = (-1.0,), (-1.0, -0.5)
_DASHES = {-1.0: (0, (4, 2)), -0.5: (0, (1, 1.5))}
_POWERS = {0.0: "", 0.5: "/√m", 1.0: "/m", 2.0: "/m²"}
_LETTERS = "abc"


def formula(exponents: Sequence[float]) -> str:
    """``a/m + b/m²``, ``a/√m + b/m``."""
    terms = [f"{letter}{_POWERS[power]}" for letter, power in zip(_LETTERS, exponents, strict=False)]
    return " + ".join(terms)


def draw_gaps(document: Mapping[str, Any], style: Style = OWN) -> Figure:
    """Draw what ``comparison.json`` holds: |measured/theory − 1| with 90 % intervals, both axes logarithmic.

    In the style of a publication panels are as wide as its text has room for, and say less.
    """
    times = document["values"]["times"]
    slopes = _KINKED if document["inputs"]["kinked"] else _SMOOTH
    is_own = style.size is None
    columns = _COLUMNS if is_own or style.width >= _COLUMNS * _NARROWEST else 1
    columns = min(columns, len(times))
    rows = math.ceil(len(times) / columns)
    spacing = ConstrainedLayoutEngine(hspace=0.08, wspace=0.06)
    size = (8.4, 0.5 + 3.0 * rows) if is_own else (style.width, 0.4 + rows * max(2.1, 0.7 * style.width / columns))
    figure = Picture(figsize=size, layout=spacing)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, one in zip(panels, times, strict=False):
        _draw_panel(axes, one, document["inputs"]["widths"], slopes, style)
    for axes in panels[len(times) :]:
        axes.set_visible(False)
    draw_legend(figure, _legend(slopes))
    return figure


def in_words(one: Mapping[str, Any], *, short: bool = False) -> str:
    """The rate at one time: ``slope −1.02 [−1.08, −0.96], a/m + b/m², m ≥ 128``; short without what was fitted."""
    if not one["fits"]:
        return "too few widths for a rate"
    fit = one["fits"][0]
    if one["label"] == "no gap seen":
        return "within 3 s.e. of zero at every width"
    if fit["local_slope"] is None:
        return "not resolved at the largest widths"
    slope = words.estimate(fit["local_slope"]["value"], fit["local_slope"]["interval"])
    fitted = "" if short else f", {formula(fit['exponents'])}"
    return f"slope {slope}{fitted}, m ≥ {fit['widths'][0]}"


def _draw_panel(
    axes: Axes, one: Mapping[str, Any], widths: Sequence[int], slopes: Sequence[float], style: Style
) -> None:
    low, high = _limits(one["cells"])
    scales.scale(axes, "x", *scales.padded([widths[0] * 0.9, widths[-1] * 1.1], log=True), log=True)
    kept = scales.spaced(list(np.log(widths)), list(map(str, widths)), math.log(widths[-1] / widths[0]) + 0.3, 3.4)
    scales.set_ticks(axes, "x", [widths[index] for index in kept], [str(widths[index]) for index in kept])
    # Where there is nothing but noise, logarithms show nothing.
    log = one["label"] != "no gap seen"
    scales.scale(axes, "y", *((low, high) if log else (-high, high)), log=log)
    axes.grid(axis="y")
    axes.set_xlabel("width m")
    axes.set_ylabel("|measured/theory − 1|" if log else "measured/theory − 1")
    title = f"step {words.integer(one['step'])}: {one['label']}"
    large, small = (9.5, 8.0) if style.size is None else (style.size, style.size - 1)
    axes.set_title(title, loc="left", fontsize=large, pad=20 * large / 9.5, weight="bold")
    rate = axes.annotate(in_words(one, short=style.size is not None), (0, 1), (0, 7), xycoords="axes fraction",
                         textcoords="offset points", fontsize=small)  # fmt: skip
    rate.set_in_layout(False)  # the title above it keeps its place
    if style.size is not None:
        axes.yaxis.label.set_fontsize(small)
    for cell in one["cells"]:
        if cell["gap"] is None:
            axes.plot([cell["width"]], [0.06], transform=axes.get_xaxis_transform(), **_UNUSABLE)
            continue
        _draw_gap(axes, cell["width"] * 1.05, cell["plain_gap"], cell["plain_gap_se"], _PLAIN)
        _draw_gap(axes, cell["width"], cell["gap"], cell["gap_se"], _CONTROLLED)
    if not log:
        axes.axhline(0, color=LIGHT["ink"], lw=0.9, zorder=1)
        return
    _draw_fit(axes, one)
    _draw_slopes(axes, one["cells"], slopes)


def _limits(cells: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Limits that hold all gaps, and their intervals down to a third of the smallest standard error."""
    used = [cell for cell in cells if cell["gap"] is not None]
    if not used:
        return 0.01, 1.0
    highest = max(abs(cell["gap"]) + 1.645 * cell["gap_se"] for cell in used)
    lowest = min(max(abs(cell["gap"]) - 1.645 * cell["gap_se"], cell["gap_se"] / 3) for cell in used)
    return scales.padded([lowest, highest], log=True)


def _draw_gap(axes: Axes, width: float, gap: float, se: float, look: Mapping[str, Any]) -> None:
    """A gap with its interval. On a logarithmic axis its size, hollow where it is negative; an interval that reaches
    zero leaves the picture."""
    half = 1.645 * se
    if axes.get_yscale() == "linear":
        axes.errorbar([width], [gap], [half], ls="none", **look)
        return
    foot = axes.get_ylim()[0] / 10
    if abs(gap) + half > foot:
        bars = [[max(0.0, abs(gap) - max(abs(gap) - half, foot))], [half]]
        fill = {} if gap > 0 else {"mfc": LIGHT["paper"]}
        axes.errorbar([width], [max(abs(gap), foot)], bars, ls="none", **{**look, **fill})


def _draw_fit(axes: Axes, one: Mapping[str, Any]) -> None:
    if not one["fits"]:
        return
    fit = one["fits"][0]
    at = np.geomspace(fit["widths"][0], fit["widths"][-1], 60)
    coefficients = [part["value"] for part in fit["coefficients"]]
    curve = sum(c * at**-p for c, p in zip(coefficients, fit["exponents"], strict=True))
    axes.plot(at, np.abs(curve), color=SERIES[0], lw=1.1, zorder=2)


def _draw_slopes(axes: Axes, cells: Sequence[Mapping[str, Any]], slopes: Sequence[float]) -> None:
    """Lines of the slopes that theory expects, through the gap at the largest width that resolves it."""
    seen = [cell for cell in cells if cell["gap"] is not None and abs(cell["gap"]) > 3 * cell["gap_se"]]
    if not seen:
        return
    anchor, ends = seen[-1], np.array(axes.get_xlim())
    for slope in slopes:
        line = abs(anchor["gap"]) * (ends / anchor["width"]) ** slope
        axes.plot(ends, line, color=LIGHT["ink"], lw=1, ls=_DASHES[slope], zorder=1)


def _legend(slopes: Sequence[float]) -> list[Line2D]:
    entries = [
        Line2D([], [], ls="none", label="networks, 90 % interval (hollow: below theory)", **_bare(_CONTROLLED)),
        Line2D([], [], ls="none", label="without the control variate", **_bare(_PLAIN)),
        Line2D([], [], color=SERIES[0], lw=1.1, label="fit"),
    ]
    names = {-1.0: "slope −1", -0.5: "slope −½"}
    return entries + [
        Line2D([], [], color=LIGHT["ink"], lw=1, ls=_DASHES[slope], label=names[slope]) for slope in slopes
    ]


def _bare(look: Mapping[str, Any]) -> dict[str, Any]:
    return {name: look[name] for name in ("color", "marker", "ms")}


_CONTROLLED: dict[str, Any] = {
    "color": SERIES[0], "marker": "o", "ms": 5, "capsize": 2.5, "elinewidth": 1.3, "zorder": 3,
}  # fmt: skip
_PLAIN: dict[str, Any] = {
    "color": LIGHT["out-of-scope"], "marker": "s", "ms": 3, "capsize": 1.5, "elinewidth": 0.8, "zorder": 2,
}  # fmt: skip
_UNUSABLE: dict[str, Any] = {"color": LIGHT["out-of-scope"], "marker": "x", "ms": 6, "mew": 1.5, "ls": "none"}
