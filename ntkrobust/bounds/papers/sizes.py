"""How large the grids of known claims are, and what they may cost, by preset and data set.

The numbers of :data:`SIZES` are those of the digits. What depends on the data is in units of the data: widths across
interpolation in multiples of the interpolation threshold, radii in shares of the distance between classes.
"""

from __future__ import annotations

import dataclasses
import math

from ntkrobust.bounds.claims.facts import Facts

PRESETS = ("quick", "standard", "paper")
"""Names of the sizes of grids, from minutes on a laptop to those of the papers."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Grids and budgets of one preset."""

    law_widths: tuple[int, ...]
    law_depths: tuple[int, ...]
    atom_depths: tuple[int, ...]
    trend_depths: tuple[int, ...]
    trend_width: int
    init_widths: tuple[int, ...]
    infinite_depths: tuple[int, ...]
    infinite_width: int
    n_infinite: int
    lazy_depths: tuple[int, ...]
    lazy_width: int
    free_depths: tuple[int, ...]
    under_widths: tuple[int, ...]
    over_widths: tuple[int, ...]
    free_width: int
    free_widths: tuple[int, ...]
    n: int
    n_under: int
    turn_widths: tuple[int, ...]
    control_widths: tuple[int, ...]
    n_turn: int
    channels: tuple[int, ...]
    n_images: int
    turn_steps: int
    adversarial_widths: tuple[int, ...]
    strengths: tuple[float, ...]
    n_adversarial: int
    adversarial_steps: int
    scaled_time: float
    budget: int
    draws: int
    radius: float = 0.03
    radius_in_words: str = ""
    threshold_in_words: str = ""


SIZES = {
    "quick": Sizes(
        law_widths=(64, 128),
        law_depths=(2, 4),
        atom_depths=(2, 4),
        trend_depths=(2, 4, 6, 8),
        trend_width=64,
        init_widths=(16, 32, 64, 128),
        infinite_depths=(2, 3, 5, 10),
        infinite_width=1024,
        n_infinite=256,
        lazy_depths=(2, 3, 5),
        lazy_width=512,
        free_depths=(2, 3, 5),
        under_widths=(2, 4, 7),
        over_widths=(32, 64, 128, 256),
        free_width=128,
        free_widths=(16, 64, 256),
        n=128,
        n_under=512,
        turn_widths=(1, 2, 4, 8, 16, 32),
        control_widths=(8, 32, 128),
        n_turn=256,
        channels=(16, 48, 128),
        n_images=32,
        turn_steps=3000,
        adversarial_widths=(16, 48, 128),
        strengths=(0.5, 2.0, 8.0),
        n_adversarial=256,
        adversarial_steps=300,
        scaled_time=30.0,
        budget=1000,
        draws=64,
    ),
    "standard": Sizes(
        law_widths=(64, 256, 1024),
        law_depths=(2, 4, 8),
        atom_depths=(2, 4, 8),
        trend_depths=(2, 4, 6, 8, 10),
        trend_width=128,
        init_widths=(16, 32, 64, 128, 256),
        infinite_depths=(2, 3, 4, 5, 6, 8, 10),
        infinite_width=1024,
        n_infinite=256,
        lazy_depths=(2, 3, 5),
        lazy_width=1024,
        free_depths=(2, 3, 4, 6, 8, 10),
        under_widths=(1, 2, 4, 6, 8, 12, 16),
        over_widths=(32, 64, 128, 256, 512, 1024),
        free_width=256,
        free_widths=(16, 32, 64, 128, 256, 512, 1024),
        n=256,
        n_under=1437,
        turn_widths=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128),
        control_widths=(8, 16, 32, 64, 128),
        n_turn=256,
        channels=(16, 32, 64, 128, 256),
        n_images=64,
        turn_steps=10_000,
        adversarial_widths=(16, 32, 64, 128, 256),
        strengths=(0.5, 1.0, 2.0, 4.0, 8.0),
        n_adversarial=512,
        adversarial_steps=500,
        scaled_time=100.0,
        budget=10_000,
        draws=256,
    ),
    "paper": Sizes(
        law_widths=(64, 256, 1024, 4096),
        law_depths=(2, 4, 8, 16),
        atom_depths=(2, 4, 8, 16),
        trend_depths=(2, 4, 6, 8, 10, 12, 16, 20),
        trend_width=512,
        init_widths=(16, 32, 64, 128, 256, 512, 1024),
        infinite_depths=(2, 3, 4, 5, 6, 8, 10),
        infinite_width=4096,
        n_infinite=1437,
        lazy_depths=(2, 3, 4, 5, 6, 8, 10),
        lazy_width=4096,
        free_depths=(2, 3, 4, 6, 8, 10),
        under_widths=(1, 2, 4, 6, 8, 12, 16),
        over_widths=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
        free_width=1024,
        free_widths=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
        n=1437,
        n_under=1437,
        turn_widths=(1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256),
        control_widths=(8, 16, 32, 64, 128, 256),
        n_turn=1024,
        channels=(16, 32, 64, 128, 256, 512),
        n_images=256,
        turn_steps=50_000,
        adversarial_widths=(32, 64, 128, 256, 512, 1024, 2048),
        strengths=(0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
        n_adversarial=1437,
        adversarial_steps=2000,
        scaled_time=300.0,
        budget=100_000,
        draws=256,
    ),
}

