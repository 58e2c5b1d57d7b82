"""Convolutional networks: plain ones, and wide residual networks. Their width is their number of channels."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import jax

from ntkrobust.checks import check_integer, shown
from ntkrobust.errors import InputError
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.convolutions import Convolutional
from ntkrobust.networks.initializations import Initialization, Scales
from ntkrobust.networks.layered import LayeredNetwork, Parameterization
from ntkrobust.networks.layers import (
    Activate,
    Convolve,
    Dense,
    Flatten,
    GlobalAverage,
    ImageShape,
    Layer,
    Residual,
    weighted,
)
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Sizes

Pooling = Literal["global_average", "flatten"]


@dataclasses.dataclass(frozen=True, repr=False)
class ImageNetwork(LayeredNetwork):
    """A network of convolutions, a pooling and one dense layer. Inputs are images, flattened to rows (n, d).

    Weights are drawn with β_l² = σ_l²/fan_in, and fan_in = kernel_size²·channels for a convolution: initializations
    are those made of gains, ``he``, ``lecun`` and :meth:`~ntkrobust.Initialization.from_gains`. The first convolution
    has the gain σ_1², the dense layer σ_L², all others σ².

    Attributes:
        image_shape: (height, width, channels) of an input, the last index fastest; their product is d.
        kernel_size: rows and columns of a convolution's patch, odd.
        pooling: ``"global_average"`` over all positions, or ``"flatten"``, before the dense layer.
    """

    depth: int
    width: int
    image_shape: ImageShape
    d_out: int = 1
    activation: str | Activation | Callable[[jax.Array], jax.Array] = "relu"
    initialization: str | Initialization = "he"
    parameterization: Parameterization = "standard"
    bias_std: float | None = None
    kernel_size: int = 3
    pooling: Pooling = "global_average"

    def _check_image_network(self) -> None:
        """Check and resolve the fields that all of these have.

        Raises:
            InputError: one is out of its range.
        """
        self._check_common()
        if self.width is None:
            raise InputError("a convolutional network needs a width, its number of channels")
        shape = self.image_shape
        if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 3:
            raise InputError(f"image_shape must be (height, width, channels), got {shape!r}")
        self._set("image_shape", tuple(check_integer("each entry of image_shape", side, 1) for side in shape))
        self._set("kernel_size", check_integer("kernel_size", self.kernel_size, 1))
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, so that patches have a middle, got {self.kernel_size}")
        if not isinstance(self.pooling, str) or self.pooling not in ("global_average", "flatten"):
            raise InputError(f"pooling must be 'global_average' or 'flatten', got {shown(self.pooling)}")
        if self.drawn_from.fan_in_gains is None:
            raise InputError(
                "convolutions are drawn with variance gain/fan_in: the initialization must be he, lecun or "
                f"Initialization.from_gains(...), got {self.initialization!r}"
            )

    @abc.abstractmethod
    def _body(self) -> tuple[Layer, ...]:
        """The layers before pooling."""

    @property
    def d_in(self) -> int:
        """Dimension d of the inputs it takes: height·width·channels."""
        return math.prod(self.image_shape)

    def layers(self, d_in: int) -> tuple[Layer, ...]:
        """Convolutions, pooling, and one dense layer.

        Raises:
            InputError: inputs of that dimension are not images of the network's shape.
        """
        if check_integer("d_in", d_in, 1) != self.d_in:
            raise InputError(
                f"the network takes images of shape {self.image_shape}, flattened to {self.d_in} numbers, and the "
                f"inputs have {d_in}"
            )
        return self._layers

    @property
    def _layers(self) -> tuple[Layer, ...]:
        body = self._body()
        image = _output(body, self.image_shape)
        pool = GlobalAverage(image) if self.pooling == "global_average" else Flatten(image)
        features = image[2] if self.pooling == "global_average" else math.prod(image)
        return (*body, pool, Dense(sum(1 for _ in weighted(body)), self.d_out, features))

    def weight_stds(self, d_in: int) -> tuple[float, ...]:
        """β_l = √(σ_l²/fan_in) of every layer, in the order of the weights."""
        gains = self.drawn_from.fan_in_gains
        assert gains is not None
        shapes = self.layer_shapes(d_in)
        each = (gains[0], *[gains[1]] * (len(shapes) - 2), gains[2])
        return tuple(math.sqrt(gain / fan_in) for gain, (_, fan_in) in zip(each, shapes, strict=True))

    def scales(self, d_in: int) -> Scales:
        """β of the first, second and last weights, and α, for inputs of dimension ``d_in``."""
        stds = self.weight_stds(d_in)
        return Scales(stds[0], stds[1], stds[-1], self.drawn_from.scales(d_in, self.width, self.d_out).alpha)

    @property
    def _convolutions(self) -> list[Convolve]:
        return [layer for layer in weighted(self._layers) if isinstance(layer, Convolve)]

    def sizes(self, d_in: int) -> Sizes:
        """Parameters, and per point: the widest patches, all that convolutions take and give, the largest product."""
        layers = self._convolutions
        return Sizes(
            self.count_parameters(d_in),
            max(layer.positions * max(layer.fan_in, layer.fan_out) for layer in layers),
            # Patches, and what convolutions give before and after φ.
            sum(layer.positions * (layer.fan_in + 2 * layer.fan_out) for layer in layers),
            max(layer.products for layer in layers),
        )

    def model(self, recomputed: int = 0) -> Convolutional:
        """The function of these layers with this φ."""
        return Convolutional(self.phi, self.image_shape, self.layers(self.d_in))

    @property
    def input_shape(self) -> ImageShape:
        """(height, width, channels)."""
        return self.image_shape


@dataclasses.dataclass(frozen=True, repr=False)
class ConvNet(ImageNetwork):
    """L−1 convolutions of m channels with φ after each, pooling, and a dense layer.

    With h_0 the image, h_l(p) = φ(W_l h_{l−1}(patch at p) + b_l) at every position p, and pooling over positions,

        f(x) = (1/α) W_L pool(h_{L−1}) + b_L.

    Images are padded with zeros, so every layer keeps their height and width.

    Attributes:
        depth: L ≥ 2, convolutions plus the dense layer.
        width: m, channels of every convolution.
        image_shape: (height, width, channels) of an input; x stays (n, d) with d their product, the last index fastest.
        d_out: o, the number of outputs.
        activation, parameterization, bias_std: as for :class:`~ntkrobust.MLP`.
        initialization: made of gains, β_l² = σ_l²/fan_in; fan_in is kernel_size²·channels of what a convolution
            sees, and for W_L it is m under global average pooling, height·width·m under ``"flatten"``.
        kernel_size: rows and columns of a patch, odd.
        pooling: ``"global_average"`` over positions, or ``"flatten"``.

    Raises:
        InputError: a field is out of its range.
    """

    architecture: ClassVar[str] = "convolutional"

    def __post_init__(self) -> None:
        self._check_image_network()

    def _body(self) -> tuple[Layer, ...]:
        layers: list[Layer] = []
        image = self.image_shape
        for index in range(self.depth - 1):
            convolution = Convolve(index, self.width, self.kernel_size, 1, image)
            layers += [convolution, Activate()]
            image = convolution.output
        return tuple(layers)


@dataclasses.dataclass(frozen=True, repr=False)
class WideResNet(ImageNetwork):
    """A convolution to m channels, groups of pre-activation residual blocks, pooling, and a dense layer.

    A block is h ↦ h + W φ(W' φ(h)), with two convolutions W and W' (Zagoruyko & Komodakis, arXiv 1605.07146, without
    batch normalization, in the form of neural-tangents' example). Each group after the first halves height and width
    (rounding up) and doubles the channels: its first block has stride 2, and a convolution in the place of h.

    Attributes:
        depth: L = 2 + 2·groups·blocks, the first convolution, two per block, and the dense layer; convolutions of
            shortcuts don't count.
        width: m, channels of the first group.
        image_shape: (height, width, channels) of an input; x stays (n, d) with d their product, the last index fastest.
        d_out, activation, initialization, parameterization, bias_std, kernel_size, pooling: as for :class:`ConvNet`.
        groups: number of groups of blocks.

    Raises:
        InputError: a field is out of its range, or the depth does not give every group the same number of blocks.
    """

    architecture: ClassVar[str] = "wide_resnet"

    groups: int = 1

    def __post_init__(self) -> None:
        self._check_image_network()
        self._set("groups", check_integer("groups", self.groups, 1))
        if self.depth <= 2 or (self.depth - 2) % (2 * self.groups):
            allowed = ", ".join(str(2 + 2 * self.groups * blocks) for blocks in (1, 2, 3))
            raise InputError(
                f"a WideResNet with groups={self.groups} has depth 2 + 2·groups·blocks, {allowed}, …, got {self.depth}"
            )

    @property
    def blocks(self) -> int:
        """Residual blocks per group."""
        return (self.depth - 2) // (2 * self.groups)

    def _body(self) -> tuple[Layer, ...]:
        first = Convolve(0, self.width, self.kernel_size, 1, self.image_shape)
        layers: list[Layer] = [first]
        image, index = first.output, 1
        for block in range(self.groups * self.blocks):
            group = block // self.blocks
            narrows = group > 0 and block % self.blocks == 0
            channels, stride = self.width * 2**group, 1 + narrows
            before = Convolve(index, channels, self.kernel_size, stride, image)
            after = Convolve(index + 1, channels, self.kernel_size, 1, before.output)
            beside = (Convolve(index + 2, channels, self.kernel_size, stride, image),) if narrows else ()
            layers.append(Residual((Activate(), before, Activate(), after), beside))
            image, index = after.output, index + 2 + narrows
        return tuple(layers)


def _output(body: tuple[Layer, ...], image: ImageShape) -> ImageShape:
    """Shape of what layers make of an image."""
    for layer in body:
        if isinstance(layer, Convolve):
            image = layer.output
        elif isinstance(layer, Residual):
            image = _output(layer.main, image)
    return image


ARCHITECTURES: dict[str, type[MLP] | type[ConvNet] | type[WideResNet]] = {
    kind.architecture: kind for kind in (MLP, ConvNet, WideResNet)
}
"""Networks by the name of their architecture."""
