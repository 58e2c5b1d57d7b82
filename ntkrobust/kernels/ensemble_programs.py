"""Compiled programs that compute what an infinite-width ensemble does at test points, in float64.

Each takes the model (static), the layers, the points and what training left of them; points come in batches along the
first axis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkrobust.kernels import trained
from ntkrobust.kernels.layers import Layers
from ntkrobust.kernels.recursion import pair_kernels
from ntkrobust.kernels.tiles import inner_products
from ntkrobust.kernels.trained import Model, Row, Training

propagators = jax.jit(trained.propagators_with_gram)


def _of_points(quantity: Callable[[Model, Row, Training], jax.Array]) -> Callable[..., Any]:
    """A program that computes the kernels' rows at points and a quantity from them; what it doesn't use is left out by
    the compiler."""

    @functools.partial(jax.jit, static_argnums=0)
    def program(model: Model, layers: Layers[Any], x: jax.Array, train: Training) -> jax.Array:
        return quantity(model, trained.kernel_row(model, layers, x, train.x), train)

    return program


mean = _of_points(lambda model, row, train: trained.mean(row, train))
variance = _of_points(lambda model, row, train: trained.variance(row, train))
gradient_mean = _of_points(lambda model, row, train: trained.gradient_mean(row, train))
gradient_mean_sq = _of_points(lambda model, row, train: trained.gradient_mean_sq(row, train))
gradient_moments = _of_points(
    lambda model, row, train: jnp.stack(
        [
            trained.gradient_mean_sq(row, train),
            trained.gradient_variance(row, train, model.d_in),
            trained.gradient_resolution(row, train, model.d_in),
        ],
        axis=1,
    )
)
gradient_covariance = _of_points(lambda model, row, train: trained.gradient_covariance(row, train))
gradient_value_covariance = _of_points(lambda model, row, train: trained.gradient_value_covariance(row, train))


@functools.partial(jax.jit, static_argnums=0)
def covariance(model: Model, layers: Layers[Any], x: jax.Array, train: Training) -> jax.Array:
    """Cov(f, f') (a, a) between all points x (a, d)."""
    p, q, r = inner_products(x, x)
    r = jnp.where(jnp.eye(len(r), dtype=bool), p, r)
    at_test = pair_kernels(model.phi, model.terms, layers, model.d_in, p, q, r).nngp
    return trained.covariance(trained.kernel_row(model, layers, x, train.x), train, at_test)


@functools.partial(jax.jit, static_argnums=0)
def squared_difference(model: Model, layers: Layers[Any], pairs: jax.Array, train: Training) -> jax.Array:
    """(a, 2): E‖f(x̂) − f(x)‖² for the pairs (a, 2, d), and its rounding error."""
    row, moved = (trained.kernel_row(model, layers, pairs[:, i], train.x) for i in range(2))

    def crossed(pair: jax.Array) -> jax.Array:
        kernels = pair_kernels(model.phi, model.terms, layers, model.d_in, *inner_products(pair[:1], pair[1:]))
        return kernels.nngp[0, 0]

    return trained.squared_difference(row, moved, train, jax.vmap(crossed)(pairs))


@functools.partial(jax.jit, static_argnums=0)
def spectrum(model: Model, layers: Layers[Any], x: jax.Array, train: Training, basis: jax.Array | None) -> jax.Array:
    """(a, k + ok + 1): eigenvalues, means along the eigenvectors, variance elsewhere; see ``gradient_law``."""
    if basis is not None:
        inside = x @ basis
        outside = jnp.sum((x - inside @ basis.T) ** 2, axis=1, keepdims=True)
        x = jnp.concatenate([inside, jnp.sqrt(outside)], axis=1)
    row = trained.kernel_row(model, layers, x, train.x)
    c, vectors = jnp.linalg.eigh(trained.gradient_covariance(row, train), symmetrize_input=False)
    m = jnp.einsum("aod,adk->aok", trained.gradient_mean(row, train), vectors)
    return jnp.concatenate([c, m.reshape(len(c), -1), row.point.isotropic[:, None]], axis=1)
