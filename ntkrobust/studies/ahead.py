"""How far a job is, and how long the rest of it takes: one count and one estimate, from its first cell to its last.

A job draws networks several times: untrained ones, those of a pilot, a few of cells that may be out of reach, and those
that judge. What each of them is going to draw is told before (:meth:`Pool.expect`), as far as it is known, and told
again when it is known better. What all of it costs, :mod:`ntkrobust.studies.costs` says.
"""

from __future__ import annotations

import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping

import jax

from ntkrobust.data import Dataset
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.costs import Call, Costs, call_of
from ntkrobust.studies.progress import Told
from ntkrobust.studies.records import Demand

ENDING = 0.25
"""Seconds for each claim that tests, files and figures take after the last network."""

CLOSED_FORM = 0.28
"""Seconds that closed forms of infinite ensembles take for a cell, about."""

MEMORY = 120.0
"""Seconds after which what the clock showed of other work on this machine counts little."""

IDLE = 1.3
"""Seconds by the clock for each that the whole machine can give, before any were measured: what is compiled, is on one
core, and so is what goes on between programs."""

IDLE_WEIGHT = 4.0
"""Seconds that have to be measured to count as much as that."""

EFFORT = 0.02
"""Share of a job's time that estimates may take: with many cells, not each that ends asks for another."""


FEW_CORES = 4
"""On more than these most wait while programs are compiled: how busy they are says nothing of what is left."""


def busy_seconds() -> float:
    """What this process has had of the machine so far: of few cores, their time over their number.

    That says what the same takes where others use them, too. Of more cores and of other devices it is the clock.
    """
    cores = os.cpu_count() or 1
    if jax.default_backend() == "cpu" and cores <= FEW_CORES:
        return time.process_time() / cores
    return time.monotonic()


class Job:
    """What a job draws; safe to share between threads.

    Attributes:
        costs: what calls cost.
        meter: which cells take what of this machine.
        done: cells that have all the networks that they were to get.
        aside: seconds of what is to be done beside drawing networks.
        elsewhere: cells that run at a time on other machines; 0 where they run on this one.
    """

    def __init__(self, ending: float = 0.0, until: float | None = None, meter: Meter | None = None) -> None:
        """Ends ``ending`` seconds after its last cell; where it is given a time, ``until`` that of time.monotonic."""
        self.costs, self.done, self.meter = Costs(), 0, meter or Meter()
        self.aside, self.elsewhere = 0.0, 0
        self._ending, self._until = ending, until
        self._pools: dict[Hashable, Pool] = {}
        self._told: tuple[float, float, float] | None = None
        self._begun = self.meter.clock()

    def pool(self, data: Dataset, points: int, *, is_rough: bool = False) -> Pool:
        """The networks on a data set, measured on so many points: those that judge, or those of a pilot."""
        name = id(data), is_rough
        if name not in self._pools:
            self._pools[name] = Pool(self, data.d, points, is_rough)
        return self._pools[name]

    @property
    def total(self) -> int:
        """Cells that are done, and that are to be drawn."""
        return self.done + sum(len(pool.waiting) for pool in self._pools.values())

    def told(self, text: str, networks: int) -> Told:
        """How the job stands, beside the text of a cell that ended."""
        return Told(text, networks, self.meter.clock() - self._begun, self.seconds_left())

    def seconds_left(self) -> float:
        """By the clock, until the job ends."""
        now = self.meter.clock()
        if self._until is not None:
            return max(0.0, self._until - now)
        if self._told is not None:
            left, then, took = self._told
            if now - then < took / EFFORT and self.done < self.total:
                return max(0.0, left - (now - then))
        left = self._seconds_left()
        self._told = left, now, self.meter.clock() - now
        return left

    def _seconds_left(self) -> float:
        spent = self.meter.spent()
        waiting = [(pool, call) for pool in self._pools.values() for call in pool.calls()]
        left, longest = 0.0, 0.0
        for (pool, call), cost in zip(waiting, self.costs.of(call for _, call in waiting), strict=True):
            so_far = spent.get((pool, call.cell), 0.0)
            # What has taken longer than it was to is not done in a moment.
            left += max(cost - so_far, 0.1 * so_far)
            longest = max(longest, cost)
        if self.elsewhere:  # a cell has one of several machines
            return max(left, longest * self.elsewhere) + self.aside + self._ending
        return left * self.meter.slower + self.aside + self._ending


