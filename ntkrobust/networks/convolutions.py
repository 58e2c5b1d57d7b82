"""Convolutional networks of finite width: convolutions as patches and one matrix product.

XLA's own convolutions are slow on CPUs where each network has weights of its own (benchmarks/convolutions.py compares).
Arrays are (channels, height, width, points): rows along the points are long, and a shift of the image moves whole rows.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.networks.activations import Activation
from ntkrobust.networks.layers import Activate, Convolve, Dense, Flatten, GlobalAverage, ImageShape, Layer, Residual
from ntkrobust.networks.models import Differentiated, layered_float64_error
from ntkrobust.networks.parameters import LayerScales, Parameters, Stacked, affine, unpacked
from ntkrobust.numerics import spectral
from ntkrobust.numerics.precision import TRAINING_DTYPE


@dataclasses.dataclass(frozen=True)
class Convolutional(Differentiated):
    """The function of a network of convolutions; see :class:`~ntkrobust.networks.models.Model`.

    Attributes:
        phi: the activation.
        image: (height, width, channels) of an input.
        layers: what is applied to it.
    """

    phi: Activation
    image: ImageShape
    layers: tuple[Layer, ...]

    def outputs_in_columns(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """f(x) (o, n) for x (d, n), one point per column."""
        height, width, channels = self.image
        h = x.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
        return self._applied(self.layers, scales, unpacked(parameters), h)

    def float64_error(self, scales: LayerScales, parameters: Parameters, x: jax.Array, delta: jax.Array) -> jax.Array:
        """(n,) what float64 may add to Σ_k |f_k(x + δ) − f_k(x)|."""
        return layered_float64_error(self, scales, parameters, x, delta)

    def lipschitz_upper(self, gains: jax.Array, norms: jax.Array) -> jax.Array:
        """A number not below the Lipschitz constant wherever |φ'| ≤ 1, from the layers' gains and norms.

        A convolution is its matrix applied to patches, ‖conv‖₂ ≤ ‖W_l‖₂ ‖patches‖₂; an entry of the image is in at
        most ⌈k/s⌉² patches, so ‖patches‖₂ ≤ ⌈k/s⌉ for patches of side k that are s apart. Branches add, the mean over
        p positions has norm 1/√p. Weights that are shared tie the matrix to that of the whole image only from above:
        the number is loose, and certified.
        """
        return self._bound(self.layers, jnp.ones((), TRAINING_DTYPE), jnp.abs(gains), norms)

    def _bound(self, layers: tuple[Layer, ...], bound: jax.Array, gains: jax.Array, norms: jax.Array) -> jax.Array:
        """Not below ``bound`` times the Lipschitz constant of ``layers``."""
        for layer in layers:
            factors = [bound]
            match layer:
                case Dense():
                    factors += [gains[layer.index], norms[layer.index]]
                case Convolve():
                    overlap = jnp.float32(math.ceil(layer.kernel / layer.stride))
                    factors += [gains[layer.index], norms[layer.index], overlap]
                case Residual():
                    branches = [self._bound(branch, bound, gains, norms) for branch in (layer.main, layer.shortcut)]
                    bound = spectral.sum_upper(jnp.stack(branches))
                    continue
                case GlobalAverage():
                    share = 1 / math.sqrt(layer.image[0] * layer.image[1])
                    factors.append(jnp.nextafter(jnp.float32(share), jnp.float32(np.inf)))
                case Activate() | Flatten():
                    continue
            bound = spectral.product_upper(jnp.stack(factors))
        return bound

    def _applied(
        self, layers: tuple[Layer, ...], scales: LayerScales, parameters: Parameters, h: jax.Array
    ) -> jax.Array:
        for layer in layers:
            match layer:
                case Activate():
                    h = self.phi(h)
                case Dense():
                    h = _affine(layer, scales, parameters, h)
                case Convolve():
                    columns = patches(layer, h).reshape(layer.fan_in, -1)
                    height, width, _ = layer.output
                    h = _affine(layer, scales, parameters, columns).reshape(layer.channels, height, width, -1)
                case Residual():
                    main, beside = (
                        self._applied(branch, scales, parameters, h) for branch in (layer.main, layer.shortcut)
                    )
                    h = main + beside
                case GlobalAverage():
                    h = jnp.mean(h, axis=(1, 2))
                case Flatten():
                    h = h.transpose(1, 2, 0, 3).reshape(math.prod(layer.image), -1)
        return h


def patches(layer: Convolve, h: jax.Array) -> jax.Array:
    """The patches (fan_in, height, width, n) that a convolution sees of h (channels, height, width, n)."""
    above, left = layer.padding
    padded = jnp.pad(h, ((0, 0), above, left, (0, 0)))
    height, width, _ = layer.output
    last_row, last_column = (layer.stride * (side - 1) + 1 for side in (height, width))
    shifted = [
        padded[:, i : i + last_row : layer.stride, j : j + last_column : layer.stride]
        for i in range(layer.kernel)
        for j in range(layer.kernel)
    ]
    return jnp.concatenate(shifted) if len(shifted) > 1 else shifted[0]


def _affine(layer: Dense | Convolve, scales: LayerScales, parameters: Parameters, columns: jax.Array) -> jax.Array:
    """Weights and biases of one layer on columns (fan_in, …)."""
    index = layer.index
    bias = parameters.biases[index] if parameters.biases else None
    return affine(scales, scales.weight_gain[index], parameters.weights[index], bias, columns)
