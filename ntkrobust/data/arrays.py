"""The user's own arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_choice, check_integer
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.labels import Kind
from ntkrobust.data.parts import Parts, assembled, parts_of
from ntkrobust.errors import InputError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
"""What the arrays of a data set are called, and their order."""


def arrays_in(value: object) -> dict[str, Any] | None:
    """Arrays by name, where several are given together; None for everything else, rows of one array too.

    Several are a tuple (x, y) or (x_train, y_train, x_test, y_test), or a mapping with these names, as ``numpy.load``
    gives it.
    """
    if isinstance(value, Mapping) and {"x_train", "y_train"} <= set(value):
        return {name: value[name] for name in ARRAYS if name in value}
    if isinstance(value, tuple) and len(value) in (2, 4) and _dimensions(value[0]) >= 2:
        return dict(zip(ARRAYS, value, strict=False))
    return None


def _dimensions(value: Any) -> int:
    try:
        return np.ndim(value)
    except ValueError:  # rows of different lengths
        return 2


def from_arrays(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    x_test: npt.ArrayLike | None = None,
    y_test: npt.ArrayLike | None = None,
    *,
    name: str = "arrays",
    kind: Kind | None = None,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
    image_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> Dataset:
    """A data set of arrays (of numpy, pandas, xarray, JAX, or lists); inputs are taken as they are, not normalized.

    Labels (integers, booleans, text) and floating-point targets are told apart as in
    :func:`~ntkrobust.data.targets`. A column of floating-point numbers that are all whole holds labels if there are 2
    to 20 different ones that occur twice on average, unless ``kind`` says that they are targets; −1 and 1 mean the same
    both ways. The task is classification for labels, and for targets that are ±1 or one-hot already.

    Args:
        x: (n, d) inputs, of training where there are test points, or images (n, height, width[, channels]).
        y: (n,) labels or (n, o) targets.
        x_test: (n', d) test inputs. Without them, the points are shuffled and split 80/20; the classes are those of
            all points.
        y_test: (n',) or (n', o), with ``x_test``.
        name: what the data are called; a digest of the numbers is added.
        kind: what whole numbers in ``y`` are: ``"label"``, ``"target"``, or None for the rule above.
        bounds, movable, image_shape: as in :class:`~ntkrobust.data.Dataset`.
        seed: of the split.

    Raises:
        InputError: they are no points and targets that fit each other; the sentence names the array, and the row and
            column, counting from 0.
    """
    check_integer("seed", seed, 0, maximum=LARGEST_SEED)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"name must be a text that says what the data are, got {name!r}")
    if kind is not None:
        check_choice("kind", kind, ("label", "target"))
    arrays: dict[str, Any] = dict(zip(ARRAYS, (x, y, x_test, y_test), strict=True))
    stated = {"bounds": bounds, "movable": movable, "image_shape": image_shape}
    parts = parts_of(arrays | stated, kind)
    return assembled(f"{name} (sha256 {_digest(parts)})", parts, seed)


def _digest(parts: Parts) -> str:
    """12 digits that tell these numbers from others."""
    digest = hashlib.sha256()
    for array in parts[:4]:
        if array is not None:
            digest.update(repr(array.shape).encode())
            digest.update(array.data)
    return digest.hexdigest()[:12]
