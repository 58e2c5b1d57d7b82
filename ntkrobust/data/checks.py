"""Checks that turn what arrived into arrays and numbers we can use, or into one sentence."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_choice, check_number, shown
from ntkrobust.data.images import in_rows
from ntkrobust.errors import InputError

Array = npt.NDArray[np.float64]


def as_array(name: str, value: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """``value`` as an array of booleans, integers, real floating-point numbers, or text (dtype kind U).

    Arrays of Python objects are taken where all of these are of one such kind, as columns of pandas often are.

    Raises:
        InputError: it is ragged, has missing entries (masked, None, pandas' NA), or holds anything else (records,
            numbers beside text, complex numbers, dates).
    """
    value = _without_mask(name, value)
    try:
        array = np.asarray(value)
    except TypeError:  # typed keys of JAX, objects that refuse to be one
        raise InputError(f"{name} must be a rectangular array of numbers, got {shown(value)}") from None
    except (ValueError, OverflowError):
        raise InputError(f"{name} must be a rectangular array of numbers, got rows of different lengths") from None
    if array.dtype.names is not None:
        raise InputError(
            f"{name} must hold real numbers, got a structured array of the fields {', '.join(array.dtype.names)}: give "
            "its columns as one array"
        )
    if array.dtype.kind == "O":
        array = _of_objects(name, array)
    elif array.dtype.kind == "T":
        array = array.astype(np.str_)
    elif array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{name} holds bytes that are not text in UTF-8") from None
    if array.dtype.kind not in "biufU":
        raise InputError(f"{name} must hold real numbers, got an array of dtype {array.dtype}")
    return array


def _without_mask(name: str, value: npt.ArrayLike) -> npt.ArrayLike:
    """``value`` without the mask that numpy would drop in silence; InputError if it hides something."""
    if isinstance(value, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in value):
        value = np.ma.asarray(value)
    if not isinstance(value, np.ma.MaskedArray):
        return value
    masked = np.argwhere(np.ma.getmaskarray(value))
    if masked.size:
        raise InputError(
            f"{name} must have no missing entries, but {len(masked)} are masked, the first {_place(masked[0])}"
        )
    return value.data


def _of_objects(name: str, array: npt.NDArray[np.object_]) -> npt.NDArray[np.generic]:
    """An array of Python objects as one of their kind."""
    items = array.ravel().tolist()
    if not items:
        return np.zeros(array.shape)
    are_text = [isinstance(item, str) for item in items]
    if all(are_text):
        return np.array(items, dtype=np.str_).reshape(array.shape)
    wanted = "text" if are_text[0] else "real numbers"
    for item, index, is_text in zip(items, np.ndindex(array.shape), are_text, strict=True):
        is_number = isinstance(item, Real | np.bool_) and not (isinstance(item, float) and math.isnan(item))
        if not (is_text if are_text[0] else is_number):
            place = _place(np.array(index)) if index else "it"
            raise InputError(f"{name} must hold {wanted}, got an array of objects, of which {place} is {item!r:.60}")
    try:
        numbers = np.array(items, dtype=None if all(isinstance(item, Integral | np.bool_) for item in items) else float)
    except OverflowError:
        raise InputError(f"{name} must hold real numbers, got one beyond the range of floats") from None
    if numbers.dtype.kind == "O":
        raise InputError(f"{name} must hold real numbers, got integers beyond 64 bits")
    return numbers.reshape(array.shape)


def _place(index: npt.NDArray[np.intp]) -> str:
    """``"row 3, column 2 (from 0)"``."""
    words = ("row", "column")
    return ", ".join(f"{words[min(axis, 1)]} {at}" for axis, at in enumerate(index)) + " (from 0)"


def as_numeric(name: str, value: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """``value`` as an array of booleans, integers or real floating-point numbers.

    Raises:
        InputError: as :func:`as_array`, or it is text.
    """
    array = as_array(name, value)
    if array.dtype.kind == "U":
        raise InputError(f"{name} must hold real numbers, got an array of dtype {array.dtype}")
    return array


def as_matrix(name: str, value: npt.ArrayLike) -> Array:
    """``value`` (rows, columns) as a read-only, C-contiguous float64 copy; or itself, where it is one.

    Raises:
        InputError: it is not numeric, not two-dimensional, empty, or not finite.
    """
    return _finite_matrix(name, as_numeric(name, value))


def as_inputs(name: str, value: npt.ArrayLike) -> Array:
    """``value``, points (n, d) or images (n, height, width[, channels]), as rows, as :func:`as_matrix` has them.

    Raises:
        InputError: as :func:`as_matrix`, or the channels of images come first.
    """
    return _finite_matrix(name, in_rows(name, as_numeric(name, value)))


def _finite_matrix(name: str, array: npt.NDArray[np.generic]) -> Array:
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"{name} must have shape (rows, columns) with at least one of each, got shape {array.shape}")
    # Nothing else can write into an array that owns its numbers and is read-only: large ones are not copied again.
    is_ours = type(array) is np.ndarray and array.dtype == np.float64 and array.base is None
    if is_ours and array.flags.c_contiguous and not array.flags.writeable:
        matrix: Array = array  # type: ignore[assignment]
    else:
        matrix = np.array(array, dtype=np.float64, order="C")
    bad = np.argwhere(~np.isfinite(matrix))
    if bad.size:
        row, column = bad[0]
        raise InputError(
            f"{name} must be finite, but row {row}, column {column} (counting from 0) is {matrix[row, column]:g}"
        )
    matrix.setflags(write=False)
    return matrix


def as_points(name: str, value: npt.ArrayLike) -> Array:
    """``value`` as :func:`as_inputs`, with a positive norm in every row.

    Raises:
        InputError: as :func:`as_inputs`, or the norm of a row is zero or overflows.
    """
    points = as_inputs(name, value)
    bad = first_bad_norm(points)
    if bad is not None:
        row, norm = bad
        raise InputError(f"every row of {name} must have a positive norm, but that of row {row} (from 0) is {norm:g}")
    return points


def first_bad_norm(points: Array) -> tuple[int, float] | None:
    """The first row of ``points`` (n, d) whose ℓ2 norm is zero or overflows, and that norm; None if there is none.

    Kernels divide by the norm, so it has to exist in float64: a row of 1e-200 has norm zero.
    """
    with np.errstate(over="ignore", under="ignore"):
        norms = np.linalg.norm(points, axis=1)
    rows = np.flatnonzero(~((norms > 0) & np.isfinite(norms)))
    return (int(rows[0]), float(norms[rows[0]])) if rows.size else None


def check_same_rows(x_name: str, x: npt.NDArray[np.generic], y_name: str, y: npt.NDArray[np.generic]) -> None:
    """Raise InputError unless ``x`` and ``y`` have one row per point each."""
    if len(x) != len(y):
        raise InputError(f"{x_name} and {y_name} must have as many rows, got {len(x)} and {len(y)}")


def check_same_index(x_name: str, x: object, y_name: str, y: object) -> None:
    """Raise InputError if both are of pandas and their rows have different names, or the same in another order.

    Only the values are taken, row by row: pandas itself would match the names.
    """
    x_index: Any = getattr(x, "index", None)
    y_index: Any = getattr(y, "index", None)
    if hasattr(x_index, "equals") and hasattr(y_index, "equals") and not x_index.equals(y_index):
        raise InputError(
            f"the rows of {x_name} and {y_name} have different names (their pandas index), and are matched by "
            "position: align them, or give their to_numpy()"
        )


as_real = check_number

as_choice = check_choice
