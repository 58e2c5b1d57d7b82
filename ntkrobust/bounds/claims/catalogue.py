"""The statements this package knows: the papers' own, and the equalities of the exact law."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import AT_INITIALIZATION, Assumption, Reading
from ntkrobust.bounds.claims.relations import AtMost, DecreasesIn, Equals, IncreasesIn, Relation
from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.errors import InputError
from ntkrobust.networks import MLP

PRESETS = ("quick", "standard", "paper")

_ZHU = "Zhu, Liu, Chrysos, Cevher 2022, Robustness in deep learning: the good, the bad, and the ugly (arXiv 2209.07263)"
_WU = "Wu, Chen, Cai, He, Gu 2021, Do wider neural networks really help adversarial robustness? (arXiv 2010.01279)"
_LAW = "the exact finite-width law at initialization, after Hanin & Nica (arXiv 1812.05994); docs/exact-law.md"

LAZY = Assumption(
    "lazy training: κ_t < 0.05 and kernel change < 0.1",
    lambda lazy_ratio, kernel_change: lazy_ratio < 0.05 and kernel_change < 0.1,
    ("lazy_ratio", "kernel_change"),
)
UNDER = Assumption(
    "under-parameterized: fewer parameters than n·o", lambda parameters, n, d_out: parameters < n * d_out
)
OVER = Assumption("over-parameterized: p > n·o parameters", lambda parameters, n, d_out: parameters > n * d_out)
NOT_LAZY = Assumption(
    "outside the lazy regime: κ_t ≥ 0.05 or kernel change ≥ 0.1",
    lambda lazy_ratio, kernel_change: lazy_ratio >= 0.05 or kernel_change >= 0.1,
    ("lazy_ratio", "kernel_change"),
)

# The law as formulas of a cell's coordinates.


def _frobenius_sq(net: MLP, d_in: int) -> float:
    return exact_law(net, d_in).jacobian_frobenius_sq()


def _frobenius_fourth(net: MLP, d_in: int) -> float:
    return exact_law(net, d_in).jacobian_frobenius_fourth()


def _stability(net: MLP, d_in: int) -> float:
    return exact_law(net, d_in).perturbation_stability()


def _jensen(net: MLP, d_in: int) -> float:
    # E‖Ju‖ ≤ (E‖Ju‖²)^{1/2}
    return d_in / (d_in + 1) * exact_law(net, d_in).moment(2) ** 0.5


def _gradient_norm(net: MLP, d_in: int) -> float:
    return exact_law(net, d_in).gradient_norm_moment(1)


def _zero_share(net: MLP, d_in: int) -> float:
    return exact_law(net, d_in).p_zero


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """Grids and budgets of one preset."""

    law_widths: tuple[int, ...]
    law_depths: tuple[int, ...]
    atom_depths: tuple[int, ...]
    trend_depths: tuple[int, ...]
    trend_width: int
    init_widths: tuple[int, ...]
    trained_depths: tuple[int, ...]
    trained_width: int
    under_widths: tuple[int, ...]
    over_widths: tuple[int, ...]
    free_width: int
    free_widths: tuple[int, ...]
    n: int
    n_under: int
    scaled_time: float
    budget: int
    draws: int


_SIZES = {
    "quick": _Sizes(
        law_widths=(64, 128),
        law_depths=(2, 4),
        atom_depths=(2, 4),
        trend_depths=(2, 4, 6, 8),
        trend_width=64,
        init_widths=(16, 32, 64, 128),
        trained_depths=(2, 3, 5),
        trained_width=512,
        under_widths=(2, 4, 7),
        over_widths=(32, 64, 128, 256),
        free_width=128,
        free_widths=(16, 64, 256),
        n=128,
        n_under=512,
        scaled_time=30.0,
        budget=1000,
        draws=64,
    ),
    "standard": _Sizes(
        law_widths=(64, 256, 1024),
        law_depths=(2, 4, 8),
        atom_depths=(2, 4, 8),
        trend_depths=(2, 4, 6, 8, 10),
        trend_width=128,
        init_widths=(16, 32, 64, 128, 256),
        trained_depths=(2, 3, 4, 6, 8, 10),
        trained_width=1024,
        under_widths=(1, 2, 4, 6, 8, 12, 16),
        over_widths=(32, 64, 128, 256, 512, 1024),
        free_width=256,
        free_widths=(16, 32, 64, 128, 256, 512, 1024),
        n=256,
        n_under=1437,
        scaled_time=100.0,
        budget=10_000,
        draws=256,
    ),
    "paper": _Sizes(
        law_widths=(64, 256, 1024, 4096),
        law_depths=(2, 4, 8, 16),
        atom_depths=(2, 4, 8, 16),
        trend_depths=(2, 4, 6, 8, 10, 12, 16, 20),
        trend_width=512,
        init_widths=(16, 32, 64, 128, 256, 512, 1024),
        trained_depths=(2, 3, 4, 6, 8, 10),
        trained_width=4096,
        under_widths=(1, 2, 4, 6, 8, 12, 16),
        over_widths=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
        free_width=1024,
        free_widths=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
        n=1437,
        n_under=1437,
        scaled_time=300.0,
        budget=100_000,
        draws=256,
    ),
}


def _laws(sizes: _Sizes) -> list[Claim]:
    """The law's equalities, and the bound that follows from it by Jensen's inequality."""
    four = {"initialization": ("lecun", "he", "ntk", "xavier"), "depth": sizes.law_depths, "width": sizes.law_widths}
    common: dict[str, Any] = {"source": _LAW, "provenance": "derived here", "draws": sizes.draws}
    return [
        Claim(
            "law/second-moment",
            r"At initialization $E\|J(x)\|_F^2 = d\,o\,A^2 (m/2)^{L-1}$ with $A = \beta_1\beta^{L-2}\beta_L/\alpha$, "
            r"for every $x \neq 0$",
            Equals(_frobenius_sq, margin=0.1),
            "jacobian_frobenius_sq",
            four,
            theory=_frobenius_sq,
            theory_label="exact law",
            **common,
        ),
        Claim(
            "law/perturbation-stability",
            r"On average over initializations $P/\varepsilon = \frac{d}{d+1}\,A\,\mu_m^{L-1}\,E\chi_o$",
            Equals(_stability, margin=0.05),
            "perturbation_stability",
            four,
            theory=_stability,
            theory_label="exact law",
            **common,
        ),
        Claim(
            "law/several-outputs",
            r"$P/\varepsilon$ follows the law with three and with ten outputs, and with Gaussian biases",
            Equals(_stability, margin=0.05),
            "perturbation_stability",
            {
                "initialization": ("he",),
                "depth": sizes.law_depths,
                "width": sizes.law_widths,
                "d_out": (3, 10),
                "bias_std": (0.5,),
            },
            theory=_stability,
            theory_label="exact law",
            **common,
        ),
        Claim(
            "law/fourth-moment",
            r"At initialization $E\|J(x)\|_F^4$ follows the two-term recursion in $E\|J\|_F^4$ and $E\,\|JJ^T\|_F^2$",
            Equals(_frobenius_fourth, margin=0.15),
            "jacobian_frobenius_fourth",
            {"initialization": ("he",), "depth": sizes.law_depths[:2], "width": sizes.law_widths[-1:], "d_out": (1, 3)},
            theory=_frobenius_fourth,
            theory_label="exact law",
            **common,
        ),
        Claim(
            "law/atom-at-zero",
            r"At initialization $P(J(x) = 0) = 1 - (1 - 2^{-m})^{L-1}$ for ReLU",
            Equals(_zero_share, margin=0.15),
            "jacobian_is_zero",
            {"initialization": ("he",), "depth": sizes.atom_depths, "width": (1, 2, 3)},
            theory=_zero_share,
            theory_label="exact law",
            **(common | {"draws": 4 * sizes.draws}),
        ),
        Claim(
            "law/jensen",
            r"At initialization $P/\varepsilon \leq \frac{d}{d+1}\sqrt{o\,A^2 (m/2)^{L-1}}$, at every width",
            AtMost(_jensen),
            "perturbation_stability",
            four,
            theory=_stability,
            theory_label="exact law",
            **common,
        ),
    ]


def _at_initialization(claim_id: str, said: str, relation: Relation, sizes: _Sizes, **more: Any) -> Claim:
    """A statement about P/ε of untrained networks, with the exact law as its theory line."""
    return Claim(
        f"{claim_id}@initialization",
        said,
        relation,
        more.pop("measure", "perturbation_stability"),
        reading=AT_INITIALIZATION,
        theory=more.pop("theory", _stability),
        theory_label="exact law",
        draws=2 * sizes.draws,
        **more,
    )


def _zhu2022(sizes: _Sizes) -> list[Claim]:
    """What networks show for the statements of Zhu et al., in several readings."""
    claims = []
    paper: dict[str, Any] = {"source": f"{_ZHU}, abstract", "provenance": "abstract"}
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
            _at_initialization(
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


def _wu2021(sizes: _Sizes) -> list[Claim]:
    """Width and local Lipschitzness in the mean, on untrained and on trained networks (Wu et al.)."""
    paper: dict[str, Any] = {"source": f"{_WU}, abstract", "provenance": "abstract"}
    subject = "wu2021/lipschitz/measured"
    said = r"wider networks have larger local Lipschitz constants: the mean of $\|J(x)\|_F$ grows with width"
    return [
        _at_initialization(
            subject,
            f"Before training, {said}",
            IncreasesIn("width"),
            sizes,
            measure="jacobian_frobenius",
            theory=_gradient_norm,
            grid={"initialization": ("he",), "depth": (4,), "width": sizes.init_widths},
            **paper,
        ),
        Claim(
            f"{subject}@equal-loss",
            f"After natural training to one loss, {said}",
            IncreasesIn("width"),
            "jacobian_frobenius",
            {"initialization": ("he",), "depth": (2,), "width": sizes.over_widths, "n": (sizes.n,)},
            reading=Reading("equal loss", 0.2, budget=sizes.budget),
            **paper,
        ),
    ]


@lru_cache(maxsize=len(PRESETS))
def catalogue(preset: str = "quick") -> tuple[Claim, ...]:
    """All statements of this package, on the grids of a preset.

    Raises:
        InputError: the preset is unknown.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}: expected one of {', '.join(PRESETS)}")
    sizes = _SIZES[preset]
    return (*_laws(sizes), *_zhu2022(sizes), *_wu2021(sizes))


