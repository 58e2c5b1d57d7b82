"""Data in whatever form they are given: a name, a file, arrays, or a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

from ntkrobust.data.arrays import arrays_in
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.images import ImageShape, image_shape_of
from ntkrobust.data.labels import Classes
from ntkrobust.data.names import load
from ntkrobust.domain import Domain
from ntkrobust.errors import InputError


class Points(NamedTuple):
    """Inputs and what is known of them.

    Attributes:
        x: (n, d) inputs.
        y: (n,) labels or (n, o) targets; None where there are none.
        classes: that the targets stand for, where they are known.
        domain: which inputs there are; None where nothing is said.
        image_shape: (height, width, channels) of images, or None.
    """

    x: Any
    y: Any
    classes: Sequence[object] | None
    domain: Domain | None
    image_shape: ImageShape | None


def training_points(x: Any, y: npt.ArrayLike | None, classes: Sequence[object] | None = None) -> Points:
    """What is trained on, given as ``x_train`` and ``y_train``, or as ``x_train`` alone.

    Args:
        x: inputs; or without ``y`` a data set, a name or a file of one, or arrays: of (x, y), all points; of (x_train,
            y_train, x_test, y_test), the first two.
        y: labels or targets.
        classes: of targets.

    Raises:
        InputError: ``y`` or ``classes`` are given beside those of a data set, or ``y`` is missing.
    """
    x, arrays = _opened(x, y)
    if isinstance(x, Dataset):
        if y is not None or classes is not None:
            raise InputError("a data set brings its own targets and classes: leave y_train and classes out")
        return Points(x.x_train, x.y_train, x.classes, x.domain, x.image_shape)
    if arrays is not None:
        x, y = arrays["x_train"], arrays["y_train"]
    elif y is None:
        raise InputError("training needs targets: give y_train beside x_train, or a data set alone")
    return Points(x, y, classes, None, image_shape_of("x_train", x))


def test_points(x: Any, y: npt.ArrayLike | None, classes: Classes | None) -> Points:
    """Where networks are looked at, given as inputs and perhaps labels or targets, or as the inputs' argument alone.

    Args:
        x: inputs; or without ``y`` a data set, a name or a file of one, or arrays, of (x, y) or four: the test points.
        y: labels or targets.
        classes: that the networks were trained with.

    Raises:
        InputError: ``y`` is given beside that of a data set.
    """
    x, arrays = _opened(x, y)
    if isinstance(x, Dataset):
        if y is not None:
            raise InputError("a data set brings its own targets: leave y out")
        # As labels where training had labels, since targets ±1 of other classes would mean these.
        labels = x.y_test if x.classes is None or classes is None else x.labels_test
        return Points(x.x_test, labels, x.classes, x.domain, x.image_shape)
    if arrays is not None:
        part = "test" if "x_test" in arrays else "train"
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    return Points(x, y, None, None, image_shape_of("x", x))


def _opened(x: Any, y: npt.ArrayLike | None) -> tuple[Any, dict[str, Any] | None]:
    """A data set where a name, a file or a data set is given; and arrays by name, where several are."""
    if isinstance(x, str | os.PathLike):
        return load(x), None
    if isinstance(x, Dataset) or y is not None:
        return x, None
    return x, arrays_in(x)
