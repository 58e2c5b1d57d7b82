"""Equality to within a margin: of a mean with a number, and of means with each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ntkrobust.bounds.statistics.comparisons import Level
from ntkrobust.bounds.statistics.parts import All, Part
from ntkrobust.bounds.statistics.samples import Sample
from ntkrobust.bounds.statistics.trends import change


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


def flat(samples: Sequence[Sample], margin: float, paired: bool) -> All:
    """θ changes between no two cells by more than a factor 1 + margin: two one-sided tests for each pair.

    Args:
        samples: along the axis.
        margin: a relative change.
        paired: whether the networks of the cells correspond.
    """
    parts = []
    for i, j in itertools.combinations(range(len(samples)), 2):
        of, whole = change(samples[j], samples[i], paired), (i, j) == (0, len(samples) - 1)
        parts += [Part(of, 1 / (1 + margin), True, (i, j), whole), Part(of, 1 + margin, False, (i, j), whole)]
    return All(parts, len(parts))
