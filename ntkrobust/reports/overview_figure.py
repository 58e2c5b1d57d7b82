"""All verdicts in one picture: the effect of each claim with its interval, in the colour of its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkrobust.reports import axes as scales
from ntkrobust.reports import words
from ntkrobust.reports.palette import LIGHT, SYMBOLS, label_colour
from ntkrobust.reports.picture import Picture

_FARTHEST = 1e3
"""Effects beyond this factor are drawn at the edge, as arrows: one of them must not squeeze the others together."""

_ROW = 0.235  # inches
_LONGEST = 60  # characters of a name


def draw_overview(document: Mapping[str, Any]) -> Figure:
    """One row per claim, grouped by paper."""
    verdicts = document["values"]["verdicts"]
    papers = words.by_paper(verdicts)
    rows = len(verdicts) + len(papers)
    figure = Picture(figsize=(8.0, 0.75 + _ROW * rows), layout="constrained")
    axes = figure.add_subplot()
    low, high = _limits(verdicts)
    scales.scale(axes, "x", low, high, log=True)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.axvline(1.0, color=LIGHT["muted"], lw=0.9, zorder=1)
    axes.grid(axis="x")
    names: list[str] = []
    places: list[int] = []
    headings: list[int] = []
    for paper, group in papers.items():
        for name in (words.cut(paper, _LONGEST), *map(_name, group)):
            places.append(len(places))
            names.append(name)
        headings.append(places[-1] - len(group))
        for verdict, place in zip(group, places[-len(group) :], strict=True):
            _draw_row(axes, place, verdict, low, high)
    scales.set_ticks(axes, "y", places, names)
    for heading in headings:
        axes.get_yticklabels()[heading].set(weight="bold")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("effect as a factor, with 95 % interval: change along the axis, or measured / stated")
    return figure


def _name(verdict: Mapping[str, Any]) -> str:
    subject = words.base_id(verdict["claim"]).partition("/")[2] or verdict["claim"]
    # A longer one would leave the effects no room.
    return words.cut(f"{subject}, {words.short_reading(verdict)}", _LONGEST)


def _limits(verdicts: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Limits that hold one and all intervals that aren't too far from it."""
    ends = [1.0]
    for verdict in verdicts:
        if _is_known(verdict["effect"]):
            ends += [end for end in verdict["effect"]["interval"] if 1 / _FARTHEST <= end <= _FARTHEST]
    low, high = scales.padded(ends, log=True)
    return min(low, 0.9), max(high, 1.1)


def _is_known(effect: Mapping[str, Any] | None) -> bool:
    # An exponent has no place on an axis of factors: it stands beside it as a number.
    return effect is not None and words.is_factor(effect) and None not in (effect["estimate"], *effect["interval"])


def _draw_row(axes: Axes, row: int, verdict: Mapping[str, Any], low: float, high: float) -> None:
    colour = label_colour(verdict["label"])
    axes.axhline(row, color=LIGHT["rule"], lw=0.4, zorder=0)
    label = f"{SYMBOLS[verdict['label']]} {words.label(verdict)}"
    beside: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
    axes.annotate(label, (1, row), (8, 0), color=colour, weight="bold", **beside)
    axes.annotate(words.factor(verdict["effect"]), (1, row), (98, 0), color=LIGHT["muted"], **beside)
    if not _is_known(verdict["effect"]):
        return
    estimate, interval = verdict["effect"]["estimate"], verdict["effect"]["interval"]
    if not low <= estimate <= high:
        edge, arrow = (low, "<") if estimate < low else (high, ">")
        axes.plot([edge], [row], marker=arrow, ms=6, color=colour, clip_on=False, zorder=3)
        return
    axes.plot([max(low, interval[0]), min(high, interval[1])], [row, row], color=colour, lw=2, zorder=2)
    axes.plot([estimate], [row], marker="o", ms=5.5, color=colour, zorder=3)
