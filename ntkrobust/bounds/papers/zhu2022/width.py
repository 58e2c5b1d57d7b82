"""Width: it hurts under-parameterized and helps over-parameterized networks, and helps outside the lazy regime."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import Reading
from ntkrobust.bounds.claims.relations import DecreasesIn, IncreasesIn, RisesThenFalls
from ntkrobust.bounds.papers.shared import HIGHER_LOSSES, NOT_LAZY, OVER, UNDER
from ntkrobust.bounds.papers.sizes import Sizes
from ntkrobust.bounds.papers.zhu2022.source import ABSTRACT

FALLS = r"$P/\varepsilon$ falls with width"
TWO_LAYERS: dict[str, Any] = {"initialization": ("he",), "depth": (2,)}


def measured(sizes: Sizes) -> list[Claim]:
    """Finite networks on either side of interpolation, across it, and outside the lazy regime."""
    return [*_sides(sizes), *_across(sizes), *_features(sizes), *_convolutional(sizes)]


def _sides(sizes: Sizes) -> list[Claim]:
    """Either side by itself."""
    over = {**TWO_LAYERS, "width": sizes.over_widths, "n": (sizes.n,)}
    helps = f"Over-parameterized: width helps average robustness, {FALLS}"
    return [
        Claim(
            "zhu2022/width-under/measured@equal-time",
            r"Under-parameterized: width hurts average robustness, $P/\varepsilon$ grows with width",
            IncreasesIn("width"),
            "perturbation_stability",
            {**TWO_LAYERS, "width": sizes.under_widths, "n": (sizes.n_under,)},
            # Some narrow networks have a tiny λ_max of their own: only a common time compares them.
            reading=Reading("equal time", 4 * sizes.scaled_time, budget=10 * sizes.budget),
            assumptions=(UNDER,),
            draws=4,
            design=sizes.threshold_in_words,
            **ABSTRACT,
        ),
        Claim(
            "zhu2022/width-over/measured@equal-scaled-time",
            helps,
            DecreasesIn("width"),
            "perturbation_stability",
            over,
            reading=Reading("equal scaled time", 2 * sizes.scaled_time, budget=sizes.budget),
            assumptions=(OVER,),
            theory=lambda infinite_width: infinite_width,
            theory_label="infinite width",
            draws=2,
            design=sizes.threshold_in_words,
            **ABSTRACT,
        ),
        Claim(
            "zhu2022/width-over/measured@equal-loss",
            helps,
            DecreasesIn("width"),
            "perturbation_stability",
            over,
            reading=Reading("equal loss", 0.2, budget=sizes.budget),
            alternatives=HIGHER_LOSSES,
            assumptions=(OVER,),
            draws=6,
            design=sizes.threshold_in_words,
            **ABSTRACT,
        ),
    ]


def _across(sizes: Sizes) -> list[Claim]:
    """From one neuron to well past interpolation: a rise and a fall; and where all interpolate, no rise."""
    trained = Reading("fixed steps", sizes.turn_steps, optimizer="adam", learning_rate=0.01)
    return [
        *(
            Claim(
                f"zhu2022/width-turn/measured@{slug}",
                f"Across interpolation, {labels}, width first hurts and then helps: "
                r"$P/\varepsilon$ rises with width and falls from there",
                # On either side of the peak, networks of neighbouring widths may differ by their luck with minima.
                RisesThenFalls("width", margin=0.1),
                "perturbation_stability",
                {**TWO_LAYERS, "width": sizes.turn_widths, "n": (sizes.n_turn,), "label_noise": (noise,)},
                reading=trained,
                draws=2,
                design=sizes.threshold_in_words,
                **ABSTRACT,
            )
            for slug, labels, noise in (
                ("clean", "with clean labels", 0.0),
                ("noisy", "with a fifth of them wrong", 0.2),
            )
        ),
        Claim(
            "zhu2022/width-turn/control@noisy",
            "Control: far fewer samples than parameters at every width, so that there is no interpolation to cross: "
            rf"{FALLS} from the first width on",
            DecreasesIn("width"),
            "perturbation_stability",
            {**TWO_LAYERS, "width": sizes.control_widths, "n": (32,), "label_noise": (0.2,)},
            reading=trained,
            assumptions=(OVER,),
            draws=2,
            source="the other side of the statement on width",
            provenance="derived here",
        ),
    ]


def _features(sizes: Sizes) -> list[Claim]:
    """Outside the lazy regime: mean-field networks, and networks that start small."""
    helps = f"Two-layer ReLU networks outside the lazy regime: width helps, {FALLS}"
    common: dict[str, Any] = {"assumptions": (NOT_LAZY,), "draws": 2, **ABSTRACT}

    def grid(initialization: str) -> dict[str, Any]:
        return {"initialization": (initialization,), "depth": (2,), "width": sizes.free_widths, "n": (sizes.n,)}

    return [
        Claim(
            "zhu2022/nonlazy-width/measured@equal-scaled-time",
            helps,
            DecreasesIn("width"),
            "perturbation_stability",
            grid("mean_field"),
            # far from lazy, many short steps
            reading=Reading("equal scaled time", 4 * sizes.scaled_time, budget=4 * sizes.budget),
            **common,
        ),
        Claim(
            "zhu2022/nonlazy-width/measured@equal-loss",
            f"{helps}, under mean-field initialization",
            DecreasesIn("width"),
            "perturbation_stability",
            grid("mean_field"),
            reading=Reading("equal loss", 0.2, budget=sizes.budget),
            alternatives=HIGHER_LOSSES,
            **common,
        ),
        Claim(
            "zhu2022/nonlazy-width/measured@small-initialization",
            f"{helps}, from small initialization",
            DecreasesIn("width"),
            "perturbation_stability",
            grid("gains(0.02, 2, 0.02)"),
            reading=Reading("equal loss", 0.2, budget=sizes.budget),
            alternatives=HIGHER_LOSSES,
            **common,
        ),
    ]


def _convolutional(sizes: Sizes) -> list[Claim]:
    """The statement asked of networks that the paper doesn't treat: a convolution and an average over positions."""
    return [
        Claim(
            "zhu2022/width-over-convolutional/measured@equal-scaled-time",
            r"Over-parameterized convolutional networks: channels help average robustness, $P/\varepsilon$ falls with "
            "their number",
            DecreasesIn("width"),
            "perturbation_stability",
            {
                "architecture": ("convolutional",),
                "initialization": ("he",),
                "depth": (2,),
                "width": sizes.channels,
                "n": (sizes.n_images,),
            },
            reading=Reading("equal scaled time", sizes.scaled_time, budget=sizes.budget),
            assumptions=(OVER,),
            draws=2,
            source="the statement on width of fully connected networks, asked of convolutional ones",
            provenance="derived here",
        )
    ]
