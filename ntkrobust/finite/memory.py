"""How much memory an ensemble takes, before any of it is taken."""

from __future__ import annotations

import bisect
from typing import NamedTuple

from ntkrobust.errors import InputError
from ntkrobust.finite.plan import Plan
from ntkrobust.machine import physical_bytes, resident_bytes
from ntkrobust.networks import Network

GROUP_ARRAYS = 2
"""Arrays of parameters of a group while it trains: the values, and their gradient."""

LAYER_ARRAYS = 2
"""Arrays over the points that each layer leaves for the way back: its input, and which units are active."""


PROGRAM_BYTES = 48 * 2**20
"""What a program that runs takes beside its arrays, and compiling it leaves behind (0 to 70 MiB were measured)."""


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


def training_memory(
    net: Network, d_in: int, n: int, seeds: int, records: int, plan: Plan, copies: int = 0
) -> MemoryEstimate:
    """Peak memory of training ``seeds`` networks on n points, recorded so many times, with this plan.

    ``copies``: arrays of the size of the parameters that the optimizer keeps for each network.
    """
    parameters = 4 * net.count_parameters(d_in)
    pieces = plan.pieces(seeds)
    at_once = min(plan.streams, len(list(pieces)))
    # What is recorded is what came out of a single chunk; out of several it is copied together.
    chunks = at_once * (1 + (pieces.size < seeds)) * pieces.capacity
    spread = 1 if plan.shares_points(seeds) else plan.devices
    activations = 4 * n * (LAYER_ARRAYS * net.activations + d_in)
    return MemoryEstimate(
        process=resident_bytes(),
        programs=at_once * PROGRAM_BYTES,
        # What the optimizer keeps is held as it went into a segment and as it came out.
        kept=(1 + records + 2 * copies) * seeds * parameters,
        chunk=chunks * (1 + copies) * parameters,
        group=at_once * pieces.group * (plan.devices * (GROUP_ARRAYS + copies) * parameters + spread * activations),
    )


def check_training_memory(
    net: Network, d_in: int, n: int, seeds: int, records: int, plan: Plan, limit: int | None, copies: int = 0
) -> MemoryEstimate:
    """The estimate, if it fits.

    Raises:
        InputError: the peak exceeds ``limit`` bytes, or the machine's memory if no limit is given.
    """
    estimate = training_memory(net, d_in, n, seeds, records, plan, copies)
    available = physical_bytes() if limit is None else limit
    if not available or estimate.peak <= available:
        return estimate

    def fits(seeds: int, records: int) -> bool:
        return training_memory(net, d_in, n, seeds, records, plan, copies).peak <= available

    what_would = []
    if records > 1 and fits(seeds, 1):
        most = max(number for number in range(1, records) if fits(seeds, number))
        what_would.append(f"recorded {most} time{'s' * (most > 1)} instead of {records}")
    # The largest number that fits, by bisection: memory grows with it.
    some = bisect.bisect_left(range(1, seeds + 1), True, key=lambda number: not fits(number, records))
    if some:
        what_would.append(f"{some} seed{'s' * (some > 1)} at a time")
    raise InputError(
        f"training {seeds} × {net!r} needs about {estimate.peak / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are "
        f"there: {'they would fit ' + ', or '.join(what_would) if what_would else 'a single network would not fit'}"
    )
