"""Drawing, training and measuring the networks of cells: what has been done is kept, and more are added to it."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import jax
import numpy as np
import xarray as xr

from ntkrobust.bounds.claims.reading import FLOW_TIMES
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.measuring import measure, measure_untrained
from ntkrobust.finite.training.eigenvalues import largest_kernel_eigenvalue
from ntkrobust.finite.training.train import train
from ntkrobust.networks.plans import choose_plan
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.time_error import PILOT, TOLERANCES, Trained, halved_until_still

REFERENCE_SEEDS = 8
"""Networks over which λ_max of the unit of an ``equal time`` reading is averaged."""

STATE = ("status", "loss", "step", "gradient_flow_time", "learning_rate")
"""What is kept of the training of each network."""

_Part = tuple[dict[str, np.ndarray], xr.Dataset]
"""The state of some networks of a cell, and their measures."""

Progress = Callable[[str, int, int], None]
"""Called after each cell with its description, how many are done, and the number of cells."""


@dataclasses.dataclass(frozen=True)
class CellRecord:
    """What a cell gave.

    Attributes:
        cell: which one.
        seeds: (s,) the seeds.
        values: measure → (s,), averaged over the test points.
        status: (s,) status of each network.
        loss, step, gradient_flow_time, learning_rate: (s,) at the time of the measurement.
        seconds: wall time.
        plan: how the networks were laid out on the machine.
        steps: that a network could take.
        tolerance: of gradient flow; NaN where networks were not trained by it.
        time_error: measure → what is left of the error of gradient flow's steps in its mean, in units of the measure.
    """

    cell: Cell
    seeds: np.ndarray
    values: dict[str, np.ndarray]
    status: np.ndarray
    loss: np.ndarray
    step: np.ndarray
    gradient_flow_time: np.ndarray
    learning_rate: np.ndarray
    seconds: float
    plan: str
    steps: int = 0
    tolerance: float = math.nan
    time_error: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def joined(self, more: CellRecord) -> CellRecord:
        """With the networks of another record of this cell behind its own."""
        if not len(self.seeds):
            return more
        return CellRecord(
            cell=self.cell,
            seeds=np.concatenate([self.seeds, more.seeds]),
            values={name: np.concatenate([self.values[name], more.values[name]]) for name in self.values},
            **{name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in STATE},
            seconds=self.seconds + more.seconds,
            plan=self.plan,
            steps=self.steps,
            tolerance=self.tolerance,
            time_error=self.time_error,
        )


@dataclasses.dataclass(frozen=True)
class Demand:
    """What is wanted of one cell: which measures, of how many networks."""

    measures: Mapping[str, Measure]
    networks: int


class Networks:
    """The networks of cells, with the seeds 0, 1, … in each; more of them never change the earlier ones.

    Attributes:
        records: what each cell has given so far.
    """

    def __init__(self, data: Dataset, key: jax.Array, points: int) -> None:
        self.records: dict[Cell, CellRecord] = {}
        self._data, self._key, self._points = data, key, points

    def extend(self, demands: Mapping[Cell, Demand], progress: Progress) -> None:
        """Run what is missing. A cell has to be asked for the same measures each time."""
        for cell in demands:
            self.records.setdefault(cell, _nothing(cell))
        missing = [cell for cell in demands if demands[cell].networks > len(self.records[cell].seeds)]
        # What is quick comes first, so that a mistake shows early.
        missing.sort(key=lambda cell: (cell.time != "initialization", cell.net.count_parameters(self._data.d)))
        with ThreadPoolExecutor(_workers()) as pool:
            pending = {pool.submit(self._run, cell, demands[cell]): cell for cell in missing}
            try:
                for index, done in enumerate(as_completed(pending)):
                    cell = pending[done]
                    self.records[cell] = self.records[cell].joined(done.result())
                    progress(f"{cell.net!r} {cell.time}", index + 1, len(missing))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _run(self, cell: Cell, demand: Demand) -> CellRecord:
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
            parts = self._run_trained(cell, demand, seeds, len(seeds), self._training(cell))
        return CellRecord(
            cell=cell,
            seeds=np.array(seeds),
            values={name: _joined(parts, name) for name in demand.measures},
            **{name: np.concatenate([part[name] for part, _ in parts]) for name in STATE},
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
        return [(_untrained(len(seeds)), measured)]

    def _run_flow(self, cell: Cell, demand: Demand, seeds: range) -> tuple[list[_Part], int, Mapping[str, float]]:
        """Networks under gradient flow, the position of their tolerance, and the time error of each measure."""
        how, before = self._training(cell), self.records[cell]

        def run(level: int, some: range) -> list[_Part]:
            flow = {"tolerance": TOLERANCES[level], "steps": _steps(cell, level)}
            return self._run_trained(cell, demand, some, len(seeds), how | flow)

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


def _untrained(networks: int) -> dict[str, np.ndarray]:
    """The state of networks that took no step."""
    unknown, zero = np.full(networks, np.nan), np.zeros(networks)
    status = np.full(networks, "budget", dtype="U9")
    return {"status": status, "loss": unknown, "step": zero, "gradient_flow_time": zero, "learning_rate": unknown}


def _nothing(cell: Cell) -> CellRecord:
    state: dict[str, Any] = _untrained(0)
    return CellRecord(cell=cell, seeds=np.empty(0, dtype=int), values={}, **state, seconds=0.0, plan="nothing to run")


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
