"""Verdicts on statements about formulas: no networks, no chance, only whether the formula does what is said of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import Trend, Turns
from ntkrobust.bounds.verdicts import CellSample, Effect, Label, Verdict, facets_along
from ntkrobust.errors import InputError

ROUNDING = 1e-12
"""A relative change of a formula below this is rounding, and no change."""


def check_relation(claim: Claim) -> None:
    """Raise InputError for a relation that is not about how a formula changes along an axis."""
    if not isinstance(claim.relation, Trend | Turns):
        raise InputError(f"claim {claim.id}: a formula can be said to increase, decrease or turn, got {claim.relation}")


def decide_arithmetic(claim: Claim, cells: tuple[CellSample, ...]) -> Verdict:
    """Whether a formula changes along its axis as stated, in each facet of the grid.

    ``supported`` where it does: no step goes the other way by more than the margin, and the whole of each side of the
    turning point (of the range, for a trend) goes the stated way. ``refuted`` otherwise.

    Args:
        claim: a claim about a :class:`~ntkrobust.bounds.claims.Quantity`, with a trend or a turning trend.
        cells: its cells, each with the one value of the formula.
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
    found = [
        _examine(relation, [usable[position] for position in facet]) for facet in facets_along(relation.axis, usable)
    ]
    worst = next((one for one in found if not one.holds), found[0])
    label: Label = "supported" if worst.holds else "refuted"
    return Verdict(
        label=label,
        reason=worst.detail,
        effect=worst.effect,
        counterexample=None if worst.holds else worst.cell,
        **common,  # type: ignore[arg-type]
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """What one facet shows."""

    holds: bool
    effect: Effect
    detail: str
    cell: CellSample


def _examine(relation: Trend | Turns, facet: list[CellSample]) -> _Found:
    logs = np.array([math.log(cell.values[0]) for cell in facet])
    places = [cell.coordinates[relation.axis] for cell in facet]
    if isinstance(relation, Trend):
        sides = [(relation.sign, 0, len(facet) - 1)]
        where = ""
    else:
        turn = int(np.argmax(relation.sign * logs))
        sides = [(relation.sign, 0, turn), (-relation.sign, turn, len(facet) - 1)]
        where = f"it turns at {relation.axis} {places[turn]}; "
    against = _against(logs, sides, math.log1p(relation.margin))
    first, last = (places[index] for index in sides[0][1:])
    change = math.exp(logs[sides[0][2]] - logs[sides[0][1]])
    effect = Effect(f"{relation.axis} {first} → {last}:", change, change, change)
    detail = f"{where}from {relation.axis} {first} to {last} the formula changes by a factor {change:.3g}"
    if against is None:
        return _Found(True, effect, detail, facet[-1])
    before, after = against
    step = math.exp(logs[after] - logs[before])
    if (before, after) != sides[0][1:]:
        detail += f"; most against it: from {places[before]} to {places[after]} by a factor {step:.3g}"
    return _Found(False, effect, detail, facet[after])


def _against(logs: np.ndarray, sides: Sequence[tuple[int, int, int]], tolerated: float) -> tuple[int, int] | None:
    """The pair of cells that goes most against the stated directions, or None."""
    failing = []
    for sign, first, last in sides:
        if sign * (logs[last] - logs[first]) <= ROUNDING:
            failing.append((sign * (logs[last] - logs[first]), first, last))
        for before, after in itertools.combinations(range(first, last + 1), 2):
            if sign * (logs[after] - logs[before]) < -tolerated:
                failing.append((sign * (logs[after] - logs[before]), before, after))
    return None if not failing else min(failing)[1:]
