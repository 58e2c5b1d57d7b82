"""Statements about width from both sides: ``python docs/from_both_sides.py [--seeds N] [--points N]``.

Prints the table that docs/certified.md quotes: for the adversarially trained networks of ``wu2021``, at their narrowest
and their widest, what attacks say of each measure and what certificates say, which lie on either side of it. A
statement about the measure itself is decided where they lie apart:

- *holds*: the lower end at the width that is said to have more is above the upper end at the other, in the mean over
  networks, by a Welch interval that covers all rows together with 95 %;
- *refuted*: the same with the widths exchanged;
- *open*: the ends overlap, or the means are not far enough apart.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

import numpy as np
import scipy.stats

import ntkrobust as ntr
from ntkrobust.bounds.papers.sizes import SIZES
from ntkrobust.bounds.papers.wu2021.adversarial import REGULARIZATIONS, Regularization

QUICK = SIZES["quick"]
WIDTHS = QUICK.adversarial_widths[0], QUICK.adversarial_widths[-1]
RADII = QUICK.radius / 10, QUICK.radius
ROWS = 5 * len(REGULARIZATIONS) * len(RADII)


@dataclasses.dataclass(frozen=True)
class Sides:
    """A measure of each network, (seed,), from below and from above."""

    lower: np.ndarray
    upper: np.ndarray

    def __str__(self) -> str:
        digits = 3 if self.upper.mean() < 10 else 1
        return f"{self.lower.mean():.{digits}f} to {self.upper.mean():.{digits}f}"


SAID = {
    "stability": (-1, "stability falls"),
    "decomposition": (-1, "stability of the correct falls"),
    "robustness": (-1, "robust accuracy falls"),
    "local-lipschitz": (1, "local Lipschitz constants grow"),
    "kl-gradient": (1, "KL gradients grow"),
}
"""What is said of each subject as width grows, and its sign."""


def both_sides(run: ntr.Run, data: ntr.data.Dataset, radius: float) -> dict[str, Sides]:
    """Of the networks of a run, by subject."""
    of = ntr.measures
    upper = [of.LocalLipschitzUpper(radius).rename("lipschitz"), of.KlGradientUpper(radius).rename("kl")]
    shares = [of.CertifiedStability(radius).rename("stable"), of.CertifiedAccuracy(radius).rename("certain")]
    attacked = ("prediction_stability_by_pgd", "robust_accuracy_by_pgd", "natural_accuracy",
                "local_lipschitz_by_pgd", "kl_gradient_by_pgd")  # fmt: skip
    found = ntr.measure(run, data.x_test, [*attacked, *upper, *shares], y_test=data.y_test, epsilon=radius)
    found = found.isel(time=-1)
    values = {str(name): one.mean("point").values if "point" in one.dims else one.values for name, one in found.items()}
    natural, robust = values["natural_accuracy"], values["robust_accuracy_by_pgd"]
    return {
        "stability": Sides(values["stable"], values["prediction_stability_by_pgd"]),
        "decomposition": Sides(values["certain"] / natural, robust / natural),
        "robustness": Sides(values["certain"], robust),
        "local-lipschitz": Sides(values["local_lipschitz_by_pgd"], values["lipschitz"]),
        "kl-gradient": Sides(values["kl_gradient_by_pgd"], values["kl"]),
    }


def apart(more: np.ndarray, less: np.ndarray) -> bool:
    """Whether one mean is above another, by a Welch interval for all rows."""
    test = scipy.stats.ttest_ind(more, less, equal_var=False, alternative="greater")
    return bool(test.pvalue < 0.025 / ROWS)


def verdict(sign: int, narrow: Sides, wide: Sides) -> str:
    """Of a measure that is said to grow with width, or to fall."""
    more, less = (wide, narrow) if sign > 0 else (narrow, wide)
    if apart(more.lower, less.upper):
        return "holds"
    if apart(less.lower, more.upper):
        return "refuted"
    return "open"


def trained(kept: Regularization, width: int, data: ntr.data.Dataset, seeds: int) -> ntr.Run:
    """The networks of a claim, see :mod:`ntkrobust.bounds.papers.wu2021.adversarial`."""
    adversary = ntr.Adversary(QUICK.radius, strength=kept.strength, objective=kept.objective, steps=5)
    return ntr.train(
        ntr.MLP(3, width), data.x_train, data.y_train, seeds=seeds, steps=QUICK.adversarial_steps, optimizer="adam",
        learning_rate=0.01, loss="cross_entropy", adversary=adversary, bounds=data.bounds,
    )  # fmt: skip


def rows(seeds: int, points: int) -> Iterator[list[str]]:
    """A row for each regularization, radius and subject."""
    data = ntr.data.load("digits").subset(QUICK.n_adversarial, points)
    for kept in REGULARIZATIONS:
        runs = [trained(kept, width, data, seeds) for width in WIDTHS]
        for radius in RADII:
            narrow, wide = (both_sides(run, data, radius) for run in runs)
            for subject, (sign, said) in SAID.items():
                sides = narrow[subject], wide[subject]
                claim = f"`wu2021/{subject}/measured@{kept.slug}`: {said}"
                yield [claim, f"{radius:g}", *map(str, sides), verdict(sign, *sides)]


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--points", type=int, default=128)
    asked = parser.parse_args()
    print(f"| statement | ε | width {WIDTHS[0]} | width {WIDTHS[1]} | |\n|---|---|---|---|---|")
    for row in rows(asked.seeds, asked.points):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
