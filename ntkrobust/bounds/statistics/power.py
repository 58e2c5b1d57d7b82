"""How many networks a comparison needs."""

from __future__ import annotations

import math

from scipy import special


def seeds_needed(t: float, n: int, level: float, power: float) -> int | None:
    """Networks after which a one-sided t test would likely settle on which side of a factor an estimate lies.

    Assumes that the estimate is the truth and that its error falls like n^(−1/2).

    Args:
        t: the statistic now.
        n: networks now.
        level: of the test.
        power: the probability of settling it.

    Returns:
        The number, or None where the estimate sits on the factor or nothing varies.
    """
    if t == 0:
        return None
    needed = math.ceil(n * ((special.ndtri(1 - level) + special.ndtri(power)) / t) ** 2)
    return needed if needed < 10**7 else None
