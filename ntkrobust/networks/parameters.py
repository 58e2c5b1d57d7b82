"""Parameters of finite networks, and the forward pass.

What differs between initializations and parameterizations is a handful of numbers. They enter as run-time arguments,
so that networks of one shape share one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.networks.activations import Activation

Shapes = tuple[tuple[int, int], ...]
"""(fan_out, fan_in) of every layer."""

SHALLOW = 8
"""Up to this depth programs are written out layer by layer; deeper ones loop over their hidden layers."""


class Parameters(NamedTuple):
    """Trained arrays of one network; with a leading axis on every array, of an ensemble.

    Attributes:
        weights: W_1 (m, d), W_2 … W_{L−1} (m, m), W_L (o, m); of convolutions (channels, fan_in), those of a shortcut
            behind those of its block.
        biases: b_1 … b_{L−1} (m,), b_L (o,); empty if the network has none.
    """

    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]


class LayerScales(NamedTuple):
    """The numbers that set an initialization and a parameterization.

    Attributes:
        weight_std: (L,), standard deviation of the entries of W_l as they are drawn.
        weight_gain: (L,), factor on W_l in the forward pass.
        bias_std: standard deviation of the biases as they are drawn.
        bias_gain: factor on the biases in the forward pass.
    """

    weight_std: Any
    weight_gain: Any
    bias_std: Any
    bias_gain: Any


def _shapes(parameters: Parameters) -> Shapes:
    return tuple((weight.shape[-2], weight.shape[-1]) for weight in parameters.weights)


def is_square(shapes: Shapes) -> bool:
    """Whether all hidden layers are m × m, as they are in fully connected networks."""
    m = shapes[-1][1]
    return shapes[0][0] == m and all(shape == (m, m) for shape in shapes[1:-1])


class Stacked(NamedTuple):
    """The same arrays of a deep network, hidden layers together: what is compiled for them doesn't grow with depth.

    Attributes:
        weights: W_1 (m, d); W_2 … W_{L−1} (L−2, m, m); W_L (o, m).
        biases: b_1 (m,); b_2 … b_{L−1} (L−2, m); b_L (o,); empty if the network has none.
    """

    weights: tuple[jax.Array, jax.Array, jax.Array]
    biases: tuple[jax.Array, ...]


def stack(parameters: Parameters | Stacked, axis: int = 0) -> Stacked:
    """Hidden layers together, along ``axis``: 1 for an ensemble, whose first is that of seeds."""
    if isinstance(parameters, Stacked):
        return parameters
    (first, *hidden, last), biases = parameters
    m, leading = first.shape[-2], first.shape[:axis]
    # What is on the host stays there.
    library: Any = np if isinstance(first, np.ndarray) else jnp

    def joined(layers: Sequence[jax.Array], *shape: int) -> Any:
        return library.stack(layers, axis) if layers else library.zeros((*leading, 0, *shape), first.dtype)

    shifts = (biases[0], joined(biases[1:-1], m), biases[-1]) if biases else ()
    return Stacked((first, joined(hidden, m, m), last), shifts)


def packed(parameters: Any, axis: int = 0) -> Any:
    """Parameters as programs work on them: those of deep networks stacked; for ``axis`` see :func:`stack`."""
    if not isinstance(parameters, Parameters):
        return parameters
    if len(parameters.weights) <= SHALLOW or not is_square(_shapes(parameters)):
        return parameters
    return stack(parameters, axis)


def unpacked(parameters: Any, axis: int = 0) -> Any:
    """One array per layer again; ``axis`` is that of the layers, 1 where there is one of seeds before it."""
    if not isinstance(parameters, Stacked):
        return parameters
    (first, hidden, last), biases = parameters

    def layers(of: Any) -> Any:
        return of if axis == 0 else of.swapaxes(0, axis)

    return Parameters((first, *layers(hidden), last), (biases[0], *layers(biases[1]), biases[2]) if biases else ())


def forward(
    phi: Activation, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array, recomputed: int = 0
) -> jax.Array:
    """f(x) (n, o) of one network at x (n, d).

    f(x) = (1/α) W_L φ(W_{L−1} φ(… φ(W_1 x + b_1))) + b_L, each weight and bias times its gain. For ``recomputed`` see
    :attr:`ntkrobust.MLP.layers_to_recompute`.
    """
    return outputs_in_columns(phi, scales, parameters, x.T, recomputed).T


def outputs_in_columns(
    phi: Activation, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array, recomputed: int = 0
) -> jax.Array:
    """f (o, n) for x (d, n), one point per column."""
    parameters = packed(parameters)
    if isinstance(parameters, Parameters):
        return pre_activations(phi, scales, parameters, x)[0][-1]
    if recomputed:
        z = _last_hidden_recomputed(phi, scales, parameters, x, recomputed)
    else:
        z, _ = hidden_pre_activations(phi, scales, parameters, x)
    last = parameters.biases[-1] if parameters.biases else None
    return affine(scales, scales.weight_gain[-1], parameters.weights[-1], last, phi(z))


def hidden_pre_activations(
    phi: Activation, scales: LayerScales, parameters: Stacked, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """z_{L−1} (m, n), and z_1 … z_{L−2} (L−2, m, n), for x (d, n)."""
    z, layers = _first_and_hidden(scales, parameters, x)
    return jax.lax.scan(_one_layer_up(phi, scales), z, layers)


def _first_and_hidden(scales: LayerScales, parameters: Stacked, x: jax.Array) -> tuple[jax.Array, tuple]:
    """z_1 (m, n) for x (d, n), and what the loop over hidden layers takes: gains, weights and biases."""
    (first, hidden, _), biases = parameters
    b_first, b_hidden, _ = biases or (None, None, None)
    z = affine(scales, scales.weight_gain[0], first, b_first, x)
    return z, (scales.weight_gain[1:-1], hidden, b_hidden)


def _one_layer_up(phi: Activation, scales: LayerScales) -> Callable[[jax.Array, tuple], tuple[jax.Array, jax.Array]]:
    """z_l, and z_{l−1} again, from z_{l−1} and a layer's gain, weights and bias.

    Of each layer the loop leaves z_{l−1} for the way back, which computes φ and φ' again: that is cheaper than to write
    both down here and read them there, and takes less memory.
    """

    def up(z: jax.Array, layer: tuple) -> tuple[jax.Array, jax.Array]:
        gain, weight, bias = layer
        return affine(scales, gain, weight, bias, phi(z)), z

    # Inside a loop nothing is shared with the forward pass anyway, so it needs no protection from being merged with it.
    return jax.checkpoint(up, prevent_cse=False)


def _last_hidden_recomputed(
    phi: Activation, scales: LayerScales, parameters: Stacked, x: jax.Array, at_once: int
) -> jax.Array:
    """z_{L−1} (m, n); what the way back needs is computed again there, ``at_once`` layers at a time."""
    z, layers = _first_and_hidden(scales, parameters, x)
    up = _one_layer_up(phi, scales)

    def piece(z: jax.Array, layers: tuple) -> tuple[jax.Array, None]:
        return jax.lax.scan(lambda z, layer: (up(z, layer)[0], None), z, layers)

    pieces = jax.tree.map(lambda leaf: leaf.reshape(-1, at_once, *leaf.shape[1:]), layers)
    return jax.lax.scan(jax.checkpoint(piece, prevent_cse=False), z, pieces)[0]


def affine(scales: LayerScales, gain: jax.Array, weight: jax.Array, bias: jax.Array | None, h: jax.Array) -> jax.Array:
    """z (fan_out, n) of one layer from its inputs h (fan_in, n)."""
    z = gain * (weight @ h)
    return z if bias is None else z + scales.bias_gain * bias[:, None]


def pre_activations(
    phi: Activation, scales: LayerScales, parameters: Parameters, x: jax.Array
) -> tuple[list[jax.Array], list[jax.Array]]:
    """z_1 … z_L (z_L = f) and the layers' inputs h_0 = x, h_1 … h_{L−1}, all with one point per column, for x (d, n).

    With the points along the last axis the rows are long even where networks are narrow: vector instructions and caches
    like that (twice as fast at width 16).
    """
    z: list[jax.Array] = []
    inputs = [x]
    for layer, weight in enumerate(parameters.weights):
        if layer:
            inputs.append(phi(z[-1]))
        bias = parameters.biases[layer] if parameters.biases else None
        z.append(affine(scales, scales.weight_gain[layer], weight, bias, inputs[-1]))
    return z, inputs
