"""From claims to verdicts: which networks have to be drawn and trained, their measures, and what these say.

This is the one file that sees all the rooms.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import jax
import numpy as np
import xarray as xr

from ntkrobust.bounds.claims.claim import Claim, evaluate
from ntkrobust.bounds.claims.relations import Trend
from ntkrobust.bounds.verdict import CellSample, Verdict, decide
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite import measures
from ntkrobust.finite.plan import choose_plan
from ntkrobust.finite.training import largest_kernel_eigenvalue, train
from ntkrobust.networks import MLP

REFERENCE_SEEDS = 8
"""Networks over which λ_max of the reference cell of an ``equal time`` reading is averaged."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Networks of one kind at one time: what is drawn, trained and measured as a unit.

    Attributes:
        net: the network.
        n: training points used (the first so many).
        time: the time of the reading, see :class:`~ntkrobust.bounds.claims.Reading`.
        value: the number that goes with it.
        budget: gradient-descent steps that a network may take.
        reference: for ``equal time``, the network whose λ_max sets the unit.
    """

    net: MLP
    n: int
    time: str
    value: float | None = None
    budget: int = 0
    reference: MLP | None = None


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


@dataclasses.dataclass(frozen=True)
class Examination:
    """Verdicts with everything they rest on.

    Attributes:
        verdicts: in the order of the claims.
        cells: for each verdict, the cells behind it, in the order of ``verdict.cells``.
        records: every cell that was run.
        data: the data set.
        points: test points that measures were averaged over.
        seeds: seeds asked for.
    """

    verdicts: tuple[Verdict, ...]
    cells: tuple[tuple[Cell, ...], ...]
    records: tuple[CellRecord, ...]
    data: Dataset
    points: int
    seeds: int


_Part = tuple[dict[str, np.ndarray], xr.Dataset]
"""The state of some networks of a cell, and their measures."""


@dataclasses.dataclass
class _Demand:
    """What claims want of one cell."""

    measures: list[str]
    networks: int


def examine(
    claims: Sequence[Claim],
    data: Dataset,
    *,
    seeds: int,
    key: jax.Array,
    points: int,
    commands: Mapping[str, str],
    progress: Callable[[str, int, int], None],
) -> Examination:
    """Run every cell that the claims need, once, and judge the claims together.

    Args:
        claims: the claims.
        data: the data set.
        seeds: networks per trained cell; claims that need no training use ``claim.draws`` times as many.
        key: a typed key.
        points: number of test points that measures are averaged over (the first so many).
        commands: claim id → what reproduces its verdict.
        progress: called after each cell with its description, how many are done, and the number of cells.

    Raises:
        InputError: a claim names an unknown measure, one that needs what isn't there, or networks that don't exist;
            raised before anything is run.
    """
    cells = {claim.id: list(_cells(claim, data)) for claim in claims}
    demands: dict[Cell, _Demand] = {}
    for claim in claims:
        _check_measures(claim)
        for _, cell in cells[claim.id]:
            _check_formulas(claim, cell, data)
            demand = demands.setdefault(cell, _Demand([], 0))
            wanted = [claim.measure, *(name for one in claim.assumptions for name in one.measures)]
            demand.measures += [name for name in wanted if name not in demand.measures]
            demand.networks = max(demand.networks, seeds * claim.draws)

    # What is quick comes first, so that a mistake shows early.
    order = sorted(demands, key=lambda cell: (cell.time != "initialization", cell.net.count_parameters(data.d)))
    records: dict[Cell, CellRecord] = {}
    with ThreadPoolExecutor(_workers()) as pool:
        pending = {pool.submit(_run, cell, demands[cell], data, key, points): cell for cell in order}
        try:
            for index, done in enumerate(as_completed(pending)):
                cell = pending[done]
                records[cell] = done.result()
                progress(f"{cell.net!r} {cell.time}", index + 1, len(order))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    judged = []
    for claim in claims:
        samples = tuple(
            _sample(claim, shown, records[cell], seeds * claim.draws, data) for shown, cell in cells[claim.id]
        )
        judged.append((claim, samples, measures.get(claim.measure).side))
    verdicts = tuple(
        dataclasses.replace(verdict, command=commands[verdict.claim.id]) for verdict in decide(judged, points)
    )
    return Examination(
        verdicts=verdicts,
        cells=tuple(tuple(cell for _, cell in cells[claim.id]) for claim in claims),
        records=tuple(records[cell] for cell in order),
        data=data,
        points=points,
        seeds=seeds,
    )


def coordinates(cell: Cell, data: Dataset) -> dict[str, Any]:
    """The coordinates that formulas and assumptions may ask for by name."""
    net = cell.net
    return {
        "d_in": data.d,
        "d_out": net.d_out,
        "n": cell.n,
        "depth": net.depth,
        "width": net.width,
        "initialization": _name(net),
        "activation": str(net.activation),
        "parameterization": net.parameterization,
        "bias_std": net.bias_std,
        "parameters": net.count_parameters(data.d),
        "net": net,
    }


def _name(net: MLP) -> str:
    return getattr(net.initialization, "name", None) or repr(net.initialization)


def _cells(claim: Claim, data: Dataset) -> Iterator[tuple[dict[str, Any], Cell]]:
    """The cells of a claim's grid, each with the values of the axes."""
    untrained = claim.reading.time == "initialization"
    if not untrained and set(claim.grid.get("d_out", ())) - {data.o}:
        raise InputError(f"claim {claim.id}: trained networks have the {data.o} output(s) of the data")
    sizes = [min(int(n), data.n) for n in claim.grid.get("n", ())]
    if len(set(sizes)) < len(sizes):
        raise InputError(
            f"claim {claim.id}: n goes up to {max(claim.grid['n'])}, and the data have {data.n} training points"
        )
    for values in itertools.product(*claim.grid.values()):
        shown = dict(zip(claim.grid, values, strict=True))
        # Untrained networks see no labels; their number of training points doesn't matter.
        n = 1 if untrained else min(int(shown.get("n", data.n)), data.n)
        if "n" in shown:
            shown["n"] = min(int(shown["n"]), data.n)
        fields = {"d_out": 1 if untrained else data.o} | {axis: value for axis, value in shown.items() if axis != "n"}
        reference = None
        if claim.reading.time == "equal time":
            first = {axis: options[0] for axis, options in claim.grid.items() if axis != "n"}
            if isinstance(claim.relation, Trend):
                # Each facet of a trend has its own unit of time.
                first = {axis: first[axis] if axis == claim.relation.axis else fields[axis] for axis in first}
            reference = MLP(**(fields | first))
        reading = claim.reading
        yield shown, Cell(MLP(**fields), n, reading.time, reading.value, 0 if untrained else reading.budget, reference)


