"""Seconds that networks take on this machine, as a pilot shows, and then as those that judge do."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import jax

from ntkrobust.studies.cells import Cell
from ntkrobust.studies.progress import work_of
from ntkrobust.studies.records import Demand
from ntkrobust.studies.running import Networks

FINER_STEPS = 1.5
"""Networks that judge take so many times as long as those of a pilot under gradient flow, whose steps are halved for
them until measures stand still."""


MULTIPLICATIONS = 5e9
"""In a second, about, on a processor of two cores, where nothing was measured yet."""


class Costs:
    """Seconds that networks of cells take; of cells that none was drawn of, by their work.

    A call takes what its networks take, each the same, and something for the call; the first of a cell compiles, too.
    Calls run side by side: of what they take together each is charged its share. On a CPU that is the time of its
    cores, which says what the same takes when they are all busy.
    """

    def __init__(self, d: int, points: int) -> None:
        """For inputs of dimension d, measured on so many test points."""
        self._d, self._points = d, points
        self._calls: dict[Cell, list[tuple[float, int]]] = {}
        self._slower = 1.0

    @contextmanager
    def watched(self, networks: Networks, pilot: bool = False) -> Iterator[None]:
        """Inside, more networks are drawn."""
        before, started, busy = _so_far(networks), time.monotonic(), time.process_time()
        yield
        elapsed, busy = time.monotonic() - started, (time.process_time() - busy) / (os.cpu_count() or 1)
        took = busy if jax.default_backend() == "cpu" else elapsed
        new: dict[Cell, tuple[float, int]] = {}
        for cell, (seconds, count) in _so_far(networks).items():
            spent, added = seconds - before.get(cell, (0.0, 0))[0], count - before.get(cell, (0.0, 0))[1]
            if added > 0:
                new[cell] = spent, added
        together = sum(spent for spent, _ in new.values())
        for cell, (spent, added) in new.items():
            finer = FINER_STEPS if pilot and _flows(cell) else 1.0
            self._calls.setdefault(cell, []).append((finer * took * spent / together, added))
        if together and not pilot:  # others use this machine, too
            self._slower = max(1.0, elapsed / took)

    def seconds(self, demands: Mapping[Cell, Demand], drawn: Networks | None = None) -> float:
        """By the clock, until cells have what is wanted of them; NaN where nothing is known of any network.

        Args:
            demands: what is wanted of each cell.
            drawn: networks that are there already.
        """
        there = {} if drawn is None else _so_far(drawn)
        total = 0.0
        for cell, demand in demands.items():
            missing = demand.networks - there.get(cell, (0.0, 0))[1]
            if missing > 0:
                each, call = self._of_cell(cell)
                total += missing * each + call
        return total * self._slower

    def _of_cell(self, cell: Cell) -> tuple[float, float]:
        """Seconds for each network, and for the call that draws them, compiling if it is the first; NaN if unknown."""
        calls = self._calls.get(cell, [])
        if len(calls) > 1:
            return _line(calls[1:])
        like = [(one, *_line(found[1:] or found)) for one in self._like(cell) if (found := self._calls[one])]
        if calls:  # with its compilation: no more than this
            return calls[0][0] / calls[0][1], 0.0
        if not like:
            # Where steps are counted the work is known, and a rough rate is better than none.
            known = cell.time in ("initialization", "fixed steps")
            return (self._work(cell) / MULTIPLICATIONS, 0.0) if known else (math.nan, math.nan)
        rate = sum(each for _, each, _ in like) / sum(self._work(one) for one, _, _ in like)
        firsts = [self._calls[one][0] for one, _, _ in like]
        compiling = sum(
            max(0.0, spent - count * each) for (spent, count), (_, each, _) in zip(firsts, like, strict=True)
        )
        return rate * self._work(cell), compiling / len(like)

    def _like(self, cell: Cell) -> list[Cell]:
        """Cells that were run, as alike as there are: of its kind of network and training, of its training, any."""
        for likeness in (
            lambda one: (type(one.net), one.optimizer, one.time, one.adversary),
            lambda one: (one.optimizer, one.time != "initialization", one.adversary),
            lambda one: 0,
        ):
            found = [one for one in self._calls if likeness(one) == likeness(cell)]
            if found:
                return found
        return []

    def _work(self, cell: Cell) -> float:
        return work_of(cell, self._d, self._points)


def _line(calls: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Seconds for each network and for a call, from the smallest and the largest of some calls."""
    (short, few), (long, many) = min(calls, key=lambda one: one[1]), max(calls, key=lambda one: one[1])
    each = (long - short) / (many - few) if many > 2 * few else long / many
    each = min(max(each, 0.1 * long / many), long / many)
    return each, long - many * each


def _flows(cell: Cell) -> bool:
    return cell.optimizer == "gradient_flow" and cell.time != "initialization"


def _so_far(networks: Networks) -> dict[Cell, tuple[float, int]]:
    """Of each cell that has networks, the seconds that they took and how many there are."""
    return {cell: (one.seconds, len(one.seeds)) for cell, one in networks.records.items() if len(one.seeds)}