def default_claims(preset: str = "quick") -> tuple[Claim, ...]:
    """The catalogue without what is known from recollection only: that is examined when it is asked for."""
    return tuple(claim for claim in catalogue(preset) if claim.provenance != "recollection")


def load(claim_id: str, preset: str = "quick") -> Claim:
    """One statement by its id; without ``@reading``, in the first of its readings.

    Raises:
        InputError: there is no such statement.
    """
    return select([claim_id], preset)[0]


def select(names: Sequence[str], preset: str = "quick", everything: bool = False) -> tuple[Claim, ...]:
    """The statements meant by ids, by ids without their reading (all readings) or by papers (all their statements).

    Args:
        names: what is asked for.
        preset: sizes of the grids.
        everything: a paper means also those of its statements that are known from recollection only.

    Raises:
        InputError: a name means nothing.
    """
    known = catalogue(preset)
    chosen: list[Claim] = []
    for name in names:
        of_paper = [claim for claim in known if name == claim.paper]
        found = [claim for claim in of_paper if everything or claim.provenance != "recollection"] or of_paper
        found += [claim for claim in known if name in (claim.id, claim.base_id)]
        if not found:
            papers = ", ".join(dict.fromkeys(claim.paper for claim in known))
            raise InputError(f"unknown claim {name!r}: `ntkrobust claims` lists them (papers: {papers})")
        chosen += [claim for claim in found if claim not in chosen]
    return tuple(chosen)
