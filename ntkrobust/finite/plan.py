"""How an ensemble is laid out on the machine: devices, batching of seeds, chunks. The outcome does not depend on it."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ntkrobust.networks import MLP
from ntkrobust.precision import full_matmul_precision

CHUNK_BYTES = 512 * 2**20
"""Working memory that one chunk of seeds may take."""

MAX_CHUNK = {"vmap": 512, "map": 16}
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
    on_cpu = jax.default_backend() == "cpu"
    batching: Literal["vmap", "map"] = "map" if on_cpu and net.finite_width >= MAP_FROM_WIDTH else "vmap"
    # A power of two, so that ensembles of any size run in chunks of the same few sizes.
    chunk = 2 ** math.floor(math.log2(min(MAX_CHUNK[batching], max(1, CHUNK_BYTES / (4 * floats)))))
    return Plan(batching, chunk=-(-chunk // devices) * devices, devices=devices)


_RUNNING = threading.Lock()
"""One program runs at a time: each already uses all cores, and two at once can starve each other of threads forever."""

_COMPILED: dict[tuple, Callable[..., Any]] = {}
_COMPILING: defaultdict[tuple, threading.Lock] = defaultdict(threading.Lock)


def _compile(function: Callable[..., Any], plan: Plan, shared: Any, per_seed: Any) -> Callable[..., Any]:
    """``function(shared, per_seed)`` of one seed, as a compiled program of arrays with a leading seed axis.

    Compiling apart from running lets other threads compile while a program runs.
    """
    leaves, structure = jax.tree.flatten((shared, per_seed))
    shapes = tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)
    # The x64 flag decides what unnamed types come to while tracing.
    signature = (function, plan.batching, plan.devices, structure, shapes, jax.dtypes.canonicalize_dtype(np.float64))
    with _COMPILING[signature], full_matmul_precision():
        if signature not in _COMPILED:
            _COMPILED[signature] = jax.jit(_batched(function, plan)).lower(shared, per_seed).compile()
    return _COMPILED[signature]


def _batched(function: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    def over_seeds(shared: Any, per_seed: Any) -> Any:
        if plan.batching == "vmap":
            return jax.vmap(lambda one: function(shared, one))(per_seed)
        return jax.lax.map(lambda one: function(shared, one), per_seed)

    if plan.devices == 1:
        return over_seeds
    mesh = Mesh(np.array(jax.local_devices()[: plan.devices]), ("seed",))
    seeds, copied = PartitionSpec("seed"), PartitionSpec()
    return jax.shard_map(over_seeds, mesh=mesh, in_specs=(copied, seeds), out_specs=seeds, check_vma=False)


def run_over_seeds(function: Callable[[Any, Any], Any], plan: Plan, shared: Any, per_seed: Any) -> Any:
    """Evaluate ``function(shared, one_seed)`` for every seed, one chunk of the plan after the other.

    Matrix products keep all of float32.

    Args:
        function: a hashable, traceable function of one seed; what it returns is a pytree of arrays.
        plan: how to lay the seeds out.
        shared: pytree of arrays that every seed sees.
        per_seed: pytree of arrays with a leading seed axis.

    Returns:
        What ``function`` returns, as numpy arrays with a leading seed axis.
    """
    results = []
    for start, size, padded in pieces(jax.tree.leaves(per_seed)[0].shape[0], plan):
        # The last seed stands in for those missing, and its copies are dropped.
        index = np.minimum(np.arange(start, start + padded), start + size - 1)
        piece = jax.tree.map(lambda leaf, index=index: leaf[index], per_seed)
        program = _compile(function, plan, shared, piece)
        with _RUNNING:
            results.append(jax.tree.map(lambda leaf, size=size: np.asarray(leaf)[:size], program(shared, piece)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)


def pieces(n_seeds: int, plan: Plan) -> Iterator[tuple[int, int, int]]:
    """Split seeds into pieces of few sizes, since each size is a program of its own to compile.

    Whole chunks first. What is left is padded to a power of four under ``vmap``, where idle seeds are cheap, and taken
    one by one (per device) under ``map``, where they are not.

    Yields:
        (start, number of seeds, padded number), the last a multiple of the number of devices.
    """
    start = 0
    while start < n_seeds:
        left = n_seeds - start
        if left >= plan.chunk:
            size = padded = plan.chunk
        elif plan.batching == "map":
            size, padded = min(left, plan.devices), plan.devices
        else:
            size = left
            padded = min(plan.chunk, plan.devices * 4 ** math.ceil(math.log(left / plan.devices, 4)))
        yield start, size, max(padded, plan.devices)
        start += size
