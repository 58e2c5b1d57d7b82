"""Adversarially trained networks: what width does at one strength of the regularization, and what more of it repairs.

Three readings of "the same regularization": PGD adversarial training (λ = 1 of the generalized objective), and TRADES
with a moderate and with a strong β. The answer to what width does to prediction stability depends on which it is.

Trends in bounds say nothing about what is bounded; so these statements speak of what 20 steps of PGD find, as the
paper's do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ntkrobust.adversary import Adversary, RegularizerKind
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import Reading
from ntkrobust.bounds.claims.relations import DecreasesIn, IncreasesIn, Relation
from ntkrobust.bounds.papers.sizes import Sizes
from ntkrobust.bounds.papers.wu2021.source import ABSTRACT

POINTS = 256
"""Test points: a share of fewer would move in steps of percents."""

SHARE_MARGIN = 0.01
"""Shares of points vary little along an axis: a hundredth against the stated direction is all that is put up with."""


@dataclasses.dataclass(frozen=True)
class Regularization:
    """One way to hold it fixed.

    Attributes:
        slug: for ids.
        words: for statements.
        objective: of the adversary that is trained against, see :class:`~ntkrobust.Adversary`.
        strength: λ, or β of TRADES.
    """

    slug: str
    words: str
    objective: RegularizerKind
    strength: float


REGULARIZATIONS = (
    Regularization("adversarial-training", "under adversarial training (λ = 1)", "generalized", 1.0),
    Regularization("trades-2", "under TRADES with β = 2", "trades", 2.0),
    Regularization("trades-32", "under TRADES with β = 32", "trades", 32.0),
)


@dataclasses.dataclass(frozen=True)
class Statement:
    """What is said of a measure along width.

    Attributes:
        subject: for ids.
        said: the statement.
        relation: the trend.
        measure: of which.
    """

    subject: str
    said: str
    relation: Relation
    measure: str


STATEMENTS = (
    Statement("natural", "wider networks have better natural accuracy", IncreasesIn("width", SHARE_MARGIN),
              "natural_accuracy"),
    Statement("stability", "wider networks have worse prediction stability", DecreasesIn("width", SHARE_MARGIN),
              "prediction_stability_by_pgd"),
    Statement("decomposition", "what width takes from robust accuracy is stability: of the points classified "
              "correctly, wider networks keep fewer under attack", DecreasesIn("width", SHARE_MARGIN),
              "stability_given_correct_by_pgd"),
    Statement("robustness", "wider networks have worse robust accuracy", DecreasesIn("width", SHARE_MARGIN),
              "robust_accuracy_by_pgd"),
    Statement("local-lipschitz", "wider networks have larger local Lipschitz constants, "
              r"$\max_{x'} \|f(x) - f(x')\|_1/\|x - x'\|_\infty$", IncreasesIn("width"), "local_lipschitz_by_pgd"),
    Statement("kl-gradient", "wider networks have larger local Lipschitz constants, by the formula of the public code, "
              r"$\max_{x'} \|\nabla_{x'} \mathrm{KL}(f(x)\|f(x'))\|_1$", IncreasesIn("width"), "kl_gradient_by_pgd"),
)  # fmt: skip


def claims(sizes: Sizes) -> list[Claim]:
    """Along width at one strength, and along strength at the largest width."""
    return [*_along_width(sizes), *_along_strength(sizes)]


def _reading(objective: RegularizerKind, sizes: Sizes) -> Reading:
    return Reading(
        "fixed steps",
        sizes.adversarial_steps,
        optimizer="adam",
        learning_rate=0.01,
        loss="cross_entropy",
        adversary=Adversary(sizes.radius, objective=objective, steps=5),
    )


def _grid(widths: tuple[int, ...], strengths: tuple[float, ...], sizes: Sizes) -> dict[str, Any]:
    return {
        "initialization": ("he",),
        "depth": (3,),
        "width": widths,
        "n": (sizes.n_adversarial,),
        "epsilon": (sizes.radius,),
        "strength": strengths,
    }


def _along_width(sizes: Sizes) -> list[Claim]:
    return [
        Claim(
            f"wu2021/{one.subject}/measured@{kept.slug}",
            f"At equal regularization, {kept.words}, {one.said}",
            one.relation,
            one.measure,
            _grid(sizes.adversarial_widths, (kept.strength,), sizes),
            reading=_reading(kept.objective, sizes),
            points=POINTS,
            design=sizes.radius_in_words,
            **ABSTRACT,
        )
        for one in STATEMENTS
        for kept in REGULARIZATIONS
    ]


def _along_strength(sizes: Sizes) -> list[Claim]:
    """At the largest width: more regularization gives back stability and robust accuracy."""
    return [
        Claim(
            f"wu2021/war-{slug}/measured@trades",
            f"On wide networks, a larger β of TRADES gives back {of}",
            IncreasesIn("strength", SHARE_MARGIN),
            measure,
            _grid(sizes.adversarial_widths[-1:], sizes.strengths, sizes),
            reading=_reading("trades", sizes),
            points=POINTS,
            design=sizes.radius_in_words,
            **ABSTRACT,
        )
        for slug, of, measure in (
            ("stability", "prediction stability", "prediction_stability_by_pgd"),
            ("robustness", "robust accuracy", "robust_accuracy_by_pgd"),
        )
    ]
