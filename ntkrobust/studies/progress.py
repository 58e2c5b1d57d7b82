"""How far a run is, and how long the rest takes: by what cells of that size have cost, not by how many are left."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ntkrobust.errors import printable

if TYPE_CHECKING:  # commands that run nothing read this file
    from ntkrobust.studies.cells import Cell


class Told(str):
    """What a progress callback is given as its text: the cell that ended, and beside it how the run stands.

    Attributes:
        networks: that were drawn for the cell.
        seconds: since what is asked for now was begun.
        seconds_left: until it is done, about; None where nothing is known of it yet.
    """

    networks: int
    seconds: float
    seconds_left: float | None

    def __new__(cls, text: str, networks: int, seconds: float, seconds_left: float | None) -> Told:
        """A text with how the run stands."""
        told = super().__new__(cls, text)
        told.networks, told.seconds, told.seconds_left = networks, seconds, seconds_left
        return told


class _Size(NamedTuple):
    """What the cost of a cell goes with.

    Attributes:
        kind: how networks are trained, or that they aren't.
        work: multiplications, about: networks × steps × parameters × points.
    """

    kind: tuple[str, str]
    work: float

    @property
    def is_trained(self) -> bool:
        """Whether networks take steps."""
        return bool(self.kind[0])


_LAST = 64
"""Cells at the end that are planned one by one; before them, all that run side by side are taken to be busy."""


class _Costs:
    """Seconds that cells of one kind took, as a constant (what is compiled) and so much per multiplication.

    Attributes:
        cells: that are done.
    """

    def __init__(self) -> None:
        self.cells = 0
        self._work = self._seconds = self._work_work = self._work_seconds = 0.0

    def add(self, work: float, seconds: float) -> None:
        """Take a cell into account."""
        self.cells += 1
        self._work += work
        self._seconds += seconds
        self._work_work += work * work
        self._work_seconds += work * seconds

    def of(self, cells: int, work: float) -> float:
        """Seconds of so many cells with so much work together, by least squares; neither part is negative.

        Where all cells were of one size, they say nothing of a constant.
        """
        spread = self.cells * self._work_work - self._work**2
        if spread <= 1e-9 * self.cells * self._work_work:
            return work * self._seconds / self._work
        each = (self.cells * self._work_seconds - self._work * self._seconds) / spread
        constant = (self._seconds - each * self._work) / self.cells
        if each <= 0:
            return cells * self._seconds / self.cells
        return work * self._seconds / self._work if constant < 0 else cells * constant + work * each


class Estimate:
    """The time that a number of cells takes, from those of them that are done.

    A cell costs what cells of its kind cost. One of a kind that none is done of yet costs what cells do that are
    trained in other ways: what untrained ones cost says nothing of them, nor the other way round, and then nothing is
    known. Cells are taken to begin in their order, each when one of those that run side by side has ended.

    Attributes:
        side_by_side: cells that run at a time.
    """

    def __init__(self, wanted: Mapping[Cell, int], d: int, points: int, side_by_side: int = 1) -> None:
        """Of cells, each with the networks that are to be drawn, for inputs of dimension d, at so many test points."""
        self.side_by_side = side_by_side
        # By their place in the order: to hash a network takes longer than to plan with its size.
        self._places = {cell: place for place, cell in enumerate(wanted)}
        self._sizes = {self._places[cell]: _size(cell, networks, d, points) for cell, networks in wanted.items()}
        self._left: dict[tuple[str, str], tuple[int, float]] = {}
        for size in self._sizes.values():
            cells, work = self._left.get(size.kind, (0, 0.0))
            self._left[size.kind] = cells + 1, work + size.work
        self._costs: dict[tuple[str, str], _Costs] = {}
        self._trained = _Costs()
        self._started = time.monotonic()
        self._order = iter(range(len(wanted)))
        self._begun: dict[int, float] = {}
        self._begin()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._started

    def done(self, cell: Cell, seconds: float) -> None:
        """Take a cell that has ended into account, with the seconds that it took."""
        place = self._places[cell]
        size = self._sizes.pop(place)
        cells, work = self._left[size.kind]
        self._left[size.kind] = cells - 1, max(0.0, work - size.work)
        for costs in (self._costs.setdefault(size.kind, _Costs()), *([self._trained] if size.is_trained else [])):
            costs.add(size.work, seconds)
        self._begun.pop(place, None)
        self._begin()

    def seconds_left(self) -> float | None:
        """Until all are done; None while that is not known."""
        if not self._sizes:
            return 0.0
        left = 0.0
        for kind, (cells, work) in self._left.items():
            costs = self._costs_of(kind)
            if cells and costs is None:
                return None
            left += costs.of(cells, work) if cells and costs is not None else 0.0
        now = time.monotonic()
        running = {one: self._cost_of(self._sizes[one]) for one in self._begun}
        ends = [max(0.0, cost + self._begun[one] - now) for one, cost in running.items()]
        ends += [0.0] * (self.side_by_side - len(ends))
        # Which cells come last makes a difference: some of those side by side end before others.
        waiting = itertools.islice((one for one in reversed(self._sizes) if one not in running), _LAST)
        last = [self._cost_of(self._sizes[one]) for one in waiting][::-1]
        if len(self._sizes) > _LAST + len(running):
            before = max(0.0, left - sum(running.values()) - sum(last))
            ends = [(sum(ends) + before) / len(ends)] * len(ends)
        heapq.heapify(ends)
        for cost in last:
            heapq.heapreplace(ends, ends[0] + cost)
        return max(ends)

    def _begin(self) -> None:
        """So many cells run as may."""
        while len(self._begun) < self.side_by_side and (place := next(self._order, None)) is not None:
            if place in self._sizes:
                self._begun[place] = time.monotonic()

    def _cost_of(self, size: _Size) -> float:
        costs = self._costs_of(size.kind)
        assert costs is not None
        return costs.of(1, size.work)

    def _costs_of(self, kind: tuple[str, str]) -> _Costs | None:
        """What cells of a kind cost; None while that is not known."""
        if kind in self._costs:
            return self._costs[kind]
        return self._trained if kind[0] and self._trained.cells else None


def _size(cell: Cell, networks: int, d: int, points: int) -> _Size:
    kind = (cell.optimizer if cell.time != "initialization" else "", cell.time)
    return _Size(kind, networks * work_of(cell, d, points))


def work_of(cell: Cell, d: int, points: int) -> float:
    """Multiplications of one network of a cell, about, if it takes all its steps."""
    trained = cell.time != "initialization"
    passes = points + (cell.n * cell.budget if trained else 0)
    return float(cell.net.count_parameters(d) * passes)


def in_words(text: str, done: int, total: int, seconds: float) -> str:
    """What a progress callback is given, as a line: ``3 of 8 cells, 62 s, about 19 s left, MLP(…) initialization``."""
    return ", ".join(filter(None, (f"{done} of {total} cells", duration(seconds), time_left(text), printable(text))))


def time_left(text: str) -> str:
    """``about 3 min left``, where the text of a progress callback knows it; else nothing."""
    seconds = getattr(text, "seconds_left", None)
    return "" if seconds is None else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Seconds in the units that they fill: ``45 s``, ``3 min``, ``2 h 10 min``, ``4 d 3 h``."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
