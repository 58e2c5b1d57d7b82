"""What runs the requests of one call, and how they end; here in threads of this process."""

from __future__ import annotations

import dataclasses
import os
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol

import jax

from ntkrobust.errors import InputError
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import CellRecord


@dataclasses.dataclass(frozen=True)
class Failure:
    """How a cell failed.

    Attributes:
        sentence: why.
        traceback: where.
        is_input: whether that lies in what was asked for.
    """

    sentence: str
    traceback: str = ""
    is_input: bool = False


def failure_of(error: Exception) -> Failure:
    """A failure by what was raised: a user's own code, memory, a solver; none of them is the others' fault."""
    is_input = isinstance(error, InputError)
    sentence = str(error) if is_input else f"{type(error).__name__}: {error}"
    return Failure(sentence, "".join(traceback.format_exception(error)), is_input)


Outcome = CellRecord | Failure
"""What a request gave: a record of its networks alone, or how it failed."""


class Crew(Protocol):
    """Runs requests; a context, at whose end nothing runs any more that this process has to wait for."""

    @property
    def side_by_side(self) -> int:
        """Requests that run at a time."""

    def __enter__(self) -> Crew:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End."""

    def next(self, timeout: float | None) -> tuple[Cell, Outcome]:
        """The next cell that ends.

        Raises:
            queue.Empty: none did within so many seconds.
        """

    def stop(self) -> None:
        """Begin nothing more. What has ended is still to be had."""


class Engine(Protocol):
    """Gives crews that work elsewhere."""

    def crew(self, requests: Mapping[Cell, Request], work: CellWork, begin: Callable[[Cell], bool]) -> Crew:
        """A crew for requests, to be begun in their order or about, that are to give what ``work`` would.

        ``begin`` is called with each cell that is to be handed out; where it says no, the cell ends with nothing.
        """


class ThreadCrew:
    """Threads of this process: while the program of one cell runs, those of others are compiled."""

    def __init__(self, run: Callable[[Cell], CellRecord], order: list[Cell], workers: int) -> None:
        self._run, self._order, self.side_by_side = run, order, workers
        self._pool = ThreadPoolExecutor(workers)
        self._ended: SimpleQueue[tuple[Cell, Future[CellRecord]]] = SimpleQueue()

    def __enter__(self) -> ThreadCrew:
        for cell in self._order:
            future = self._pool.submit(self._run, cell)
            future.add_done_callback(lambda one, cell=cell: self._ended.put((cell, one)))  # type: ignore[misc]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(wait=True)

    def next(self, timeout: float | None) -> tuple[Cell, Outcome]:
        """See :class:`Crew`."""
        while True:
            cell, future = self._ended.get(timeout=timeout)
            if not future.cancelled():
                error = future.exception()
                if error is None:
                    return cell, future.result()
                if isinstance(error, Exception):
                    return cell, failure_of(error)
                raise error

    def stop(self) -> None:
        """See :class:`Crew`."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def threads() -> int:
    """Cells worked on side by side. Several processes have to work on the same cell at a time."""
    return min(4, os.cpu_count() or 1) if jax.process_count() == 1 else 1
