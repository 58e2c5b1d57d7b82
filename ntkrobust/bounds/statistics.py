"""Tests on samples of networks. Nothing here knows what a claim is.

Everything is done on relative changes, since measures of networks vary over orders of magnitude. Networks of different
cells are independent; the seeds within a cell are the replicates.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

MINIMUM_SEEDS = 12
"""Fewer networks per cell than this decide nothing: a t interval of a skewed measure can't be trusted then."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The mean of a cell, or the change between two.

    Attributes:
        value: the estimate.
        se: its standard error.
        df: degrees of freedom of ``se``.
    """

    value: float
    se: float
    df: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided t interval."""
        half = float(stats.t.ppf(0.5 + level / 2, self.df)) * self.se
        return self.value - half, self.value + half

    def p_above(self, reference: float) -> float:
        """One-sided p-value of the null hypothesis "the true value is at most ``reference``"."""
        return _upper_tail(self.value - reference, self.se, self.df)

    def p_below(self, reference: float) -> float:
        """One-sided p-value of the null hypothesis "the true value is at least ``reference``"."""
        return _upper_tail(reference - self.value, self.se, self.df)


def _upper_tail(difference: float, se: float, df: float) -> float:
    if se <= 1e-12 * abs(difference):
        # No spread at all is what few draws of a rare event show too: it is no evidence.
        return 1.0
    return float(stats.t.sf(difference / se, df))


def mean(values: np.ndarray) -> Estimate:
    """Mean of independent values (n,), n ≥ 2, with its standard error s/√n."""
    n = len(values)
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(n)), n - 1)


def log_mean(values: np.ndarray, functional: str) -> Estimate:
    """log of the mean of positive values (n,), or the mean of their logs for the ``geometric mean``.

    The standard error of log x̄ is s/(x̄√n), the first-order (delta) approximation.
    """
    if functional == "geometric mean":
        return mean(np.log(values))
    plain = mean(values)
    return Estimate(float(np.log(plain.value)), plain.se / plain.value, plain.df)


def difference(later: Estimate, earlier: Estimate) -> Estimate:
    """later − earlier for independent estimates, with Welch's degrees of freedom."""
    variances = np.array([later.se**2, earlier.se**2])
    total = float(variances.sum())
    if total == 0:
        return Estimate(later.value - earlier.value, 0.0, min(later.df, earlier.df))
    df = total**2 / float(np.sum(variances**2 / np.array([later.df, earlier.df])))
    return Estimate(later.value - earlier.value, float(np.sqrt(total)), df)


def paired_difference(later: np.ndarray, earlier: np.ndarray, functional: str) -> Estimate:
    """Change of the log mean between two cells whose networks correspond, value by value (n,).

    To first order log x̄ is log E X + the mean of x_i/x̄ − 1, so the standard error is that of y_i/ȳ − x_i/x̄ (of
    log y_i − log x_i for the ``geometric mean``).
    """
    if functional == "geometric mean":
        return mean(np.log(later) - np.log(earlier))
    spread = mean(later / np.mean(later) - earlier / np.mean(earlier))
    return Estimate(float(np.log(np.mean(later) / np.mean(earlier))), spread.se, spread.df)


def bonferroni(p_values: np.ndarray, family: int) -> float:
    """p-value of "all of ``family`` null hypotheses are true", of which these were looked at.

    Valid whatever their dependence.
    """
    return float(min(1.0, family * np.min(p_values)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, which keep the probability of any false rejection at the level they are held to."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    scaled = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def seeds_needed(estimate: Estimate, reference: float, n: int, level: float) -> int | None:
    """Seeds after which a one-sided t test would likely settle on which side of ``reference`` the value lies.

    Assumes that the estimate is the truth and aims at power 0.9; None where the estimate sits on the reference.
    """
    distance = abs(estimate.value - reference)
    if distance == 0 or estimate.se == 0:
        return None
    wanted = stats.norm.ppf(1 - level) + stats.norm.ppf(0.9)
    needed = np.ceil(n * (wanted * estimate.se / distance) ** 2)
    return int(needed) if needed < 10**7 else None
