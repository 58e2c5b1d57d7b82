"""What an attack sees at a point, and the worst it has found."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.finite.attacks import classes

Function = Callable[[jax.Array], jax.Array]
"""A network: f(x) (o, n) at x (d, n)."""

Loss = Callable[[jax.Array], jax.Array]
"""Outputs (o, n) to one number per point (n,)."""


class Evaluation(NamedTuple):
    """A network at points.

    Attributes:
        x: (d, n).
        outputs: (o, n).
        loss: (n,).
        gradient: ∂loss/∂x (d, n); a coordinate that is not finite gives no direction and is 0.
    """

    x: jax.Array
    outputs: jax.Array
    loss: jax.Array
    gradient: jax.Array


def look(f: Function, loss: Loss, x: jax.Array) -> Evaluation:
    """One forward and one backward pass."""

    def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        outputs = f(x)
        each = loss(outputs)
        return jnp.sum(each), (outputs, each)

    # A point's loss depends on that point only, so the gradient of the sum is every point's own.
    gradient, (outputs, each) = jax.grad(total, has_aux=True)(x)
    return Evaluation(x, outputs, each, jnp.where(jnp.isfinite(gradient), gradient, 0))


class Found(NamedTuple):
    """The worst point so far around each input.

    Attributes:
        x: (d, n), of the smallest margin.
        margin: (n,), see :func:`ntkrobust.finite.attacks.classes.margin`.
        is_kept: (n,), whether no point seen has another class.
    """

    x: jax.Array
    margin: jax.Array
    is_kept: jax.Array


def at_input(f: Function, label: jax.Array, x: jax.Array) -> Found:
    """The inputs themselves: the first candidates of every attack."""
    outputs = f(x)
    return Found(x, classes.margin(outputs, label), classes.is_kept(outputs, label))


def worse_of(found: Found, label: jax.Array, x: jax.Array, outputs: jax.Array) -> Found:
    """The worse of what was found and new points (d, n) with their outputs (o, n)."""
    margin, is_kept = classes.margin(outputs, label), classes.is_kept(outputs, label)
    # With equal margins the point that has lost the class: it may lose it in a tie.
    is_worse = (margin < found.margin) | ((margin == found.margin) & found.is_kept & ~is_kept)
    # An output that is no number has no class: that is kept too, and said of the point, not taken for a success.
    is_worse = (is_worse | jnp.isnan(margin)) & ~jnp.isnan(found.margin)
    return Found(
        jnp.where(is_worse, x, found.x),
        jnp.where(is_worse, margin, found.margin),
        found.is_kept & is_kept,
    )
