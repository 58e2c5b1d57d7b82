"""What has become of cells: an append-only journal, a file for each writer.

A line is one JSON object with an ``event``: ``opened`` by a process; cells that are ``planned`` (each with its label
and the number of networks), ``running``, ``done``, or ``failed`` with a traceback; ``closed``. Its order in its file
is the order of events; no clock is asked. A writer holds the lock of its file while it lives, so what was running in
the file of a dead one was interrupted. That a cell is done is told by its numbers, not by a journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import socket
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ntkrobust.files.listing import files_named
from ntkrobust.files.locks import NO_FOLLOWING, try_lock

_NAME = re.compile(r"journal-[0-9a-f]{16}\.jsonl")
_MOST_BYTES = 2**28
_LONGEST_TRACEBACK = 100_000


class Journal:
    """The journal of this process in a folder; the file is made at the first event."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._opening = threading.Lock()

    def note(self, event: str, **more: Any) -> None:
        """Append an event.

        Raises:
            OSError: it can't be written.
        """
        with self._opening:
            if self._descriptor is None:
                self._open()
        assert self._descriptor is not None
        os.write(self._descriptor, _line(event, more))

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"journal-{secrets.token_hex(8)}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | NO_FOLLOWING
        descriptor = os.open(path, flags, 0o666)
        try_lock(descriptor)
        os.write(descriptor, _line("opened", {"process": os.getpid(), "host": socket.gethostname()}))
        self._descriptor = descriptor

    def failed(self, cell: str, reason: str, traceback: str) -> None:
        """Append that a cell failed."""
        self.note("failed", cell=cell, reason=reason[:9_000], traceback=traceback[-_LONGEST_TRACEBACK:])

    def close(self) -> None:
        """Append that this is all, and give the lock free."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self.note("closed")
            os.close(self._descriptor)
            self._descriptor = None


def _line(event: str, more: Mapping[str, Any]) -> bytes:
    return f"{json.dumps({'event': event, **more})}\n".encode()


@dataclasses.dataclass(frozen=True)
class Fate:
    """What a journal says last of a cell.

    Attributes:
        state: ``planned``, ``running``, ``interrupted``, ``done`` or ``failed``.
        label: what the cell is.
        networks: that were asked for.
        reason, traceback: of a failure.
    """

    state: str
    label: str = ""
    networks: int = 0
    reason: str = ""
    traceback: str = ""


def fates(folder: Path) -> dict[str, Fate]:
    """Name of a cell → what became of it, over all journals of a folder.

    What lives goes before what is dead, and a failure before what never began.
    """
    found: dict[str, Fate] = {}
    for path in files_named(folder, _NAME):
        alive, lines = _is_alive(path), _lines(path)
        for name, fate in _of_one(lines, alive).items():
            before = found.get(name)
            if before is None or _weight(fate) >= _weight(before):
                found[name] = fate
    return found


_ORDER = ("planned", "interrupted", "done", "failed", "running")


def _weight(fate: Fate) -> int:
    return _ORDER.index(fate.state)


def _of_one(lines: Iterable[Any], alive: bool) -> dict[str, Fate]:
    from ntkrobust.studies.store.schema import event_in

    found: dict[str, Fate] = {}
    for line in lines:
        event = event_in(line)
        if event is None:
            continue
        if event.event == "planned":
            for name, label, networks in event.cells:
                if isinstance(name, str) and isinstance(label, str) and isinstance(networks, int):
                    found[name] = Fate("planned", label, networks)
        elif event.cell is not None and event.event in ("running", "done", "failed"):
            before = found.get(event.cell, Fate("planned"))
            state = "interrupted" if event.event == "running" and not alive else event.event
            found[event.cell] = dataclasses.replace(before, state=state, reason=event.reason, traceback=event.traceback)
    return found


def _is_alive(path: Path) -> bool:
    """Whether the process that writes a journal lives: it holds its lock."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | NO_FOLLOWING)
        try:
            return try_lock(descriptor) is False
        finally:
            os.close(descriptor)
    return False


def _lines(path: Path) -> Iterable[Any]:
    """The objects of a journal; what a kill cut short, or somebody else wrote, is passed over."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return
        text = path.read_bytes().decode(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            yield json.loads(line)
