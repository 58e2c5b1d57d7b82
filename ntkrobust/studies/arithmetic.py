"""Verdicts on statements about formulas: no networks, only whether the formula does what is said of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.coordinates import UNCERTAIN, asked_for
from ntkrobust.bounds.claims.relations import Formula, Trend, Turns
from ntkrobust.bounds.verdicts import LEVEL, CellSample, Effect, Label, Verdict, facets_along
from ntkrobust.errors import InputError

ROUNDING = 1e-12
"""A relative change of a formula below this is rounding, and no change."""


def check_relation(claim: Claim, formula: Formula) -> None:
    """Raise InputError for a relation that is not about how a formula changes along an axis."""
    if not isinstance(claim.relation, Trend | Turns):
        raise InputError(f"claim {claim.id}: a formula can be said to increase, decrease or turn, got {claim.relation}")
    if isinstance(claim.relation, Turns) and UNCERTAIN in asked_for(formula):
        raise InputError(
            f"claim {claim.id}: {UNCERTAIN} has an error, and a formula of it can be said to increase or decrease, "
            f"got {claim.relation}"
        )


def decide_arithmetic(claim: Claim, cells: tuple[CellSample, ...]) -> Verdict:
    """Whether a formula changes along its axis as stated, in each facet of the grid.

    ``supported`` where it does: no step goes the other way by more than the margin, and the whole of each side of the
    turning point (of the range, for a trend) goes the stated way. ``refuted`` otherwise.

    A formula that has several values in a cell, from independent sets of neurons, has their mean, and an error. What is
    stated of a ratio of cells then has to be shown: by Student's t on the differences of logarithms, set by set, at
    5 % each for ``supported``, and at 5 % for all ratios and facets together for ``refuted``; it is ``inconclusive``
    where neither is.

    Args:
        claim: a claim about a :class:`~ntkrobust.bounds.claims.Quantity`, with a trend or a turning trend.
        cells: its cells, each with the values of the formula.
    """
    relation = claim.relation
    assert isinstance(relation, Trend | Turns)
    outside = next((cell for cell in cells if cell.outside), None)
    usable = [] if outside else [cell for cell in cells if cell.in_scope]
    common = {"claim": claim, "p_value": None, "cells": cells, "seeds": 0, "points": 0}
    if not usable:
        assumed = " and ".join(one.text for one in claim.assumptions)
        reason = f"{outside.outside} (at {outside})" if outside else f"none of {len(cells)} cells meets “{assumed}”"
        return Verdict(label="out of scope", reason=reason, effect=None, **common)  # type: ignore[arg-type]
    facets = [[usable[position] for position in facet] for facet in facets_along(relation.axis, usable)]
    parts = sum(len(facet) * (len(facet) - 1) // 2 + 1 for facet in facets)
    found = [_examine(relation, facet, LEVEL / parts) for facet in facets]
    worst = min(found, key=lambda one: _ORDER.index(one.label))
    return Verdict(
        label=worst.label,
        reason=worst.detail,
        effect=worst.effect,
        counterexample=worst.cell if worst.label == "refuted" else None,
        **common,  # type: ignore[arg-type]
    )


_ORDER: tuple[Label, ...] = ("refuted", "inconclusive", "supported")
"""What counts first, of several facets."""


@dataclasses.dataclass(frozen=True)
class _Found:
    """What one facet shows."""

    label: Label
    effect: Effect
    detail: str
    cell: CellSample


@dataclasses.dataclass(frozen=True)
class _Change:
    """log(after/before) of the formula, with its error.

    Attributes:
        value: of the means.
        se: standard error, 0 where the formula is exact.
        df: its degrees of freedom.
    """

    value: float
    se: float
    df: int

    def low(self, level: float) -> float:
        """A lower limit at one-sided ``level``."""
        return self.value - (float(stats.t.isf(level, self.df)) * self.se if self.se else 0.0)

    def reversed(self) -> _Change:
        """log(before/after)."""
        return _Change(-self.value, self.se, self.df)


def _change(before: CellSample, after: CellSample) -> _Change:
    value = math.log(after.values.mean()) - math.log(before.values.mean())
    count = max(len(before.values), len(after.values))
    if count == 1:
        return _Change(value, 0.0, 0)
    differences = np.log(after.values) - np.log(before.values)
    return _Change(value, float(differences.std(ddof=1)) / math.sqrt(count), count - 1)


def _examine(relation: Trend | Turns, facet: list[CellSample], level: float) -> _Found:
    places = [cell.coordinates[relation.axis] for cell in facet]
    if isinstance(relation, Trend):
        sides = [(relation.sign, 0, len(facet) - 1)]
        where = ""
    else:
        turn = int(np.argmax([relation.sign * math.log(cell.values.mean()) for cell in facet]))
        sides = [(relation.sign, 0, turn), (-relation.sign, turn, len(facet) - 1)]
        where = f"it turns at {relation.axis} {places[turn]}; "
    label, at = _judged(facet, sides, math.log1p(relation.margin), level)
    first, last = sides[0][1:]
    effect = _effect(relation.axis, places, facet, first, last)
    detail = f"{where}from {relation.axis} {places[first]} to {places[last]} the formula changes by {_factor(effect)}"
    if label == "supported":
        return _Found(label, effect, detail, facet[-1])
    before, after = at
    if at != (first, last):
        step = _effect(relation.axis, places, facet, before, after)
        most = "most against it" if label == "refuted" else "most in doubt"
        detail += f"; {most}: from {places[before]} to {places[after]} by {_factor(step)}"
    return _Found(label, effect, detail, facet[after])


def _effect(axis: str, places: list, facet: list[CellSample], before: int, after: int) -> Effect:
    change = _change(facet[before], facet[after])
    low, high = change.low(LEVEL / 2), -change.reversed().low(LEVEL / 2)
    return Effect(f"{axis} {places[before]} → {places[after]}:", *map(math.exp, (change.value, low, high)))


def _factor(effect: Effect) -> str:
    known = "" if effect.low == effect.high else f" [{effect.low:.3g}, {effect.high:.3g}]"
    return f"a factor {effect.estimate:.3g}{known}"


def _judged(
    facet: list[CellSample], sides: Sequence[tuple[int, int, int]], tolerated: float, level: float
) -> tuple[Label, tuple[int, int]]:
    """The label of a facet, and the pair of cells that goes most against the stated directions or is most in doubt."""
    refuting: list[tuple[float, tuple[int, int]]] = []
    doubtful: list[tuple[float, tuple[int, int]]] = []
    within = math.nextafter(-tolerated, -math.inf)  # the margin itself is still put up with
    for sign, first, last in sides:
        pairs = itertools.combinations(range(first, last + 1), 2)
        for pair, least in [((first, last), ROUNDING), *((pair, within) for pair in pairs)]:
            change = _change(facet[pair[0]], facet[pair[1]])
            change = change if sign > 0 else change.reversed()
            if change.low(LEVEL) <= least:
                refuted = -change.reversed().low(level) <= least
                (refuting if refuted else doubtful).append((change.value, pair))
    if refuting:
        return "refuted", min(refuting)[1]
    return ("inconclusive", min(doubtful)[1]) if doubtful else ("supported", (0, len(facet) - 1))
