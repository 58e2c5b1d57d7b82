"""From samples to a verdict: what each relation asks of the numbers, and how a label is given.

For every relation two null hypotheses are tested: "the statement is true" (rejecting it refutes) and "the statement is
false" (rejecting it supports). Both p-values are adjusted by Holm over all statements judged together. Where networks
are drawn in several looks, every p-value is one that holds under early stopping.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ntkrobust.bounds import statistics
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import AtLeast, AtMost, Equals, Order, OrderAtLeast, ScalesAs, Trend, Turns
from ntkrobust.bounds.statistics import exponents, orders, trends, turning
from ntkrobust.bounds.statistics.bounds import bounded, implied_constant
from ntkrobust.bounds.statistics.equivalence import equals
from ntkrobust.bounds.statistics.estimates import Comparison, Level, Sample, confidence_interval
from ntkrobust.bounds.statistics.parts import All, Every, OneOf, Part, Statement
from ntkrobust.bounds.statistics.sequential import Looks
from ntkrobust.bounds.statistics.turning import TurningPoint

Label = Literal["supported", "refuted", "inconclusive", "out of scope"]
LABELS: tuple[Label, ...] = ("supported", "refuted", "inconclusive", "out of scope")

LEVEL = 0.05
"""Level of the tests, over all statements judged together."""

POWER = 0.9
"""What numbers of networks are counted for."""

PAIRED_AXES = ("n", "epsilon", "alpha")
"""Along these the networks of a seed are the same: trained on more data, looked at over a larger radius, or with the
output divided by another number."""

NEEDED_VALUES = 3
"""Cells along an axis, in each facet, without which a relation along it isn't judged."""


VACUOUS = 100.0
"""An explicit bound says nothing of a cell from which it is farther than this factor."""


@dataclasses.dataclass(frozen=True)
class CellSample:
    """What one cell of a claim's grid gave.

    Attributes:
        coordinates: the values of the grid's axes, for display.
        values: (n,) the measure, one value per network (averaged over points); for simulations (batch, n).
        reference: the value, bound or turning point stated for this cell, or None.
        theory: the theory line at this cell, or None.
        problem: why the cell can't be used (networks diverged, the loss was not reached), or "".
        in_scope: whether all assumptions hold here.
        checked: averages of the measures that the assumptions looked at.
        outside: why there can be no such networks, or "".
        time_error: what the mean may be off by because steps were not gradient flow itself, in units of the measure
            (:mod:`ntkrobust.bounds.time_error`).
    """

    coordinates: Mapping[str, Any]
    values: np.ndarray
    reference: float | None = None
    theory: float | None = None
    problem: str = ""
    in_scope: bool = True
    checked: Mapping[str, float] = dataclasses.field(default_factory=dict)
    outside: str = ""
    time_error: float = 0.0

    @property
    def relative_time_error(self) -> float:
        """The time error over the mean of the values; 0 where there is none."""
        return self.time_error / abs(float(np.mean(self.values))) if self.time_error else 0.0

    def __str__(self) -> str:
        return ", ".join(f"{axis}={value}" for axis, value in self.coordinates.items())


