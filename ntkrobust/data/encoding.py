"""From labels to real targets."""

from __future__ import annotations

from typing import overload

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import Array, as_matrix, as_numeric
from ntkrobust.data.dataset import Task
from ntkrobust.errors import InputError

MAX_CLASSES = 1000
"""More distinct integers than this are taken for a regression target stored as integers, and refused."""


@overload
def targets(y: npt.ArrayLike) -> Array: ...
@overload
def targets(y: npt.ArrayLike, y_test: npt.ArrayLike) -> tuple[Array, Array]: ...
def targets(y: npt.ArrayLike, y_test: npt.ArrayLike | None = None) -> Array | tuple[Array, Array]:
    """Labels or targets as real targets, a read-only float64 array of shape (n, o).

    - Integer (or boolean) labels of shape (n,) or (n, 1): two classes become ±1 in one column, the smaller label −1;
      C > 2 classes become one-hot rows of length C, columns in the order of the sorted labels.
    - Floating-point arrays stay as they are; (n,) becomes (n, 1).
    - Integer arrays (n, o) with o > 1 are taken as given: one-hot already, or real targets.

    With ``y_test``, a pair: both are encoded with the classes of ``y``, the training labels.

    Raises:
        InputError: not numeric, of another shape, empty or not finite; one class only, or more than 1000; ``y_test``
            holds a label that ``y`` doesn't, is of the other sort, or has another number of columns.
    """
    if y_test is None:
        return encode([("y", y)])[0]
    encoded = encode([("y_train", y), ("y_test", y_test)])
    return encoded[0], encoded[1]


def task_of(*encoded: Array) -> Task:
    """``"classification"`` for targets ±1 in one column (both occur) or one-hot rows; ``"regression"`` otherwise."""
    y = np.concatenate(encoded)
    if y.shape[1] == 1:
        return "classification" if np.array_equal(np.unique(y), [-1.0, 1.0]) else "regression"
    one_hot = np.isin(y, (0.0, 1.0)).all() and (y.sum(axis=1) == 1.0).all()
    return "classification" if one_hot else "regression"


def describe_task(task: Task, o: int) -> str:
    """``"classification into 3 classes"`` or ``"regression with 1 output"``."""
    if task == "classification":
        return f"classification into {max(o, 2)} classes"
    return f"regression with {o} output{'s' if o > 1 else ''}"


def encode(named: list[tuple[str, npt.ArrayLike]]) -> list[Array]:
    """Each array as :func:`targets` has it, with the classes of the first; the names are for its sentences."""
    columns = [(name, _as_columns(name, value)) for name, value in named]
    first_name, first = columns[0]
    for name, array in columns[1:]:
        if _are_labels(array) != _are_labels(first):
            raise InputError(
                f"{first_name} and {name} must both hold integer labels or both hold real targets of one width, "
                f"got {_describe(first)} and {_describe(array)}"
            )
        if array.shape[1] != first.shape[1]:
            raise InputError(
                f"{first_name} and {name} must have as many columns, got {first.shape[1]} and {array.shape[1]}"
            )
    if not _are_labels(first):
        return [as_matrix(name, array) for name, array in columns]
    classes = np.unique(first)
    if len(classes) == 1:
        raise InputError(f"{first_name} must hold labels of at least two classes, got only the label {classes[0]}")
    if len(classes) > MAX_CLASSES:
        raise InputError(
            f"{first_name} must hold labels of at most {MAX_CLASSES} classes, got {len(classes)} distinct integers: "
            "for regression, give floating-point targets (in a file: a floating-point array in an .npz)"
        )
    return [_labels_to_targets(name, array[:, 0], classes, first_name) for name, array in columns]


def _as_columns(name: str, value: npt.ArrayLike) -> npt.NDArray[np.generic]:
    array = as_numeric(name, value)
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"{name} must have shape (n,) or (n, o) and not be empty, got shape {array.shape}")
    return array[:, None] if array.ndim == 1 else array


def _are_labels(columns: npt.NDArray[np.generic]) -> bool:
    return columns.dtype.kind in "biu" and columns.shape[1] == 1


def _describe(columns: npt.NDArray[np.generic]) -> str:
    return f"{'labels' if _are_labels(columns) else 'targets'} of dtype {columns.dtype} and shape {columns.shape}"


def _labels_to_targets(
    name: str, labels: npt.NDArray[np.generic], classes: npt.NDArray[np.generic], source: str
) -> Array:
    unseen = np.flatnonzero(~np.isin(labels, classes))
    if unseen.size:
        row = unseen[0]
        raise InputError(f"{name} must hold labels that occur in {source}, but row {row} (from 0) is {labels[row]}")
    # Comparing with each class, rather than looking indices up, stays right for mixed integer types.
    member = labels[:, None] == classes[None, :]
    encoded = np.where(member[:, 1:], 1.0, -1.0) if len(classes) == 2 else member.astype(np.float64)
    encoded.setflags(write=False)
    return encoded
