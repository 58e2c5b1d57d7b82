"""Expected norms of Gaussian vectors and matrices: numpy and scipy, float64."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from ntkrobust.numerics.special import log_chi_moment

Array = npt.NDArray[np.float64]

STEP, REACH = 0.2, 37.0
"""Trapezoidal rule over log v: its error is about exp(−π²/step) = 4e-22, and e^{∓37} is left out at the ends."""


def mean_norm(eigenvalues: Array, mean_squares: Array, copies: Array | int = 1) -> Array:
    """E‖Z‖ (...) of a Gaussian with independent components, to about 1e-14.

    With M(s) = E e^{−s‖Z‖²} = ∏_i (1 + 2sc_i)^{−o/2} exp(−s m_i²/(1 + 2sc_i)) and
    √y = (1/(2√π)) ∫_0^∞ (1 − e^{−sy}) s^{−3/2} ds,

        E‖Z‖ = (1/√π) ∫_0^∞ (1 − M(v²)) v^{−2} dv.

    The integrand is analytic in log v on a strip of half-width π/2 and decays exponentially, where the trapezoidal
    rule converges geometrically.

    Args:
        eigenvalues: c_i (..., k), variances, not negative.
        mean_squares: m_i² (..., k), summed over the copies.
        copies: o, the number of components that share each c_i; one number, or (k,).
    """
    second = np.sum(copies * eigenvalues + mean_squares, axis=-1)
    scale = np.sqrt(np.where(second > 0, second, 1.0))[..., None]
    c, m = eigenvalues / scale**2, mean_squares / scale**2
    total = np.zeros_like(second)
    for log_v in np.arange(-REACH, REACH + STEP / 2, STEP):
        s = math.exp(2 * log_v)
        log_m = -np.sum(0.5 * copies * np.log1p(2 * s * c) + s * m / (1 + 2 * s * c), axis=-1)
        total += -np.expm1(log_m) * math.exp(-log_v)
    return np.where(second > 0, scale[..., 0] * STEP * total / math.sqrt(math.pi), 0.0)


def mean_abs(mean: Array, variance: Array) -> Array:
    """E|Z| of Z ~ N(mean, variance), entrywise: the folded normal, σ√(2/π) e^{−μ²/2σ²} + μ erf(μ/(σ√2))."""
    sigma = np.sqrt(np.maximum(variance, 0.0))
    ratio = np.divide(mean, sigma, out=np.zeros_like(mean), where=sigma > 0)
    spread = sigma * math.sqrt(2 / math.pi) * np.exp(-0.5 * ratio**2)
    return np.where(sigma > 0, spread + mean * special.erf(ratio / math.sqrt(2)), np.abs(mean))


def mean_norm_isotropic(mean_square: Array, variance: Array, dimension: int) -> Array:
    """E‖Z‖ of Z ~ N(μ, σ²I) in ``dimension`` o: σ E χ_o · ₁F₁(−½; o/2; −‖μ‖²/2σ²), the non-central χ."""
    sigma = np.sqrt(np.maximum(variance, 0.0))
    safe = np.where(sigma > 0, sigma, 1.0)
    shape = special.hyp1f1(-0.5, dimension / 2, -mean_square / (2 * safe**2))
    return np.where(sigma > 0, safe * math.exp(log_chi_moment(dimension, 1)) * shape, np.sqrt(mean_square))


def ball_constant(d_in: int) -> float:
    """c_d = (d/(d+1)) E|u_1| = Γ(d/2+1)/(√π Γ((d+3)/2)): P/ε = c_d E‖∇f‖ for one output."""
    return d_in / (d_in + 1) * math.sqrt(2 / math.pi) / math.exp(log_chi_moment(d_in, 1))
