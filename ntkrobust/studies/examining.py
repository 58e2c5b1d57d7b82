"""From claims to verdicts: which networks have to be drawn and trained, and what their measures say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts import SequentialDecision, Verdict
from ntkrobust.data import Dataset
from ntkrobust.finite.measures.base import Measure
from ntkrobust.studies.arithmetic import decide_arithmetic
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.claim_measures import check_names, measure_of_claim
from ntkrobust.studies.demands import cells_left, demands_of, out_of_reach
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.predictions import InfiniteWidth
from ntkrobust.studies.records import CellRecord
from ntkrobust.studies.running import Networks, Progress
from ntkrobust.studies.store.store import CellStore
from ntkrobust.studies.study import samples_of, study_of


@dataclasses.dataclass(frozen=True)
class Count:
    """Networks in all cells together.

    Attributes:
        drawn: all of them.
        trained: those that took steps.
    """

    drawn: int
    trained: int


@dataclasses.dataclass(frozen=True)
class Examination:
    """Verdicts with everything they rest on.

    Attributes:
        verdicts: in the order of the claims.
        cells: for each verdict, the cells behind it, in the order of ``verdict.cells``.
        records: every cell that was run.
        data: the data set.
        points: test points that measures were averaged over, where claims ask for no number of their own.
        looks: the planned numbers of networks per trained cell.
        seeds: for each verdict, networks per trained cell when it was reached.
        used, planned: networks that were needed, and those that no early decision would have left.
        measures: claim id → the measure that it speaks of.
        measured: name → each measure that networks were asked for, those of assumptions among them.
    """

    verdicts: tuple[Verdict, ...]
    cells: tuple[tuple[Cell, ...], ...]
    records: tuple[CellRecord, ...]
    data: Dataset
    points: int
    looks: SequentialPlan
    seeds: tuple[int, ...]
    used: Count
    planned: Count
    measures: Mapping[str, Measure]
    measured: Mapping[str, Measure]


def examine(
    claims: Sequence[Claim],
    data: Dataset,
    *,
    looks: SequentialPlan,
    key: jax.Array,
    points: int,
    progress: Progress,
    store: CellStore | None = None,
) -> Examination:
    """Run every cell that the claims need, once, and judge the claims together.

    Args:
        claims: the claims.
        data: the data set.
        looks: networks per trained cell at each look: claims are judged after each, and those that are still open get
            more; claims that need no training use ``claim.draws`` times as many.
        key: a typed key.
        points: number of test points that measures are averaged over (the first so many).
        progress: called after each cell with its description, how many are done, and the number of cells.
        store: of what cells gave; what it has is not run again.

    Raises:
        InputError: a claim names an unknown measure, one that needs what isn't there, or networks that don't exist;
            raised before anything is run.
    """
    known = Known(data, InfiniteWidth(data, points))
    studies = [study_of(claim, known) for claim in claims]
    check_names([one for study in studies for _, cell in study.cells for one in study.measures_in(cell).values()])
    networks = Networks(data, key, points, store)
    measured = [study for study in studies if not isinstance(study.claim.measure, Quantity)]

    # Cells of formulas are recorded too, without networks.
    networks.extend(demands_of(studies, [], 0), progress)
    decision = SequentialDecision(len(measured), looks, points)
    while (needed := decision.needs()) is not None:
        still_open = [measured[index] for index in needed.claims]
        unusable = out_of_reach(studies, still_open, needed.networks, networks, progress)
        wanted = [
            study
            for study in still_open
            if cells_left(study, unusable) and not any(networks.records[cell].failure for _, cell in study.cells)
        ]
        networks.extend(demands_of(studies, wanted, needed.networks, unusable), progress)
        decision.look(
            [
                (study.claim, samples_of(study, networks.records, needed.networks, known), study.side)
                for study in still_open
            ]
        )
    judged = zip(measured, decision.verdicts, decision.networks, strict=True)
    by_id = {study.claim.id: (verdict, seeds) for study, verdict, seeds in judged} | {
        study.claim.id: (decide_arithmetic(study.claim, samples_of(study, networks.records, 0, known)), 0)
        for study in studies
        if study not in measured
    }
    planned = demands_of(studies, measured, looks.sizes[-1])
    records = networks.records
    return Examination(
        verdicts=tuple(_capped(_with_points(by_id[claim.id][0], data)) for claim in claims),
        cells=tuple(tuple(cell for _, cell in study.cells) for study in studies),
        records=tuple(records.values()),
        data=data,
        points=points,
        looks=looks,
        seeds=tuple(by_id[claim.id][1] for claim in claims),
        used=_count({cell: len(record.seeds) for cell, record in records.items()}),
        planned=_count({cell: demand.networks for cell, demand in planned.items()}),
        measures={claim.id: measure_of_claim(claim) for claim in claims},
        measured={
            name: one for study in studies for _, cell in study.cells for name, one in study.measures_in(cell).items()
        },
    )


def _count(networks: Mapping[Cell, int]) -> Count:
    trained = sum(number for cell, number in networks.items() if cell.time != "initialization")
    return Count(sum(networks.values()), trained)


def _with_points(verdict: Verdict, data: Dataset) -> Verdict:
    """With the number of test points that its claim asked for, if it did."""
    asked = verdict.claim.points
    return verdict if asked is None else dataclasses.replace(verdict, points=min(asked, len(data.x_test)))


def _capped(verdict: Verdict) -> Verdict:
    """What is known from memory only is never refuted: the memory may be wrong."""
    if verdict.label != "refuted" or verdict.claim.provenance != "recollection":
        return verdict
    reason = f"recollected form contradicted: {verdict.reason}"
    return dataclasses.replace(verdict, label="inconclusive", reason=reason)
