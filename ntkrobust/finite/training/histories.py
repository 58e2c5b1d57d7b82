"""The history of an ensemble: networks that diverge are tried again at half the rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ntkrobust.finite.training.attempts import TrainingTask
from ntkrobust.finite.training.checkpoints import Checkpoint
from ntkrobust.networks.parameters import Parameters, Stacked
from ntkrobust.runtime.seeds import RawKeys


def history_of(
    work: TrainingTask,
    initial: Parameters | Stacked,
    like: Parameters | Stacked,
    keys: dict[str, RawKeys],
    rates_and_times: Callable[[], tuple[np.ndarray, np.ndarray]],
    retries: int,
    file: Checkpoint | None,
) -> dict[str, Any]:
    """The history of an ensemble: where networks diverge, they are tried again at half the rate.

    Args:
        work: what to do.
        initial: parameters as they were drawn.
        like: shapes and types of those of one network.
        keys: by name, keys (seed,) of what is random in training: orders of minibatches, attacks.
        rates_and_times: gives η (seed,) and times (seed, record); not called on resuming.
        retries: how often.
        file: where to save, and to resume from.
    """

    def outline(progress: dict[str, int]) -> dict[str, Any]:
        course = work.outline(like, progress["records"])
        held: dict[str, Any] = {"rows": 0, "rate": 0, "times": 0, "course": course, "history": None}
        if progress["attempt"]:
            held["history"] = {
                "rate": 0,
                "step": 0,
                "loss": 0,
                "diverged": 0,
                "snapshots": [like] * work.schedule.records,
            }
        return held

    held: dict[str, Any]
    found = None if file is None else file.read(outline)
    if found is None:
        rate, times = rates_and_times()
        attempt = 0
        held = {"rows": np.arange(len(rate)), "rate": rate, "times": times, "history": None}
        held["course"] = work.begin(initial, rate)
    else:
        attempt, held = found[0]["attempt"], found[1]
        rate, times = held["rate"], held["times"]

    def save() -> None:
        if file is not None:
            file.write({"attempt": attempt, "records": len(held["course"]["records"])}, held)

    while True:
        rows = held["rows"]
        some = {name: of_all[rows] for name, of_all in keys.items()}
        begun = initial if len(rows) == len(rate) else jax.tree.map(lambda leaf, rows=rows: leaf[rows], initial)
        history = work.follow(held["course"], begun, rate[rows], times[rows], some, save)
        if held["history"] is not None:
            history = jax.tree.map(lambda old, new, rows=rows: _with_rows(old, rows, new), held["history"], history)
        lost = np.flatnonzero(history["diverged"] & (~np.isnan(history["rate"]) | (work.optimizer.rates is not None)))
        if attempt == retries or not lost.size:
            return history
        attempt += 1
        rate[lost] = rate_that_meets(times[lost], rate[lost] / 2)
        begun = jax.tree.map(lambda leaf, lost=lost: leaf[lost], initial)
        held |= {"rows": lost, "history": history, "course": work.begin(begun, rate[lost])}


def _with_rows(array: np.ndarray, rows: np.ndarray, new: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[rows] = new
    return array


def rate_that_meets(times: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """η (seed,), lowered so that the last of the times (seed, record) asked for, if any, is a whole number of steps."""
    if not times.size:
        return rate
    last = times[:, -1]
    # A rate that already meets it stays as it is, whatever the rounding.
    steps = np.maximum(np.ceil(last / rate * (1 - 1e-6)), 1)
    return np.where(last > 0, last / steps, rate)
