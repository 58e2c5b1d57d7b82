"""Stability of TRADES networks on training and on test points: ``python docs/width_and_samples.py``.

Prints the table that docs/statements/wider-networks.md quotes: the networks of ``wu2021/stability/measured@trades-32``
at its narrowest and its widest, at other numbers of steps, and with more training points.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import ntkrobust as ntr

RADIUS, POINTS, SEEDS = 0.03, 256, 16
STRONG = ntr.Adversary(RADIUS, strength=32.0, objective="trades", steps=5)
MEASURES = ("natural_accuracy", "prediction_stability_by_pgd", "robust_accuracy_by_pgd")


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Networks of one width.

    Attributes:
        n: training points.
        width: m.
        steps: of Adam, at each of which they are looked at.
    """

    n: int
    width: int
    steps: tuple[int, ...]


ENSEMBLES = (
    Ensemble(256, 16, (100, 300, 1000, 3000, 10_000)),
    Ensemble(256, 128, (30, 100, 300, 1000)),
    Ensemble(1024, 16, (300,)),
    Ensemble(1024, 128, (300,)),
)


def rows(ensemble: Ensemble) -> Iterator[list[str]]:
    """A row for each number of steps: means over networks with standard errors."""
    data = ntr.data.load("digits").subset(ensemble.n, POINTS)
    run = ntr.train(
        ntr.MLP(3, ensemble.width),
        data.x_train,
        data.y_train,
        seeds=SEEDS,
        steps=ensemble.steps[-1],
        record_steps=ensemble.steps,
        optimizer="adam",
        learning_rate=0.01,
        loss="cross_entropy",
        adversary=STRONG,
    )
    on_test = ntr.measure(run, data.x_test, MEASURES, y_test=data.y_test, epsilon=RADIUS)
    # as many training points as test points: the programs are then the same
    x, y = data.x_train[:POINTS], data.y_train[:POINTS]
    on_training = ntr.measure(run, x, MEASURES, y_test=y, epsilon=RADIUS)
    for index, steps in enumerate(ensemble.steps):
        shares = [
            found[name].isel(time=index)
            for found, name in (
                (on_test, MEASURES[0]),
                (on_training, MEASURES[1]),
                (on_test, MEASURES[1]),
                (on_test, MEASURES[2]),
            )
        ]
        said = (f"{one.mean():.3f} ± {one.std(ddof=1) / math.sqrt(SEEDS):.3f}" for one in shares)
        yield [str(ensemble.n), str(ensemble.width), str(steps), *said]


def main() -> None:
    print("| n | width | steps | natural accuracy | stability, training points | stability | robust accuracy |")
    print("|---|---|---|---|---|---|---|")
    for ensemble in ENSEMBLES:
        for row in rows(ensemble):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
