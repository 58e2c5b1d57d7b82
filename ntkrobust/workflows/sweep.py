"""``sweep``: networks × data × readings × measures, with no statement to judge; and what lies in a folder of cells."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from ntkrobust.bounds.claims.reading import AT_INITIALIZATION, Reading
from ntkrobust.checks import MOST_SEEDS, check_flag, check_path, check_sequence, instance, or_none, takes, whole
from ntkrobust.data import Data, Dataset, each, load
from ntkrobust.errors import InputError
from ntkrobust.files.atomic import named, reserved, write_text
from ntkrobust.finite.measures.base import Measure
from ntkrobust.reports.sweep_page import sweep_page
from ntkrobust.runtime.seeds import check_key
from ntkrobust.studies.engines.choosing import engine_of
from ntkrobust.studies.evidence import environment
from ntkrobust.studies.store.folder import Outlines
from ntkrobust.studies.store.opened import CellState, counted, states_in, table_of
from ntkrobust.studies.store.store import FOLDER, open_store
from ntkrobust.studies.sweeping import Sweep, run_sweep, studies_of
from ntkrobust.workflows.progress import Progress, shown_progress

SPEC = "sweep.json"
"""In the folder of a sweep: what was asked for, for ``resume``."""

REPORT = "report.html"
NAMES = (SPEC, REPORT)

SCHEMA_VERSION = 1
"""The layout of ``sweep.json``, and of the tree that :func:`open_study` gives."""


@takes(seeds=whole(1, MOST_SEEDS), points=whole(1), out=or_none(check_path), fresh=check_flag, retry=check_flag,
       unchanged=check_flag)  # fmt: skip
def sweep(
    networks: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    data: Data | Sequence[Data] = "digits",
    readings: Reading | Sequence[Reading] = (AT_INITIALIZATION,),
    measures: Any = ("perturbation_stability",),
    seeds: int = 16,
    points: int = 64,
    key: jax.Array | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    retry: bool = True,
    unchanged: bool = False,
    client: Any = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Draw, train and measure networks over grids.

    Args:
        networks: a grid, axis → values, as of a :class:`~ntkrobust.Claim`, or several of them; or the path of a
            ``.toml`` file that holds the whole sweep, beside which only ``out``, ``fresh``, ``retry``,
            ``unchanged``, ``client`` and ``progress`` are looked at.
        data: as for :func:`~ntkrobust.verify`, or a list of several.
        readings: when networks are looked at; one :class:`~ntkrobust.Reading` or several.
        measures: a name, an object or a function, or several. What says nothing about untrained networks is left out
            at initialization.
        seeds: networks per cell.
        points: test points that measures are averaged over (the first so many).
        key: a typed key, by default ``jax.random.key(0)``.
        out: folder for ``cells/``, where each cell is stored as it ends, and ``report.html``; None writes nothing.
            Called again with the same folder, the sweep goes on.
        fresh: compute all cells, also those that are stored in ``out``.
        retry: try cells again that failed before.
        unchanged, client, progress: as of :func:`~ntkrobust.verify`.

    Returns:
        A tree with a group ``measured``: dimensions ``cell`` and ``seed``, a variable for each measure, and along
        ``cell`` the coordinates of the networks, the reading and the data. ``set_index`` and ``unstack`` make a cube
        of it.

    Raises:
        InputError: anything about the arguments that can't work, before anything is run or written.
        NotWrittenError: the files can't be written; its ``found`` is the tree.
    """
    if isinstance(networks, str | Path):
        return swept_file(networks, out=out, fresh=fresh, retry=retry, unchanged=unchanged, client=client,
                          progress=progress)  # fmt: skip
    grids = [networks] if isinstance(networks, Mapping) else check_sequence(networks, "networks")
    for one in grids:
        instance(Mapping, "a mapping of axis to values")("each of networks", one)
    given = each(data)
    several = [readings] if isinstance(readings, Reading) else check_sequence(readings, "readings")
    for one in several:
        instance(Reading, "a Reading")("each of readings", one)
    alone = isinstance(measures, str | Measure) or callable(measures)
    asked = Sweep(
        grids, several, [measures] if alone else check_sequence(measures, "measures"), seeds=seeds, points=points
    )
    if not grids or not several or not asked.measures or not given:
        raise InputError("a sweep needs at least one each of networks, readings, measures and data")
    loaded = [load(one) for one in given]
    return _swept(asked, loaded, check_key(key), out, None, fresh=fresh, retry=retry, unchanged=unchanged,
                  client=client, progress=progress)  # fmt: skip


