"""Means of samples with their standard errors."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

MINIMUM_SEEDS = 12
"""Fewer networks per cell than this decide nothing: no test of a skewed mean can be trusted then."""


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
