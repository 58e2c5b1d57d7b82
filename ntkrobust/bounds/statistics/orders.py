"""Bounds up to a constant: whether measured/bound still grows, or falls, at the far end of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ntkrobust.bounds.statistics.parts import Part
from ntkrobust.bounds.statistics.samples import Sample
from ntkrobust.bounds.statistics.trends import change

DOUBLINGS = 3
VALUES = 4


def far_end(values: Sequence[float]) -> int:
    """Position from which growth is looked at: the last three doublings, or the last four values if these span less.

    At least the last two values, however far apart they are.
    """
    near = next(i for i, value in enumerate(values) if value * 2.0**DOUBLINGS >= values[-1] * (1 - 1e-9))
    return min(max(near, len(values) - VALUES), len(values) - 2)


def no_growth(
    ratios: Sequence[Sample], values: Sequence[float], growth: float, paired: bool, at_least: bool = False
) -> Part:
    """measured/bound grows (for a lower bound, falls) by at most ``growth`` per doubling over the far end of an axis.

    Args:
        ratios: measured/bound along the axis.
        values: of the axis, positive and increasing.
        growth: a factor.
        paired: whether the networks of the cells correspond.
        at_least: whether the bound is a lower one.
    """
    start, last = far_end(values), len(values) - 1
    doublings = math.log2(values[last] / values[start])
    factor = growth ** (-doublings if at_least else doublings)
    return Part(change(ratios[last], ratios[start], paired), factor, at_least, (start, last), True)
