"""Programs over several devices and several processes: who gets which seeds, or which points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

OverSeeds = Callable[[Any, Any, jax.Array], Any]
"""(shared, per_seed, number of seeds used) ↦ results with a leading seed axis."""


def sharing_seeds(program: OverSeeds, devices: int) -> OverSeeds:
    """The program on so many local devices, each with its share of the seeds."""

    def on_one(shared: Any, per_seed: Any, used: jax.Array) -> Any:
        mine = jax.tree.leaves(per_seed)[0].shape[0]
        return program(shared, per_seed, jax.numpy.clip(used - jax.lax.axis_index("seed") * mine, 0, mine))

    mesh = Mesh(np.array(jax.local_devices()[:devices]), ("seed",))
    seeds, copied = PartitionSpec("seed"), PartitionSpec()
    return jax.shard_map(on_one, mesh=mesh, in_specs=(copied, seeds, copied), out_specs=seeds, check_vma=False)


def sharing_points(program: OverSeeds, devices: int, points: int) -> OverSeeds:
    """The program on so many local devices, each with its share of the points and a copy of the parameters.

    Arrays of what is shared whose first axis has the length ``points`` are split along it, evenly or not. Where a
    program sums over points, a gradient for instance, the compiler adds the devices' parts together.
    """
    rows = NamedSharding(Mesh(np.array(jax.local_devices()[:devices]), ("point",)), PartitionSpec("point"))

    def split(leaf: Any) -> Any:
        return jax.lax.with_sharding_constraint(leaf, rows) if np.shape(leaf)[:1] == (points,) else leaf

    return lambda shared, per_seed, used: program(jax.tree.map(split, shared), per_seed, used)


def over_processes(run: Callable[[Any], Any], per_seed: Any) -> Any:
    """``run(some of per_seed)`` in every process with its share of the seeds; all processes get all results.

    With one process this is ``run(per_seed)``. Several are those that ``jax.distributed.initialize`` has joined; each
    has to make the same calls in the same order.
    """
    processes = jax.process_count()
    if processes == 1:
        return run(per_seed)
    n_seeds = jax.tree.leaves(per_seed)[0].shape[0]
    share = math.ceil(n_seeds / processes)
    # All have equally many, so that results can be gathered; the last seed stands in for those that are missing.
    mine = np.minimum(np.arange(share) + share * jax.process_index(), n_seeds - 1)
    found = run(jax.tree.map(lambda leaf: leaf[mine], per_seed))
    return jax.tree.map(lambda leaf: leaf[:n_seeds], _from_all(found))


def _from_all(here: Any) -> Any:
    """Arrays of all processes, one after the other along their first axis."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(devices).reshape(jax.process_count(), -1), ("process", "device"))
    split, copied = (NamedSharding(mesh, spec) for spec in (PartitionSpec("process"), PartitionSpec()))
    parts = jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(split, np.asarray(leaf)), here)
    together = jax.jit(lambda arrays: arrays, out_shardings=copied)(parts)
    return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), together)
