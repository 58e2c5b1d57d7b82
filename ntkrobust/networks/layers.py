"""The layers of a network, in order: one description from which finite networks and kernels are both made.

Weights are matrices W_l (fan_out, fan_in), also those of convolutions: their fan_in is one patch of the input, its
entries ordered by row, column and channel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

ImageShape = tuple[int, int, int]
"""(height, width, channels)"""


@dataclasses.dataclass(frozen=True)
class Activate:
    """φ, entrywise."""


@dataclasses.dataclass(frozen=True)
class Dense:
    """z = W_l h + b_l.

    Attributes:
        index: which of the network's weights, from 0.
        fan_out, fan_in: shape of W_l.
    """

    index: int
    fan_out: int
    fan_in: int

    @property
    def products(self) -> int:
        """Multiplications per point."""
        return self.fan_out * self.fan_in


@dataclasses.dataclass(frozen=True)
class Convolve:
    """z(p) = W_l h(patch at p) + b_l at every position p, with zeros around the image.

    Positions are ``stride`` apart, ⌈side/stride⌉ of them along each side; what padding that takes is shared by both
    ends, the odd one going to the lower right (the convention of XLA and TensorFlow, ``"SAME"``).

    Attributes:
        index: which of the network's weights, from 0.
        channels: of the output.
        kernel: rows and columns of a patch.
        stride: between positions.
        image: (height, width, channels) of the input.
    """

    index: int
    channels: int
    kernel: int
    stride: int
    image: ImageShape

    @property
    def fan_out(self) -> int:
        """Rows of W_l."""
        return self.channels

    @property
    def fan_in(self) -> int:
        """Columns of W_l: entries of a patch."""
        return self.kernel**2 * self.image[2]

    @property
    def output(self) -> ImageShape:
        """(height, width, channels) of the output."""
        height, width = (-(-side // self.stride) for side in self.image[:2])
        return height, width, self.channels

    @property
    def positions(self) -> int:
        """Positions at which a patch is taken."""
        return self.output[0] * self.output[1]

    @property
    def products(self) -> int:
        """Multiplications per point."""
        return self.positions * self.fan_out * self.fan_in

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros before and after the rows, and the columns."""
        totals = (
            max((out - 1) * self.stride + self.kernel - side, 0)
            for out, side in zip(self.output[:2], self.image[:2], strict=True)
        )
        above, left = ((total // 2, total - total // 2) for total in totals)
        return above, left


@dataclasses.dataclass(frozen=True)
class Residual:
    """The sum of two branches from one input; an empty shortcut is the identity."""

    main: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]


@dataclasses.dataclass(frozen=True)
class GlobalAverage:
    """The mean over all positions of an image, for each channel."""

    image: ImageShape


@dataclasses.dataclass(frozen=True)
class Flatten:
    """All entries of an image as one vector, by row, column and channel."""

    image: ImageShape


Layer = Activate | Dense | Convolve | Residual | GlobalAverage | Flatten


def weighted(layers: tuple[Layer, ...]) -> Iterator[Dense | Convolve]:
    """Those that have weights, in the order of their indices."""
    for layer in layers:
        if isinstance(layer, Dense | Convolve):
            yield layer
        elif isinstance(layer, Residual):
            yield from weighted(layer.main)
            yield from weighted(layer.shortcut)
