"""One turn along an axis: first up, then down, or the other way round."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ntkrobust.bounds.statistics.multiplicity import bonferroni
from ntkrobust.bounds.statistics.parts import All, OneOf, Statement
from ntkrobust.bounds.statistics.samples import Sample
from ntkrobust.bounds.statistics.trends import change, monotone


def turns(samples: Sequence[Sample], sign: int, margin: float, paired: bool, length: int) -> OneOf:
    """At some cell inside the range a trend in direction ``sign`` ends, and the opposite one begins.

    Args:
        samples: along the axis, at least three.
        sign: +1 for a rise and then a fall, −1 for the reverse.
        margin: what each of the two trends puts up with.
        paired: whether the networks of the cells correspond.
        length: how many cells the axis would have had.
    """
    alternatives: list[Statement] = []
    for split in range(1, len(samples) - 1):
        parts = monotone(samples[: split + 1], sign, margin, paired)
        parts += monotone(samples[split:], -sign, margin, paired, first=split)
        # Which cells are left was decided on the same networks: then as many parts as any split could have had.
        family = len(parts) if len(samples) == length else math.comb(length, 2)
        alternatives.append(All(parts, family))
    return OneOf(alternatives, length - 2)


@dataclasses.dataclass(frozen=True)
class TurningPoint:
    """Where along an axis the mean is largest (smallest).

    Attributes:
        axis: the axis.
        estimate: the value of the axis with the largest (smallest) estimate.
        low, high: the neighbouring values between which the turning point lies with 95 % confidence.
        predicted: what the statement says, if it does.
    """

    axis: str
    estimate: float
    low: float
    high: float
    predicted: float | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether the prediction lies in the interval; None without one."""
        return None if self.predicted is None else self.low <= self.predicted <= self.high

    def __str__(self) -> str:
        text = f"it turns near {self.axis} {self.estimate:g}, between {self.low:g} and {self.high:g}"
        if self.predicted is not None:
            text += f", and {self.predicted:.4g} was predicted, which is {'inside' if self.agrees else 'outside'}"
        return text


def turning_point(
    samples: Sequence[Sample], values: Sequence[float], axis: str, sign: int, paired: bool, predicted: float | None
) -> TurningPoint:
    """Where it turns, with the cells that cannot be excluded as the largest (smallest) of all.

    "Cell s is the largest" is rejected at 5 % if some other cell is shown to be larger, with Bonferroni's correction
    for their number. So the cell that is largest in truth is excluded with probability at most 5 %, whatever the curve.
    If the curve has one turn, it lies between the neighbours of that cell.
    """
    kept = []
    for s in range(len(samples)):
        p = [
            (of.p_above if sign > 0 else of.p_below)(1.0).item()
            for of in (change(samples[j], samples[s], paired) for j in range(len(samples)) if j != s)
        ]
        if bonferroni(np.array(p), len(p)) > 0.05:
            kept.append(s)
    locations = np.array([one.location.item() for one in samples])
    best = int(np.argmax(sign * locations))
    # The largest estimate can't be rejected: nothing was seen to be larger.
    return TurningPoint(
        axis,
        float(values[best]),
        float(values[max(min(kept) - 1, 0)]),
        float(values[min(max(kept) + 1, len(values) - 1)]),
        predicted,
    )
