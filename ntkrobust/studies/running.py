"""Drawing, training and measuring the networks of cells: what has been done is kept, and more are added to it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

import jax
import numpy as np
import xarray as xr

from ntkrobust.bounds.claims.reading import FLOW_TIMES
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError, one_line
from ntkrobust.finite.measures.measuring import measure, measure_untrained
from ntkrobust.finite.training.eigenvalues import largest_kernel_eigenvalue
from ntkrobust.finite.training.train import train
from ntkrobust.networks.plans import choose_plan
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.progress import Estimate, Told
from ntkrobust.studies.records import NUMBERS, CellRecord, Demand, nothing, untrained
from ntkrobust.studies.store.store import CellStore
from ntkrobust.studies.time_error import PILOT, TOLERANCES, Trained, halved_until_still

REFERENCE_SEEDS = 8
"""Networks over which λ_max of the unit of an ``equal time`` reading is averaged."""

_Part = tuple[dict[str, np.ndarray], xr.Dataset]
"""The state of some networks of a cell, and their measures."""

Progress = Callable[[str, int, int], None]
"""Called after each cell with its description (a :class:`~ntkrobust.studies.progress.Told`), how many are done, and the
number of cells."""


class Networks:
    """The networks of cells, with the seeds 0, 1, … in each; more of them never change the earlier ones.

    Attributes:
        records: what each cell has given so far.
    """

    def __init__(
        self, data: Dataset, key: jax.Array, points: int, store: CellStore | None = None, rough: bool = False
    ) -> None:
        """Of this data set, with this key, measured on so many points; what is in ``store`` is not run again.

        Where ``rough``, gradient flow takes the largest steps and no second look at what they leave out: networks of a
        pilot, which judge nothing.
        """
        self.records: dict[Cell, CellRecord] = {}
        self._data, self._key, self._points, self._store, self._rough = data, key, points, store, rough

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
        # What is quick comes first, so that a mistake shows early.
        order = sorted(missing, key=lambda one: (one.time != "initialization", one.net.count_parameters(self._data.d)))
        failed: list[Exception] = []
        wanted = {cell: missing[cell].networks - len(self.records[cell].seeds) for cell in order}
        estimate = Estimate(wanted, self._data.d, self._points)
        ended: SimpleQueue[tuple[Cell, Future[CellRecord]]] = SimpleQueue()

        def begin(cell: Cell) -> CellRecord:
            return nothing(cell) if time.monotonic() >= until else self._run(cell, missing[cell])

        with ThreadPoolExecutor(_workers()) as pool:
            try:
                for cell in order:
                    future = pool.submit(begin, cell)
                    future.add_done_callback(lambda one, cell=cell: ended.put((cell, one)))  # type: ignore[misc]
                for done in range(1, len(order) + 1):
                    cell, one = self._next(ended)
                    spent = self.records[cell].seconds
                    failed += self._kept(one, cell, missing[cell])
                    estimate.done(cell, self.records[cell].seconds - spent)
                    left = estimate.seconds_left()
                    progress(Told(f"{cell.net!r} {cell.time}", wanted[cell], estimate.seconds, left), done, len(order))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                if self._store is not None:  # before waiting for networks that train
                    self._keep_ended(ended, missing)
                raise
        if failed and len(failed) == len(order) and all(isinstance(error, InputError) for error in failed):
            raise failed[0]

    def _keep_ended(self, ended: SimpleQueue[tuple[Cell, Future[CellRecord]]], missing: Mapping[Cell, Demand]) -> None:
        """Store what has ended when a run is stopped."""
        assert self._store is not None
        with contextlib.suppress(Empty):
            while True:
                cell, one = ended.get_nowait()
                if not one.cancelled():
                    self._kept(one, cell, missing[cell])
        self._store.flush()

    def _next(self, ended: SimpleQueue[tuple[Cell, Future[CellRecord]]]) -> tuple[Cell, Future[CellRecord]]:
        """The next cell that ends; what is to be stored meanwhile is."""
        while True:
            try:
                return ended.get(timeout=None if self._store is None else self._store.due())
            except Empty:
                assert self._store is not None
                self._store.flush()

    def _kept(self, ended: Future[CellRecord], cell: Cell, demand: Demand) -> list[Exception]:
        """Keep what a cell gave, or how it failed, which is returned."""
        try:
            piece = ended.result()
        except Exception as error:  # a user's own code, memory, a solver: none of them is the others' fault
            sentence = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            reason = f"the cell failed: {one_line(sentence, 500)}"
            self.records[cell] = dataclasses.replace(self.records[cell], failure=reason)
            if self._store is not None:
                self._store.fail(cell, demand, reason, "".join(traceback.format_exception(error)))
            return [error]
        if len(piece.seeds):
            self.records[cell] = self.records[cell].joined(piece)
            if self._store is not None:
                self._store.add(piece, demand)
        return []

    def _run(self, cell: Cell, demand: Demand) -> CellRecord:
        if self._store is not None:
            self._store.begin(cell, demand)
        started = time.perf_counter()
        seeds = range(len(self.records[cell].seeds), demand.networks)
        steps, tolerance = cell.budget, math.nan
        time_error: Mapping[str, float] = {}
        if cell.time == "initialization":
            parts = self._run_untrained(cell, demand, seeds)
        elif cell.optimizer == "gradient_flow":
            parts, level, time_error = self._run_flow(cell, demand, seeds)
            steps, tolerance = _steps(cell, level), TOLERANCES[level]
        else:
            parts = self._run_trained(cell, demand, seeds, max(len(seeds), demand.room), self._training(cell))
        state: dict[str, Any] = {
            name: np.concatenate([part[name] for part, _ in parts], dtype=np.float64) for name in NUMBERS
        }
        return CellRecord(
            cell=cell,
            seeds=np.array(seeds),
            values={name: _joined(parts, name) for name in demand.measures},
            status=np.concatenate([part["status"] for part, _ in parts]),
            **state,
            seconds=time.perf_counter() - started,
            plan=parts[0][1].attrs["plan"],
            steps=steps,
            tolerance=tolerance,
            time_error=time_error,
        )

    def _run_untrained(self, cell: Cell, demand: Demand, seeds: range) -> list[_Part]:
        measured = measure_untrained(
            cell.net,
            self._points_of(cell),
            list(demand.measures.values()),
            seeds=seeds,
            key=self._key,
            epsilon=cell.epsilon,
            **self._domain_of(cell),
        )
        return [(untrained(len(seeds)), measured)]

    def _run_flow(self, cell: Cell, demand: Demand, seeds: range) -> tuple[list[_Part], int, Mapping[str, float]]:
        """Networks under gradient flow, the position of their tolerance, and the time error of each measure."""
        how, before = self._training(cell), self.records[cell]

        def run(level: int, some: range) -> list[_Part]:
            flow = {"tolerance": TOLERANCES[level], "steps": _steps(cell, level)}
            return self._run_trained(cell, demand, some, max(len(seeds), demand.room), how | flow)

        if self._rough:
            return run(0, seeds), 0, {}
        if len(before.seeds):
            level = TOLERANCES.index(before.tolerance)
            return run(level, seeds), level, before.time_error
        pilot = range(seeds.start, min(seeds.start + PILOT, seeds.stop))

        def train_pilot(level: int) -> Trained[list[_Part]]:
            parts = run(level, pilot)
            status, step = (np.concatenate([part[name] for part, _ in parts]) for name in ("status", "step"))
            missing = did_not_get_there(cell.time, status, step, _steps(cell, level))
            lost = bool((status == "diverged").any())
            values = {name: _joined(parts, name) for name in demand.measures}
            return Trained(level, values, arrived=not missing.any() and not lost, diverged=lost, state=parts)

        served, time_error = halved_until_still(train_pilot, len(seeds))
        rest = range(pilot.stop, seeds.stop)
        return served.state + (run(served.level, rest) if rest else []), served.level, time_error

    def _run_trained(
        self, cell: Cell, demand: Demand, seeds: range, at_most: int, how: Mapping[str, Any]
    ) -> list[_Part]:
        """Networks trained as ``how`` says and measured, in the programs that so many seeds ``at_most`` run in."""
        data, x_test = self._data, self._points_of(cell)
        x, y = cell.scale * data.x_train[: cell.n], data.noisy_targets(cell.n, cell.label_noise)
        parts: list[_Part] = []
        # Parameters of one chunk at a time, and one program for all chunks.
        size = min(choose_plan(cell.net, data.d, max(cell.n, len(x_test))).chunk, at_most)
        for start in range(seeds.start, seeds.stop, size):
            chunk = range(start, min(start + size, seeds.stop))
            run = train(cell.net, x, y, seeds=chunk, key=self._key, room=size, **how)
            state = {
                "status": run.status,
                "loss": run.loss[:, -1],
                "step": run.step[:, -1],
                "gradient_flow_time": run.time[:, -1],
                "learning_rate": run.learning_rate,
            }
            measured = measure(
                run,
                x_test,
                list(demand.measures.values()),
                y_test=data.y_test[: len(x_test)],
                epsilon=cell.epsilon,
                room=size,
            )
            parts.append((state, measured.isel(time=-1)))
        return parts

    def _training(self, cell: Cell) -> dict[str, Any]:
        """How the networks of a cell are trained, as arguments of ``train``."""
        return {
            "steps": cell.budget,
            "optimizer": cell.optimizer,
            "learning_rate": cell.learning_rate,
            "loss": cell.loss,
            "batch_size": cell.batch_size,
            "adversary": cell.adversary,
            **self._schedule(cell),
            **self._domain_of(cell),
        }

    def _points_of(self, cell: Cell) -> np.ndarray:
        """The test points (n', d) that the networks of a cell are measured on."""
        return cell.scale * self._data.x_test[: cell.points or self._points]

    def _domain_of(self, cell: Cell) -> dict[str, Any]:
        """What the data say of the inputs of a cell."""
        domain = self._data.domain.scaled(cell.scale)
        return {"bounds": domain.bounds, "movable": domain.movable}

    def _schedule(self, cell: Cell) -> dict[str, Any]:
        """The one time at which the networks of a cell are read, as an argument of ``train``."""
        if cell.time == "equal scaled time":
            return {"record_kernel_times": [cell.value]}
        if cell.time == "equal loss":
            return {"record_losses": [cell.value]}
        if cell.time == "fixed steps":
            return {"record_steps": [cell.value]}
        assert cell.unit is not None
        assert cell.value is not None
        # Other networks than those that are measured.
        others = jax.random.fold_in(self._key, 2**32 - 1)
        x = cell.unit.scale * self._data.x_train[: cell.unit.n]
        largest = np.mean(largest_kernel_eigenvalue(cell.unit.net, x, seeds=REFERENCE_SEEDS, key=others))
        if not np.isfinite(largest):
            raise InputError(
                f"λ_max of the kernel of {cell.unit.net!r} is no finite number, so it gives no unit of time"
            )
        return {"record_times": [cell.value / float(largest)]}


def did_not_get_there(time: str, status: np.ndarray, step: np.ndarray, steps: int) -> np.ndarray:
    """(s,) which networks did not reach the loss or the time of a reading.

    Args:
        time: of the reading.
        status, step: (s,) of the networks.
        steps: that they could take.
    """
    if time == "equal loss":
        return status == "budget"
    if time in FLOW_TIMES:
        return step >= steps
    return np.zeros(len(status), dtype=bool)


def _steps(cell: Cell, level: int) -> int:
    """Steps of half the length are twice as many."""
    return cell.budget * 2**level


def _workers() -> int:
    """Cells worked on side by side: while the program of one runs, those of others are compiled.

    Several processes have to work on the same cell at a time.
    """
    return min(4, os.cpu_count() or 1) if jax.process_count() == 1 else 1


def _joined(parts: list[_Part], name: str) -> np.ndarray:
    """(s,) a measure of all networks of some parts."""
    return np.concatenate([_per_network(measured[name]) for _, measured in parts])


def _per_network(values: xr.DataArray) -> np.ndarray:
    """(seed,), averaged over points (or layers); not over those that are numbers alone where some are none."""
    return values.mean([dim for dim in values.dims if dim != "seed"], skipna=False).to_numpy().astype(np.float64)
