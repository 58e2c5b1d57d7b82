"""Certificates against attacks and exact values: ``python benchmarks/certificates.py [--seeds N] [--out FILE]``.

For networks of several activations, depths, norms and trainings it counts triples of a network, a point and a radius,
and among them violations of attack ≥ exact ≥ certificate: a class that is certified and that an attack takes, or a
margin that an attack takes below what is certified. Attacks and networks are evaluated in float32. Exact margins are
made for the tiny networks alone, of a few points. It prints a table, and exits 1 if there is a violation.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator

import numpy as np

import ntkrobust as ntr
from ntkrobust.norms import Norm

ROUNDED = 1e-5
"""What exact values and float32 evaluations may differ by, relative to 1 and the value."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """Networks, how they are trained, and the balls."""

    net: ntr.Network
    norm: Norm
    radii: tuple[float, ...]
    steps: int = 0
    d: int = 8
    adversary: ntr.Adversary | None = None
    method: str = "crown"
    tiny: bool = False

    def __str__(self) -> str:
        kind = self.net.architecture if self.net.architecture != "fully_connected" else str(self.net.activation)
        training = "drawn" if not self.steps else "adversarial" if self.adversary else "trained"
        sizes = f"{self.net.depth:>2} {self.net.width:>3} {self.net.d_out}"
        return f"{kind:<16} {sizes} {self.norm:<5}{self.method:<15}{training}"


def radii(largest: float, count: int) -> tuple[float, ...]:
    """So many, up to the largest, evenly on a logarithmic scale over two decades."""
    return tuple(float(one) for one in largest * np.geomspace(0.01, 1, count))


def setups(count: int) -> Iterator[Setup]:
    """The networks of the campaign, with so many radii each."""
    small, middle, large = radii(0.1, count), radii(0.3, count), radii(0.6, count)
    yield Setup(ntr.MLP(2, 16, 3), "linf", small)
    yield Setup(ntr.MLP(3, 16, 3, bias_std=0.2), "l2", middle, steps=100)
    yield Setup(ntr.MLP(4, 16, 1, initialization="lecun"), "l1", large, steps=100)
    yield Setup(ntr.MLP(3, 16, 1, activation="leaky_relu(0.2)", parameterization="ntk", bias_std=0.1), "linf", small)
    yield Setup(ntr.MLP(3, 16, 3), "linf", small, steps=60, adversary=ntr.Adversary(0.05))
    yield Setup(ntr.MLP(3, 12, 2, activation="tanh"), "l2", middle, steps=100)
    yield Setup(ntr.MLP(2, 12, 2, activation="erf", bias_std=0.1), "l1", large)
    yield Setup(ntr.MLP(2, 12, 1, activation="gelu"), "linf", small, steps=60)
    yield Setup(ntr.MLP(3, 16, 2), "l2", middle, steps=60, method="interval")
    yield Setup(ntr.MLP(2, 5, 1, bias_std=0.3), "linf", middle, d=3, tiny=True)
    yield Setup(ntr.MLP(2, 5, 2), "l1", large, d=3, steps=60, tiny=True)


@dataclasses.dataclass
class Counts:
    """What a setup came to."""

    triples: int
    violations: int
    certified: float
    attacked: float
    exact: int
    exact_violations: int


def examined(setup: Setup, seeds: int, points: int, exact_points: int) -> Counts:
    """All triples of a setup."""
    rng = np.random.default_rng(0)
    x, o = rng.uniform(0, 1, (points, setup.d)).astype(np.float32), setup.net.d_out
    score = x @ rng.normal(size=(setup.d, max(o, 2)))
    label = np.argmax(score - score.mean(axis=0), axis=1)
    y = np.where(label, 1.0, -1.0)[:, None] if o == 1 else np.eye(o)[label]
    run = ntr.train(setup.net, x, y, seeds=seeds, steps=setup.steps, bounds=(0, 1), adversary=setup.adversary)
    found = ntr.certify(run, x, y, epsilon=setup.radii, norm=setup.norm, method=setup.method)
    attack = ntr.attacks.PGD(steps=10, restarts=1, norm=setup.norm)
    broken = ntr.attack(run, x, y, epsilon=setup.radii, methods=attack)
    is_sound = np.asarray(run.status) != "diverged"
    lower, upper = (one.margin.values[is_sound] for one in (found, broken))
    kept, held = broken.is_robust.values[is_sound], found.is_certified.values[is_sound]
    violations = int(np.sum(lower > upper) + np.sum(held > kept))
    exact, exact_violations = 0, 0
    if setup.tiny:
        few = slice(0, exact_points)
        true = ntr.certify(
            dataclasses.replace(run), x[few], y[few], epsilon=setup.radii[-3:], norm=setup.norm, method="exact"
        ).margin.values[is_sound]
        allowed = ROUNDED * (1 + np.abs(true))
        exact = true.size
        exact_violations = int(np.sum(lower[:, -3:, few] > true + 1e-9) + np.sum(upper[:, -3:, few] < true - allowed))
    return Counts(lower.size, violations, float(held.mean()), float(kept.mean()), exact, exact_violations)


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--radii", type=int, default=16)
    parser.add_argument("--exact-points", type=int, default=1)
    parser.add_argument("--out", help="file that the table goes to, too")
    asked = parser.parse_args()
    lines = [f"{'network':<16} {'L':>2} {'m':>3} o norm method         training     triples  violations  certified  "
             "attacked  exact  violations"]  # fmt: skip
    print(lines[0], flush=True)
    total = wrong = 0
    for setup in setups(asked.radii):
        got = examined(setup, asked.seeds, asked.points, asked.exact_points)
        total, wrong = total + got.triples, wrong + got.violations + got.exact_violations
        exact = f"{got.exact:>7}{got.exact_violations:>12}" if got.exact else ""
        lines.append(
            f"{setup!s:<58}{got.triples:>9}{got.violations:>12}{got.certified:>11.4f}{got.attacked:>10.4f}{exact}"
        )
        print(lines[-1], flush=True)
    lines.append(f"{total} triples, {wrong} violations")
    print(lines[-1])
    if asked.out:
        with open(asked.out, "w", encoding="utf-8") as file:
            sizes = f"--seeds {asked.seeds} --points {asked.points} --radii {asked.radii}"
            file.write(f"python benchmarks/certificates.py {sizes}\n\n")
            file.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
