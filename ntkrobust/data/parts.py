"""From arrays as they come, in a file or by themselves, to a data set: encoded, split and named."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import Array, as_array, as_points, check_same_index, check_same_rows
from ntkrobust.data.dataset import TEST_SHARE, Dataset, split
from ntkrobust.data.encoding import describe_task, encode, task_of
from ntkrobust.data.images import ImageShape, image_shape_of
from ntkrobust.data.labels import EXACT_INTEGERS, FEW, Classes, Kind
from ntkrobust.errors import InputError


class Parts(NamedTuple):
    """What a source holds, checked and encoded; x_test and y_test are None where it has no test part.

    Attributes:
        classes: of labels, or None.
        notes: what was decided about labels and columns, in words.
        bounds, movable, image_shape: as the source states them; None where it doesn't.
    """

    x_train: Array
    y_train: Array
    x_test: Array | None
    y_test: Array | None
    classes: Classes | None
    notes: str = ""
    bounds: Any = None
    movable: Any = None
    image_shape: Any = None


def parts_of(arrays: dict[str, Any], kind: Kind | None) -> Parts:
    """The parts in ``x_train``, ``y_train``, and perhaps ``x_test`` and ``y_test``.

    Args:
        arrays: by these names; and ``bounds``, ``movable``, ``image_shape``, where they are stated.
        kind: what numbers of ``y`` are; None for :func:`_as_labels`.

    Raises:
        InputError: they are no points and targets that fit each other.
    """
    tests = [name for name in ("x_test", "y_test") if arrays.get(name) is not None]
    if len(tests) == 1:
        raise InputError(f"expected both x_test and y_test or neither, got only {tests[0]}")
    of_y = ["y_train", *tests[1:]]
    given = {name: as_array(name, arrays[name]) for name in of_y}
    labels, notes = _as_labels(given, kind)
    encoded, classes = encode(list(labels.items()))
    points, shapes = [], []
    for part, y in zip(("train", "test"), encoded, strict=False):
        x_name, y_name = f"x_{part}", f"y_{part}"
        points.append(as_points(x_name, arrays[x_name]))
        shapes.append(image_shape_of(x_name, arrays[x_name]))
        check_same_rows(x_name, points[-1], y_name, y)
        check_same_index(x_name, arrays[x_name], y_name, arrays[y_name])
    stated = {name: arrays.get(name) for name in ("bounds", "movable", "image_shape")}
    stated["image_shape"] = _one_shape(shapes, stated["image_shape"])
    if not tests:
        return Parts(points[0], encoded[0], None, None, classes, notes, **stated)
    return Parts(points[0], encoded[0], points[1], encoded[1], classes, notes, **stated)


def _one_shape(shapes: list[ImageShape | None], stated: Any) -> Any:
    """The shape of the images of all parts, or what is stated of their rows; InputError where they differ."""
    known = [shape for shape in (*shapes, None if stated is None else tuple(np.ravel(stated).tolist())) if shape]
    if len(set(known)) > 1:
        raise InputError(f"images must have one shape (height, width, channels), got {known[0]} and {known[-1]}")
    return known[0] if known else None


def _as_labels(
    arrays: dict[str, npt.NDArray[np.generic]], kind: Kind | None
) -> tuple[dict[str, npt.NDArray[np.generic]], str]:
    """Labels as integers or text and targets as floating-point numbers, and what was decided in words.

    Whole floating-point numbers in a single column could be either. They are labels if there are 2 to 20 different
    ones that occur twice on average, and the test part holds no others; −1 and 1 mean the same both ways.

    Raises:
        InputError: they can't be what ``kind`` says.
    """
    if any(array.ndim not in (1, 2) or not array.size or array.size != len(array) for array in arrays.values()):
        return arrays, ""
    if kind == "target":
        for name, array in arrays.items():
            if array.dtype.kind not in "biuf":
                raise InputError(f"{name} must hold real targets, got an array of dtype {array.dtype}")
        return {name: array.astype(np.float64) for name, array in arrays.items()}, ""
    floats = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    are_whole = all(map(_is_whole, floats.values()))
    if kind == "label":
        if not are_whole:
            raise InputError(f"{next(iter(floats))} must hold labels, which are whole numbers or text, got others")
    elif len(floats) < len(arrays) or not are_whole or not _look_like_classes(*arrays.values()):
        return arrays, ""
    notes = "whole numbers taken for classes" if floats and kind is None else ""
    return {name: array.astype(np.int64) if name in floats else array for name, array in arrays.items()}, notes


def _is_whole(array: npt.NDArray[np.generic]) -> bool:
    """Whether floating-point numbers are integers, and exact as such."""
    return bool(np.all((array == np.rint(array)) & (np.abs(array) < EXACT_INTEGERS)))


def _look_like_classes(train: npt.NDArray[np.generic], test: npt.NDArray[np.generic] | None = None) -> bool:
    """Whether whole numbers are few and repeat, and those of the test part are among them."""
    found = np.unique(train)
    if np.array_equal(found, [-1.0, 1.0]) or not 2 <= len(found) <= FEW or 2 * len(found) > train.size:
        return False
    return test is None or bool(np.isin(test, found).all())


def assembled(
    source: str, parts: Parts, seed: int, bounds: Any = None, movable: Any = None, given: str = "as given"
) -> Dataset:
    """The data set of a source, split 80/20 with ``seed`` where it has no test part.

    Args:
        source: its name, with a digest: two sources of one name aren't the same data.
        parts: what it holds.
        seed: of the split.
        bounds, movable: as :class:`~ntkrobust.data.Dataset` has them; None for what the source states.
        given: where its training and test parts are from, in words.

    Raises:
        InputError: there are too few points, or one is outside the range.
    """
    x_train, y_train, x_test, y_test = parts[:4]
    if x_test is None or y_test is None:
        train, test = split(len(x_train), TEST_SHARE, np.random.default_rng(seed))
        x_train, y_train, x_test, y_test = x_train[train], y_train[train], x_train[test], y_train[test]
        origin = f"split {1 - TEST_SHARE:.0%} train, {TEST_SHARE:.0%} test with seed {seed}"
    else:
        origin = f"train and test parts {given}"
    task = task_of(y_train, y_test)
    words = ", ".join(filter(None, (describe_task(task, y_train.shape[1]), parts.notes, "not normalized", origin)))
    return Dataset(
        x_train, y_train, x_test, y_test, f"{source}, {words}", task, parts.image_shape, parts.classes,
        parts.bounds if bounds is None else bounds, parts.movable if movable is None else movable,
    )  # fmt: skip
