"""Drawing, training and measuring the networks of cells: what has been done is kept, and more are added to it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Mapping
from queue import Empty

import jax

from ntkrobust.data import Dataset
from ntkrobust.errors import InputError, one_line
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines.crew import Crew, Engine, Failure, Outcome, ThreadCrew, threads
from ntkrobust.studies.progress import Estimate, Told, work_of
from ntkrobust.studies.records import CellRecord, Demand, nothing
from ntkrobust.studies.store.store import CellStore

Progress = Callable[[str, int, int], None]
"""Called after each cell with its description (a :class:`~ntkrobust.studies.progress.Told`), how many are done, and the
number of cells."""


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
    ) -> None:
        """Of this data set, with this key, measured on so many points.

        What is in ``store`` is not run again. What is run, an ``engine`` runs; without one, this process. Where
        ``rough``, gradient flow takes the largest steps and no second look at what they leave out: networks of a pilot,
        which judge nothing.
        """
        self.records: dict[Cell, CellRecord] = {}
        self._work, self._store, self._engine, self._rough = CellWork(data, key, points), store, engine, rough

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
        d = self._work.data.d
        order = in_turn(missing, d, self._work.points)
        failed: list[Failure] = []
        wanted = {cell: missing[cell].networks - len(self.records[cell].seeds) for cell in order}
        with self._crew({cell: missing[cell] for cell in order}, until) as crew:
            estimate = Estimate(wanted, d, self._work.points, crew.side_by_side)
            try:
                for done in range(1, len(order) + 1):
                    cell, outcome = self._next(crew)
                    spent, estimate.side_by_side = self.records[cell].seconds, crew.side_by_side
                    failed += self._kept(outcome, cell, missing[cell])
                    estimate.done(cell, self.records[cell].seconds - spent)
                    left = estimate.seconds_left()
                    progress(Told(f"{cell.net!r} {cell.time}", wanted[cell], estimate.seconds, left), done, len(order))
            except BaseException:
                crew.stop()
                if self._store is not None:  # before waiting for networks that train
                    self._keep_ended(crew, missing)
                raise
        if failed and len(failed) == len(order) and all(one.is_input for one in failed):
            raise InputError(failed[0].sentence)

    def _crew(self, missing: Mapping[Cell, Demand], until: float) -> Crew:
        """What runs these cells, in their order, as long as it is not too late to begin one."""

        def run(cell: Cell) -> CellRecord:
            return self._run(cell, missing[cell]) if time.monotonic() < until else nothing(cell)

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
