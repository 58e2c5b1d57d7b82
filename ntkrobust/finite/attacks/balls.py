"""Balls of allowed perturbations around inputs, cut by the range of the data: what attacks move in.

The norm is static in programs; radii and ranges are run-time arrays, so that other radii need no other program. Points
lie along the last axis, (d, n), as in networks: rows are long, and steps along gradients turn nothing on its side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.norms import Norm
from ntkrobust.numerics import scaling

TINY = float(np.finfo(np.float32).tiny)
"""Lengths are divided by this at least: the smallest normal number."""


class Ball(NamedTuple):
    """{x' : ‖x' − centre‖ ≤ radius, lower ≤ x' ≤ upper}, for many centres at once.

    Attributes:
        centre: (d, n) inputs, within the range.
        radius: () or (n,) radius in the units of x, at least zero.
        lower, upper: (), (1, 1) or (d, 1) range of the data; ∓∞ where there is none.
        movable: (d, 1) bool, the coordinates in which points may differ from the centre; None for all.
    """

    centre: jax.Array
    radius: jax.Array
    lower: jax.Array
    upper: jax.Array
    movable: jax.Array | None = None

    @classmethod
    def around(
        cls, x: jax.Array, radius: jax.Array, lower: jax.Array, upper: jax.Array, movable: jax.Array | None = None
    ) -> Ball:
        """The ball around inputs x (n, d), with a range () or (d,) and ``movable`` (d,)."""
        free = None if movable is None else jnp.reshape(movable, (-1, 1))
        return cls(x.T, radius, jnp.reshape(lower, (-1, 1)), jnp.reshape(upper, (-1, 1)), free)

    @classmethod
    def within(cls, x: jax.Array, radius: jax.Array, domain: Mapping[str, Any]) -> Ball:
        """The ball around inputs x (n, d) in a domain, of which :meth:`ntkrobust.domain.Domain.arrays` are given."""
        return cls.around(x, radius, domain["lower"], domain["upper"], domain.get("movable"))

    def moving(self, change: jax.Array) -> jax.Array:
        """A change (d, n) in the coordinates that may move, 0 in the others."""
        return change if self.movable is None else jnp.where(self.movable, change, 0)


def length(norm: Norm, difference: jax.Array) -> jax.Array:
    """‖·‖ (n,) of columns (d, n)."""
    if norm == "linf":
        return jnp.max(jnp.abs(difference), axis=0)
    if norm == "l2":
        return scaling.norm(difference, 0)
    return jnp.sum(jnp.abs(difference), axis=0)


def project(norm: Norm, ball: Ball, x: jax.Array) -> jax.Array:
    """The nearest point of the ball without its range, then cut to the range, (d, n).

    The centre is within the range, so cutting moves each coordinate towards the centre's: the point stays in the ball.
    Coordinates that may not move are set back first, so that none of the radius is spent on them.
    """
    difference, radius = ball.moving(x - ball.centre), ball.radius
    if norm == "linf":
        difference = _clip(difference, -radius, radius)
    elif norm == "l2":
        difference = difference * jnp.minimum(1.0, radius / jnp.maximum(length(norm, difference), TINY))
    else:
        difference = _onto_l1(difference, radius)
    return _clip(ball.centre + difference, ball.lower, ball.upper)


def _clip(x: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """x cut to a range. Comparisons leave NaN alone by themselves; minimum and maximum, on CPUs, at a price."""
    return jnp.where(x < lower, lower, jnp.where(x > upper, upper, x))


def _onto_l1(difference: jax.Array, radius: jax.Array) -> jax.Array:
    """Nearest point of the ℓ1 ball (d, n): soft thresholding at the level that makes the length the radius.

    With |δ| sorted in falling order, the threshold is (Σ_{i≤k} |δ|_(i) − r)/k for the largest k at which it lies below
    |δ|_(k).
    """
    size = jnp.abs(difference)
    falling = -jnp.sort(-size, axis=0)
    count = jnp.arange(1, len(size) + 1, dtype=size.dtype)[:, None]
    threshold = (jnp.cumsum(falling, axis=0) - radius) / count
    kept = jnp.sum(falling > threshold, axis=0, keepdims=True)
    level = jnp.take_along_axis(threshold, jnp.maximum(kept - 1, 0), axis=0)
    inside = jnp.sum(size, axis=0) <= radius
    left = jnp.maximum(size - level, 0)
    # Far from the ball the threshold is rounded by more than the radius is.
    left = left * jnp.minimum(1.0, radius / jnp.maximum(jnp.sum(left, axis=0), TINY))
    return jnp.where(inside, difference, jnp.sign(difference) * left)


def random_point(norm: Norm, ball: Ball, key: jax.Array) -> jax.Array:
    """A uniform point of the ball of the coordinates that may move, then cut to the range, (d, n)."""
    d, n = ball.centre.shape
    dtype = ball.centre.dtype
    key_direction, key_radius = jax.random.split(key)
    if norm == "linf":
        step = ball.moving(jax.random.uniform(key_direction, (n, d), dtype, -1.0, 1.0).T)
    else:
        # A uniform point of the ℓp ball in k dimensions is a point of its cone measure times U^{1/k}.
        draw = jax.random.normal if norm == "l2" else jax.random.laplace
        step = ball.moving(draw(key_direction, (n, d), dtype).T)
        step = step / jnp.maximum(length(norm, step), TINY)
        root = 1 / d if ball.movable is None else 1 / jnp.maximum(jnp.sum(ball.movable, dtype=dtype), 1)
        step = step * jax.random.uniform(key_radius, (n,), dtype) ** root
    return jnp.clip(ball.centre + ball.radius * step, ball.lower, ball.upper)


def climb(norm: Norm, ball: Ball, x: jax.Array, gradient: jax.Array, size: jax.Array) -> jax.Array:
    """x' = Π(x + size · v) from points x (d, n) of the ball, v the steepest direction of length 1 that is allowed."""
    gradient = ball.moving(gradient)
    if norm == "l1":
        # One coordinate moves: not one that the range holds back.
        is_free = jnp.where(gradient > 0, x < ball.upper, x > ball.lower)
        gradient = jnp.where(is_free, gradient, 0)
    return project(norm, ball, x + size * steepest(norm, gradient))


def steepest(norm: Norm, gradient: jax.Array) -> jax.Array:
    """The direction of length 1 along which a function rises fastest, (d, n); zero where the gradient is.

    arg max_{‖v‖ ≤ 1} ⟨v, g⟩: sign(g) in ℓ∞, g/‖g‖₂ in ℓ2, the largest coordinate alone in ℓ1.
    """
    if norm == "linf":
        return jnp.sign(gradient)
    if norm == "l2":
        # Saturated networks have gradients whose squares underflow: the largest entry is divided out first.
        most = length("linf", gradient)
        scaled = gradient / jnp.where(most > 0, most, 1)
        return scaled / jnp.maximum(length(norm, scaled), 1)
    largest = jax.nn.one_hot(jnp.argmax(jnp.abs(gradient), axis=0), len(gradient), dtype=gradient.dtype, axis=0)
    return largest * jnp.sign(gradient)
