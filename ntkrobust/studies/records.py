"""What cells are asked for, and what they have given: plain data, whether it was computed here or read from a store."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ntkrobust.finite.measures.base import Measure
from ntkrobust.studies.cells import Cell

STATE = ("status", "loss", "step", "gradient_flow_time", "learning_rate")
"""What is kept of the training of each network."""

NUMBERS = tuple(name for name in STATE if name != "status")
"""Those that are numbers; float64, which holds whatever they were."""


@dataclasses.dataclass(frozen=True)
class Demand:
    """What is wanted of one cell: which measures, of how many networks, in programs that serve as many as ``room``."""

    measures: Mapping[str, Measure]
    networks: int
    room: int = 0


@dataclasses.dataclass(frozen=True)
class CellRecord:
    """What a cell gave.

    Attributes:
        cell: which one.
        seeds: (s,) the seeds.
        values: measure → (s,), averaged over the test points.
        status: (s,) status of each network.
        loss, step, gradient_flow_time, learning_rate: (s,) at the time of the measurement.
        seconds: wall time.
        plan: how the networks were laid out on the machine.
        steps: that a network could take.
        tolerance: of gradient flow; NaN where networks were not trained by it.
        time_error: measure → what is left of the error of gradient flow's steps in its mean, in units of the measure.
        failure: why more networks could not be had, in one sentence, or "".
    """

    cell: Cell
    seeds: np.ndarray
    values: dict[str, np.ndarray]
    status: np.ndarray
    loss: np.ndarray
    step: np.ndarray
    gradient_flow_time: np.ndarray
    learning_rate: np.ndarray
    seconds: float
    plan: str
    steps: int = 0
    tolerance: float = math.nan
    time_error: Mapping[str, float] = dataclasses.field(default_factory=dict)
    failure: str = ""

    def joined(self, more: CellRecord) -> CellRecord:
        """With the networks of another record of this cell behind its own."""
        if not len(self.seeds):
            return more
        state: dict[str, Any] = {name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in STATE}
        return CellRecord(
            cell=self.cell,
            seeds=np.concatenate([self.seeds, more.seeds]),
            values={name: np.concatenate([self.values[name], more.values[name]]) for name in self.values},
            **state,
            seconds=self.seconds + more.seconds,
            plan=self.plan,
            steps=self.steps,
            tolerance=self.tolerance,
            time_error=self.time_error,
        )


def untrained(networks: int) -> dict[str, np.ndarray]:
    """The state of networks that took no step."""
    unknown, zero = np.full(networks, np.nan), np.zeros(networks)
    status = np.full(networks, "budget", dtype="U9")
    return {"status": status, "loss": unknown, "step": zero, "gradient_flow_time": zero, "learning_rate": unknown}


def nothing(cell: Cell) -> CellRecord:
    """Of a cell that has no networks yet."""
    state: dict[str, Any] = untrained(0)
    return CellRecord(cell=cell, seeds=np.empty(0, dtype=int), values={}, **state, seconds=0.0, plan="nothing to run")
