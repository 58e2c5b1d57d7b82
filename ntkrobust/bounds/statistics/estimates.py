"""Samples of networks, and comparisons of their means with numbers and with each other.

Arrays carry at least one leading dimension, over which everything is done at once: that is how error rates are
simulated. Networks of different cells are independent; the networks within a cell are the replicates.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy import stats

from ntkrobust.bounds.statistics import skewness

MINIMUM_SEEDS = 12
"""Fewer networks per cell than this decide nothing: no test of a skewed mean can be trusted then."""

UNGUARDED = 0.5
"""p-values above this decide nothing either way: they are not raised further."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean with its standard error.

    Attributes:
        value: the estimate.
        se: its standard error.
        df: degrees of freedom of ``se``.
        time_error: what else it may be off by, in either direction.
    """

    value: float
    se: float
    df: float
    time_error: float = 0.0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided t interval, wider by the time error on both sides."""
        half = float(stats.t.ppf(0.5 + level / 2, self.df)) * self.se + self.time_error
        return self.value - half, self.value + half


def mean(values: np.ndarray) -> Estimate:
    """Mean of independent values (n,), n ≥ 2, with its standard error s/√n."""
    n = len(values)
    with np.errstate(over="ignore"):  # squares of numbers above 1e154: then nothing is known of the error
        return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(n)), n - 1)


def log_mean(values: np.ndarray, functional: str) -> Estimate:
    """log of the mean of positive values (n,), or the mean of their logs for the ``geometric mean``.

    The standard error of log x̄ is s/(x̄√n), the first-order (delta) approximation.
    """
    if functional == "geometric mean":
        return mean(np.log(values))
    plain = mean(values)
    return Estimate(float(np.log(plain.value)), plain.se / plain.value, plain.df)


@dataclasses.dataclass(frozen=True)
class Moments:
    """The mean of independent values, and what is known of its error.

    Attributes:
        n: number of values.
        value: (...) their mean.
        variance: (...) s²/n, the squared standard error.
        third: (...) the estimated third cumulant of the mean, k₃/n² with the k-statistic k₃.
    """

    n: int
    value: np.ndarray
    variance: np.ndarray
    third: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Of values (..., n)."""
        n = values.shape[-1]
        centre = values.mean(-1)
        away = values - centre[..., None]
        squares = away * away
        third = np.einsum("...i,...i->...", squares, away) * n / ((n - 1) * (n - 2)) / n**2
        return cls(n, centre, squares.sum(-1) / (n - 1) / n, third)

    def times(self, factor: float | np.ndarray) -> Moments:
        """Of ``factor`` times the values."""
        return Moments(self.n, self.value * factor, self.variance * factor**2, self.third * factor**3)


@dataclasses.dataclass(frozen=True)
class Sample:
    """The measure in one cell, divided by what is stated for the cell if something is.

    Attributes:
        values: (batch, n) one value per network; a batch of one for the networks at hand.
        geometric: whether its geometric mean is meant, exp E log X instead of E X.
        time_error: what else the mean may be off by, in either direction, however many networks there are.
    """

    values: np.ndarray
    geometric: bool = False
    time_error: float = 0.0

    @property
    def n(self) -> int:
        """Networks."""
        return self.values.shape[-1]

    @functools.cached_property
    def moments(self) -> Moments:
        """Of the values, or of their logarithms for the geometric mean."""
        return self.logs if self.geometric else Moments.of(self.values)

    @functools.cached_property
    def logs(self) -> Moments:
        """Of the logarithms of the values; those of zeros count as very small."""
        return Moments.of(np.log(np.maximum(self.values, 1e-300)))

    @functools.cached_property
    def lognormal(self) -> np.ndarray:
        """(...) Where a lognormal law is a sensible guard: positive values whose logarithms aren't skewed to the left.

        Nearly dead networks would dominate the spread of the logarithms, and their skewness is no danger to what the
        guard protects from.
        """
        if self.geometric or self.n >= skewness.LOGNORMAL_BELOW:
            return np.zeros(self.values.shape[:-1], dtype=bool)
        variance = np.maximum(self.logs.variance * self.n, 1e-100)
        skew = self.logs.third * self.n**2 / variance**1.5
        return (self.values > 0).all(-1) & (skew > -1.5) & (self.logs.variance > 0)

    @property
    def location(self) -> np.ndarray:
        """(...) The estimated mean or geometric mean."""
        return np.exp(self.moments.value) if self.geometric else self.moments.value

    @property
    def relative_time_error(self) -> np.ndarray:
        """(...) The time error over the estimated mean, below 1: of a mean that may be zero nothing more is known."""
        return np.minimum(self.time_error / np.maximum(self.location, 1e-300), 1 - 1e-9)


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


def confidence_interval(of: Comparison, level: float = 0.95) -> tuple[float, float]:
    """The factors that neither one-sided test rejects at (1 − level)/2; for one comparison, not a batch."""
    return lower_limit(of, (1 - level) / 2), upper_limit(of, (1 - level) / 2)


def upper_limit(of: Comparison, tail: float) -> float:
    """The largest factor for which θ ≥ factor is not rejected at ``tail``."""
    return _limit(of, of.p_below, tail, +1)


def lower_limit(of: Comparison, tail: float) -> float:
    """The smallest factor for which θ ≤ factor is not rejected at ``tail``."""
    return _limit(of, of.p_above, tail, -1)


def _limit(of: Comparison, p_value: Callable[[float], np.ndarray], tail: float, sign: int) -> float:
    """Where a p-value crosses ``tail``; infinite (0 for a positive θ) if it never does.

    Looked for on the logarithm of the factor where θ is positive, else in standard errors from the estimate.
    """
    estimate, error = of.estimate.item(), of.error

    def at(far: float) -> float:
        return estimate + sign * far * error if error is not None else estimate * math.exp(sign * far)

    near, far, step = 0.0, 1e-3, 1e-3
    while p_value(at(far)).item() > tail:
        if far > (30 if error is None else 1e3):
            return math.inf if sign > 0 else 0.0 if error is None else -math.inf
        near, step = far, 2 * step
        far += step
    while far - near > 1e-6 * far:
        middle = (near + far) / 2
        near, far = (middle, far) if p_value(at(middle)).item() > tail else (near, middle)
    return at(near)
