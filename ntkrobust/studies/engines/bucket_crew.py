"""Handing out buckets of requests to whoever runs them, and taking what comes back."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import Empty
from types import TracebackType

from ntkrobust.errors import one_line
from ntkrobust.studies.cell_work import Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines.buckets import Buckets
from ntkrobust.studies.engines.crew import Failure, Outcome
from ntkrobust.studies.engines.travel import Sent, packed, unpacked
from ntkrobust.studies.records import nothing

_said = logging.getLogger("ntkrobust")

Lost = str
"""Why what ran a bucket is gone, in a few words."""


class BucketCrew(ABC):
    """A :class:`~ntkrobust.studies.engines.crew.Crew` elsewhere."""

    def __init__(self, requests: Mapping[Cell, Request], begin: Callable[[Cell], bool], buckets: Buckets) -> None:
        self._begin, self._buckets = begin, buckets
        self._running: dict[int, list[Request]] = {}
        self._handed_out = 0
        self._runs_alone = False
        self._stopped = False
        self._ready: deque[tuple[Cell, Outcome]] = deque()
        self._once: set[str] = set()

    @abstractmethod
    def _room(self) -> int:
        """Buckets that are to be handed out at a time: those that run, and some that wait for them."""

    @property
    @abstractmethod
    def side_by_side(self) -> int:
        """See :class:`~ntkrobust.studies.engines.crew.Crew`."""

    @abstractmethod
    def _hand_out(self, number: int, requests: Sequence[Request], content: bytes) -> None:
        """Have a bucket run, under a number of its own."""

    @abstractmethod
    def _wait(self, timeout: float | None) -> tuple[int, Sent | Lost]:
        """The number of the next bucket that ends, and what it gave.

        Raises:
            queue.Empty: none did within so many seconds.
            InputError: there is nobody any more to run buckets.
        """

    @abstractmethod
    def _cancel(self) -> None:
        """Have nothing run any more that was handed out and has not ended."""

    def __enter__(self) -> BucketCrew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._running and not self._stopped:
            self.stop()

    def next(self, timeout: float | None) -> tuple[Cell, Outcome]:
        """See :class:`~ntkrobust.studies.engines.crew.Crew`."""
        while not self._ready:
            if not self._stopped:
                self._top_up()
            if self._ready:
                break
            if not self._running:
                raise Empty
            number, sent = self._wait(timeout)
            bucket = self._running.pop(number, None)
            if bucket is not None:
                self._take(bucket, sent)
        return self._ready.popleft()

    def stop(self) -> None:
        """See :class:`~ntkrobust.studies.engines.crew.Crew`."""
        self._stopped = True
        self._cancel()

    def _top_up(self) -> None:
        room = self._room()
        while len(self._running) < room and len(self._buckets):
            # Whoever is done first finds something to do until the end.
            self._start(self._buckets.take(math.ceil(len(self._buckets) / room)))
        if not self._running:
            self._runs_alone = bool(self._buckets.alone)
            if self._runs_alone:
                self._start([self._buckets.alone.popleft()])

    def _start(self, bucket: list[Request]) -> None:
        begun: list[Request] = []
        for one in bucket:
            if self._begin(one.cell):
                begun.append(one)
            else:
                self._ready.append((one.cell, nothing(one.cell)))
        if begun:
            self._send(begun)

    def _send(self, bucket: list[Request]) -> None:
        try:
            content = packed(bucket)
        except Exception as error:
            if len(bucket) > 1:
                for one in bucket:
                    self._send([one])
                return
            sentence = f"it can't be sent to workers: {type(error).__name__}: {error}"
            self._ready.append((bucket[0].cell, Failure(sentence, is_input=True)))
            return
        self._handed_out += 1
        self._running[self._handed_out] = bucket
        self._hand_out(self._handed_out, bucket, content)

    def _take(self, bucket: list[Request], sent: Sent | Lost) -> None:
        if isinstance(sent, Sent):
            self._say(sent.remark)
            found = list(unpacked(bucket, sent))
            seconds = [one.seconds for _, one in found if not isinstance(one, Failure)]
            if seconds:
                self._buckets.took(bucket, sum(seconds) * len(bucket) / len(seconds))
            self._ready.extend(found)
        elif self._runs_alone:
            why = f"the process that ran it alone was lost, after another one before: {sent}"
            self._ready.append((bucket[0].cell, Failure(why)))
        elif not self._stopped:
            self._buckets.lost(bucket)

    def _say(self, sentence: str) -> None:
        """Say something once."""
        if sentence and sentence not in self._once:
            self._once.add(sentence)
            _said.warning(one_line(sentence))
