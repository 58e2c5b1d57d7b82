"""Lazy regime: depth helps under LeCun and hurts under He and NTK initialization, in every reading of these words.

``…/measured`` speaks of finite networks, ``…/infinite`` of the closed forms of infinite width, where nothing is left to
chance and networks are lazy at every depth.
"""

from __future__ import annotations

import dataclasses

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Reading
from ntkrobust.bounds.claims.relations import DecreasesIn, IncreasesIn, Trend
from ntkrobust.bounds.papers.shared import HIGHER_LOSSES, LAZY, SHORTER, at_initialization
from ntkrobust.bounds.papers.sizes import Sizes
from ntkrobust.bounds.papers.zhu2022.source import ABSTRACT


@dataclasses.dataclass(frozen=True)
class Statement:
    """What the abstract says of depth under one initialization.

    Attributes:
        name: of the initialization.
        verb, change: ``helps`` and ``falls``, or ``hurts`` and ``grows``.
        relation: the same as a trend.
        lazy_time: t·λ_max up to which finite networks of the grid stay lazy.
    """

    name: str
    verb: str
    change: str
    relation: Trend
    lazy_time: float | None = None

    def said(self, of: str) -> str:
        """The statement about a quantity."""
        spoken = {"lecun": "LeCun", "he": "He", "ntk": "NTK"}[self.name]
        return f"depth {self.verb} robustness under {spoken} initialization: {of} {self.change} with depth"


STATEMENTS = (
    Statement("lecun", "helps", "falls", DecreasesIn("depth"), 4.0),
    Statement("he", "hurts", "grows", IncreasesIn("depth"), 4.0),
    Statement("ntk", "hurts", "grows", IncreasesIn("depth")),
)

RAW = r"$P/\varepsilon$"
NORMALIZED = r"$P/(\varepsilon\,\mathrm{rms} f)$"
EQUAL_TIME = 4.0
"""λ_max·t of the shallowest network, at which ``equal time`` compares them."""

INFINITE_STABILITY = Quantity(
    "infinite_stability",
    lambda infinite_width: infinite_width,
    r"P(f_t, \varepsilon)/\varepsilon \text{ of the infinitely wide ensemble}",
)
INFINITE_NORMALIZED = Quantity(
    "infinite_normalized_stability",
    lambda infinite_width: infinite_width,
    r"(\mathrm{E}\|J\|_F^2/\mathrm{E}\|f_t\|^2)^{1/2} \text{ of the infinitely wide ensemble}",
)


def measured(sizes: Sizes) -> list[Claim]:
    """Finite networks: before training, at equal scaled time, at one time for all, at equal loss."""
    return [
        claim
        for one in STATEMENTS
        for claim in (*_untrained(one, sizes), _at_equal_scaled_time(one, sizes), *_lazy_or_not(one, sizes))
    ]


def _subjects(one: Statement) -> tuple[str, str]:
    """Ids of the claims about P/ε, and about what is left once the scale of the output is divided out."""
    return f"zhu2022/depth-{one.name}/measured", f"zhu2022/depth-{one.name}-normalized/measured"


def _untrained(one: Statement, sizes: Sizes) -> list[Claim]:
    subject, normalized = _subjects(one)
    grid = {"initialization": (one.name,), "depth": sizes.trend_depths, "width": (sizes.trend_width,)}
    return [
        at_initialization(subject, f"Before training, {one.said(RAW)}", one.relation, sizes, grid=grid, **ABSTRACT),
        Claim(
            f"{normalized}@initialization",
            f"Before training, with the scale of the output divided out, {one.said(NORMALIZED)}",
            one.relation,
            "normalized_perturbation_stability",
            grid,
            draws=2 * sizes.draws,
            **ABSTRACT,
        ),
    ]


def _at_equal_scaled_time(one: Statement, sizes: Sizes) -> Claim:
    """In the lazy regime, where networks keep close to infinite width."""
    return Claim(
        f"{_subjects(one)[0]}@equal-scaled-time",
        f"In the lazy regime, {one.said(RAW)}",
        one.relation,
        "perturbation_stability",
        {"initialization": (one.name,), "depth": sizes.lazy_depths, "width": (sizes.lazy_width,), "n": (sizes.n,)},
        reading=Reading("equal scaled time", one.lazy_time or sizes.scaled_time, budget=sizes.budget),
        theory=lambda infinite_width: infinite_width,
        theory_label="infinite width",
        assumptions=(LAZY,),
        alternatives=SHORTER,
        draws=3,
        **ABSTRACT,
    )


def _lazy_or_not(one: Statement, sizes: Sizes) -> list[Claim]:
    """At one time for all depths, and at equal loss."""
    subject, normalized = _subjects(one)
    grid = {"initialization": (one.name,), "depth": sizes.free_depths, "width": (sizes.free_width,), "n": (sizes.n,)}
    return [
        Claim(
            f"{subject}@equal-time",
            f"After one time for all depths, lazy or not, {one.said(RAW)}",
            one.relation,
            "perturbation_stability",
            grid,
            reading=Reading("equal time", EQUAL_TIME, budget=sizes.budget),
            draws=4,
            **ABSTRACT,
        ),
        *(
            Claim(
                f"{of_what}@equal-loss",
                f"After training to one loss, lazy or not, {one.said(of)}",
                one.relation,
                measure,
                grid,
                reading=Reading("equal loss", 0.3, budget=sizes.budget),
                alternatives=HIGHER_LOSSES,
                draws=4,
                **ABSTRACT,
            )
            for of_what, of, measure in (
                (subject, RAW, "perturbation_stability"),
                (normalized, NORMALIZED, "normalized_perturbation_stability"),
            )
        ),
    ]


def infinite(sizes: Sizes) -> list[Claim]:
    """Infinite width, in closed form, from initialization to t = ∞."""
    claims = []
    for one in STATEMENTS:
        for slug, when, reading in (
            ("initialization", "Before training", Reading()),
            ("equal-time", "After one short time for all depths", Reading("equal time", EQUAL_TIME)),
            ("equal-scaled-time", "After equal scaled time", Reading("equal scaled time", sizes.scaled_time)),
            ("converged", "At convergence", Reading("converged")),
        ):
            for suffix, quantity, of in (
                ("", INFINITE_STABILITY, RAW),
                ("-normalized", INFINITE_NORMALIZED, "the root mean square gradient over the root mean square output"),
            ):
                claims.append(
                    Claim(
                        f"zhu2022/depth-{one.name}{suffix}/infinite@{slug}",
                        f"{when}, at infinite width, {one.said(of)}",
                        one.relation,
                        quantity,
                        {
                            "initialization": (one.name,),
                            "depth": sizes.infinite_depths,
                            "width": (sizes.infinite_width,),
                            "n": (sizes.n_infinite,),
                        },
                        reading=reading,
                        **ABSTRACT,
                    )
                )
    return claims
