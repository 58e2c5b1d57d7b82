"""How long the rest of a job takes: right to 25 % of the job from its first tenth on, in replays of recorded and made
runs, beside faults that are caught."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.studies import ahead, cell_facts, costs
from ntkrobust.studies.ahead import Job, Meter, Spent
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import Demand

CORES = 2

SPEED = 1.9e11
"""Operations in a second, by the product of matrices that is timed, of the machine that was recorded."""


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are told for a machine that multiplies as the one that was recorded, whatever this one is."""
    monkeypatch.setattr(costs, "speed", lambda: SPEED)
    monkeypatch.setattr(cell_facts.os, "cpu_count", lambda: CORES)
    cell_facts.facts_of_cell.cache_clear()


class Clocks:
    """The clock, and what the machine gave, both set by hand."""

    def __init__(self) -> None:
        self.now = self.busy = 0.0

    def meter(self) -> Meter:
        return Meter(lambda: self.now, lambda: self.busy)


Told = tuple[float, float, int, int]
"""When, seconds left, cells done, and all of them."""


def errors(told: Iterable[Told], seconds: float) -> dict[float, float]:
    """Of what was told at each time after the first tenth of a run, and just before it: (told − true) over the run."""
    told, found = list(told), {}
    first = max((index for index, one in enumerate(told) if one[0] <= seconds / 10), default=0)
    for (when, left, *_), (until, *_) in zip(told[first:], [*told[first + 1 :], (seconds,)], strict=True):
        # It counts on like a clock until something else is told.
        for now in {max(when, seconds / 10), until}:
            found[now / seconds] = (max(0.0, left - (now - when)) - (seconds - now)) / seconds
    return found


def worst(told: Iterable[Told], seconds: float) -> float:
    return max(map(abs, errors(told, seconds).values()))


# A run that was recorded


def recorded() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "time_left_zhu2022.json").read_text())


def cell_of(one: Mapping[str, Any]) -> Cell:
    fields = dict(one)
    net = dict(fields.pop("net"))
    kind, gains = getattr(ntr, net.pop("kind")), net["initialization"]
    if not isinstance(gains, str):
        net["initialization"] = ntr.Initialization.from_gains(*gains)
    return Cell(kind(**net), **fields)


def replay(
    run: Mapping[str, Any], change: Callable[[str, list[Any]], list[Any] | None] = lambda _, one: one
) -> list[Told]:
    """What a job tells that is given what a run gave its own, at the times at which it did."""
    cells = [cell_of(one) for one in run["cells"]]
    measures = [dict.fromkeys(names) for names in run["measures"]]
    clocks = Clocks()
    clocks.now, clocks.busy = run["begun"]
    job, data = Job(run["ending"], meter=clocks.meter()), SimpleNamespace(d=64)
    told: list[Told] = []
    for what, (now, busy), rough, *rest in run["events"]:
        clocks.now, clocks.busy = now, busy
        pool = job.pool(data, 64, is_rough=rough)
        changed = change(what, rest)
        if changed is None:
            continue
        if what in ("expect", "begin"):
            demands = {cells[c]: Demand(measures[m], networks, room) for c, m, networks, room, _ in changed[0]}
            drawn = {cells[c]: has for c, _, _, _, has in changed[0]}
            getattr(pool, what)(demands, drawn)
        elif what == "run":
            job.meter.begin((pool, cells[changed[0]]))
        else:
            c, m, networks, room, drawn_now, steps, compiling = changed
            took = job.meter.end((pool, cells[c]))
            demand = Demand(measures[m], networks, room)
            pool.ended(cells[c], demand, drawn_now, steps, Spent(took, compiling * took))
        if what == "ended" or (what == "expect" and rough and not told):
            told.append((now, job.seconds_left(), job.done, job.total))
    return told


@pytest.mark.fast
def test_a_recorded_run_is_told_to_a_quarter_from_its_first_tenth() -> None:
    run = recorded()
    told, seconds = replay(run), run["seconds"]
    assert told[0][0] < 0.11 * seconds  # imports and formulas come before
    assert worst(told, seconds) < 0.25


def test_cells_are_those_of_the_whole_job() -> None:
    told = replay(recorded())
    done = [one[2] for one in told]
    assert done == sorted(done)
    assert all(left > 0 and done < total for _, left, done, total in told[:-1])
    assert told[-1][2] == told[-1][3]
    totals = [one[3] for one in told]
    assert max(totals) < 1.5 * min(totals)


