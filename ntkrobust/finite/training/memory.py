"""How much memory an ensemble takes, before any of it is taken."""

from __future__ import annotations

import bisect
import dataclasses
from typing import NamedTuple

from ntkrobust.errors import InputError
from ntkrobust.networks.network import Network
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.machine import available_bytes, resident_bytes

PROGRAM_BYTES = 48 * 2**20
"""What a program that runs takes beside its arrays, and compiling it leaves behind (0 to 70 MiB were measured)."""


@dataclasses.dataclass(frozen=True)
class TrainingArrays:
    """What training holds of each network beside its parameters and their gradient.

    Attributes:
        copies: arrays of the size of the parameters that the optimizer keeps from step to step.
        slopes: more of them while a step is taken.
        repeats: rows that each point takes on its way through the network: two beside its attacked twin.
    """

    copies: int = 0
    slopes: int = 0
    repeats: int = 1


class MemoryEstimate(NamedTuple):
    """Peak memory of training an ensemble, in bytes.

    Attributes:
        process: what the process holds already.
        programs: what programs take beside their arrays.
        kept: parameters of all networks, as they are drawn and at each record.
        chunk: parameters of the chunks that are worked on, on their way in and out.
        group: parameters and activations of the groups that are worked on.
    """

    process: int
    programs: int
    kept: int
    chunk: int
    group: int

    @property
    def peak(self) -> int:
        """Bytes at the highest point."""
        return sum(self)

    def __str__(self) -> str:
        return f"{self.peak / 2**30:.2f} GiB at the peak"


NOTHING = TrainingArrays()
"""Gradient descent of the loss alone."""


def training_memory(
    net: Network, d_in: int, n: int, seeds: int, records: int, plan: Plan, held: TrainingArrays = NOTHING
) -> MemoryEstimate:
    """Peak memory of training ``seeds`` networks on n points, recorded so many times, with this plan."""
    copies = held.copies
    parameters = 4 * net.count_parameters(d_in)
    pieces = plan.pieces(seeds)
    number = len(list(pieces))
    several = number > 1
    at_once = min(plan.streams, number)
    # Threads side by side keep what they freed for themselves.
    chunks = at_once * (1 + (at_once > 1))
    # Records of a single piece are what its program gave, room for missing seeds included.
    kept = seeds if several else pieces.capacity
    # What is donated is held once; a piece with room for missing seeds is put together from what is still held.
    padded = pieces.capacity > pieces.size
    in_place = several or plan.keeps_on_device(seeds)
    spread = 1 if plan.shares_points(seeds) else plan.devices
    # The gradient; and the values, unless the group is all of the chunk and its program works on that in place.
    group_arrays = 1 + (pieces.capacity > pieces.group * spread) + copies + held.slopes
    activations = 4 * n * held.repeats * (net.activations_kept(d_in, plan.recomputed) + d_in)
    return MemoryEstimate(
        process=resident_bytes(),
        programs=at_once * PROGRAM_BYTES,
        # Unless programs work on it in place, what the optimizer keeps is held as it went in and as it came out.
        kept=(1 + records + (1 if in_place else 2) * copies) * kept * parameters,
        chunk=chunks * (1 + copies * (several or padded)) * pieces.capacity * parameters,
        group=at_once * pieces.group * (plan.devices * group_arrays * parameters + spread * activations),
    )


def plan_that_fits(
    net: Network,
    d_in: int,
    n: int,
    seeds: int,
    records: int,
    plan: Plan,
    limit: int | None,
    held: TrainingArrays = NOTHING,
) -> Plan:
    """The plan; or, where only that fits, one under which backward passes compute activations again.

    Raises:
        InputError: neither fits; see :func:`check_training_memory`.
    """
    available = available_bytes() if limit is None else limit
    if available and training_memory(net, d_in, n, seeds, records, plan, held).peak > available:
        plan = dataclasses.replace(plan, recomputed=net.layers_to_recompute)
        check_training_memory(net, d_in, n, seeds, records, plan, limit, held)
    return plan


def check_training_memory(
    net: Network,
    d_in: int,
    n: int,
    seeds: int,
    records: int,
    plan: Plan,
    limit: int | None,
    held: TrainingArrays = NOTHING,
) -> MemoryEstimate:
    """The estimate, if it fits.

    Raises:
        InputError: the peak exceeds ``limit`` bytes, or the machine's memory if no limit is given.
    """
    estimate = training_memory(net, d_in, n, seeds, records, plan, held)
    available = available_bytes() if limit is None else limit
    if not available or estimate.peak <= available:
        return estimate

    def fits(seeds: int, records: int) -> bool:
        return training_memory(net, d_in, n, seeds, records, plan, held).peak <= available

    what_would = []
    if records > 1 and fits(seeds, 1):
        most = max(number for number in range(1, records) if fits(seeds, number))
        what_would.append(f"recorded {most} time{'s' * (most > 1)} instead of {records}")
    # A number that fits next to one that doesn't, by bisection: memory grows with it but for the rounding of chunks.
    some = bisect.bisect_left(range(1, seeds + 1), True, key=lambda number: not fits(number, records))
    if some:
        what_would.append(f"{some} seed{'s' * (some > 1)} at a time")
    raise InputError(
        f"training {seeds} × {net!r} needs about {estimate.peak / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are "
        f"there: {'they would fit ' + ', or '.join(what_would) if what_would else 'a single network would not fit'}"
    )
