"""How an ensemble is laid out on the machine: devices, programs side by side, seeds per product. The outcome does not
depend on it.

On CPUs, products of small matrices leave a core idle while threads wait for each other. So cores are given programs of
their own (*streams*), each with its share of the seeds; and within a program, as many seeds share a matrix product as
keep its arrays in the cache (a *group*). On other devices one program holds all seeds of a chunk in each product.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.stages import Compiled

from ntkrobust.numerics.precision import full_matmul_precision
from ntkrobust.runtime.core_clients import StreamProgram, side_by_side
from ntkrobust.runtime.devices import OverSeeds, over_processes, sharing_points, sharing_seeds
from ntkrobust.runtime.programs import Program, Programs
from ntkrobust.runtime.seeds import typed_keys

CHUNK_BYTES = 512 * 2**20
"""Memory that the arrays of one chunk of seeds may take."""

MAX_CHUNK = 512
"""Seeds per chunk at most: more gain nothing."""

PRODUCT_FLOATS = 2**15
"""Entries of one layer's activations of a group, at most (measured on CPUs: with twice as many, twice as slow)."""

GROUP_PARAMETERS = 2**18
"""Parameters of a group, at most: what is drawn together makes several arrays of this size on the way."""

MAX_GROUP = 64
"""Seeds per group at most, on CPUs: more gain nothing."""

