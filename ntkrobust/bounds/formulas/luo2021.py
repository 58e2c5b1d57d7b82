r"""Luo, Xu, Ma, Zhang 2021, "Phase diagram for two-layer ReLU neural networks at infinite-width limit" (JMLR 22).

**From recollection: the paper's text was not at hand.** For f(x) = (1/α) Σ_{k≤m} a_k φ(w_k·x) with a_k ~ N(0, β_L²) and
w_k ~ N(0, β_1² I), trained by gradient flow, two exponents say in the limit m → ∞ what happens to the first layer:

    γ = −log_m(β_1 β_L/α),   γ' = −log_m(β_L/β_1)

    linear      γ < 1 or γ' > γ − 1:     sup_t ‖W(t) − W(0)‖/‖W(0)‖ → 0
    condensed   γ > 1 and γ' < γ − 1:    the same → ∞
    critical    the boundary between them; mean-field and Xavier (γ = 1, γ' = 0) lie on it.

:func:`moved_exponent` says how fast. It is derived here, not theirs (docs/regimes.md), for a loss that is reached at a
fixed fraction of its initial value, up to factors that do not depend on m.
"""

from __future__ import annotations

import math
from typing import Literal


def exponents(width: int, beta_first: float, beta_last: float, alpha: float) -> tuple[float, float]:
    """γ and γ' of a network of this width."""
    log_m = math.log(width)
    return -math.log(beta_first * beta_last / alpha) / log_m, -math.log(beta_last / beta_first) / log_m


def regime(gamma: float, gamma_prime: float) -> Literal["linear", "condensed", "critical"]:
    """Where (γ, γ') lies."""
    boundary = boundary_gamma(gamma_prime)
    if math.isclose(gamma, boundary, abs_tol=1e-9):
        return "critical"
    return "linear" if gamma < boundary else "condensed"


def boundary_gamma(gamma_prime: float) -> float:
    """The γ at which the regimes meet: 1, or 1 + γ' for γ' > 0."""
    return 1 + max(gamma_prime, 0.0)


def moved_exponent(gamma: float, gamma_prime: float) -> float:
    """s in ‖W(t) − W(0)‖/‖W(0)‖ ~ m^s at the end of training.

    In units of β_1 a weight of the second layer starts at r = β_L/β_1 = m^{−γ'}, and fitting asks its product with a
    weight of the first to change by F = α/(m β_1²) = m^{γ−1−γ'}. The layer that starts larger, or has grown larger, is
    the one that the other learns through:

        r ≤ 1, F ≤ r        (γ ≤ 1)         the second layer moves by F ≤ r, the first by r F
        r ≤ 1, r < F ≤ 1    (γ' ≥ γ − 1)    the second grows to F, the first moves by F²
        F > max(1, r²)                      both grow to √F
        r > 1, F ≤ r²                       the first moves by F/r
    """
    f, r = gamma - 1 - gamma_prime, -gamma_prime
    if f > max(0.0, 2 * r):
        return f / 2
    if r > 0:
        return f - r
    return f + max(f, r)
