"""The tests of one claim, before they are adjusted for the others judged with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import AtLeast, AtMost
from ntkrobust.bounds.statistics.parts import Every, Part, Statement
from ntkrobust.bounds.statistics.power import networks_needed
from ntkrobust.bounds.statistics.samples import Sample
from ntkrobust.bounds.verdicts.stating import flatness, sample_of, statement
from ntkrobust.bounds.verdicts.types import POWER, CellSample

Remember = Callable[[str, np.ndarray], np.ndarray]
"""Turns the p-values of a claim's parts (parts, batch) at this look into ones that hold under early stopping."""

LARGEST = 10_000
"""More seeds than this settle nothing for anybody: the truth then lies on the border of the statement."""


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim with its tests.

    Attributes:
        claim: the claim.
        cells: its usable cells.
        samples: theirs, over what is stated for them.
        side: of its measure.
        stated: the claim as parts.
        flat: that its measure is flat, as parts; None for what says nothing along an axis.
        holds, fails, flats: (parts,) p-values of "it fails", "it holds", "it is not flat".
        p_support: p-value of "the statement is false".
        p_refute: p-value of "the statement is true".
        p_flat: p-value of "the measure is not flat"; 1 where that is not asked.
        seeds_needed: seeds that would likely settle it, if the estimates are right; None where no number would.
        at_look: from a level to what a p-value has to be below at this look, for an error of that level over all looks.
    """

    claim: Claim
    cells: Sequence[CellSample]
    samples: Sequence[Sample]
    side: str
    stated: Statement
    flat: Every | None
    holds: np.ndarray
    fails: np.ndarray
    flats: np.ndarray
    p_support: float
    p_refute: float
    p_flat: float
    seeds_needed: int | None
    at_look: Callable[[float], float]

    def same(self, part: Part) -> list[int]:
        """Positions of the parts about the same comparison: both sides of an equivalence."""
        return [index for index, one in enumerate(self.stated.parts) if one.comparison is part.comparison]


def judge(
    claim: Claim,
    cells: tuple[CellSample, ...],
    level: float,
    remember: Remember | None = None,
    side: str = "exact",
    at_look: Callable[[float], float] = float,
) -> Judgement:
    """Test one claim.

    Args:
        claim: the claim.
        cells: its usable cells.
        level: the level at which seeds needed are counted.
        remember: what makes p-values hold under early stopping; None where the number of networks was fixed.
        side: of its measure. A bound on the measured quantity can decide only what it bounds on the right side.
        at_look: see :class:`Judgement`.
    """
    stated, flat = statement(claim, cells), flatness(claim, cells)
    raw = {
        "holds": np.array([part.p_holds() for part in stated.parts]),
        "fails": np.array([part.p_fails() for part in stated.parts]),
        "flats": np.array([part.p_holds() for part in flat.parts]) if flat else np.ones((1, 1)),
    }
    p = raw if remember is None else {kind: remember(kind, values) for kind, values in raw.items()}
    support, refute = may_decide(claim, side)
    return Judgement(
        claim=claim,
        cells=cells,
        samples=[sample_of(claim, cell) for cell in cells],
        side=side,
        stated=stated,
        flat=flat,
        holds=p["holds"][:, 0],
        fails=p["fails"][:, 0],
        flats=p["flats"][:, 0],
        p_support=stated.p_support(p["holds"]).item() if support else 1.0,
        p_refute=stated.p_refute(p["fails"]).item() if refute else 1.0,
        p_flat=flat.p_support(p["flats"]).item() if flat and side == "exact" else 1.0,
        seeds_needed=_seeds_needed(
            claim, stated, flat, {kind: values[:, 0] for kind, values in raw.items()}, side, level
        ),
        at_look=at_look,
    )


def may_decide(claim: Claim, side: str) -> tuple[bool, bool]:
    """Whether a measure with this side can support, and refute.

    E ≤ bound is refuted by lower values and supported by upper ones, E ≥ bound the other way round; anything else needs
    the exact value.
    """
    if side == "exact":
        return True, True
    sides: dict[type, tuple[str, str]] = {AtMost: ("upper", "lower"), AtLeast: ("lower", "upper")}
    supporting, refuting = sides.get(type(claim.relation), (None, None))
    return side == supporting, side == refuting


def _seeds_needed(
    claim: Claim, stated: Statement, flat: Every | None, p: dict[str, np.ndarray], side: str, level: float
) -> int | None:
    """Seeds after which the nearest of the labels would likely be given: the part that needs most for what needs all
    parts, the one that needs least for what needs one.
    """

    def needs(parts: Sequence[Part], values: np.ndarray, at: float) -> np.ndarray:
        pairs = zip(parts, values, strict=True)
        return np.array([networks_needed(float(value), part.comparison.n, at, POWER) for part, value in pairs])

    to_hold = needs(stated.parts, p["holds"], level)
    to_fail = needs(stated.parts, p["fails"], stated.p_parts(level))
    support, refute = stated.networks(to_hold, to_fail)
    may_support, may_refute = may_decide(claim, side)
    least = min(support if may_support else math.inf, refute if may_refute else math.inf)
    if flat and side == "exact":
        least = min(least, float(np.max(needs(flat.parts, p["flats"], level))))
    if not math.isfinite(least):
        return None
    drawn = min(part.comparison.n for part in stated.parts) // claim.draws
    seeds = max(math.ceil(least / claim.draws), drawn + 1)
    return seeds if seeds <= LARGEST else None
