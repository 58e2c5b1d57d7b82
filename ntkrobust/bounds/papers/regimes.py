"""Lazy or not: what the output scale α changes, and the condition under which Zhu et al. leave the lazy regime."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption, Reading
from ntkrobust.bounds.claims.relations import AtLeast, IncreasesIn
from ntkrobust.bounds.formulas.zhu2022 import lazy_scale
from ntkrobust.bounds.papers.shared import LAZY_RATIO
from ntkrobust.bounds.papers.sizes import Sizes
from ntkrobust.bounds.papers.zhu2022.source import SOURCE as ZHU

SOURCE = "scaling of f by 1/α, after Chizat, Oyallon, Bach 2019 (arXiv 1812.07956); derived in docs/regimes.md"

WIDTH = 256
ALPHAS = (0.25, 2.0, 16.0)
"""Not 1: those networks carry the measures of other claims too, and would need a program of their own."""


def claims(sizes: Sizes) -> list[Claim]:
    """Trained to one loss, two-layer networks are the less lazy the larger α: three measures of it."""
    return [
        Claim(
            f"regimes/{name}-alpha/measured@equal-loss",
            rf"Two-layer networks trained to one loss are less lazy at larger $\alpha$: {said} grows with $\alpha$",
            IncreasesIn("alpha"),
            measure,
            {"initialization": ("he",), "depth": (2,), "width": (WIDTH,), "n": (sizes.n,), "alpha": ALPHAS},
            reading=Reading("equal loss", 0.2, budget=sizes.budget),
            source=SOURCE,
            provenance="derived here",
        )
        for name, measure, said in (
            ("lazy-ratio", "lazy_ratio", r"$\kappa_t = \|\theta_t - \theta_0\|/\|\theta_0\|$"),
            ("kernel-change", "kernel_change", r"$\|\Theta_t - \Theta_0\|/\|\Theta_0\|$"),
            ("linearisation-error", "linearisation_error", "the relative error of the first-order Taylor expansion"),
        )
    ]


_ABOVE = Assumption(
    "α ≥ (m^{3/2} Σ_l β_l)^L",
    lambda width, beta_first, beta, beta_last, depth, alpha: (
        alpha >= lazy_scale(width, beta_first, beta, beta_last, depth)
    ),
)


def leaving_lazy(sizes: Sizes) -> list[Claim]:
    """The sufficient condition in α as recollected: what it asks for, and whether networks that meet it are lazy."""
    recollected: dict[str, Any] = {
        "source": f"{ZHU}, Theorem 2 as recollected; the text was not at hand",
        "provenance": "recollection",
    }
    return [
        Claim(
            "zhu2022/lazy-scale/bound",
            r"The $\alpha$ that is enough to leave the lazy regime, $(m^{3/2} \sum_l \beta_l)^L$, grows with width",
            IncreasesIn("width"),
            Quantity("bound", lazy_scale, r"\alpha^* = (m^{3/2} \sum_l \beta_l)^L"),
            {
                "initialization": ("lecun", "he", "ntk", "xavier"),
                "depth": (2, 3, 4),
                "width": tuple(2**power for power in range(2, 15)),
            },
            **recollected,
        ),
        Claim(
            "zhu2022/leaving-lazy/bound@equal-loss",
            rf"Networks with $\alpha$ above $(m^{{3/2}} \sum_l \beta_l)^L$ are outside the lazy regime after training: "
            rf"$\kappa_t \geq {LAZY_RATIO}$",
            AtLeast(lambda: LAZY_RATIO),
            "lazy_ratio",
            {"initialization": ("he",), "depth": (2,), "width": (16,), "n": (sizes.n,), "alpha": (300.0, 1200.0)},
            reading=Reading("equal loss", 0.9, budget=sizes.budget),
            assumptions=(_ABOVE,),
            **recollected,
        ),
    ]
