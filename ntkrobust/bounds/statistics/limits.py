"""Which factors the tests of a comparison don't reject: confidence limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ntkrobust.bounds.statistics.comparisons import Comparison


def confidence_interval(of: Comparison, level: float = 0.95) -> tuple[float, float]:
    """The factors that neither one-sided test rejects at (1 − level)/2; for one comparison, not a batch."""
    return lower_limit(of, (1 - level) / 2), upper_limit(of, (1 - level) / 2)


def upper_limit(of: Comparison, tail: float) -> float:
    """The largest factor for which θ ≥ factor is not rejected at ``tail``."""
    return _limit(of, of.p_below, tail, +1)


def lower_limit(of: Comparison, tail: float) -> float:
    """The smallest factor for which θ ≤ factor is not rejected at ``tail``."""
    return _limit(of, of.p_above, tail, -1)


def _limit(of: Comparison, p_value: Callable[[float], np.ndarray], tail: float, sign: int) -> float:
    """Where a p-value crosses ``tail``; infinite (0 for a positive θ) if it never does.

    Looked for on the logarithm of the factor where θ is positive, else in standard errors from the estimate.
    """
    estimate, error = of.estimate.item(), of.error

    def at(far: float) -> float:
        return estimate + sign * far * error if error is not None else estimate * math.exp(sign * far)

    near, far, step = 0.0, 1e-3, 1e-3
    while p_value(at(far)).item() > tail:
        if far > (30 if error is None else 1e3):
            return math.inf if sign > 0 else 0.0 if error is None else -math.inf
        near, step = far, 2 * step
        far += step
    while far - near > 1e-6 * far:
        middle = (near + far) / 2
        near, far = (middle, far) if p_value(at(middle)).item() > tail else (near, middle)
    return at(near)
