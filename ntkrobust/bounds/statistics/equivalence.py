"""Equality to within a margin."""

from __future__ import annotations

from collections.abc import Sequence

from ntkrobust.bounds.statistics.estimates import Level, Sample
from ntkrobust.bounds.statistics.parts import All, Part


def equals(ratios: Sequence[Sample], margin: float, cells: int) -> All:
    """1 − margin ≤ θ ≤ 1 + margin in every cell: two one-sided tests in each.

    (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657.)

    Args:
        ratios: measured/stated.
        margin: the margin.
        cells: how many cells there would have been.
    """
    parts = []
    for position, ratio in enumerate(ratios):
        level = Level(ratio)
        parts += [Part(level, 1 - margin, True, (position,)), Part(level, 1 + margin, False, (position,))]
    return All(parts, 2 * cells)
