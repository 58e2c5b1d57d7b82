"""Verdicts in a given time: what it allows is foretold by a pilot, and then spent by the clock.

Which claims get networks, and how many, follows from the networks of a pilot and from clocks, never from the networks
that judge. Each claim is judged once, at the end: its tests are those of a number of networks fixed in advance.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ntkrobust.bounds.claims import Claim
from ntkrobust.bounds.statistics import MINIMUM_SEEDS
from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts import LEVEL, Examined, Verdict, decide
from ntkrobust.studies.ahead import ENDING, Job
from ntkrobust.studies.cell_facts import work_of
from ntkrobust.studies.demands import demands_of
from ntkrobust.studies.examining import Examination, Part, Prepared
from ntkrobust.studies.pilot import pilot_networks, settled
from ntkrobust.studies.prospects import NO_PILOT, SEEDS, Prospect, prospect_of, run_pilot
from ntkrobust.studies.reach import is_out_of_reach, may_be_out_of_reach
from ntkrobust.studies.records import nothing
from ntkrobust.studies.running import Progress
from ntkrobust.studies.study import Study, samples_of, study_of

ROOM = 64
"""Networks per trained cell that programs are made for."""

KEPT = 0.9
"""Share of the time left that claims are taken for: estimates are estimates."""

ROUND = 0.6
"""Share of the time left that the next round of networks is to take; what it took tells how many the next one has."""

LAST = 0.03
"""Share of all the time below which there is no other round."""

LARGEST = 10_000
"""Networks per trained cell, at most."""


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What can be settled in a time, told before it is spent.

    Attributes:
        minutes: the time.
        within: the claims that get networks, each with those per trained cell that would likely settle it.
        beyond: the claims that get none.
        data: what the data set is called.
    """

    minutes: float
    within: tuple[Prospect, ...]
    beyond: tuple[Prospect, ...]
    data: str

    def describe(self) -> dict[str, Any]:
        """As ``verdicts.json`` holds it."""
        beyond = [
            {
                "claim": one.claim.id,
                "seeds": one.seeds,
                "minutes": None if one.seconds is None else one.seconds / 60,
                "reason": one.in_words,
            }
            for one in self.beyond
        ]
        return {"minutes": self.minutes, "out_of_reach": beyond}


class Clock:
    """A time that is running."""

    def __init__(self, seconds: float) -> None:
        """Of so many seconds, from now."""
        self.seconds, self._started = seconds, time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._started + self.seconds - time.monotonic()

    def at(self, share: float) -> float:
        """When a share of it is over, by :func:`time.monotonic`."""
        return self._started + share * self.seconds


def examine_within(
    parts: Sequence[Part],
    clock: Clock,
    *,
    key: jax.Array,
    progress: Progress,
    foretell: Callable[[Sequence[Outlook]], None] | None = None,
) -> tuple[Examination, ...]:
    """Judge all claims together, on as many networks as a time allows.

    Args:
        parts: the claims on each data set; values of readings are chosen by the pilot.
        clock: the time.
        key: a typed key.
        progress: called after each cell with its description, how many are done, and the number of cells.
        foretell: called with an outlook for each part before networks that judge are drawn.

    Returns:
        One examination for each part.

    Raises:
        InputError: as :func:`~ntkrobust.studies.examining.examine`.
    """
    job = Job(until=clock.at(1.0))
    timed = [_Timed(dataclasses.replace(part, job=job), key, clock, progress) for part in parts]
    ending = ENDING * sum(len(part.claims) for part in parts)
    _choose(timed, clock, ending)
    if foretell is not None:
        foretell([one.outlook() for one in timed])
    _spend(timed, clock, ending, progress)
    judged = [(one, study) for one in timed for study in one.within]
    verdicts = decide([one.sample(study) for one, study in judged], max((part.points for part in parts), default=1))
    return tuple(
        one.examination([verdict for (of, _), verdict in zip(judged, verdicts, strict=True) if of is one])
        for one in timed
    )


