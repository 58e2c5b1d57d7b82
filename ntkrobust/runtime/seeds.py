"""Seeds and keys of ensembles."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.checks import MOST_SEEDS, shown
from ntkrobust.errors import InputError

THREEFRY = "threefry2x32"
"""JAX's default generator. Of a key's numbers those of others, rbg for one, depend on what is drawn beside them, which
the layout of an ensemble decides."""


@partial(jax.tree_util.register_dataclass, data_fields=["data"], meta_fields=["implementation"])
@dataclasses.dataclass(frozen=True)
class RawKeys:
    """Keys as numpy arrays, which are cut and copied without a program.

    Attributes:
        data: (seed, …) what ``jax.random.key_data`` gives.
        implementation: what ``jax.random.key_impl`` gives.
    """

    data: Any
    implementation: Any = THREEFRY

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, part: Any) -> RawKeys:
        return RawKeys(self.data[part], self.implementation)


def seed_keys(key: jax.Array | None, seeds: tuple[int, ...]) -> RawKeys:
    """Keys (len(seeds),): seed i uses ``fold_in(key, i)``, so more seeds never change earlier ones.

    Raises:
        InputError: as for :func:`check_key`; the key of a run that was saved earlier may be of another generator, too.
    """
    return RawKeys(np.asarray(_fold_in_each(check_key(key), np.asarray(seeds, dtype=np.uint32))))


@jax.jit
def _fold_in_each(key: jax.Array, seeds: jax.Array) -> jax.Array:
    return jax.random.key_data(jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, seeds))


def fold_in(keys: RawKeys, number: int) -> RawKeys:
    """Other keys (seed,) for what is random in another way."""
    return RawKeys(np.asarray(_each_folded_in(keys, np.uint32(number))), keys.implementation)


@jax.jit
def _each_folded_in(keys: RawKeys, number: jax.Array) -> jax.Array:
    return jax.random.key_data(_into_each(typed_keys(keys), number))


_into_each = jax.vmap(jax.random.fold_in, in_axes=(0, None))
"""Typed keys (seed,) with one number folded in."""


def typed_keys(of: Any) -> Any:
    """A pytree with typed keys in place of their numbers."""

    def typed(leaf: Any) -> Any:
        if isinstance(leaf, RawKeys):
            return jax.random.wrap_key_data(leaf.data, impl=leaf.implementation)
        return leaf

    return jax.tree.map(typed, of, is_leaf=lambda leaf: isinstance(leaf, RawKeys))


def check_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """``n`` as 0 … n−1, or the seeds themselves.

    Raises:
        InputError: there are none, they repeat, or one is not an integer in [0, 2³²).
    """
    is_scalar = np.ndim(seeds) == 0 if isinstance(seeds, np.ndarray | jax.Array) else False
    if isinstance(seeds, bool | bytes) or is_scalar or not isinstance(seeds, Integral | Iterable):
        raise InputError(f"seeds must be a number of seeds or the seeds themselves, got {shown(seeds)}")
    # One more than are allowed is seen to be too many, whatever was given.
    each = iter(seeds) if isinstance(seeds, Iterable) else iter(range(min(int(seeds), MOST_SEEDS + 1)))
    chosen = tuple(itertools.islice(each, MOST_SEEDS + 1))
    if len(chosen) > MOST_SEEDS:
        raise InputError(f"at most {MOST_SEEDS} seeds can be taken at once, got {shown(seeds)}")
    if not chosen:
        raise InputError(f"at least one seed is needed, got {shown(seeds)}")
    for seed in chosen:
        if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= int(seed) < 2**32:
            raise InputError(f"a seed is an integer from 0 to 2**32 - 1, got {shown(seed)}")
    if len(set(chosen)) != len(chosen):
        raise InputError("seeds must be different from each other")
    return tuple(int(seed) for seed in chosen)


def check_key(key: jax.Array | None) -> jax.Array:
    """A typed key, ``jax.random.key(0)`` by default.

    Raises:
        InputError: it is something else, a raw ``PRNGKey`` for instance, or of another generator than threefry.
    """
    if key is None:
        return jax.random.key(0, impl=THREEFRY)
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0):
        raise InputError("key must be one typed key, as jax.random.key(0) makes it")
    if jax.random.key_impl(key) != THREEFRY:
        raise InputError(
            f"key must be of JAX's default generator, jax.random.key(0, impl={THREEFRY!r}): what others draw for one "
            f"network depends on those beside it, got one of {jax.random.key_impl(key)}"
        )
    return key


ORDER_INDEX, ATTACK_INDEX = 4, 5
"""What a network's own key is folded with for the order of its minibatches, and for attacks on it: its draws use 0 to
3."""


def order_keys(keys: RawKeys, shapes: tuple[tuple[int, ...], ...]) -> RawKeys:
    """Keys (seed,) of the orders of minibatches, from those of :func:`seed_keys` and the layers' (fan_out, fan_in).

    Like draws, they depend on the shape of the network: seeds share no order, and neither do shapes.
    """
    return own_keys(keys, shapes, (ORDER_INDEX,))[ORDER_INDEX]


def attack_keys(keys: RawKeys, shapes: tuple[tuple[int, ...], ...]) -> RawKeys:
    """Keys (seed,) of the random starts of attacks in training, in the same way."""
    return own_keys(keys, shapes, (ATTACK_INDEX,))[ATTACK_INDEX]


def own_keys(keys: RawKeys, shapes: tuple[tuple[int, ...], ...], indices: Sequence[int]) -> dict[int, RawKeys]:
    """Index → keys (seed,) of networks of this shape alone.

    Draws of different length from one key share a prefix, which would tie widths and depths to each other.
    """
    shape = np.uint32(zlib.crc32(repr(shapes).encode()))
    found = np.asarray(_fold_in_shape_and_index(keys, shape, np.array(indices, dtype=np.uint32)))
    return {index: RawKeys(data, keys.implementation) for index, data in zip(indices, found, strict=True)}


@jax.jit
def _fold_in_shape_and_index(keys: RawKeys, shape: jax.Array, indices: jax.Array) -> jax.Array:
    """Data of keys (seed,) for each index, (index, seed, …)."""
    of_shape = _into_each(typed_keys(keys), shape)
    # One piece of code for all indices: written out, each would be compiled anew.
    return jax.random.key_data(jax.vmap(_into_each, in_axes=(None, 0))(of_shape, indices))


def raw_key(key: jax.Array) -> RawKeys:
    """One typed key, as an ensemble of one."""
    return RawKeys(np.asarray(jax.random.key_data(key))[None], jax.random.key_impl(key))
