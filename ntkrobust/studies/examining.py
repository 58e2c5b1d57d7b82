"""From claims to verdicts: which networks have to be drawn and trained, and what their measures say."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts import Examined, SequentialDecision, Verdict
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Measure
from ntkrobust.studies.ahead import CLOSED_FORM, ENDING, Job
from ntkrobust.studies.arithmetic import decide_arithmetic
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.claim_measures import check_names, measure_of_claim
from ntkrobust.studies.demands import cells_left, demands_of, out_of_reach
from ntkrobust.studies.early import Early, Reached, Waiting
from ntkrobust.studies.engines.crew import Engine
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.pilot import expected_pilot
from ntkrobust.studies.records import CellRecord
from ntkrobust.studies.running import Networks, Progress
from ntkrobust.studies.store.store import CellStore
from ntkrobust.studies.study import Leave, Study, formulas_of, leave_none, samples_of, study_of, takes_long


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
        outlook: what was foretold of the time that was given, as ``verdicts.json`` holds it.
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
    outlook: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Part:
    """Claims about networks on one data set.

    Attributes:
        claims: the claims.
        known: what their formulas are evaluated with; the data set and its test points among it.
        store: of what cells gave; what it has is not run again.
        engine: what runs them; this process without one.
        job: that its networks belong to.
    """

    claims: Sequence[Claim]
    known: Known
    store: CellStore | None = None
    engine: Engine | None = None
    job: Job = dataclasses.field(default_factory=Job)

    @property
    def data(self) -> Dataset:
        """The data set."""
        return self.known.data

    @property
    def points(self) -> int:
        """Test points that measures are averaged over (the first so many)."""
        return self.known.infinite.points


Settle = Callable[[Part], Sequence[Claim]]
"""From a part to its claims at the times and losses at which they are read."""


def examine(
    parts: Sequence[Part],
    *,
    looks: SequentialPlan,
    key: jax.Array,
    progress: Progress,
    reached: Reached | None = None,
    settle: Settle | None = None,
) -> tuple[Examination, ...]:
    """Run every cell that the claims need, once, and judge all claims together, on however many data sets.

    Args:
        parts: the claims on each data set.
        looks: networks per trained cell at each look: claims are judged after each, and those that are still open get
            more; claims that need no training use ``claim.draws`` times as many.
        key: a typed key.
        progress: called after each cell with its description, how many are done, and the number of cells.
        reached: called as soon as the label of a claim is certain, where there is one look.
        settle: called with each part, once its untrained networks are drawn; gives its claims as they are judged.

    Returns:
        One examination for each part.

    Raises:
        InputError: a claim names an unknown measure, one that needs what isn't there, or networks that don't exist;
            raised before anything is run.
    """
    job = Job(ENDING * sum(len(part.claims) for part in parts))
    # Closed forms take longer than all untrained networks, whose verdicts do not wait for them.
    prepared = [Prepared(dataclasses.replace(part, job=job), key, leave=takes_long) for part in parts]
    for one in prepared:
        one.expect(looks.sizes[0])
        if settle is not None:
            job.pool(one.part.data, one.part.points, is_rough=True).expect(expected_pilot(one.studies, looks.sizes[-1]))
    job.aside = CLOSED_FORM * sum(one.left for one in prepared)
    if job.total:
        progress(job.told("the first cells", 0), 0, job.total)
    early = None
    if reached is not None and len(looks.sizes) == 1:
        early = Early(sum(len(one.measured) for one in prepared), looks.sizes[0], reached)
    for one in prepared:
        one.draw_untrained(looks.sizes[0], progress if early is None else early.telling(one.untrained(), progress))
    prepared = [one.with_claims(one.part.claims if settle is None else settle(one.part)) for one in prepared]
    job.aside = 0.0
    for one in prepared:
        one.expect(looks.sizes[0])
        one.begin(progress)
    places = [(one, study) for one in prepared for study in one.measured]
    decision = SequentialDecision(len(places), looks, max((part.points for part in parts), default=1))
    if early is not None:
        progress = early.telling([waiting for one in prepared for waiting in one.trained()], progress)
    while (needed := decision.needs()) is not None:
        still_open = [places[index] for index in needed.claims]
        for one in prepared:
            one.run({study.claim.id: needed.networks for of, study in still_open if of is one}, progress)
        decision.look([one.sample(study, needed.networks) for one, study in still_open])
    judged = list(zip(places, decision.verdicts, decision.networks, strict=True))
    return tuple(
        one.examination(
            {study.claim.id: (verdict, seeds) for (of, study), verdict, seeds in judged if of is one},
            looks,
            {study.claim.id: looks.sizes[-1] for study in one.measured},
        )
        for one in prepared
    )


class Prepared:
    """A part with its studies, checked, and its networks; ``left`` is the number of cells with formulas for later."""

    def __init__(
        self,
        part: Part,
        key: jax.Array,
        networks: Networks | None = None,
        leave: Leave = leave_none,
    ) -> None:
        """Of this part, with networks of this key, or those that there are; some formulas may be left for later."""
        self.part, self.known, self.key = part, part.known, key
        self.studies = [study_of(claim, self.known, leave) for claim in part.claims]
        self.left = sum(
            len(study.cells)
            for study in self.studies
            if any(leave(study.claim, formula) for _, formula in formulas_of(study.claim))
        )
        self.measures = [
            (name, one)
            for study in self.studies
            for _, cell in study.cells
            for name, one in study.measures_in(cell).items()
        ]
        check_names([one for _, one in self.measures])
        self.networks = networks or Networks(part.data, key, part.points, part.store, part.engine, job=part.job)
        self.measured = [study for study in self.studies if not isinstance(study.claim.measure, Quantity)]

    def with_claims(self, claims: Sequence[Claim]) -> Prepared:
        """With other claims, on the same networks."""
        return Prepared(dataclasses.replace(self.part, claims=claims), self.key, self.networks)

    def untrained(self) -> list[Waiting]:
        """Claims about untrained networks."""
        return self._waiting(lambda cell: cell.time == "initialization")

    def trained(self) -> list[Waiting]:
        """Claims about trained networks."""
        return self._waiting(lambda cell: cell.time != "initialization")

    def _waiting(self, is_meant: Callable[[Cell], bool]) -> list[Waiting]:
        studies = [study for study in self.measured if any(is_meant(cell) for _, cell in study.cells)]
        return [Waiting(study, self.networks.records, self.sample) for study in studies]

    def draw_untrained(self, seeds: int, progress: Progress) -> None:
        """Draw the untrained networks that claims need: there is nothing to settle about them, and they are quick."""
        demands = demands_of(self.studies, {study.claim.id: seeds for study in self.measured})
        untrained = {cell: one for cell, one in demands.items() if cell.time == "initialization"}
        # Where none of them can be run, trained networks may.
        with contextlib.suppress(*[InputError] if len(untrained) < len(demands) else []):
            self.networks.extend(untrained, progress)

    def expect(self, seeds: int) -> None:
        """Tell the job of all networks that there are to be."""
        self.networks.expect(demands_of(self.studies, {study.claim.id: seeds for study in self.measured}))

    def begin(self, progress: Progress) -> None:
        """Record every cell, also those of formulas, without networks."""
        self.networks.extend(demands_of(self.studies, {}), progress)

    def run(self, seeds: Mapping[str, int], progress: Progress, until: float = math.inf) -> None:
        """Draw and train what open claims need: id → networks per trained cell; nothing is begun after ``until``."""
        unusable = out_of_reach(self.studies, seeds, self.networks, progress)
        records = self.networks.records
        wanted = {
            study.claim.id: seeds[study.claim.id]
            for study in self.studies
            if study.claim.id in seeds
            and cells_left(study, unusable)
            and not any(records[cell].failure for _, cell in study.cells)
        }
        demands = demands_of(self.studies, wanted, unusable)
        self.networks.expect(demands)
        self.networks.extend(demands, progress, until)

    def sample(self, study: Study, count: int) -> Examined:
        """What the networks say for a claim."""
        return study.claim, samples_of(study, self.networks.records, count, self.known), study.side

    def examination(
        self, judged: Mapping[str, tuple[Verdict, int]], looks: SequentialPlan, planned: Mapping[str, int]
    ) -> Examination:
        """What is known of all claims.

        Args:
            judged: id of each claim about networks → its verdict, and the networks per trained cell it was reached on.
            looks: see :class:`Examination`.
            planned: id → networks per trained cell that were planned.
        """
        part, records = self.part, self.networks.records
        by_id = dict(judged) | {
            study.claim.id: (decide_arithmetic(study.claim, samples_of(study, records, 0, self.known)), 0)
            for study in self.studies
            if study not in self.measured
        }
        wanted = demands_of(self.studies, planned)
        return Examination(
            verdicts=tuple(_capped(_with_points(by_id[claim.id][0], part)) for claim in part.claims),
            cells=tuple(tuple(cell for _, cell in study.cells) for study in self.studies),
            records=tuple(records.values()),
            data=part.data,
            points=part.points,
            looks=looks,
            seeds=tuple(by_id[claim.id][1] for claim in part.claims),
            used=_count({cell: len(record.seeds) for cell, record in records.items()}),
            planned=_count({cell: demand.networks for cell, demand in wanted.items()}),
            measures={claim.id: measure_of_claim(claim) for claim in part.claims},
            measured=dict(self.measures),
        )


def _count(networks: Mapping[Cell, int]) -> Count:
    trained = sum(number for cell, number in networks.items() if cell.time != "initialization")
    return Count(sum(networks.values()), trained)


def _with_points(verdict: Verdict, part: Part) -> Verdict:
    """With the number of test points on this data set: those that its claim asked for, if it did."""
    if not verdict.points:  # a formula
        return verdict
    asked = part.points if verdict.claim.points is None else verdict.claim.points
    return dataclasses.replace(verdict, points=min(asked, len(part.data.x_test)))


def _capped(verdict: Verdict) -> Verdict:
    """What is known from memory only is never refuted: the memory may be wrong."""
    if verdict.label != "refuted" or verdict.claim.provenance != "recollection":
        return verdict
    reason = f"recollected form contradicted: {verdict.reason}"
    return dataclasses.replace(verdict, label="inconclusive", reason=reason)
