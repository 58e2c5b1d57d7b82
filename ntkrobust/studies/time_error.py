"""A time is that of gradient flow: its steps are halved until measures stand still, and what is left is stated.

Gradient flow is integrated with steps that adapt to a tolerance (:mod:`ntkrobust.finite.training.flow`). A few networks
of a cell, the pilot, are trained at one tolerance and again at an eighth of it, which halves steps of an error of third
order. If none of the cell's measures moves by more than matters beside its standard error, the larger of the two
tolerances serves all networks; if not, the next smaller one is tried. By how much the pilot's mean moved, and by how
much that is uncertain, is the *time error*: every interval and test allows for it.

The pilot's networks are the first of the cell's: what was trained at the tolerance that serves is kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np

from ntkrobust.finite.measures.untrained import name_untrained
from ntkrobust.studies.control import in_proportion

TOLERANCES = (8e-3, 1e-3, 1.25e-4)
"""Of gradient flow, from the largest that may serve. Below the last one float32 limits what smaller steps could add."""

PILOT = 4
"""Networks that are trained at two tolerances."""

SHARE_OF_ERROR = 0.5
"""Of the standard error of a cell's mean: a time error below it matters little."""

SMALLEST = 0.005
"""A time error below this share of the mean matters to no statement that is made of measures here."""

State = TypeVar("State")


@dataclasses.dataclass(frozen=True)
class Trained(Generic[State]):
    """The pilot at one tolerance.

    Attributes:
        level: position in :data:`TOLERANCES`.
        values: measure → (k,), one value per network.
        arrived: whether all networks reached the time or the loss of the reading.
        diverged: whether one of them diverged.
        state: whatever else is to be kept of them.
    """

    level: int
    values: Mapping[str, np.ndarray]
    arrived: bool
    diverged: bool
    state: State


def halved_until_still(
    train: Callable[[int], Trained[State]], networks: int
) -> tuple[Trained[State], dict[str, float]]:
    """The pilot at the tolerance that serves, and the time error of each measure, in its own units.

    Where a network did not get there within its budget no smaller step would help. The cell cannot be used then, and
    its error counts as zero. That of the smallest tolerance is taken to be no larger than what it changed.

    Args:
        train: trains and measures the pilot at a level.
        networks: how many the cell is to have.
    """
    now, error = train(0), dict[str, float]()
    for level in range(1, len(TOLERANCES)):
        if not now.arrived and not now.diverged:
            break
        finer = train(level)
        error = {name: _moved(now.values[name], finer.values[name]) for name in now.values}
        if now.arrived and all(error[name] <= _matters(finer.values, name, networks) for name in error):
            return now, error
        now = finer
    return now, error if now.arrived else dict.fromkeys(now.values, 0.0)


def _moved(coarse: np.ndarray, fine: np.ndarray) -> float:
    """|mean of the differences| plus its standard error; NaN where a value is none."""
    change = fine - coarse
    spread = float(np.std(change, ddof=1)) / math.sqrt(len(change)) if len(change) > 1 else 0.0
    return abs(float(np.mean(change))) + spread


def _matters(values: Mapping[str, np.ndarray], name: str, networks: int) -> float:
    """What the mean of a measure may move by: beside its standard error, with its control where it has one."""
    own, before = values[name], values.get(name_untrained(name))
    mean = float(np.mean(own))
    spread = float(np.std(own, ddof=1)) if len(own) > 1 else 0.0
    if before is not None and len(own) > 1:
        # Whatever the mean of the control is, the spread is the same.
        spread = min(spread, float(np.std(in_proportion(own, before, 0.0), ddof=1)))
    return max(SHARE_OF_ERROR * spread / math.sqrt(networks), SMALLEST * abs(mean))
