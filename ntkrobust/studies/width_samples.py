"""Finite networks of one width, measured for a comparison with infinite width."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from ntkrobust.bounds.statistics import Estimate, mean
from ntkrobust.data import Dataset
from ntkrobust.finite.measures.measuring import measure
from ntkrobust.finite.training.control_variate import jacobian_excess
from ntkrobust.finite.training.train import train
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network
from ntkrobust.studies.width_predictions import Prediction

_SNAPSHOT_BYTES = 256 * 2**20
"""Trained parameters that are kept at once."""


class Sample(NamedTuple):
    """Networks of one width, seeds 0 … N−1.

    Attributes:
        squares: (N, time) ‖J_t‖_F², averaged over the test points.
        excess: (N, time) the control variate, of mean zero.
        diverged: (N,).
    """

    squares: np.ndarray
    excess: np.ndarray
    diverged: np.ndarray

    def extended(self, more: Sample) -> Sample:
        """With more networks."""
        return Sample(*(np.concatenate(pair) for pair in zip(self, more, strict=True)))

    def gaps(self, targets: np.ndarray) -> list[tuple[Estimate, Estimate]]:
        """measured/theory − 1 per time: with the control variate, and as it is."""
        controlled, plain = (self.squares - self.excess) / targets - 1, self.squares / targets - 1
        return [(mean(a), mean(b)) for a, b in zip(controlled.T, plain.T, strict=True)]


def draw_sample(
    net: Network,
    data: Dataset,
    steps: Sequence[int],
    prediction: Prediction,
    seeds: range,
    key: jax.Array,
    clocks: dict[str, float],
) -> Sample:
    """Train and measure networks, so many at a time that their parameters fit in memory."""
    chunk = max(1, _SNAPSHOT_BYTES // (4 * net.count_parameters(data.d) * (len(steps) + 1)))
    parts = []
    for first in range(seeds.start, seeds.stop, chunk):
        some = range(first, min(first + chunk, seeds.stop))
        with timed(clocks, "networks"):
            run = train(
                net, data.x_train, data.y_train, seeds=some, steps=steps[-1], record_steps=steps,
                learning_rate=prediction.learning_rate, key=key,
            )  # fmt: skip
            squares = measure(run, data.x_test, ["jacobian_frobenius_sq"])["jacobian_frobenius_sq"]
        averaged = squares.to_numpy().mean(axis=2, dtype=np.float64)
        excess = np.zeros_like(averaged)
        if isinstance(net, MLP) and prediction.propagators is not None:
            with timed(clocks, "control_variate"):
                excess = jacobian_excess(
                    net, data.x_train, data.y_train, data.x_test, prediction.propagators, seeds=some, key=key
                )
        parts.append(Sample(averaged, excess.astype(np.float64), run.status == "diverged"))
    return Sample(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class timed:
    """Adds the seconds spent inside to a clock."""

    def __init__(self, clocks: dict[str, float], name: str) -> None:
        self._clocks, self._name = clocks, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._clocks[self._name] += time.perf_counter() - self._start
