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


def holm_levels(p_values: np.ndarray, level: float) -> np.ndarray:
    """The level at which Holm's procedure tests each hypothesis, given the p-values of the others.

    With M hypotheses of which k others are rejected whatever this one is, a hypothesis is rejected if and only if its
    own p-value is at most level/(M − k): so this is the level of the interval that agrees with the decision on it.

    Args:
        p_values: (hypotheses,).
        level: of the procedure.
    """
    p = np.asarray(p_values, dtype=float)
    levels = np.empty(len(p))
    for i in range(len(p)):
        others = np.sort(np.delete(p, i))
        passed = others <= level / np.arange(len(p), 1, -1)
        rejected = len(others) if passed.all() else int(np.argmin(passed))
        levels[i] = level / (len(p) - rejected)
    return levels
