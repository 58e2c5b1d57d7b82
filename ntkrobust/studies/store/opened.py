"""A folder of cells as a table, and what has become of each."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ntkrobust.studies.records import NUMBERS
from ntkrobust.studies.store.contents import of_json
from ntkrobust.studies.store.identity import numerics
from ntkrobust.studies.store.journal import fates
from ntkrobust.studies.store.segments import Segment
from ntkrobust.studies.store.store import Contents

STATES = ("done", "running", "planned", "interrupted", "failed", "stale")
"""What a cell can be: ``stale`` ones were computed by another version of JAX or of the numerics."""


@dataclasses.dataclass(frozen=True)
class CellState:
    """What has become of a cell.

    Attributes:
        label: what it is.
        state: one of :data:`STATES`.
        networks: that are stored.
        wanted: that were asked for last; 0 where no journal knows.
        reason, traceback: of a failure.
    """

    label: str
    state: str
    networks: int
    wanted: int = 0
    reason: str = ""
    traceback: str = ""


def states_in(folder: Path, contents: Contents | None = None) -> dict[str, CellState]:
    """Name of a cell → what has become of it; with ``contents``, of what was read of the folder before."""
    contents, told, now = contents or Contents(folder), fates(folder), of_json(numerics())
    found = {}
    for name in dict.fromkeys([*contents.segments, *told]):
        segments, fate = contents.segments.get(name, []), told.get(name)
        networks = max((one.stop for one in segments), default=0)
        label = segments[0].label if segments else ""
        if segments and all(one.numerics != now for one in segments):
            found[name] = CellState(label, "stale", networks)
        elif fate is None or (networks and networks >= fate.networks):
            found[name] = CellState(label, "done", networks, networks if fate is None else fate.networks)
        else:
            state = "interrupted" if fate.state == "done" else fate.state
            found[name] = CellState(fate.label or label, state, networks, fate.networks, fate.reason, fate.traceback)
    return found


def counted(states: Mapping[str, CellState]) -> dict[str, int]:
    """State → how many cells are in it, in the order of :data:`STATES`; those that none is in are left out."""
    counts = Counter(one.state for one in states.values())
    return {name: counts[name] for name in STATES if counts[name]}


def table_of(folder: Path, contents: Contents | None = None) -> xr.Dataset:
    """All cells that are stored, with dimensions ``cell`` and ``seed``, as the group ``measured`` of the evidence.

    Where two runs stored the same networks, the later one counts. A name that stands for two different measures has
    the first letters of their digests behind it. With ``contents``, of what was read of the folder before.
    """
    contents = contents or Contents(folder)
    cells = sorted(contents.segments, key=lambda name: _order(contents.segments[name]))
    rows = {name: row for row, name in enumerate(cells)}
    segments = sorted(contents, key=lambda one: one.generation)
    seeds = max((one.stop for one in segments), default=0)
    called = _called(segments)
    tables = {
        name: np.full((len(cells), seeds), np.nan) for name in dict.fromkeys((*called.values(), *NUMBERS, "diverged"))
    }
    per_cell = {name: np.full(len(cells), np.nan) for name in ("tolerance", "seconds")}
    for one in segments:
        row, part = rows[one.cell], slice(one.start, one.stop)
        for name, values in one.values.items():
            tables[called[name]][row, part] = values
        for name in NUMBERS:
            tables[name][row, part] = one.state[name]
        tables["diverged"][row, part] = one.status == "diverged"
        per_cell["tolerance"][row] = one.tolerance
        per_cell["seconds"][row] = one.seconds + (
            0 if math.isnan(per_cell["seconds"][row]) else per_cell["seconds"][row]
        )
    first = [contents.segments[name][0] for name in cells]
    return xr.Dataset(
        {
            **{name: (("cell", "seed"), table) for name, table in tables.items()},
            **{name: ("cell", column) for name, column in per_cell.items()},
        },
        coords={
            **{name: ("cell", _column([one.coordinates.get(name) for one in first])) for name in _names(first)},
            "cell_sha256": ("cell", cells),
            "cell": np.arange(len(cells)),
            "seed": np.arange(seeds),
        },
    )


def _order(segments: Sequence[Segment]) -> tuple[int, str, str]:
    return min(one.generation for one in segments), segments[0].label, segments[0].cell


def _called(segments: Sequence[Segment]) -> dict[str, str]:
    """Name of a measure → that of its variable."""
    names = {name: called for one in segments for name, called in one.names.items()}
    twice = Counter(names.values())
    taken = {*NUMBERS, "diverged", "tolerance", "seconds"}
    return {
        name: called if twice[called] == 1 and called not in taken else f"{called}_{name[:8]}"
        for name, called in names.items()
    }


def _names(segments: Sequence[Segment]) -> list[str]:
    """Coordinates that say something, with names that no variable has."""
    found = dict.fromkeys(name for one in segments for name in one.coordinates)
    measured = set(_called(segments).values()) | {
        *NUMBERS,
        "diverged",
        "tolerance",
        "seconds",
        "cell",
        "seed",
        "cell_sha256",
    }
    return [name for name in found if name not in measured]


def _column(values: Sequence[Any]) -> list[Any]:
    """A coordinate of all cells: numbers with NaN, or texts with "", where there is none."""
    numbers = all(one is None or (isinstance(one, int | float) and not isinstance(one, bool)) for one in values)
    if numbers and any(one is not None for one in values):
        whole = all(isinstance(one, int) and abs(one) < 2**53 for one in values)
        return list(values) if whole else [math.nan if one is None else float(one) for one in values]
    return ["" if one is None else str(one) for one in values]