def test_faults_of_an_estimate_are_seen() -> None:
    run = recorded()
    seconds = run["seconds"]

    def each_draw_alone(what: str, rest: list[Any]) -> list[Any] | None:
        return None if what == "expect" else rest

    def compiling_as_work(what: str, rest: list[Any]) -> list[Any]:
        return [*rest[:-1], 0.0] if what == "ended" else rest

    assert worst(replay(run, each_draw_alone), seconds) > 0.5
    assert worst(replay(run, compiling_as_work), seconds) > 0.25


# Runs that are made up


UNTRAINED = [Cell(ntr.MLP(depth, 64, initialization=law), n=1, time="initialization")
             for depth in (2, 4, 6, 8) for law in ("he", "lecun", "ntk")]  # fmt: skip
TRAINED = [
    Cell(ntr.MLP(depth, width), n=100, time="fixed steps", value=steps, budget=steps)
    for depth in (2, 3, 5)
    for width in (8, 32, 128, 512)
    for steps in (100, 200, 400)
]


def truth(cell: Cell, machine: float) -> tuple[float, float]:
    """Seconds of a machine to compile and to run: products counted by hand, six operations each, at 190 Gflop/s."""
    m, depth = cell.net.width, cell.net.depth
    weights = 64 * m + (depth - 2) * m * m + m
    if cell.time == "initialization":
        return 0.3, 2048 * 10 * 6 * weights * 64 / 1.9e11 / machine
    return 0.5 + 0.1 * depth, 16 * 6 * weights * (cell.n * cell.budget + 6000) / 1.9e11 / machine


def made_up(machine: float, load: float) -> tuple[list[Told], float]:
    """A run of two cells at a time, which share what the machine gives; the clock goes ``load`` times as fast."""
    clocks = Clocks()
    job, data, told = Job(1.0, meter=clocks.meter()), SimpleNamespace(d=64), []
    pool, drawn = job.pool(data, 64), dict[Cell, int]()
    demands = {cell: Demand({"m": None}, 2048 if cell.time == "initialization" else 16) for cell in UNTRAINED + TRAINED}
    pool.expect(demands)
    compiled, noise = set(), np.random.default_rng(0)
    for part in (UNTRAINED, TRAINED):
        pool.begin({cell: demands[cell] for cell in part}, drawn)
        waiting, running = list(part), list[tuple[float, int, Cell, float]]()
        while waiting or running:
            while waiting and len(running) < 2:
                cell = waiting.pop(0)
                compiling, seconds = truth(cell, machine)
                compiling = 0.0 if (shape := (cell.net.width, cell.net.depth, cell.n)) in compiled else compiling
                compiled.add(shape)
                seconds *= np.exp(0.1 * noise.standard_normal())
                job.meter.begin((pool, cell))
                running.append([compiling + seconds, compiling / (compiling + seconds), cell])
            running.sort(key=lambda one: one[0])
            least, share, cell = running.pop(0)
            for one in running:
                one[0] -= least
            step = least * (len(running) + 1)
            clocks.now, clocks.busy = clocks.now + load * step, clocks.busy + step
            took = job.meter.end((pool, cell))
            pool.ended(cell, demands[cell], demands[cell].networks, float(cell.budget), Spent(took, share * took))
            told.append((clocks.now, job.seconds_left(), job.done, job.total))
    return told, clocks.now + 1.0


@pytest.mark.parametrize("load", [1.3, 2.0])
@pytest.mark.parametrize("machine", [0.25, 1.0, 4.0])
def test_made_up_runs_are_told_to_a_quarter(machine: float, load: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "speed", lambda: machine * SPEED)
    told, seconds = made_up(machine, load)
    assert told[0][0] < seconds / 10
    assert worst(told, seconds) < 0.25
    assert all(left > 0 for _, left, done, total in told[:-1])
    # By the number of cells it would be far off.
    by_number = [
        abs((seconds - now) - now * (total - done) / done) for now, _, done, total in told if now > seconds / 10
    ]
    assert max(by_number) > 0.5 * seconds


def test_where_a_time_is_given_what_is_left_is_that_of_the_clock() -> None:
    clocks = Clocks()
    job = Job(until=60.0, meter=clocks.meter())
    clocks.now = 15.0
    assert job.seconds_left() == 45.0


def test_of_several_machines_each_has_a_cell() -> None:
    clocks = Clocks()
    job = Job(meter=clocks.meter())
    large = Cell(ntr.MLP(5, 512), n=100, time="fixed steps", value=400, budget=400)
    job.pool(SimpleNamespace(d=64), 64).expect({large: Demand({"m": None}, 16)})
    alone = job.seconds_left()
    job.elsewhere = 1
    once = job.seconds_left()
    job.elsewhere = 4
    assert job.seconds_left() == pytest.approx(4 * once)  # no other machine makes a cell shorter
    assert alone == pytest.approx(ahead.IDLE * once)
