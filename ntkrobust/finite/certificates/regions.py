"""Where the input of a network may be: a ball in ℓ∞, ℓ2 or ℓ1, cut by the range of the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.norms import Norm
from ntkrobust.numerics.wide import UNIT, widened

_ROUNDED = 2 * 2.0**-24
"""Two unit roundoffs of float32."""


class Region(NamedTuple):
    """{x' : ‖x' − x‖ ≤ r, lower ≤ x' ≤ upper}, and what surely holds it.

    Attributes:
        norm: of the ball.
        centre: x (d,).
        radius: r.
        lower, upper: (d,) of the smallest box around it; where a coordinate may not move they are x.
    """

    norm: Norm
    centre: jax.Array
    radius: jax.Array
    lower: jax.Array
    upper: jax.Array

    @classmethod
    def around(cls, norm: Norm, x: jax.Array, radius: jax.Array, domain: dict[str, Any], rounded: bool) -> Region:
        """The ball around one input (d,) within a domain; called where float64 is on.

        Args:
            norm: of the ball.
            x: (d,) float32.
            radius: float32.
            domain: as :meth:`ntkrobust.domain.Domain.arrays` gives it.
            rounded: whether the ball is to hold every float32 point whose distance to x float32 may have as r: rounding
                moves x + δ by u|x'| in each coordinate, and the length of δ, a sum of d terms, by (d + 8)ur.
        """
        x, radius = widened(x), widened(radius)
        if rounded:
            terms = 1 if norm == "linf" else len(x)
            radius = radius + _ROUNDED * (_length(norm, x) + (terms + 9) * radius)
        # The ends are rounded, outwards.
        lower, upper = (x + sign * radius * (1 + 8 * UNIT) + sign * 4 * UNIT * jnp.abs(x) for sign in (-1, 1))
        lower = jnp.maximum(lower, widened(domain["lower"]))
        upper = jnp.minimum(upper, widened(domain["upper"]))
        if "movable" in domain:
            lower, upper = (jnp.where(domain["movable"], end, x) for end in (lower, upper))
        return cls(norm, x, radius, lower, upper)

    @property
    def size(self) -> jax.Array:
        """(d,) what |x'| isn't above, nor |x| + r."""
        return jnp.abs(self.centre) + self.radius

    def least(self, rows: jax.Array) -> jax.Array:
        """Numbers (k,) not above Λ x' anywhere in the region, up to the rounding of sums, for rows Λ (k, d).

        In ℓ∞ the region is a box, and these are the least values. In ℓ2 and ℓ1 they are Λ x − r‖Λ'‖ in the dual norm,
        Λ' without the coordinates that can't move in the direction in which Λ falls, or the least values on the box.
        """
        falls, rises = jnp.maximum(rows, 0), jnp.minimum(rows, 0)
        on_box = falls @ self.lower + rises @ self.upper
        if self.norm == "linf":
            return on_box
        has_room = jnp.where(rows > 0, self.lower < self.centre, self.upper > self.centre)
        moved = jnp.where(has_room, jnp.abs(rows), 0)
        dual = jnp.sqrt(jnp.sum(moved**2, axis=1)) if self.norm == "l2" else jnp.max(moved, axis=1)
        return jnp.maximum(on_box, rows @ self.centre - self.radius * dual)


def _length(norm: Norm, x: jax.Array) -> jax.Array:
    if norm == "linf":
        return jnp.max(jnp.abs(x))
    return jnp.sqrt(jnp.sum(x**2)) if norm == "l2" else jnp.sum(jnp.abs(x))
