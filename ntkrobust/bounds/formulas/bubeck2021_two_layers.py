r"""Bubeck, Li, Nagaraj 2021, "A law of robustness for two-layers neural networks" (arXiv 2009.14444, COLT 2021).

f(x) = Σ_{j≤k} a_j φ(w_j·x + b_j) with k neurons, φ Lipschitz with constant L_φ.

**Theorem 5** (explicit): Lip(f) ≤ L_φ ‖a‖₂ ‖W‖_op, with W the matrix of the w_j.

**Conjecture** (constant c open): with high probability over n random labels, and inputs that are generic (uniform on
the sphere, or Gaussian with covariance I/d), every f that fits them has

    Lip(f) ≥ c √(n/k).

For other labels nothing is conjectured. Proven there: special cases, among them k ~ n, and weaker forms in the other
ranges. Neither speaks of averaged gradients.
"""

from __future__ import annotations

import math


def upper(norm_a: float, norm_w: float, slope: float = 1.0) -> float:
    """L_φ ‖a‖₂ ‖W‖_op: Theorem 5."""
    return slope * norm_a * norm_w


def conjectured(n: int, k: int) -> float:
    """√(n/k): the conjectured order of the smallest Lipschitz constant of k neurons that fit n random labels."""
    return math.sqrt(n / k)
