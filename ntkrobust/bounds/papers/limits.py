"""Infinite width as a limit: what wide networks share with the closed forms, before and after lazy training."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import Reading
from ntkrobust.bounds.claims.relations import Equals
from ntkrobust.bounds.papers.shared import LAZY, SHORTER
from ntkrobust.bounds.papers.sizes import Sizes

SOURCE = "the infinite-width closed forms of ntkrobust.InfiniteEnsemble; docs/neural-tangents.md, docs/exact-law.md"


def claims(sizes: Sizes) -> list[Claim]:
    """Closed forms as values, on networks wide enough for the margin."""
    common: dict[str, Any] = {
        "source": SOURCE,
        "provenance": "derived here",
        "theory": lambda infinite_width: infinite_width,
        "theory_label": "infinite width",
    }
    return [
        Claim(
            "limit/untrained-stability",
            r"At initialization $P/\varepsilon$ is that of infinite width, for ReLU and for erf",
            Equals(lambda infinite_width: infinite_width, margin=0.05),
            "perturbation_stability",
            {
                "initialization": ("he",),
                "depth": sizes.law_depths[:2],
                "width": sizes.law_widths[-1:],
                "activation": ("relu", "erf"),
            },
            draws=sizes.draws,
            **common,
        ),
        Claim(
            "limit/lazy-stability@equal-scaled-time",
            r"After lazy training $P/\varepsilon$ is that of the infinitely wide ensemble at the same time",
            Equals(lambda infinite_width: infinite_width, margin=0.15),
            "perturbation_stability",
            {
                "initialization": ("lecun", "he"),
                "depth": sizes.lazy_depths[:2],
                "width": (sizes.lazy_width,),
                "n": (sizes.n,),
            },
            reading=Reading("equal scaled time", 4.0, budget=sizes.budget),
            assumptions=(LAZY,),
            alternatives=SHORTER,
            **common,
        ),
    ]
