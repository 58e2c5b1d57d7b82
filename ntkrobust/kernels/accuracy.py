"""How many terms an activation without closed forms needs, and what error is left."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.kernels import series
from ntkrobust.kernels.duals import needs_series
from ntkrobust.kernels.layers import Layers
from ntkrobust.kernels.recursion import variances_by_layer
from ntkrobust.networks.mlp import MLP

SERIES_TOLERANCE = 1e-10
"""Error allowed to the Hermite series of an activation without a closed form, relative to each expectation's scale."""

SERIES_REFUSED = 1e-6
"""A series that stays above this is refused: the activation is not smooth enough for it."""


def series_terms(net: MLP, layers: Layers[Any], x: npt.NDArray[np.float64]) -> tuple[int, float]:
    """How many terms the activation's series needs for these points, and the error that is left; (0, 0.0) for closed
    forms.

    Raises:
        InputError: the series converges too slowly to be of use.
    """
    if not needs_series(net.phi):
        return 0, 0.0
    p = np.sum(x * x, axis=1)
    with jax.enable_x64(True):
        variances = np.asarray(variances_by_layer(net.phi, layers, x.shape[1], jnp.array([np.min(p), np.max(p)])))
    terms, error = series.terms_needed(net.phi, float(variances.max()), float(variances.min()), SERIES_TOLERANCE)
    if not error <= SERIES_REFUSED:
        raise InputError(
            f"kernels of the activation {net.phi} can't be computed to better than {error:.1e} with {terms} terms of "
            f"its Hermite series: it is not smooth, or too steep for variances up to {variances.max():.3g} (relu and "
            "leaky_relu have closed forms; inputs can be scaled down)"
        )
    return terms, error
