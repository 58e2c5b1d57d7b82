"""Powers of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ntkrobust.bounds.statistics.estimates import Estimate, Moments, Sample
from ntkrobust.bounds.statistics.parts import Part
from ntkrobust.bounds.statistics.trends import change


def scales(samples: Sequence[Sample], values: Sequence[float], power: float, margin: float, paired: bool) -> list[Part]:
    """Between any two consecutive cells the exponent is power ± margin: an equivalence for each.

    Args:
        samples: along the axis.
        values: of the axis, positive and increasing.
        power: the stated exponent.
        margin: in the exponent.
        paired: whether the networks of the cells correspond.
    """
    parts = []
    for i in range(len(samples) - 1):
        step = values[i + 1] / values[i]
        of = change(samples[i + 1], samples[i], paired)
        parts += [
            Part(of, step ** (power - margin), True, (i, i + 1)),
            Part(of, step ** (power + margin), False, (i, i + 1)),
        ]
    return parts


def overall(samples: Sequence[Sample], values: Sequence[float], paired: bool) -> Estimate:
    """The exponent over all cells: least squares of log θ on log of the axis, all cells weighing the same.

    Its error is that of the seeds, not of the fit: with weights a_c of Σ a_c log x̄_c, the variance is
    Σ a_c² s_c²/(n x̄_c²) to first order, with Satterthwaite's degrees of freedom; where networks
    correspond, that of Σ a_c X_ci/x̄_c over i. Relative time errors r_c of the cells add Σ |a_c| r_c to its interval.
    """
    logs = np.log(np.asarray(values, dtype=float))
    weights = (logs - logs.mean()) / np.sum((logs - logs.mean()) ** 2)
    locations = np.array([one.location.item() for one in samples])
    value = float(weights @ np.log(locations))
    time_error = float(np.abs(weights) @ [one.relative_time_error.item() for one in samples])
    scaled = [
        np.log(one.values) if one.geometric else one.values / location
        for one, location in zip(samples, locations, strict=True)
    ]
    if paired:
        along = Moments.of(sum(weight * x for weight, x in zip(weights, scaled, strict=True)))
        return Estimate(value, math.sqrt(along.variance.item()), along.n - 1, time_error)
    variances = weights**2 * np.array([Moments.of(x).variance.item() for x in scaled])
    total = float(variances.sum())
    degrees = np.array([one.n - 1 for one in samples])
    df = total**2 / float(np.sum(variances**2 / degrees)) if total > 0 else float(degrees.min())
    return Estimate(value, math.sqrt(total), df, time_error)