EXACT_FROM_BYTES = 2**24
"""Parameters of a network from which chunks hold just the seeds they need, at the price of a program for each size."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How seeds are laid out.

    Attributes:
        group: seeds that share a matrix product; groups come one after the other.
        chunk: seeds at most whose arrays a program is given at once (over all its devices).
        streams: programs side by side.
        devices: local devices that share the seeds of a chunk.
        exact: whether chunks hold just the seeds they need, instead of a power of two.
        points: points that the devices share instead where there are fewer seeds than devices; 0 for none.
        recomputed: layers that a backward pass computes again at once to save memory; 0 where activations are kept.
        room: seeds of the call whose program calls with fewer use too; 0 where each has its own.
    """

    group: int
    chunk: int
    streams: int = 1
    devices: int = 1
    exact: bool = False
    points: int = 0
    recomputed: int = 0
    room: int = 0

    def __str__(self) -> str:
        return (
            f"{self.group} seed(s) per product, {self.chunk} per chunk, {self.streams} stream(s), "
            f"{self.devices} device(s)"
            + (f", activations of {self.recomputed} layer(s) at a time computed again" if self.recomputed else "")
        )

    def shares_points(self, n_seeds: int) -> bool:
        """Whether devices share the points, each working on all seeds."""
        return self.points > 0 and n_seeds < self.devices

    def keeps_on_device(self, n_seeds: int) -> bool:
        """Whether results that no one else looks at stay on the device, where the next program works on them."""
        pieces = self.pieces(n_seeds)
        return self.devices == pieces.streams == 1 and pieces.capacity == n_seeds

    def with_room_for(self, n_seeds: int) -> Plan:
        """The same, with one program for calls with so many seeds or fewer."""
        return dataclasses.replace(self, room=n_seeds)

    def pieces(self, n_seeds: int, times: int = 1) -> Pieces:
        """How so many seeds are split, each to be run so many times."""
        devices = 1 if self.shares_points(n_seeds) else self.devices
        most = max(n_seeds, self.room)
        # Streams share the seeds, unless they can share the times evenly: then products stay as large as they may be.
        shares = 1 if times % self.streams == 0 else self.streams
        rounds = math.ceil(most / (shares * self.chunk))
        share = math.ceil(most / (shares * rounds))
        each = math.ceil(share / devices)
        # Smaller groups where they leave fewer idle: a step over a group costs about as much as one seed more.
        sizes = _powers_of_two(min(self.group, each))
        group = min(sizes, key=lambda size: (math.ceil(each / size) * (size + 1), -size))
        size = math.ceil(each / group) * group * devices
        capacity = size if self.exact else power_of_two_from(size // group // devices) * group * devices
        return Pieces(group, size, capacity, n_seeds, self.streams if most > size or times > 1 else 1)


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Seeds, split into pieces that a program takes one by one.

    Attributes:
        group: seeds that share a matrix product.
        size: seeds per piece; the last may have fewer.
        capacity: seeds that the program's arrays have room for: sizes differ, programs are few.
        n_seeds: seeds in all.
        streams: programs side by side.
    """

    group: int
    size: int
    capacity: int
    n_seeds: int
    streams: int

    def __iter__(self) -> Iterator[slice]:
        return (slice(start, min(start + self.size, self.n_seeds)) for start in range(0, self.n_seeds, self.size))


def _powers_of_two(largest: int) -> list[int]:
    return [2**k for k in range(int(math.log2(largest)) + 1)]


def power_of_two_from(smallest: int) -> int:
    """The smallest power of two that is not below."""
    return 2 ** math.ceil(math.log2(smallest))


def plan_of_arrays(size: int, n_seeds: int) -> Plan:
    """The plan for programs that make an array of so many numbers per seed: one program for any number of seeds."""
    plan = plan_of_sizes(size, 0, 1)
    each = min(plan.chunk, plan.group * plan.devices)
    at_once = plan.streams * each
    return dataclasses.replace(plan, chunk=each, room=math.ceil(n_seeds / at_once) * at_once)


def plan_of_sizes(parameters: int, activations: int, product: int, copies: int = 0, *, is_large: bool = False) -> Plan:
    """The plan for these numbers of floats per seed.

    Args:
        parameters, activations: of parameters, and of all layers' activations.
        product: of one layer's activations.
        copies: arrays of the size of the parameters that go in and out beside them.
        is_large: whether one product keeps all cores busy.
    """
    devices = jax.local_device_count()
    exact = 4 * parameters >= EXACT_FROM_BYTES
    if jax.default_backend() != "cpu":
        fitting = max(1, CHUNK_BYTES // (4 * ((4 + 2 * copies) * parameters + activations)))
        chunk = _powers_of_two(min(MAX_CHUNK, fitting))[-1]
        return Plan(chunk, chunk * devices, 1, devices, exact)
    sharing = min(MAX_GROUP, PRODUCT_FLOATS // product, GROUP_PARAMETERS // parameters)
    group = _powers_of_two(max(1, sharing))[-1]
    held = 2 * (1 + copies) * parameters
    fitting = max(1, (CHUNK_BYTES // 4 - group * (2 * parameters + activations)) // held)
    chunk = max(group, _powers_of_two(min(MAX_CHUNK, fitting))[-1])
    streams = side_by_side() if devices == 1 and not is_large else 1
    return Plan(group, chunk * devices, streams, devices, exact)


_RUNNING = threading.Lock()
"""One call runs at a time: it has all cores."""

Names = tuple[str, ...]

Layout = tuple[int, int, int]
"""Devices, the points that they share (0 where they share seeds), and programs side by side."""

PROGRAMS = Programs()
"""Everything that has been compiled, by function, group, layout, donated names, and the arguments' structure."""


def _compile(
    function: Callable[..., Any], group: int, layout: Layout, shared: Any, piece: Any, donated: Names = ()
) -> Program:
    """``function(shared, per_seed)`` of one seed, as a compiled program of arrays with a leading seed axis.

    The program takes what is shared, a pair of the seeds' arrays without and with only those that are donated, and how
    many seeds are used. Compiling apart from running lets other threads compile while a program runs.
    """
    devices, points, streams = layout
    leaves, structure = jax.tree.flatten((shared, piece))
    types = tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)
    # The x64 flag decides what unnamed types come to while tracing.
    signature = (function, group, layout, donated, structure, types, _is_double())

    def compiled() -> Program:
        program: OverSeeds = functools.partial(_over_groups, function, group, donated)
        if points:
            program = sharing_points(program, devices, points)
        elif devices > 1:
            program = sharing_seeds(program, devices)

        def apart(shared: Any, kept: Any, given: dict[str, Any], used: jax.Array) -> Any:
            return program(shared, {**kept, **given} if donated else kept, used)

        # By this name JAX's persistent cache tells programs of one thread from those for all cores.
        apart.__name__ = "apart" if streams == 1 else "on_stream"
        donating = jax.jit(apart, donate_argnums=2)
        arguments = (shared, *_apart(piece, donated), np.int32(0))

        def compiled_of(arguments: Any) -> Compiled:
            with full_matmul_precision():
                return donating.lower(*arguments).compile()

        if streams == 1:
            return compiled_of(arguments)
        shapes = jax.tree.map(_shape, arguments)  # a program for a stream that comes later needs no arrays
        return StreamProgram(lambda device: compiled_of(jax.tree.map(functools.partial(_shape, device=device), shapes)))

    return PROGRAMS.find(signature, compiled)


