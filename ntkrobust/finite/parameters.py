"""Parameters of finite networks: how they are drawn, and the forward pass."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.networks import MLP
from ntkrobust.precision import TRAINING_DTYPE


class Parameters(NamedTuple):
    """Trained arrays of one network; with a leading axis on every array, of an ensemble.

    Attributes:
        weights: W_1 (m, d), W_2 … W_{L−1} (m, m), W_L (o, m).
        biases: b_1 … b_{L−1} (m,), b_L (o,); empty if the network has none.
    """

    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]


def seed_keys(key: jax.Array, seeds: tuple[int, ...]) -> jax.Array:
    """Keys (len(seeds),): seed i uses ``fold_in(key, i)``, so more seeds never change earlier ones."""
    return jax.vmap(lambda seed: jax.random.fold_in(key, seed))(jnp.asarray(seeds, dtype=jnp.uint32))


def initialize(net: MLP, key: jax.Array, d_in: int) -> Parameters:
    """Draw the parameters of one network.

    Entries are N(0, β_l²) in the standard parameterization and N(0, 1) in the NTK parameterization (biases N(0, s²)
    and N(0, 1)). Networks of different shape share no randomness; networks of one shape under different
    initializations share their underlying standard normals.

    Args:
        net: the network.
        key: a typed key.
        d_in: input dimension d.
    """
    shapes = net.layer_shapes(d_in)
    # Draws of different shape from one key share a prefix, which would tie widths and depths to each other.
    key = jax.random.fold_in(key, zlib.crc32(repr(shapes).encode()))
    if net.parameterization == "standard":
        scales = net.scales(d_in)
        betas = (scales.beta_first, *[scales.beta] * (net.depth - 2), scales.beta_last)
        bias_std = net.bias_std
    else:
        betas, bias_std = (1.0,) * net.depth, 1.0

    def normal(index: int, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, index), shape, dtype=TRAINING_DTYPE)

    weights = tuple(beta * normal(layer, shape) for layer, (beta, shape) in enumerate(zip(betas, shapes, strict=True)))
    if net.bias_std is None:
        return Parameters(weights, ())
    return Parameters(
        weights, tuple(bias_std * normal(net.depth + layer, shape[:1]) for layer, shape in enumerate(shapes))
    )


def forward_function(net: MLP, d_in: int) -> Callable[[Parameters, jax.Array], jax.Array]:
    """The map (parameters, x (n, d)) ↦ f(x) (n, o) of one network.

    f(x) = (1/α) W_L φ(W_{L−1} φ(… φ(W_1 x + b_1))) + b_L; the NTK parameterization multiplies W_l by β_l and b_l by
    ``bias_std`` here.
    """
    phi = net.phi
    scales = net.scales(d_in)
    if net.parameterization == "standard":
        gains = (1.0,) * (net.depth - 1) + (1 / scales.alpha,)
        bias_gain = 1.0
    else:
        gains = (scales.beta_first, *[scales.beta] * (net.depth - 2), scales.beta_last / scales.alpha)
        bias_gain = net.bias_std if net.bias_std is not None else 0.0

    def forward(parameters: Parameters, x: jax.Array) -> jax.Array:
        h = x
        for layer, (weight, gain) in enumerate(zip(parameters.weights, gains, strict=True)):
            h = h @ weight.T
            if gain != 1.0:
                h = gain * h
            if parameters.biases:
                h = h + bias_gain * parameters.biases[layer]
            if layer < net.depth - 1:
                h = phi(h)
        return h

    return forward