def swept_file(
    path: str | Path,
    *,
    out: str | Path | None,
    fresh: bool = False,
    retry: bool = True,
    unchanged: bool = False,
    client: Any = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """The sweep that a file describes (:mod:`ntkrobust.workflows.sweep_spec`); arguments as of :func:`sweep`.

    Raises:
        InputError: as for :func:`sweep`, with the line of the file that is wrong.
    """
    from ntkrobust.workflows.sweep_spec import read_spec

    return _swept_text(read_spec(path), out, fresh=fresh, retry=retry, unchanged=unchanged, client=client,
                       progress=progress)  # fmt: skip


def resumed(
    folder: str | Path,
    *,
    retry: bool = False,
    unchanged: bool = False,
    client: Any = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Go on with the sweep of a folder.

    Args:
        folder: what ``sweep SPEC.toml --out`` wrote.
        retry: try cells again that failed before.
        unchanged, client, progress: as of :func:`sweep`.

    Raises:
        InputError: the folder holds no such sweep.
    """
    from ntkrobust.workflows.sweep_spec import parsed

    place = Path(folder)
    if not (place / SPEC).is_file():
        raise InputError(
            f"{named(place)} holds no {SPEC}: it is written by `ntkrobust sweep SPEC.toml --out`; what `verify` or "
            "Python began goes on with the same command or call"
        )
    try:
        stored = json.loads((place / SPEC).read_bytes())
        text = stored["text"] if stored["schema_version"] == SCHEMA_VERSION else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise InputError(f"{named(place / SPEC)} is not what a sweep of this version of the package writes")
    return _swept_text(parsed(place / SPEC, text), place, fresh=False, retry=retry, unchanged=unchanged, client=client,
                       progress=progress)  # fmt: skip


def _swept_text(located: Any, out: str | Path | None, **how: Any) -> xr.DataTree:
    loaded = [load(name) for name in located.spec.data_sets]
    try:
        return _swept(located.sweep, loaded, jax.random.key(located.spec.key), out, located.text, **how)
    except InputError as error:
        raise located.blamed(error) from None


def _swept(
    asked: Sweep,
    loaded: Sequence[Dataset],
    key: jax.Array,
    out: str | Path | None,
    text: str | None,
    *,
    fresh: bool,
    retry: bool,
    unchanged: bool,
    client: Any,
    progress: Progress | None,
) -> xr.DataTree:
    """A sweep on several data sets, with the text of the file that describes it, if there is one."""
    studies = [studies_of(asked, data) for data in loaded]  # all is checked before anything is written
    engine, tables = engine_of(client), []
    with contextlib.nullcontext() if out is None else reserved(out, NAMES) as place:
        if place is not None and text is not None:
            write_text(place / SPEC, json.dumps({"schema_version": SCHEMA_VERSION, "text": text}))
        for data, checked in zip(loaded, studies, strict=True):
            with open_store(out, data, key, asked.points, reuse=not fresh, retry=retry, unchanged=unchanged) as store:
                swept = run_sweep(
                    asked, data, checked, key=key, store=store, engine=engine, progress=shown_progress(progress)
                )
            tables.append(swept.table())
        found = _tree(xr.concat(tables, "cell", join="outer", data_vars="all") if len(tables) > 1 else tables[0])
        if place is not None:
            write_text(place / REPORT, _page(place))
    return found


def open_study(folder: str | Path) -> xr.DataTree:
    """What is stored in the folder of a sweep or a verification, finished or not, as :func:`sweep` returns it.

    Beside that, ``cell_sha256`` (cell) is the name of each cell. Cells of all runs that wrote to the folder are in it;
    where two of them stored the same networks, the later one counts.

    Raises:
        InputError: there is no such folder, or it holds no cells.
    """
    return _tree(table_of(_cells_of(check_path("folder", folder))))


@dataclasses.dataclass(frozen=True)
class Status:
    """What has become of the cells of a folder.

    Attributes:
        counts: state → number of cells.
        cells: all of them.
    """

    counts: Mapping[str, int]
    cells: tuple[CellState, ...]

    @property
    def failed(self) -> list[CellState]:
        """Those that failed."""
        return [one for one in self.cells if one.state == "failed"]


def status_of(folder: str | Path) -> Status:
    """What has become of the cells of a folder.

    Raises:
        InputError: there is no such folder, or it holds no cells.
    """
    states = states_in(_cells_of(check_path("folder", folder)))
    return Status(counted(states), tuple(states.values()))


def write_sweep_report(folder: Path) -> Path:
    """Write the report of a folder of cells again; returns its path.

    Raises:
        InputError: it holds no cells, or a run is writing to it.
    """
    _cells_of(folder)
    with reserved(folder, NAMES):
        write_text(folder / REPORT, _page(folder))
    return folder / REPORT


def _page(folder: Path) -> str:
    cells = folder / FOLDER
    contents = Outlines(cells)
    states = states_in(cells, contents)
    failures = [(one.label, one.reason) for one in states.values() if one.state == "failed"]
    return sweep_page(table_of(cells, contents), counted(states), failures)


def _cells_of(folder: str | os.PathLike[str]) -> Path:
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"no such folder: {named(place)}")
    cells = place / FOLDER
    if cells.is_symlink() or not cells.is_dir():
        raise InputError(
            f"{named(place)} holds no {FOLDER}/: give the folder that `sweep --out` or `verify --out` wrote"
        )
    return cells


def _tree(table: xr.Dataset) -> xr.DataTree:
    tree = xr.DataTree.from_dict({"measured": table})
    tree.attrs = {"schema_version": SCHEMA_VERSION, **environment()}
    return tree
