"""Which part of a statement is shown beside a label, and the interval that agrees with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from ntkrobust.bounds.statistics.limits import confidence_interval
from ntkrobust.bounds.statistics.parts import Part
from ntkrobust.bounds.verdicts.judging import Judgement, may_decide
from ntkrobust.bounds.verdicts.types import SHOWN, Effect, Label


@dataclasses.dataclass(frozen=True)
class Levels:
    """The levels at which Holm's procedure tests one claim: that it holds, that it fails, that its measure is flat."""

    support: float
    refute: float
    flat: float


def shown_part(judgement: Judgement, label: Label, levels: Levels, preferred: Part) -> Part:
    """The preferred part where it is one that the label rests on, else the one that decides.

    ``refuted`` rests on a part that was rejected, ``inconclusive`` on one that was not shown, ``supported`` on all.
    """
    group = judgement.same(preferred)
    if label == "refuted" and judgement.fails[group].min() > judgement.stated.p_parts(levels.refute):
        return judgement.stated.parts[judgement.stated.against(judgement.fails)]
    if label == "inconclusive" and judgement.holds[group].max() <= levels.support and judgement.side == "exact":
        return judgement.stated.parts[judgement.stated.unsettled(judgement.holds)]
    return preferred


def effect_of(
    name: str,
    part: Part,
    judgement: Judgement,
    label: Label,
    levels: Levels,
    scale: Callable[[float], float] = float,
) -> Effect:
    """What a part compares, with its interval.

    The interval is one of 95 %. It inverts the two one-sided tests of this one part, without regard to others, whereas
    the label accounts for all parts and claims. Where the two would disagree, the interval is the one at the level at
    which the part was tested for the label: for ``supported`` it lies inside what the part states, for ``refuted``
    outside, for ``inconclusive`` neither; for ``flat`` it lies inside the margin of what counts as flat.

    Args:
        name: of the effect.
        part: one of the statement, or for ``flat`` of that the measure is flat.
        judgement: of the claim.
        label: its label.
        levels: at which it was reached.
        scale: from the factor to what is shown.
    """
    of = part.comparison
    same = judgement.flat.parts if label == "flat" and judgement.flat else judgement.stated.parts
    lowest = max((one.factor for one in same if one.comparison is of and one.at_least), default=-math.inf)
    highest = min((one.factor for one in same if one.comparison is of and not one.at_least), default=math.inf)
    low, high = confidence_interval(of)
    level = SHOWN
    if not _agrees(judgement, label, (low, high), (lowest, highest)):
        tail = judgement.at_look(_tail(judgement, label, levels))
        level = 1 - 2 * tail
        low, high = confidence_interval(of, level)
        # Of several looks an earlier one may have shown more than this one by itself; and no bisection is exact.
        if label in ("supported", "flat"):
            low, high = max(low, lowest), min(high, highest)
        elif label == "refuted" and part.at_least:
            high = min(high, part.factor)
        elif label == "refuted":
            low = max(low, part.factor)
        low, high = min(low, of.estimate.item()), max(high, of.estimate.item())
    return Effect(name, scale(of.estimate.item()), scale(low), scale(high), level)


def _agrees(judgement: Judgement, label: Label, interval: tuple[float, float], stated: tuple[float, float]) -> bool:
    """Whether an interval says the same as the label, as far as the side of the measure lets it."""
    inside = stated[0] <= interval[0] and interval[1] <= stated[1]
    outside = interval[1] < stated[0] or interval[0] > stated[1]
    match label:
        case "supported" | "flat":
            return inside
        case "refuted":
            return outside
    support, refute = may_decide(judgement.claim, judgement.side)
    return not (inside and support) and not (outside and refute)


def _tail(judgement: Judgement, label: Label, levels: Levels) -> float:
    """The level of the one-sided tests that the label rests on."""
    refute = judgement.stated.p_parts(levels.refute)
    match label:
        case "supported":
            return levels.support
        case "refuted":
            return refute
        case "flat":
            return levels.flat
    return min(levels.support, refute)


def facet_of(part: Part, facets: Sequence[Sequence[int]]) -> Sequence[int]:
    """The facet that the cells of a part lie in."""
    return next(facet for facet in facets if part.cells[0] in facet)
