"""Gaussian expectations of activations that have them in closed form.

Notation of :mod:`ntkrobust.kernels.dual`. Arrays broadcast against each other.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ntkrobust.kernels.arctan import arctan2
from ntkrobust.kernels.dual import Dual, DualDerivatives, Moments

COINCIDENT = 16 * 2.0**-52
"""Two points whose sin² θ is below this are taken for one (or opposite ones): it can't be told from rounding, and the
limits at θ = 0 and π are exact. The angle is then at most 6e-8."""


def kinked_dual(slope: float, k11: jax.Array, k22: jax.Array, k12: jax.Array) -> Dual:
    """φ(u) = max(u, 0) + a·min(u, 0): relu (a = 0), leaky relu, linear (a = 1).

    φ(u) = au + (1−a)·relu(u) and E u·relu(v) = K₁₂/2 give

        J = aK₁₂ + (1−a)²·√(K₁₁K₂₂)(sin θ + (π−θ)cos θ)/2π,     D = a + (1−a)²(π−θ)/2π

    with cos θ = K₁₂/√(K₁₁K₂₂) (Cho & Saul 2009, arc-cosine kernels of order one and zero).
    """
    _, k12, root, theta = _angle(k11, k22, k12)
    weight = (1 - slope) ** 2 / (2 * math.pi)
    return Dual(
        slope * k12 + weight * (root + (math.pi - theta) * k12),
        slope + weight * (math.pi - theta),
    )


def kinked_dual_with_derivatives(
    slope: float, k11: jax.Array, k22: jax.Array, k12: jax.Array
) -> tuple[Dual, DualDerivatives]:
    """:func:`kinked_dual` and, with s = √(K₁₁K₂₂),

        ∂J/∂K₁₁ = (1−a)² √(K₂₂/K₁₁) sin θ/4π,   ∂D/∂K₁₂ = (1−a)²/(2πs sin θ),   ∂D/∂K₁₁ = −(1−a)² cos θ/(4πK₁₁ sin θ).

    D has a cone at θ = 0: D ≈ ½ − θ/2π. Its gradient there, averaged over directions, is zero, and this is what is
    returned for ∂D at coincident (and opposite) points.
    """
    s, k12, root, _ = _angle(k11, k22, k12)
    weight = (1 - slope) ** 2 / (2 * math.pi)
    inverse = jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)
    safe_k11 = jnp.where(k11 > 0, k11, 1)
    return kinked_dual(slope, k11, k22, k12), DualDerivatives(
        weight * root / (2 * safe_k11),
        -weight * (k12 / safe_k11) * inverse / 2,
        jnp.broadcast_to(weight * inverse, s.shape),
    )


def kinked_moments(slope: float, k: jax.Array) -> Moments:
    """V = (1+a²)K/2, and E φ'² = E φ'²u²/K = E φφ'u/K = (1+a²)/2."""
    half = jnp.full_like(k, (1 + slope**2) / 2)
    return Moments(half * k, half, half, half)