def _is_double() -> bool:
    """Whether JAX has float64 now."""
    return bool(jax.dtypes.canonicalize_dtype(np.float64) == np.float64)


def _shape(leaf: Any, device: jax.Device | None = None) -> jax.ShapeDtypeStruct:
    """What is compiled for, in place of an array."""
    place = None if device is None else SingleDeviceSharding(device)
    return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype), sharding=place)


def _apart(per_seed: Any, donated: Names) -> tuple[Any, dict[str, Any]]:
    """Arrays of seeds that a program reads, and those that it works on in place."""
    if not donated:
        return per_seed, {}
    kept = {name: value for name, value in per_seed.items() if name not in donated}
    return kept, {name: per_seed[name] for name in donated}


def _over_groups(
    function: Callable[..., Any], group: int, donated: Names, shared: Any, per_seed: Any, used: jax.Array
) -> Any:
    """Group after group, as far as seeds are used: how many is known at run time only."""

    # As a compiled function it is traced once, for the shapes of its results and for the loop.
    @functools.partial(jax.jit, inline=True)
    def of_group(one: Any) -> Any:
        if group == 1:
            first = jax.tree.map(lambda leaf: leaf[0], one)
            return jax.tree.map(lambda leaf: leaf[None], function(shared, typed_keys(first)))
        return jax.vmap(lambda one: function(shared, typed_keys(one)))(one)

    capacity = jax.tree.leaves(per_seed)[0].shape[0]
    if capacity == group:
        return of_group(per_seed)

    def step(index: jax.Array, results: Any) -> Any:
        start = index * group
        now = {**per_seed, **_apart(results, donated)[1]} if donated else per_seed
        one = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, group), now)
        return jax.tree.map(
            lambda all_of, new: jax.lax.dynamic_update_slice_in_dim(all_of, new, start, 0), results, of_group(one)
        )

    shapes = jax.eval_shape(of_group, jax.tree.map(lambda leaf: leaf[:group], per_seed))
    empty = jax.tree.map(lambda leaf: jax.numpy.zeros((capacity, *leaf.shape[1:]), leaf.dtype), shapes)
    # Results of a group take the place of what it was given: each group is read before it is written.
    into = {**empty, **_apart(per_seed, donated)[1]} if donated else empty
    return jax.lax.fori_loop(0, -(-used // group), step, into)


def run_over_seeds(
    function: Callable[[Any, Any], Any],
    plan: Plan,
    shared: Any,
    per_seed: Any,
    donated: Names = (),
    resident: Names = (),
) -> Any:
    """Evaluate ``function(shared, one_seed)`` for every seed.

    Matrix products keep all of float32.

    Args:
        function: a hashable, traceable function of one seed; what it returns is a pytree of arrays.
        plan: how to lay the seeds out.
        shared: pytree of arrays that every seed sees.
        per_seed: pytree of arrays with a leading seed axis; keys are :class:`~ntkrobust.runtime.seeds.RawKeys`, which
            ``function`` sees as typed ones.
        donated: names in ``per_seed``, a dict then, that ``function`` returns with the same shapes and types. Programs
            work on these in place. What the caller holds in numpy arrays stays as it is.
        resident: names of results, in a dict then, that are only ever given back here. They stay on the device where
            one program holds all seeds, and are given to it, or overwritten, if they are donated.

    Returns:
        What ``function`` returns, with a leading seed axis, as numpy arrays where it is not ``resident``.
    """
    return run_over_times(function, plan, shared, [per_seed], donated, resident)[0]


def run_over_times(
    function: Callable[[Any, Any], Any],
    plan: Plan,
    shared: Any,
    at_times: Sequence[Any],
    donated: Names = (),
    resident: Names = (),
) -> list[Any]:
    """:func:`run_over_seeds` for the same seeds at several times, in one go; what it returns for each of them."""
    run = functools.partial(_run_here, function, plan, shared, donated, resident)
    found: list[Any] = over_processes(run, list(at_times))
    return found


def _run_here(
    function: Callable[[Any, Any], Any], plan: Plan, shared: Any, donated: Names, resident: Names, at_times: list[Any]
) -> list[Any]:
    """The seeds of this process."""
    n_seeds = jax.tree.leaves(at_times)[0].shape[0]
    pieces = plan.pieces(n_seeds, len(at_times))
    parts = list(pieces)
    layout = (plan.devices, plan.points if plan.shares_points(n_seeds) else 0, pieces.streams)
    program = _compile(function, pieces.group, layout, shared, _padded(at_times[0], parts[0], pieces.capacity), donated)
    given_up = tuple(name for name in donated if name in resident)
    on_device = plan.keeps_on_device(n_seeds)
    wholes = [_Whole(n_seeds, resident, _apart(one, given_up)[1], on_device=on_device) for one in at_times]

    def run(task: tuple[int, slice], program: Callable[..., Any]) -> None:
        time, part = task
        used = part.stop - part.start
        # No name for the piece: while the program runs it has a copy of what was put together for it.
        results = program(shared, *_apart(_padded(at_times[time], part, pieces.capacity), donated), np.int32(used))
        wholes[time].put(part, results)

    tasks = list(itertools.product(range(len(at_times)), parts))
    with _RUNNING:
        if isinstance(program, StreamProgram):
            _over_streams(run, tasks, program, pieces.streams)
        else:
            for task in tasks:
                run(task, program)
    return [whole.results for whole in wholes]


def _over_streams(run: Callable[..., None], tasks: list[Any], program: StreamProgram, streams: int) -> None:
    """Each task on the next stream that is free."""
    streams = min(streams, len(tasks))
    program.make_ready(streams)
    waiting: SimpleQueue[Any] = SimpleQueue()
    for task in (*tasks, *[None] * streams):  # one end for each stream
        waiting.put(task)
    failed = threading.Event()
    # Threads don't inherit it.
    is_double = _is_double()

    def work(stream: int) -> None:
        try:
            with jax.enable_x64(is_double):
                for task in iter(waiting.get, None):
                    if not failed.is_set():  # nothing more begins
                        run(task, program.on(stream))
        except BaseException:
            failed.set()
            raise

    others: list[Future[None]] = []
    try:
        for stream in range(1, streams):
            others.append(_threads().submit(work, stream))
        work(0)
    except BaseException:
        failed.set()
        raise
    finally:
        wait(others)
    for other in others:
        other.result()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads of all streams but the first, which the caller's is for. Kept: calls of a few milliseconds are many."""
    return ThreadPoolExecutor(side_by_side())


if hasattr(os, "register_at_fork"):  # a process that is forked has the pool, but not its threads
    os.register_at_fork(after_in_child=_threads.cache_clear)


class _Whole:
    """Results of all seeds; what a piece gives goes to its place at once, so that large networks aren't held twice."""

    def __init__(self, n_seeds: int, resident: Names, overwritten: dict[str, Any], *, on_device: bool) -> None:
        self.results: Any = None
        self._n_seeds = n_seeds
        self._resident = resident
        self._overwritten = overwritten
        self._on_device = on_device
        self._making = threading.Lock()

    def put(self, part: slice, results: Any) -> None:
        if part == slice(0, self._n_seeds):
            stay = {name: results[name] for name in self._resident} if self._on_device else {}
            moved = {name: value for name, value in results.items() if name not in stay} if stay else results
            moved = jax.tree.map(lambda leaf: np.asarray(leaf)[part], moved)
            self.results = {**moved, **stay} if stay else moved
            return
        with self._making:
            if self.results is None:
                self.results = self._room(results)
        for all_of, leaf in zip(jax.tree.leaves(self.results), jax.tree.leaves(results), strict=True):
            all_of[part] = np.asarray(leaf)[: part.stop - part.start]

    def _room(self, results: Any) -> Any:
        room = jax.tree.map(lambda leaf: np.empty((self._n_seeds, *leaf.shape[1:]), leaf.dtype), results)
        return {**room, **self._overwritten} if self._overwritten else room


def _padded(per_seed: Any, part: slice, capacity: int) -> Any:
    """The seeds of a part; the last stands in for those that are missing."""
    if part.stop - part.start == capacity:
        return jax.tree.map(lambda leaf: leaf[part], per_seed)
    index = np.minimum(np.arange(part.start, part.start + capacity), part.stop - 1)
    return jax.tree.map(lambda leaf: leaf[index], per_seed)
