r"""What a pilot foretells: how many networks would settle a claim, and how long they take on this machine.

A few networks say little of a mean. So a claim is called out of reach only where it would be by the better of three
readings of what they show: their means as they are, and moved by one standard error either way (along the axis that
the claim speaks of; up and down where it speaks of none).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy import special

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.statistics import MINIMUM_SEEDS
from ntkrobust.bounds.verdicts import CellSample, axes_of
from ntkrobust.bounds.verdicts.judging import judge
from ntkrobust.bounds.verdicts.labelling import enough_cells, says_nothing
from ntkrobust.bounds.verdicts.stating import facets_along
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.control import in_proportion
from ntkrobust.studies.demands import demands_of
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.pilot import UNTRAINED, demands_of_pilot, in_the_way, of_ends, undrawn, was_tried
from ntkrobust.studies.progress import duration
from ntkrobust.studies.records import CellRecord, nothing
from ntkrobust.studies.running import Networks, Progress
from ntkrobust.studies.study import Study, samples_of

NO_PILOT = "no time for a pilot of it"
"""What is foretold of claims that the time ran out for."""

SEEDS = 16
"""Networks per trained cell whose time is told where a pilot names no number."""


@dataclasses.dataclass(frozen=True)
class Prospect:
    """What a pilot foretells of a claim.

    Attributes:
        claim: the claim.
        seeds: networks per trained cell that would likely settle it, over the claim's draws; None where no number
            would, as far as the pilot can tell.
        reason: why nothing is foretold, or what is in the way, or "".
        seconds: that they take on this machine, or where none are known, :data:`SEEDS`; None if unknown.
    """

    claim: Claim
    seeds: int | None
    reason: str = ""
    seconds: float | None = None

    @property
    def in_words(self) -> str:
        """``about 48 seeds, 7 min, would settle it``."""
        if self.seeds is not None:
            took = "" if self.seconds is None else f", {duration(self.seconds)},"
            return f"about {self.seeds} seeds{took} would settle it"
        took = "" if self.seconds is None else f" ({SEEDS} seeds take about {duration(self.seconds)})"
        return f"{self.reason}{took}"


def run_pilot(study: Study, networks: Networks, seeds: int, progress: Progress, seconds: float, until: float) -> None:
    """Draw the networks that a prospect is seen on: those of the ends of the grid.

    None are drawn where they would take longer than there is time, as far as that is known.

    Args:
        study: the claim on its grid.
        networks: of the pilot.
        seeds: networks per trained cell that the programs are to serve.
        progress, until: as of :meth:`~ntkrobust.studies.running.Networks.extend`.
        seconds: that there are.
    """
    demands = demands_of_pilot([of_ends(study)], seeds, networks)
    if networks.seconds(demands) > seconds:
        return
    # A call that compiles, one of few networks, one of many.
    for share in (16, 4, 1):
        part = {cell: dataclasses.replace(one, networks=one.networks // share) for cell, one in demands.items()}
        networks.extend(part, progress, until)


def prospect_of(study: Study, records: Mapping[Cell, CellRecord], known: Known, level: float) -> Prospect:
    """What the records of a pilot foretell of a claim that is to be tested at a level."""
    tried = of_ends(study)
    if not was_tried(tried, records):
        return Prospect(study.claim, None, NO_PILOT)
    every = {cell: records.get(cell, nothing(cell)) for _, cell in study.cells}
    samples = samples_of(undrawn(study), every, UNTRAINED, known)
    ends = {cell for _, cell in tried.cells}
    problem = in_the_way([one for one, (_, cell) in zip(samples, study.cells, strict=True) if cell in ends])
    if problem:
        return Prospect(study.claim, None, problem)
    worlds = [_usable(study, world) for world in _worlds(study, samples, records)]
    if not worlds[0] or not enough_cells(study.claim, samples, worlds[0]):
        return Prospect(study.claim, MINIMUM_SEEDS)  # what is to be said needs no more
    needed = [judge(study.claim, world, level, side=study.side).seeds_needed for world in worlds]
    found = min((one for one in needed if one is not None), default=None)
    return Prospect(study.claim, found, "" if found else "no number of networks would settle it, by the pilot")


def _usable(study: Study, samples: Sequence[CellSample]) -> tuple[CellSample, ...]:
    """Those that are tested: in scope, with something stated for them, and a mean that changes can be relative to."""
    return tuple(
        one
        for one, (_, cell) in zip(samples, study.cells, strict=True)
        if cell not in study.excluded
        and len(one.values)
        and np.all(one.values > 0)
        and not says_nothing(study.claim, one)
    )


def _worlds(
    study: Study, samples: Sequence[CellSample], records: Mapping[Cell, CellRecord]
) -> Iterator[list[CellSample]]:
    """Samples of as few networks as are judged, with the means and spreads that a pilot shows, and next to them."""
    seen = {
        position: _seen(study, cell, sample, records)
        for position, ((_, cell), sample) in enumerate(zip(study.cells, samples, strict=True))
        if len(sample.values)
    }
    axes = axes_of(study.claim)
    # Where nothing is said along an axis, a cell has only itself to be estimated from.
    facets = facets_along(axes[0], samples) if axes else [[position] for position in seen]
    for shift in (0.0, 1.0, -1.0):
        logs: dict[int, tuple[float, float]] = {}
        for facet in facets:
            ranks = [rank for rank, position in enumerate(facet) if position in seen]
            if not ranks:
                continue
            means, spreads, errors = np.array([seen[facet[rank]] for rank in ranks]).T
            # One standard error of the change over the range, half at each end; of a cell alone, of itself.
            tilt = np.linspace(-0.5, 0.5, len(facet)) * math.hypot(errors[0], errors[-1]) if axes else errors
            for rank, position in enumerate(facet):
                logs[position] = (
                    float(np.interp(rank, ranks, means) + shift * tilt[rank]),
                    float(np.interp(rank, ranks, spreads)),
                )
        yield [
            dataclasses.replace(one, values=_lognormal(*logs[position], study.claim.draws, position))
            if position in logs
            else one
            for position, one in enumerate(samples)
        ]


def _seen(
    study: Study, cell: Cell, sample: CellSample, records: Mapping[Cell, CellRecord]
) -> tuple[float, float, float]:
    """The logarithm of the mean of a cell, the relative spread of its networks, and the relative standard error."""
    values, control = sample.values, study.controls.get(cell)
    if control is not None:
        values = in_proportion(values, records[cell].values[control.measure.name][: len(values)], control.mean)
    mean = float(np.mean(values))
    spread = float(np.std(values, ddof=1)) / abs(mean) if len(values) > 1 and mean else 0.0
    return math.log(mean) if mean > 0 else -math.inf, spread, spread / math.sqrt(len(values))


def _lognormal(log_mean: float, spread: float, draws: int, seed: int) -> np.ndarray:
    """(12 draws,) values that are as lognormal as so few can be, in random order."""
    count = MINIMUM_SEEDS * draws
    sigma = math.sqrt(math.log1p(max(spread, 1e-9) ** 2))
    normal = special.ndtri((np.arange(count) + 0.5) / count)
    normal /= np.std(normal, ddof=1)
    values = np.exp(sigma * normal)
    return math.exp(log_mean) * np.random.default_rng(seed).permutation(values / np.mean(values))


def spreads_of(
    studies: Sequence[Study], drawn: Networks, known: Known, *, seeds: int, progress: Progress
) -> list[float | None]:
    """How much networks of a cell differ, seen on few of them: standard deviation over mean of each claim's measure.

    Args:
        studies: the claims on their grids.
        drawn: the networks of a pilot.
        known: what formulas are evaluated with.
        seeds: networks per trained cell to see it on.
        progress: called after each cell with its description, how many are done, and the number of cells.

    Returns:
        Of the first and the last cell of each grid that is in scope, the larger; None where neither could be used, or
        nothing varies.
    """
    ends = []
    for study in studies:
        kept = [one for one in study.cells if one[1] not in study.excluded]
        ends.append(dataclasses.replace(study, cells=tuple(kept[index] for index in {0, len(kept) - 1} if kept)))
    for share in (1, seeds // 2, seeds):
        drawn.extend(demands_of(ends, {study.claim.id: share for study in ends}), progress)
    found: list[float | None] = []
    for study in ends:
        spreads = [0.0]
        for sample in samples_of(study, drawn.records, seeds, known):
            if len(sample.values) > 1 and not sample.problem:
                geometric = study.claim.reading.functional == "geometric mean"
                values = np.log(sample.values) if geometric else sample.values / np.mean(sample.values)
                spreads.append(float(np.std(values, ddof=1)))
        found.append(max(spreads) or None)
    return found
