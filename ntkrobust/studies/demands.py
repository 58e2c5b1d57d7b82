"""Which networks the studies of several claims ask for together, and which are not worth training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.verdicts import CellSample, enough_cells
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.reach import PILOT, is_out_of_reach, may_be_out_of_reach
from ntkrobust.studies.records import Demand
from ntkrobust.studies.running import Networks, Progress
from ntkrobust.studies.study import Study


def out_of_reach(
    studies: Sequence[Study], seeds: Mapping[str, int], networks: Networks, progress: Progress
) -> frozenset[Cell]:
    """Cells of which the first networks did not get where they are read, so that no others need to be trained.

    Tried are the ends of each grid, and where one of them is out of reach, all of it. Nothing is wasted: what is tried
    are the first of the networks that are wanted. Arguments as of :func:`demands_of`.
    """
    wanted = [study for study in studies if study.claim.id in seeds]

    def may_be(study: Study) -> list[Cell]:
        return [cell for _, cell in study.cells if may_be_out_of_reach(cell) and cell not in study.excluded]

    def attempt(of: Sequence[Study], ends_only: bool) -> None:
        cells = {cell for study in of for cell in (may_be(study)[:: max(1, len(may_be(study)) - 1)]
                                                   if ends_only else may_be(study))}  # fmt: skip
        demands = {
            # in the programs that the others will run in
            cell: dataclasses.replace(demand, networks=min(demand.networks, PILOT), room=demand.networks)
            for cell, demand in demands_of(studies, {one.claim.id: seeds[one.claim.id] for one in of}).items()
            if cell in cells
        }
        networks.extend(demands, progress)

    def unusable() -> frozenset[Cell]:
        cells = {cell for study in wanted for cell in may_be(study) if cell in networks.records}
        return frozenset(cell for cell in cells if is_out_of_reach(networks.records[cell]))

    attempt(wanted, ends_only=True)
    attempt([study for study in wanted if unusable() & set(may_be(study))], ends_only=False)
    return unusable()


def cells_left(study: Study, unusable: frozenset[Cell]) -> bool:
    """Whether cells are left to judge a claim on."""
    cells = [(CellSample(shown, np.empty(0)), cell) for shown, cell in study.cells]
    left = [sample for sample, cell in cells if cell not in unusable and cell not in study.excluded]
    return not unusable or enough_cells(study.claim, [sample for sample, _ in cells], left)


def demands_of(
    studies: Sequence[Study], seeds: Mapping[str, int], unusable: frozenset[Cell] = frozenset()
) -> dict[Cell, Demand]:
    """What cells are to give: networks for the claims wanted, with what any claim measures on them.

    Args:
        studies: all of them.
        seeds: id of each claim that is wanted → networks per trained cell.
        unusable: cells of which no more networks are wanted.
    """
    demands: dict[Cell, Demand] = {}
    for study in studies:
        for _, cell in study.cells:
            before = demands.get(cell, Demand({}, 0))
            if isinstance(study.claim.measure, Quantity) or cell in study.excluded:
                demands[cell] = before
                continue
            count = 0 if cell in unusable else seeds.get(study.claim.id, 0)
            networks = count * study.claim.draws
            demands[cell] = Demand({**before.measures, **study.measures_in(cell)}, max(before.networks, networks))
    return demands
