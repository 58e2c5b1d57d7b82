"""What a few networks show before those that judge are drawn: at which time or loss to read, and how much they differ.

The networks of a pilot are drawn from a key of their own and judge nothing. Whatever is chosen from what they show,
the tests that follow are on independent networks, and their levels are what they are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import jax

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import FLOW_TIMES
from ntkrobust.bounds.verdicts import CellSample, axes_of
from ntkrobust.data import Dataset
from ntkrobust.studies.ahead import Job
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.demands import demands_of
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.records import CellRecord, Demand
from ntkrobust.studies.running import Networks, Progress
from ntkrobust.studies.store.store import CellStore
from ntkrobust.studies.study import Study, samples_of, study_of

NETWORKS = 4
"""Of each trained cell of a pilot."""

UNTRAINED = 256
"""Of each untrained cell, which cost next to nothing."""

KEY = 2**32 - 3
"""What the key of a run is folded with for its pilot."""


def pilot_networks(data: Dataset, key: jax.Array, points: int, job: Job | None = None) -> Networks:
    """The networks of the pilot of a run on these data, with this key."""
    return Networks(data, jax.random.fold_in(key, KEY), points, rough=True, job=job)


@contextlib.contextmanager
def stored_pilot(
    data: Dataset, key: jax.Array, points: int, store: CellStore | None, seeds: int, job: Job | None = None
) -> Iterator[Networks]:
    """The same, kept beside the store of the run, if it has one, which gives so many ``seeds`` to each trained cell."""
    own = jax.random.fold_in(key, KEY)
    with contextlib.nullcontext() if store is None else store.of_pilot(own, seeds) as kept:
        yield Networks(data, own, points, kept, rough=True, job=job)


def settled(
    claims: Sequence[Claim],
    known: Known,
    *,
    drawn: Networks,
    seeds: int,
    progress: Progress,
    until: float = math.inf,
) -> list[Claim]:
    """The claims, each at a value of its reading at which a pilot gets there inside the assumptions.

    Tried are the two ends of each facet of the grid, or all of it where a relation has no axis. Where no value serves,
    a claim keeps its own, and says what stood in the way.

    Args:
        claims: the claims; those without alternatives are returned as they are.
        known: what their formulas are evaluated with.
        drawn: the networks of the pilot, which gets more of them.
        seeds: networks that the run is going to train in each cell.
        progress: called after each cell with its description, how many are done, and the number of cells.
        until: a time of :func:`time.monotonic` after which nothing more is tried: a claim that no pilot was run for
            keeps its own value.
    """
    searches = {index: _Search(claim) for index, claim in enumerate(claims) if claim.alternatives}
    while waiting := {index: search for index, search in searches.items() if search.left}:
        studies = {index: of_ends(study_of(search.claim, known)) for index, search in waiting.items()}
        drawn.extend(demands_of_pilot(list(studies.values()), seeds, drawn), progress, until)
        for index, study in studies.items():
            if not was_tried(study, drawn.records):
                waiting[index].left = []  # no time is left to try it
                continue
            samples = samples_of(undrawn(study), drawn.records, NETWORKS, known)
            waiting[index].found(in_the_way(samples))
    return [searches[index].settled() if index in searches else claim for index, claim in enumerate(claims)]


def expected_pilot(studies: Sequence[Study], seeds: int) -> dict[Cell, Demand]:
    """What a pilot is going to ask of cells, about: mostly what is tried first serves.

    Args:
        studies: the claims on their grids.
        seeds: networks that the run is going to train in each cell.
    """
    tried = [study for study in studies if study.claim.alternatives]
    demands: dict[Cell, Demand] = {}
    for study in map(of_ends, tried):
        first = _Search(study.claim).left[0]
        for cell, one in demands_of([study], {study.claim.id: seeds}).items():
            wanted = dataclasses.replace(one, networks=NETWORKS if one.networks else 0, room=one.networks)
            demands[dataclasses.replace(cell, value=first)] = wanted
    return demands


def demands_of_pilot(ends: Sequence[Study], seeds: int, drawn: Networks) -> dict[Cell, Demand]:
    """What a pilot asks of the cells that are tried.

    Cells that were drawn for fewer measures are forgotten: a cell is asked for the same ones each time.

    Args:
        ends: studies of these cells.
        seeds: networks per trained cell that its programs are to serve.
        drawn: the networks of the pilot.
    """
    demands = {}
    for cell, one in demands_of(ends, {study.claim.id: seeds for study in ends}).items():
        wanted = UNTRAINED if cell.time == "initialization" else NETWORKS
        demands[cell] = dataclasses.replace(one, networks=wanted if one.networks else 0, room=one.networks)
        record = drawn.records.get(cell)
        if record is not None and len(record.seeds) and not set(one.measures) <= set(record.values):
            del drawn.records[cell]
    return demands


def was_tried(ends: Study, records: Mapping[Cell, CellRecord]) -> bool:
    """Whether every cell that is tried has given networks, or failed."""
    seen = [records.get(cell) for _, cell in ends.cells]
    return all(record is not None and (len(record.seeds) or record.failure) for record in seen)


class _Search:
    """For the value at which to read a claim: the longest time that serves, or the first loss in the order given.

    Where what is wanted most serves, nothing else is trained.
    """

    def __init__(self, claim: Claim) -> None:
        self._asked = claim
        self._wanted = claim.reading.value or 0.0
        values = [self._wanted, *claim.alternatives]
        self.left = sorted(values, reverse=True) if claim.reading.time in FLOW_TIMES else values
        self._best: float | None = None
        self._why = ""

    @property
    def claim(self) -> Claim:
        """The claim at the value that is tried next."""
        return self._asked.read_at(self.left[0])

    def found(self, problem: str) -> None:
        """What the pilot showed at that value: what is in the way, or ""."""
        value, *rest = self.left
        if problem:
            self._why, self.left = self._why or problem, rest
        else:
            self._best, self.left = value, []

    def settled(self) -> Claim:
        """The claim at the value that serves; at its own, if none does."""
        if self._best is None and not self._why:
            return self._asked.read_at(self._wanted)
        if self._best is None:
            tried = ", ".join(f"{value:g}" for value in (self._wanted, *self._asked.alternatives))
            return self._asked.read_at(self._wanted, f"of {tried} no value serves: {self._why}")
        note = f"read at {self._best:g}, not {self._wanted:g}: {self._why}" if self._best != self._wanted else ""
        return self._asked.read_at(self._best, note)


def of_ends(study: Study) -> Study:
    """A study of the cells that are tried."""
    axes = axes_of(study.claim)
    kept = [one for one in study.cells if one[1] not in study.excluded]
    if not axes:
        return dataclasses.replace(study, cells=tuple(kept))
    axis = axes[0]
    ends = set()
    values = study.claim.grid[axis]
    for end in (values[0], values[-1]):
        ends |= {cell for shown, cell in kept if (shown[axis] >= end if axis == "n" else shown[axis] == end)}
    return dataclasses.replace(study, cells=tuple(one for one in kept if one[1] in ends))


def undrawn(study: Study) -> Study:
    """The study with one network per seed: a pilot counts its networks itself."""
    return dataclasses.replace(study, claim=dataclasses.replace(study.claim, draws=1))


def in_the_way(samples: Sequence[CellSample]) -> str:
    """What of the first cell that does not serve, or ""."""
    for sample in samples:
        if sample.problem:
            return f"{sample.problem} at {sample}"
        if not sample.in_scope:
            seen = ", ".join(f"{name} {value:.2g}" for name, value in sample.checked.items())
            return f"the assumptions fail at {sample} ({seen})"
    return ""
