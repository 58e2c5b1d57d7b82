"""Rates: how fast a gap between finite width and a limit closes, with intervals.

Gaps at several widths come from independent networks, each as an :class:`~ntkrobust.bounds.statistics.Estimate`. They
are fitted by weighted least squares with powers of the width, gap(m) = Σ_j c_j m^{−p_j}. Everything reported from a fit
is, to first order, a weighted sum Σ_i w_i gap_i of independent numbers, so its standard error is (Σ_i w_i² se_i²)^{1/2}
(exact for coefficients, the delta method for slopes), with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from ntkrobust.bounds.statistics import Estimate

RESOLVED = 5.0
"""Standard errors that a gap must be away from zero for its logarithm to be used: there the second-order term of the
delta method, ½(se/gap)², is below 0.02."""

ACCEPTED = 0.05
"""A fit with a smaller χ² p-value leaves out the narrowest width and is tried again."""


@dataclasses.dataclass(frozen=True)
class PowerFit:
    """gap(m) = Σ_j c_j m^{−p_j}, fitted to gaps at some widths.

    Attributes:
        exponents: p_j.
        widths: m_i, increasing.
        gaps: gap_i.
        influence: (powers, widths), ∂c_j/∂gap_i.
        chi_square: Σ_i ((gap_i − gap(m_i))/se_i)².
    """

    exponents: tuple[float, ...]
    widths: tuple[int, ...]
    gaps: tuple[Estimate, ...]
    influence: np.ndarray
    chi_square: float

    @property
    def p_value(self) -> float | None:
        """P(χ² this large) if the powers describe the gaps; None if there are as many powers as widths."""
        df = len(self.widths) - len(self.exponents)
        return float(stats.chi2.sf(self.chi_square, df)) if df else None

    def coefficient(self, index: int) -> Estimate:
        """c_j."""
        return _combine(self.influence[index], self.gaps)

    def at(self, width: float) -> Estimate:
        """gap(m)."""
        return _combine(self._powers(width) @ self.influence, self.gaps)

    def local_slope(self, low: float, high: float) -> Estimate | None:
        """log(gap(high)/gap(low))/log(high/low) of the fitted curve, the mean of d log|gap|/d log m between the two.

        None unless both ends are resolved and of one sign.
        """
        ends = self.at(low), self.at(high)
        if not _one_resolved_sign(ends):
            return None
        relative = [self._powers(width) / end.value for width, end in zip((low, high), ends, strict=True)]
        weights = (relative[1] - relative[0]) @ self.influence / np.log(high / low)
        return _combine(weights, self.gaps, float(np.log(ends[1].value / ends[0].value) / np.log(high / low)))

    def _powers(self, width: float) -> np.ndarray:
        return float(width) ** -np.array(self.exponents)


def fit_powers(widths: Sequence[int], gaps: Sequence[Estimate], exponents: Sequence[float]) -> PowerFit:
    """Weighted least squares with weights 1/se².

    Args:
        widths: at least as many as exponents, increasing.
        gaps: one per width, from independent networks, each with a positive standard error.
        exponents: p_j, different from each other.
    """
    values, errors = np.array([gap.value for gap in gaps]), np.array([gap.se for gap in gaps])
    powers = np.power.outer(np.asarray(widths, dtype=np.float64), -np.array(exponents, dtype=np.float64))
    # Columns of one size: m^{−2} beside m^0 would cost digits.
    sizes = powers.max(axis=0)
    influence = np.linalg.pinv(powers / sizes / errors[:, None]) / errors / sizes[:, None]
    residuals = (values - powers @ (influence @ values)) / errors
    return PowerFit(tuple(exponents), tuple(widths), tuple(gaps), influence, float(residuals @ residuals))


def fit_late(widths: Sequence[int], gaps: Sequence[Estimate], exponents: Sequence[float]) -> PowerFit:
    """The fit over all widths from some width on: the first that the χ² test doesn't reject.

    Narrow widths are left out one by one, as long as there are more widths than powers. If every fit is rejected, the
    last one comes back, with its p-value.
    """
    for start in range(max(1, len(widths) - len(exponents))):
        fit = fit_powers(widths[start:], gaps[start:], exponents)
        if fit.p_value is None or fit.p_value >= ACCEPTED:
            break
    return fit


def two_point_slope(widths: Sequence[int], gaps: Sequence[Estimate]) -> Estimate | None:
    """log(gap₂/gap₁)/log(m₂/m₁) of the two largest widths, no model; None unless both are resolved, of one sign."""
    return free_exponent(widths[-2:], gaps[-2:])


def free_exponent(widths: Sequence[int], gaps: Sequence[Estimate]) -> Estimate | None:
    """The slope −p of log|gap| against log m, weighted by (gap/se)²; None unless all are resolved and of one sign."""
    if not _one_resolved_sign(gaps):
        return None
    values = np.array([gap.value for gap in gaps])
    weights = np.square(values / [gap.se for gap in gaps])
    logs = np.log(np.asarray(widths, dtype=np.float64))
    centred = weights * (logs - np.average(logs, weights=weights))
    slope_weights = centred / (centred @ logs)
    return _combine(slope_weights / values, gaps, float(slope_weights @ np.log(np.abs(values))))


def networks_needed(
    widths: Sequence[int], gaps: Sequence[Estimate], networks: Sequence[int], costs: Sequence[float], half_width: float
) -> np.ndarray:
    """Networks at each of two widths for which the slope between them gets this half-width, at 90 %.

    With spread s_i per network and w_i = 1/(gap_i log(m₂/m₁)) the variance is Σ_i w_i² s_i²/n_i, and the cost
    Σ_i c_i n_i is least at n_i ∝ |w_i| s_i/√c_i (Neyman's allocation).

    Args:
        widths: m₁ < m₂.
        gaps: from a first sample.
        networks: n_i of that sample.
        costs: c_i of one network, in any unit.
        half_width: asked for.

    Returns:
        (2,) integers, which may be smaller than ``networks``.
    """
    relative = np.array([gap.se / abs(gap.value) for gap in gaps]) / np.log(widths[1] / widths[0])
    spread, root = relative * np.sqrt(networks), np.sqrt(costs)
    variance = (half_width / stats.norm.ppf(0.95)) ** 2
    return np.ceil(spread / root * (spread @ root) / variance).astype(int)


def _one_resolved_sign(gaps: Sequence[Estimate]) -> bool:
    return len({np.sign(gap.value) for gap in gaps}) == 1 and all(abs(gap.value) > RESOLVED * gap.se for gap in gaps)


def _combine(weights: np.ndarray, gaps: Sequence[Estimate], value: float | None = None) -> Estimate:
    """Σ_i w_i gap_i, or what it is the linear part of."""
    variances = np.square(weights * np.array([gap.se for gap in gaps]))
    total = float(variances.sum())
    df = total**2 / float(np.sum(variances**2 / np.array([gap.df for gap in gaps]))) if total else np.inf
    if value is None:
        value = float(weights @ np.array([gap.value for gap in gaps]))
    return Estimate(value, float(np.sqrt(total)), df)
