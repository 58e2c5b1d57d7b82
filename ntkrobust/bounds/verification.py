"""From claims to verdicts: which networks have to be drawn and trained, their measures, and what these say.

This is the one file that sees all the rooms.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from ntkrobust.bounds.claims.claim import Claim, evaluate
from ntkrobust.bounds.claims.relations import Trend
from ntkrobust.bounds.verdict import CellSample, Verdict, decide
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite import measures
from ntkrobust.finite.plan import choose_plan
from ntkrobust.finite.training import largest_kernel_eigenvalue, train
from ntkrobust.networks import MLP

STEP_BUDGET = 4000
"""Gradient-descent steps that a network may take to reach the time or the loss of a reading."""

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
        reference: for ``equal time``, the network whose λ_max sets the unit.
    """

    net: MLP
    n: int
    time: str
    value: float | None = None
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
    command: str,
    progress: Callable[[str, int, int], None],
) -> Examination:
    """Run every cell that the claims need, once, and judge the claims together.

    Args:
        claims: the claims.
        data: the data set.
        seeds: networks per trained cell; claims that need no training use ``claim.draws`` times as many.
        key: a typed key.
        points: number of test points that measures are averaged over (the first so many).
        command: reproduces a verdict; ``{claim}`` in it stands for the claim's id.
        progress: called before each cell with its description, its index and the number of cells.

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
    units: dict[tuple[MLP, int], float] = {}
    for index, cell in enumerate(order):
        progress(f"{cell.net!r} {cell.time}", index, len(order))
        records[cell] = _run(cell, demands[cell], data, key, points, units)
    progress("done", len(order), len(order))

    judged = []
    for claim in claims:
        samples = tuple(
            _sample(claim, shown, records[cell], seeds * claim.draws, data) for shown, cell in cells[claim.id]
        )
        judged.append((claim, samples, measures.get(claim.measure).side))
    return Examination(
        verdicts=tuple(decide(judged, points, command)),
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
        yield shown, Cell(MLP(**fields), n, claim.reading.time, claim.reading.value, reference)


def _check_measures(claim: Claim) -> None:
    for name in (claim.measure, *(name for one in claim.assumptions for name in one.measures)):
        needs = measures.get(name).needs
        if "epsilon" in needs:
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


def _run(
    cell: Cell, demand: _Demand, data: Dataset, key: jax.Array, points: int, units: dict[tuple[MLP, int], float]
) -> CellRecord:
    started = time.perf_counter()
    x, y = data.x_train[: cell.n], data.y_train[: cell.n]
    if cell.time == "initialization":
        # No labels are involved, and the network may have another number of outputs than the data.
        y = np.zeros((cell.n, cell.net.d_out))
        schedule: dict[str, Any] = {"steps": 0}
    elif cell.time == "equal scaled time":
        schedule = {"record_kernel_times": [cell.value]}
    elif cell.time == "equal loss":
        schedule = {"record_losses": [cell.value]}
    else:
        assert cell.reference is not None
        assert cell.value is not None
        unit = (cell.reference, cell.n)
        if unit not in units:
            units[unit] = float(np.mean(largest_kernel_eigenvalue(cell.reference, x, seeds=REFERENCE_SEEDS, key=key)))
        schedule = {"record_times": [cell.value / units[unit]]}
    x_test = data.x_test[:points]
    # Labels say nothing about a network with another number of outputs than the data.
    y_test = data.y_test[:points] if data.o == cell.net.d_out else None

    plan = choose_plan(cell.net, data.d, max(cell.n, len(x_test)))
    pieces = []
    size = min(plan.chunk, demand.networks)
    for start in range(0, demand.networks, size):
        run = train(
            cell.net,
            x,
            y,
            # Whole chunks: a few networks too many cost less than a program for another number of them.
            seeds=range(start, start + size),
            key=key,
            **({"steps": STEP_BUDGET} | schedule),
        )
        measured = measures.measure(run, x_test, demand.measures, y_test=y_test)
        pieces.append((run, {name: _per_network(measured[name]) for name in demand.measures}))

    def joined(of: Callable[[Any], np.ndarray]) -> np.ndarray:
        return np.concatenate([of(run) for run, _ in pieces])[: demand.networks]

    return CellRecord(
        cell=cell,
        seeds=np.arange(demand.networks),
        values={
            name: np.concatenate([values[name] for _, values in pieces])[: demand.networks] for name in demand.measures
        },
        status=joined(lambda run: run.status),
        loss=joined(lambda run: run.loss[:, -1]),
        step=joined(lambda run: run.step[:, -1]),
        gradient_flow_time=joined(lambda run: run.time[:, -1]),
        learning_rate=joined(lambda run: run.learning_rate),
        seconds=time.perf_counter() - started,
        plan=str(plan),
    )


def _per_network(values: Any) -> np.ndarray:
    """(seed,) at the last record, averaged over points (or layers)."""
    last = values.isel(time=-1)
    return last.mean([dim for dim in last.dims if dim != "seed"]).to_numpy().astype(np.float64)


def _sample(claim: Claim, shown: dict[str, Any], record: CellRecord, networks: int, data: Dataset) -> CellSample:
    """What a record says for one claim."""
    cell = record.cell
    known = coordinates(cell, data)
    values = record.values[claim.measure][:networks]
    status = record.status[:networks]
    short = {
        "equal loss": status == "budget",
        "equal time": record.step[:networks] >= STEP_BUDGET,
        "equal scaled time": record.step[:networks] >= STEP_BUDGET,
    }.get(cell.time, np.zeros(len(status), dtype=bool))
    problem = ""
    if (status == "diverged").any():
        problem = f"{np.sum(status == 'diverged')} of {len(status)} networks diverged"
    elif short.any():
        problem = f"{short.sum()} of {len(short)} networks did not get there in {STEP_BUDGET} steps"
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
        in_scope=all(bool(evaluate(one.holds, known | checked)) for one in claim.assumptions),
        checked=checked,
    )