def _check_measures(claim: Claim) -> None:
    for name in (claim.measure, *(name for one in claim.assumptions for name in one.measures)):
        try:
            measure = measures.get(name)
        except InputError as error:
            raise InputError(f"claim {claim.id}: {error}") from None
        if claim.reading.time == "initialization" and (measure.needs_training_data or "y_test" in measure.needs):
            raise InputError(f"claim {claim.id}: the measure {name!r} says nothing about untrained networks")
        if "epsilon" in measure.needs:
            raise InputError(f"claim {claim.id}: the measure {name!r} needs a radius, which claims do not carry yet")


def _check_formulas(claim: Claim, cell: Cell, data: Dataset) -> None:
    """Evaluate what the claim states for a cell once, so that a mistake in it shows before any training."""
    for what, formula in (("value", claim.formula), ("theory", claim.theory)):
        if formula is None:
            continue
        try:
            number = evaluate(formula, coordinates(cell, data))
        except InputError as error:
            raise InputError(f"claim {claim.id}: {error}") from None
        if not (np.isscalar(number) and math.isfinite(float(number))) or (what == "value" and not float(number) > 0):  # type: ignore[arg-type]
            raise InputError(f"claim {claim.id}: its {what} at {cell.net!r} must be a positive number, got {number!r}")


def _workers() -> int:
    """Cells worked on side by side: while the program of one runs, those of others are compiled."""
    return min(4, os.cpu_count() or 1)


def _run(cell: Cell, demand: _Demand, data: Dataset, key: jax.Array, points: int) -> CellRecord:
    started = time.perf_counter()
    run = _run_untrained if cell.time == "initialization" else _run_trained
    parts = run(cell, demand, data, key, data.x_test[:points])
    state = {
        name: np.concatenate([part[name] for part, _ in parts])[: demand.networks]
        for name in ("status", "loss", "step", "gradient_flow_time", "learning_rate")
    }
    values = {
        name: np.concatenate([_per_network(measured[name]) for _, measured in parts])[: demand.networks]
        for name in demand.measures
    }
    return CellRecord(
        cell=cell,
        seeds=np.arange(demand.networks),
        values=values,
        **state,
        seconds=time.perf_counter() - started,
        plan=parts[0][1].attrs["plan"],
    )


