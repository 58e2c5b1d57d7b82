"""The Gaussian expectations of any activation: closed forms where there are some, the Hermite series elsewhere."""

from __future__ import annotations

import jax

from ntkrobust.activations import Activation
from ntkrobust.kernels import closed_duals, series
from ntkrobust.kernels.dual import Dual, DualDerivatives, Moments

CLOSED = ("erf", "gelu")
"""Smooth activations with closed forms; those of two straight pieces have one too."""


def is_kinked(phi: Activation) -> bool:
    """Whether φ' jumps at 0, so that the NTK has a cone where two points meet."""
    return phi.negative_slope is not None and phi.negative_slope != 1


def needs_series(phi: Activation) -> bool:
    """Whether φ has no closed form here."""
    return phi.negative_slope is None and phi.name not in CLOSED


def dual(phi: Activation, k11: jax.Array, k22: jax.Array, k12: jax.Array, terms: int = 0) -> Dual:
    """J and D (a, b).

    Args:
        phi: the activation.
        k11: (a, 1) variances.
        k22: (1, b) variances.
        k12: (a, b) covariances.
        terms: of the series, where one is needed.
    """
    if phi.negative_slope is not None:
        return closed_duals.kinked_dual(phi.negative_slope, k11, k22, k12)
    if phi.name == "erf":
        return closed_duals.erf_dual(k11, k22, k12)
    if phi.name == "gelu":
        return closed_duals.gelu_dual(k11, k22, k12)
    return series.dual(phi, k11, k22, k12, terms)


def dual_with_derivatives(
    phi: Activation, k11: jax.Array, k22: jax.Array, k12: jax.Array, terms: int = 0
) -> tuple[Dual, DualDerivatives]:
    """:func:`dual` and its derivatives, each (a, b)."""
    if phi.negative_slope is not None:
        return closed_duals.kinked_dual_with_derivatives(phi.negative_slope, k11, k22, k12)
    if phi.name == "erf":
        return closed_duals.erf_dual_with_derivatives(k11, k22, k12)
    if phi.name == "gelu":
        return closed_duals.gelu_dual_with_derivatives(k11, k22, k12)
    return series.dual_with_derivatives(phi, k11, k22, k12, terms)


def moments(phi: Activation, k: jax.Array) -> Moments:
    """:class:`~ntkrobust.kernels.dual.Moments` at variances ``k`` of any shape."""
    if phi.negative_slope is not None:
        return closed_duals.kinked_moments(phi.negative_slope, k)
    if phi.name in CLOSED:
        return closed_duals.smooth_moments(dual_with_derivatives(phi, k, k, k), k)
    return series.moments(phi, k)
