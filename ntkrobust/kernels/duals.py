"""The Gaussian expectations of any activation: closed forms where there are some, the Hermite series elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax

from ntkrobust.kernels import closed_duals, series
from ntkrobust.kernels.dual import Dual, DualDerivatives, Moments
from ntkrobust.networks.activations import Activation

CLOSED = {
    "erf": (closed_duals.erf_dual, closed_duals.erf_dual_with_derivatives),
    "gelu": (closed_duals.gelu_dual, closed_duals.gelu_dual_with_derivatives),
}
"""Smooth activations with closed forms; those of two straight pieces have one too."""


def is_kinked(phi: Activation) -> bool:
    """Whether φ' jumps at 0, so that the NTK has a cone where two points meet."""
    return phi.negative_slope is not None and phi.negative_slope != 1


def needs_series(phi: Activation) -> bool:
    """Whether φ has no closed form here."""
    return phi.negative_slope is None and phi.name not in CLOSED


class _Forms(NamedTuple):
    """How the expectations of one activation are computed, as functions of its variances and covariances alone."""

    dual: Callable[[jax.Array, jax.Array, jax.Array], Dual]
    dual_with_derivatives: Callable[[jax.Array, jax.Array, jax.Array], tuple[Dual, DualDerivatives]]
    moments: Callable[[jax.Array], Moments]


def dual(phi: Activation, k11: jax.Array, k22: jax.Array, k12: jax.Array, terms: int = 0) -> Dual:
    """J and D (a, b).

    Args:
        phi: the activation.
        k11: (a, 1) variances.
        k22: (1, b) variances.
        k12: (a, b) covariances.
        terms: of the series, where one is needed.
    """
    return _forms(phi, terms).dual(k11, k22, k12)


def dual_with_derivatives(
    phi: Activation, k11: jax.Array, k22: jax.Array, k12: jax.Array, terms: int = 0
) -> tuple[Dual, DualDerivatives]:
    """:func:`dual` and its derivatives, each (a, b)."""
    return _forms(phi, terms).dual_with_derivatives(k11, k22, k12)


def moments(phi: Activation, k: jax.Array) -> Moments:
    """:class:`~ntkrobust.kernels.dual.Moments` at variances ``k`` of any shape."""
    return _forms(phi).moments(k)


def _forms(phi: Activation, terms: int = 0) -> _Forms:
    """The closed forms of φ, or the first ``terms`` terms of its series; moments take none, they are one integral."""
    slope = phi.negative_slope
    if slope is not None:
        return _Forms(
            partial(closed_duals.kinked_dual, slope),
            partial(closed_duals.kinked_dual_with_derivatives, slope),
            partial(closed_duals.kinked_moments, slope),
        )
    if phi.name in CLOSED:
        value, with_derivatives = CLOSED[phi.name]
        return _Forms(value, with_derivatives, lambda k: closed_duals.smooth_moments(with_derivatives(k, k, k), k))
    return _Forms(
        partial(series.dual, phi, terms=terms),
        partial(series.dual_with_derivatives, phi, terms=terms),
        partial(series.moments, phi),
    )
