"""The infinite-width limit at initialization for ReLU: covariances of the outputs and of the input gradient.

With K_l the variance of a pre-activation at x, s_l = ½∇K_l = γ_l x and G_l = Cov(∇z_l) = a_l I (for ReLU no multiple of
xx^T appears), starting from K_1 = σ_1²‖x‖²/d + σ_b², γ_1 = a_1 = σ_1²/d. Every number is exact in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ntkrobust.errors import InputError


class GradientCovariance(NamedTuple):
    """K, γ and a at one point: Var f = K, Cov(∇f, f) = γx, Cov(∇f) = aI."""

    variance: float
    gamma: float
    scale: float


def relu_gradient_covariance(
    squared_norm: float, d_in: int, weight_variances: Sequence[float], bias_variance: float = 0.0
) -> GradientCovariance:
    """K, γ and a of an infinitely wide ReLU network at a point of squared norm ‖x‖².

    E φ(u)² = K/2, E φ'(u)² = 1/2 and E φ(u)φ'(u)u = K/2 for u ~ N(0, K), so each layer gives

        K' = σ²K/2 + σ_b²,     γ' = σ²γ/2,     a' = σ²a/2.

    Args:
        squared_norm: ‖x‖².
        d_in: input dimension d.
        weight_variances: σ_1², …, σ_L², the entry variances times fan-in.
        bias_variance: σ_b².
    """
    first, *others = weight_variances
    k, gamma = first * squared_norm / d_in + bias_variance, first / d_in
    for variance in others:
        k, gamma = variance * k / 2 + bias_variance, variance * gamma / 2
    # a starts where γ does and obeys the same recursion.
    return GradientCovariance(k, gamma, gamma)


def relu_squared_difference(
    x: np.ndarray, moved: np.ndarray, weight_variances: Sequence[float], bias_variance: float = 0.0
) -> float:
    """E|f(x̂) − f(x)|² = K(x, x) + K(x̂, x̂) − 2K(x, x̂) of an infinitely wide ReLU network (L = 2: of any width).

    E φ(u)φ(u') = s(sin θ + (π − θ) cos θ)/2π with s = √(K₁₁K₂₂), cos θ = K₁₂/s (Cho & Saul 2009, arc-cosine kernel of
    order one); sin θ is taken from K₁₁K₂₂ − K₁₂², which keeps its digits near θ = 0.

    Args:
        x: (d,) a point.
        moved: (d,) another one.
        weight_variances: σ_1², …, σ_L².
        bias_variance: σ_b².

    Raises:
        InputError: the points are not two vectors of one dimension.
    """
    if x.ndim != 1 or x.shape != moved.shape:
        raise InputError(f"two points of one dimension are needed, got shapes {x.shape} and {moved.shape}")
    first, *others = weight_variances
    k11, k22, k12 = (first * float(a @ b) / len(x) + bias_variance for a, b in ((x, x), (moved, moved), (x, moved)))
    for variance in others:
        sine = math.sqrt(max(k11 * k22 - k12 * k12, 0.0))
        theta = math.atan2(sine, k12)
        k12 = variance * (sine + (math.pi - theta) * k12) / (2 * math.pi) + bias_variance
        k11, k22 = (variance * k / 2 + bias_variance for k in (k11, k22))
    return k11 + k22 - 2 * k12
