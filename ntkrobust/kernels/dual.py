"""What a layer's activation contributes to the kernels: Gaussian expectations, by name.

Throughout (u, v) is a centred Gaussian pair with variances K₁₁, K₂₂ and covariance K₁₂. Price's theorem,
∂E F(u)G(v)/∂K₁₂ = E F'(u)G'(v), links them: D = ∂J/∂K₁₂.
"""

from __future__ import annotations

from typing import NamedTuple

import jax


class Dual(NamedTuple):
    """Value and slope; arrays of the shape of K₁₂.

    Attributes:
        value: J = E φ(u)φ(v).
        slope: D = E φ'(u)φ'(v).
    """

    value: jax.Array
    slope: jax.Array


class DualDerivatives(NamedTuple):
    """What differentiating J and D by the first point needs beside D = ∂J/∂K₁₂; arrays of the shape of K₁₂.

    Attributes:
        value_11: ∂J/∂K₁₁ = ½ E φ''(u)φ(v).
        slope_11: ∂D/∂K₁₁ = ½ E φ'''(u)φ'(v).
        slope_12: ∂D/∂K₁₂ = E φ''(u)φ''(v).
    """

    value_11: jax.Array
    slope_11: jax.Array
    slope_12: jax.Array


class Moments(NamedTuple):
    """Expectations at a single point, u ~ N(0, K); arrays of the shape of K.

    Attributes:
        value: V = E φ(u)².
        value_slope: dV/dK = E φ(u)φ'(u)u / K.
        slope: E φ'(u)².
        slope_weighted: E φ'(u)²u² / K.
    """

    value: jax.Array
    value_slope: jax.Array
    slope: jax.Array
    slope_weighted: jax.Array
