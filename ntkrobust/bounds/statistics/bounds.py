"""Explicit bounds, and the constant that a bound without one would need."""

from __future__ import annotations

from collections.abc import Sequence

from ntkrobust.bounds.statistics.comparisons import Level
from ntkrobust.bounds.statistics.limits import lower_limit, upper_limit
from ntkrobust.bounds.statistics.parts import All, Part
from ntkrobust.bounds.statistics.samples import Sample


def bounded(ratios: Sequence[Sample], at_least: bool, cells: int) -> All:
    """θ ≤ 1, or θ ≥ 1, in every cell.

    Args:
        ratios: measured/bound.
        at_least: whether the bound is a lower one.
        cells: how many cells there would have been.
    """
    return All([Part(Level(ratio), 1.0, at_least, (position,)) for position, ratio in enumerate(ratios)], cells)


def implied_constant(
    ratios: Sequence[Sample], at_least: bool = False, level: float = 0.95
) -> tuple[float, float, float]:
    """The smallest C with measured ≤ C·bound in these cells, max θ: an estimate and its confidence limits.

    For a lower bound the largest C with measured ≥ C·bound, min θ, and everything the other way round.

    The cell where θ is largest is some fixed cell, so the largest of upper limits needs no correction for having
    looked at all of them: it lies below that cell's own limit, hence below the constant, with probability at most
    (1 − level)/2. The largest of lower limits needs Bonferroni's.
    """
    tail = (1 - level) / 2
    comparisons = [Level(ratio) for ratio in ratios]
    if at_least:
        return (
            min(one.estimate.item() for one in comparisons),
            min(lower_limit(one, tail) for one in comparisons),
            min(upper_limit(one, tail / len(comparisons)) for one in comparisons),
        )
    return (
        max(one.estimate.item() for one in comparisons),
        max(lower_limit(one, tail / len(comparisons)) for one in comparisons),
        max(upper_limit(one, tail) for one in comparisons),
    )
