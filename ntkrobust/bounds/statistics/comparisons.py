"""Comparisons of the means of samples with numbers and with each other, by t statistics corrected for skewness.

Arrays carry the leading dimensions of the samples (:mod:`ntkrobust.bounds.statistics.samples`).
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Protocol

import numpy as np

from ntkrobust.bounds.statistics import skewness
from ntkrobust.bounds.statistics.samples import Moments, Sample

UNGUARDED = 0.5
"""p-values above this decide nothing either way: they are not raised further."""


class Comparison(Protocol):
    """A number θ estimated from samples, to be compared with factors."""

    @property
    def n(self) -> int:
        """Networks behind it, in the smaller cell."""

    @property
    def estimate(self) -> np.ndarray:
        """(...) The estimate of θ."""

    @property
    def error(self) -> float | None:
        """The standard error of an estimate that may be negative; None where θ is positive. Not of a batch."""

    def p_above(self, factor: float) -> np.ndarray:
        """(...) p-values of the null hypothesis θ ≤ factor."""

    def p_below(self, factor: float) -> np.ndarray:
        """(...) p-values of the null hypothesis θ ≥ factor."""


class Contrasted(abc.ABC):
    """A comparison that is tested by a t statistic, with corrections for skewness.

    With a time error, an inequality is rejected only if it is for every θ that this error leaves possible.
    """

    @property
    @abc.abstractmethod
    def n(self) -> int:
        """Networks behind it, in the smaller cell."""

    @property
    @abc.abstractmethod
    def estimate(self) -> np.ndarray:
        """(...) The estimate of θ."""

    @abc.abstractmethod
    def _contrast(self, factor: float) -> Contrast:
        """That of θ against ``factor``."""

    @property
    def error(self) -> float | None:
        """θ is positive."""
        return None

    @abc.abstractmethod
    def _beyond_time_error(self, factor: float, sign: int) -> float:
        """The estimate of θ may be on this side (+1 above, −1 below) up to here though θ is at the factor."""

    def p_above(self, factor: float) -> np.ndarray:
        """(...) p-values of θ ≤ factor."""
        factor = self._beyond_time_error(factor, +1)
        return self._guard_above(_p_value(*self._contrast(factor)), factor)

    def p_below(self, factor: float) -> np.ndarray:
        """(...) p-values of θ ≥ factor."""
        factor = self._beyond_time_error(factor, -1)
        return self._guard_below(_p_value(*_mirrored(self._contrast(factor))), factor)

    def _guard_above(self, p: np.ndarray, factor: float) -> np.ndarray:
        return p

    def _guard_below(self, p: np.ndarray, factor: float) -> np.ndarray:
        return p


@dataclasses.dataclass(frozen=True)
class Level(Contrasted):
    """θ is the mean of one cell."""

    sample: Sample

    @property
    def n(self) -> int:
        """Networks behind it."""
        return self.sample.n

    @property
    def estimate(self) -> np.ndarray:
        """(...) The estimate of θ."""
        return self.sample.location

    @property
    def error(self) -> float | None:
        """Of values some of which are negative, or all zero."""
        if self.sample.geometric or ((self.sample.values >= 0).all() and self.estimate.item() > 0):
            return None
        return math.sqrt(self.sample.moments.variance.item())

    def _contrast(self, factor: float) -> Contrast:
        return _contrast(self.sample.moments, None, float(np.log(factor)) if self.sample.geometric else factor)

    def _beyond_time_error(self, factor: float, sign: int) -> float:
        shifted = factor + sign * self.sample.time_error
        return max(shifted, 1e-300) if self.sample.geometric else shifted

    def _guard_below(self, p: np.ndarray, factor: float) -> np.ndarray:
        guarded = self.sample.lognormal & (p < UNGUARDED)
        if factor > 0 and guarded.any():
            logs = self.sample.logs
            guard = skewness.lognormal_below(
                logs.value[guarded] - np.log(factor), logs.variance[guarded] * logs.n, logs.n
            )
            p[guarded] = np.maximum(p[guarded], guard)
        return p


@dataclasses.dataclass(frozen=True)
class _Ratio(Contrasted):
    """θ is the ratio of the means of two cells."""

    later: Sample
    earlier: Sample

    @property
    def n(self) -> int:
        """Networks in the smaller cell."""
        return min(self.later.n, self.earlier.n)

    @property
    def estimate(self) -> np.ndarray:
        """(...) The estimate of θ."""
        return self.later.location / self.earlier.location

    def _beyond_time_error(self, factor: float, sign: int) -> float:
        if not (self.later.time_error or self.earlier.time_error):
            return factor
        later, earlier = (float(one.relative_time_error.item()) for one in (self.later, self.earlier))
        return factor * (1 + earlier) / (1 - later) if sign > 0 else factor * (1 - earlier) / (1 + later)


class Change(_Ratio):
    """θ is the ratio of the means of two cells with independent networks.

    θ ≤ r is tested as E X₂ − r E X₁ ≤ 0, which is linear in the means: no logarithm of an average is expanded.
    """

    def _contrast(self, factor: float) -> Contrast:
        if self.later.geometric:
            return _contrast(self.later.moments, self.earlier.moments, float(np.log(factor)))
        return _contrast(self.later.moments, self.earlier.moments.times(factor), 0.0)

    def _guard_above(self, p: np.ndarray, factor: float) -> np.ndarray:
        return self._guarded(p, self.earlier, self.later, 1 / factor)

    def _guard_below(self, p: np.ndarray, factor: float) -> np.ndarray:
        return self._guarded(p, self.later, self.earlier, factor)

    def _guarded(self, p: np.ndarray, numerator: Sample, denominator: Sample, factor: float) -> np.ndarray:
        guarded = numerator.lognormal & denominator.lognormal & (p < UNGUARDED)
        if guarded.any():
            top, bottom = numerator.logs, denominator.logs
            guard = skewness.lognormal_change_below(
                top.value[guarded] - bottom.value[guarded] - np.log(factor),
                (bottom.variance[guarded] * bottom.n, top.variance[guarded] * top.n),
                (bottom.n, top.n),
            )
            p[guarded] = np.maximum(p[guarded], guard)
        return p


class PairedChange(_Ratio):
    """θ is the ratio of the means of two cells whose networks correspond, value by value.

    θ ≤ r is tested on the differences X₂ − r X₁.
    """

    def _contrast(self, factor: float) -> Contrast:
        if self.later.geometric:
            return _contrast(Moments.of(np.log(self.later.values / self.earlier.values)), None, float(np.log(factor)))
        return _contrast(Moments.of(self.later.values - factor * self.earlier.values), None, 0.0)


Contrast = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""t, its degrees of freedom, the skewness E(X̄ − θ)³/se³ of the estimate, and the standard error of that."""


