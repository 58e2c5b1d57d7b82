"""p-values of several hypotheses together."""

from __future__ import annotations

import numpy as np


def bonferroni(p_values: np.ndarray, family: int) -> np.ndarray:
    """p-values of "all of ``family`` null hypotheses are true", of which these (looked at, ...) were looked at.

    Valid whatever their dependence.
    """
    return np.minimum(1.0, family * np.min(p_values, axis=0))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, which keep the probability of any false rejection at the level they are held to.

    Args:
        p_values: (hypotheses, ...).
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, axis=0)
    left = np.arange(len(p), 0, -1).reshape(-1, *[1] * (p.ndim - 1))
    scaled = np.minimum(np.maximum.accumulate(np.take_along_axis(p, order, 0) * left, axis=0), 1.0)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, scaled, 0)
    return adjusted