RADIUS = 0.1565
"""ε of training and of attacks, as a share of the median ℓ∞ distance to the nearest point of another class: on the
digits, at unit norm, 0.03, about a fifth of an entry."""

UNDER = {
    "quick": (0.25, 0.5, 0.9),
    "standard": (0.045, 0.09, 0.18, 0.27, 0.36, 0.54, 0.72),
    "paper": (0.045, 0.09, 0.18, 0.27, 0.36, 0.54, 0.72),
}
"""Widths of under-parameterized networks, in multiples of the interpolation threshold."""

ACROSS = {
    "quick": (0.25, 0.5, 1, 2, 4, 8),
    "standard": (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 16.25, 32.5),
    "paper": (0.0635, 0.127, 0.254, 0.508, 0.762, 1.016, 1.524, 2.03, 3.05, 4.06, 8.13, 16.25),
}
"""Widths across interpolation, in the same unit."""

OVER = {"quick": 8, "standard": 8, "paper": 1.45}
"""Over-parameterized widths start at so many times the threshold, to the nearest power of two, at least where those of
the digits start."""

WIDEST_START = 512
"""And at most here, since what follows is up to 512 times as wide."""

THRESHOLD_UNDER, THRESHOLD_ACROSS = 4.0, 3.9
"""Under-parameterized widths, and widths across interpolation, need points for a threshold of so many neurons: below
it there are no three widths."""

WIDE_INPUTS = 256
"""Adversarially trained networks of more inputs than these are half as wide, and see half as many points: what a step
costs them lies in the first layer."""


def sizes_for(preset: str, facts: Facts | None = None) -> Sizes:
    """The sizes of a preset on a data set; by default those of the digits."""
    sizes = SIZES[preset]
    if facts is None:
        return sizes
    n_under = max(sizes.n_under, facts.points_for(THRESHOLD_UNDER))
    n_turn = max(sizes.n_turn, facts.points_for(THRESHOLD_ACROSS))
    start = min(max(sizes.over_widths[0], _power_of_two(OVER[preset] * facts.threshold(sizes.n))), WIDEST_START)
    halved = 2 if facts.d > WIDE_INPUTS else 1
    radius = facts.radius(RADIUS)
    unit = (
        "the root mean square length of an input"
        if facts.class_distance is None
        else (f"the median ℓ∞ distance to the nearest point of another class, {facts.class_distance:.3g}")
    )
    return dataclasses.replace(
        sizes,
        n_under=min(n_under, facts.n),
        under_widths=facts.widths(UNDER[preset], n_under),
        n_turn=min(n_turn, facts.n),
        turn_widths=facts.widths(ACROSS[preset], n_turn),
        over_widths=tuple(width * start // sizes.over_widths[0] for width in sizes.over_widths),
        adversarial_widths=tuple(width // halved for width in sizes.adversarial_widths),
        n_adversarial=sizes.n_adversarial // halved,
        radius=radius,
        radius_in_words=f"ε = {radius:g} is {RADIUS:.3g} of {unit}",
        threshold_in_words=f"interpolation threshold n·o/(d + o): {facts.threshold(sizes.n):.3g} neurons at n = "
        f"{min(sizes.n, facts.n)}, {facts.threshold(n_under):.3g} at {min(n_under, facts.n)}",
    )


def _power_of_two(number: float) -> int:
    """The nearest, by ratio."""
    return 2 ** max(0, round(math.log2(number)))
