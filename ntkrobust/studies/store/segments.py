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


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """What networks ``start`` ≤ i < ``stop`` of a cell gave.

    Attributes:
        cell: the name of the cell, see :mod:`ntkrobust.studies.store.identity`.
        start, stop: the seeds.
        values: name of a measure → (s,).
        names: name of a measure → how it was called.
        state: ``loss``, … → (s,) float64; see :class:`~ntkrobust.studies.records.CellRecord`.
        status: (s,).
        seconds, plan, steps, tolerance: as there.
        time_error: name of a measure → as there.
        data, numerics: digests; see :class:`~ntkrobust.studies.store.identity.Identities`.
        generation: of the run that stored it: larger than those that were there when it began.
        label: what the cell is, for people.
        coordinates: of the cell, for people.
    """

    cell: str
    start: int
    stop: int
    values: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    state: Mapping[str, np.ndarray]
    status: np.ndarray
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

    def header(self) -> dict[str, Any]:
        """All but the numbers of single networks, as JSON has it; NaN is null."""
        plain = ("cell", "start", "stop", "seconds", "plan", "steps", "data", "numerics", "generation", "label")
        return {
            **{name: getattr(self, name) for name in plain},
            "measures": [[name, self.names[name]] for name in self.values],
            "tolerance": None if math.isnan(self.tolerance) else self.tolerance,
            "time_error": {name: one if math.isfinite(one) else None for name, one in self.time_error.items()},
            "coordinates": dict(self.coordinates),
        }

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


def unpacked(headers: Iterable[Mapping[str, Any]], numbers: np.ndarray, codes: np.ndarray) -> list[Segment]:
    """What :func:`packed` was given, of headers that were checked.

    Raises:
        ValueError: there are more or fewer numbers than the headers say.
    """
    found, at, at_code = [], 0, 0
    names = np.array(STATUSES)
    for header in headers:
        size = header["stop"] - header["start"]
        rows = len(header["measures"]) + len(NUMBERS)
        if at + rows * size > len(numbers) or at_code + size > len(codes):
            raise ValueError("it holds fewer numbers than it says")
        table = numbers[at : at + rows * size].reshape(rows, size)
        fields = {name: one for name, one in header.items() if name not in ("measures", "tolerance", "time_error")}
        measures = [name for name, _ in header["measures"]]
        found.append(
            Segment(
                **fields,
                values=dict(zip(measures, table, strict=False)),
                names=dict(header["measures"]),
                state=dict(zip(NUMBERS, table[len(measures) :], strict=True)),
                status=names[codes[at_code : at_code + size]],
                tolerance=math.nan if header["tolerance"] is None else header["tolerance"],
                time_error={name: math.nan if one is None else one for name, one in header["time_error"].items()},
            )
        )
        at, at_code = at + rows * size, at_code + size
    if at != len(numbers) or at_code != len(codes):
        raise ValueError("it holds more numbers than it says")
    return found
