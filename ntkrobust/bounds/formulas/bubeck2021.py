r"""Bubeck & Sellke 2021, "A universal law of robustness via isoperimetry" (arXiv 2105.12806), Theorem 3.

Let f_w, w ∈ R^p with ‖w‖ ≤ W (read in the source as a ball of diameter W), be Lipschitz in w with constant J; let the n
samples be i.i.d. with y ∈ [−1, 1] and x from a mixture of k components, each c-isoperimetric:
P(|f − E f| ≥ t) ≤ 2 exp(−d t²/(2c Lip(f)²)) for every bounded Lipschitz f; let σ² = E Var(y|x) > 0 and 0 < ε ≤ σ²; and
let 8⁴ k log(8k/δ) ≤ n ε². Then with probability at least 1 − δ over the samples, for all w at once,

    (1/n) Σ (f(x_i) − y_i)² ≤ σ² − ε   implies   Lip(f) ≥ ε/(2⁹ √c) · √(n d / (p log(60 W J/ε) + log(4/δ))).

For networks of depth D whose weights are at most W and whose layers have width at most Q, on inputs of norm at most R,
J = R (W Q p)^D.

All constants are explicit. It bounds the *global* Lipschitz constant from below, of networks that fit below the noise
level. It does not bound averaged gradients. Already k = 1 and δ = 0.05 need n ≥ 20 788/ε² ≥ 20 788 samples, more than
the bundled data sets have.
"""

from __future__ import annotations

import math


def smallest_n(epsilon: float, delta: float = 0.05, k: int = 1) -> float:
    """8⁴ k log(8k/δ)/ε²: samples that the theorem needs."""
    return 8**4 * k * math.log(8 * k / delta) / epsilon**2


def lipschitz_in_parameters(radius: float, largest_weight: float, width: int, parameters: int, depth: int) -> float:
    """J = R (W Q p)^D, for inputs of norm at most R and weights of at most W. Infinite beyond the range of floats."""
    try:
        return radius * (largest_weight * width * parameters) ** depth
    except OverflowError:
        return math.inf


def lipschitz_lower(
    epsilon: float, n: int, d_in: int, parameters: int, log_wj: float, c: float = 1.0, delta: float = 0.05
) -> float:
    """ε/(2⁹√c) · √(n d/(p log(60WJ/ε) + log(4/δ))), the lower bound on Lip(f).

    Args:
        epsilon: how far below the noise level σ² the mean squared error is, 0 < ε ≤ σ² ≤ 1.
        n: samples.
        d_in: dimension d.
        parameters: p.
        log_wj: log(W J); J itself leaves the range of floats for deep networks.
        c: constant of isoperimetry; 1 for Gaussian inputs of variance 1/d.
        delta: probability that the theorem may fail with.
    """
    covering = parameters * (math.log(60 / epsilon) + log_wj) + math.log(4 / delta)
    return epsilon / (2**9 * math.sqrt(c)) * math.sqrt(n * d_in / covering)
