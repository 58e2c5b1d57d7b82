"""Derivatives of one network's output: with respect to inputs (Jacobian) and to parameters (empirical NTK)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkrobust.networks.activations import Activation
from ntkrobust.networks.parameters import (
    LayerScales,
    Parameters,
    Stacked,
    hidden_pre_activations,
    packed,
    pre_activations,
    stack,
)
from ntkrobust.numerics import scaling


def input_jacobian(phi: Activation, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
    """J(x) = ∂f/∂x (n, o, d) of one fully connected network at x (n, d).

    Row k is W_1ᵀ δ_1 with δ_{L−1} = φ'(z_{L−1}) ∘ W_L[k] and δ_l = φ'(z_l) ∘ (W_{l+1}ᵀ δ_{l+1}), weights times their
    gains. One output after the other: its arrays stay in the cache, with one point per column.
    """
    parameters, gains = packed(parameters), scales.weight_gain
    # Transposed here, once: CPUs are faster at W δ than at Wᵀ δ, which the compiler would make of it inside the loop.
    first, *hidden = (weight.swapaxes(-1, -2) for weight in parameters.weights[:-1])

    def down(delta: jax.Array, layer: tuple) -> tuple[jax.Array, None]:
        gain, transposed, z = layer
        return gain * (transposed @ delta) * _slope(phi, z), None

    below: Any
    if isinstance(parameters, Stacked):
        z_last, below = hidden_pre_activations(phi, scales, parameters, x.T)
    else:
        (*below, z_last, _), _ = pre_activations(phi, scales, parameters, x.T)

    def row(of_output: jax.Array) -> jax.Array:
        delta = gains[-1] * of_output[:, None] * _slope(phi, z_last)
        if isinstance(parameters, Stacked):
            delta, _ = jax.lax.scan(down, delta, (gains[1:-1], *hidden, below), reverse=True)
        else:
            for layer in reversed(list(zip(gains[1:-1], hidden, below, strict=True))):
                delta, _ = down(delta, layer)
        return gains[0] * (first @ delta)

    return jax.lax.map(row, parameters.weights[-1]).transpose(2, 0, 1)


def _slope(phi: Activation, z: jax.Array) -> jax.Array:
    """φ'(z)."""
    return jax.jvp(phi, (z,), (jnp.ones_like(z),))[1]


