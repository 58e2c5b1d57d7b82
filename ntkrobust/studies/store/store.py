"""The store of one run: what cells there are, what this run adds, and how soon that is on the disk.

A cell that ends is written at once, unless writing the last ones took more than a fiftieth of the time since: then it
waits for others that end meanwhile. Writing so takes at most :data:`SHARE` of a run, and what a kill can cost, beside
the cells that run, is the work of fifty times the time that a write takes.

What can't be written ends no run: that is said once, and the cells stay in memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from ntkrobust.data import Dataset
from ntkrobust.errors import InputError, NotWrittenError, one_line
from ntkrobust.files.atomic import named
from ntkrobust.studies.cells import Cell, coordinates
from ntkrobust.studies.records import NUMBERS, CellRecord, Demand
from ntkrobust.studies.store import buckets
from ntkrobust.studies.store.contents import UnnamedError
from ntkrobust.studies.store.folder import Contents, merged
from ntkrobust.studies.store.former import Former
from ntkrobust.studies.store.identity import Identities
from ntkrobust.studies.store.journal import Journal, fates
from ntkrobust.studies.store.segments import Segment

FOLDER = "cells"
"""In a folder of results."""

PILOT = "pilot"
"""In a folder of cells: those of pilots, which judge nothing."""

SHARE = 0.02
"""Of a run, that goes into writing at most."""

_said = logging.getLogger("ntkrobust")


class CellStore:
    """What a run finds in a folder of cells, and adds to it; a context, at whose end all is written.

    Attributes:
        reused: cells of which networks were taken from the folder.
    """

    def __init__(
        self,
        folder: Path,
        data: Dataset,
        key: jax.Array,
        points: int,
        *,
        reuse: bool = True,
        retry: bool = True,
        unchanged: bool = False,
        pilot: int = 0,
    ) -> None:
        """Open a folder, which is made when there is something to write.

        Args:
            folder: the folder.
            data, key, points: of the run.
            reuse: whether what is there may be taken.
            retry: whether cells that failed before are tried again.
            unchanged: whether to refuse what is made of other data or code than the last run in the folder.
            pilot: see :class:`~ntkrobust.studies.store.identity.Identities`.

        Raises:
            InputError: something else stands in its place, or something was changed that may not be; also from
                :meth:`plan`, where networks and measures are known.
        """
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise InputError(f"{named(folder)} must be a folder of its own, or not there")
        self._folder, self._data = folder, data
        self._points, self._unchanged = points, unchanged
        self._identities = Identities(data, key, points, pilot)
        self._former = None if pilot else Former(folder, data.name, self._identities)
        self._contents = Contents(folder, merging=True)
        self._generation = 1 + max((one.generation for one in self._contents), default=0)
        self._reuse = reuse
        self._failed = (
            {} if retry else {name: fate.reason for name, fate in fates(folder).items() if fate.state == "failed"}
        )
        self._pending: list[Segment] = []
        self._files: dict[Path, list[Segment]] = {}
        self._written, self._cost = -math.inf, 0.0
        self._journal = Journal(folder)
        self._works = True
        self._once: set[str] = set()
        self._changes: list[str] = []
        self.reused: set[Cell] = set()
        self._remark_on_contents()

    def __enter__(self) -> CellStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.flush()
        self._leave_word()
        self._journal.close()

    def of_pilot(self, key: jax.Array, seeds: int) -> CellStore:
        """A store beside this one, for networks of a pilot: what it has is never taken for networks that judge.

        Args:
            key: of the pilot.
            seeds: networks of each cell that will judge.
        """
        return CellStore(self._folder / PILOT, self._data, key, self._points, reuse=self._reuse, pilot=seeds)

    def found(self, record: CellRecord, demand: Demand) -> CellRecord:
        """A record with the networks behind its own that are wanted and stored."""
        names = self._names(record.cell, demand)
        if names is None or not self._reuse:
            return record
        cell, measures = names
        while len(record.seeds) < demand.networks:
            start = len(record.seeds)
            fitting = [one for one in self._contents.segments.get(cell, ()) if _fits(one, record, measures.values())]
            if not fitting:
                break
            wanted = set(measures.values()), (start, demand.networks)
            best = max(
                fitting,
                key=lambda one: (
                    # As a run before this one asked for them: then its numbers are the same to the bit.
                    (one.values.keys() == wanted[0], (one.start, one.stop) == wanted[1]),
                    one.generation,
                    one.stop,
                ),
            )
            record = record.joined(best.record(record.cell, measures, start, min(best.stop, demand.networks)))
            self.reused.add(record.cell)
        return record

    def failure(self, cell: Cell, demand: Demand) -> str:
        """How a cell failed before, where it is not to be tried again; else ""."""
        names = self._names(cell, demand) if self._failed else None
        return "" if names is None else self._failed.get(names[0], "")

    def plan(self, demands: Mapping[Cell, Demand]) -> None:
        """Note what is going to be run, of the cells that were looked for."""
        if self._former is not None:
            self._remark_on_changes(self._former.changed_code())
        if demands:
            self._leave_word()
        known = ((self._names(cell, demand), cell, demand) for cell, demand in demands.items())
        cells = [[name[0], label_of(cell), demand.networks] for name, cell, demand in known if name is not None]
        if cells:
            self._note("planned", cells=cells)

    def begin(self, cell: Cell, demand: Demand) -> None:
        """Note that a cell runs."""
        names = self._names(cell, demand)
        if names is not None:
            self._note("running", cell=names[0])

    def add(self, piece: CellRecord, demand: Demand) -> None:
        """Keep what a cell gave, now or with others soon."""
        names = self._names(piece.cell, demand)
        if names is not None and len(piece.seeds):
            self._pending.append(self._segment(piece, *names))
            if self.due() == 0:
                self.flush()

    def fail(self, cell: Cell, demand: Demand, reason: str, traceback: str) -> None:
        """Note that a cell failed."""
        names = self._names(cell, demand)
        if names is not None:
            self._note("failed", cell=names[0], reason=reason, traceback=traceback)

    def due(self) -> float | None:
        """Seconds until what waits is to be written; None where nothing does."""
        if not self._pending:
            return None
        return max(0.0, self._written + self._cost / SHARE - time.monotonic())

    def flush(self) -> None:
        """Write what waits."""
        segments = list(self._pending)
        if not segments or not self._works:
            return
        started = time.monotonic()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files[buckets.write(self._folder, segments)] = segments
        except (OSError, InputError) as error:
            self._give_up(error)
            return
        del self._pending[: len(segments)]  # not before: an exception of a signal may come at any time
        for segment in segments:
            self._note("done", cell=segment.cell)
        self._leave_word()
        if len(self._files) >= buckets.MERGED_AT:  # a folder of many files takes long to open
            merged(self._folder, self._files)
            self._files = {}
        self._written = time.monotonic()
        self._cost = self._written - started

    def _note(self, event: str, **more: Any) -> None:
        if not self._works:
            return
        try:
            if event == "failed":
                self._journal.failed(**more)
            else:
                self._journal.note(event, **more)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._works = False
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = str(error) if isinstance(error, NotWrittenError) else f"cannot write to {named(self._folder)}: {reason}"
        self._say(f"{why}; the run goes on, and what it computes from here on is not stored cell by cell")

    def _say(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self._once:
            self._once.add(sentence)
            _said.warning(one_line(sentence))

    def _remark_on_contents(self) -> None:
        for path, reason in self._contents.damaged.items():
            self._say(f"{named(path)} is no file of cells ({reason}): it is left alone, and its cells run again")
        if self._former is None:
            return
        if self._former.known:
            self._remark_on_changes(self._former.changed())
            return
        mine = [one for one in self._contents if one.coordinates.get("data") == self._data.name]
        changed = [one for one in mine if one.data != self._identities.data]
        if changed:
            self._remark_on_changes([f"the data {self._data.name} of {_cells(changed)}"])
        older = [one for one in self._contents if one.numerics != self._identities.numerics]
        if older:
            what = f"the version of JAX or of this package, or the precision, of {_cells(older)}"
            self._remark_on_changes([what])

    def _remark_on_changes(self, changes: Sequence[str]) -> None:
        """Say what was changed since the last run, or refuse it."""
        new = [one for one in changes if one not in self._changes]
        if not new:
            return
        self._changes += new
        sentence = f"since the last run in {named(self._folder)} there were changed: {', '.join(new)}"
        if self._unchanged:
            self._former = None  # a run that is refused leaves no word
            raise InputError(f"{sentence}; a run that is to go on unchanged needs them as they were")
        self._say(f"{sentence}; what was computed otherwise stays, and nothing of it is used")

    def _leave_word(self) -> None:
        """For the next run: what this one is made of, where it left cells."""
        if self._former is not None and self._works and self._folder.is_dir():
            try:
                self._former.write()
            except (OSError, InputError) as error:
                self._give_up(error)

    def _names(self, cell: Cell, demand: Demand) -> tuple[str, dict[str, str]] | None:
        """The names of a cell and its measures; None where they can't be told from others, which is said."""
        try:
            return self._identities.of_cell(cell), self._identities.of_measures(demand.measures)
        except UnnamedError as error:
            self._say(f"cells of {cell.net!r} are not stored, because they can't be told from others: {error}")
        except RecursionError:
            self._say(f"cells of {cell.net!r} are not stored: what they read is nested too deeply")
        return None

    def _segment(self, piece: CellRecord, cell: str, measures: Mapping[str, str]) -> Segment:
        told, at = coordinates(piece.cell, self._data), piece.cell
        more = {"data": self._data.name, "time": at.time, "time_value": at.value, "optimizer": at.optimizer}
        return Segment(
            cell=cell,
            start=int(piece.seeds[0]),
            stop=int(piece.seeds[-1]) + 1,
            values={name: np.asarray(piece.values[called], np.float64) for called, name in measures.items()},
            names={name: called for called, name in measures.items()},
            state={name: np.asarray(getattr(piece, name), np.float64) for name in NUMBERS},
            status=piece.status,
            seconds=float(piece.seconds),
            plan=piece.plan,
            steps=int(piece.steps),
            tolerance=float(piece.tolerance),
            time_error={measures[called]: float(one) for called, one in piece.time_error.items()},
            data=self._identities.data,
            numerics=self._identities.numerics,
            generation=self._generation,
            label=label_of(piece.cell),
            coordinates={name: _plain(one) for name, one in (told | more).items() if name != "net"},
        )  # fmt: skip