def _contrast(plus: Moments, minus: Moments | None, threshold: float) -> Contrast:
    """Student's t of plus − threshold, or Welch's of plus − minus − threshold."""
    difference, variance, third = plus.value - threshold, plus.variance, plus.third
    # Of a normal law, Var k₃ ≈ 6σ⁶/n, so that of k₃/n² is 6(σ²/n)³/n².
    third_variance = 6 * plus.variance**3 / plus.n**2
    df: np.ndarray = np.full_like(variance, plus.n - 1.0)
    if minus is not None:
        difference = difference - minus.value
        variance, third = variance + minus.variance, third - minus.third
        third_variance = third_variance + 6 * minus.variance**3 / minus.n**2
        with np.errstate(invalid="ignore", divide="ignore"):
            df = variance**2 / (plus.variance**2 / (plus.n - 1) + minus.variance**2 / (minus.n - 1))
    se = np.sqrt(variance)
    scale = np.abs(difference) + np.abs(plus.value)
    # No spread at all is what few draws of a rare event show too: it is no evidence.
    blank = se <= 1e-12 * scale
    safe = np.where(blank, 1.0, se)
    return (
        np.where(blank, 0.0, difference / safe),
        np.where(blank, 1.0, df),
        np.where(blank, 0.0, third / safe**3),
        np.where(blank, np.inf, np.sqrt(third_variance) / safe**3),
    )


def _mirrored(contrast: Contrast) -> Contrast:
    t, df, skew, skew_se = contrast
    return -t, df, -skew, skew_se


def _p_value(t: np.ndarray, df: np.ndarray, skew: np.ndarray, skew_se: np.ndarray) -> np.ndarray:
    blank = np.isinf(skew_se)
    p = skewness.upper_tail(t, df, skew, np.where(blank, 0.0, skew_se))
    return np.where(blank, 1.0, p)
