"""Sums of squares of any size: squares of float32 numbers below 1e-19 vanish, and those above 1e19 overflow.

A power of two near the largest entry is divided out first. That is exact, and so is multiplying the root by it again:
where no square leaves the range of float32 anyway, the result is the one without it, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Axes = int | tuple[int, ...] | None


def unit(x: jax.Array, axis: Axes = None) -> jax.Array:
    """The power of two 2^e with 2^e ≤ max |x| < 2^(e+1), over ``axis``, which stays with length 1.

    No smaller than the smallest normal number, also where all is zero, and such that its inverse is one: dividing by it
    is exact, unless a quotient lies 2¹²⁶ times below the largest. Not differentiated.
    """
    most = jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis, keepdims=True)
    single = most.dtype == jnp.float32
    # The sign and the exponent of a float without its fraction: a power of two; infinite for infinities and NaN.
    bits, kind, exponent = (jnp.int32, jnp.float32, 0x7F800000) if single else (jnp.int64, jnp.float64, 0x7FF << 52)
    power = jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(most, bits) & bits(exponent), kind)
    smallest = jnp.finfo(kind).tiny
    return jnp.clip(power, smallest, 1 / smallest)


class SumOfSquares(NamedTuple):
    """Σx² = value · unit².

    Attributes:
        value: Σ(x/unit)².
        unit: a power of two.
    """

    value: jax.Array
    unit: jax.Array

    @property
    def root(self) -> jax.Array:
        """√Σx²."""
        return jnp.sqrt(self.value) * self.unit

    def over(self, other: SumOfSquares) -> jax.Array:
        """√(Σx²/Σy²)."""
        return jnp.sqrt(self.value / other.value) * (self.unit / other.unit)

    def scaled(self, power: int = 1) -> Scaled:
        """(Σx²)^power, as a number that float32 need not hold."""
        return Scaled(self.value**power, 2 * power * exponent_of(self.unit))


def sum_of_squares(x: jax.Array, axis: Axes = None) -> SumOfSquares:
    """Σx² over ``axis``, all of them by default."""
    of = unit(x, axis)
    return SumOfSquares(jnp.sum((x * (1 / of)) ** 2, axis), jnp.squeeze(of, axis))


def sum_of_all_squares(arrays: Sequence[jax.Array]) -> SumOfSquares:
    """Σx² over all entries of all arrays."""
    arrays = [one for one in arrays if one.size]
    of = jnp.max(jnp.stack([jnp.squeeze(unit(one)) for one in arrays]))
    return SumOfSquares(sum(jnp.sum((one * (1 / of)) ** 2) for one in arrays), of)  # type: ignore[arg-type]


def mean_square_of_rows(x: jax.Array) -> SumOfSquares:
    """The mean of ‖x_i‖² over the rows of x (n, o)."""
    of = unit(x)
    return SumOfSquares(jnp.mean(jnp.sum((x * (1 / of)) ** 2, axis=-1)), of[0, 0])


def norm(x: jax.Array, axis: Axes = None) -> jax.Array:
    """√Σx² over ``axis``, all of them by default: ``jnp.linalg.norm``, for entries of any size."""
    return sum_of_squares(x, axis).root


class Scaled(NamedTuple):
    """The number value · 2^exponent, which float32 need not hold.

    Attributes:
        value: float32.
        exponent: int32.
    """

    value: Any
    exponent: Any

    def times(self, factor: float) -> Scaled:
        """The number times a factor of ordinary size."""
        return Scaled(self.value * factor, self.exponent)


def exponent_of(power: jax.Array) -> jax.Array:
    """e of a power of two 2^e that is a normal float32 number."""
    return (jax.lax.bitcast_convert_type(power, jnp.int32) >> 23) - 127


def resolved(number: Any) -> npt.NDArray[np.floating]:
    """What a program gave, as an array: float32, or float64 where a :class:`Scaled` number doesn't fit into it."""
    if not isinstance(number, Scaled):
        return np.asarray(number)
    wide = np.ldexp(np.asarray(number.value, np.float64), number.exponent)
    limits, size = np.finfo(np.float32), np.abs(wide[np.isfinite(wide) & (wide != 0)])
    fits = size.size == 0 or (np.min(size) >= limits.tiny and np.max(size) <= limits.max)
    return wide.astype(np.float32) if fits else wide
