"""From samples to a verdict: what each relation asks of the numbers, and how a label is given.

For every relation two null hypotheses are tested: "the statement is true" (rejecting it refutes) and "the statement is
false" (rejecting it supports). Both p-values are adjusted by Holm over all statements judged together.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ntkrobust.bounds import statistics
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import AtMost, Equals, Trend
from ntkrobust.bounds.statistics import Estimate

Label = Literal["supported", "refuted", "inconclusive", "out of scope"]
LABELS: tuple[Label, ...] = ("supported", "refuted", "inconclusive", "out of scope")

LEVEL = 0.05
"""Level of the tests, over all statements judged together."""


@dataclasses.dataclass(frozen=True)
class CellSample:
    """What one cell of a claim's grid gave.

    Attributes:
        coordinates: the values of the grid's axes, for display.
        values: (n,) the measure, one value per network (averaged over points).
        reference: the value or bound stated for this cell, or None.
        theory: the theory line at this cell, or None.
        problem: why the cell can't be used (networks diverged, the loss was not reached), or "".
        in_scope: whether all assumptions hold here.
        checked: averages of the measures that the assumptions looked at.
    """

    coordinates: Mapping[str, Any]
    values: np.ndarray
    reference: float | None = None
    theory: float | None = None
    problem: str = ""
    in_scope: bool = True
    checked: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(f"{axis}={value}" for axis, value in self.coordinates.items())


@dataclasses.dataclass(frozen=True)
class Effect:
    """The size of what was seen: a name, an estimate and its 95 % interval, as factors (1 is no effect)."""

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
        tightness: for a bound, the largest bound/measured and the smallest, over cells.
    """

    p_support: float
    p_refute: float
    effect: Effect
    worst: int
    seeds_needed: int | None
    detail: str
    tightness: tuple[float, float] | None = None


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
        tightness: for a bound, bound/measured: smallest and largest over cells.
        seeds_needed: for ``inconclusive``, seeds that would likely settle it.
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

    @property
    def range(self) -> dict[str, list]:
        """The values of each axis on which the verdict was reached (cells in scope)."""
        used = [cell for cell in self.cells if cell.in_scope and not cell.problem]
        return {axis: list(dict.fromkeys(cell.coordinates[axis] for cell in used)) for axis in self.claim.grid}

    def __repr__(self) -> str:
        return f"<{self.claim.id}: {self.label}. {self.reason}>"

    def _repr_html_(self) -> str:
        # What shows verdicts lies above what reaches them; a notebook asks for it, nothing else does.
        return str(importlib.import_module("ntkrobust.workflow").verdict_html(self))


def decide(claims: Sequence[tuple[Claim, tuple[CellSample, ...], str]], points: int) -> list[Verdict]:
    """Verdicts on claims that were examined together.

    Args:
        claims: each claim with what its cells gave and the side of its measure.
        points: test points behind every value.

    Returns:
        Verdicts in the same order. Support and refutation are each adjusted by Holm over all of them, so the
        probability of any false refutation among them is held to 5 %, and so is that of any false support.
    """
    judged: dict[int, Judgement] = {}
    excuses: dict[int, tuple[Label, str]] = {}
    usable: dict[int, tuple[CellSample, ...]] = {}
    for index, (claim, cells, side) in enumerate(claims):
        usable[index] = tuple(cell for cell in cells if cell.in_scope and not cell.problem)
        excuse = _why_not(claim, cells, usable[index])
        if excuse is None:
            judged[index] = _restrict_to_side(judge(claim, usable[index], len(cells), LEVEL / len(claims)), claim, side)
        else:
            excuses[index] = excuse
    # Claims that could not be judged count too: which ones they are was decided on the same networks.
    support, refute = (
        statistics.holm(
            np.array([getattr(judged[index], p) if index in judged else 1.0 for index in range(len(claims))])
        )
        for p in ("p_support", "p_refute")
    )

    verdicts = []
    for index, (claim, cells, _) in enumerate(claims):
        common: dict[str, Any] = {
            "claim": claim,
            "cells": cells,
            "seeds": min((len(cell.values) for cell in usable[index] or cells), default=0),
            "points": points,
        }
        if index in excuses:
            label, reason = excuses[index]
            verdicts.append(Verdict(label=label, reason=reason, effect=None, p_value=None, **common))
            continue
        one = judged[index]
        worst = usable[index][one.worst]
        if refute[index] <= LEVEL:
            label, p_value = "refuted", refute[index]
        elif support[index] <= LEVEL:
            label, p_value = "supported", support[index]
        else:
            label, p_value = "inconclusive", min(refute[index], support[index])
        reason = one.detail
        left_out = len(cells) - len(usable[index])
        if left_out:
            reason += f"; {left_out} of {len(cells)} cells out of scope or unusable"
        if label == "inconclusive" and one.seeds_needed is not None and one.seeds_needed > common["seeds"]:
            reason += f"; about {one.seeds_needed} networks per cell would settle it"
        verdicts.append(
            Verdict(
                label=label,
                reason=reason,
                effect=one.effect,
                p_value=float(p_value),
                counterexample=worst if label == "refuted" else None,
                tightness=one.tightness,
                seeds_needed=one.seeds_needed if label == "inconclusive" else None,
                **common,
            )
        )
    return verdicts