@dataclasses.dataclass(frozen=True)
class Effect:
    """The size of what was seen: a name, an estimate and its 95 % interval.

    A factor (1 is no effect), or for ``ScalesAs`` an exponent.
    """

    name: str
    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.name} ×{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One claim's tests before they are adjusted for the others judged with it.

    Attributes:
        p_support: p-value of "the statement is false".
        p_refute: p-value of "the statement is true".
        effect: the size of what was seen.
        worst: index of the cell that speaks most against the statement.
        seeds_needed: seeds that would likely settle it, if the estimates are right; None where no number would.
        detail: one clause in words.
        tightness: for an explicit bound, how far from it the measure stays, smallest and largest over cells.
        constant: for a bound up to a constant, the constant that these cells imply.
        exponent: for a power, the exponent over all cells.
        turning_point: for a turn, where it is.
    """

    p_support: float
    p_refute: float
    effect: Effect
    worst: int
    seeds_needed: int | None
    detail: str
    tightness: tuple[float, float] | None = None
    constant: Effect | None = None
    exponent: Effect | None = None
    turning_point: TurningPoint | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the evidence says about a claim.

    Attributes:
        claim: the claim.
        label: ``supported``, ``refuted``, ``inconclusive`` or ``out of scope``.
        reason: one sentence.
        effect: the size of what was seen, or None if nothing could be estimated.
        p_value: adjusted p-value of the test behind the label (for ``inconclusive``, the smaller of the two).
        cells: what each cell gave.
        seeds: networks per cell (the smallest number over cells).
        points: test points that each network was averaged over.
        counterexample: the cell that refutes, or None.
        command: what reproduces the verdict.
        tightness: for an explicit bound, bound/measured (measured/bound for a lower one), which is 1 or more where the
            bound holds: smallest and largest over cells.
        seeds_needed: for ``inconclusive``, seeds that would likely settle it.
        constant: for a bound up to a constant, the smallest constant with which it holds on these cells.
        exponent: for a power, the exponent over all cells, in the facet that speaks least for the statement.
        turning_point: for a turn, where it is, in that facet.
        vacuous: for an explicit bound, whether it says nothing in any of the cells: it is infinite (not positive, for
            a lower one), or farther from the measure than a factor :data:`VACUOUS`; None for other relations, and
            where no cell could be judged.
        time_error: of readings at a time or a loss of gradient flow, the largest time error of its cells, relative to
            their means; the interval of the effect and the p-value allow for it. None for other readings.
    """

    claim: Claim
    label: Label
    reason: str
    effect: Effect | None
    p_value: float | None
    cells: tuple[CellSample, ...]
    seeds: int
    points: int
    counterexample: CellSample | None = None
    command: str = ""
    tightness: tuple[float, float] | None = None
    seeds_needed: int | None = None
    constant: Effect | None = None
    exponent: Effect | None = None
    turning_point: TurningPoint | None = None
    vacuous: bool | None = None
    time_error: float | None = None

    @property
    def range(self) -> dict[str, list]:
        """The values of each axis on which the verdict was reached (cells in scope)."""
        used = [cell for cell in self.cells if cell.in_scope and not cell.problem]
        return {axis: list(dict.fromkeys(cell.coordinates[axis] for cell in used)) for axis in self.claim.grid}

    def __repr__(self) -> str:
        return f"<{self.claim.id}: {self.label}{', vacuous' if self.vacuous else ''}. {self.reason}>"

    def _repr_html_(self) -> str:
        # What shows verdicts lies above what reaches them; a notebook asks for it, nothing else does.
        return str(importlib.import_module("ntkrobust.workflow").verdict_html(self))


Examined = tuple[Claim, tuple[CellSample, ...], str]
"""A claim with what its cells gave and the side of its measure."""

Remember = Callable[[str, np.ndarray], np.ndarray]
"""Turns the p-values of a claim's parts (parts, batch) at this look into ones that hold under early stopping."""


def decide(claims: Sequence[Examined], points: int) -> list[Verdict]:
    """Verdicts on claims that were examined together, on a number of networks that was fixed in advance.

    Args:
        claims: each claim with what its cells gave and the side of its measure.
        points: test points behind every value.

    Returns:
        Verdicts in the same order. Support and refutation are each adjusted by Holm over all of them, so the
        probability of any false refutation among them is held to 5 %, and so is that of any false support.
    """
    return _label([_examine(one, len(claims), None) for one in claims], points)


def decide_sequentially(
    source: Callable[[int, tuple[int, ...]], Sequence[Examined]], count: int, looks: Looks, points: int
) -> tuple[list[Verdict], tuple[int, ...]]:
    """Verdicts on networks that are drawn until every claim is decided, or all that were planned have been drawn.

    Args:
        source: called with a number of networks per cell and the positions of the claims that are still open; returns
            all claims in the same order. What it gives for those that are not open is ignored. More networks must
            contain the fewer that came before.
        count: number of claims.
        looks: the planned numbers of networks per cell.
        points: test points behind every value.

    Returns:
        The verdicts, and for each claim the networks per cell that it took. Error rates are those of :func:`decide`.
    """
    outcomes: dict[int, _Outcome] = {}
    used: dict[int, int] = {}
    memories: dict[int, _Memory] = {}
    verdicts: list[Verdict] = []
    open_claims = tuple(range(count))
    for look, size in enumerate(looks.sizes):
        claims = source(size, open_claims)
        for index in open_claims:
            memory = memories.setdefault(index, _Memory(looks))
            memory.look = look
            outcomes[index] = _examine(claims[index], count, memory)
            used[index] = size
        verdicts = _label([outcomes[index] for index in range(count)], points)
        open_claims = tuple(index for index in open_claims if verdicts[index].label == "inconclusive")
        if not open_claims:
            break
    return verdicts, tuple(used[index] for index in range(count))


class _Memory:
    """The smallest p-values of a claim's parts over the looks so far."""

    def __init__(self, looks: Looks) -> None:
        self.look = 0
        self._looks = looks
        self._smallest: dict[tuple[str, str], np.ndarray] = {}

    def about(self, cells: Sequence[CellSample]) -> Remember:
        """For statements about these cells; where others are left than at the look before, it starts anew."""
        known = "; ".join(map(str, cells))

        def remember(kind: str, p: np.ndarray) -> np.ndarray:
            now = self._looks.p_values(p, self.look)
            smallest = np.minimum(now, self._smallest.get((kind, known), 1.0))
            self._smallest[kind, known] = smallest
            return smallest

        return remember


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """A claim with its tests, or with why there are none.

    Attributes:
        usable: the cells that are tested.
        empty: those in which every number meets the stated bound, so that there is nothing to test.
    """

    claim: Claim
    cells: tuple[CellSample, ...]
    usable: tuple[CellSample, ...]
    empty: tuple[CellSample, ...]
    judgement: Judgement | None
    excuse: tuple[Label, str] | None


def _examine(examined: Examined, claims: int, memory: _Memory | None) -> _Outcome:
    claim, cells, side = examined
    sound = [cell for cell in cells if cell.in_scope and not cell.problem]
    usable = tuple(cell for cell in sound if not _says_nothing(claim, cell))
    empty = tuple(cell for cell in sound if _says_nothing(claim, cell))
    excuse: tuple[Label, str] | None
    if empty and not usable:
        excuse = "supported", f"the bound is {empty[0].reference:g} and says nothing, in all of {len(empty)} cells"
    else:
        excuse = _why_not(claim, cells, usable)
    if excuse is not None:
        return _Outcome(claim, cells, usable, empty, None, excuse)
    remember = None if memory is None else memory.about(usable)
    judgement = _restrict_to_side(judge(claim, usable, LEVEL / claims, remember), claim, side)
    return _Outcome(claim, cells, usable, empty, judgement, None)


def _says_nothing(claim: Claim, cell: CellSample) -> bool:
    """Whether any number meets the explicit bound stated for a cell."""
    if not isinstance(claim.relation, AtMost | AtLeast) or cell.reference is None:
        return False
    return claim.relation.says_nothing(cell.reference)


def _label(outcomes: Sequence[_Outcome], points: int) -> list[Verdict]:
    # Claims that could not be judged count too: which ones they are was decided on the same networks.
    judgements = [one.judgement for one in outcomes]
    support = statistics.holm(np.array([1.0 if one is None else one.p_support for one in judgements]))
    refute = statistics.holm(np.array([1.0 if one is None else one.p_refute for one in judgements]))
    verdicts = []
    for outcome, p_support, p_refute in zip(outcomes, support, refute, strict=True):
        common: dict[str, Any] = {
            "claim": outcome.claim,
            "cells": outcome.cells,
            "seeds": min((len(cell.values) for cell in outcome.usable or outcome.cells), default=0),
            "points": points,
        }
        one = outcome.judgement
        if one is None:
            assert outcome.excuse is not None
            label, reason = outcome.excuse
            vacuous = True if outcome.empty and not outcome.usable else None
            verdicts.append(Verdict(label=label, reason=reason, effect=None, p_value=None, vacuous=vacuous, **common))
            continue
        if p_refute <= LEVEL:
            label, p_value = "refuted", p_refute
        elif p_support <= LEVEL:
            label, p_value = "supported", p_support
        else:
            label, p_value = "inconclusive", min(p_refute, p_support)
        reason = one.detail
        if outcome.empty:
            reason += f"; in {len(outcome.empty)} of {len(outcome.cells)} cells the bound says nothing"
        left_out = len(outcome.cells) - len(outcome.usable) - len(outcome.empty)
        if left_out:
            reason += f"; {left_out} of {len(outcome.cells)} cells out of scope or unusable"
        time_error = _time_error(outcome.claim, outcome.usable)
        if time_error is not None:
            reason += f"; time error {time_error:.2g}" if time_error >= 1 else f"; time error {time_error:.1%}"
        if label == "inconclusive" and one.seeds_needed is not None and one.seeds_needed > common["seeds"]:
            reason += f"; about {one.seeds_needed} networks per cell would settle it"
        verdicts.append(
            Verdict(
                label=label,
                reason=reason,
                effect=one.effect,
                p_value=float(p_value),
                counterexample=outcome.usable[one.worst] if label == "refuted" else None,
                tightness=one.tightness,
                seeds_needed=one.seeds_needed if label == "inconclusive" else None,
                constant=one.constant,
                exponent=one.exponent,
                turning_point=one.turning_point,
                vacuous=None if one.tightness is None else one.tightness[0] > VACUOUS,
                time_error=time_error,
                **common,
            )
        )
    return verdicts


def _time_error(claim: Claim, cells: Sequence[CellSample]) -> float | None:
    """The largest of some cells, relative to their means; None where the reading is no time or loss of the flow."""
    if claim.reading.optimizer != "gradient_flow":
        return None
    return max(cell.relative_time_error for cell in cells)


def _why_not(claim: Claim, cells: tuple[CellSample, ...], usable: tuple[CellSample, ...]) -> tuple[Label, str] | None:
    """Why a claim can't be judged on these cells, or None."""
    enough = len(usable) >= 1
    for axis in axes_of(claim):
        # What is said along an axis is judged in each facet (the other axes fixed).
        facets = facets_along(axis, usable)
        enough = enough and len(facets) == len(facets_along(axis, cells))
        enough = enough and all(len(facet) >= NEEDED_VALUES for facet in facets)
    if not enough:
        outside = [cell for cell in cells if not cell.in_scope]
        if outside:
            first = outside[0]
            if first.outside:
                return "out of scope", f"{first.outside} (at {first})"
            checked = ", ".join(f"{name.replace('_', ' ')} {value:.2g}" for name, value in first.checked.items())
            assumed = " and ".join(one.text for one in claim.assumptions)
            return "out of scope", (
                f"{len(outside)} of {len(cells)} cells do not meet “{assumed}”"
                f" (at {first}{': ' + checked if checked else ''})"
            )
        return "inconclusive", next(f"at {cell}: {cell.problem}" for cell in cells if cell.problem)
    if min(len(cell.values) for cell in usable) < statistics.MINIMUM_SEEDS:
        return "inconclusive", (
            f"a verdict needs {statistics.MINIMUM_SEEDS} networks per cell, "
            f"there are {min(len(cell.values) for cell in usable)}"
        )
    return None


def _restrict_to_side(judgement: Judgement, claim: Claim, side: str) -> Judgement:
    """A bound on the measured quantity can decide only what it bounds on the right side."""
    if side == "exact":
        return judgement
    # E ≤ bound is refuted by lower values and supported by upper ones, E ≥ bound the other way round; anything else
    # needs the exact value.
    refuting = {AtMost: "lower", AtLeast: "upper"}.get(type(claim.relation))
    supporting = {AtMost: "upper", AtLeast: "lower"}.get(type(claim.relation))
    return dataclasses.replace(
        judgement,
        p_refute=judgement.p_refute if side == refuting else 1.0,
        p_support=judgement.p_support if side == supporting else 1.0,
        detail=f"{judgement.detail}; the measure is a {side} bound",
    )


def axes_of(claim: Claim) -> list[str]:
    """The axes along which a claim says something."""
    if isinstance(claim.relation, Trend | Turns | ScalesAs):
        return [claim.relation.axis]
    if isinstance(claim.relation, Order):
        return [axis for axis, values in claim.grid.items() if len(values) >= NEEDED_VALUES and _is_numeric(values)]
    return []


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and value > 0 for value in values)


