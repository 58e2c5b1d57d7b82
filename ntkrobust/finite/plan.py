"""How an ensemble is laid out on the machine: devices, batching of seeds, chunks. The outcome does not depend on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ntkrobust.networks import MLP

CHUNK_BYTES = 512 * 2**20
"""Working memory that one chunk of seeds may take."""

MAX_CHUNK = 512
"""Seeds per chunk at most: more gain nothing, and chunks of one size share one compiled program."""

MAP_FROM_WIDTH = 64
"""Below this width many networks per matrix product are faster, from it on one after the other (measured, 2 cores)."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How seeds are batched.

    Attributes:
        batching: ``"vmap"`` (all seeds of a chunk in one program) or ``"map"`` (one after the other).
        chunk: seeds per chunk.
        devices: local devices that share the seeds of a chunk.
    """

    batching: Literal["vmap", "map"]
    chunk: int
    devices: int

    def __str__(self) -> str:
        return f"{self.batching}, {self.chunk} seeds per chunk, {self.devices} device(s)"


def choose_plan(net: MLP, d_in: int, n_points: int) -> Plan:
    """The plan for an ensemble of ``net`` at ``n_points`` inputs of dimension ``d_in``.

    The estimate per seed: four copies of the parameters (values, gradients, and one of each being made) and, at every
    layer, three arrays over the points for each output.
    """
    floats = 4 * net.count_parameters(d_in) + 3 * n_points * net.d_out * (d_in + net.depth * net.finite_width)
    devices = jax.local_device_count()
    # A power of two, so that a chunk size says little about the memory of the machine and programs are shared.
    chunk = 2 ** max(0, math.floor(math.log2(min(MAX_CHUNK, max(1, CHUNK_BYTES / (4 * floats))))))
    batching: Literal["vmap", "map"] = "vmap" if net.finite_width < MAP_FROM_WIDTH else "map"
    return Plan(batching, chunk=-(-chunk // devices) * devices, devices=devices)


@lru_cache(maxsize=256)
def _over_seeds(function: Callable[..., Any], batching: str, devices: int) -> Callable[..., Any]:
    """``function(shared, per_seed)`` of one seed, as a compiled function of arrays with a leading seed axis."""

    def batched(shared: Any, per_seed: Any) -> Any:
        if batching == "vmap":
            return jax.vmap(lambda one: function(shared, one))(per_seed)
        return jax.lax.map(lambda one: function(shared, one), per_seed)

    if devices > 1:
        mesh = Mesh(np.array(jax.local_devices()[:devices]), ("seed",))
        seeds, copied = PartitionSpec("seed"), PartitionSpec()
        batched = jax.shard_map(batched, mesh=mesh, in_specs=(copied, seeds), out_specs=seeds, check_vma=False)
    return jax.jit(batched)


def run_over_seeds(function: Callable[[Any, Any], Any], plan: Plan, shared: Any, per_seed: Any) -> Any:
    """Evaluate ``function(shared, one_seed)`` for every seed, one chunk of the plan after the other.

    Args:
        function: a hashable, traceable function of one seed; what it returns is a pytree of arrays.
        plan: how to lay the seeds out.
        shared: pytree of arrays that every seed sees.
        per_seed: pytree of arrays with a leading seed axis.

    Returns:
        What ``function`` returns, as numpy arrays with a leading seed axis.
    """
    n_seeds = jax.tree.leaves(per_seed)[0].shape[0]
    compiled = _over_seeds(function, plan.batching, plan.devices)
    pieces = []
    for start in range(0, n_seeds, plan.chunk):
        size = min(plan.chunk, n_seeds - start)
        # Devices take equal shares: the last seed stands in for those missing, and its copies are dropped.
        padded = -(-size // plan.devices) * plan.devices
        index = np.minimum(np.arange(start, start + padded), start + size - 1)
        piece = jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf)[index], per_seed)
        pieces.append(jax.tree.map(lambda leaf, size=size: np.asarray(leaf)[:size], compiled(shared, piece)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
