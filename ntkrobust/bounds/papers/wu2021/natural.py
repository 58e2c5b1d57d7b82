"""Width and local Lipschitzness, on untrained and on naturally trained networks; and the bound's own dependence."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Reading
from ntkrobust.bounds.claims.relations import IncreasesIn
from ntkrobust.bounds.formulas import wu2021
from ntkrobust.bounds.papers.shared import at_initialization
from ntkrobust.bounds.papers.sizes import Sizes
from ntkrobust.bounds.papers.wu2021.source import ABSTRACT, SOURCE


def claims(sizes: Sizes) -> list[Claim]:
    """Width and local Lipschitzness in the mean, on untrained and on trained networks (Wu et al.)."""
    subject = "wu2021/lipschitz/measured"
    said = r"wider networks have larger local Lipschitz constants: the mean of $\|J(x)\|_F$ grows with width"
    supremum = r"wider networks have larger local Lipschitz constants: $\max_x \|J(x)\|_F$ grows with width"
    trained: dict[str, Any] = {
        "grid": {"initialization": ("he",), "depth": (2,), "width": sizes.over_widths, "n": (sizes.n,)},
        "reading": Reading("equal loss", 0.2, budget=sizes.budget),
        **ABSTRACT,
    }
    untrained = {"depth": (4,), "width": sizes.init_widths}
    return [
        at_initialization(
            subject,
            f"Before training, {said}",
            IncreasesIn("width"),
            sizes,
            measure="jacobian_frobenius",
            grid={"initialization": ("he",), **untrained},
            **ABSTRACT,
        ),
        at_initialization(
            "wu2021/lipschitz-ntk/measured",
            f"Before training, under NTK initialization, {said}",
            IncreasesIn("width"),
            sizes,
            measure="jacobian_frobenius",
            grid={"initialization": ("ntk",), **untrained},
            **ABSTRACT,
        ),
        at_initialization(
            "wu2021/lipschitz-supremum/measured",
            f"Before training, {supremum}",
            IncreasesIn("width"),
            sizes,
            measure="jacobian_frobenius_max",
            theory=None,
            grid={"initialization": ("he",), **untrained},
            **ABSTRACT,
        ),
        Claim(
            f"{subject}@equal-loss",
            f"After natural training to one loss, {said}",
            IncreasesIn("width"),
            "jacobian_frobenius",
            **trained,
        ),
        Claim(
            "wu2021/lipschitz-supremum/measured@equal-loss",
            f"After natural training to one loss, {supremum}",
            IncreasesIn("width"),
            "jacobian_frobenius_max",
            **trained,
        ),
    ]


def bounds() -> list[Claim]:
    """The bound's own dependence: arithmetic on its recollected form, no networks."""
    return [
        Claim(
            "wu2021/lipschitz/bound",
            "NTK theory says wider is worse: the bound on local Lipschitz constants grows with width",
            IncreasesIn("width"),
            Quantity("bound", wu2021.lipschitz, r"B = L^2 m^{1/3}\sqrt{\log m} + \sqrt{mL}"),
            {"depth": (2, 4, 8), "width": tuple(2**power for power in range(4, 15))},
            source=f"{SOURCE}, as recollected at second hand",
            provenance="recollection",
        )
    ]