def _why_not(claim: Claim, cells: tuple[CellSample, ...], usable: tuple[CellSample, ...]) -> tuple[Label, str] | None:
    """Why a claim can't be judged on these cells, or None."""
    enough = len(usable) >= 1
    if isinstance(claim.relation, Trend):
        # A trend is judged in each facet (the other axes fixed); each of them needs three values along the axis.
        facets = _facets(claim, usable)
        enough = len(facets) == len(_facets(claim, cells)) and all(len(facet) >= 3 for facet in facets)
    if not enough:
        outside = [cell for cell in cells if not cell.in_scope]
        if outside:
            first = outside[0]
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
    # E ≤ bound is refuted by lower values and supported by upper ones; anything else needs the exact value.
    may_refute = isinstance(claim.relation, AtMost) and side == "lower"
    may_support = isinstance(claim.relation, AtMost) and side == "upper"
    return dataclasses.replace(
        judgement,
        p_refute=judgement.p_refute if may_refute else 1.0,
        p_support=judgement.p_support if may_support else 1.0,
        detail=f"{judgement.detail}; the measure is a {side} bound",
    )


def judge(claim: Claim, cells: tuple[CellSample, ...], n_cells: int, level: float) -> Judgement:
    """Test one claim.

    Args:
        claim: the claim.
        cells: its usable cells.
        n_cells: all its cells; Bonferroni counts them all, since which are usable is decided on the same networks.
        level: the level at which seeds needed are counted.
    """
    match claim.relation:
        case Equals():
            return _judge_equals(claim, cells, n_cells, level)
        case AtMost():
            return _judge_at_most(claim, cells, n_cells, level)
        case Trend():
            return _judge_trend(claim, cells, n_cells, level)


@dataclasses.dataclass(frozen=True)
class _Ratio:
    """Measured over stated in one cell, on the scale on which it is tested: as it is for the mean, as a logarithm for
    the geometric mean.
    """

    estimate: Estimate
    logarithmic: bool

    def threshold(self, factor: float) -> float:
        return float(np.log(factor)) if self.logarithmic else factor

    def p_above(self, factor: float) -> float:
        return self.estimate.p_above(self.threshold(factor))

    def p_below(self, factor: float) -> float:
        return self.estimate.p_below(self.threshold(factor))

    def effect(self, name: str) -> Effect:
        ends = (self.estimate.value, *self.estimate.interval())
        return Effect(name, *(float(np.exp(end)) if self.logarithmic else end for end in ends))


def _ratio(claim: Claim, cell: CellSample) -> _Ratio:
    assert cell.reference is not None
    if claim.reading.functional == "geometric mean":
        return _Ratio(statistics.mean(np.log(cell.values / cell.reference)), logarithmic=True)
    return _Ratio(statistics.mean(cell.values / cell.reference), logarithmic=False)


def _judge_equals(claim: Claim, cells: tuple[CellSample, ...], n_cells: int, level: float) -> Judgement:
    """Equivalence: supported if every cell's ratio lies inside 1 ± margin (two one-sided tests in every cell, an
    intersection-union test), refuted if some cell's lies outside (Bonferroni over cells and the two sides).
    """
    assert isinstance(claim.relation, Equals)
    low, high = 1 - claim.relation.margin, 1 + claim.relation.margin
    ratios = [_ratio(claim, cell) for cell in cells]
    inside = np.array([[ratio.p_above(low), ratio.p_below(high)] for ratio in ratios])
    outside = np.array([[ratio.p_below(low), ratio.p_above(high)] for ratio in ratios])
    worst = int(np.argmin(outside.min(axis=1)))
    undecided, side = np.unravel_index(np.argmax(inside), inside.shape)
    return Judgement(
        p_support=float(inside.max()),
        p_refute=statistics.bonferroni(outside.ravel(), 2 * n_cells),
        effect=ratios[worst].effect("measured/stated, worst cell"),
        worst=worst,
        seeds_needed=_seeds_needed(ratios[undecided], (low, high)[side], cells[undecided], level),
        detail=f"measured/stated is {_figure(ratios[worst])} at {cells[worst]}, the farthest of {len(cells)} cells",
    )


def _judge_at_most(claim: Claim, cells: tuple[CellSample, ...], n_cells: int, level: float) -> Judgement:
    """Refuted if some cell's mean exceeds its bound (Bonferroni over cells), supported if every cell's is below
    (intersection-union).
    """
    ratios = [_ratio(claim, cell) for cell in cells]
    below = [ratio.p_below(1) for ratio in ratios]
    above = np.array([ratio.p_above(1) for ratio in ratios])
    worst = int(np.argmin(above))
    undecided = int(np.argmax(below))
    factors = [ratio.effect("").estimate for ratio in ratios]
    bound_over_measured = [1 / factor for factor in factors if factor > 0]
    tightness = (min(bound_over_measured), max(bound_over_measured)) if bound_over_measured else None
    return Judgement(
        p_support=max(below),
        p_refute=statistics.bonferroni(above, n_cells),
        effect=ratios[worst].effect("measured/bound, worst cell"),
        worst=worst,
        seeds_needed=_seeds_needed(ratios[undecided], 1.0, cells[undecided], level),
        detail=f"measured/bound is at most {_figure(ratios[worst])}, at {cells[worst]}",
        tightness=tightness,
    )


