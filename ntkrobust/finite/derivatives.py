"""Derivatives of one network's output: with respect to inputs (Jacobian) and to parameters (empirical NTK)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ntkrobust.activations import Activation
from ntkrobust.finite.parameters import LayerScales, Parameters, pre_activations


def _backward(
    phi: Activation, scales: LayerScales, parameters: Parameters, x: jax.Array
) -> tuple[list[jax.Array], list[jax.Array]]:
    """The layers' inputs h_{l−1} (fan_in, n) and the derivatives δ_l = ∂f/∂z_l (fan_out, o, n), for x (n, d)."""
    z, inputs = pre_activations(phi, scales, parameters, x.T)
    o, n = z[-1].shape
    deltas = [jnp.broadcast_to(jnp.eye(o, dtype=z[-1].dtype)[:, :, None], (o, o, n))]
    for layer in range(len(z) - 1, 0, -1):
        slope = jax.jvp(phi, (z[layer - 1],), (jnp.ones_like(z[layer - 1]),))[1]
        # δ_l = (W_{l+1}ᵀ δ_{l+1}) ∘ φ'(z_l)
        deltas.insert(0, _pulled_back(scales.weight_gain[layer], parameters.weights[layer], deltas[0]) * slope[:, None])
    return inputs, deltas


def _pulled_back(gain: jax.Array, weight: jax.Array, delta: jax.Array) -> jax.Array:
    """gain·Wᵀδ (fan_in, o, n) for δ (fan_out, o, n): one product for all outputs and points."""
    return gain * (weight.T @ delta.reshape(len(delta), -1)).reshape(-1, *delta.shape[1:])


def input_jacobian(phi: Activation, scales: LayerScales, parameters: Parameters, x: jax.Array) -> jax.Array:
    """J(x) = ∂f/∂x (n, o, d) at x (n, d), at the cost of one forward pass and o backward passes."""
    _, deltas = _backward(phi, scales, parameters, x)
    return _pulled_back(scales.weight_gain[0], parameters.weights[0], deltas[0]).transpose(2, 1, 0)


def empirical_ntk(phi: Activation, scales: LayerScales, parameters: Parameters, x: jax.Array) -> jax.Array:
    """Θ(x, x) = ∂f/∂θ (∂f/∂θ)^T (n, o, n, o) of one network at x (n, d).

    The derivative with respect to W_l is δ_l h_{l−1}^T, so Θ = Σ_l (h_{l−1}·h_{l−1}') (δ_l·δ_l') (plus δ_l·δ_l' for
    each bias), without forming any Jacobian with respect to parameters.
    """
    inputs, deltas = _backward(phi, scales, parameters, x)
    o, n = deltas[-1].shape[1:]
    theta = jnp.zeros((), dtype=x.dtype)
    for layer, (h, delta) in enumerate(zip(inputs, deltas, strict=True)):
        gram = scales.weight_gain[layer] ** 2 * (h.T @ h)
        if parameters.biases:
            gram = gram + scales.bias_gain**2
        signals = delta.reshape(len(delta), o * n)
        theta = theta + gram[None, :, None, :] * (signals.T @ signals).reshape(o, n, o, n)
    return theta.transpose(1, 0, 3, 2)


def ntk_largest_eigenvalue(
    outputs: Callable[[Parameters], jax.Array], parameters: Parameters, start: jax.Array, iterations: int = 12
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
        norm = jnp.linalg.norm(v)
        v = v / jnp.where(norm > 0, norm, 1)  # a kernel that is zero has λ_max = 0
        theta_v = push_forward(*pull_back(v))
        return theta_v, jnp.vdot(v, theta_v)

    return jax.lax.fori_loop(0, iterations, multiply, (start, jnp.zeros((), start.dtype)))[1]
