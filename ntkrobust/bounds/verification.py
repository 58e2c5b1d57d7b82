"""From claims to verdicts: which networks have to be drawn and trained, their measures, and what these say.

This is the one file that sees all the rooms.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import xarray as xr

from ntkrobust.bounds.arithmetic import check_relation, decide_arithmetic
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.coordinates import evaluate_condition, evaluate_number
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption
from ntkrobust.bounds.claims.relations import ScalesAs, Trend, Turns
from ntkrobust.bounds.predictions import InfiniteWidth, law_mean
from ntkrobust.bounds.verdict import CellSample, Verdict, decide
from ntkrobust.checks import check_positive
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite import measures
from ntkrobust.finite.function_measures import check_traceable, measure_of
from ntkrobust.finite.measures import Measure
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
        epsilon: the radius, for measures that need one.
        scale: factor on all inputs.
    """

    net: MLP
    n: int
    time: str
    value: float | None = None
    budget: int = 0
    reference: MLP | None = None
    epsilon: float | None = None
    scale: float = 1.0


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
        measures: claim id → the measure that it speaks of.
    """

    verdicts: tuple[Verdict, ...]
    cells: tuple[tuple[Cell, ...], ...]
    records: tuple[CellRecord, ...]
    data: Dataset
    points: int
    seeds: int
    measures: Mapping[str, Measure]


_Part = tuple[dict[str, np.ndarray], xr.Dataset]
"""The state of some networks of a cell, and their measures."""


@dataclasses.dataclass
class _Demand:
    """What claims want of one cell."""

    measures: dict[str, Measure]
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
    x_test = data.x_test[:points]
    known = _Known(data, InfiniteWidth(data, x_test))
    cells = {claim.id: list(_cells(claim, data)) for claim in claims}
    chosen = {claim.id: {one.name: one for one in _measures(claim)} for claim in claims}
    _check_names([one for by_name in chosen.values() for one in by_name.values()])
    demands: dict[Cell, _Demand] = {}
    for claim in claims:
        _check_measures(claim, chosen[claim.id].values())
        for shown, cell in cells[claim.id]:
            _check_cell(claim, shown, cell, known, chosen[claim.id].values(), x_test)
            demand = demands.setdefault(cell, _Demand({}, 0))
            if isinstance(claim.measure, Quantity) or _is_excluded(claim, cell, known):
                continue
            demand.measures |= chosen[claim.id]
            demand.networks = max(demand.networks, seeds * claim.draws)

    # What is quick comes first, so that a mistake shows early.
    order = sorted(demands, key=lambda cell: (cell.time != "initialization", cell.net.count_parameters(data.d)))
    records: dict[Cell, CellRecord] = {}
    with ThreadPoolExecutor(_workers()) as pool:
        pending = {pool.submit(_run, cell, demands[cell], data, key, x_test): cell for cell in order}
        try:
            for index, done in enumerate(as_completed(pending)):
                cell = pending[done]
                records[cell] = done.result()
                progress(f"{cell.net!r} {cell.time}", index + 1, len(order))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    samples = {
        claim.id: tuple(
            _sample(claim, shown, records[cell], seeds * claim.draws, known) for shown, cell in cells[claim.id]
        )
        for claim in claims
    }
    measured = [claim for claim in claims if not isinstance(claim.measure, Quantity)]
    judged = decide(
        [(claim, samples[claim.id], chosen[claim.id][claim.measure_name].side) for claim in measured], points
    )
    by_id = {verdict.claim.id: verdict for verdict in judged}
    verdicts = tuple(
        dataclasses.replace(_capped(verdict), command=commands[verdict.claim.id])
        for verdict in (by_id.get(claim.id) or decide_arithmetic(claim, samples[claim.id]) for claim in claims)
    )
    return Examination(
        verdicts=verdicts,
        cells=tuple(tuple(cell for _, cell in cells[claim.id]) for claim in claims),
        records=tuple(records[cell] for cell in order),
        data=data,
        points=points,
        seeds=seeds,
        measures={claim.id: measure_of_claim(claim) for claim in claims},
    )


def _capped(verdict: Verdict) -> Verdict:
    """What is known from memory only is never refuted: the memory may be wrong."""
    if verdict.label != "refuted" or verdict.claim.provenance != "recollection":
        return verdict
    reason = f"recollected form contradicted: {verdict.reason}"
    return dataclasses.replace(verdict, label="inconclusive", reason=reason)


def measure_of_claim(claim: Claim) -> Measure:
    """The measure that a claim speaks of, whichever way it names it.

    Raises:
        InputError: the name is unknown, or the function is none of a network.
    """
    if isinstance(claim.measure, Quantity):
        return Measure(claim.measure.name, claim.measure.definition, _no_networks, dims=(), source=claim.source)
    try:
        return measure_of(claim.measure, claim.measure_name)
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def _no_networks(probe: measures.Probe) -> jax.Array:
    raise NotImplementedError("a formula is not measured on networks")


class Coordinates(dict[str, Any]):
    """The coordinates of a cell; predictions of the claim's measure are made when a formula asks for them."""

    def __init__(self, plain: Mapping[str, Any], predictions: Mapping[str, Callable[[], float]]) -> None:
        super().__init__(plain)
        self._predictions = predictions

    def __missing__(self, name: str) -> float:
        return self._predictions[name]()


