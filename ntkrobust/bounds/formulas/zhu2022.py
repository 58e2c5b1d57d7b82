r"""Zhu, Liu, Chrysos, Cevher 2022, "Robustness in deep learning: the good (width), the bad (depth), and the ugly
(initialization)" (arXiv 2209.07263).

**From recollection: the paper's text was not at hand.** The forms below are what is remembered of its Theorems 1 and 2.
They come without their constants, and a factor may be missing.

Theorem 1, in the lazy regime (small change of the weights along training), for ReLU networks of depth L and width m,
with β₁, β, β_L the standard deviations of the weights:

    P(f, ε)/ε ≲ (√(L³m² β₁² β_L²) e^{−m/L³} + β_L) (mβ²/2)^{(L−2)/2},

with high probability over the initialization, P being averaged over the input distribution and over the ball B₂(x, ε).
Left open: the constant, which may hold the input dimension; the range of m and L; how small the change of the weights
has to be. For the named initializations, up to constants and with β₁² ~ 1/d in the first two:

    LeCun   (√(L³m) e^{−m/L³} + √(1/m)) (√2/2)^{L−2}
    He       √(L³m) e^{−m/L³} + √(1/m)
    NTK      √(L³m) e^{−m/L³} + 1

√m e^{−m/L³}, the part that depends on whether a network is over-parameterized, turns at m = L³/2.

At initialization the exact law (:mod:`ntkrobust.bounds.formulas.exact_law`) gives P/ε a positive limit as m → ∞ under
LeCun and He with β₁² ~ 1/d, where these forms fall like 1/√m. So either a factor √(mβ₁²/2) was lost in recollection, or
the bound speaks of something else.
"""

from __future__ import annotations

import math


def general(depth: int, width: int, beta_first: float, beta: float, beta_last: float) -> float:
    """(√(L³m² β₁² β_L²) e^{−m/L³} + β_L) (mβ²/2)^{(L−2)/2}: Theorem 1 as recollected, without its constant."""
    transient = math.sqrt(depth**3) * width * beta_first * beta_last * _decay(depth, width)
    return (transient + beta_last) * (width * beta**2 / 2) ** ((depth - 2) / 2)


def lecun(depth: int, width: int) -> float:
    """(√(L³m) e^{−m/L³} + √(1/m)) (√2/2)^{L−2}: the form for LeCun initialization, without its constant."""
    return he(depth, width) * math.sqrt(0.5) ** (depth - 2)


def he(depth: int, width: int) -> float:
    """√(L³m) e^{−m/L³} + √(1/m): the form for He initialization, without its constant."""
    return math.sqrt(depth**3 * width) * _decay(depth, width) + math.sqrt(1 / width)


def ntk(depth: int, width: int) -> float:
    """√(L³m) e^{−m/L³} + 1: the form for NTK initialization, without its constant."""
    return math.sqrt(depth**3 * width) * _decay(depth, width) + 1


def turning_width(depth: int) -> float:
    """L³/2, where √m e^{−m/L³} is largest."""
    return depth**3 / 2


def lazy_scale(width: int, beta_first: float, beta: float, beta_last: float, depth: int) -> float:
    """(m^{3/2} Σ_l β_l)^L: Theorem 2 as recollected says that training leaves the lazy regime for α far above it."""
    return float((width**1.5 * (beta_first + (depth - 2) * beta + beta_last)) ** depth)


def _decay(depth: int, width: int) -> float:
    return math.exp(-width / depth**3)
