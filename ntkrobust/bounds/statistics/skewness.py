"""One-sided tests of means that stay honest for skewed values and few networks. ``docs/verdicts.md`` has the numbers.

A t test that a mean lies *below* a value rejects too often where values are skewed to the right: samples whose mean
comes out small also have a small standard error. The mirror image holds for skewness to the left. Two guards can only
raise the p-value of Student's test, so its level for Gaussian values stays a guarantee:

- a transformation of t that takes out the first-order effect of skewness, with the skewness overstated on purpose,
  since samples show less of it than there is;
- for positive values and few networks, the generalized p-value of a lognormal law.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import special, stats

OVERSTATED = 2.0
"""The estimated skewness is multiplied by this."""

UNCERTAIN = 0.5
"""… and this many of its standard errors under a normal law are added to it."""

LOGNORMAL_BELOW = 128
"""With this many networks or more the transformation alone keeps the level, and no law is assumed."""

NODES = 16
"""Quadrature nodes per sample, for p-values above 1e-3 to within 0.5 %, near 1e-5 to within 10 %."""


def upper_tail(t: np.ndarray, df: np.ndarray, skewness: np.ndarray, skewness_se: np.ndarray) -> np.ndarray:
    """p-value of a large t statistic whose estimate may be skewed to the left.

    With a = −E(X̄ − θ)³/se³ > 0, P(T ≤ x) = Φ(x) − (a/6)(2x² + 1)φ(x) + O(1/n) (Hall 1992, J. R. Statist. Soc. B 54,
    221, equation 2.1 with the sign of the skewness changed), so that T − (a/3)T² − a/6 is nearly normal. Hall makes
    that monotone by a cubic, which is bounded for every practical purpose: no effect, however large, would be seen.
    log(1 + kT)/k − a/6 with k = 2a/3 has the same two first terms and grows without bound.

    Args:
        t: (...) the statistic.
        df: degrees of freedom.
        skewness: E(X̄ − θ)³/se³ of the estimate, as estimated.
        skewness_se: its standard error.
    """
    danger = np.maximum(-OVERSTATED * skewness + UNCERTAIN * skewness_se, 1e-9)
    k = 2 * danger / 3
    corrected = np.log1p(k * np.maximum(t, 0.0)) / k - danger / 6
    return special.stdtr(df, -np.where(t > 0, np.minimum(t, corrected), t))


@functools.lru_cache(maxsize=256)
def _chi_nodes(df: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes (count,) and weights for E h(w), w² ~ χ²_df/df."""
    low, high = stats.chi.ppf(1e-11, df), stats.chi.isf(1e-11, df)
    x, weights = np.polynomial.legendre.leggauss(count)
    chi = (low + high) / 2 + (high - low) / 2 * x
    weights = weights * stats.chi.pdf(chi, df)
    return chi / np.sqrt(df), weights / weights.sum()


def lognormal_below(distance: np.ndarray, variance: np.ndarray, n: int) -> np.ndarray:
    r"""Generalized p-value of E X ≥ b for lognormal X, from n values.

    Krishnamoorthy & Mathew 2003 (J. Statist. Plann. Inference 115, 103), equation 2.4: with w² ~ χ²_{n−1}/(n−1) and a
    standard normal Z the pivot of log E X is ȳ − Zs/(w√n) + s²/(2w²). The normal variable is integrated out exactly,
    w by quadrature; as s → 0 what is left is Student's test of the logarithms.

    Args:
        distance: (...) ȳ − log b, with ȳ the mean of log X.
        variance: (...) s² of log X.
        n: number of values.
    """
    w, weights = _chi_nodes(n - 1, 2 * NODES)
    s = np.sqrt(variance)[..., None]
    z = np.sqrt(n) * (distance[..., None] * w / s + s / (2 * w))
    return special.ndtr(z) @ weights


def lognormal_change_below(
    distance: np.ndarray, variances: tuple[np.ndarray, np.ndarray], n: tuple[int, int]
) -> np.ndarray:
    """Generalized p-value of E X₂/E X₁ ≥ r for independent lognormal samples (Krishnamoorthy & Mathew 2003, section 3).

    Args:
        distance: (...) ȳ₂ − ȳ₁ − log r.
        variances: (...) s² of log X₁ and of log X₂.
        n: how many values of each.
    """
    (w1, p1), (w2, p2) = (_chi_nodes(count - 1, NODES) for count in n)
    first = variances[0][..., None, None] / w1[:, None] ** 2
    second = variances[1][..., None, None] / w2**2
    z = (distance[..., None, None] + (second - first) / 2) / np.sqrt(first / n[0] + second / n[1])
    return np.einsum("...ij,i,j->...", special.ndtr(z), p1, p2)
