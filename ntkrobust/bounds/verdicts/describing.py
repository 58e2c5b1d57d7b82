"""What was seen of a claim, in numbers and in one clause."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ntkrobust.bounds.claims.relations import AtLeast, Equals, Order, OrderAtLeast, ScalesAs, Trend, Turns, flat_margin
from ntkrobust.bounds.statistics import turning
from ntkrobust.bounds.statistics.bounds import implied_constant
from ntkrobust.bounds.statistics.exponents import Power
from ntkrobust.bounds.statistics.limits import confidence_interval
from ntkrobust.bounds.statistics.parts import Every, OneOf, Part
from ntkrobust.bounds.statistics.turning import TurningPoint
from ntkrobust.bounds.verdicts.judging import Judgement
from ntkrobust.bounds.verdicts.shown import Levels, effect_of, facet_of, shown_part
from ntkrobust.bounds.verdicts.stating import PAIRED_AXES, facets_along
from ntkrobust.bounds.verdicts.types import VACUOUS, Effect, Label


@dataclasses.dataclass(frozen=True)
class Said:
    """What is said of a claim beside its label; the fields of :class:`~ntkrobust.bounds.verdicts.Verdict`.

    Attributes:
        effect: the size of what was seen.
        worst: position of the cell that speaks most against the statement.
        detail: one clause.
    """

    effect: Effect
    worst: int
    detail: str
    tightness: tuple[float, float] | None = None
    constant: Effect | None = None
    exponent: Effect | None = None
    turning_point: TurningPoint | None = None


def describe(judgement: Judgement, label: Label, levels: Levels) -> Said:
    """What was seen of a claim with this label."""
    match judgement.claim.relation:
        case Turns():
            return _of_turn(judgement, label, levels)
        case ScalesAs():
            return _of_power(judgement, label, levels)
        case Trend():
            return _of_trend(judgement, label, levels)
        case Order():
            return _of_order(judgement, label, levels)
    return _of_ratios(judgement, label, levels)


def _against(judgement: Judgement) -> Part:
    """The part that speaks most against the statement."""
    return judgement.stated.parts[judgement.stated.against(judgement.fails)]


def figure(effect: Effect, digits: str = ".3f") -> str:
    """``0.117 [0.115, 0.118]``; more digits where the ends would look the same."""
    return f"{effect.estimate:{digits}} [{effect.low:{digits}}, {effect.high:{digits}}]"


def _of_ratios(judgement: Judgement, label: Label, levels: Levels) -> Said:
    """Of an equality or an explicit bound."""
    relation, samples = judgement.claim.relation, judgement.samples
    worst = judgement.stated.parts[int(np.argmin(judgement.fails))]
    part = shown_part(judgement, label, levels, worst)
    position = part.cells[0]
    stated = "stated" if isinstance(relation, Equals) else "bound"
    named = "worst cell" if part is worst else "cell that is undecided"
    effect = effect_of(f"measured/{stated}, {named}", part, judgement, label, levels)
    where = judgement.cells[position]
    if isinstance(relation, Equals):
        rank = "the farthest" if part is worst else "the least settled"
        detail = f"measured/stated is {figure(effect)} at {where}, {rank} of {len(judgement.cells)} cells"
        return Said(effect, position, detail)
    ratios = [float(sample.location.item()) for sample in samples]
    lower = isinstance(relation, AtLeast)
    # A bound on something that is not positive is off by no factor.
    room = [ratio if lower else 1 / ratio for ratio in ratios if ratio > 0]
    far = sum(one > VACUOUS for one in room)
    loose = f"; in {far} of {len(judgement.cells)} cells the bound is off by a factor above {VACUOUS:g}" if far else ""
    most = f"at {'least' if lower else 'most'} " if part is worst else ""
    detail = f"measured/bound is {most}{figure(effect)}, at {where}{loose}"
    return Said(effect, position, detail, tightness=(min(room), max(room)) if room else None)


def _ends(judgement: Judgement, part: Part, axis: str) -> tuple[float, float]:
    first, last = (judgement.cells[position].coordinates[axis] for position in part.cells)
    return first, last


def _axis_of(judgement: Judgement, part: Part) -> str:
    """The axis along which the two cells of a part differ."""
    first, last = (judgement.cells[position].coordinates for position in part.cells)
    return next(axis for axis in first if first[axis] != last[axis])


def _plain(part: Part) -> Effect:
    """What a part compares, with its 95 % interval."""
    return Effect("", part.comparison.estimate.item(), *confidence_interval(part.comparison))


def _changes(judgement: Judgement, part: Part, axis: str, effect: Effect | None = None) -> str:
    first, last = _ends(judgement, part, axis)
    return f"from {axis} {first} to {last} it changes by a factor {figure(effect or _plain(part), '.3g')}"


def _size(part: Part) -> float:
    """The logarithm of the factor by which the measure changes."""
    return math.log(max(part.comparison.estimate.item(), 1e-300))


def _flat_to(judgement: Judgement) -> str:
    margin = flat_margin(judgement.claim.relation)
    assert margin is not None
    return f"flat to within {100 * margin:.3g} %"


def _flat_whole(judgement: Judgement, sign: int) -> Part:
    """Of the statement that the measure is flat, the change over the whole range that speaks least for ``sign``."""
    assert judgement.flat is not None
    return min((part for part in judgement.flat.parts if part.whole), key=lambda part: sign * _size(part))


def _of_trend(judgement: Judgement, label: Label, levels: Levels) -> Said:
    relation = judgement.claim.relation
    assert isinstance(relation, Trend)
    axis = relation.axis
    wholes = [part for part in judgement.stated.parts if part.whole]
    total = min(wholes, key=lambda part: relation.sign * _size(part))
    weakest = "" if len(wholes) == 1 else f" (weakest of {len(wholes)} facets)"
    against = _against(judgement)
    part = _flat_whole(judgement, relation.sign) if label == "flat" else shown_part(judgement, label, levels, total)
    first, last = _ends(judgement, part, axis)
    effect = effect_of(f"{axis} {first} → {last}:", part, judgement, label, levels)
    if label == "flat":
        detail = f"{_flat_to(judgement)} between any two cells: {_changes(judgement, part, axis, effect)}{weakest}"
        return Said(effect, against.cells[-1], detail)
    detail = f"{_changes(judgement, total, axis, effect if part is total else None)}{weakest}"
    if part is not total:
        said = "against it" if label == "refuted" else "undecided"
        detail += f"; {said}: {_changes(judgement, part, axis, effect)}"
    return Said(effect, against.cells[-1], detail)


def _of_order(judgement: Judgement, label: Label, levels: Levels) -> Said:
    relation = judgement.claim.relation
    assert isinstance(relation, Order)
    preferred = _against(judgement) if label == "refuted" else judgement.stated.parts[int(np.argmax(judgement.holds))]
    part = shown_part(judgement, label, levels, preferred)
    axis = _axis_of(judgement, part)
    first, last = _ends(judgement, part, axis)
    doublings = math.log2(last / first)
    name = f"measured/bound per doubling of {axis}"
    effect = effect_of(name, part, judgement, label, levels, lambda factor: factor ** (1 / doublings))
    lower = isinstance(relation, OrderAtLeast)
    constant = Effect("constant", *implied_constant(judgement.samples, lower))
    locations = [sample.location.item() for sample in judgement.samples]
    reached = int(np.argmin(locations) if lower else np.argmax(locations))
    detail = (
        f"from {axis} {first} to {last} measured/bound changes by a factor {figure(effect)} per doubling, the "
        f"{'least' if lower else 'most'} of {len(judgement.stated.parts)} facets; for this range the constant is "
        f"{figure(constant, '.3g')}, reached at {judgement.cells[reached]}"
    )
    return Said(effect, part.cells[-1], detail, constant=constant)


def _of_power(judgement: Judgement, label: Label, levels: Levels) -> Said:
    relation = judgement.claim.relation
    assert isinstance(relation, ScalesAs)
    axis = relation.axis
    against, unsettled = _against(judgement), judgement.stated.parts[judgement.stated.unsettled(judgement.holds)]
    part = against if label == "refuted" else unsettled
    if label == "flat":
        part = _flat_whole(judgement, 1 if relation.power > 0 else -1)
    facets = facets_along(axis, judgement.cells)
    facet = facet_of(part, facets)
    whole = Power(
        tuple(judgement.samples[position] for position in facet),
        tuple(float(judgement.cells[position].coordinates[axis]) for position in facet),
        axis in PAIRED_AXES,
    )
    over = relation.over == "range"
    first, last = _ends(judgement, part, axis)
    # Over the range the comparison is e to the exponent; between neighbours, their ratio.
    step = 1.0 if over else math.log(last / first)
    between = "" if over else f" between {first} and {last}"
    effect = effect_of(
        f"exponent of {axis}{between}", part, judgement, label, levels, lambda factor: exponent_of(factor) / step
    )
    of = "" if len(facets) == 1 else f" in the facet that speaks least for it (of {len(facets)})"
    if over:
        fitted = effect
    else:
        ends = map(exponent_of, (whole.estimate.item(), *confidence_interval(whole)))
        fitted = Effect(f"exponent of {axis}", *ends)
    stated = f"stated is {relation.power:g} ± {relation.margin:g}"
    detail = f"the exponent of {axis} over the whole range is {figure(fitted)}{of}; {stated}"
    if not over:
        detail += f" between neighbours, of which {first} and {last} have {figure(effect)}"
    if label == "flat":
        detail = f"{_flat_to(judgement)} over the whole range; {detail}"
    return Said(effect, against.cells[-1], detail, exponent=fitted)


def exponent_of(factor: float) -> float:
    """The exponent p of a factor e^p."""
    return math.log(factor) if factor > 0 else -math.inf


def _of_turn(judgement: Judgement, label: Label, levels: Levels) -> Said:
    relation = judgement.claim.relation
    assert isinstance(relation, Turns)
    assert isinstance(judgement.stated, Every)
    axis, facets = relation.axis, facets_along(relation.axis, judgement.cells)
    legs, facet = _legs(judgement, facets)
    place = _turning_point(judgement, relation, facet)
    if label == "flat":
        assert judgement.flat is not None
        # Of the pairs the one that changes most.
        part = max(judgement.flat.parts, key=lambda part: abs(_size(part)))
    else:
        part = shown_part(judgement, label, levels, min(legs, key=lambda leg: abs(_size(leg))))
    first, last = _ends(judgement, part, axis)
    effect = effect_of(f"{axis} {first} → {last}:", part, judgement, label, levels)
    of = "" if len(facets) == 1 else f" (weakest of {len(facets)} facets)"
    detail = "; ".join(_changes(judgement, leg, axis, effect if leg is part else None) for leg in legs) + of
    if label == "flat":
        detail = f"{_flat_to(judgement)} between any two cells: {_changes(judgement, part, axis, effect)}, the most"
    elif all(part is not leg for leg in legs):
        said = "against it" if label == "refuted" else "undecided"
        detail += f"; {said}: {_changes(judgement, part, axis, effect)}"
    return Said(effect, _against(judgement).cells[-1], f"{detail}; {place}", turning_point=place)


def _legs(judgement: Judgement, facets: Sequence[Sequence[int]]) -> tuple[list[Part], Sequence[int]]:
    """Both sides of the turn: in the facet that is farthest from being shown, at the cell for which most is shown."""
    assert isinstance(judgement.stated, Every)
    split = zip(judgement.stated.statements, judgement.stated.split(judgement.holds), strict=True)
    weakest = max(zip(split, facets, strict=True), key=lambda one: one[0][0].p_support(one[0][1]))
    (turn, holds), facet = weakest
    assert isinstance(turn, OneOf)
    best, _ = min(zip(turn.statements, turn.split(holds), strict=True), key=lambda one: one[1].max())
    return [part for part in best.parts if part.whole], facet


def _turning_point(judgement: Judgement, relation: Turns, facet: Sequence[int]) -> TurningPoint:
    return turning.turning_point(
        [judgement.samples[position] for position in facet],
        [float(judgement.cells[position].coordinates[relation.axis]) for position in facet],
        relation.axis,
        relation.sign,
        relation.axis in PAIRED_AXES,
        judgement.cells[facet[0]].reference,
    )
