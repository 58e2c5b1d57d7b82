"""A folder of cells as a table, and what has become of each."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ntkrobust.studies.records import NUMBERS
from ntkrobust.studies.store.contents import of_json
from ntkrobust.studies.store.folder import Outlines
from ntkrobust.studies.store.identity import numerics
from ntkrobust.studies.store.journal import fates
from ntkrobust.studies.store.lazily import DIVERGED, lazily
from ntkrobust.studies.store.segments import Outline

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


def states_in(folder: Path, contents: Outlines | None = None) -> dict[str, CellState]:
    """Name of a cell → what has become of it; with ``contents``, of what was read of the folder before."""
    contents, told, now = contents or Outlines(folder), fates(folder), of_json(numerics())
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


def table_of(folder: Path, contents: Outlines | None = None) -> xr.Dataset:
    """All cells that are stored, with dimensions ``cell`` and ``seed``, as the group ``measured`` of the evidence.

    Numbers of networks are read when they are asked for. Where two runs stored the same networks, the later one
    counts. A name that stands for two different measures has the first letters of their digests behind it. With
    ``contents``, of what was read of the folder before.
    """
    contents = contents or Outlines(folder)
    names = sorted(contents.segments, key=lambda name: _order(contents.segments[name]))
    cells = [contents.segments[name] for name in names]
    every = [one for found in cells for one in found]
    columns = {called: name for name, called in _called(every).items()} | {name: name for name in (*NUMBERS, DIVERGED)}
    first = [found[0] for found in cells]
    told = _names(first, columns)
    rest = xr.Dataset(
        {
            "tolerance": ("cell", [max(found, key=lambda one: one.generation).tolerance for found in cells]),
            "seconds": ("cell", [math.fsum(one.seconds for one in found) for found in cells]),
        },
        coords={
            **{name: ("cell", _column([one.coordinates.get(name) for one in first])) for name in told},
            "cell_sha256": ("cell", names),
            "cell": np.arange(len(names)),
            "seed": np.arange(max((one.stop for one in every), default=0)),
        },
    )
    return lazily(folder, cells, columns, rest)


def _order(segments: Sequence[Outline]) -> tuple[int, str, str]:
    return min(one.generation for one in segments), segments[0].label, segments[0].cell


def _called(segments: Sequence[Outline]) -> dict[str, str]:
    """Name of a measure → that of its variable."""
    names = {name: called for one in segments for name, called in one.names.items()}
    twice = Counter(names.values())
    return {
        name: called if twice[called] == 1 and called not in _TAKEN else f"{called}_{name[:8]}"
        for name, called in names.items()
    }


_TAKEN = {*NUMBERS, DIVERGED, "tolerance", "seconds"}
"""Variables of every table."""


def _names(segments: Sequence[Outline], columns: Iterable[str]) -> list[str]:
    """Coordinates that say something, with names that no variable has."""
    found = dict.fromkeys(name for one in segments for name in one.coordinates)
    taken = {*columns, *_TAKEN, "cell", "seed", "cell_sha256"}
    return [name for name in found if name not in taken]


def _column(values: Sequence[Any]) -> list[Any]:
    """A coordinate of all cells: numbers with NaN, or texts with "", where there is none."""
    kinds = {type(one) for one in values}
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        exact = kinds == {int} and all(abs(one) < 2**53 for one in values)
        with contextlib.suppress(OverflowError):  # a whole number beyond all floats is a text
            return list(values) if exact else [math.nan if one is None else float(one) for one in values]
    return ["" if one is None else str(one) for one in values]
