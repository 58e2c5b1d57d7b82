"""What the recollected bounds of Zhu et al. say themselves, and whether networks outgrow them."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption
from ntkrobust.bounds.claims.relations import DecreasesIn, IncreasesIn, OrderAtMost, RisesThenFalls
from ntkrobust.bounds.formulas import huang2021, wu2021, zhu2022
from ntkrobust.bounds.papers.shared import at_initialization
from ntkrobust.bounds.papers.sizes import Sizes
from ntkrobust.bounds.papers.zhu2022.source import SOURCE

BOUND = {
    "lecun": Quantity("bound", zhu2022.lecun, r"B = (\sqrt{L^3 m}\,e^{-m/L^3} + \sqrt{1/m})\,(\sqrt{2}/2)^{L-2}"),
    "he": Quantity("bound", zhu2022.he, r"B = \sqrt{L^3 m}\,e^{-m/L^3} + \sqrt{1/m}"),
    "ntk": Quantity("bound", zhu2022.ntk, r"B = \sqrt{L^3 m}\,e^{-m/L^3} + 1"),
}
"""Theorem 1 for the named initializations, as recollected and without its constant."""

RECOLLECTED: dict[str, Any] = {
    "source": f"{SOURCE}, Theorem 1 as recollected; the text was not at hand",
    "provenance": "recollection",
}

_WIDE = Assumption("over-parameterized: m ≥ 20 L³", lambda width, depth: width >= 20 * depth**3)
_BELOW_THE_TURN = Assumption("under-parameterized: m ≤ L³/2", lambda width, depth: width <= depth**3 / 2)
_ABOVE_THE_TURN = Assumption("over-parameterized: m ≥ L³/2", lambda width, depth: width >= depth**3 / 2)


def bounds() -> list[Claim]:
    """How the recollected bound itself depends on depth and width: arithmetic, no networks."""
    depths, widths = (2, 4, 6, 8), tuple(2**power for power in range(1, 15))
    claims = [
        Claim(
            f"zhu2022/depth-{name}/bound",
            rf"Depth {verb} under {spoken} initialization: the bound {change} with depth where $m \gg L^3$",
            relation,
            BOUND[name],
            {"depth": depths, "width": (16384,)},
            assumptions=(_WIDE,),
            **RECOLLECTED,
        )
        for name, spoken, verb, change, relation in (
            ("lecun", "LeCun", "helps", "falls", DecreasesIn("depth")),
            ("he", "He", "hurts", "grows", IncreasesIn("depth")),
            ("ntk", "NTK", "hurts", "grows", IncreasesIn("depth")),
        )
    ]
    for name, said, relation, assumptions in (
        ("under", "Under-parameterized: the bound grows with width", IncreasesIn("width"), (_BELOW_THE_TURN,)),
        ("over", "Over-parameterized: the bound falls with width", DecreasesIn("width"), (_ABOVE_THE_TURN,)),
        (
            "turn",
            r"Width first hurts, then helps: the bound turns at $m = L^3/2$",
            RisesThenFalls("width", at=zhu2022.turning_width),
            (),
        ),
    ):
        claims.append(
            Claim(
                f"zhu2022/width-{name}/bound",
                f"{said}, under He initialization",
                relation,
                BOUND["he"],
                {"depth": (8,), "width": widths},
                assumptions=assumptions,
                **RECOLLECTED,
            )
        )
    return claims


def orders(sizes: Sizes) -> list[Claim]:
    """The recollected bounds against networks: does measured/bound grow, so that no constant could save them?"""
    widths = tuple(64 * 2**power for power in range(5 if sizes.draws > 64 else 4))
    grid = {"depth": (2,), "width": widths}
    claims = [
        at_initialization(
            f"zhu2022/order-{name}/bound",
            rf"Before training $P/\varepsilon \leq C\,B$ with ${quantity.definition}$",
            OrderAtMost(quantity.formula),
            sizes,
            grid={"initialization": (name,), **grid},
            **RECOLLECTED,
        )
        for name, quantity in BOUND.items()
    ]
    for name, formula, tex in (
        ("wu", wu2021.lipschitz, r"L^2 m^{1/3}\sqrt{\log m} + \sqrt{mL}"),
        ("huang", huang2021.amplification, r"2^{(3L-5)/2}\sqrt{m}"),
    ):
        claims.append(
            at_initialization(
                f"zhu2022/order-{name}/bound",
                rf"Before training $P/\varepsilon \leq C\,({tex})$, a bound that the paper compares with",
                OrderAtMost(formula),
                sizes,
                grid={"initialization": ("ntk",), **grid},
                **RECOLLECTED,
            )
        )
    return claims
