"""Standard normals in any number, by one compiled program.

What makes random bits takes a compiler longer than a training step does, and arrays come in many sizes. With JAX's
partitionable bits, its default, each number depends on the key and on its own position alone. So arrays are drawn block
by block, each from where it begins.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.extend.random import define_prng_impl, threefry_2x32

from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.runtime.layout import plan_of_arrays, run_over_seeds
from ntkrobust.runtime.seeds import RawKeys

BLOCK = 2**9
"""Numbers drawn from one beginning: as fast on CPUs as longer ones, and of the last in an array less goes to waste."""


def normals(keys: RawKeys, *shape: int) -> npt.NDArray[np.float32]:
    """Standard normals (seed, *shape) from keys (seed,): ``jax.random.normal(key, shape)`` of each.

    That of partitionable bits, JAX's default, whatever ``jax_threefry_partitionable`` says.
    """
    size = math.prod(shape)
    blocks = _from_positions(keys.data, np.arange(0, size, BLOCK))
    drawn: npt.NDArray[np.float32] = run_over_seeds(_block, plan_of_arrays(BLOCK, len(blocks.data)), {}, blocks)
    return drawn.reshape(len(keys), -1)[:, :size].reshape(len(keys), *shape)


def _block(_: dict, key: jax.Array) -> jax.Array:
    return jax.random.normal(key, (BLOCK,), dtype=TRAINING_DTYPE)


def _from_positions(keys: np.ndarray, positions: np.ndarray) -> RawKeys:
    """Keys (seed · position,) of what each of ``keys`` (seed, 2) gives from each position on."""
    words = np.stack([positions >> 32, positions & 0xFFFFFFFF], axis=-1)
    pairs = (len(keys), len(positions), 2)
    both = np.broadcast_to(keys[:, None], pairs), np.broadcast_to(words, pairs)
    return RawKeys(np.concatenate(both, axis=-1, dtype=np.uint32, casting="unsafe").reshape(-1, 4), _THREEFRY_FROM)


def _bits_from(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    """Bits of a key (4,): what ``jax.random`` numbers from 0, as two words, is numbered from the last two of it."""
    assert bit_width == 32
    size = math.prod(shape)
    low = key[3] + jnp.arange(size, dtype=np.uint32)  # blocks begin at multiples of their size: nothing to carry
    high = jnp.broadcast_to(key[2], size)
    hashed = threefry_2x32((key[0], key[1]), jnp.concatenate([high, low]))
    return (hashed[:size] ^ hashed[size:]).reshape(shape)


def _not_made(*_: Any) -> NoReturn:
    raise NotImplementedError("from keys that know where they begin, no others are made")


_THREEFRY_FROM = define_prng_impl(
    key_shape=(4,), seed=_not_made, split=_not_made, random_bits=_bits_from, fold_in=_not_made,
    name="threefry2x32_from_position", tag="fryfrom",
)  # fmt: skip
"""Threefry whose keys (4,) are a key (2,) and, as two words, the position that the first number drawn from it has."""