def open_store(
    out: str | os.PathLike[str] | None,
    data: Dataset,
    key: jax.Array,
    points: int,
    *,
    reuse: bool = True,
    retry: bool = True,
    unchanged: bool = False,
) -> contextlib.AbstractContextManager[CellStore | None]:
    """The store in a folder of results; none where nothing is written, or several processes work on each cell.

    Args:
        out: the folder of results, or None.
        data, key, points, reuse, retry, unchanged: as of :class:`CellStore`.
    """
    if out is None or jax.process_count() > 1:
        return contextlib.nullcontext()
    return CellStore(Path(out) / FOLDER, data, key, points, reuse=reuse, retry=retry, unchanged=unchanged)


def label_of(cell: Cell) -> str:
    """A cell in a few words."""
    return one_line(f"{cell.net!r} {cell.time}", 300)


def _cells(segments: Iterable[Segment]) -> str:
    number = len({one.cell for one in segments})
    return "1 cell" if number == 1 else f"{number} cells"


def _fits(segment: Segment, record: CellRecord, measures: Iterable[str]) -> bool:
    """Whether a segment holds the networks after those of a record, with these measures."""
    start = len(record.seeds)
    if not (segment.start <= start < segment.stop and segment.values.keys() >= set(measures)):
        return False
    if start == 0:
        return True
    # Networks of one cell have one tolerance.
    return segment.tolerance == record.tolerance or (math.isnan(segment.tolerance) and math.isnan(record.tolerance))


def _plain(value: Any) -> Any:
    """A coordinate as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value if not isinstance(value, str) else one_line(value, 1000)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return one_line(json.dumps(value, default=repr), 1000)
