"""How many networks a comparison needs."""

from __future__ import annotations

import math

from scipy import special

LARGEST = 10**7
"""More networks than this are none that anybody draws."""


def networks_needed(p: float, n: int, level: float, power: float) -> float:
    """Networks after which a one-sided test would likely reject at ``level``, infinite where none would.

    Assumes that the estimate is the truth and that its error falls like n^(−1/2): then the normal quantile z of the
    p-value grows like n^(1/2), and is to reach z(1 − level) + z(power). The p-value is the one that is reported, with
    what guards it against skewness; where it is Student's, z is (estimate − factor)/se to within 1/n.

    Args:
        p: the p-value now.
        n: networks now.
        level: of the test.
        power: the probability of rejecting.
    """
    z = float(-special.ndtri(p))
    if not z > 0:
        return math.inf
    needed = math.ceil(n * (float(special.ndtri(1 - level) + special.ndtri(power)) / z) ** 2)
    return needed if needed <= LARGEST else math.inf