class Pool:
    """Networks of one kind that a job draws: those that judge, or those of a pilot.

    Attributes:
        waiting: cells that are to get more networks → what of them.
    """

    def __init__(self, job: Job, d: int, points: int, is_rough: bool) -> None:
        self.job, self.waiting = job, dict[Cell, Call]()
        self._d, self._points, self._is_rough = d, points, is_rough

    def seconds(self, demands: Mapping[Cell, Demand], drawn: Mapping[Cell, int]) -> float:
        """By the clock, until cells have what is wanted of them, where they have so many networks already."""
        return sum(self.job.costs.of(self._calls(demands, drawn).values())) * self.job.meter.slower

    def expect(self, demands: Mapping[Cell, Demand], drawn: Mapping[Cell, int] | None = None) -> None:
        """Take this to be all that is going to be drawn, where cells have so many networks already."""
        self.waiting = {}
        self.begin(demands, drawn or {})

    def begin(self, demands: Mapping[Cell, Demand], drawn: Mapping[Cell, int]) -> None:
        """Take this to be drawn, too."""
        for cell, call in self._calls(demands, drawn).items():
            if call.networks > (self.waiting[cell].networks if cell in self.waiting else 0):
                self.waiting[cell] = call

    def _calls(self, demands: Mapping[Cell, Demand], drawn: Mapping[Cell, int]) -> dict[Cell, Call]:
        return {
            cell: call_of(cell, demand, drawn.get(cell, 0), self._d, self._points, is_rough=self._is_rough)
            for cell, demand in demands.items()
        }

    def calls(self) -> list[Call]:
        """What is to be drawn, in the order in which it is run."""
        return list(self.waiting.values())

    def ended(self, cell: Cell, demand: Demand, drawn: int, steps: float, seconds: Spent | None) -> None:
        """Note that a cell got networks, or failed.

        Args:
            cell: the cell.
            demand: what was wanted of it.
            drawn: networks that it got; 0 where it failed.
            steps: that they took, in the mean.
            seconds: what that took; None where it is not known.
        """
        call = self.waiting.get(cell)
        if call is None:
            return
        made = call_of(cell, demand, demand.networks - drawn, self._d, self._points, is_rough=self._is_rough)
        if drawn and seconds is not None:
            made = made._replace(is_first=call.is_first)
            self.job.costs.took(made, seconds.all, steps, seconds.compiling)
        left = call.networks - drawn
        if drawn and left > 0:
            self.waiting[cell] = call._replace(networks=left, is_first=False)
        else:
            del self.waiting[cell]
            self.job.done += 1


@dataclasses.dataclass(frozen=True)
class Spent:
    """What a cell took of the machine.

    Attributes:
        all: seconds.
        compiling: of these, those that programs were compiled in; None where that is not known.
    """

    all: float
    compiling: float | None = None


class Meter:
    """Which cell takes what of this machine: those that run at a time share alike what is taken meanwhile.

    Attributes:
        clock: seconds, by which a job lasts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, busy: Callable[[], float] = busy_seconds) -> None:
        self.clock, self._busy = clock, busy
        self._running: dict[Hashable, float] = {}
        self._at = clock(), busy()
        self._recent = 0.0, 0.0
        self._changing = threading.RLock()

    def begin(self, name: Hashable) -> None:
        """Something begins."""
        with self._changing:
            self._go_on()
            self._running[name] = 0.0

    def end(self, name: Hashable) -> float:
        """Something ends; the seconds that it took."""
        with self._changing:
            self._go_on()
            return self._running.pop(name, 0.0)

    def spent(self) -> dict[Hashable, float]:
        """Seconds that what runs has taken so far."""
        with self._changing:
            self._go_on()
            return dict(self._running)

    @property
    def slower(self) -> float:
        """Seconds by the clock for each that the machine could give: of late, as others may use it, too."""
        with self._changing:
            elapsed, busy = self._recent
            return (IDLE * IDLE_WEIGHT + elapsed) / (IDLE_WEIGHT + busy)

    def _go_on(self) -> None:
        now = self.clock(), self._busy()
        elapsed, busy = now[0] - self._at[0], now[1] - self._at[1]
        self._at = now
        if not self._running:
            return
        for name in self._running:
            self._running[name] += busy / len(self._running)
        kept = math.exp(-elapsed / MEMORY)
        self._recent = kept * self._recent[0] + elapsed, kept * self._recent[1] + busy
