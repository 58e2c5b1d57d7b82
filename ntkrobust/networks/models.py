"""What programs see of a network: its function of parameters and points, without the numbers that set its scales.

A model is hashable and static in compiled programs, so networks that share one share their programs, whatever their
initialization and parameterization.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from ntkrobust.networks import derivatives
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.convolutional import ImageNetwork
from ntkrobust.networks.convolutions import Convolutional
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import LayerScales, Parameters, Stacked, forward, outputs_in_columns
from ntkrobust.numerics import spectral


class Model(Protocol):
    """The function that networks of one architecture compute, with its derivatives.

    Parameters are those of one network; x is (n, d).
    """

    def __hash__(self) -> int: ...

    def outputs(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""

    def outputs_in_columns(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """f(x) (o, n) for x (d, n), one point per column."""

    def jacobian(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """J(x) = ∂f/∂x (n, o, d)."""

    def kernel(
        self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array, factor: jax.Array | float = 1.0
    ) -> jax.Array:
        """The empirical NTK Θ(x, x) (n, o, n, o), times factor²."""

    def lipschitz_upper(self, gains: jax.Array, norms: jax.Array) -> jax.Array:
        """A number that is not below the Lipschitz constant wherever |φ'| ≤ 1, rounding included.

        From the layers' factors in the forward pass (L,) and upper ends of ‖W_l‖₂ (L,).
        """


@dataclasses.dataclass(frozen=True)
class FullyConnected:
    """f(x) = (1/α) W_L φ(W_{L−1} φ(… φ(W_1 x + b_1))) + b_L; see :class:`Model`.

    Attributes:
        phi: φ.
        recomputed: layers that a backward pass computes again at once; 0 where activations are kept.
    """

    phi: Activation
    recomputed: int = 0

    def outputs(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        return forward(self.phi, scales, parameters, x, self.recomputed)

    def outputs_in_columns(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """f(x) (o, n) for x (d, n)."""
        return outputs_in_columns(self.phi, scales, parameters, x, self.recomputed)

    def jacobian(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """J(x) = ∂f/∂x (n, o, d)."""
        return derivatives.input_jacobian(self.phi, scales, parameters, x)

    def kernel(
        self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array, factor: jax.Array | float = 1.0
    ) -> jax.Array:
        """The empirical NTK Θ(x, x) (n, o, n, o), times factor²."""
        return derivatives.empirical_ntk(self.phi, scales, parameters, x, factor)

    def lipschitz_upper(self, gains: jax.Array, norms: jax.Array) -> jax.Array:
        """∏_l g_l‖W_l‖₂, rounded up."""
        return spectral.product_upper(jnp.concatenate([norms, jnp.abs(gains)]))


def model_of(net: Network, recomputed: int = 0) -> Model:
    """The model of a network; a backward pass computes so many layers again at once (see :class:`FullyConnected`)."""
    if isinstance(net, ImageNetwork):
        return Convolutional(net.phi, net.image_shape, net.layers(net.d_in))
    return FullyConnected(net.phi, recomputed)