def jacobian_of_columns(outputs: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """J(x) = ∂f/∂x (n, o, d) at x (n, d), at the cost of one forward pass and o backward passes, one after the other.

    Args:
        outputs: x (d, n) ↦ f (o, n), each column of one point.
        x: the points.
    """
    f, pull_back = jax.vjp(outputs, x.T)
    # f at one point depends on x at that point only, so a row of ones pulls back an output's gradients at all points.
    each = jnp.broadcast_to(jnp.eye(len(f), dtype=f.dtype)[:, :, None], (len(f), *f.shape))
    return jax.lax.map(lambda of: pull_back(of)[0], each).transpose(2, 0, 1)


def empirical_ntk(
    phi: Activation,
    scales: LayerScales,
    parameters: Parameters | Stacked,
    x: jax.Array,
    factor: jax.Array | float = 1.0,
) -> jax.Array:
    """factor²·Θ(x, x), Θ = ∂f/∂θ (∂f/∂θ)^T, (n, o, n, o) of one network at x (n, d).

    With h_l the outputs of layer l (h_0 = x) and δ_l = ∂f/∂z_l, the derivative with respect to W_l is δ_l h_{l−1}^T. So
    Θ = Σ_l (h_{l−1}·h_{l−1}') (δ_l·δ_l') (plus δ_l·δ_l' for each bias), and no derivative with respect to parameters is
    ever formed.
    """
    stacked = stack(parameters)
    _, hidden, last = stacked.weights
    gains = scales.weight_gain
    z_last, below = hidden_pre_activations(phi, scales, stacked, x.T)

    def of_layer(gain: jax.Array, h: jax.Array, delta: jax.Array) -> jax.Array:
        """(o, n, o, n), from h (fan_in, n) and δ (fan_out, o, n)."""
        # The square of a gain may be no number of float32: a power of two near it goes to δ.
        of = scaling.unit(jnp.maximum(jnp.abs(gain), scales.bias_gain) if stacked.biases else gain)
        gram = (gain / of) ** 2 * (h.T @ h)
        if stacked.biases:
            gram = gram + (scales.bias_gain / of) ** 2
        signals = of * delta.reshape(len(delta), -1)
        return gram[None, :, None, :] * (signals.T @ signals).reshape(*delta.shape[1:], *delta.shape[1:])

    def pulled_back(gain: jax.Array, weight: jax.Array, delta: jax.Array, z: jax.Array) -> jax.Array:
        # δ_l = (W_{l+1}ᵀ δ_{l+1}) ∘ φ'(z_l): one product for all outputs and points
        back = gain * (weight.T @ delta.reshape(len(delta), -1)).reshape(-1, *delta.shape[1:])
        return back * _slope(phi, z)[:, None]

    def down(carry: tuple, one: tuple) -> tuple[tuple, None]:
        theta, delta = carry
        weight, gain, z = one
        return (theta + of_layer(gain, phi(z), delta), pulled_back(gain, weight, delta, z)), None

    o, n = len(last), len(x)
    delta = jnp.broadcast_to(factor * jnp.eye(o, dtype=x.dtype)[:, :, None], (o, o, n))
    theta = of_layer(gains[-1], phi(z_last), delta)
    delta = pulled_back(gains[-1], last, delta, z_last)
    # From W_{L−1} down to W_2: h_{l−1} = φ(z_{l−1}).
    (theta, delta), _ = jax.lax.scan(down, (theta, delta), (hidden, gains[1:-1], below), reverse=True)
    return (theta + of_layer(gains[0], x.T, delta)).transpose(1, 0, 3, 2)


def kernel_by_jacobian(
    outputs: Callable[[Parameters, jax.Array], jax.Array],
    parameters: Parameters,
    x: jax.Array,
    factor: jax.Array | float = 1.0,
) -> jax.Array:
    """factor²·Θ(x, x) (n, o, n, o) of any network.

    From its derivatives by the parameters, which take n·o times their memory.

    Args:
        outputs: (parameters, x (n, d)) ↦ f(x) (n, o).
        parameters: of one network.
        x: the points.
    """

    def rows(point: jax.Array) -> Parameters:
        """∂f(x)/∂θ, each array of parameters with a leading axis of the outputs."""
        f, pull_back = jax.vjp(lambda one: outputs(one, point[None])[0], parameters)
        return jax.vmap(lambda of: pull_back(of)[0])(factor * jnp.eye(len(f), dtype=f.dtype))

    each = jax.tree.leaves(jax.vmap(rows)(x))
    n, o = each[0].shape[:2]
    flat = (leaf.reshape(n * o, -1) for leaf in each)
    return sum((leaf @ leaf.T for leaf in flat), jnp.zeros((), x.dtype)).reshape(n, o, n, o)


def parameter_gradient_unit(outputs: Callable[[Parameters], jax.Array], parameters: Parameters) -> jax.Array:
    """A power of two near the largest |∂Σf/∂θ_j|, Σ over all points and outputs; 1 where it is zero.

    Args:
        outputs: parameters ↦ f(X) (n, o).
        parameters: of one network.
    """
    slopes = jax.tree.leaves(jax.grad(lambda one: jnp.sum(outputs(one)))(parameters))
    most = jnp.max(jnp.stack([jnp.max(jnp.abs(slope)) for slope in slopes]))
    return jnp.where(most > 0, scaling.unit(most), 1)


def ntk_largest_eigenvalue(
    outputs: Callable[[Any], jax.Array], parameters: Parameters | Stacked, start: jax.Array, iterations: int = 12
) -> jax.Array:
    """Largest eigenvalue of the empirical NTK on the points behind ``outputs``, by power iteration.

    Never forms the kernel: each iteration costs one reverse and one forward derivative of ``outputs``, the map from
    parameters to f(X) (n, o). The value is a Rayleigh quotient, so it approaches λ_max from below; what is left is of
    relative order (λ_2/λ_max)^(2·iterations).

    Args:
        outputs: parameters ↦ f(X).
        parameters: of one network.
        start: (n, o), any array that is not orthogonal to the leading eigenvector.
        iterations: number of products with the kernel.
    """
    _, pull_back = jax.vjp(outputs, parameters)
    _, push_forward = jax.linearize(outputs, parameters)

    def multiply(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        v = carry[0]
        norm = scaling.norm(v)
        v = v / jnp.where(norm > 0, norm, 1)  # a kernel that is zero has λ_max = 0
        theta_v = push_forward(*pull_back(v))
        return theta_v, jnp.vdot(v, theta_v)

    return jax.lax.fori_loop(0, iterations, multiply, (start, jnp.zeros((), start.dtype)))[1]
