"""From samples to a verdict: what each relation asks of the numbers, and how a label is given.

For every relation two null hypotheses are tested: "the statement is true" (rejecting it refutes) and "the statement is
false" (rejecting it supports). Both p-values are adjusted by Holm over all statements judged together.
"""

from __future__ import annotations

import dataclasses
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
        command: a command that reproduces the verdict.
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


def decide(claims: Sequence[tuple[Claim, tuple[CellSample, ...], str]], points: int, command: str) -> list[Verdict]:
    """Verdicts on claims that were examined together.

    Args:
        claims: each claim with what its cells gave and the side of its measure.
        points: test points behind every value.
        command: reproduces the run; ``{claim}`` in it stands for the claim's id.

    Returns:
        Verdicts in the same order. Support and refutation are each adjusted by Holm over the claims that could be
        judged, so the probability of any false refutation among them is at most 5 %, and so is that of any false
        support.
    """
    judged: dict[int, Judgement] = {}
    excuses: dict[int, tuple[Label, str]] = {}
    usable: dict[int, tuple[CellSample, ...]] = {}
    for index, (claim, cells, side) in enumerate(claims):
        usable[index] = tuple(cell for cell in cells if cell.in_scope and not cell.problem)
        excuse = _why_not(claim, cells, usable[index])
        if excuse is None:
            judged[index] = _restrict_to_side(judge(claim, usable[index]), claim, side)
        else:
            excuses[index] = excuse
    support = dict(zip(judged, statistics.holm(np.array([one.p_support for one in judged.values()])), strict=True))
    refute = dict(zip(judged, statistics.holm(np.array([one.p_refute for one in judged.values()])), strict=True))

    verdicts = []
    for index, (claim, cells, _) in enumerate(claims):
        common: dict[str, Any] = {
            "claim": claim,
            "cells": cells,
            "seeds": min((len(cell.values) for cell in usable[index] or cells), default=0),
            "points": points,
            "command": command.format(claim=claim.id),
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
        # A trend is judged in each facet (the other axes fixed); every facet needs three values along the axis.
        enough = all(len(facet) >= 3 for facet in _facets(claim, usable)) and bool(usable)
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


def judge(claim: Claim, cells: tuple[CellSample, ...]) -> Judgement:
    """Test one claim on usable cells."""
    match claim.relation:
        case Equals():
            return _judge_equals(claim, cells)
        case AtMost():
            return _judge_at_most(claim, cells)
        case Trend():
            return _judge_trend(claim, cells)


def _ratios(claim: Claim, cells: tuple[CellSample, ...]) -> list[Estimate]:
    """Measured over stated, per cell; its logarithm for the geometric mean, less log(stated)."""
    ratios = []
    for cell in cells:
        assert cell.reference is not None
        if claim.reading.functional == "geometric mean":
            logs = statistics.log_mean(cell.values, "geometric mean")
            factor = float(np.exp(logs.value - np.log(cell.reference)))
            ratios.append(Estimate(factor, factor * logs.se, logs.df))
        else:
            plain = statistics.mean(cell.values)
            ratios.append(Estimate(plain.value / cell.reference, plain.se / cell.reference, plain.df))
    return ratios


def _judge_equals(claim: Claim, cells: tuple[CellSample, ...]) -> Judgement:
    """Equivalence: supported if every cell's ratio lies inside 1 ± margin (two one-sided tests in every cell, an
    intersection-union test), refuted if some cell's lies outside (Bonferroni over cells and the two sides).
    """
    assert isinstance(claim.relation, Equals)
    margin = claim.relation.margin
    ratios = _ratios(claim, cells)
    inside = [max(ratio.p_above(1 - margin), ratio.p_below(1 + margin)) for ratio in ratios]
    outside = np.array([[ratio.p_below(1 - margin), ratio.p_above(1 + margin)] for ratio in ratios])
    worst = int(np.argmax([abs(ratio.value - 1) for ratio in ratios]))
    ratio = ratios[worst]
    edge = 1 + np.sign(ratio.value - 1) * margin
    undecided = int(np.argmax(inside))
    return Judgement(
        p_support=max(inside),
        p_refute=statistics.bonferroni(outside.ravel()),
        effect=_factor("measured/stated, worst cell", ratio),
        worst=worst,
        seeds_needed=statistics.seeds_needed(ratios[undecided], float(edge), len(cells[undecided].values), LEVEL),
        detail=f"measured/stated is {ratio.value:.3f} ± {ratio.se:.3f} at {cells[worst]}, the farthest of "
        f"{len(cells)} cells",
    )


def _judge_at_most(claim: Claim, cells: tuple[CellSample, ...]) -> Judgement:
    """Refuted if some cell's mean exceeds its bound (Bonferroni over cells), supported if every cell's is below
    (intersection-union).
    """
    ratios = _ratios(claim, cells)
    below = [ratio.p_below(1) for ratio in ratios]
    above = np.array([ratio.p_above(1) for ratio in ratios])
    worst = int(np.argmax([ratio.value for ratio in ratios]))
    undecided = int(np.argmax(below))
    bound_over_measured = [1 / ratio.value for ratio in ratios if ratio.value > 0]
    tightness = (min(bound_over_measured), max(bound_over_measured)) if bound_over_measured else None
    return Judgement(
        p_support=max(below),
        p_refute=statistics.bonferroni(above),
        effect=_factor("measured/bound, worst cell", ratios[worst]),
        worst=worst,
        seeds_needed=statistics.seeds_needed(ratios[undecided], 1.0, len(cells[undecided].values), LEVEL),
        detail=f"measured/bound is at most {ratios[worst].value:.3f} ± {ratios[worst].se:.3f}, at {cells[worst]}",
        tightness=tightness,
    )


def _facets(claim: Claim, cells: Sequence[CellSample]) -> list[list[CellSample]]:
    """Cells grouped so that within a group only the trend's axis changes, in the order of that axis."""
    assert isinstance(claim.relation, Trend)
    axis = claim.relation.axis
    groups: dict[tuple, list[CellSample]] = {}
    for cell in cells:
        groups.setdefault(tuple(value for name, value in cell.coordinates.items() if name != axis), []).append(cell)
    return [sorted(group, key=lambda cell: cell.coordinates[axis]) for group in groups.values()]


def _judge_trend(claim: Claim, cells: tuple[CellSample, ...]) -> Judgement:
    """The statement: over the range the measure changes in the stated direction, and between no two cells does it
    change against it by more than the margin.

    Supported if every part of that is shown, in every facet (intersection-union); refuted if some part is shown to
    fail (Bonferroni over parts and facets). Changes are differences of log means, tested by Welch's t.
    """
    assert isinstance(claim.relation, Trend)
    relation = claim.relation
    tolerated = -float(np.log1p(relation.margin))
    holds: list[float] = []
    fails: list[float] = []
    totals: list[tuple[Estimate, CellSample, CellSample]] = []
    worst_change, worst_cell = np.inf, cells[0]
    unsettled: tuple[float, Estimate, float, int] = (-1.0, Estimate(0, 0, 1), 0.0, 0)
    for facet in _facets(claim, cells):
        means = [statistics.log_mean(cell.values, claim.reading.functional) for cell in facet]
        parts: list[tuple[Estimate, float, CellSample]] = []
        for (i, earlier), (j, later) in itertools.combinations(enumerate(means), 2):
            change = statistics.difference(later, earlier)
            change = dataclasses.replace(change, value=relation.sign * change.value)
            whole = i == 0 and j == len(means) - 1
            parts.append((change, 0.0 if whole else tolerated, facet[j]))
            if whole:
                totals.append((change, facet[i], facet[j]))
        for change, threshold, cell in parts:
            p_holds, p_fails = change.p_above(threshold), change.p_below(threshold)
            holds.append(p_holds)
            fails.append(p_fails)
            if change.value < worst_change:
                worst_change, worst_cell = change.value, cell
            if p_holds > unsettled[0]:
                unsettled = (p_holds, change, threshold, len(cell.values))
    total, *ends = min(totals, key=lambda entry: entry[0].value)
    first, last = (end.coordinates[relation.axis] for end in ends)
    _, change, threshold, n = unsettled
    signed = dataclasses.replace(total, value=relation.sign * total.value)
    low, high = signed.interval()
    effect = Effect(f"{relation.axis} {first} → {last}:", *(float(np.exp(v)) for v in (signed.value, low, high)))
    flat = all(abs(end) <= np.log1p(relation.margin) for end in total.interval())
    weakest = "" if len(totals) == 1 else f" (weakest of {len(totals)} facets)"
    return Judgement(
        p_support=max(holds),
        p_refute=statistics.bonferroni(np.array(fails)),
        effect=effect,
        worst=cells.index(worst_cell),
        seeds_needed=statistics.seeds_needed(change, threshold, n, LEVEL),
        detail=f"from {relation.axis} {first} to {last} it changes by a factor {effect.estimate:.3g} "
        f"[{effect.low:.3g}, {effect.high:.3g}]{weakest}{f', flat to within {relation.margin:.0%}' if flat else ''}",
    )


def _factor(name: str, ratio: Estimate) -> Effect:
    low, high = ratio.interval()
    return Effect(name, ratio.value, low, high)
