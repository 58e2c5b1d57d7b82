"""Monotone change along an axis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ntkrobust.bounds.statistics.comparisons import Change, PairedChange
from ntkrobust.bounds.statistics.parts import Part
from ntkrobust.bounds.statistics.samples import Sample


def change(later: Sample, earlier: Sample, paired: bool) -> Change | PairedChange:
    """How the mean changes from one cell to another, whose networks are independent or correspond."""
    return PairedChange(later, earlier) if paired else Change(later, earlier)


def monotone(samples: Sequence[Sample], sign: int, margin: float, paired: bool, first: int = 0) -> list[Part]:
    """The parts of a trend.

    From the first to the last cell θ grows (falls for ``sign`` −1), and from no cell to a later one does it go the
    other way by more than a factor 1 + margin.

    Args:
        samples: along the axis.
        sign: +1 or −1.
        margin: what is put up with.
        paired: whether the networks of the cells correspond.
        first: position of the first cell.
    """
    parts = []
    for i, j in itertools.combinations(range(len(samples)), 2):
        whole = (i, j) == (0, len(samples) - 1)
        factor = 1.0 if whole else (1 + margin) ** -sign
        parts.append(Part(change(samples[j], samples[i], paired), factor, sign > 0, (first + i, first + j), whole))
    return parts