@dataclasses.dataclass(frozen=True)
class _Known:
    """What formulas are evaluated with."""

    data: Dataset
    infinite: InfiniteWidth

    def coordinates(self, claim: Claim, cell: Cell) -> Coordinates:
        """All that the formulas of a claim may ask for in a cell."""
        name = claim.measure_name

        def of_means(predict: Callable[[], float]) -> Callable[[], float]:
            def prediction() -> float:
                if claim.reading.functional != "mean":
                    raise InputError(f"predictions are means, and the reading takes the {claim.reading.functional}")
                return predict()

            return prediction

        return Coordinates(
            coordinates(cell, self.data),
            {
                "exact_law": of_means(lambda: law_mean(name, cell.net, self.data.d)),
                "infinite_width": of_means(
                    lambda: self.infinite.mean(
                        name, cell.net, cell.n, cell.time, cell.value, cell.reference, cell.scale
                    )
                ),
            },
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
        "epsilon": cell.epsilon,
        "scale": cell.scale,
        "time": cell.value or 0.0,
        **net.scales(data.d)._asdict(),
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
        fields = {"d_out": 1 if untrained else data.o} | _of_network(shown)
        reference = None
        if claim.reading.time == "equal time":
            first = _of_network({axis: options[0] for axis, options in claim.grid.items()})
            if isinstance(claim.relation, Trend | Turns | ScalesAs):
                # Each facet of a trend has its own unit of time.
                first = {axis: first[axis] if axis == claim.relation.axis else fields[axis] for axis in first}
            reference = MLP(**(fields | first))
        reading = claim.reading
        budget = 0 if untrained else reading.budget
        try:
            net = MLP(**fields)
            net.scales(data.d)
        except InputError as error:
            raise InputError(f"claim {claim.id}: at {_shown(shown)}, {error}") from None
        yield shown, Cell(net, n, reading.time, reading.value, budget, reference, **_positive(claim, shown))


def _of_network(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Those values of axes that are fields of the network."""
    return {axis: value for axis, value in shown.items() if axis not in ("n", "epsilon", "scale")}


def _positive(claim: Claim, shown: Mapping[str, Any]) -> dict[str, float]:
    """The radius and the factor on the inputs, where the grid has them."""
    try:
        return {axis: check_positive(axis, shown[axis]) for axis in ("epsilon", "scale") if axis in shown}
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def _shown(of: Mapping[str, Any]) -> str:
    return ", ".join(f"{axis}={value}" for axis, value in of.items())


def _measures(claim: Claim) -> list[Measure]:
    """The measures that a claim's cells are asked for: its own, and those that its assumptions look at."""
    own = [] if isinstance(claim.measure, Quantity) else [measure_of_claim(claim)]
    try:
        return own + [measure_of(name) for one in claim.assumptions for name in one.measures]
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def _check_names(chosen: Sequence[Measure]) -> None:
    """Measures become variables of the evidence: no two may share a name."""
    by_name: dict[str, Measure] = {}
    for one in chosen:
        if by_name.setdefault(one.name, one) != one:
            raise InputError(f"two claims bring different measures of the name {one.name!r}: rename one of them")


def _check_measures(claim: Claim, chosen: Iterable[Measure]) -> None:
    if isinstance(claim.measure, Quantity):
        check_relation(claim)
    for measure in chosen:
        if claim.reading.time == "initialization" and (measure.needs_training_data or "y_test" in measure.needs):
            raise InputError(f"claim {claim.id}: the measure {measure.name!r} says nothing about untrained networks")
        if "epsilon" in measure.needs and "epsilon" not in claim.grid:
            raise InputError(f"claim {claim.id}: the measure {measure.name!r} needs a radius: give the grid an epsilon")


def _check_cell(
    claim: Claim, shown: Mapping[str, Any], cell: Cell, known: _Known, chosen: Iterable[Measure], x_test: np.ndarray
) -> None:
    """Evaluate what the claim states for a cell once, so that a mistake in it shows before any training."""
    at = known.coordinates(claim, cell)
    quantity = claim.measure.formula if isinstance(claim.measure, Quantity) else None
    for what, formula, positive in (
        (claim.formula_name, claim.formula, True),
        ("theory", claim.theory, False),
        ("quantity", quantity, True),
    ):
        if formula is not None:
            with _blaming(f"claim {claim.id}: its {what} at {_shown(shown)}"):
                evaluate_number(formula, at, positive=positive)
    for one in claim.assumptions:
        if not one.measures:
            with _blaming(f"claim {claim.id}: its assumption {one.text!r} at {_shown(shown)}"):
                evaluate_condition(one.holds, at)
    for measure in chosen:
        # Ours are tested; tracing all of them for every cell would take longer than running some.
        if measures.MEASURES.get(measure.name) is not measure:
            with _blaming(f"claim {claim.id}: at {_shown(shown)}"):
                check_traceable(measure, cell.net, x_test, cell.n)


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Say in which claim and cell a mistake is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what} {error}") from None


def _is_excluded(claim: Claim, cell: Cell, known: _Known) -> bool:
    """Whether the cell's coordinates alone put it out of the claim's scope; then no networks are needed to say so."""
    at = known.coordinates(claim, cell)
    return not all(evaluate_condition(one.holds, at) for one in claim.assumptions if not one.measures)


def _workers() -> int:
    """Cells worked on side by side: while the program of one runs, those of others are compiled."""
    return min(4, os.cpu_count() or 1)


def _run(cell: Cell, demand: _Demand, data: Dataset, key: jax.Array, x_test: np.ndarray) -> CellRecord:
    started = time.perf_counter()
    if demand.networks == 0:
        none = np.empty(0)
        return CellRecord(cell, none.astype(int), {}, none.astype(str), none, none, none, none, 0.0, "nothing to run")
    x_test = cell.scale * x_test
    run = _run_untrained if cell.time == "initialization" else _run_trained
    parts = run(cell, demand, data, key, x_test)
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
    measured = measures.measure_untrained(
        cell.net, x_test, list(demand.measures.values()), seeds=demand.networks, key=key, epsilon=cell.epsilon
    )
    nothing = np.full(demand.networks, np.nan)
    zero = np.zeros(demand.networks)
    status = np.full(demand.networks, "budget")
    state = {"loss": nothing, "step": zero, "gradient_flow_time": zero, "learning_rate": nothing, "status": status}
    return [(state, measured)]


def _run_trained(cell: Cell, demand: _Demand, data: Dataset, key: jax.Array, x_test: np.ndarray) -> list[_Part]:
    x, y = cell.scale * data.x_train[: cell.n], data.y_train[: cell.n]
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
        measured = measures.measure(
            run, x_test, list(demand.measures.values()), y_test=data.y_test[: len(x_test)], epsilon=cell.epsilon
        )
        parts.append((state, measured.isel(time=-1)))
    return parts


def _per_network(values: xr.DataArray) -> np.ndarray:
    """(seed,), averaged over points (or layers)."""
    return values.mean([dim for dim in values.dims if dim != "seed"]).to_numpy().astype(np.float64)


def _sample(claim: Claim, shown: dict[str, Any], record: CellRecord, networks: int, known: _Known) -> CellSample:
    """What a record says for one claim."""
    cell = record.cell
    at = known.coordinates(claim, cell)
    stated: dict[str, Any] = {
        "coordinates": shown,
        "reference": None if claim.formula is None else evaluate_number(claim.formula, at),
        "theory": None if claim.theory is None else evaluate_number(claim.theory, at, positive=False),
    }
    excluded = _is_excluded(claim, cell, known)
    if isinstance(claim.measure, Quantity):
        return CellSample(
            values=np.array([evaluate_number(claim.measure.formula, at)]), in_scope=not excluded, **stated
        )
    if excluded:
        return CellSample(values=np.empty(0), in_scope=False, **stated)
    values = record.values[claim.measure_name][:networks]
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
        problem = f"{np.sum(~np.isfinite(values))} of {len(values)} values of {claim.measure_name} are not finite"
    elif isinstance(claim.relation, Trend | Turns | ScalesAs) and np.mean(values) <= 0:
        problem = f"{claim.measure_name} is zero in every network, so relative changes mean nothing"
    elif claim.reading.functional == "geometric mean" and (values <= 0).any():
        problem = f"{np.sum(values <= 0)} of {len(values)} values are zero, so a geometric mean means nothing"
    checked = {
        name: float(np.mean(record.values[name][:networks])) for one in claim.assumptions for name in one.measures
    }
    at.update(checked)
    return CellSample(
        values=values,
        problem=problem,
        # Where networks diverged, measures say nothing about assumptions.
        in_scope=bool(problem) or all(_holds(claim, one, shown, at) for one in claim.assumptions),
        checked=checked,
        **stated,
    )


def _holds(claim: Claim, assumption: Assumption, shown: Mapping[str, Any], at: Coordinates) -> bool:
    with _blaming(f"claim {claim.id}: its assumption {assumption.text!r} at {_shown(shown)}"):
        return evaluate_condition(assumption.holds, at)
