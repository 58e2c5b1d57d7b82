"""Checks that turn what arrived into arrays and numbers we can use, or into one sentence."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError

Array = npt.NDArray[np.float64]


def as_numeric(name: str, value: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """``value`` as an array of booleans, integers or real floating-point numbers.

    Raises:
        InputError: it is ragged, or holds anything else (text, objects, complex numbers, dates).
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} must be a rectangular array of numbers, got rows of different lengths") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold real numbers, got an array of dtype {array.dtype}")
    return array


def as_matrix(name: str, value: npt.ArrayLike) -> Array:
    """``value`` (rows, columns) as a read-only, C-contiguous float64 copy.

    Raises:
        InputError: it is not numeric, not two-dimensional, empty, or not finite.
    """
    array = as_numeric(name, value)
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"{name} must have shape (rows, columns) with at least one of each, got shape {array.shape}")
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
    """``value`` (n, d) as :func:`as_matrix`, with a positive norm in every row.

    Raises:
        InputError: as :func:`as_matrix`, or the norm of a row is zero or overflows.
    """
    points = as_matrix(name, value)
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


def as_real(name: str, value: object) -> float:
    """``value`` as a finite float; InputError otherwise."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def as_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """``value`` if it is one of ``choices``; InputError otherwise."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value
