"""Is an attack as strong as it looks? What its own results say (after Carlini et al., arXiv 1902.06705, and Athalye et
al., arXiv 1802.00420).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.norms import Norm

ZERO_GRADIENT = 0.1
"""Share of points without a gradient from which gradients count as masked."""

GAIN = 0.05
"""Share of points that a check finds beyond the gradient methods, above which gradients count as masked."""

UNIT = 2.0**-24
"""Unit roundoff of float32."""

Array = npt.NDArray[np.float64]


def lengths(norm: Norm, difference: npt.NDArray[np.floating]) -> Array:
    """‖·‖ along the last axis, in float64."""
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    return np.linalg.norm(difference.astype(np.float64), ord=order, axis=-1)


class Containment(NamedTuple):
    """Where the points of an attack lie, (…,) per point.

    Attributes:
        excess: ‖x' − x‖ − ε in float64; positive by rounding at most.
        is_outside: whether it is more than float32 rounds, a coordinate is outside the range, or one has moved that may
            not.
    """

    excess: Array
    is_outside: npt.NDArray[np.bool_]


def containment(
    norm: Norm,
    x: npt.NDArray[np.float32],
    centre: npt.NDArray[np.float32],
    epsilon: Array,
    domain: Mapping[str, npt.NDArray[Any]],
) -> Containment:
    """Check points x (…, n, d) against balls around ``centre`` (n, d) of radius ``epsilon``, of shape (…, 1).

    What is allowed of them is said by ``domain``, see :meth:`ntkrobust.domain.Domain.arrays`.

    Rounding moves x + δ by u|x'| in each coordinate, u = 2⁻²⁴; and the length of δ, a sum of d terms, by at most
    (d + 8)uε.
    """
    excess = lengths(norm, x.astype(np.float64) - centre) - epsilon
    terms = 1 if norm == "linf" else x.shape[-1]
    allowed = UNIT * (lengths(norm, x) + (terms + 8) * epsilon)
    is_wrong = (x < domain["lower"]) | (x > domain["upper"])
    if "movable" in domain:
        is_wrong |= (x != centre) & ~domain["movable"]
    return Containment(excess, ~(excess <= allowed) | is_wrong.any(axis=-1))


class Strength(NamedTuple):
    """The checks; shares are of the points whose class the network gives at the input.

    Attributes:
        zero_gradient: (seed, 2) share whose input gradient is zero, of the cross entropy and of the margin.
        doubling_gain: (seed, E) share that all methods left and a gradient method with twice the steps breaks.
        random_gain, square_gain: (seed, E) share that random search, or Square and attacks of one's own that use no
            gradients, break and no gradient method does; NaN for Square where none of these was asked for.
        monotonicity: (seed, E) share that was broken at a smaller radius and not at this one.
    """

    zero_gradient: Array
    doubling_gain: Array
    random_gain: Array
    square_gain: Array
    monotonicity: Array

    def reasons(self, seed: int, searches: Sequence[str] = ("square",)) -> list[str]:
        """In words, what says that this network masks its gradients; empty if nothing does.

        ``searches`` are the names of the attacks that ``square_gain`` is about.
        """
        by_search = " or ".join("the Square attack" if one == "square" else one for one in searches)
        cross_entropy, margin = self.zero_gradient[seed]
        found = []
        if cross_entropy > ZERO_GRADIENT:
            what = "the margin" if margin > ZERO_GRADIENT else "the cross entropy, not of the margin,"
            found.append(f"the gradient of {what} is zero at {cross_entropy:.0%} of the points")
        for values, who in ((self.random_gain, "random search"), (self.square_gain, by_search)):
            largest = np.max(values[seed])
            if largest > GAIN:
                found.append(f"{who} breaks {largest:.0%} of the points that gradient methods leave")
        if np.max(self.monotonicity[seed]) > GAIN:
            found.append(f"{np.max(self.monotonicity[seed]):.0%} of the points were broken at a smaller radius only")
        return found


def share(found: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Array:
    """Share of the points ``among`` (…, n) that were ``found`` (…, n); 0 where there are none."""
    return np.sum(found & among, axis=-1) / np.maximum(np.sum(among, axis=-1), 1)


def broken_at_smaller(is_kept: npt.NDArray[np.bool_], epsilon: Array) -> npt.NDArray[np.bool_]:
    """Whether a point lost its class at a radius below, (seed, E, n), from whether it kept it (seed, E, n)."""
    before = np.zeros_like(is_kept)
    for index, radius in enumerate(epsilon):
        before[:, index] = (~is_kept[:, epsilon < radius]).any(axis=1)
    return before
