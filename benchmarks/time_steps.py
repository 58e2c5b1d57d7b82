"""Do readings at a time or a loss depend on the steps that were taken there?

    python benchmarks/time_steps.py [--seeds 16] [--preset quick] [CLAIM ...]

Every claim of the catalogue that is read at a time or a loss of gradient flow (or those whose ids contain one of the
words given) is judged as ``verify`` does, one by one, and again on the same networks with steps half as long: the
tolerance that each cell was trained with, divided by eight, as the error of a step is of third order. A line each: the
effect with its interval at both, and by how much they differ, the largest of the three differences over the width of
the interval. It ends with status 1 if one of them exceeds a third.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping

import jax

import ntkrobust as ntr
from ntkrobust.bounds.claims import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.papers.catalogue import catalogue
from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts import Effect
from ntkrobust.reports.words import short_reading
from ntkrobust.studies import examining as verification
from ntkrobust.studies import running
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.pilot import pilot_networks, settled
from ntkrobust.studies.records import CellRecord
from ntkrobust.studies.time_error import TOLERANCES
from ntkrobust.workflows.verify import POINTS

KEY = jax.random.key(0)
THIRD = 1 / 3
HALVED = 8
"""An eighth of the tolerance halves steps whose error is of third order. Along a jump of the gradient it is of first
order, and steps become up to eight times as many."""


class HalfSteps(CellWork):
    """Networks of cells that have been trained before, with steps half as long."""

    before: Mapping[Cell, CellRecord]

    def _flow(self, request: Request):
        record = self.before[request.cell]
        how = self._training(request.cell) | {"tolerance": record.tolerance / HALVED, "steps": HALVED * record.steps}
        level = TOLERANCES.index(record.tolerance)
        seeds = request.seeds
        return self._trained(request.cell, request.demand, seeds, len(seeds), how), level, record.time_error

    def done(self, request: Request) -> CellRecord:
        # What says whether networks got there has to know how many steps they could take.
        return dataclasses.replace(super().done(request), steps=HALVED * self.before[request.cell].steps)


def at_its_time(claim: Claim, data: ntr.Dataset, seeds: int) -> Claim:
    """The claim at the time or loss that a pilot chooses for it."""
    drawn = pilot_networks(data, KEY, POINTS)
    (found,) = settled([claim], Known.of(data, POINTS), drawn=drawn, seeds=seeds, progress=lambda *_: None)
    return found


def judged(claim: Claim, data: ntr.Dataset, seeds: int) -> verification.Examination:
    parts = [verification.Part([claim], Known.of(data, POINTS))]
    (found,) = verification.examine(parts, looks=SequentialPlan((seeds,)), key=KEY, progress=lambda *_: None)
    return found


def difference(one: Effect, other: Effect) -> float:
    """The largest of the differences of estimate and limits, over the width of the first interval."""
    moved = max(abs(getattr(one, name) - getattr(other, name)) for name in ("estimate", "low", "high"))
    return moved / (one.high - one.low)


def shown(effect: Effect | None) -> str:
    return "–" if effect is None else f"{effect.estimate:.4g} [{effect.low:.4g}, {effect.high:.4g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", metavar="CLAIM")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--preset", default="quick")
    args = parser.parse_args()
    data = ntr.data.load("digits")
    worst = 0.0
    print("| claim | reading | tolerance | effect | at half the step | time error | difference/width |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for claim in catalogue(args.preset):
        if isinstance(claim.measure, Quantity) or claim.reading.optimizer != "gradient_flow":
            continue
        if args.words and not any(word in claim.id for word in args.words):
            continue
        claim = at_its_time(claim, data, args.seeds)
        first = judged(claim, data, args.seeds)
        HalfSteps.before = {record.cell: record for record in first.records}
        running.CellWork, kept = HalfSteps, running.CellWork
        try:
            (halved,) = judged(claim, data, args.seeds).verdicts
        finally:
            running.CellWork = kept
        (verdict,) = first.verdicts
        tolerances = sorted({one.tolerance for one in first.records if len(one.seeds)}, reverse=True)
        moved = None
        if verdict.effect is not None and halved.effect is not None:
            moved = difference(verdict.effect, halved.effect)
            worst = max(worst, moved)
        label = verdict.label if halved.label == verdict.label else f"{verdict.label}, then {halved.label}"
        print(
            f"| `{claim.id}` | {short_reading(claim.describe())} | {', '.join(f'{one:g}' for one in tolerances)} "
            f"| {label} {shown(verdict.effect)} | {shown(halved.effect)} "
            f"| {'–' if verdict.time_error is None else f'{verdict.time_error:.2%}'} "
            f"| {'–' if moved is None else f'{moved:.3f}'} |",
            flush=True,
        )
    if worst > THIRD:
        sys.exit(f"an effect moved by {worst:.2f} of its interval")


if __name__ == "__main__":
    main()
