"""A folder of cells as a table whose numbers are read when they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from ntkrobust.errors import one_line
from ntkrobust.files.atomic import named
from ntkrobust.studies.store.buckets import DamagedError, Stored, numbers_in
from ntkrobust.studies.store.folder import Outlines
from ntkrobust.studies.store.segments import STATUSES

HELD = 64
"""Files whose numbers are held at a time."""

DIVERGED = "diverged"

_said = logging.getLogger("ntkrobust")


def lazily(folder: Path, cells: Sequence[Sequence[Stored]], columns: Mapping[str, str], rest: xr.Dataset) -> xr.Dataset:
    """A table with variables (cell, seed) that are read when they are asked for, each once.

    Args:
        folder: of the cells.
        cells: the segments of each.
        columns: name of a variable → one of ``rows`` of the segments, or :data:`DIVERGED`.
        rest: what else is in the table.
    """
    return xr.open_dataset(folder, engine=_Cells, columns=_Columns(cells, columns, _Numbers(folder)), rest=rest)


class _Cells(BackendEntrypoint):
    """What xarray asks for to hold variables that are read later, and then keeps."""

    open_dataset_parameters = ("columns", "rest")

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None, **more: Any
    ) -> xr.Dataset:
        return more["rest"].assign(more["columns"].variables())


class _Numbers:
    """The numbers of segments, a file at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[Path, tuple[np.ndarray, np.ndarray]] = {}
        self._moved: dict[tuple[Any, ...], Stored] = {}
        self._lost: set[Path] = set()

    def of(self, one: Stored, row: str) -> np.ndarray:
        """(s,) of one of its rows; NaN, which is said, where they are damaged."""
        if self._moved:
            one = self._moved.get(one.identity, one)
        try:
            numbers, codes = self._read(one.path)
        except FileNotFoundError:  # merged into another file since it was found
            self._moved = {other.identity: other for other in Outlines(self._folder)}
            found = self._moved.get(one.identity)
            return self._none(one, "it is gone") if found is None else self.of(found, row)
        except (DamagedError, OSError) as error:
            return self._none(one, str(error))
        size = one.stop - one.start
        if row == DIVERGED:
            return (codes[one.at_status : one.at_status + size] == STATUSES.index(row)).astype(float)
        at = one.at + one.rows.index(row) * size
        return numbers[at : at + size]

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        found = self._held.get(path)
        if found is None:
            found = numbers_in(path)
            for older in list(self._held)[: len(self._held) + 1 - HELD]:
                self._held.pop(older, None)
            self._held[path] = found
        return found

    def _none(self, one: Stored, why: str) -> np.ndarray:
        if one.path not in self._lost:
            self._lost.add(one.path)
            _said.warning(one_line(f"{named(one.path)} can't be read ({why}): its numbers are NaN here"))
        return np.full(one.stop - one.start, np.nan)


class _Columns:
    """The variables of a table, see :func:`lazily`."""

    def __init__(self, cells: Sequence[Sequence[Stored]], columns: Mapping[str, str], numbers: _Numbers) -> None:
        self._cells, self._columns, self._numbers = cells, columns, numbers

    def variables(self) -> dict[str, xr.Variable]:
        """Name → what is read later."""
        return {
            name: xr.Variable(("cell", "seed"), indexing.LazilyIndexedArray(_Column(self._cells, row, self._numbers)))
            for name, row in self._columns.items()
        }


class _Column(BackendArray):
    """(cell, seed) numbers of one kind; NaN where there are none."""

    def __init__(self, cells: Sequence[Sequence[Stored]], row: str, numbers: _Numbers) -> None:
        self._cells, self._row, self._numbers = cells, row, numbers
        self.shape = len(cells), max((one.stop for found in cells for one in found), default=0)
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._taken)

    def _taken(self, key: tuple[Any, ...]) -> np.ndarray:
        cells, seeds = np.arange(self.shape[0])[key[0]], key[1]
        table = np.full((cells.size, self.shape[1]), np.nan)
        wanted = [(one, into) for into, cell in zip(table, cells.flat, strict=True) for one in self._cells[cell]]
        # File by file, but what was stored later goes over what was there.
        for one, into in sorted(wanted, key=lambda of: (of[0].generation, of[0].path)):
            if self._row == DIVERGED or self._row in one.rows:
                into[one.start : one.stop] = self._numbers.of(one, self._row)
        return table[:, seeds].reshape(cells.shape + np.arange(self.shape[1])[seeds].shape)
