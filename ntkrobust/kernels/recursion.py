"""Layer recursions of a fully connected network at infinite width: K (NNGP), Θ (NTK) and their input derivatives.

A pair of points enters through p = ‖x‖², q = ‖x'‖² and r = x·x' only. With J, D as in :mod:`ntkrobust.kernels.dual` at
the K₁₁, K₂₂, K₁₂ of the layer below,

    K₁ = σ_1² r/d + σ_b²,       K ← σ² J + σ_b²,
    Θ₁ = w_1 σ_1² r/d + w_b σ_b²,     Θ ← σ² (w J + D Θ) + w_b σ_b²

(Lee et al. 2018, Jacot et al. 2018). Layers are scanned, so a program for depth 100 is no larger than one for depth 3.
Everything here is traced with float64 arrays, inside a 64-bit context that the caller opens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.kernels.duals import dual, dual_with_derivatives, moments
from ntkrobust.kernels.layers import Layers
from ntkrobust.networks.activations import Activation


class PairKernels(NamedTuple):
    """K and Θ, each (a, b)."""

    nngp: jax.Array
    ntk: jax.Array


class PairDerivatives(NamedTuple):
    """Derivatives by p = ‖x‖² and r = x·x', where x is the first point; each (a, b).

    ∇_x K = 2·nngp_p·x + nngp_r·x' and ∇_x Θ = 2·ntk_p·x + ntk_r·x'.
    """

    nngp_p: jax.Array
    nngp_r: jax.Array
    ntk_p: jax.Array
    ntk_r: jax.Array


class PointKernels(NamedTuple):
    """At single points, each (a,): K = Var f, Cov(∇f, f) = γx and Cov(∇f) = aI + bxxᵀ, at initialization."""

    variance: jax.Array
    gamma: jax.Array
    isotropic: jax.Array
    radial: jax.Array


def pair_kernels(
    phi: Activation, terms: int, layers: Layers[Any], d_in: int, p: jax.Array, q: jax.Array, r: jax.Array
) -> PairKernels:
    """K and Θ of all pairs.

    Args:
        phi: the activation.
        terms: of its series, if it needs one.
        layers: one row per layer.
        d_in: d.
        p: (a, 1) squared norms of the first points.
        q: (1, b) squared norms of the second.
        r: (a, b) inner products.
    """
    first, others = _split(layers)

    def layer(state: tuple[jax.Array, ...], this: Layers[jax.Array]) -> tuple[tuple[jax.Array, ...], None]:
        k11, k22, k, theta = state
        j = dual(phi, k11, k22, k, terms)
        return (
            _next_variance(phi, this, k11),
            _next_variance(phi, this, k22),
            this.weight_variance * j.value + this.bias_variance,
            this.weight_variance * (this.weight_speed * j.value + j.slope * theta) + this.bias_speed,
        ), None

    start = (*(first.weight_variance * s / d_in + first.bias_variance for s in (p, q, r)), _first_ntk(first, d_in, r))
    (_, _, k, theta), _ = jax.lax.scan(layer, start, others)
    return PairKernels(k, theta)


def pair_kernels_with_derivatives(
    phi: Activation, terms: int, layers: Layers[Any], d_in: int, p: jax.Array, q: jax.Array, r: jax.Array
) -> tuple[PairKernels, PairDerivatives]:
    """:func:`pair_kernels` and derivatives by the first point.

    The chain rule through the recursion, with K₁₁ depending on p alone:

        ∂_r J = D ∂_r K,                           ∂_r D = (∂D/∂K₁₂) ∂_r K,
        ∂_p J = (∂J/∂K₁₁) ∂_p K₁₁ + D ∂_p K,       ∂_p D = (∂D/∂K₁₁) ∂_p K₁₁ + (∂D/∂K₁₂) ∂_p K.
    """
    first, others = _split(layers)

    def layer(state: tuple[jax.Array, ...], this: Layers[jax.Array]) -> tuple[tuple[jax.Array, ...], None]:
        k11, k11_p, k22, k, k_p, k_r, theta, theta_p, theta_r = state
        j, dj = dual_with_derivatives(phi, k11, k22, k, terms)
        j_r, d_r = j.slope * k_r, dj.slope_12 * k_r
        j_p = dj.value_11 * k11_p + j.slope * k_p
        d_p = dj.slope_11 * k11_p + dj.slope_12 * k_p
        s, w = this.weight_variance, this.weight_speed
        return (
            _next_variance(phi, this, k11),
            s * moments(phi, k11).value_slope * k11_p,
            _next_variance(phi, this, k22),
            s * j.value + this.bias_variance,
            s * j_p,
            s * j_r,
            s * (w * j.value + j.slope * theta) + this.bias_speed,
            s * (w * j_p + d_p * theta + j.slope * theta_p),
            s * (w * j_r + d_r * theta + j.slope * theta_r),
        ), None

    k11, k22, k = (first.weight_variance * s / d_in + first.bias_variance for s in (p, q, r))
    slope = first.weight_variance / d_in
    zero = jnp.zeros_like(r)
    kernels = (k11, slope + jnp.zeros_like(p), k22, k, zero, slope + zero)
    start: tuple[jax.Array, ...] = (*kernels, _first_ntk(first, d_in, r), zero, first.weight_speed * slope + zero)
    (_, _, _, k, k_p, k_r, theta, theta_p, theta_r), _ = jax.lax.scan(layer, start, others)
    return PairKernels(k, theta), PairDerivatives(k_p, k_r, theta_p, theta_r)


def point_kernels(phi: Activation, layers: Layers[Any], d_in: int, p: jax.Array) -> PointKernels:
    """Variance and gradient covariance at initialization, for any activation.

    With s = ½∇K = γx and G = Cov(∇f) = aI + bxxᵀ,

        s ← σ² E[φφ'u]/K · s,     G ← σ² (E[φ'²] (G − ssᵀ/K) + E[φ'²u²] ssᵀ/K²).

    Args:
        phi: the activation.
        layers: one row per layer.
        d_in: d.
        p: (a,) squared norms, such that the first layer's K is positive.
    """
    first, others = _split(layers)

    def layer(state: tuple[jax.Array, ...], this: Layers[jax.Array]) -> tuple[tuple[jax.Array, ...], None]:
        k, gamma, a, b = state
        e = moments(phi, k)
        ratio = gamma * (gamma / k)
        s = this.weight_variance
        return (
            s * e.value + this.bias_variance,
            s * e.value_slope * gamma,
            s * e.slope * a,
            s * (e.slope * (b - ratio) + e.slope_weighted * ratio),
        ), None

    slope = first.weight_variance / d_in + jnp.zeros_like(p)
    variance = first.weight_variance * p / d_in + first.bias_variance
    start: tuple[jax.Array, ...] = (variance, slope, slope, jnp.zeros_like(p))
    state, _ = jax.lax.scan(layer, start, others)
    return PointKernels(*state)


def variances_by_layer(phi: Activation, layers: Layers[Any], d_in: int, p: jax.Array) -> jax.Array:
    """K of the inputs of each hidden activation (L − 1, a), from squared norms p (a,)."""
    first, others = _split(layers)

    def layer(k: jax.Array, this: Layers[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return _next_variance(phi, this, k), k

    _, found = jax.lax.scan(layer, first.weight_variance * p / d_in + first.bias_variance, others)
    return found


def _next_variance(phi: Activation, this: Layers[jax.Array], k: jax.Array) -> jax.Array:
    return this.weight_variance * moments(phi, k).value + this.bias_variance


def _first_ntk(first: Layers[jax.Array], d_in: int, r: jax.Array) -> jax.Array:
    return first.weight_speed * first.weight_variance * r / d_in + first.bias_speed


def _split(layers: Layers[Any]) -> tuple[Layers[jax.Array], Layers[jax.Array]]:
    """The first layer's numbers, and those of all others along a leading axis."""
    arrays = [jnp.asarray(field) for field in layers]
    return Layers(*(a[0] for a in arrays)), Layers(*(a[1:] for a in arrays))
