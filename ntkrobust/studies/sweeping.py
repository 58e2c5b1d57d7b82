"""Networks over grids, read at several times and measured in several ways, with no statement to judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import xarray as xr

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import AT_INITIALIZATION, Reading
from ntkrobust.bounds.claims.relations import AtMost
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.functions import measure_of
from ntkrobust.studies.claim_measures import check_names
from ntkrobust.studies.demands import demands_of
from ntkrobust.studies.engines.crew import Engine
from ntkrobust.studies.evidence import coordinates_of, measured_table
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.records import CellRecord
from ntkrobust.studies.running import Networks, Progress
from ntkrobust.studies.store.store import CellStore
from ntkrobust.studies.study import Study, study_of


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What is swept over: all combinations of a grid, a reading and a seed, each with all measures.

    Attributes:
        networks: grids, axis → values, as of a :class:`~ntkrobust.Claim`.
        readings: when networks are looked at.
        measures: names, objects or functions, as a claim takes them. Those that say nothing about untrained networks
            are left out at initialization.
        seeds: networks per cell.
        points: test points that measures are averaged over.
    """

    networks: Sequence[Mapping[str, Any]]
    readings: Sequence[Reading] = (AT_INITIALIZATION,)
    measures: Sequence[str | Measure | Callable[..., Any]] = ("perturbation_stability",)
    seeds: int = 16
    points: int = 64


@dataclasses.dataclass(frozen=True)
class Swept:
    """What the cells of a sweep gave on one data set.

    Attributes:
        data: the data set.
        records: of all cells that there can be.
        measures: name → measure.
    """

    data: Dataset
    records: tuple[CellRecord, ...]
    measures: Mapping[str, Measure]

    def table(self) -> xr.Dataset:
        """All cells, as the group ``measured`` of :func:`~ntkrobust.studies.evidence.evidence_tree`, and ``data``."""
        along_cells = coordinates_of(self.records, self.data)
        along_cells["data"] = ("cell", [self.data.name] * len(self.records))
        along_cells["failure"] = ("cell", [record.failure for record in self.records])
        return measured_table(self.records, self.measures, along_cells)


def studies_of(sweep: Sweep, data: Dataset) -> list[Study]:
    """The cells of a sweep, checked before anything is run, as those of statements that nobody makes.

    Raises:
        InputError: a grid, a measure or a combination of them can't be; the sentence begins with the place in the
            sweep, ``networks 1``, ``readings 2`` or ``measures 3``.
    """
    known = Known.of(data, sweep.points)
    measures = []
    for index, one in enumerate(sweep.measures, 1):
        try:
            measures.append(measure_of(one))
        except InputError as error:
            raise InputError(f"measures {index}: {error}") from None
    check_names(measures)
    studies = []
    for index, grid in enumerate(sweep.networks, 1):
        for reading in sweep.readings:
            for measure in measures:
                if reading.time == "initialization" and (measure.needs_training_data or "y_test" in measure.needs):
                    continue
                try:
                    claim = Claim(f"{_PLACE}{index}", "", _STATES_NOTHING, measure, grid, reading=reading)
                    # Control variates are for statements: here, networks are measured as was asked for.
                    studies.append(dataclasses.replace(study_of(claim, known), controls={}))
                except InputError as error:
                    sentence = str(error).removeprefix(f"claim {_PLACE}{index}: ")
                    raise InputError(f"networks {index}: {sentence}") from None
    if not studies:
        raise InputError("measures 1: none of them says anything about networks at these readings")
    return studies


_PLACE = "networks-"
_STATES_NOTHING = AtMost(lambda n: 1.0)


def run_sweep(
    sweep: Sweep,
    data: Dataset,
    studies: Sequence[Study],
    *,
    key: jax.Array,
    progress: Progress,
    store: CellStore | None = None,
    engine: Engine | None = None,
) -> Swept:
    """Run every cell of a sweep, once.

    Args:
        sweep: what is asked for.
        data: the data set.
        studies: of :func:`studies_of`, on these data.
        key: a typed key.
        progress: called after each cell with its description, how many are done, and the number of cells.
        store: of what cells gave; what it has is not run again.
        engine: what runs them; this process without one.
    """
    networks = Networks(data, key, min(sweep.points, len(data.x_test)), store, engine)
    asked = demands_of(studies, {study.claim.id: sweep.seeds for study in studies})
    demands = {cell: one for cell, one in asked.items() if one.networks}
    networks.extend(demands, progress)
    measures = {name: one for study in studies for name, one in study.measures.items()}
    return Swept(data, tuple(networks.records[cell] for cell in demands), measures)
