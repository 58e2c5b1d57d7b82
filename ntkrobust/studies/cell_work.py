"""What is done for a cell: its networks are drawn, trained and measured. The same wherever it is done."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from ntkrobust.bounds.claims.reading import FLOW_TIMES
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.measuring import measure, measure_untrained
from ntkrobust.finite.training.eigenvalues import largest_kernel_eigenvalue
from ntkrobust.finite.training.train import train
from ntkrobust.networks.plans import choose_plan
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import NUMBERS, CellRecord, Demand, untrained
from ntkrobust.studies.time_error import PILOT, TOLERANCES, Trained, halved_until_still

REFERENCE_SEEDS = 8
"""Networks over which λ_max of the unit of an ``equal time`` reading is averaged."""

_Part = tuple[dict[str, np.ndarray], xr.Dataset]
"""The state of some networks of a cell, and their measures."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Networks of a cell that are to be run, behind those that it has.

    Attributes:
        cell: the cell.
        demand: what is wanted of it, the networks that it has among it.
        start: networks that it has.
        tolerance, time_error: of those, under gradient flow; see :class:`~ntkrobust.studies.records.CellRecord`.
        rough: whether gradient flow takes the largest steps and no second look at what they leave out.
    """

    cell: Cell
    demand: Demand
    start: int = 0
    tolerance: float = math.nan
    time_error: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rough: bool = False

    @property
    def seeds(self) -> range:
        """Of the networks that are to be run."""
        return range(self.start, self.demand.networks)


class CellWork:
    """Runs networks of cells, on one data set with one key.

    Attributes:
        data: the data set.
        key: a typed key.
        points: test points that measures are averaged over.
    """

    def __init__(self, data: Dataset, key: jax.Array, points: int) -> None:
        """On this data set, with this key, measured on so many points."""
        self.data, self.key, self.points = data, key, points

    def done(self, request: Request) -> CellRecord:
        """What the networks of a request give."""
        started = time.perf_counter()
        cell, demand, seeds = request.cell, request.demand, request.seeds
        steps, tolerance = cell.budget, math.nan
        time_error: Mapping[str, float] = {}
        if cell.time == "initialization":
            parts = self._untrained(cell, demand, seeds)
        elif cell.optimizer == "gradient_flow":
            parts, level, time_error = self._flow(request)
            steps, tolerance = _steps(cell, level), TOLERANCES[level]
        else:
            parts = self._trained(cell, demand, seeds, max(len(seeds), demand.room), self._training(cell))
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

    def _untrained(self, cell: Cell, demand: Demand, seeds: range) -> list[_Part]:
        measured = measure_untrained(
            cell.net,
            self._points_of(cell),
            list(demand.measures.values()),
            seeds=seeds,
            key=self.key,
            epsilon=cell.epsilon,
            **self._domain_of(cell),
        )
        return [(untrained(len(seeds)), measured)]

    def _flow(self, request: Request) -> tuple[list[_Part], int, Mapping[str, float]]:
        """Networks under gradient flow, the position of their tolerance, and the time error of each measure."""
        cell, demand, seeds = request.cell, request.demand, request.seeds
        how = self._training(cell)

        def run(level: int, some: range) -> list[_Part]:
            flow = {"tolerance": TOLERANCES[level], "steps": _steps(cell, level)}
            return self._trained(cell, demand, some, max(len(seeds), demand.room), how | flow)

        if request.rough:
            return run(0, seeds), 0, {}
        if request.start:
            level = TOLERANCES.index(request.tolerance)
            return run(level, seeds), level, request.time_error
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

    def _trained(self, cell: Cell, demand: Demand, seeds: range, at_most: int, how: Mapping[str, Any]) -> list[_Part]:
        """Networks trained as ``how`` says and measured, in the programs that so many seeds ``at_most`` run in."""
        data, x_test = self.data, self._points_of(cell)
        x, y = cell.scale * data.x_train[: cell.n], data.noisy_targets(cell.n, cell.label_noise)
        parts: list[_Part] = []
        # Parameters of one chunk at a time, and one program for all chunks.
        size = min(choose_plan(cell.net, data.d, max(cell.n, len(x_test))).chunk, at_most)
        for start in range(seeds.start, seeds.stop, size):
            chunk = range(start, min(start + size, seeds.stop))
            run = train(cell.net, x, y, seeds=chunk, key=self.key, room=size, **how)
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
        return cell.scale * self.data.x_test[: cell.points or self.points]

    def _domain_of(self, cell: Cell) -> dict[str, Any]:
        """What the data say of the inputs of a cell."""
        domain = self.data.domain.scaled(cell.scale)
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
        others = jax.random.fold_in(self.key, 2**32 - 1)
        x = cell.unit.scale * self.data.x_train[: cell.unit.n]
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


def _joined(parts: list[_Part], name: str) -> np.ndarray:
    """(s,) a measure of all networks of some parts."""
    return np.concatenate([_per_network(measured[name]) for _, measured in parts])


def _per_network(values: xr.DataArray) -> np.ndarray:
    """(seed,), averaged over points (or layers); not over those that are numbers alone where some are none."""
    return values.mean([dim for dim in values.dims if dim != "seed"], skipna=False).to_numpy().astype(np.float64)
