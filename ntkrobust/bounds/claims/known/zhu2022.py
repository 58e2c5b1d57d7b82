"""Zhu et al. 2022: what networks show for its statements, in several readings, and what its bounds say themselves."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.known.shared import LAZY, NOT_LAZY, OVER, UNDER, at_initialization
from ntkrobust.bounds.claims.known.sizes import Sizes
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption, Reading
from ntkrobust.bounds.claims.relations import DecreasesIn, IncreasesIn, OrderAtMost, RisesThenFalls
from ntkrobust.bounds.formulas import huang2021, wu2021, zhu2022

SOURCE = (
    "Zhu, Liu, Chrysos, Cevher 2022, Robustness in deep learning: the good, the bad, and the ugly (arXiv 2209.07263)"
)


def measured(sizes: Sizes) -> list[Claim]:
    """What networks show for the statements of Zhu et al., in several readings."""
    claims = []
    paper: dict[str, Any] = {"source": f"{SOURCE}, abstract", "provenance": "abstract"}
    for name, said, relation, lazy_time in (
        (
            "lecun",
            r"helps robustness under LeCun initialization: $P/\varepsilon$ falls with depth",
            DecreasesIn("depth"),
            4.0,
        ),
        (
            "he",
            r"hurts robustness under He initialization: $P/\varepsilon$ grows with depth",
            IncreasesIn("depth"),
            4.0,
        ),
        (
            "ntk",
            r"hurts robustness under NTK initialization: $P/\varepsilon$ grows with depth",
            IncreasesIn("depth"),
            sizes.scaled_time,
        ),
    ):
        subject = f"zhu2022/depth-{name}/measured"
        claims += [
            at_initialization(
                subject,
                f"Before training, depth {said}",
                relation,
                sizes,
                grid={"initialization": (name,), "depth": sizes.trend_depths, "width": (sizes.trend_width,)},
                **paper,
            ),
            Claim(
                f"{subject}@equal-scaled-time",
                f"In the lazy regime, depth {said}",
                relation,
                "perturbation_stability",
                {
                    "initialization": (name,),
                    "depth": sizes.trained_depths,
                    "width": (sizes.trained_width,),
                    "n": (sizes.n,),
                },
                reading=Reading("equal scaled time", lazy_time, budget=sizes.budget),
                theory=lambda infinite_width: infinite_width,
                theory_label="infinite width",
                assumptions=(LAZY,),
                **paper,
            ),
            Claim(
                f"{subject}@equal-loss",
                f"After training to one loss, lazy or not, depth {said}",
                relation,
                "perturbation_stability",
                {
                    "initialization": (name,),
                    "depth": sizes.trained_depths,
                    "width": (sizes.free_width,),
                    "n": (sizes.n,),
                },
                reading=Reading("equal loss", 0.3, budget=sizes.budget),
                draws=4,
                **paper,
            ),
        ]
    for subject, said, relation, widths, n, assumption, readings in (
        (
            "width-under",
            r"Under-parameterized: width hurts average robustness, $P/\varepsilon$ grows with width",
            IncreasesIn("width"),
            sizes.under_widths,
            sizes.n_under,
            UNDER,
            # Some narrow networks have a tiny λ_max of their own: only a common time compares them.
            {"equal-time": Reading("equal time", 4 * sizes.scaled_time, budget=10 * sizes.budget)},
        ),
        (
            "width-over",
            r"Over-parameterized: width helps average robustness, $P/\varepsilon$ falls with width",
            DecreasesIn("width"),
            sizes.over_widths,
            sizes.n,
            OVER,
            {
                "equal-scaled-time": Reading("equal scaled time", 2 * sizes.scaled_time, budget=sizes.budget),
                "equal-loss": Reading("equal loss", 0.2, budget=sizes.budget),
            },
        ),
    ):
        for slug, reading in readings.items():
            theory: dict[str, Any] = {}
            if reading.time == "equal scaled time":
                theory = {"theory": lambda infinite_width: infinite_width, "theory_label": "infinite width"}
            claims.append(
                Claim(
                    f"zhu2022/{subject}/measured@{slug}",
                    said,
                    relation,
                    "perturbation_stability",
                    {"initialization": ("he",), "depth": (2,), "width": widths, "n": (n,)},
                    reading=reading,
                    assumptions=(assumption,),
                    draws=4 if subject == "width-under" else 2,
                    **theory,
                    **paper,
                )
            )
    claims.append(
        Claim(
            "zhu2022/nonlazy-width/measured@equal-scaled-time",
            r"Two-layer ReLU networks outside the lazy regime: width helps, $P/\varepsilon$ falls with width",
            DecreasesIn("width"),
            "perturbation_stability",
            {"initialization": ("mean_field",), "depth": (2,), "width": sizes.free_widths, "n": (sizes.n,)},
            reading=Reading("equal scaled time", 4 * sizes.scaled_time, budget=sizes.budget),
            draws=4,
            assumptions=(NOT_LAZY,),
            **paper,
        )
    )
    return claims


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