def facets_along(axis: str, cells: Sequence[CellSample]) -> list[list[int]]:
    """Positions of cells, grouped so that within a group only one axis changes, in the order of that axis."""
    groups: dict[tuple, list[int]] = {}
    for position, cell in enumerate(cells):
        rest = tuple(value for name, value in cell.coordinates.items() if name != axis)
        groups.setdefault(rest, []).append(position)
    return [sorted(group, key=lambda position: cells[position].coordinates[axis]) for group in groups.values()]


def statement(claim: Claim, cells: Sequence[CellSample]) -> Statement:
    """What a claim says about its usable cells, as parts that can be tested.

    Corrections count all cells of the grid, since which are usable is decided on the same networks. Values may be
    (batch, n): that is how error rates are simulated.
    """
    relation, grid = claim.relation, claim.grid
    n_cells = math.prod(len(values) for values in grid.values())
    samples = [_sample(claim, cell) for cell in cells]
    match relation:
        case Equals():
            return equals(samples, relation.margin, n_cells)
        case AtMost() | AtLeast():
            return bounded(samples, isinstance(relation, AtLeast), n_cells)
    facets: list[Statement] = []
    count = 0
    for axis in axes_of(claim):
        length = len(grid[axis])
        count += n_cells // length
        paired = axis in PAIRED_AXES
        for facet in facets_along(axis, cells):
            along = [samples[position] for position in facet]
            values = [float(cells[position].coordinates[axis]) for position in facet]
            one: Statement
            match relation:
                case Order():
                    lower = isinstance(relation, OrderAtLeast)
                    one = All([orders.no_growth(along, values, relation.growth, paired, lower)], 1)
                case ScalesAs():
                    parts = exponents.scales(along, values, relation.power, relation.margin, paired)
                    one = All(parts, 2 * (length - 1))
                case Trend():
                    parts = trends.monotone(along, relation.sign, relation.margin, paired)
                    one = All(parts, math.comb(length, 2))
                case Turns():
                    one = turning.turns(along, relation.sign, relation.margin, paired, length)
            facets.append(one.located(facet))
    return Every(facets, count)