class _Timed:
    """The claims on a data set, what a pilot foretells of them, and how many networks each gets.

    Attributes:
        prepared: the claims, those that had a pilot at the values that it chose.
        prospects: id → what is foretold of each claim about networks.
        seeds: id of each claim that gets networks → how many per trained cell.
        waiting: the claims that had no pilot yet, those first that take least.
    """

    def __init__(self, part: Part, key: jax.Array, clock: Clock, progress: Progress) -> None:
        self.prepared = Prepared(part, key)
        self._pilot, self._key = pilot_networks(part.data, key, part.points, part.job), key
        self._progress, self._until, self._minutes = progress, clock.at(1 - LAST), clock.seconds / 60
        self._settled: dict[str, Claim] = {}
        self._level = LEVEL / max(1, len(self.prepared.measured))
        self.waiting = sorted(self.prepared.measured, key=self._work)
        self.prospects = {study.claim.id: Prospect(study.claim, None, NO_PILOT) for study in self.prepared.measured}
        self.seeds: dict[str, int] = {}

    def _work(self, study: Study) -> float:
        part, cells = self.prepared.part, [cell for _, cell in study.cells if cell not in study.excluded]
        return max((work_of(cell, part.data.d, part.points) for cell in cells), default=0.0)

    def try_next(self, seconds: float) -> Prospect:
        """Run the pilot of the next claim that waits, if it takes at most so many seconds."""
        study, known = self.waiting.pop(0), self.prepared.known
        name = study.claim.id
        (claim,) = settled(
            [study.claim], known, drawn=self._pilot, seeds=ROOM, progress=self._progress, until=self._until
        )
        study = study_of(claim, known)
        run_pilot(study, self._pilot, ROOM, self._progress, seconds, self._until)
        self._settled[name] = claim
        self.prospects[name] = self._with_seconds(study, prospect_of(study, self._pilot.records, known, self._level))
        return self.prospects[name]

    def settle(self) -> None:
        """Take the claims as the pilot has left them."""
        for study in self.waiting:
            self.prospects[study.claim.id] = self._with_seconds(study, self.prospects[study.claim.id])
        part = self.prepared.part
        claims = [self._settled.get(claim.id, claim) for claim in part.claims]
        self.prepared = Prepared(dataclasses.replace(part, claims=claims), self._key)
        self.prepared.begin(self._progress)

    def _with_seconds(self, study: Study, prospect: Prospect) -> Prospect:
        # Before networks that judge are drawn: all of them.
        seconds = self.prepared.networks.seconds(demands_of([study], {study.claim.id: prospect.seeds or SEEDS}))
        return dataclasses.replace(prospect, seconds=seconds)

    @property
    def within(self) -> list[Study]:
        """The claims that get networks."""
        return [study for study in self.prepared.measured if study.claim.id in self.seeds]

    def seconds(self, seeds: Mapping[str, int]) -> float:
        """That are still to be spent until claims have so many networks per trained cell."""
        return self.prepared.networks.seconds(demands_of(self.prepared.measured, seeds))

    def outlook(self) -> Outlook:
        """What is told before."""
        prospects = self.prospects.values()
        return Outlook(
            self._minutes,
            tuple(one for one in prospects if one.claim.id in self.seeds),
            tuple(one for one in prospects if one.claim.id not in self.seeds),
            self.prepared.part.data.name,
        )

    def run(self, seeds: Mapping[str, int], progress: Progress, until: float) -> None:
        """Draw networks until claims have so many per trained cell, or until then."""
        self.prepared.run(seeds, progress, until)
        self.seeds = dict(seeds)

    def sample(self, study: Study) -> Examined:
        """What the networks say for a claim, as many of them as all its cells have."""
        return self.prepared.sample(study, self._used(study))

    def _used(self, study: Study) -> int:
        """Networks per trained cell that the time was long enough for."""
        records = [self.prepared.networks.records[cell] for _, cell in study.cells if cell not in study.excluded]
        # What never gets there is not trained further, and judged by the first networks.
        usable = [record for record in records if not (may_be_out_of_reach(record.cell) and is_out_of_reach(record))]
        least = min((len(record.seeds) // study.claim.draws for record in usable), default=self.seeds[study.claim.id])
        return max(1, least)

    def examination(self, verdicts: Sequence[Verdict]) -> Examination:
        """With the verdicts on the claims that got networks, in their order; on the others there is none."""
        judged = {
            study.claim.id: (verdict, self._used(study)) for study, verdict in zip(self.within, verdicts, strict=True)
        }
        for study in self.prepared.measured:
            if study.claim.id not in judged:
                judged[study.claim.id] = self._not_run(study), 0
        most = max((seeds for _, seeds in judged.values()), default=0)
        examination = self.prepared.examination(judged, SequentialPlan((max(most, MINIMUM_SEEDS),)), self.seeds)
        return dataclasses.replace(examination, outlook=self.outlook().describe())

    def _not_run(self, study: Study) -> Verdict:
        prospect = self.prospects[study.claim.id]
        return Verdict(
            study.claim,
            "inconclusive",
            f"out of reach of {self._minutes:g} min, and not run: {prospect.in_words}",
            effect=None,
            p_value=None,
            cells=samples_of(study, {cell: nothing(cell) for _, cell in study.cells}, 0, self.prepared.known),
            seeds=0,
            points=self.prepared.part.points,
            seeds_needed=prospect.seeds,
        )


def _choose(timed: Sequence[_Timed], clock: Clock, ending: float) -> None:
    """Run pilots while there is time for what they foretell, and take the claims that there is time for."""

    def unspent() -> float:
        return KEPT * (clock.left - ending) - sum(one.seconds(one.seeds) for one in timed)

    while any(one.waiting for one in timed) and (left := unspent()) > 0:
        of = min((one for one in timed if one.waiting), key=lambda one: len(one.seeds))
        prospect = of.try_next(left)
        if prospect.seeds is not None:
            before, of.seeds = of.seeds, of.seeds | {prospect.claim.id: prospect.seeds}
            if unspent() < 0:
                of.seeds = before
    for one in timed:
        one.settle()


def _spend(timed: Sequence[_Timed], clock: Clock, ending: float, progress: Progress) -> None:
    """Draw networks in rounds until the time is over, in the proportions that were foretold."""
    planned = [dict(one.seeds) for one in timed]
    drawn: list[dict[str, int]] = [dict.fromkeys(one, 0) for one in planned]

    def scaled(factor: float) -> list[dict[str, int]]:
        return [
            {
                claim: max(before[claim], min(LARGEST, max(MINIMUM_SEEDS, math.ceil(factor * count))))
                for claim, count in plan.items()
            }
            for plan, before in zip(planned, drawn, strict=True)
        ]

    def seconds(factor: float) -> float:
        return sum(one.seconds(seeds) for one, seeds in zip(timed, scaled(factor), strict=True))

    while (left := clock.left - ending) > LAST * clock.seconds:
        factor = _largest(seconds, ROUND * left)
        wanted = scaled(factor)
        if wanted == drawn:
            return
        for one, seeds in zip(timed, wanted, strict=True):
            one.run(seeds, progress, clock.at(1.0) - ending)
        drawn = wanted


def _largest(seconds: Callable[[float], float], most: float) -> float:
    """The largest factor that takes at most so many seconds, to 1 %."""
    low, high = 1e-3, float(LARGEST)
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if seconds(middle) <= most else (low, middle)
    return low
