"""The range of φ' on an interval: of gates, for relu and its kin."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ntkrobust.finite.certificates.relaxations import SLACK, derivative
from ntkrobust.networks.activations import Activation

_STEEPEST_AT = {"tanh": 0.0, "erf": 0.0, "gelu": math.sqrt(2)}
"""Where φ' is largest: it rises up to there (gelu's from −√2, where it is least) and falls behind."""


def slope_range(phi: Activation, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Ends around φ'(z) for z in [l, u], entry by entry, in float64; at a kink around both its slopes."""
    slope = phi.negative_slope
    if slope is not None:
        return jnp.where(lower > 0, 1.0, slope), jnp.where(upper < 0, slope, 1.0)
    at = _STEEPEST_AT[phi.name]
    ends = derivative(phi, lower), derivative(phi, upper)
    low, high = jnp.minimum(*ends), jnp.maximum(*ends)
    high = jnp.where((lower <= at) & (at <= upper), derivative(phi, jnp.asarray(at)), high)
    if phi.name == "gelu":
        low = jnp.where((lower <= -at) & (-at <= upper), derivative(phi, jnp.asarray(-at)), low)
    return low - SLACK, high + SLACK
