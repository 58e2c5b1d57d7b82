"""What networks cost on this machine: by their sizes before any is drawn, then ever more by what was measured.

A call draws networks of one cell. It takes, of all that the machine can give,

    seconds = call + compile · (programs that are new) + networks · (passes over points) · (products of a pass) / speed

Sizes tell the number of products; *compile* and *speed* are rough numbers of a machine at first. Each call that ends
corrects them by what it took, beside what was expected of it, with a weight that grows with its seconds. So a small
cell says next to nothing of a large one: it is made of what is compiled, which a large one has to pay once, too.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import NamedTuple

import jax
import numpy as np

from ntkrobust.runtime.layout import power_of_two_from
from ntkrobust.studies.cell_facts import CellFacts, facts_of_cell
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import Demand

PASS = 6.0
"""Operations per product of a pass forwards and back: two forwards, four back."""

SMALLEST_PASS = 2e5
"""Operations that a pass over all points takes the time of, at least: of small ones it is what surrounds them."""

SETUP = 45.0
"""Passes that a trained network takes beside its steps: the largest eigenvalue of its kernel, and its measures."""

UNTRAINED = 3.0
"""Passes over the test points of a network that is not trained."""

PILOT = 8
"""Networks that are trained beside the others of a cell under gradient flow, to choose the size of its steps."""

FINER = 1.5
"""Steps of networks that judge over those of a pilot, whose steps are the largest that may serve."""

CALL = 0.08
"""Seconds of a call beside all that: what is prepared for its programs, and read from them."""

SHARE = 0.85
"""Of what a product of matrices reaches on a core of this machine, what networks do on each."""

DOUBT = 4.0
"""Seconds that what was measured has to reach to count as much as what was expected of the machine."""

DOUBT_OF_KIND = 2.0
"""The same, to tell one kind of network and training from all of them."""

DOUBT_OF_CELL = 0.5
"""The same, to tell one cell from its kind."""

DOUBT_OF_STEPS = 500.0
"""Steps that have to be seen to count as much as those that were expected."""


class Call(NamedTuple):
    """Networks of a cell that are drawn in one go.

    Attributes:
        cell: the cell.
        facts: what its cost goes with.
        points: test points that they are measured on.
        networks: how many.
        programs: what tells their programs from others: networks of one shape share them, whatever their law.
        is_first: whether they are the first of the cell.
        is_rough: whether they are of a pilot, whose steps are large.
    """

    cell: Cell
    facts: CellFacts
    points: int
    networks: int
    programs: Hashable
    is_first: bool = True
    is_rough: bool = False


def call_of(cell: Cell, demand: Demand, drawn: int, d: int, points: int, *, is_rough: bool = False) -> Call:
    """What is still to be drawn of a cell that has so many networks, for inputs of dimension d, at so many points."""
    facts, missing = facts_of_cell(cell, d), max(0, demand.networks - drawn)
    room = power_of_two_from(max(1, demand.room, demand.networks)) if facts.is_trained else 0
    programs = facts.shape, frozenset(demand.measures), room
    return Call(cell, facts, cell.points or points, missing, programs, not drawn, is_rough)


class _Scale:
    """By what factor something takes longer than was expected: the geometric mean of what was seen.

    A factor counts with √(expected · seen) of seconds or steps: what is over in a moment says little, in either sense.

    Args:
        doubt: what counts for the factor that is taken before anything is seen.
    """

    def __init__(self, doubt: float) -> None:
        self._doubt, self._weight, self._sum = doubt, 0.0, 0.0

    def add(self, expected: float, seen: float) -> None:
        """What something took, and what was expected."""
        if expected > 0 and seen > 0:
            weight = math.sqrt(expected * seen)
            self._weight += weight
            self._sum += weight * math.log(seen / expected)

    def over(self, before: float) -> float:
        """The factor, where this one was taken before."""
        return math.exp((self._doubt * math.log(before) + self._sum) / (self._doubt + self._weight))


class Costs:
    """Seconds that calls take, of all that the machine can give; safe to share between threads."""

    def __init__(self) -> None:
        self._compiling = _Scale(DOUBT)
        self._running: dict[Hashable, _Scale] = defaultdict(lambda: _Scale(DOUBT))
        self._kinds: dict[Hashable, _Scale] = defaultdict(lambda: _Scale(DOUBT_OF_KIND))
        self._cells: dict[int, _Scale] = defaultdict(lambda: _Scale(DOUBT_OF_CELL))
        self._steps: dict[int, float] = {}
        self._steps_over: dict[Hashable, _Scale] = defaultdict(lambda: _Scale(DOUBT_OF_STEPS))
        self._compiled: set[Hashable] = set()
        self._changing = threading.Lock()

    def took(self, call: Call, seconds: float, steps: float, compiling: float | None = None) -> None:
        """Take a call that has ended into account.

        Args:
            call: which one.
            seconds: that it took, of all that the machine can give.
            steps: that its networks took, in the mean.
            compiling: of the seconds, those in which programs were compiled; None where that is not known.
        """
        facts, fine = call.facts, 1.0 if call.is_rough else FINER
        with self._changing:
            if facts.flows and math.isfinite(steps):
                self._steps[facts.number] = max(1.0, steps / fine)
                self._steps_over[call.cell.time].add(facts.steps, self._steps[facts.number])
            expected, running = self._parts(call, self._compiled)
            self._compiled.add(call.programs)
            if compiling is None:  # in the proportion that was expected
                compiling = seconds * expected / max(1e-9, expected + running)
            if expected:
                self._compiling.add(expected / self._compiling.over(1.0), compiling)
            plain = running / self._factor(facts)
            for scale in (self._running[facts.is_trained], self._kinds[facts.kind], self._cells[facts.number]):
                scale.add(plain, seconds - compiling - CALL)

    def of(self, calls: Iterable[Call]) -> list[float]:
        """Seconds of calls that are made one after the other: a program that several have is compiled once."""
        with self._changing:
            compiled, found = set(self._compiled), []
            for call in calls:
                if call.networks:
                    found.append(CALL + sum(self._parts(call, compiled)))
                    compiled.add(call.programs)
                else:
                    found.append(0.0)
        return found

    def _parts(self, call: Call, compiled: set[Hashable]) -> tuple[float, float]:
        """Seconds for what is compiled, and for what is run."""
        facts = call.facts
        compiling = 0.0 if call.programs in compiled else self._compiling.over(1.0) * facts.compiling
        return compiling, self._factor(facts) * self._plain(call)

    def _factor(self, facts: CellFacts) -> float:
        of_all = self._running[facts.is_trained].over(1.0)
        of_kind = self._kinds[facts.kind].over(of_all)
        return self._cells[facts.number].over(of_kind) if facts.number in self._cells else of_kind

    def _plain(self, call: Call) -> float:
        """Seconds of a call without its programs, at the speed that is expected of the machine."""
        facts, networks, n = call.facts, call.networks, call.cell.n
        one = max(SMALLEST_PASS / (call.points + n), PASS * facts.products)
        if not facts.is_trained:
            return networks * UNTRAINED * call.points * one / speed()
        if facts.flows and call.is_first and not call.is_rough:
            networks += PILOT
        steps = facts.steps
        if facts.flows:
            steps = self._steps_of(call) * (1.0 if call.is_rough else FINER)
        return networks * (SETUP * (call.points + n) + steps * facts.evaluations * n) * one / speed()

    def _steps_of(self, call: Call) -> float:
        """Steps of gradient flow that a network of a pilot takes: as seen; else as cells read alike show."""
        facts = call.facts
        if facts.number in self._steps:
            return self._steps[facts.number]
        return min(float(call.cell.budget), facts.steps * self._steps_over[call.cell.time].over(1.0))


@functools.cache
def speed() -> float:
    """Operations in a second that networks do, about: on a processor, by a product of matrices that is timed."""
    if jax.default_backend() != "cpu":
        return 2e12
    one = np.ones((8, 64, 64), dtype=np.float32)  # of this size they take one core, and less than a slice of its time
    best = math.inf
    for _ in range(32):
        began = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - began)
    return SHARE * (os.cpu_count() or 1) * 2 * one.size * 64 / max(best, 1e-7)
