"""How much memory an ensemble takes, before any of it is taken."""

from __future__ import annotations

import bisect
from typing import NamedTuple

from ntkrobust.errors import InputError
from ntkrobust.finite.plan import Plan
from ntkrobust.machine import physical_bytes, resident_bytes
from ntkrobust.networks import MLP

GROUP_ARRAYS = 2
"""Arrays of parameters of a group while it trains: the values, and their gradient."""

LAYER_ARRAYS = 2
"""Arrays over the points that each layer leaves for the way back: its input, and which units are active."""


class MemoryEstimate(NamedTuple):
    """Peak memory of training an ensemble, in bytes.

    Attributes:
        process: what the process holds already.
        kept: parameters of all networks, as they are drawn and at each record.
        chunk: parameters of the chunks that are worked on, on their way in and out.
        group: parameters and activations of the groups that are worked on.
    """

    process: int
    kept: int
    chunk: int
    group: int

    @property
    def peak(self) -> int:
        """Bytes at the highest point."""
        return sum(self)

    def __str__(self) -> str:
        return f"{self.peak / 2**30:.2f} GiB at the peak"


def training_memory(net: MLP, d_in: int, n: int, seeds: int, records: int, plan: Plan) -> MemoryEstimate:
    """Peak memory of training ``seeds`` networks on n points, recorded so many times, with this plan."""
    parameters = 4 * net.count_parameters(d_in)
    pieces = plan.pieces(seeds)
    at_once = min(plan.streams, len(list(pieces)))
    # What is recorded is what came out of a single chunk; out of several it is copied together.
    chunks = at_once * (1 + (pieces.size < seeds)) * pieces.capacity
    activations = 4 * n * (LAYER_ARRAYS * net.activations + d_in)
    return MemoryEstimate(
        process=resident_bytes(),
        kept=(1 + records) * seeds * parameters,
        chunk=chunks * parameters,
        group=at_once * plan.devices * pieces.group * (GROUP_ARRAYS * parameters + activations),
    )


def check_training_memory(
    net: MLP, d_in: int, n: int, seeds: int, records: int, plan: Plan, limit: int | None
) -> MemoryEstimate:
    """The estimate, if it fits.

    Raises:
        InputError: the peak exceeds ``limit`` bytes, or the machine's memory if no limit is given.
    """
    estimate = training_memory(net, d_in, n, seeds, records, plan)
    available = physical_bytes() if limit is None else limit
    if not available or estimate.peak <= available:
        return estimate

    def fits(seeds: int, records: int) -> bool:
        return training_memory(net, d_in, n, seeds, records, plan).peak <= available

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
