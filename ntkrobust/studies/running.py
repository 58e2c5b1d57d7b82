"""Drawing, training and measuring the networks of cells: what has been done is kept, and more are added to it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from queue import Empty

import jax
import numpy as np

from ntkrobust.data import Dataset
from ntkrobust.errors import InputError, one_line
from ntkrobust.runtime.programs import seconds_compiling
from ntkrobust.studies.ahead import Job, Spent
from ntkrobust.studies.cell_facts import work_of
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines.crew import Crew, Engine, Failure, Outcome, ThreadCrew, threads
from ntkrobust.studies.records import CellRecord, Demand, nothing
from ntkrobust.studies.store.store import CellStore

Progress = Callable[[str, int, int], None]
"""Called after each cell with its description (a :class:`~ntkrobust.studies.progress.Told`), how many are done, and the
number of cells: of the whole job that it belongs to, as far as they are known."""


LONG_AFTER = 3
"""Quick cells that are begun for each long one."""


def in_turn(demands: Mapping[Cell, Demand], d: int, points: int) -> list[Cell]:
    """The order in which cells are begun.

    What is quick comes first, so that a mistake shows early. But where networks are trained, long cells are begun
    between the quick ones: left to the end, the longest would run alone, on a machine with more cores than it can use.
    """
    cells = sorted(demands, key=lambda one: (one.time != "initialization", one.net.count_parameters(d)))
    trained = [place for place, cell in enumerate(cells) if cell.time != "initialization"]
    work = {place: demands[cells[place]].networks * work_of(cells[place], d, points) for place in trained}
    order = list(range(len(cells) - len(trained)))
    begun = set(order)  # places: to hash a network takes longer
    turns = (iter(trained), LONG_AFTER), (iter(sorted(trained, key=lambda place: -work[place])), 1)
    while len(order) < len(cells):
        for source, count in turns:
            some = list(itertools.islice((place for place in source if place not in begun), count))
            order += some
            begun.update(some)
    return [cells[place] for place in order]


class Networks:
    """The networks of cells, with the seeds 0, 1, … in each; more of them never change the earlier ones.

    Attributes:
        records: what each cell has given so far.
    """

    def __init__(
        self,
        data: Dataset,
        key: jax.Array,
        points: int,
        store: CellStore | None = None,
        engine: Engine | None = None,
        rough: bool = False,
        job: Job | None = None,
    ) -> None:
        """Of this data set, with this key, measured on so many points.

        What is in ``store`` is not run again. What is run, an ``engine`` runs; without one, this process. Where
        ``rough``, gradient flow takes the largest steps and no second look at what they leave out: networks of a pilot,
        which judge nothing. They belong to a ``job``; without one, to one of their own.
        """
        self.records: dict[Cell, CellRecord] = {}
        self._work, self._store, self._engine, self._rough = CellWork(data, key, points), store, engine, rough
        self._job = job or Job()
        self._pool = self._job.pool(data, points, is_rough=rough)
        self._spent: dict[Cell, Spent] = {}

    def expect(self, demands: Mapping[Cell, Demand]) -> None:
        """Tell the job what is going to be asked for, in place of what was expected before."""
        self._pool.expect(demands, self._drawn(demands))

    def seconds(self, demands: Mapping[Cell, Demand]) -> float:
        """By the clock, until cells have what is wanted of them, by what is known of this machine so far."""
        return self._pool.seconds(demands, self._drawn(demands))

    def _drawn(self, cells: Iterable[Cell]) -> dict[Cell, int]:
        return {cell: len(self.records[cell].seeds) for cell in cells if cell in self.records}

    def extend(self, demands: Mapping[Cell, Demand], progress: Progress, until: float = math.inf) -> None:
        """Run what is missing. A cell has to be asked for the same measures each time.

        A cell that fails is left with the networks that it has, and says why (``failure``); it is not tried again.
        Cells that are not begun ``until`` a time of :func:`time.monotonic` are left with what they have.

        Raises:
            InputError: none of the cells that were asked for could be run, for reasons that lie in what was asked for.
        """
        for cell in demands:
            self.records.setdefault(cell, nothing(cell))
        if self._store is not None:
            for cell, demand in demands.items():
                self.records[cell] = self._store.found(self.records[cell], demand)
        missing = {
            cell: demand
            for cell, demand in demands.items()
            if demand.networks > len(self.records[cell].seeds) and not self._failure(cell, demand)
        }
        if self._store is not None:
            self._store.plan(missing)
        try:
            self._run_all(missing, progress, until)
        finally:
            if self._store is not None:
                self._store.flush()

    def _failure(self, cell: Cell, demand: Demand) -> str:
        """Why a cell is not to be tried again, or ""."""
        record = self.records[cell]
        failure = record.failure or ("" if self._store is None else self._store.failure(cell, demand))
        if failure and not record.failure:
            self.records[cell] = dataclasses.replace(record, failure=failure)
        return failure

    def _run_all(self, missing: Mapping[Cell, Demand], progress: Progress, until: float) -> None:
        """Run cells side by side and keep what they give."""
        order = {cell: missing[cell] for cell in in_turn(missing, self._work.data.d, self._work.points)}
        drawn = self._drawn(order)
        failed: list[Failure] = []
        self._pool.begin(order, drawn)
        with self._crew(order, until) as crew:
            self._job.elsewhere = crew.side_by_side if self._engine is not None else 0
            try:
                for _ in order:
                    cell, outcome = self._next(crew)
                    failed += self._kept(outcome, cell, missing[cell])
                    self._note(cell, missing[cell], outcome, crew)
                    told = self._job.told(f"{cell.net!r} {cell.time}", missing[cell].networks - drawn[cell])
                    progress(told, self._job.done, self._job.total)
            except BaseException:
                crew.stop()
                if self._store is not None:  # before waiting for networks that train
                    self._keep_ended(crew, missing)
                raise
        if failed and len(failed) == len(order) and all(one.is_input for one in failed):
            raise InputError(failed[0].sentence)

    def _note(self, cell: Cell, demand: Demand, outcome: Outcome, crew: Crew) -> None:
        """Tell the job that a cell has ended."""
        if isinstance(outcome, Failure):
            self._pool.ended(cell, demand, 0, math.nan, None)
            return
        spent = self._spent.pop(cell, None) or Spent(outcome.seconds / max(1, crew.side_by_side))
        steps = float(np.mean(outcome.step)) if len(outcome.step) else math.nan
        self._pool.ended(cell, demand, len(outcome.seeds), steps, spent)

    def _crew(self, missing: Mapping[Cell, Demand], until: float) -> Crew:
        """What runs these cells, in their order, as long as it is not too late to begin one."""

        def run(cell: Cell) -> CellRecord:
            if time.monotonic() >= until:
                return nothing(cell)
            name, began, compiling = (self._pool, cell), time.monotonic(), seconds_compiling()
            self._job.meter.begin(name)
            try:
                return self._run(cell, missing[cell])
            finally:
                share = (seconds_compiling() - compiling) / max(1e-9, time.monotonic() - began)
                took = self._job.meter.end(name)
                self._spent[cell] = Spent(took, min(1.0, share) * took)

        def begin(cell: Cell) -> bool:
            if in_time := time.monotonic() < until:
                self._begin(cell, missing[cell])
            return in_time

        if self._engine is None or not missing:
            return ThreadCrew(run, list(missing), threads())
        requests = {cell: self._request(cell, demand) for cell, demand in missing.items()}
        return self._engine.crew(requests, self._work, begin)

    def _keep_ended(self, crew: Crew, missing: Mapping[Cell, Demand]) -> None:
        """Store what has ended when a run is stopped."""
        assert self._store is not None
        with contextlib.suppress(Empty):
            while True:
                cell, outcome = crew.next(0)
                self._kept(outcome, cell, missing[cell])
        self._store.flush()

    def _next(self, crew: Crew) -> tuple[Cell, Outcome]:
        """The next cell that ends; what is to be stored meanwhile is."""
        while True:
            try:
                return crew.next(None if self._store is None else self._store.due())
            except Empty:
                assert self._store is not None
                self._store.flush()

    def _kept(self, outcome: Outcome, cell: Cell, demand: Demand) -> list[Failure]:
        """Keep what a cell gave, or how it failed, which is returned."""
        if isinstance(outcome, Failure):
            reason = f"the cell failed: {one_line(outcome.sentence, 500)}"
            self.records[cell] = dataclasses.replace(self.records[cell], failure=reason)
            if self._store is not None:
                self._store.fail(cell, demand, reason, outcome.traceback)
            return [outcome]
        if len(outcome.seeds):
            self.records[cell] = self.records[cell].joined(outcome)
            if self._store is not None:
                self._store.add(outcome, demand)
        return []

    def _run(self, cell: Cell, demand: Demand) -> CellRecord:
        self._begin(cell, demand)
        return self._work.done(self._request(cell, demand))

    def _begin(self, cell: Cell, demand: Demand) -> None:
        if self._store is not None:
            self._store.begin(cell, demand)

    def _request(self, cell: Cell, demand: Demand) -> Request:
        before = self.records[cell]
        return Request(cell, demand, len(before.seeds), before.tolerance, before.time_error, self._rough)
