"""A network as certificates see it: affine maps, activations and sums, one after the other, in float64.

Arrays of one point have the shape of a layer's output, (fan_out,) or (channels, height, width). Many rows of
coefficients at once have a leading axis.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkrobust.errors import InputError
from ntkrobust.finite.certificates.relaxations import check_known
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.convolutions import Convolutional, patches
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.layers import Activate, Convolve, Dense, Flatten, GlobalAverage, Layer, Residual
from ntkrobust.networks.mlp import FullyConnected
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import LayerScales, Parameters, unpacked
from ntkrobust.numerics.wide import widened

Shape = tuple[int, ...]

SMALLEST = 2.0**-126
"""The smallest normal number of float32."""


@dataclasses.dataclass(frozen=True)
class Input:
    """The point itself."""

    shape: Shape


@dataclasses.dataclass(frozen=True)
class Affine:
    """z = A h + b.

    Attributes:
        source: which node h is.
        shape: of z.
        forward: h ↦ A h.
        backward: rows (k, *shape) of Λ to those of Λ A.
        size: of |h|, to |A||h|.
        backward_size: rows of |Λ| to those of |Λ||A|.
        bias: b, in the shape of z or one that is broadcast to it; 0 for none.
        terms: products in an entry of A h.
        loss: what float32 may lose in an entry to numbers below 2⁻¹²⁶: one such for each product and sum.
        matrix: A, where it is one.
    """

    source: int
    shape: Shape
    forward: Callable[[jax.Array], jax.Array]
    backward: Callable[[jax.Array], jax.Array]
    size: Callable[[jax.Array], jax.Array]
    backward_size: Callable[[jax.Array], jax.Array]
    bias: Any
    terms: int
    loss: Any = 0.0
    matrix: jax.Array | None = None

    def rows(self) -> jax.Array:
        """A, one row (*shape of h) for each entry of z."""
        if self.matrix is not None:
            return self.matrix
        size = math.prod(self.shape)
        return self.backward(jnp.eye(size).reshape(size, *self.shape))


@dataclasses.dataclass(frozen=True)
class Activated:
    """φ of a node, entry by entry."""

    source: int
    shape: Shape


@dataclasses.dataclass(frozen=True)
class Sum:
    """The sum of two nodes."""

    sources: tuple[int, int]
    shape: Shape


Node = Input | Affine | Activated | Sum


@dataclasses.dataclass(frozen=True)
class Graph:
    """The nodes of a network, each after those it is made of; the last is f.

    Attributes:
        phi: the activation.
        nodes: the first is the input.
    """

    phi: Activation
    nodes: tuple[Node, ...]

    @property
    def before_activations(self) -> tuple[int, ...]:
        """The nodes that φ is applied to."""
        return tuple(node.source for node in self.nodes if isinstance(node, Activated))

    @property
    def terms(self) -> int:
        """No sum on the way from a node to the input is of more: products in an entry of A h, or of Λ A, which are no
        more than the entries of a node; and nodes."""
        widest = max(math.prod(node.shape) for node in self.nodes)
        return max(widest, *(node.terms for node in self.nodes if isinstance(node, Affine))) + len(self.nodes)

    def is_affine(self, index: int) -> bool:
        """Whether no activation lies between a node and the input."""
        match self.nodes[index]:
            case Activated():
                return False
            case Affine(source=source):
                return self.is_affine(source)
            case Sum(sources=sources):
                return all(map(self.is_affine, sources))
        return True


def check_has_layers(net: Network) -> None:
    """Raise InputError unless the layers of a network are known, and its activation is."""
    if not isinstance(net, LayeredNetwork):
        raise _unknown_layers(net)
    check_known(net.phi)


def _unknown_layers(net: object) -> InputError:
    return InputError(
        f"certificates need the layers of a network, as MLP, ConvNet and WideResNet have them, and {net!r} is a "
        "function whose layers are not known: of such a network attacks bound robustness from above, and nothing from "
        "below"
    )


def graph_of(model: Model, scales: LayerScales, parameters: Parameters) -> Graph:
    """The nodes of one network; called where float64 is on.

    Weights times their gains are exact: products of two float32 numbers.

    Raises:
        InputError: the layers of the network are not known, or its activation isn't.
    """
    parameters = unpacked(parameters)
    if isinstance(model, FullyConnected | Convolutional):
        check_known(model.phi)
    if isinstance(model, FullyConnected):
        layers: list[Layer] = []
        for index, weight in enumerate(parameters.weights):
            layers += [Dense(index, *weight.shape), Activate()]
        start, chain = Input((parameters.weights[0].shape[1],)), tuple(layers[:-1])
        builder = _Builder(model.phi, scales, parameters, [start])
    elif isinstance(model, Convolutional):
        height, width, channels = model.image
        builder = _Builder(model.phi, scales, parameters, [Input((math.prod(model.image),))])
        # (row, column, channel) → (channel, row, column)
        builder.move(
            (channels, height, width),
            lambda h: jnp.moveaxis(h.reshape(*h.shape[:-1], height, width, channels), -1, -3),
            lambda rows: jnp.moveaxis(rows, -3, -1).reshape(len(rows), -1),
        )
        chain = model.layers
    else:
        raise _unknown_layers(getattr(model, "net", model))
    builder.add(chain)
    return Graph(model.phi, tuple(builder.nodes))


@dataclasses.dataclass
class _Builder:
    """Nodes, one layer after the other."""

    phi: Activation
    scales: LayerScales
    parameters: Parameters
    nodes: list[Node]

    @property
    def last(self) -> int:
        return len(self.nodes) - 1

    def add(self, layers: tuple[Layer, ...]) -> None:
        """What these layers do to the last node."""
        for layer in layers:
            match layer:
                case Activate():
                    self.nodes.append(Activated(self.last, self.nodes[-1].shape))
                case Dense():
                    self._dense(layer)
                case Convolve():
                    self._convolve(layer)
                case Residual():
                    self._residual(layer)
                case GlobalAverage():
                    self._average(layer)
                case Flatten():
                    self.move(
                        (math.prod(layer.image),),
                        lambda h: jnp.moveaxis(h, -3, -1).reshape(*h.shape[:-3], -1),
                        lambda rows, image=layer.image: jnp.moveaxis(rows.reshape(-1, *image), -1, -3),
                    )

    def move(self, shape: Shape, forward: Callable[..., jax.Array], backward: Callable[..., jax.Array]) -> None:
        """Entries in another order: nothing is added, and nothing rounded."""
        self.nodes.append(Affine(self.last, shape, forward, backward, forward, backward, 0.0, 0))

    def _weights(self, layer: Dense | Convolve) -> tuple[jax.Array, Any, jax.Array]:
        """Weights (fan_out, fan_in) and biases (fan_out,), times their gains; and what float32 may lose."""
        index = layer.index
        gain = widened(self.scales.weight_gain[index])
        loss = 2 * (layer.fan_in + 2) * SMALLEST * jnp.maximum(jnp.abs(gain), 1)
        weight = gain * widened(self.parameters.weights[index])
        if not self.parameters.biases:
            return weight, 0.0, loss
        return weight, widened(self.scales.bias_gain) * widened(self.parameters.biases[index]), loss

    def _dense(self, layer: Dense) -> None:
        weight, bias, loss = self._weights(layer)
        sizes = jnp.abs(weight)
        self.nodes.append(
            Affine(self.last, (layer.fan_out,), lambda h: weight @ h, lambda rows: rows @ weight,
                   lambda size: sizes @ size, lambda rows: rows @ sizes, bias, layer.fan_in, loss, weight)
        )  # fmt: skip

    def _convolve(self, layer: Convolve) -> None:
        weight, bias, loss = self._weights(layer)
        height, width, channels = layer.output

        def apply(weight: jax.Array, h: jax.Array) -> jax.Array:
            columns = patches(layer, h[..., None]).reshape(layer.fan_in, -1)
            return (weight @ columns).reshape(channels, height, width)

        def backward(weight: jax.Array, rows: jax.Array) -> jax.Array:
            seen = jnp.einsum("kchw,cf->fhwk", rows, weight)
            image = (layer.image[2], *layer.image[:2], len(rows))
            (found,) = jax.linear_transpose(lambda h: patches(layer, h), jax.ShapeDtypeStruct(image, rows.dtype))(seen)
            return jnp.moveaxis(found, -1, 0)

        bias = bias if isinstance(bias, float) else bias[:, None, None]
        self.nodes.append(
            Affine(self.last, (channels, height, width), lambda h: apply(weight, h),
                   lambda rows: backward(weight, rows), lambda size: apply(jnp.abs(weight), size),
                   lambda rows: backward(jnp.abs(weight), rows), bias, layer.fan_in, loss)
        )  # fmt: skip

    def _residual(self, layer: Residual) -> None:
        start = self.last
        ends = []
        for branch in (layer.main, layer.shortcut):
            if branch:
                # A branch begins where the block does.
                self.nodes.append(_again(start, self.nodes[start].shape))
                self.add(branch)
            ends.append(self.last if branch else start)
        self.nodes.append(Sum((ends[0], ends[1]), self.nodes[ends[0]].shape))

    def _average(self, layer: GlobalAverage) -> None:
        height, width, channels = layer.image
        share = 1 / (height * width)

        def spread(rows: jax.Array) -> jax.Array:
            return jnp.broadcast_to(share * rows[..., None, None], (*rows.shape, height, width))

        self.nodes.append(
            Affine(self.last, (channels,), lambda h: jnp.mean(h, axis=(1, 2)), spread,
                   lambda size: jnp.mean(size, axis=(1, 2)), spread, 0.0, height * width + 2)
        )  # fmt: skip


def _again(source: int, shape: Shape) -> Affine:
    """A node as it is."""
    return Affine(source, shape, lambda h: h, lambda rows: rows, lambda size: size, lambda rows: rows, 0.0, 0)
