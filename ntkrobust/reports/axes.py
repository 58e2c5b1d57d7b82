"""Scales and ticks that the figures share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from ntkrobust.reports import words

_SMALLEST = 1e-300
"""Logarithmic axes end here at the latest, and all axes at its inverse: what is drawn still takes differences."""


def log_ticks(low: float, high: float) -> list[float]:
    """Some four to eight round numbers between two positive ones, on a scale of logarithms."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = range(first, last + 1, max(1, (last - first) // 6))
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= 4:
            return ticks
    return linear_ticks(low, high)


def linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two; a one among them, if it lies there."""
    return [float(tick) for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def scale(axes: Axes, which: Literal["x", "y"], low: float, high: float, *, log: bool) -> None:
    """Set the limits of an axis, logarithmic or not, with ticks at round numbers in plain notation."""
    # Limits first: a scale that changes would look for some of its own, among numbers as far apart as they come.
    axes.set(**{f"{which}lim": (low, high)})
    axes.set(**{f"{which}scale": "log" if log else "linear"})
    ticks = log_ticks(low, high) if log else linear_ticks(low, high)
    set_ticks(axes, which, ticks, [words.tick(value) for value in ticks])


def set_ticks(axes: Axes, which: Literal["x", "y"], ticks: Sequence[float], labels: Sequence[str]) -> None:
    """Ticks at these numbers and nowhere else."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels(labels)


def spaced(positions: Sequence[float], labels: Sequence[str], units: float, inches: float) -> list[int]:
    """The indices of labels that find room side by side, from the first on.

    Args:
        positions: where they would stand, increasing.
        labels: what they say.
        units: length of the axis in the units of the positions.
        inches: its length on paper, about.
    """
    kept: list[int] = []
    for index, position in enumerate(positions):
        room = math.inf if not kept else (position - positions[kept[-1]]) * 72 * inches / units
        if room >= 5.4 * (len(labels[index]) + len(labels[kept[-1]] if kept else "")) / 2 + 5:
            kept.append(index)
    return kept


def padded(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    """Limits that leave some air around the values that are finite."""
    # As numbers of Python, which go to infinity without a warning.
    finite = [float(value) for value in values if math.isfinite(value)] or [1.0]
    low, high = min(finite), max(finite)
    if log:
        # As a difference of logarithms: the ratio of two numbers may be none.
        air = max(math.exp(0.06 * (math.log(high) - math.log(low))), 1.02)
        return max(low / air, _SMALLEST), min(high * air, 1 / _SMALLEST)
    air = 0.06 * (high - low) or 0.1 * (abs(high) or 1.0)
    return max(low - air, -1 / _SMALLEST), min(high + air, 1 / _SMALLEST)
