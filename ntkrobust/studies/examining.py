"""From claims to verdicts: which networks have to be drawn and trained, and what their measures say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.coordinates import evaluate_condition, evaluate_number
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption
from ntkrobust.bounds.claims.relations import AtLeast, AtMost
from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts import CellSample, Examined, Verdict, decide_sequentially, enough_cells
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Computed, Measure
from ntkrobust.finite.measures.functions import check_traceable, is_packaged, measure_of
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.studies.arithmetic import check_relation, decide_arithmetic
from ntkrobust.studies.cells import Cell, cells_of, coordinates, shown_as
from ntkrobust.studies.predictions import InfiniteWidth, law_mean
from ntkrobust.studies.reach import PILOT, is_out_of_reach, may_be_out_of_reach, problem_of
from ntkrobust.studies.running import CellRecord, Demand, Networks, Progress


@dataclasses.dataclass(frozen=True)
class Count:
    """Networks in all cells together.

    Attributes:
        drawn: all of them.
        trained: those that took steps.
    """

    drawn: int
    trained: int


@dataclasses.dataclass(frozen=True)
class Examination:
    """Verdicts with everything they rest on.

    Attributes:
        verdicts: in the order of the claims.
        cells: for each verdict, the cells behind it, in the order of ``verdict.cells``.
        records: every cell that was run.
        data: the data set.
        points: test points that measures were averaged over, where claims ask for no number of their own.
        looks: the planned numbers of networks per trained cell.
        seeds: for each verdict, networks per trained cell when it was reached.
        used, planned: networks that were needed, and those that no early decision would have left.
        measures: claim id → the measure that it speaks of.
        measured: name → each measure that networks were asked for, those of assumptions among them.
    """

    verdicts: tuple[Verdict, ...]
    cells: tuple[tuple[Cell, ...], ...]
    records: tuple[CellRecord, ...]
    data: Dataset
    points: int
    looks: SequentialPlan
    seeds: tuple[int, ...]
    used: Count
    planned: Count
    measures: Mapping[str, Measure]
    measured: Mapping[str, Measure]


def examine(
    claims: Sequence[Claim], data: Dataset, *, looks: SequentialPlan, key: jax.Array, points: int, progress: Progress
) -> Examination:
    """Run every cell that the claims need, once, and judge the claims together.

    Args:
        claims: the claims.
        data: the data set.
        looks: networks per trained cell at each look: claims are judged after each, and those that are still open get
            more; claims that need no training use ``claim.draws`` times as many.
        key: a typed key.
        points: number of test points that measures are averaged over (the first so many).
        progress: called after each cell with its description, how many are done, and the number of cells.

    Raises:
        InputError: a claim names an unknown measure, one that needs what isn't there, or networks that don't exist;
            raised before anything is run.
    """
    known = _Known(data, InfiniteWidth(data, points))
    studies = [_study(claim, known) for claim in claims]
    _check_names([one for study in studies for one in study.measures.values()])
    networks = Networks(data, key, points)
    measured = [study for study in studies if not isinstance(study.claim.measure, Quantity)]

    def samples(study: _Study, seeds: int) -> tuple[CellSample, ...]:
        return tuple(
            _sample(study, shown, networks.records[cell], seeds * study.claim.draws, known)
            for shown, cell in study.cells
        )

    def look(seeds: int, open_claims: tuple[int, ...]) -> list[Examined]:
        wanted = [measured[index] for index in open_claims]
        unusable = _tried(studies, wanted, seeds, networks, progress)
        wanted = [study for study in wanted if _enough(study, unusable)]
        networks.extend(_demands(studies, wanted, seeds, unusable), progress)
        return [
            (study.claim, samples(study, seeds), study.measures[study.claim.measure_name].side) for study in measured
        ]

    # Cells of formulas are recorded too, without networks.
    networks.extend(_demands(studies, [], 0), progress)
    judged, used = decide_sequentially(look, len(measured), looks, points) if measured else ([], ())
    by_id = {verdict.claim.id: (verdict, seeds) for verdict, seeds in zip(judged, used, strict=True)} | {
        study.claim.id: (decide_arithmetic(study.claim, samples(study, 0)), 0)
        for study in studies
        if study not in measured
    }
    planned = _demands(studies, measured, looks.sizes[-1])
    records = networks.records
    return Examination(
        verdicts=tuple(_capped(_with_points(by_id[claim.id][0], data)) for claim in claims),
        cells=tuple(tuple(cell for _, cell in study.cells) for study in studies),
        records=tuple(records.values()),
        data=data,
        points=points,
        looks=looks,
        seeds=tuple(by_id[claim.id][1] for claim in claims),
        used=_count({cell: len(record.seeds) for cell, record in records.items()}),
        planned=_count({cell: demand.networks for cell, demand in planned.items()}),
        measures={claim.id: measure_of_claim(claim) for claim in claims},
        measured={name: one for study in studies for name, one in study.measures.items()},
    )


def pilot(
    claims: Sequence[Claim], data: Dataset, *, networks: int, key: jax.Array, points: int, progress: Progress
) -> list[float | None]:
    """How much networks of a cell differ, seen on few of them: standard deviation over mean of each claim's measure.

    Of the first and the last cell of its grid that is in scope, the larger; None where neither could be used, or
    nothing varies. Arguments as for :func:`examine`, with so many ``networks`` per trained cell.
    """
    known = _Known(data, InfiniteWidth(data, points))
    studies = []
    for claim in claims:
        study = _study(claim, known)
        kept = [one for one in study.cells if one[1] not in study.excluded]
        studies.append(dataclasses.replace(study, cells=tuple(kept[index] for index in {0, len(kept) - 1} if kept)))
    drawn = Networks(data, key, points)
    drawn.extend(_demands(studies, studies, networks), progress)
    found: list[float | None] = []
    for study in studies:
        spreads = [0.0]
        for shown, cell in study.cells:
            sample = _sample(study, shown, drawn.records[cell], networks * study.claim.draws, known)
            if len(sample.values) > 1 and not sample.problem:
                geometric = study.claim.reading.functional == "geometric mean"
                values = np.log(sample.values) if geometric else sample.values / np.mean(sample.values)
                spreads.append(float(np.std(values, ddof=1)))
        found.append(max(spreads) or None)
    return found


@dataclasses.dataclass(frozen=True)
class _Study:
    """A claim with its cells.

    Attributes:
        claim: the claim.
        cells: each with the values of the grid's axes.
        measures: by name, the measures that its cells are asked for.
        excluded: cells whose coordinates alone put them out of scope.
    """

    claim: Claim
    cells: tuple[tuple[dict[str, Any], Cell], ...]
    measures: Mapping[str, Measure]
    excluded: frozenset[Cell]


def _study(claim: Claim, known: _Known) -> _Study:
    """A claim on its grid, checked."""
    cells = tuple(cells_of(claim, known.data))
    chosen = {one.name: one for one in _measures(claim)}
    _check_measures(claim, chosen.values())
    for shown, cell in cells:
        _check_cell(claim, shown, cell, known, chosen.values())
    return _Study(claim, cells, chosen, frozenset(cell for _, cell in cells if _is_excluded(claim, cell, known)))


def _tried(
    studies: Sequence[_Study], wanted: Sequence[_Study], seeds: int, networks: Networks, progress: Progress
) -> frozenset[Cell]:
    """Cells of which the first networks did not get where they are read, so that no others need to be trained.

    Tried are the ends of each grid, and where one of them is out of reach, all of it. Nothing is wasted: what is tried
    are the first of the networks that are wanted.
    """

    def may_be(study: _Study) -> list[Cell]:
        return [cell for _, cell in study.cells if may_be_out_of_reach(cell) and cell not in study.excluded]

    def attempt(of: Sequence[_Study], ends_only: bool) -> None:
        cells = {cell for study in of for cell in (may_be(study)[:: max(1, len(may_be(study)) - 1)]
                                                   if ends_only else may_be(study))}  # fmt: skip
        demands = {
            cell: dataclasses.replace(demand, networks=min(demand.networks, PILOT))
            for cell, demand in _demands(studies, of, seeds).items()
            if cell in cells
        }
        networks.extend(demands, progress)

    def unusable() -> frozenset[Cell]:
        cells = {cell for study in wanted for cell in may_be(study) if cell in networks.records}
        return frozenset(cell for cell in cells if is_out_of_reach(networks.records[cell]))

    attempt(wanted, ends_only=True)
    attempt([study for study in wanted if unusable() & set(may_be(study))], ends_only=False)
    return unusable()


def _enough(study: _Study, unusable: frozenset[Cell]) -> bool:
    """Whether cells are left to judge a claim on."""
    cells = [(CellSample(shown, np.empty(0)), cell) for shown, cell in study.cells]
    left = [sample for sample, cell in cells if cell not in unusable and cell not in study.excluded]
    return not unusable or enough_cells(study.claim, [sample for sample, _ in cells], left)


def _demands(
    studies: Sequence[_Study], wanted: Sequence[_Study], seeds: int, unusable: frozenset[Cell] = frozenset()
) -> dict[Cell, Demand]:
    """What cells are to give: networks for the claims wanted, with what any claim measures on them.

    No more networks of cells that are ``unusable``.
    """
    demands: dict[Cell, Demand] = {}
    for study in studies:
        for _, cell in study.cells:
            before = demands.get(cell, Demand({}, 0))
            if isinstance(study.claim.measure, Quantity) or cell in study.excluded:
                demands[cell] = before
                continue
            networks = seeds * study.claim.draws if study in wanted and cell not in unusable else 0
            demands[cell] = Demand({**before.measures, **study.measures}, max(before.networks, networks))
    return demands


def _count(networks: Mapping[Cell, int]) -> Count:
    trained = sum(number for cell, number in networks.items() if cell.time != "initialization")
    return Count(sum(networks.values()), trained)


def _with_points(verdict: Verdict, data: Dataset) -> Verdict:
    """With the number of test points that its claim asked for, if it did."""
    asked = verdict.claim.points
    return verdict if asked is None else dataclasses.replace(verdict, points=min(asked, len(data.x_test)))


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
        return Computed(claim.measure.name, claim.measure.definition, _no_networks, dims=(), source=claim.source)
    try:
        return measure_of(claim.measure, claim.measure_name)
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def _no_networks(probe: Probe) -> jax.Array:
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
                "infinite_width": of_means(lambda: self.infinite.mean(name, cell)),
            },
        )


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
    elif claim.reading.time == "converged":
        raise InputError(
            f"claim {claim.id}: networks never reach t = ∞: read them at a loss or after fixed steps, or make "
            "the measure a Quantity of infinite_width"
        )
    for measure in chosen:
        if claim.reading.time == "initialization" and (measure.needs_training_data or "y_test" in measure.needs):
            raise InputError(f"claim {claim.id}: the measure {measure.name!r} says nothing about untrained networks")
        if "epsilon" in measure.asks_for and "epsilon" not in claim.grid:
            raise InputError(f"claim {claim.id}: the measure {measure.name!r} needs a radius: give the grid an epsilon")
    chosen = tuple(chosen)
    radii = claim.grid.get("epsilon", ())
    own = [one for one in chosen if one.radius is not None and any(radius != one.radius for radius in radii)]
    if own and not any("epsilon" in one.asks_for for one in chosen):
        raise InputError(
            f"claim {claim.id}: the grid's epsilon contradicts {own[0]!r}: it is for measures that have no radius"
        )


def _check_cell(claim: Claim, shown: Mapping[str, Any], cell: Cell, known: _Known, chosen: Iterable[Measure]) -> None:
    """Evaluate what the claim states for a cell once, so that a mistake in it shows before any training."""
    at = known.coordinates(claim, cell)
    quantity = claim.measure.formula if isinstance(claim.measure, Quantity) else None
    for what, formula, positive in (
        (claim.formula_name, claim.formula, True),
        ("theory", claim.theory, False),
        ("quantity", quantity, True),
    ):
        if formula is not None:
            with _blaming(f"claim {claim.id}: its {what} at {shown_as(shown)}"):
                evaluate_number(formula, at, positive=positive, allowed=_allowed(claim, formula))
    for one in claim.assumptions:
        if not one.measures:
            with _blaming(f"claim {claim.id}: its assumption {one.text!r} at {shown_as(shown)}"):
                evaluate_condition(one.holds, at)
    if cell.adversary is not None and cell.adversary.bounds is not None:
        with _blaming(f"claim {claim.id}: at {shown_as(shown)},"):
            domain = known.data.domain.scaled(cell.scale)
            for name, x in (("x_train", known.data.x_train[: cell.n]), ("x_test", known.data.x_test)):
                cell.adversary.check_inputs(name, cell.scale * x, domain)
    for measure in chosen:
        # Ours are tested; tracing all of them for every cell would take longer than running some.
        if not is_packaged(measure):
            with _blaming(f"claim {claim.id}: at {shown_as(shown)}"):
                check_traceable(
                    measure, cell.net, known.data.x_test[: cell.points or known.infinite.points].shape, cell.n
                )


def _allowed(claim: Claim, formula: Callable[..., Any]) -> Callable[[float], bool]:
    """Explicit bounds may be numbers that they say nothing with, as far as they are known to."""
    if formula is claim.formula and isinstance(claim.relation, AtMost | AtLeast):
        return claim.relation.says_nothing
    return lambda number: False


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Say in which claim and cell a mistake is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what} {error}") from None


def _is_excluded(claim: Claim, cell: Cell, known: _Known) -> bool:
    """Whether the cell's coordinates alone put it out of the claim's scope; then no networks are needed to say so."""
    if cell.outside:
        return True
    at = known.coordinates(claim, cell)
    return not all(evaluate_condition(one.holds, at) for one in claim.assumptions if not one.measures)


def _sample(study: _Study, shown: dict[str, Any], record: CellRecord, networks: int, known: _Known) -> CellSample:
    """What a record says for one claim."""
    claim, cell = study.claim, record.cell
    at = known.coordinates(claim, cell)
    stated: dict[str, Any] = {
        "coordinates": shown,
        "outside": cell.outside,
        "reference": None
        if claim.formula is None
        else evaluate_number(claim.formula, at, allowed=_allowed(claim, claim.formula)),
        "theory": None if claim.theory is None else evaluate_number(claim.theory, at, positive=False),
    }
    excluded = cell in study.excluded
    if isinstance(claim.measure, Quantity):
        return CellSample(
            values=np.array([evaluate_number(claim.measure.formula, at)]), in_scope=not excluded, **stated
        )
    if excluded:
        return CellSample(values=np.empty(0), in_scope=False, **stated)
    values = record.values[claim.measure_name][:networks]
    problem = problem_of(claim, record, networks, stated["reference"], known.data)
    checked = {name: float(np.mean(record.values[name][:networks])) for one in claim.assumptions for name in one.names}
    at.update(checked)
    return CellSample(
        values=values,
        problem=problem,
        # Where networks diverged, measures say nothing about assumptions.
        in_scope=bool(problem) or all(_holds(claim, one, shown, at) for one in claim.assumptions),
        checked=checked,
        time_error=record.time_error.get(claim.measure_name, 0.0),
        **stated,
    )


def _holds(claim: Claim, assumption: Assumption, shown: Mapping[str, Any], at: Coordinates) -> bool:
    with _blaming(f"claim {claim.id}: its assumption {assumption.text!r} at {shown_as(shown)}"):
        return evaluate_condition(assumption.holds, at)
