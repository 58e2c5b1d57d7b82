"""``power``: what a number of networks will be able to show, told before they are trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax

from ntkrobust.bounds.claims import AtLeast, AtMost, Claim, Equals, OrderAtLeast, OrderAtMost, Quantity, ScalesAs, Trend
from ntkrobust.bounds.statistics import MINIMUM_SEEDS
from ntkrobust.bounds.verdicts import LEVEL, POWER, axes_of
from ntkrobust.bounds.verdicts.planning import Outcome, detectable_effect, networks_needed
from ntkrobust.checks import MOST_SEEDS, check_positive, or_none, takes, whole
from ntkrobust.data import Data, load
from ntkrobust.errors import InputError
from ntkrobust.runtime.seeds import check_key
from ntkrobust.studies.ahead import Job
from ntkrobust.studies.demands import demands_of
from ntkrobust.studies.facts import facts_of
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.prospects import spreads_of
from ntkrobust.studies.running import Networks
from ntkrobust.studies.study import study_of
from ntkrobust.workflows.resolving import resolve
from ntkrobust.workflows.verify import POINTS, SEEDS

PILOT = MINIMUM_SEEDS
"""Networks per cell that the spread is seen on."""

LARGEST = 4096
"""More networks per cell than this are not looked at."""

REPETITIONS = 500
"""Simulated experiments behind each figure."""


@dataclasses.dataclass(frozen=True)
class Foresight:
    """What networks will show of a claim, with probability 0.9.

    Attributes:
        claim: the claim.
        networks: per cell.
        cv: standard deviation over mean of the measure, between the networks of a cell; None if nothing is known of it.
        supports: the smallest effect by which the claim, if true, is supported; a factor as
            :func:`~ntkrobust.bounds.verdicts.planning.ground_truth` describes it, infinite if there is none.
        refutes: the smallest effect by which the claim, if false, is refuted.
        seconds: that the networks take on this machine, of this claim alone; None where no pilot was run.
        seeds_needed: networks per trained cell, over the claim's draws, by which an effect that was asked for is shown
            if the claim is true; None without one, and where :data:`LARGEST` networks don't show it.
    """

    claim: Claim
    networks: int
    cv: float | None
    supports: float
    refutes: float
    seconds: float | None = None
    seeds_needed: int | None = None

    @property
    def supported(self) -> str:
        """In words, from when on the claim will be supported."""
        return self._words(self.supports, "supported")

    @property
    def refuted(self) -> str:
        """In words, from when on the claim will be refuted."""
        return self._words(self.refutes, "refuted")

    def __repr__(self) -> str:
        if self.cv is None:
            return f"<{self.claim.id}: nothing is known of the spread between networks>"
        return (
            f"<{self.claim.id}: {self.networks} networks per cell (CV {self.cv:.2g}) will support with probability "
            f"{POWER:g} {self.supported}, and refute {self.refuted}>"
        )

    def _words(self, effect: float, outcome: Outcome) -> str:
        if not math.isfinite(effect):
            return "no effect"
        relation, grid = self.claim.relation, self.claim.grid
        holds = outcome == "supported"
        match relation:
            case Equals():
                if holds:
                    return f"equality to within {effect - 1:.1%} (asked: {relation.margin:.1%})"
                return f"a deviation of {(1 + relation.margin) * effect - 1:.1%}"
            case AtMost():
                return f"means ×{1 / effect:.3g} the bound" if holds else f"a mean ×{effect:.3g} the bound"
            case AtLeast():
                return f"means ×{effect:.3g} the bound" if holds else f"a mean ×{1 / effect:.3g} the bound"
            case OrderAtMost():
                growth = relation.growth / effect if holds else relation.growth * effect
                return f"measured/bound ×{growth:.3g} per doubling"
            case OrderAtLeast():
                growth = relation.growth / effect if holds else relation.growth * effect
                return f"measured/bound ×{1 / growth:.3g} per doubling"
            case ScalesAs():
                slope = math.log2(effect)
                if holds:
                    return f"an exponent to within {slope:.2g} (asked: {relation.margin:g})"
                return f"an exponent {relation.margin + slope:.2g} off"
            case Trend():
                first, last = grid[relation.axis][0], grid[relation.axis][-1]
                change = effect ** (relation.sign if holds else -relation.sign)
                slope = math.log(change) / math.log(last / first)
                return f"×{change:.3g} over {relation.axis} {first} → {last} (slope {slope:+.2g})"
        return f"legs of ×{effect:.3g}{'' if holds else ', turned the other way'}"


@takes(seeds=or_none(whole(MINIMUM_SEEDS, MOST_SEEDS)), points=whole(1))
def power(
    claims: Claim | str | Sequence[Claim | str] | None = None,
    *,
    data: Data = "digits",
    preset: str = "quick",
    seeds: int | None = None,
    cv: float | None = None,
    effect: float | None = None,
    points: int = POINTS,
    key: jax.Array | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Foresight]:
    """What :func:`~ntkrobust.verify` will be able to show with so many networks, before they are trained.

    The tests that will judge are simulated on lognormal, gamma and normal values. Networks that are paired show more
    than is said here; looks, a little less.

    Args:
        claims, data, preset, seeds, points, progress: as of :func:`~ntkrobust.verify`.
        cv: standard deviation over mean of the measure between networks. By default it is seen on 12 networks (times
            ``claim.draws`` where nothing is trained) in two cells of each grid.
        effect: how plainly the claim is true, a factor above 1 as
            :func:`~ntkrobust.bounds.verdicts.planning.ground_truth` describes it: how many networks would show it?
        key: a typed key, by default ``jax.random.key(0)``.

    Returns:
        One :class:`Foresight` per claim about networks, in their order.

    Raises:
        InputError: anything that :func:`~ntkrobust.verify` refuses, too few seeds for a verdict, or a spread that is
            none.
    """
    loaded = load(data)
    resolved = resolve(claims, preset, facts=facts_of(loaded))
    meant = [claim for claim, _ in resolved if not isinstance(claim.measure, Quantity)]
    if not meant:
        raise InputError("claims about formulas need no networks")
    seeds = SEEDS[preset] if seeds is None else seeds
    if effect is not None and check_positive("effect", effect) <= 1:
        raise InputError(f"an effect is a factor above 1, got {effect!r}")
    took: list[float | None] = [None] * len(meant)
    if cv is None:
        points = min(points, len(loaded.x_test))
        known, job, key = Known.of(loaded, points), Job(), check_key(key)
        studies = [study_of(claim, known) for claim in meant]
        # Other networks than those that will judge.
        drawn = Networks(loaded, jax.random.fold_in(key, 2**32 - 2), points, rough=True, job=job)
        spreads = spreads_of(studies, drawn, known, seeds=PILOT, progress=progress or (lambda *_: None))
        judging = Networks(loaded, key, points, job=job)
        took = [judging.seconds(demands_of([study], {study.claim.id: seeds})) for study in studies]
    else:
        spreads = [check_positive("cv", cv)] * len(meant)
    return [
        _foresee(claim, seeds * claim.draws, spread, len(meant), seconds, effect)
        for claim, spread, seconds in zip(meant, spreads, took, strict=True)
    ]


def _foresee(
    claim: Claim, networks: int, cv: float | None, claims: int, seconds: float | None, wished: float | None
) -> Foresight:
    if cv is None:
        return Foresight(claim, networks, None, math.inf, math.inf, seconds)
    axes = axes_of(claim)
    all_cells = math.prod(map(len, claim.grid.values()))
    cells = len(claim.grid[axes[0]]) if axes else all_cells
    facets = sum(all_cells // len(claim.grid[axis]) for axis in axes) or 1
    level = LEVEL / claims

    def effect(outcome: Outcome) -> float:
        return detectable_effect(
            claim.relation, cv=cv, n=networks, outcome=outcome, cells=cells, facets=facets, level=level,
            repetitions=REPETITIONS,
        )  # fmt: skip

    needed = None
    if wished is not None:
        needed = networks_needed(claim.relation, cv=cv, effect=wished, cells=cells, level=level, largest=LARGEST)
    seeds = None if needed is None else math.ceil(needed / claim.draws)
    return Foresight(claim, networks, cv, effect("supported"), effect("refuted"), seconds, seeds)
