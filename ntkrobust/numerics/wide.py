"""Float64 inside programs of float32: numbers that claim a side are made there, and leave rounded to that side.

With b-bit roundoff u = 2⁻⁵³ a sum of n products is off by at most γ_n = nu/(1 − nu) of the sum of their sizes, in any
order of summation (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., §3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.numerics.precision import TRAINING_DTYPE

UNIT = 2.0**-53
"""Unit roundoff of float64."""

_TINY = float(np.finfo(np.float32).tiny)


def in_float64(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that computes in float64, and may stand inside programs of float32, where it is batched.

    ``compute`` is traced where float64 is on; what it returns must be of types that exist where it is off. JAX batches
    a traced function where ``vmap`` is called, and there float64 is off: batches become a loop.
    """

    @jax.custom_batching.custom_vmap
    def one(*arguments: Any) -> Any:
        with jax.enable_x64(True):
            return compute(*arguments)

    @one.def_vmap
    def of_batch(size: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        every = jax.tree.map(
            lambda array, is_batched: array if is_batched else jnp.broadcast_to(array, (size, *jnp.shape(array))),
            arguments,
            tuple(batched),
        )
        found = jax.lax.map(lambda some: one(*some), every)
        return found, jax.tree.map(lambda _: True, found)

    return one


def widened(array: jax.Array) -> jax.Array:
    """The same float32 numbers in float64, subnormal ones (below 2⁻¹²⁶) too, which devices may take for zero."""
    array = jnp.asarray(array)
    if array.dtype != TRAINING_DTYPE:
        return array.astype(jnp.float64)
    bits = jax.lax.bitcast_convert_type(array, jnp.int32)
    size = (bits & 0x7FFFFFFF).astype(jnp.float64) * 2.0**-149
    return jnp.where(bits & 0x7F800000 == 0, jnp.where(bits < 0, -size, size), array.astype(jnp.float64))


def rounded_down(value: jax.Array) -> jax.Array:
    """A float32 number that is not above the float64 one: the nearest or the next; normal or zero. NaN stays NaN."""
    single = value.astype(TRAINING_DTYPE)
    below = jnp.nextafter(single, jnp.full_like(single, -np.inf))
    down = jnp.where(single.astype(jnp.float64) > value, below, single)
    # Devices may take what is not normal for zero.
    small = jnp.abs(value) < _TINY
    return jnp.where(small, jnp.where(value < 0, -_TINY, 0.0).astype(TRAINING_DTYPE), down)


def rounded_up(value: jax.Array) -> jax.Array:
    """A float32 number that is not below the float64 one."""
    return -rounded_down(-value)
