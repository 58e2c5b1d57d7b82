"""Labels: from the tests of claims judged together to verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkrobust.bounds import statistics
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import AtLeast, AtMost, flat_margin
from ntkrobust.bounds.verdicts.describing import Levels, describe
from ntkrobust.bounds.verdicts.judging import Judgement, judge
from ntkrobust.bounds.verdicts.memory import Memory
from ntkrobust.bounds.verdicts.stating import NEEDED_VALUES, axes_of, facets_along
from ntkrobust.bounds.verdicts.types import LEVEL, SHOWN, VACUOUS, CellSample, Examined, Label, Verdict


def decide(claims: Sequence[Examined], points: int) -> list[Verdict]:
    """Verdicts on claims that were examined together, on a number of networks that was fixed in advance.

    Args:
        claims: each claim with what its cells gave and the side of its measure.
        points: test points behind every value.

    Returns:
        Verdicts in the same order. Support, refutation and flatness are each adjusted by Holm over all of them, so the
        probability of any false refutation among them is held to 5 %, and so is that of any false support, and of
        anything falsely called flat.
    """
    return label([examine(one, len(claims), None) for one in claims], points)


@dataclasses.dataclass(frozen=True)
class Outcome:
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


def examine(examined: Examined, claims: int, memory: Memory | None) -> Outcome:
    """Test a claim that is judged together with others.

    Args:
        examined: the claim with what its cells gave and the side of its measure.
        claims: how many are judged together.
        memory: of earlier looks; None where the number of networks was fixed.
    """
    claim, cells, side = examined
    sound = [cell for cell in cells if cell.in_scope and not cell.problem]
    usable = tuple(cell for cell in sound if not says_nothing(claim, cell))
    empty = tuple(cell for cell in sound if says_nothing(claim, cell))
    excuse: tuple[Label, str] | None
    if empty and not usable:
        excuse = "supported", f"the bound is {empty[0].reference:g} and says nothing, in all of {len(empty)} cells"
    else:
        excuse = _why_not(claim, cells, usable)
    if excuse is not None:
        return Outcome(claim, cells, usable, empty, None, excuse)
    if memory is None:
        judgement = judge(claim, usable, LEVEL / claims, side=side)
    else:
        judgement = judge(claim, usable, LEVEL / claims, memory.about(usable), side, memory.level)
    return Outcome(claim, cells, usable, empty, judgement, None)


def says_nothing(claim: Claim, cell: CellSample) -> bool:
    """Whether any number meets the explicit bound stated for a cell."""
    if not isinstance(claim.relation, AtMost | AtLeast) or cell.reference is None:
        return False
    return claim.relation.says_nothing(cell.reference)


def label(outcomes: Sequence[Outcome], points: int) -> list[Verdict]:
    """Verdicts on claims judged together."""

    def adjusted(kind: str, among: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """p-values adjusted by Holm, and the levels that leaves to each; 1 and the smallest for what isn't among."""
        # Claims that could not be judged count too: which ones they are was decided on the same networks.
        judged = [outcomes[index].judgement for index in among]
        p = np.array([1.0 if one is None else getattr(one, kind) for one in judged])
        every, levels = np.ones(len(outcomes)), np.full(len(outcomes), LEVEL)
        if len(among):
            every[list(among)], levels[list(among)] = statistics.holm(p), statistics.holm_levels(p, LEVEL)
        return every, levels

    everything = range(len(outcomes))
    # Which claims may be flat is known before anything is drawn: only they pay for it.
    may_be_flat = [index for index in everything if flat_margin(outcomes[index].claim.relation) is not None]
    support, refute = adjusted("p_support", everything), adjusted("p_refute", everything)
    flat = adjusted("p_flat", may_be_flat)
    return [
        _verdict(
            outcomes[index],
            {"refuted": refute[0][index], "supported": support[0][index], "flat": flat[0][index]},
            Levels(support[1][index], refute[1][index], flat[1][index]),
            points,
        )
        for index in everything
    ]


