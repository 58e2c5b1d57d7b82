"""Looking at growing samples a few planned times, and stopping early, at unchanged error rates."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from scipy import optimize, special

from ntkrobust.bounds.statistics.estimates import MINIMUM_SEEDS

SPENDING = 2.0
"""Of the error α, α·t^SPENDING is spent by the time that a share t of the networks is there."""


def look_sizes(n_max: int, count: int = 3) -> tuple[int, ...]:
    """Networks per cell at each look: ``count`` equal steps up to ``n_max``, none with too few to decide anything."""
    sizes = (math.ceil(n_max * (k + 1) / count) for k in range(count))
    return tuple(sorted({min(max(size, MINIMUM_SEEDS), n_max) for size in sizes}))


@dataclasses.dataclass(frozen=True)
class SequentialPlan:
    """Planned looks, with the levels of a spending function.

    The error α·t^ρ (Kim & DeMets 1987, Biometrika 74, 149) may have been spent when a share t of the networks is there.
    The level of each look follows from the joint law of the statistics, Gaussian with independent increments (Lan &
    DeMets 1983, Biometrika 70, 659). Statistics of few networks are not Gaussian, so the levels are applied to their
    p-values (Jennison & Turnbull 2000, section 4.4).

    Attributes:
        sizes: networks per cell at each look, increasing.
    """

    sizes: tuple[int, ...]

    def levels(self, level: float) -> np.ndarray:
        """(looks,) What a p-value has to be below at each look, for an error of ``level`` over all of them."""
        return _levels(self.sizes, level)

    def p_values(self, p: np.ndarray, look: int) -> np.ndarray:
        """The smallest error level at which a p-value at this look would have been enough.

        The smallest of these over looks is a p-value however early one stops.

        Args:
            p: (...) p-values at this look as if it were the only one.
            look: its position.
        """
        errors, needed = _table(self.sizes)
        p = np.asarray(p, dtype=float)
        spent = np.array(self.sizes) / self.sizes[-1]
        share = float(np.diff(spent**SPENDING, prepend=0.0)[look])
        found = np.exp(np.interp(np.log(np.maximum(p, 1e-300)), np.log(needed[:, look]), np.log(errors)))
        # Outside the table: below it by Bonferroni's inequality over the looks, which needs no joint law.
        return np.where(p < needed[0, look], p / share, np.where(p > needed[-1, look], 1.0, found))


@functools.lru_cache(maxsize=64)
def _table(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Errors (a,) and the levels that go with them, (a, looks)."""
    errors = np.geomspace(1e-8, 0.5, 60)
    return errors, np.array([_levels(sizes, float(error)) for error in errors])


def _levels(sizes: tuple[int, ...], error: float) -> np.ndarray:
    """Levels of the looks by recursive integration (Armitage, McPherson & Rowe 1969, J. R. Statist. Soc. A 132, 235).

    With S_k the score at information t_k, h_k(s) ds = P(no crossing before look k, S_k ∈ ds) is a Gaussian convolution
    of h_{k−1} cut off at the boundary; the boundary c_k solves P(no crossing before k, S_k > c_k) = what
    is to be spent.
    """
    information = np.array(sizes) / sizes[-1]
    spend = np.diff(error * information**SPENDING, prepend=0.0)
    levels = np.empty(len(sizes))
    levels[0] = spend[0]
    boundary = -special.ndtri(spend[0]) * math.sqrt(information[0])
    x, weights = np.polynomial.legendre.leggauss(80)
    low = -9.0 * math.sqrt(information[0])
    at = (low + boundary) / 2 + (boundary - low) / 2 * x
    mass = weights * (boundary - low) / 2 * _density(at, information[0])
    for k in range(1, len(sizes)):
        step = math.sqrt(information[k] - information[k - 1])

        def crossing(c: float, at: np.ndarray = at, mass: np.ndarray = mass, step: float = step) -> float:
            return float(mass @ special.ndtr((at - c) / step))

        scale = math.sqrt(information[k])
        boundary = optimize.brentq(lambda c: crossing(c) - spend[k], -9 * scale, 9 * scale, xtol=1e-10)  # noqa: B023
        levels[k] = special.ndtr(-boundary / scale)
        low = -9.0 * scale
        later = (low + boundary) / 2 + (boundary - low) / 2 * x
        density = _density((later[:, None] - at) / step, 1.0) / step @ mass
        at, mass = later, weights * (boundary - low) / 2 * density
    return levels


def _density(x: np.ndarray, variance: float) -> np.ndarray:
    return np.exp(-(x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
