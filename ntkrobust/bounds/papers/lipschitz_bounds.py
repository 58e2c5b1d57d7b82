"""Bounds on Lipschitz constants beside those of Zhu et al.: products of norms, laws for two layers, random networks.

None of them speaks of an averaged gradient. What is measured is the largest ‖J(x)‖ over the test points, which lies
below the Lipschitz constant.
"""

from __future__ import annotations

import math
from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import Reading
from ntkrobust.bounds.claims.relations import AtMost, OrderAtMost
from ntkrobust.bounds.papers.shared import LAZY, at_initialization
from ntkrobust.bounds.papers.sizes import SIZES, Sizes

FOLKLORE = "chain rule and submultiplicativity of the spectral norm, for activations with |φ'| ≤ 1; docs/statements"
TWO_LAYERS = "Bubeck, Li, Nagaraj 2021, A law of robustness for two-layers neural networks (arXiv 2009.14444)"
RANDOM = "Geuchen et al. 2023, Upper and lower bounds for the Lipschitz constant of random neural networks (2311.01356)"
SMOOTH = "Evangelidis & Krahmer 2026 (PMLR 306), on local Lipschitz constants of networks with smooth activations"


def _is_generous(sizes: Sizes) -> bool:
    """Whether a minute more doesn't matter: factorizing the layers of networks takes a program for every shape."""
    return sizes.draws > SIZES["quick"].draws


def claims(sizes: Sizes) -> list[Claim]:
    """The bounds of the other papers, on untrained and on trained networks."""
    return [*_products(sizes), *_two_layers(sizes), *_random(sizes), *_smooth(sizes)]


def _products(sizes: Sizes) -> list[Claim]:
    """The product of norms, by depth: it holds, and soon says nothing."""
    said = r"the largest $\|J(x)\|_2$ over the test points is at most $\prod_l \|W_l\|_2/\alpha$"
    common: dict[str, Any] = {
        "relation": AtMost(lambda: 1.0),
        "measure": "norm_product_tightness",
        "source": FOLKLORE,
        "provenance": "derived here",
    }
    depths = {"shallow": (2, 4), "deep": (8, 12)} if _is_generous(sizes) else {"deep": (8,)}
    untrained = [
        Claim(
            f"norms/{name}-product/bound@initialization",
            f"Before training, {said}, whose logarithm grows with depth",
            # Networks of their own: the many draws of other claims would all have to be factorized.
            grid={"initialization": ("he",), "depth": of, "width": (96,)},
            **common,
        )
        for name, of in depths.items()
    ]
    trained = Claim(
        "norms/trained-product/bound@equal-loss",
        f"After training to one loss, {said}",
        grid={
            "initialization": ("he",),
            "depth": sizes.lazy_depths if _is_generous(sizes) else sizes.lazy_depths[1:2],
            "width": (sizes.free_width,),
            "n": (sizes.n,),
        },
        reading=Reading("equal loss", 0.3, budget=sizes.budget),
        **common,
    )
    return [*untrained, trained]


def _two_layers(sizes: Sizes) -> list[Claim]:
    """The upper bound of the law for two layers; its lower bound is no claim (docs/statements/other-bounds.md)."""
    reading = Reading("equal loss", 0.2, budget=sizes.budget)
    return [
        Claim(
            "bubeck2021b/upper/bound@equal-loss",
            r"Two-layer networks: $\mathrm{Lip}(f) \leq L_\varphi \|a\|_2 \|W\|_2$, so the largest $\|J(x)\|_2$ is too",
            AtMost(lambda: 1.0),
            "norm_product_tightness",
            {
                "initialization": ("he",),
                "depth": (2,),
                "width": sizes.over_widths if _is_generous(sizes) else sizes.over_widths[1:2],
                "n": (sizes.n,),
            },
            reading=reading,
            source=f"{TWO_LAYERS}, Theorem 5",
            provenance="paper text seen",
        ),
    ]


def _random(sizes: Sizes) -> list[Claim]:
    """Random ReLU networks: upper and lower bounds that differ by a logarithm of the width."""
    return [
        at_initialization(
            "geuchen2023/width/measured",
            r"Random ReLU networks of fixed depth have a Lipschitz constant that grows with the width by a logarithm "
            r"at most: so does $\max_x \|J(x)\|$ over the test points",
            OrderAtMost(lambda width: math.log(width)),
            sizes,
            measure="jacobian_frobenius_max",
            theory=None,
            grid={"initialization": ("ntk",), "depth": (4,), "width": sizes.init_widths},
            source=f"{RANDOM}, abstract: bounds that are apart by a factor logarithmic in the width",
            provenance="abstract",
        )
    ]


def _smooth(sizes: Sizes) -> list[Claim]:
    """Smooth activations under the NTK parameterization: bounds without the width, before and after lazy training."""
    said = r"the local Lipschitz constant does not grow with width: $\max_x \|J(x)\| \leq C$"
    common: dict[str, Any] = {
        "source": f"{SMOOTH}; abstract",
        "provenance": "abstract",
        "measure": "jacobian_frobenius_max",
        "relation": OrderAtMost(lambda: 1.0),
    }
    network = {"initialization": ("he",), "parameterization": ("ntk",)}
    wide = tuple(sizes.lazy_width // part for part in (4, 2, 1))
    untrained = Claim(
        "evangelidis2026/untrained/measured@initialization",
        f"Smooth activations, NTK parameterization, before training: {said}",
        grid={
            **network,
            "activation": ("tanh", "gelu") if _is_generous(sizes) else ("tanh",),
            "depth": (2,),
            "width": wide,
        },
        draws=8,
        **common,
    )
    lazy = Claim(
        "evangelidis2026/lazy/measured@equal-scaled-time",
        f"Smooth activations, NTK parameterization, after lazy training: {said}",
        grid={**network, "activation": ("tanh",), "depth": (2,), "width": wide, "n": (sizes.n,)},
        reading=Reading("equal scaled time", 4.0, budget=sizes.budget),
        assumptions=(LAZY,),
        **common,
    )
    return [untrained, lazy] if _is_generous(sizes) else [untrained]
