"""Standard normals in any number.

What makes random bits takes a compiler longer than a training step does, and arrays come in many sizes. With JAX's
partitionable bits, its default, each number depends on the key and on its own position alone. So arrays are drawn block
by block, each from where it begins, by one compiled program; or, where keys can't be told where to begin, from 0 on by
a program for each of a few sizes, of which arrays in between take the first numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.runtime.accelerated import THREEFRY_FROM
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import plan_of_arrays, power_of_two_from
from ntkrobust.runtime.seeds import RawKeys

BLOCK = 2**9
"""Numbers drawn from one beginning: as fast on CPUs as longer ones, and of the last in an array less goes to waste."""

SIZES = 8
"""Sizes between two powers of two that have programs of their own, where keys begin at 0."""


def normals(keys: RawKeys, *shape: int) -> npt.NDArray[np.float32]:
    """Standard normals (seed, *shape) from keys (seed,): ``jax.random.normal(key, shape)`` of each.

    That of partitionable bits, JAX's default, whatever ``jax_threefry_partitionable`` says.
    """
    size = math.prod(shape)
    program: Callable[[dict, jax.Array], jax.Array]
    threefry_from = THREEFRY_FROM.found()
    if threefry_from is None:
        program, numbers, drawn_from = _FromZero(_size_from(size)), _size_from(size), keys
    else:
        program, numbers = _block, BLOCK
        drawn_from = _from_positions(keys.data, np.arange(0, size, BLOCK), threefry_from)
    drawn: npt.NDArray[np.float32] = run_over_seeds(
        program, plan_of_arrays(numbers, len(drawn_from.data)), {}, drawn_from
    )
    return drawn.reshape(len(keys), -1)[:, :size].reshape(len(keys), *shape)


def _block(_: dict, key: jax.Array) -> jax.Array:
    return jax.random.normal(key, (BLOCK,), dtype=TRAINING_DTYPE)


def _from_positions(keys: np.ndarray, positions: np.ndarray, threefry_from: Any) -> RawKeys:
    """Keys (seed · position,) of what each of ``keys`` (seed, 2) gives from each position on."""
    words = np.stack([positions >> 32, positions & 0xFFFFFFFF], axis=-1)
    pairs = (len(keys), len(positions), 2)
    both = np.broadcast_to(keys[:, None], pairs), np.broadcast_to(words, pairs)
    return RawKeys(np.concatenate(both, axis=-1, dtype=np.uint32, casting="unsafe").reshape(-1, 4), threefry_from)


@dataclasses.dataclass(frozen=True)
class _FromZero:
    """The first so many normals of a key."""

    size: int

    def __call__(self, _: dict, key: jax.Array) -> jax.Array:
        with jax.threefry_partitionable(True):
            return jax.random.normal(key, (self.size,), dtype=TRAINING_DTYPE)


def _size_from(size: int) -> int:
    """The smallest of the sizes that have programs which is not below: less than an eighth goes to waste."""
    step = max(BLOCK, power_of_two_from(size) // (2 * SIZES))
    return math.ceil(size / step) * step