def _angle(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """s = √(K₁₁K₂₂), K₁₂, s·sin θ and θ; at coincident and opposite points K₁₂ is exactly ±s and sin θ exactly 0.

    The square roots are taken one by one: K₁₁K₂₂ underflows in deep networks that shrink. Setting K₁₂ keeps rounding
    errors from adding up over layers until two equal points are told apart.
    """
    s = jnp.sqrt(k11) * jnp.sqrt(k22)
    cosine = k12 / jnp.where(s > 0, s, 1)
    square = (1 - cosine) * (1 + cosine)
    apart = square > COINCIDENT
    sine = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
    k12 = jnp.where(apart, k12, jnp.sign(k12) * s)
    return s, k12, s * sine, arctan2(sine, cosine)


def erf_dual(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> Dual:
    """φ = erf. With a = 1+2K₁₁, b = 1+2K₂₂ and q = ab − 4K₁₂² (Williams 1997),

    J = (2/π) arcsin(2K₁₂/√(ab)),     D = (4/π)/√q.
    """
    root = jnp.sqrt(_erf_determinant(k11, k22, k12))
    # arcsin(z) = arctan2(z, √(1−z²)), which keeps its digits near z = 1
    return Dual((2 / math.pi) * arctan2(2 * k12, root), (4 / math.pi) / root)


def erf_dual_with_derivatives(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> tuple[Dual, DualDerivatives]:
    """:func:`erf_dual` and ∂J/∂K₁₁ = −(4/π)K₁₂/(a√q), ∂D/∂K₁₁ = −(4/π)b q^{−3/2}, ∂D/∂K₁₂ = (16/π)K₁₂ q^{−3/2}."""
    q = _erf_determinant(k11, k22, k12)
    root = jnp.sqrt(q)
    return erf_dual(k11, k22, k12), DualDerivatives(
        -(4 / math.pi) * k12 / ((1 + 2 * k11) * root),
        -(4 / math.pi) * (1 + 2 * k22) / (q * root),
        (16 / math.pi) * k12 / (q * root),
    )


def _erf_determinant(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> jax.Array:
    """(1+2K₁₁)(1+2K₂₂) − 4K₁₂², at least 1 for a covariance."""
    return 1 + 2 * k11 + 2 * k22 + 4 * jnp.maximum(k11 * k22 - k12 * k12, 0)


def gelu_dual(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> Dual:
    """φ(u) = uΦ(u). With α = 1+K₁₁, β = 1+K₂₂, Δ = αβ − K₁₂², g = 1/α + 1/β − 1 and N = K₁₁K₂₂ + gK₁₂²,

        Ψ = E Φ(u)Φ(v) = ¼ + arctan2(K₁₂, √Δ)/2π,
        J = K₁₂Ψ + N/(2π√Δ),     D = Ψ + [K₁₂(1 + 2g) + K₁₂N/Δ]/(2π√Δ).

    Derived from Φ(u) = P(ξ < u), ξ ~ N(0, 1), and Gaussian integration by parts; ∂Ψ/∂K₁₂ = 1/(2π√Δ).
    """
    k12, inverse, g, n, delta = _gelu_terms(k11, k22, k12)
    psi = 0.25 + arctan2(k12, jnp.sqrt(delta)) / (2 * math.pi)
    return Dual(k12 * psi + n * inverse, psi + k12 * (1 + 2 * g + n / delta) * inverse)


def gelu_dual_with_derivatives(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> tuple[Dual, DualDerivatives]:
    """:func:`gelu_dual` and its derivatives, with ∂Δ/∂K₁₁ = β, ∂N/∂K₁₁ = K₂₂ − K₁₂²/α² and
    ∂Ψ/∂K₁₁ = −K₁₂/(4πα√Δ)."""
    c, inverse, g, n, delta = _gelu_terms(k11, k22, k12)
    alpha, beta = 1 + k11, 1 + k22
    n_11 = k22 - (c / alpha) ** 2
    return gelu_dual(k11, k22, k12), DualDerivatives(
        inverse * (-(c**2) / (2 * alpha) + n_11 - n * beta / (2 * delta)),
        inverse
        * c
        * (
            -1 / (2 * alpha)
            - 2 / alpha**2
            - (1 + 2 * g) * beta / (2 * delta)
            + n_11 / delta
            - 3 * n * beta / (2 * delta**2)
        ),
        inverse * (2 + 2 * g + (c**2 * (1 + 4 * g) + n) / delta + 3 * c**2 * n / delta**2),
    )


def _gelu_terms(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> tuple[jax.Array, ...]:
    """K₁₂, 1/(2π√Δ), g, N and Δ of :func:`gelu_dual`."""
    delta = 1 + k11 + k22 + jnp.maximum(k11 * k22 - k12 * k12, 0)
    g = 1 / (1 + k11) + 1 / (1 + k22) - 1
    return k12, 1 / (2 * math.pi * jnp.sqrt(delta)), g, k11 * k22 + g * k12**2, delta


def smooth_moments(both: tuple[Dual, DualDerivatives], k: jax.Array) -> Moments:
    """:class:`Moments` of a smooth φ from its dual at K₁₁ = K₂₂ = K₁₂ = K.

    dV/dK = 2∂J/∂K₁₁ + D, and by Gaussian integration by parts E φ'²u²/K = E φ'² + 2K dE φ'²/dK.
    """
    dual, derivatives = both
    return Moments(
        dual.value,
        2 * derivatives.value_11 + dual.slope,
        dual.slope,
        dual.slope + 2 * k * (2 * derivatives.slope_11 + derivatives.slope_12),
    )
