"""The equalities of the exact law at initialization, and the bound that follows from it."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import AtMost, Equals
from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.bounds.papers.sizes import Sizes
from ntkrobust.networks.mlp import MLP

SOURCE = "the exact finite-width law at initialization, after Hanin & Nica (arXiv 1812.05994); docs/exact-law.md"


def _law(exact_law: float) -> float:
    return exact_law


def _jensen(net: MLP, d_in: int) -> float:
    # E‖Ju‖ ≤ (E‖Ju‖²)^{1/2}
    return d_in / (d_in + 1) * exact_law(net, d_in).moment(2) ** 0.5


def claims(sizes: Sizes) -> list[Claim]:
    """The law's equalities, and the bound that follows from it by Jensen's inequality."""
    common: dict[str, Any] = {
        "theory": _law,
        "theory_label": "exact law",
        "source": SOURCE,
        "provenance": "derived here",
        "draws": sizes.draws,
    }
    return [*_of_four_initializations(sizes, common), *_of_he(sizes, common), _bound(sizes, common)]


def _four(sizes: Sizes) -> dict[str, Any]:
    return {"initialization": ("lecun", "he", "ntk", "xavier"), "depth": sizes.law_depths, "width": sizes.law_widths}


def _of_four_initializations(sizes: Sizes, common: dict[str, Any]) -> list[Claim]:
    """The means of ‖J‖_F² and of P/ε."""
    four = _four(sizes)
    return [
        Claim(
            "law/second-moment",
            r"At initialization $E\|J(x)\|_F^2 = d\,o\,A^2 (m/2)^{L-1}$ with $A = \beta_1\beta^{L-2}\beta_L/\alpha$, "
            r"for every $x \neq 0$",
            Equals(_law, margin=0.1),
            "jacobian_frobenius_sq",
            four,
            **common,
        ),
        Claim(
            "law/perturbation-stability",
            r"On average over initializations $P/\varepsilon = \frac{d}{d+1}\,A\,\mu_m^{L-1}\,E\chi_o$",
            Equals(_law, margin=0.05),
            "perturbation_stability",
            four,
            **common,
        ),
    ]


def _of_he(sizes: Sizes, common: dict[str, Any]) -> list[Claim]:
    """Several outputs, the fourth moment, and the probability that all gates of a layer are closed."""
    return [
        Claim(
            "law/several-outputs",
            r"$P/\varepsilon$ follows the law with three and with ten outputs, and with Gaussian biases",
            Equals(_law, margin=0.05),
            "perturbation_stability",
            {
                "initialization": ("he",),
                "depth": sizes.law_depths,
                "width": sizes.law_widths,
                "d_out": (3, 10),
                "bias_std": (0.5,),
            },
            **common,
        ),
        Claim(
            "law/fourth-moment",
            r"At initialization $E\|J(x)\|_F^4$ follows the two-term recursion in $E\|J\|_F^4$ and $E\,\|JJ^T\|_F^2$",
            Equals(_law, margin=0.15),
            "jacobian_frobenius_fourth",
            {"initialization": ("he",), "depth": sizes.law_depths[:2], "width": sizes.law_widths[-1:], "d_out": (1, 3)},
            **common,
        ),
        Claim(
            "law/atom-at-zero",
            r"At initialization $P(J(x) = 0) = 1 - (1 - 2^{-m})^{L-1}$ for ReLU",
            Equals(_law, margin=0.15),
            "jacobian_is_zero",
            {"initialization": ("he",), "depth": sizes.atom_depths, "width": (1, 2, 3)},
            **(common | {"draws": 4 * sizes.draws}),
        ),
    ]


def _bound(sizes: Sizes, common: dict[str, Any]) -> Claim:
    return Claim(
        "law/jensen",
        r"At initialization $P/\varepsilon \leq \frac{d}{d+1}\sqrt{o\,A^2 (m/2)^{L-1}}$, at every width",
        AtMost(_jensen),
        "perturbation_stability",
        _four(sizes),
        **common,
    )