def _run_untrained(cell: Cell, demand: _Demand, data: Dataset, key: jax.Array, x_test: np.ndarray) -> list[_Part]:
    measured = measures.measure_untrained(cell.net, x_test, demand.measures, seeds=demand.networks, key=key)
    nothing = np.full(demand.networks, np.nan)
    zero = np.zeros(demand.networks)
    status = np.full(demand.networks, "budget")
    state = {"loss": nothing, "step": zero, "gradient_flow_time": zero, "learning_rate": nothing, "status": status}
    return [(state, measured)]


def _run_trained(cell: Cell, demand: _Demand, data: Dataset, key: jax.Array, x_test: np.ndarray) -> list[_Part]:
    x, y = data.x_train[: cell.n], data.y_train[: cell.n]
    if cell.time == "equal scaled time":
        schedule = {"record_kernel_times": [cell.value]}
    elif cell.time == "equal loss":
        schedule = {"record_losses": [cell.value]}
    else:
        assert cell.reference is not None
        assert cell.value is not None
        # Other networks than those that are measured.
        others = jax.random.fold_in(key, 2**32 - 1)
        largest = np.mean(largest_kernel_eigenvalue(cell.reference, x, seeds=REFERENCE_SEEDS, key=others))
        schedule = {"record_times": [cell.value / float(largest)]}
    parts: list[_Part] = []
    # Parameters of one chunk at a time; whole chunks, since a few networks too many cost less than another program.
    size = min(choose_plan(cell.net, data.d, max(cell.n, len(x_test))).chunk, demand.networks)
    for start in range(0, demand.networks, size):
        seeds = range(start, start + size)
        run = train(cell.net, x, y, seeds=seeds, key=key, steps=cell.budget, **schedule)  # type: ignore[arg-type]
        state = {
            "status": run.status,
            "loss": run.loss[:, -1],
            "step": run.step[:, -1],
            "gradient_flow_time": run.time[:, -1],
            "learning_rate": run.learning_rate,
        }
        measured = measures.measure(run, x_test, demand.measures, y_test=data.y_test[: len(x_test)])
        parts.append((state, measured.isel(time=-1)))
    return parts


def _per_network(values: xr.DataArray) -> np.ndarray:
    """(seed,), averaged over points (or layers)."""
    return values.mean([dim for dim in values.dims if dim != "seed"]).to_numpy().astype(np.float64)


def _sample(claim: Claim, shown: dict[str, Any], record: CellRecord, networks: int, data: Dataset) -> CellSample:
    """What a record says for one claim."""
    cell = record.cell
    known = coordinates(cell, data)
    values = record.values[claim.measure][:networks]
    status = record.status[:networks]
    short = {
        "equal loss": status == "budget",
        "equal time": record.step[:networks] >= cell.budget,
        "equal scaled time": record.step[:networks] >= cell.budget,
    }.get(cell.time, np.zeros(len(status), dtype=bool))
    problem = ""
    if (status == "diverged").any():
        problem = f"{np.sum(status == 'diverged')} of {len(status)} networks diverged"
    elif short.any():
        problem = f"{short.sum()} of {len(short)} networks did not get there in {cell.budget} steps"
    elif not np.isfinite(values).all():
        problem = f"{np.sum(~np.isfinite(values))} of {len(values)} values of {claim.measure} are not finite"
    elif claim.formula is None and np.mean(values) <= 0:
        problem = f"{claim.measure} is zero in every network, so relative changes mean nothing"
    elif claim.reading.functional == "geometric mean" and (values <= 0).any():
        problem = f"{np.sum(values <= 0)} of {len(values)} values are zero, so a geometric mean means nothing"
    checked = {
        name: float(np.mean(record.values[name][:networks])) for one in claim.assumptions for name in one.measures
    }
    return CellSample(
        coordinates=shown,
        values=values,
        reference=None if claim.formula is None else float(evaluate(claim.formula, known)),
        theory=None if claim.theory is None else float(evaluate(claim.theory, known)),
        problem=problem,
        # Where networks diverged, measures say nothing about assumptions.
        in_scope=bool(problem) or all(bool(evaluate(one.holds, known | checked)) for one in claim.assumptions),
        checked=checked,
    )
