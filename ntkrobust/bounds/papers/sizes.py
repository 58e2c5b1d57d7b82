"""How large the grids of known claims are, and what they may cost, by preset."""

from __future__ import annotations

import dataclasses

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
