"""Bubeck & Sellke 2021: the universal law of robustness, whose conditions no bundled data set meets."""

from __future__ import annotations

import math

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import Assumption, Reading
from ntkrobust.bounds.claims.relations import AtLeast
from ntkrobust.bounds.formulas.bubeck2021 import lipschitz_lower, smallest_n

SOURCE = "Bubeck & Sellke 2021, A universal law of robustness via isoperimetry (arXiv 2105.12806), Theorem 3"

ENOUGH_SAMPLES = Assumption(
    "the samples that the theorem needs: n ≥ 8⁴ log(8/δ)/ε², with δ = 0.05 and ε ≤ 1",
    lambda n: n >= smallest_n(epsilon=1.0),
)


def _law(n: int, d_in: int, parameters: int, depth: int, width: int) -> float:
    # W = 1 for all weights together, inputs of norm 1: J = (Q p)^D
    return lipschitz_lower(1.0, n, d_in, parameters, depth * math.log(width * parameters))


def claims() -> list[Claim]:
    """The law for weights of at most 1 and inputs of norm 1, fitted below the noise level by ε = 1."""
    return [
        Claim(
            "bubeck2021/universal-law/bound@equal-loss",
            r"Networks that fit below the noise level have $\mathrm{Lip}(f) \geq \frac{\varepsilon}{2^9\sqrt{c}}"
            r"\sqrt{nd/(p\,\log(60WJ/\varepsilon) + \log(4/\delta))}$",
            AtLeast(_law),
            # Of the two sides of Lip(f), the one that could refute.
            "lipschitz_upper",
            {"initialization": ("he",), "depth": (2,), "width": (64, 256)},
            reading=Reading("equal loss", 0.2),
            source=f"{SOURCE}; Zhu et al. 2022 say that their results are consistent with it",
            provenance="paper text seen",
            assumptions=(ENOUGH_SAMPLES,),
        )
    ]