def _sample(claim: Claim, cell: CellSample) -> Sample:
    """The measure of a cell, over the bound or value stated for it if there is one."""
    values, time_error = np.atleast_2d(cell.values), cell.time_error
    if isinstance(claim.relation, Equals | AtMost | AtLeast | Order):
        assert cell.reference is not None
        values, time_error = values / cell.reference, time_error / abs(cell.reference)
    return Sample(values, claim.reading.functional == "geometric mean", time_error)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A statement with the p-values of its parts.

    Attributes:
        statement: the statement.
        cells: the cells it is about.
        samples: theirs.
        holds, fails: (parts,) p-values.
    """

    statement: Statement
    cells: Sequence[CellSample]
    samples: Sequence[Sample]
    holds: np.ndarray
    fails: np.ndarray

    @property
    def against(self) -> Part:
        """The part that speaks most against the statement."""
        return self.statement.parts[int(np.argmin(self.fails))]

    @property
    def unsettled(self) -> Part:
        """The part that is farthest from being shown."""
        return self.statement.parts[int(np.argmax(self.holds))]


def judge(claim: Claim, cells: tuple[CellSample, ...], level: float, remember: Remember | None = None) -> Judgement:
    """Test one claim.

    Args:
        claim: the claim.
        cells: its usable cells.
        level: the level at which seeds needed are counted.
        remember: what makes p-values hold under early stopping; None where the number of networks was fixed.
    """
    stated = statement(claim, cells)
    holds = np.array([part.p_holds() for part in stated.parts])
    fails = np.array([part.p_fails() for part in stated.parts])
    if remember is not None:
        holds, fails = remember("holds", holds), remember("fails", fails)
    samples = [_sample(claim, cell) for cell in cells]
    seen = _Seen(stated, cells, samples, holds[:, 0], fails[:, 0])
    match claim.relation:
        case Turns():
            described = _describe_turn(claim, seen)
        case ScalesAs():
            described = _describe_power(claim, seen)
        case Trend():
            described = _describe_trend(claim, seen)
        case Order():
            described = _describe_order(claim, seen)
        case _:
            described = _describe_ratios(claim, seen)
    part = described.pop("unsettled", seen.unsettled)
    return Judgement(
        p_support=stated.p_support(holds).item(),
        p_refute=stated.p_refute(fails).item(),
        seeds_needed=_seeds_needed(part, level),
        **described,
    )


def _seeds_needed(part: Part, level: float) -> int | None:
    t = part.comparison.statistic(part.factor).item()
    return statistics.seeds_needed(t, part.comparison.n, level, POWER)


def _effect(name: str, of: Comparison, scale: Callable[[float], float] = float) -> Effect:
    low, high = confidence_interval(of)
    return Effect(name, scale(of.estimate.item()), scale(low), scale(high))


def _figure(effect: Effect, digits: str = ".3f") -> str:
    return f"{effect.estimate:{digits}} [{effect.low:{digits}}, {effect.high:{digits}}]"


def _describe_ratios(claim: Claim, seen: _Seen) -> dict[str, Any]:
    """Of an equality or an explicit bound."""
    worst = seen.against.cells[0]
    stated = "stated" if isinstance(claim.relation, Equals) else "bound"
    effect = _effect(f"measured/{stated}, worst cell", Level(seen.samples[worst]))
    where = seen.cells[worst]
    if isinstance(claim.relation, Equals):
        detail = f"measured/stated is {_figure(effect)} at {where}, the farthest of {len(seen.cells)} cells"
        return {"effect": effect, "worst": worst, "detail": detail}
    ratios = [float(sample.location.item()) for sample in seen.samples]
    lower = isinstance(claim.relation, AtLeast)
    room = ratios if lower else [1 / ratio for ratio in ratios if ratio > 0]
    far = sum(one > VACUOUS for one in room)
    loose = f"; in {far} of {len(seen.cells)} cells the bound is off by a factor above {VACUOUS:g}" if far else ""
    return {
        "effect": effect,
        "worst": worst,
        "detail": f"measured/bound is at {'least' if lower else 'most'} {_figure(effect)}, at {where}{loose}",
        "tightness": (min(room), max(room)) if room else None,
    }


def _along(seen: _Seen, part: Part, axis: str) -> tuple[Any, Any]:
    first, last = (seen.cells[position].coordinates[axis] for position in part.cells)
    return first, last


def _axis_of(seen: _Seen, part: Part) -> str:
    """The axis along which the two cells of a part differ."""
    first, last = (seen.cells[position].coordinates for position in part.cells)
    return next(axis for axis in first if first[axis] != last[axis])


def _changes(axis: str, seen: _Seen, part: Part) -> str:
    first, last = _along(seen, part, axis)
    return f"from {axis} {first} to {last} it changes by a factor {_figure(_effect('', part.comparison), '.3g')}"


def _describe_trend(claim: Claim, seen: _Seen) -> dict[str, Any]:
    assert isinstance(claim.relation, Trend)
    relation = claim.relation
    axis = relation.axis
    wholes = [part for part in seen.statement.parts if part.whole]
    total = min(wholes, key=lambda part: relation.sign * math.log(max(part.comparison.estimate.item(), 1e-300)))
    first, last = _along(seen, total, axis)
    effect = _effect(f"{axis} {first} → {last}:", total.comparison)
    flat = 1 / (1 + relation.margin) <= effect.low and effect.high <= 1 + relation.margin
    weakest = "" if len(wholes) == 1 else f" (weakest of {len(wholes)} facets)"
    detail = f"{_changes(axis, seen, total)}{weakest}{f', flat to within {relation.margin:.0%}' if flat else ''}"
    against = seen.against
    if against is not total and not against.whole:
        p_total = next(p for part, p in zip(seen.statement.parts, seen.fails, strict=True) if part is total)
        if seen.fails.min() < p_total:
            detail += f"; most against it: {_changes(axis, seen, against)}"
    return {"effect": effect, "worst": against.cells[-1], "detail": detail}


def _describe_order(claim: Claim, seen: _Seen) -> dict[str, Any]:
    assert isinstance(claim.relation, Order)
    against = seen.unsettled if seen.fails.min() > LEVEL else seen.against
    axis = _axis_of(seen, against)
    first, last = _along(seen, against, axis)
    doublings = math.log2(last / first)
    effect = _effect(
        f"measured/bound per doubling of {axis}", against.comparison, lambda factor: factor ** (1 / doublings)
    )
    lower = isinstance(claim.relation, OrderAtLeast)
    constant = Effect("constant", *implied_constant(seen.samples, lower))
    locations = [sample.location.item() for sample in seen.samples]
    reached = int(np.argmin(locations) if lower else np.argmax(locations))
    return {
        "effect": effect,
        "worst": against.cells[-1],
        "detail": (
            f"from {axis} {first} to {last} measured/bound changes by a factor {_figure(effect)} per doubling, the "
            f"{'least' if lower else 'most'} of {len(seen.statement.parts)} facets; for this range the constant is "
            f"{_figure(constant, '.3g')}, "
            f"reached at {seen.cells[reached]}"
        ),
        "constant": constant,
    }


def _describe_power(claim: Claim, seen: _Seen) -> dict[str, Any]:
    assert isinstance(claim.relation, ScalesAs)
    relation = claim.relation
    axis = relation.axis
    against = seen.against if seen.fails.min() <= LEVEL else seen.unsettled
    first, last = _along(seen, against, axis)
    step = math.log(last / first)
    local = _effect("", against.comparison, lambda factor: math.log(factor) / step if factor > 0 else -math.inf)
    facets = facets_along(axis, seen.cells)
    facet = next(facet for facet in facets if against.cells[0] in facet)
    values = [float(seen.cells[position].coordinates[axis]) for position in facet]
    fitted = exponents.overall([seen.samples[position] for position in facet], values, axis in PAIRED_AXES)
    exponent = Effect(f"exponent of {axis}", fitted.value, *fitted.interval())
    of = "" if len(facets) == 1 else f" in the facet that speaks least for it (of {len(facets)})"
    return {
        "effect": exponent,
        "worst": against.cells[-1],
        "detail": (
            f"the exponent of {axis} is {_figure(exponent)}{of}; farthest from {relation.power:g} ± {relation.margin:g}"
            f" between {first} and {last}, {_figure(local)}"
        ),
        "exponent": exponent,
    }


def _describe_turn(claim: Claim, seen: _Seen) -> dict[str, Any]:
    assert isinstance(claim.relation, Turns)
    assert isinstance(seen.statement, Every)
    relation = claim.relation
    axis = relation.axis
    facets = facets_along(axis, seen.cells)
    split = zip(seen.statement.statements, seen.statement.split(seen.holds), strict=True)
    # The facet that is farthest from being shown, and in it the turning cell for which most is shown.
    weakest = max(zip(split, facets, strict=True), key=lambda one: one[0][0].p_support(one[0][1]))
    (turn, holds), facet = weakest
    assert isinstance(turn, OneOf)
    best, shown = min(zip(turn.statements, turn.split(holds), strict=True), key=lambda one: one[1].max())
    unsettled = best.parts[int(np.argmax(shown))]
    legs = [part for part in best.parts if part.whole]
    predicted = [seen.cells[position].reference for position in facet]
    place = turning.turning_point(
        [seen.samples[position] for position in facet],
        [float(seen.cells[position].coordinates[axis]) for position in facet],
        axis,
        relation.sign,
        axis in PAIRED_AXES,
        predicted[0],
    )
    of = "" if len(facets) == 1 else f" (weakest of {len(facets)} facets)"
    smaller = min(legs, key=lambda part: abs(math.log(max(part.comparison.estimate.item(), 1e-300))))
    first, last = _along(seen, smaller, axis)
    return {
        "effect": _effect(f"{axis} {first} → {last}:", smaller.comparison),
        "worst": seen.against.cells[-1],
        "detail": f"{'; '.join(_changes(axis, seen, leg) for leg in legs)}{of}; {place}",
        "turning_point": place,
        "unsettled": unsettled,
    }
