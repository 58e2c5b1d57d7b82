"""Cells of one shape together: so many as take a while, which share what is compiled, sent and waited for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence

from ntkrobust.studies.cell_work import Request

MOST = 256
"""Requests in a bucket at most."""


class Buckets:
    """Requests that wait, in their order, shape by shape.

    How many cells a bucket holds goes by what the last ones of their shape took; before that, ``first`` of them. Where
    a bucket was lost with the process that ran it, its requests run again one by one, each alone: whoever is lost then
    has only itself to blame.

    Attributes:
        alone: requests that are to run alone, when all others have ended.
    """

    def __init__(self, requests: Iterable[Request], d: int, *, seconds: float, first: int) -> None:
        """Of inputs of dimension ``d``; a bucket is to take so many ``seconds``."""
        self._d, self._seconds, self._first = d, seconds, first
        self._waiting: dict[Hashable, deque[Request]] = {}
        for request in requests:
            self._waiting.setdefault(self.shape_of(request), deque()).append(request)
        self._each: dict[Hashable, float] = {}
        self.alone: deque[Request] = deque()

    def shape_of(self, request: Request) -> Hashable:
        """What requests have in common that run the same programs for about as long."""
        cell, demand = request.cell, request.demand
        return (
            type(cell.net), cell.net.count_parameters(self._d), cell.net.d_out, cell.n, cell.time, cell.optimizer,
            cell.loss, cell.batch_size, cell.budget, len(request.seeds), tuple(demand.measures),
        )  # fmt: skip

    def __len__(self) -> int:
        """Requests that wait, without those that are to run alone."""
        return sum(map(len, self._waiting.values()))

    def take(self, share: int) -> list[Request]:
        """The next bucket, of at most so many requests; empty where none waits."""
        for shape, waiting in self._waiting.items():
            if waiting:
                each = self._each.get(shape)
                size = self._first if each is None else max(1, math.floor(self._seconds / max(each, 1e-9)))
                return [waiting.popleft() for _ in range(max(1, min(size, share, len(waiting), MOST)))]
        return []

    def took(self, bucket: Sequence[Request], seconds: float) -> None:
        """Note how long a bucket took."""
        self._each[self.shape_of(bucket[0])] = seconds / len(bucket)

    def lost(self, bucket: Sequence[Request]) -> None:
        """Take requests back whose process was lost."""
        self.alone.extend(bucket)
