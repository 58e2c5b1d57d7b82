"""Arrays of images: (n, height, width) or (n, height, width, channels), and the rows (n, d) that networks take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_integer
from ntkrobust.errors import InputError

ImageShape = tuple[int, int, int]
"""Height, width and channels."""

COLOURS = (1, 3)
"""How many channels an array may have in front of its pixels, as it comes from libraries that have them there."""


def in_rows(name: str, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Images (n, height, width) or (n, height, width, channels) as rows (n, d), the last index fastest.

    Arrays of another number of dimensions stay as they are.

    Raises:
        InputError: the channels come before the pixels.
    """
    if image_shape_of(name, array) is None:
        return array
    return array.reshape(len(array), math.prod(array.shape[1:]))


def image_shape_of(name: str, value: Any) -> ImageShape | None:
    """The shape of each image of an array of such; None for other arrays and objects.

    Raises:
        InputError: the channels come before the pixels.
    """
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or len(shape) not in (3, 4):
        return None
    if len(shape) == 3:
        return (*shape[1:], 1)
    if shape[1] in COLOURS and shape[3] not in range(1, 5):
        raise InputError(
            f"images of {name} must have the shape (height, width, channels), got {shape[1:]} with the channels first: "
            "give x.transpose(0, 2, 3, 1)"
        )
    return shape[1:]


def check_image_shape(shape: object, d: int) -> ImageShape:
    """``shape`` as (height, width, channels) of images with d entries; InputError otherwise."""
    if isinstance(shape, np.ndarray):
        shape = shape.tolist()
    if not isinstance(shape, Sequence) or len(shape) != 3:
        raise InputError(f"image_shape must be None or (height, width, channels), got {shape!r}")
    height, width, channels = (check_integer("each entry of image_shape", size, 1) for size in shape)
    if height * width * channels != d:
        raise InputError(f"image_shape must be that of images with {d} entries, the inputs' dimension, got {shape!r}")
    return height, width, channels
