"""How fast a measure changes along an axis: the slope that a theorist reads off a plot, with its interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Slope:
    """The least-squares slope of log(mean) and its 95 % interval."""

    value: float
    low: float
    high: float


def fit(x: Sequence[float], means: Sequence[float], intervals: Sequence[Sequence[float]]) -> Slope | None:
    """The slope of log(mean) against x, all values weighing the same, so that it means the same whatever the noise.

    It is a weighted sum of log means of independent networks: their half-widths, relative to the means, add up in
    squares. The interval speaks of noise only, not of how well a straight line fits.

    Returns:
        The slope, or None for fewer than three values of x or a mean that isn't positive.
    """
    if len(set(x)) < 3 or min(means) <= 0:
        return None
    centred = np.asarray(x, dtype=np.float64) - np.mean(x)
    weights = centred / np.sum(centred**2)
    relative = [(high - low) / (2 * mean) for mean, (low, high) in zip(means, intervals, strict=True)]
    value = float(weights @ np.log(means))
    half = float(np.sqrt(np.sum((weights * np.asarray(relative)) ** 2)))
    return Slope(value, value - half, value + half)
