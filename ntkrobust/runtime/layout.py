"""How an ensemble is laid out on the machine: devices, programs side by side, seeds per product. The outcome does not
depend on it.

On CPUs, products of small matrices leave a core idle while threads wait for each other. So cores are given programs of
their own (*streams*), each with its share of the seeds; and within a program, as many seeds share a matrix product as
keep its arrays in the cache (a *group*). On other devices one program holds all seeds of a chunk in each product.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Iterator

import jax

from ntkrobust.runtime.accelerated import side_by_side

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
class Machine:
    """What plans depend on beside the network.

    Attributes:
        backend: of JAX.
        devices: local ones.
        streams: programs that may run side by side.
    """

    backend: str
    devices: int
    streams: int


_MEANT: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)


def this_machine() -> Machine:
    """The machine of this process."""
    return Machine(jax.default_backend(), jax.local_device_count(), side_by_side())


@contextlib.contextmanager
def planned_as_on(machine: Machine) -> Iterator[None]:
    """Plans that are made inside, by this thread, are those of another machine with the same kind of devices.

    With more streams than this one has cores, they take turns.
    """
    token = _MEANT.set(machine)
    try:
        yield
    finally:
        _MEANT.reset(token)


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
    machine = _MEANT.get() or this_machine()
    devices = machine.devices
    exact = 4 * parameters >= EXACT_FROM_BYTES
    if machine.backend != "cpu":
        fitting = max(1, CHUNK_BYTES // (4 * ((4 + 2 * copies) * parameters + activations)))
        chunk = _powers_of_two(min(MAX_CHUNK, fitting))[-1]
        return Plan(chunk, chunk * devices, 1, devices, exact)
    sharing = min(MAX_GROUP, PRODUCT_FLOATS // product, GROUP_PARAMETERS // parameters)
    group = _powers_of_two(max(1, sharing))[-1]
    held = 2 * (1 + copies) * parameters
    fitting = max(1, (CHUNK_BYTES // 4 - group * (2 * parameters + activations)) // held)
    chunk = max(group, _powers_of_two(min(MAX_CHUNK, fitting))[-1])
    streams = machine.streams if devices == 1 and not is_large else 1
    return Plan(group, chunk * devices, streams, devices, exact)
