"""The factorized training kernel of an infinite-width ensemble."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Factorization(NamedTuple):
    """What the training points come to, for all times; float64, n training points.

    Attributes:
        eigenvalues: λ (n,) of Θ(X, X), ascending (of K for the NNGP).
        vectors: V (n, n), in columns.
        nngp: K (n, n).
        x_train: (n, d).
        gram: Γ = XXᵀ (n, n).
        projected: Vᵀy (n, o).
    """

    eigenvalues: Array
    vectors: jax.Array
    nngp: jax.Array
    x_train: jax.Array
    gram: jax.Array
    projected: jax.Array
