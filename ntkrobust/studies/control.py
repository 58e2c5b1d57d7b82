r"""The exact law as a control variate for trained networks.

A network that was trained for a while remembers where it started, and of where it started the exact law knows the mean.
With v_i a measure of the trained network i, c_i the same measure before training, and E c its mean by the law,

    a_i = v_i − b_{−i} (c_i − E c),      b_{−i} = the least squares slope of v on c over the other networks,

has the mean of v: b_{−i} does not know c_i, so E[b_{−i} (c_i − E c)] = 0, whatever the slope is. What is left of the
variance is about 1 − corr(v, c)². (Leave-one-out adjustment after Wu & Gagnon-Bartsch 2018, Evaluation Review 42, 458;
the sample variance of the a_i is, if anything, too large.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.statistics import MINIMUM_SEEDS
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.catalogue import MEASURES
from ntkrobust.finite.measures.untrained import Untrained
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.predictions import law_mean


class Control(NamedTuple):
    """What the networks of a cell are measured by before training.

    Attributes:
        measure: the measure, :class:`~ntkrobust.finite.measures.untrained.Untrained`.
        mean: its mean by the exact law.
    """

    measure: Untrained
    mean: float


def control_of(claim: Claim, measure: Measure, cell: Cell, d_in: int) -> Control | None:
    """The control of a cell, if the exact law knows the mean of its measure before training."""
    if cell.time == "initialization" or cell.outside or claim.reading.functional != "mean":
        return None
    if MEASURES.get(measure.name) != measure:
        return None
    try:
        return Control(Untrained(measure), law_mean(measure.name, cell.net, d_in))
    except InputError:
        return None


def controlled(values: np.ndarray, before: np.ndarray, mean_before: float) -> np.ndarray:
    """(n,) values with the mean of ``values`` and a smaller variance.

    Args:
        values: (n,) of trained networks.
        before: (n,) of the same networks before training.
        mean_before: E[before], exactly.

    Returns:
        ``values`` themselves where there are too few networks for a slope, or ``before`` does not vary.
    """
    n = len(values)
    x = before - np.mean(before)
    spread = float(x @ x)
    if n < MINIMUM_SEEDS or not np.isfinite(before).all() or not spread > 0:
        return values
    # Least squares without network i: its part of the sums, about the mean of the others, is n/(n-1) x_i y_i.
    without = spread - n / (n - 1) * x**2
    if not np.all(without > 1e-6 * spread):  # one network alone makes the slope of the others
        return values
    y = values - np.mean(values)
    slopes = (float(x @ y) - n / (n - 1) * x * y) / without
    return values - slopes * (before - mean_before)


def in_proportion(values: np.ndarray, before: np.ndarray, mean_before: float) -> np.ndarray:
    """(n,) the same for a pilot, whose few networks are too few for a slope: with that of proportion.

    ``values`` themselves where that leaves more of the variance. Arguments as of :func:`controlled`.
    """
    if not len(values) > 1 or not np.isfinite(before).all() or not np.mean(before) > 0:
        return values
    changed = values - np.mean(values) / np.mean(before) * (before - mean_before)
    return changed if np.var(changed) < np.var(values) else values
