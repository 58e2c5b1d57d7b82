"""Networks of a cell that were drawn, trained and measured together, as they are stored.

Networks a ≤ i < b of a cell are one segment: what one request gave. Its numbers may be others, by the rounding of
float32, than those of the same networks in a larger request, and networks under gradient flow keep the tolerance of
the cell's first ones. A run that goes on makes the same requests as the one that was interrupted, and gets the same
segments; others take whatever part of a segment they can use.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import NUMBERS, CellRecord

STATUSES = ("converged", "budget", "diverged")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Outline:
    """What networks ``start`` ≤ i < ``stop`` of a cell gave, without the numbers.

    Attributes:
        cell: the name of the cell, see :mod:`ntkrobust.studies.store.identity`.
        start, stop: the seeds.
        names: name of a measure → how it was called.
        seconds, plan, steps, tolerance: see :class:`~ntkrobust.studies.records.CellRecord`.
        time_error: name of a measure → as there.
        data, numerics: digests; see :class:`~ntkrobust.studies.store.identity.Identities`.
        generation: of the run that stored it: larger than those that were there when it began.
        label: what the cell is, for people.
        coordinates: of the cell, for people.
    """

    cell: str
    start: int
    stop: int
    names: Mapping[str, str]
    seconds: float
    plan: str
    steps: int
    tolerance: float
    time_error: Mapping[str, float]
    data: str
    numerics: str
    generation: int
    label: str = ""
    coordinates: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> tuple[str, ...]:
        """What its numbers are of, (s,) each: the names of its measures, then what is kept of the training."""
        return (*self.names, *NUMBERS)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two copies of it have in common, and two segments of a cell do not."""
        return self.cell, self.start, self.stop, self.generation, frozenset(self.names)

    def header(self) -> dict[str, Any]:
        """All of it, as JSON has it; NaN is null."""
        plain = ("cell", "start", "stop", "seconds", "plan", "steps", "data", "numerics", "generation", "label")
        return {
            **{name: getattr(self, name) for name in plain},
            "measures": [[name, called] for name, called in self.names.items()],
            "tolerance": None if math.isnan(self.tolerance) else self.tolerance,
            "time_error": {name: one if math.isfinite(one) else None for name, one in self.time_error.items()},
            "coordinates": dict(self.coordinates),
        }


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Segment(Outline):
    """What networks of a cell gave.

    Attributes:
        values: name of a measure → (s,), in the order of ``names``.
        state: ``loss``, … → (s,) float64; see :class:`~ntkrobust.studies.records.CellRecord`.
        status: (s,).
    """

    values: Mapping[str, np.ndarray]
    state: Mapping[str, np.ndarray]
    status: np.ndarray

    def numbers(self) -> Iterable[np.ndarray]:
        """(s,) float64 each: measures in the order of the header, then the state."""
        yield from self.values.values()
        yield from (self.state[name] for name in NUMBERS)

    def record(self, cell: Cell, names: Mapping[str, str], start: int, stop: int) -> CellRecord:
        """Some of its networks, for a cell of this name.

        Args:
            cell: the cell.
            names: how measures are to be called → name of the measure.
            start, stop: seeds of the segment.
        """
        part = slice(start - self.start, stop - self.start)
        state: dict[str, Any] = {name: self.state[name][part] for name in NUMBERS}
        return CellRecord(
            cell=cell,
            seeds=np.arange(start, stop),
            values={called: self.values[name][part] for called, name in names.items()},
            status=self.status[part],
            **state,
            seconds=self.seconds * (stop - start) / (self.stop - self.start),
            plan=self.plan,
            steps=self.steps,
            tolerance=self.tolerance,
            time_error={called: self.time_error[name] for called, name in names.items() if name in self.time_error},
        )


def packed(segments: Iterable[Segment]) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Headers, all numbers behind one another, and statuses as positions in :data:`STATUSES`."""
    segments = list(segments)
    numbers = [np.asarray(one, dtype=np.float64) for segment in segments for one in segment.numbers()]
    codes = [STATUSES.index(str(one)) for segment in segments for one in segment.status]
    return (
        [segment.header() for segment in segments],
        np.concatenate(numbers) if numbers else np.empty(0),
        np.array(codes, dtype=np.uint8),
    )


def outlined(header: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an :class:`Outline`, of a header that was checked."""
    return {
        **{name: one for name, one in header.items() if name != "measures"},
        "names": dict(header["measures"]),
        "tolerance": math.nan if header["tolerance"] is None else header["tolerance"],
        "time_error": {name: math.nan if one is None else one for name, one in header["time_error"].items()},
    }


def places(headers: Iterable[Mapping[str, Any]], numbers: int, codes: int) -> list[tuple[int, int]]:
    """Where the numbers of each segment begin among all, and where its statuses do.

    Args:
        headers: that were checked.
        numbers, codes: how many there are of each.

    Raises:
        ValueError: there are more or fewer of them than the headers say.
    """
    found, at, at_code = [], 0, 0
    for header in headers:
        found.append((at, at_code))
        size = header["stop"] - header["start"]
        at, at_code = at + (len(header["measures"]) + len(NUMBERS)) * size, at_code + size
    if at > numbers or at_code > codes:
        raise ValueError("it holds fewer numbers than it says")
    if at < numbers or at_code < codes:
        raise ValueError("it holds more numbers than it says")
    return found


def unpacked(headers: Iterable[Mapping[str, Any]], numbers: np.ndarray, codes: np.ndarray) -> list[Segment]:
    """What :func:`packed` was given, of headers that were checked.

    Raises:
        ValueError: there are more or fewer numbers than the headers say.
    """
    headers = list(headers)
    statuses = np.array(STATUSES)[codes]
    found = []
    for header, (at, at_code) in zip(headers, places(headers, len(numbers), len(codes)), strict=True):
        fields, size = outlined(header), header["stop"] - header["start"]
        names = list(fields["names"])
        table = numbers[at : at + (len(names) + len(NUMBERS)) * size].reshape(-1, size)
        found.append(
            Segment(
                **fields,
                values=dict(zip(names, table, strict=False)),
                state=dict(zip(NUMBERS, table[len(names) :], strict=True)),
                status=statuses[at_code : at_code + size],
            )
        )
    return found
