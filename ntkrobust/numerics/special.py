"""Special functions in float64, stable where the textbook formulas cancel or overflow."""

from __future__ import annotations

import math

_STIRLING_FROM = 12.0
# B_{2j}/(2j(2j−1)), j = 1 … 6: the tail of log Γ(y) − [(y−½) log y − y + ½ log 2π] is Σ_j c_j y^{1−2j};
# from y = 12 on, the first term left out is below 6e-17.
_STIRLING_TAIL = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def log_gamma_ratio(x: float, q: float) -> float:
    """log Γ(x+q) − log Γ(x) for x > 0 and q ≥ 0.

    The difference of two ``lgamma`` loses ten digits at x = 10⁹; this takes the difference inside Stirling's series

        (x + q − ½) log(1 + q/x) + q log x − q + tail(x+q) − tail(x),

    after raising x to 12 with Γ(x+q)/Γ(x) = Γ(x+N+q)/Γ(x+N) · ∏_{i<N} (x+i)/(x+i+q). The error is a few units in the
    last place of the largest term, so about 10⁻¹⁵·max(1, q log x).
    """
    steps = max(0, math.ceil(_STIRLING_FROM - x))
    lowered = math.fsum(math.log1p(q / (x + i)) for i in range(steps))
    y = x + steps
    tail = math.fsum(
        c * ((y + q) ** -power - y**-power) for c, power in zip(_STIRLING_TAIL, range(1, 12, 2), strict=True)
    )
    return math.fsum(((y + q - 0.5) * math.log1p(q / y), q * math.log(y), -q, tail, -lowered))


def log_chi_moment(k: int, p: float) -> float:
    """log E χ_k^p = (p/2) log 2 + log Γ((k+p)/2) − log Γ(k/2), the norm of k independent N(0, 1); p ≥ 0."""
    return 0.5 * p * math.log(2.0) + log_gamma_ratio(0.5 * k, 0.5 * p)


def exp_or_inf(x: float) -> float:
    """exp(x); inf, without a warning, where the value is beyond the largest float."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
