"""Powers of an axis."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from ntkrobust.bounds.statistics.comparisons import Contrast, Contrasted
from ntkrobust.bounds.statistics.parts import Part
from ntkrobust.bounds.statistics.samples import Moments, Sample
from ntkrobust.bounds.statistics.trends import change


@dataclasses.dataclass(frozen=True)
class Power(Contrasted):
    """θ is e to the exponent over several cells: the least-squares slope Σ a_c log θ_c of log θ on log of the axis.

    All cells weigh the same. The mean of a cell enters as log x̄, which is not linear in it: with δ = x̄/θ_c − 1 and
    v = Var δ, log x̄ = log θ_c + δ − δ²/2 + …, so that its bias −v/2 is taken out, and the third cumulant of the
    slope L = Σ a_c δ_c loses 3 Σ a_c Cov(L, δ_c)² (first order in 1/n). The error is that of the seeds, not of the fit,
    with Satterthwaite's degrees of freedom where cells are independent.

    Attributes:
        samples: along the axis.
        values: of the axis, positive and increasing.
        paired: whether the networks of the cells correspond.
    """

    samples: tuple[Sample, ...]
    values: tuple[float, ...]
    paired: bool

    @property
    def n(self) -> int:
        """Networks in the smallest cell."""
        return min(one.n for one in self.samples)

    @property
    def estimate(self) -> np.ndarray:
        """(...) The estimate of θ."""
        return np.exp(self._moments[0])

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """(cells,) a_c, which sum to zero."""
        logs = np.log(np.asarray(self.values, dtype=float))
        return (logs - logs.mean()) / np.sum((logs - logs.mean()) ** 2)

    def _beyond_time_error(self, factor: float, sign: int) -> float:
        """Relative time errors r_c of the cells leave Σ |a_c| r_c of the exponent open."""
        if not any(one.time_error for one in self.samples):
            return factor
        relative = [float(one.relative_time_error.item()) for one in self.samples]
        return factor * math.exp(sign * float(np.abs(self.weights) @ relative))

    def _contrast(self, factor: float) -> Contrast:
        slope, variance, third, third_variance, df = self._moments
        difference = slope - math.log(factor)
        se = np.sqrt(variance)
        # No spread at all is what few draws of a rare event show too: it is no evidence.
        blank = se <= 1e-12 * (np.abs(difference) + np.abs(slope))
        safe = np.where(blank, 1.0, se)
        return (
            np.where(blank, 0.0, difference / safe),
            np.where(blank, 1.0, df),
            np.where(blank, 0.0, third / safe**3),
            np.where(blank, np.inf, np.sqrt(third_variance) / safe**3),
        )

    @functools.cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The slope, its variance, its third cumulant, the variance of that, and degrees of freedom."""
        curved = not self.samples[0].geometric
        each = [one.logs if one.geometric else one.moments.times(1 / one.location) for one in self.samples]
        centres = [np.log(one.location) for one in self.samples]
        slope = sum(a * centre for a, centre in zip(self.weights, centres, strict=True))
        own = [moments.variance for moments in each]
        if curved:
            slope = slope + sum(a * v / 2 for a, v in zip(self.weights, own, strict=True))
        if self.paired:
            along, shared = self._along()
            variance, third = along.variance, along.third
            third_variance = 6 * variance**3 / along.n**2
            df: np.ndarray = np.full_like(variance, along.n - 1.0)
        else:
            shared = [a * v for a, v in zip(self.weights, own, strict=True)]
            parts = [a**2 * v for a, v in zip(self.weights, own, strict=True)]
            variance = np.sum(parts, axis=0)
            third = np.sum([a**3 * moments.third for a, moments in zip(self.weights, each, strict=True)], axis=0)
            third_variance = np.sum([6 * p**3 / m.n**2 for p, m in zip(parts, each, strict=True)], axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                df = variance**2 / np.sum([p**2 / (m.n - 1) for p, m in zip(parts, each, strict=True)], axis=0)
        if curved:
            third = third - 3 * np.sum([a * s**2 for a, s in zip(self.weights, shared, strict=True)], axis=0)
        return slope, variance, third, third_variance, df

    def _along(self) -> tuple[Moments, list[np.ndarray]]:
        """Moments of L = Σ a_c δ_c over the networks that correspond, and the covariances of its mean with each δ_c."""
        away = [
            np.log(np.maximum(one.values, 1e-300)) if one.geometric else one.values / one.location[..., None]
            for one in self.samples
        ]
        slopes = np.sum([a * x for a, x in zip(self.weights, away, strict=True)], axis=0)
        centred = slopes - slopes.mean(-1, keepdims=True)
        n = slopes.shape[-1]
        return Moments.of(slopes), [np.sum(centred * x, axis=-1) / (n - 1) / n for x in away]


def over_range(
    samples: Sequence[Sample], values: Sequence[float], power: float, margin: float, paired: bool
) -> list[Part]:
    """Over the whole range the exponent is power ± margin: an equivalence.

    Args:
        samples: along the axis.
        values: of the axis, positive and increasing.
        power: the stated exponent.
        margin: in the exponent.
        paired: whether the networks of the cells correspond.
    """
    of = Power(tuple(samples), tuple(values), paired)
    ends = (0, len(samples) - 1)
    return [
        Part(of, math.exp(power - margin), True, ends, True),
        Part(of, math.exp(power + margin), False, ends, True),
    ]


def between_neighbours(
    samples: Sequence[Sample], values: Sequence[float], power: float, margin: float, paired: bool
) -> list[Part]:
    """Between any two consecutive cells the exponent is power ± margin: an equivalence for each. As ``over_range``."""
    parts = []
    for i in range(len(samples) - 1):
        step = values[i + 1] / values[i]
        of = change(samples[i + 1], samples[i], paired)
        parts += [
            Part(of, step ** (power - margin), True, (i, i + 1)),
            Part(of, step ** (power + margin), False, (i, i + 1)),
        ]
    return parts
