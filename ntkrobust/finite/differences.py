"""f(x + δ) − f(x) and its kin in float64, with what rounding may have added.

Outputs in float32 are known to some 1e-7 of their size. For small δ that is more than they change by, and a quotient by
‖δ‖ is made of rounding: of an affine network it comes out above its Lipschitz constant. Steps of attacks can live with
that; numbers that claim a side cannot. So these few evaluations are made in float64, of the same float32 weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.networks.models import Model
from ntkrobust.numerics.scaling import Scaled
from ntkrobust.numerics.wide import in_float64

_KEPT = 1 - 2.0**-20
"""What is rounded to float32, summed there and divided is multiplied by it to be below."""


class Change(NamedTuple):
    """What an output changes by.

    Attributes:
        value: f(x + δ) − f(x) (o, n), float32.
        rounding: (n,) float32, no less than the sum over outputs of what float64 may have added.
    """

    value: jax.Array
    rounding: jax.Array


def change(model: Model, scales: Any, parameters: Any, x: jax.Array, delta: jax.Array) -> Change:
    """f(x + δ) − f(x), for x and δ (d, n)."""
    return _change(model)(scales, parameters, x, delta)


def quotient_below(found: Change, away: jax.Array) -> jax.Array:
    """A number not above ‖f(x + δ) − f(x)‖₁/‖δ‖ (n,), for lengths ‖δ‖ (n,); 0 where δ is."""
    total = jnp.sum(jnp.abs(found.value), axis=0) * _KEPT - found.rounding
    smallest = jnp.finfo(away.dtype).tiny
    return jnp.where(away > 0, jnp.maximum(total, 0) / jnp.maximum(away, smallest) * _KEPT, 0)


def divergence_slope(
    model: Model,
    scales: Any,
    parameters: Any,
    x: jax.Array,
    delta: jax.Array,
    movable: jax.Array,
) -> Scaled:
    """‖∇_{x'} KL(p(x)‖p(x'))‖₁ (n,) at x' = x + δ, rounded down; p is the softmax of f, or (σ(f), σ(−f)) of one output.

    ``movable`` (d, n) is 1 for the coordinates of the gradient that count, 0 for others.
    """
    value, exponent = _divergence_slope(model)(scales, parameters, x, delta, movable)
    return Scaled(value, exponent.astype(jnp.int32))


def _in_float64(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays, computed in float64 and rounded to float32."""

    def rounded(*arguments: Any) -> Any:
        found = compute(*jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), arguments))
        return jax.tree.map(lambda array: array.astype(jnp.float32), found)

    return in_float64(rounded)


@cache
def _change(model: Model) -> Callable[..., Change]:
    def compute(scales: Any, parameters: Any, x: Any, delta: Any) -> Change:
        value = model.outputs_in_columns(scales, parameters, x + delta) - model.outputs_in_columns(
            scales, parameters, x
        )
        return Change(value, model.float64_error(scales, parameters, x, delta))

    return _in_float64(compute)


@cache
def _divergence_slope(model: Model) -> Callable[..., tuple[jax.Array, jax.Array]]:
    def compute(scales: Any, parameters: Any, x: Any, delta: Any, movable: Any) -> tuple[jax.Array, jax.Array]:
        clean = model.outputs_in_columns(scales, parameters, x)
        moved, pull_back = jax.vjp(lambda at: model.outputs_in_columns(scales, parameters, at), x + delta)
        # ∂KL/∂f' = p' − p
        (gradient,) = pull_back(_probability_change(clean, moved)[: len(clean)])
        size = jnp.sum(jnp.abs(gradient) * movable, axis=0) * _KEPT
        # Not frexp: it reads the bits as integers of 64, which JAX has not where a program is of float32.
        exponent = jnp.where((size > 0) & jnp.isfinite(size), jnp.ceil(jnp.log2(size)), 0.0)
        return size * jnp.exp2(-exponent), exponent

    return _in_float64(compute)


def _probability_change(clean: jax.Array, moved: jax.Array) -> jax.Array:
    """p' − p (max(o, 2), n) from outputs f and f' (o, n), to the digits of f' − f.

    With Δ = f' − f − ⟨p, f' − f⟩, which changes no probability, p' − p = p (e^Δ − E)/E with E = ⟨p, e^Δ⟩.
    """
    if len(clean) == 1:
        # σ(f) is the softmax of (f, 0).
        clean, moved = (jnp.concatenate([f, jnp.zeros_like(f)]) for f in (clean, moved))
    p = jax.nn.softmax(clean, axis=0)
    change = moved - clean
    change = change - jnp.sum(p * change, axis=0)
    is_small = jnp.max(jnp.abs(change), axis=0) < 1
    grown = jnp.expm1(jnp.where(is_small, change, 0))
    mean = jnp.sum(p * grown, axis=0)
    return jnp.where(is_small, p * (grown - mean) / (1 + mean), jax.nn.softmax(moved, axis=0) - p)
