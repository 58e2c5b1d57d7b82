"""How far a run is, and how long the rest takes: by what cells of that size have cost, not by how many are left."""

from __future__ import annotations

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


class Estimate:
    """The time that a number of cells takes, from those of them that are done.

    A cell costs what cells of its kind cost per multiplication. Of kinds that none is done of yet, what all cost. So
    many cells run side by side as the cells that are done had, by their seconds and by the clock.
    """

    def __init__(self, wanted: Mapping[Cell, int], d: int, points: int) -> None:
        """Of cells, each with the networks that are to be drawn, for inputs of dimension d, at so many test points."""
        self._sizes = {cell: _size(cell, networks, d, points) for cell, networks in wanted.items()}
        self._left: dict[tuple[str, str], float] = {}
        for size in self._sizes.values():
            self._left[size.kind] = self._left.get(size.kind, 0.0) + size.work
        self._cost: dict[tuple[str, str], tuple[float, float]] = {}
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._started

    def done(self, cell: Cell, seconds: float) -> None:
        """Take a cell that has ended into account, with the seconds that it took."""
        size = self._sizes.pop(cell)
        self._left[size.kind] = max(0.0, self._left[size.kind] - size.work)
        before = self._cost.get(size.kind, (0.0, 0.0))
        self._cost[size.kind] = before[0] + seconds, before[1] + size.work

    def seconds_left(self) -> float | None:
        """Until all are done; None while none is."""
        spent, work = (sum(one) for one in zip(*self._cost.values(), strict=True)) if self._cost else (0.0, 0.0)
        if not spent or not work:
            return None if self._sizes else 0.0
        left = 0.0
        for kind, of_kind in self._left.items():
            cost, done = self._cost.get(kind, (spent, work))
            left += of_kind * cost / done if done else 0.0
        return self.seconds * left / spent if self._sizes else 0.0


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
