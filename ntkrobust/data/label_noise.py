"""Training labels that are wrong on purpose."""

from __future__ import annotations

import numpy as np

from ntkrobust.data.checks import Array, as_real
from ntkrobust.errors import InputError


def check_label_noise(share: object) -> float:
    """A share of wrong labels as a number; InputError unless it is at least 0 and below 1."""
    number = as_real("label_noise", share)
    if not 0 <= number < 1:
        raise InputError(f"label_noise must be at least 0 and below 1, got {number}")
    return number


def with_label_noise(y: Array, share: float, rng: np.random.Generator) -> Array:
    """``y`` (n, o), ±1 or one-hot, with the labels of exactly round(share·n) rows replaced by wrong ones.

    In one column the sign is flipped, in several another class is drawn uniformly.
    """
    n, o = y.shape
    # Drawn for all rows and used for some: this is what makes the noise of a smaller share part of that of a larger.
    order = rng.permutation(n)
    shifts = rng.integers(1, max(o, 2), size=n)
    noisy = y.copy()
    for row in order[: round(share * n)]:
        noisy[row] = -y[row] if o == 1 else np.roll(y[row], shifts[row])
    return noisy
