"""A claim on its grid: its cells, checked before anything is run, and what their networks say for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.coordinates import (
    OF_TRAINING,
    NoValueError,
    asked_for,
    evaluate_condition,
    evaluate_number,
)
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption
from ntkrobust.bounds.verdicts import CellSample
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Measure, Side
from ntkrobust.finite.measures.functions import check_traceable, is_packaged
from ntkrobust.studies.arithmetic import check_relation
from ntkrobust.studies.cells import Cell, cells_of, shown_as
from ntkrobust.studies.claim_measures import measures_of
from ntkrobust.studies.control import Control, control_of, controlled
from ntkrobust.studies.formulas import Coordinates, Known, allowed_values, blaming
from ntkrobust.studies.reach import problem_of
from ntkrobust.studies.records import CellRecord

THEORY = "theory"
"""What a claim's line that is drawn, and judges nothing, is called."""

Formula = Callable[..., Any]
Leave = Callable[[Claim, Formula], bool]
"""Whether a formula of a claim is left for later."""


def takes_long(claim: Claim, formula: Formula) -> bool:
    """Whether a formula of this package's own claims is a closed form of infinite ensembles, of which there are many.

    Ours are tested. What users state is evaluated before anything is run, however long that takes; and so is what
    untrained networks are compared with.
    """
    is_ours = str(getattr(formula, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]
    has_networks = not isinstance(claim.measure, Quantity) and claim.reading.time == "initialization"
    return is_ours and not has_networks and not set(OF_TRAINING).isdisjoint(asked_for(formula))


@dataclasses.dataclass(frozen=True)
class Study:
    """A claim with its cells.

    Attributes:
        claim: the claim.
        cells: each with the values of the grid's axes.
        measures: by name, the measures that its cells are asked for.
        excluded: cells whose coordinates alone put them out of scope.
        controls: cells whose networks are measured before training too → by what (:mod:`ntkrobust.studies.control`).
    """

    claim: Claim
    cells: tuple[tuple[dict[str, Any], Cell], ...]
    measures: Mapping[str, Measure]
    excluded: frozenset[Cell]
    controls: Mapping[Cell, Control] = dataclasses.field(default_factory=dict)

    def measures_in(self, cell: Cell) -> Mapping[str, Measure]:
        """What a cell is asked for."""
        control = self.controls.get(cell)
        return self.measures if control is None else {**self.measures, control.measure.name: control.measure}

    @property
    def side(self) -> Side:
        """From which side the measure of networks bounds what it speaks of."""
        return self.measures[self.claim.measure_name].side


def leave_none(claim: Claim, formula: Formula) -> bool:
    """All are evaluated at once."""
    return False


def formulas_of(claim: Claim) -> list[tuple[str, Formula]]:
    """What a claim states of cells, each with what it is called: its formula, its theory line, its quantity."""
    quantity = claim.measure.formula if isinstance(claim.measure, Quantity) else None
    stated = (claim.formula_name, claim.formula), (THEORY, claim.theory), ("quantity", quantity)
    return [(what, formula) for what, formula in stated if formula is not None]


def study_of(claim: Claim, known: Known, leave: Leave = leave_none) -> Study:
    """A claim on its grid, checked.

    Args:
        claim: the claim.
        known: what its formulas are evaluated with.
        leave: which formulas are not evaluated: where one of them has no value on these data, the study does not know.
    """
    cells = tuple(cells_of(claim, known.data))
    chosen = {one.name: one for one in measures_of(claim)}
    _check_measures(claim, chosen.values())
    for shown, cell in cells:
        _check_cell(claim, shown, cell, known, chosen.values(), leave)
    cells = tuple((shown, _with_what_is_missing(claim, cell, known, leave)) for shown, cell in cells)
    controls = {
        cell: control
        for _, cell in cells
        if not isinstance(claim.measure, Quantity)
        and (control := control_of(claim, chosen[claim.measure_name], cell, known.data.d)) is not None
    }
    excluded = frozenset(cell for _, cell in cells if _is_excluded(claim, cell, known))
    return Study(claim, cells, chosen, excluded, controls)


def _check_measures(claim: Claim, chosen: Iterable[Measure]) -> None:
    if isinstance(claim.measure, Quantity):
        check_relation(claim, claim.measure.formula)
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


def _check_cell(
    claim: Claim, shown: Mapping[str, Any], cell: Cell, known: Known, chosen: Iterable[Measure], leave: Leave
) -> None:
    """Evaluate what the claim states for a cell once, so that a mistake in it shows before any training."""
    at = known.coordinates(claim, cell)
    for what, formula in formulas_of(claim):
        if not leave(claim, formula):
            with blaming(f"claim {claim.id}: its {what} at {shown_as(shown)}"):
                _value(claim, formula, at, positive=what != THEORY)
    for one in claim.assumptions:
        if not one.measures:
            with blaming(f"claim {claim.id}: its assumption {one.text!r} at {shown_as(shown)}"):
                evaluate_condition(one.holds, at)
    if cell.adversary is not None and cell.adversary.bounds is not None:
        with blaming(f"claim {claim.id}: at {shown_as(shown)},"):
            domain = known.data.domain.scaled(cell.scale)
            for name, x in (("x_train", known.data.x_train[: cell.n]), ("x_test", known.data.x_test)):
                cell.adversary.check_inputs(name, cell.scale * x, domain)
    for measure in chosen:
        # Ours are tested; tracing all of them for every cell would take longer than running some.
        if not is_packaged(measure):
            with blaming(f"claim {claim.id}: at {shown_as(shown)}"):
                check_traceable(
                    measure, cell.net, known.data.x_test[: cell.points or known.infinite.points].shape, cell.n
                )


def _with_what_is_missing(claim: Claim, cell: Cell, known: Known, leave: Leave) -> Cell:
    """The cell, out of scope where what the claim states of it has no value on these data.

    A theory line is drawn where there is one, and judges nothing.
    """
    at = known.coordinates(claim, cell)
    for what, formula in formulas_of(claim):
        if what != THEORY and not cell.outside and not leave(claim, formula):
            try:
                evaluate_number(formula, at, allowed=allowed_values(claim, formula))
            except NoValueError as error:
                return dataclasses.replace(cell, outside=f"its {what} {error}")
    return cell


def _value(claim: Claim, formula: Callable[..., Any] | None, at: Coordinates, positive: bool = True) -> float | None:
    """What a formula says in a cell; None without one, and where these data have no such value."""
    if formula is None:
        return None
    try:
        return evaluate_number(formula, at, positive=positive, allowed=allowed_values(claim, formula))
    except NoValueError:
        return None


def _is_excluded(claim: Claim, cell: Cell, known: Known) -> bool:
    """Whether the cell's coordinates alone put it out of the claim's scope; then no networks are needed to say so."""
    if cell.outside:
        return True
    at = known.coordinates(claim, cell)
    return not all(evaluate_condition(one.holds, at) for one in claim.assumptions if not one.measures)


def samples_of(study: Study, records: Mapping[Cell, CellRecord], seeds: int, known: Known) -> tuple[CellSample, ...]:
    """What the first networks of every cell say for a claim, ``seeds`` times ``claim.draws`` of them."""
    return tuple(_sample(study, shown, records[cell], seeds * study.claim.draws, known) for shown, cell in study.cells)


def _sample(study: Study, shown: dict[str, Any], record: CellRecord, networks: int, known: Known) -> CellSample:
    """What a record says for one claim."""
    claim, cell = study.claim, record.cell
    at = known.coordinates(claim, cell)
    stated: dict[str, Any] = {
        "coordinates": shown,
        "outside": cell.outside,
        "reference": _value(claim, claim.formula, at),
        "theory": _value(claim, claim.theory, at, positive=False),
    }
    excluded = cell in study.excluded
    if isinstance(claim.measure, Quantity):
        return CellSample(values=_values_of_formula(claim, claim.measure.formula, cell, known), in_scope=not excluded,
                          **stated)  # fmt: skip
    if excluded:
        return CellSample(values=np.empty(0), in_scope=False, **stated)
    if record.failure and len(record.seeds) < networks:
        seen = record.values.get(claim.measure_name, np.empty(0))
        return CellSample(values=seen, problem=record.failure, failed=True, **stated)
    if claim.measure_name not in record.values:
        return CellSample(values=np.empty(0), problem="not run: another cell failed, or time ran out", **stated)
    values = record.values[claim.measure_name][:networks]
    problem = problem_of(claim, record, networks, stated["reference"], known.data)
    checked = {name: float(np.mean(record.values[name][:networks])) for one in claim.assumptions for name in one.names}
    at.update(checked)
    control, left = study.controls.get(cell), 1.0
    if control is not None and not problem:
        plain = values
        values = controlled(plain, record.values[control.measure.name][:networks], control.mean)
        left = float(np.var(values) / np.var(plain)) if np.var(plain) > 0 else 1.0
    return CellSample(
        values=values,
        problem=problem,
        variance_left=left,
        # Where networks diverged, measures say nothing about assumptions.
        in_scope=bool(problem) or all(_holds(claim, one, shown, at) for one in claim.assumptions),
        checked=checked,
        time_error=record.time_error.get(claim.measure_name, 0.0),
        **stated,
    )


def _values_of_formula(claim: Claim, formula: Callable[..., Any], cell: Cell, known: Known) -> np.ndarray:
    """What a formula says in a cell: several values where it has an error, which is their spread; none without one."""
    try:
        found = [_value(claim, formula, at) for at in known.repeated(claim, cell, formula)]
    except NoValueError:
        found = []
    return np.array([value for value in found if value is not None])


def _holds(claim: Claim, assumption: Assumption, shown: Mapping[str, Any], at: Coordinates) -> bool:
    with blaming(f"claim {claim.id}: its assumption {assumption.text!r} at {shown_as(shown)}"):
        return evaluate_condition(assumption.holds, at)