def _figure(ratio: _Ratio) -> str:
    effect = ratio.effect("")
    return f"{effect.estimate:.3f} [{effect.low:.3f}, {effect.high:.3f}]"


def _seeds_needed(ratio: _Ratio, factor: float, cell: CellSample, level: float) -> int | None:
    return statistics.seeds_needed(ratio.estimate, ratio.threshold(factor), len(cell.values), level)


def _facets(claim: Claim, cells: Sequence[CellSample]) -> list[list[CellSample]]:
    """Cells grouped so that within a group only the trend's axis changes, in the order of that axis."""
    assert isinstance(claim.relation, Trend)
    axis = claim.relation.axis
    groups: dict[tuple, list[CellSample]] = {}
    for cell in cells:
        groups.setdefault(tuple(value for name, value in cell.coordinates.items() if name != axis), []).append(cell)
    return [sorted(group, key=lambda cell: cell.coordinates[axis]) for group in groups.values()]


def _judge_trend(claim: Claim, cells: tuple[CellSample, ...], n_cells: int, level: float) -> Judgement:
    """The statement: over the range the measure changes in the stated direction, and between no two cells does it
    change against it by more than the margin.

    Supported if every part of that is shown, in every facet (intersection-union); refuted if some part is shown to
    fail (Bonferroni over parts and facets). Changes are differences of log means, tested by Welch's t, or paired by
    seed along ``n``, where the same networks are trained on more data.
    """
    assert isinstance(claim.relation, Trend)
    relation = claim.relation
    tolerated = -float(np.log1p(relation.margin))
    parts: list[_Part] = []
    facets = _facets(claim, cells)
    for facet in facets:
        for earlier, later in itertools.combinations(facet, 2):
            whole = earlier is facet[0] and later is facet[-1]
            change = _change(claim, later, earlier)
            stated = dataclasses.replace(change, value=relation.sign * change.value)
            parts.append(_Part(earlier, later, stated, 0.0 if whole else tolerated, whole))
    total = min((part for part in parts if part.whole), key=lambda part: part.change.value)
    against = min(parts, key=lambda part: part.p_fails)
    unsettled = max(parts, key=lambda part: part.p_holds)
    axis_length = len(claim.grid[relation.axis])
    n_parts = n_cells // axis_length * axis_length * (axis_length - 1) // 2
    flat = all(abs(end) <= np.log1p(relation.margin) for end in total.change.interval())
    weakest = "" if len(facets) == 1 else f" (weakest of {len(facets)} facets)"
    detail = f"{total.words(relation)}{weakest}{f', flat to within {relation.margin:.0%}' if flat else ''}"
    if against is not total and against.p_fails < total.p_fails:
        detail += f"; most against it: {against.words(relation)}"
    return Judgement(
        p_support=max(part.p_holds for part in parts),
        p_refute=statistics.bonferroni(np.array([part.p_fails for part in parts]), n_parts),
        effect=total.effect(relation),
        worst=cells.index(against.later),
        seeds_needed=statistics.seeds_needed(unsettled.change, unsettled.threshold, len(unsettled.later.values), level),
        detail=detail,
    )


@dataclasses.dataclass(frozen=True)
class _Part:
    """One part of a trend: the change between two cells, counted positive in the stated direction."""

    earlier: CellSample
    later: CellSample
    change: Estimate
    threshold: float
    whole: bool

    @property
    def p_holds(self) -> float:
        return self.change.p_above(self.threshold)

    @property
    def p_fails(self) -> float:
        return self.change.p_below(self.threshold)

    def effect(self, relation: Trend) -> Effect:
        signed = dataclasses.replace(self.change, value=relation.sign * self.change.value)
        first, last = (cell.coordinates[relation.axis] for cell in (self.earlier, self.later))
        ends = (signed.value, *signed.interval())
        return Effect(f"{relation.axis} {first} → {last}:", *(float(np.exp(end)) for end in ends))

    def words(self, relation: Trend) -> str:
        effect = self.effect(relation)
        first, last = (cell.coordinates[relation.axis] for cell in (self.earlier, self.later))
        return (
            f"from {relation.axis} {first} to {last} it changes by a factor {effect.estimate:.3g} "
            f"[{effect.low:.3g}, {effect.high:.3g}]"
        )


def _change(claim: Claim, later: CellSample, earlier: CellSample) -> Estimate:
    """Change of the log mean from one cell to another."""
    assert isinstance(claim.relation, Trend)
    functional = claim.reading.functional
    if claim.relation.axis == "n":
        return statistics.paired_difference(later.values, earlier.values, functional)
    return statistics.difference(
        statistics.log_mean(later.values, functional), statistics.log_mean(earlier.values, functional)
    )