def _verdict(outcome: Outcome, p_values: dict[Label, float], levels: Levels, points: int) -> Verdict:
    common: dict[str, Any] = {
        "claim": outcome.claim,
        "cells": outcome.cells,
        "seeds": min((len(cell.values) for cell in outcome.usable or outcome.cells), default=0),
        "points": points,
    }
    one = outcome.judgement
    if one is None:
        assert outcome.excuse is not None
        excused, reason = outcome.excuse
        vacuous = True if outcome.empty and not outcome.usable else None
        return Verdict(label=excused, reason=reason, effect=None, p_value=None, vacuous=vacuous, **common)
    # What is shown of the statement itself goes before what is shown of its measure.
    given: Label = next((name for name, p in p_values.items() if p <= LEVEL), "inconclusive")
    said = describe(one, given, levels)
    return Verdict(
        label=given,
        reason=said.detail + _remarks(outcome, given, said.effect.level, common["seeds"]),
        effect=said.effect,
        p_value=float(p_values.get(given, min(p_values.values()))),
        counterexample=outcome.usable[said.worst] if given == "refuted" else None,
        tightness=said.tightness,
        seeds_needed=one.seeds_needed if given == "inconclusive" else None,
        constant=said.constant,
        exponent=said.exponent,
        turning_point=said.turning_point,
        vacuous=None if said.tightness is None else said.tightness[0] > VACUOUS,
        time_error=_time_error(outcome.claim, outcome.usable),
        **common,
    )


def _remarks(outcome: Outcome, given: Label, shown: float, networks: int) -> str:
    """What else a reader has to know: of the interval, of cells left out, of networks needed."""
    assert outcome.judgement is not None
    text = ""
    if shown != SHOWN:
        text += f"; the interval is one of {100 * shown:.6g} %, the level at which this is judged"
    if outcome.judgement.side != "exact":
        text += f"; the measure is a {outcome.judgement.side} bound"
    if outcome.empty:
        text += f"; in {len(outcome.empty)} of {len(outcome.cells)} cells the bound says nothing"
    left_out = len(outcome.cells) - len(outcome.usable) - len(outcome.empty)
    if left_out:
        text += f"; {left_out} of {len(outcome.cells)} cells out of scope or unusable"
    time_error = _time_error(outcome.claim, outcome.usable)
    if time_error is not None:
        text += f"; time error {time_error:.2g}" if time_error >= 1 else f"; time error {time_error:.1%}"
    if given != "inconclusive":
        return text
    seeds, draws = outcome.judgement.seeds_needed, outcome.claim.draws
    if seeds is None:
        return f"{text}; no number of networks would settle it, as far as these {networks} can tell"
    per_cell = "" if draws == 1 else f", {seeds * draws} networks per cell,"
    return f"{text}; about {seeds} seeds{per_cell} would settle it"


def _time_error(claim: Claim, cells: Sequence[CellSample]) -> float | None:
    """The largest of some cells, relative to their means; None where the reading is no time or loss of the flow."""
    if claim.reading.optimizer != "gradient_flow":
        return None
    return max(cell.relative_time_error for cell in cells)


def enough_cells(claim: Claim, cells: Sequence[CellSample], usable: Sequence[CellSample]) -> bool:
    """Whether the cells that are left are enough for the claim to be judged.

    What is said along an axis is judged in each facet (the other axes fixed), on at least :data:`NEEDED_VALUES` cells.
    """
    enough = len(usable) >= 1
    for axis in axes_of(claim):
        facets = facets_along(axis, usable)
        enough = enough and len(facets) == len(facets_along(axis, cells))
        enough = enough and all(len(facet) >= NEEDED_VALUES for facet in facets)
    return enough


def _why_not(claim: Claim, cells: tuple[CellSample, ...], usable: tuple[CellSample, ...]) -> tuple[Label, str] | None:
    """Why a claim can't be judged on these cells, or None."""
    # What is not known of a cell may be what refutes; that networks diverge is a finding about them.
    failed = next((cell for cell in cells if cell.failed), None)
    if failed is not None:
        return "inconclusive", f"at {failed}: {failed.problem}"
    if not enough_cells(claim, cells, usable):
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
