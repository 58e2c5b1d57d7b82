"""From labels to real targets, and the classes that the labels stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import Array, as_array, as_matrix
from ntkrobust.data.dataset import Task
from ntkrobust.data.labels import Classes, check_classes, classes_in, shown_classes
from ntkrobust.errors import InputError

MAX_CLASSES = 1000
"""More distinct integers than this are taken for a regression target stored as integers, and refused."""


@overload
def targets(y: npt.ArrayLike, *, classes: Sequence[object] | None = None) -> Array: ...
@overload
def targets(
    y: npt.ArrayLike, y_test: npt.ArrayLike, *, classes: Sequence[object] | None = None
) -> tuple[Array, Array]: ...
def targets(
    y: npt.ArrayLike, y_test: npt.ArrayLike | None = None, *, classes: Sequence[object] | None = None
) -> Array | tuple[Array, Array]:
    """Labels or targets as real targets, a read-only float64 array of shape (n, o).

    - Labels of shape (n,) or (n, 1), which are integers, booleans or text: two classes become ±1 in one column, the
      smaller label −1; C > 2 classes become one-hot rows of length C, columns in the order of the sorted labels.
    - Floating-point arrays stay as they are; (n,) becomes (n, 1).
    - Integer arrays (n, o) with o > 1 are taken as given: one-hot already, or real targets.

    With ``y_test``, a pair: both are encoded with the classes of ``y``, the training labels. With ``classes``, labels
    are encoded with these, in this order, whether or not all of them occur: ``targets(y, classes=run.classes)``.

    Raises:
        InputError: neither numbers nor text, of another shape, empty or not finite; one class only, or more than 1000;
            a label that is none of the classes; ``y_test`` is of the other sort, or has another number of columns.
    """
    if y_test is None:
        return encode([("y", y)], classes)[0][0]
    encoded, _ = encode([("y_train", y), ("y_test", y_test)], classes)
    return encoded[0], encoded[1]


def task_of(*encoded: npt.NDArray[np.floating]) -> Task:
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


def encode(
    named: list[tuple[str, npt.ArrayLike]], classes: Sequence[object] | None = None
) -> tuple[list[Array], Classes | None]:
    """Each array as :func:`targets` has it, and the classes: those given, or of the first array; None for targets.

    The names are for the sentences of :class:`InputError`.
    """
    columns = [(name, _as_columns(name, value)) for name, value in named]
    first_name, first = columns[0]
    for name, array in columns[1:]:
        if _are_labels(array) != _are_labels(first):
            raise InputError(
                f"{first_name} and {name} must both hold labels or both hold real targets of one width, "
                f"got {_describe(first)} and {_describe(array)}"
            )
        if array.shape[1] != first.shape[1]:
            raise InputError(
                f"{first_name} and {name} must have as many columns, got {first.shape[1]} and {array.shape[1]}"
            )
    known = None if classes is None else check_classes(classes)
    if not _are_labels(first):
        found = [as_matrix(name, array) for name, array in columns]
        if known is not None and found[0].shape[1] not in {len(known), 1 if len(known) == 2 else len(known)}:
            raise InputError(
                f"{first_name} has {found[0].shape[1]} column(s) of targets, which are not those of the "
                f"{len(known)} classes {shown_classes(known)}"
            )
        return found, known
    if known is not None:
        return [_by_classes(name, array[:, 0], known, "classes") for name, array in columns], known
    known = classes_in(first)
    if len(known) == 1:
        raise InputError(f"{first_name} must hold labels of at least two classes, got only the label {known[0]}")
    if len(known) > MAX_CLASSES:
        raise InputError(
            f"{first_name} must hold labels of at most {MAX_CLASSES} classes, got {len(known)} distinct ones: "
            "for regression, give floating-point targets (of a .csv file, name the column as FILE.csv:target=NAME)"
        )
    return [_by_classes(name, array[:, 0], known, first_name) for name, array in columns], known


def encode_like(
    name: str,
    value: npt.ArrayLike,
    y_train: npt.NDArray[np.floating],
    classes: Classes | None,
    only_class: bool = False,
) -> Array:
    """Labels or targets of other points, as networks trained on ``y_train`` mean them.

    Labels are encoded by the classes of training, whichever of them occur. Where training had real targets, there are
    natural ones: −1 and 1, or 0 and 1, for targets ±1 in one column; 0 … o−1 for several columns. Floating-point arrays
    are targets of training's form; or labels, where they can't be such targets. Integers (n, o), o > 1, are targets.

    Args:
        name: of the array, for sentences.
        value: (n,), (n, 1) or (n, o).
        y_train: (m, o) training targets.
        classes: of training, or None.
        only_class: whether nothing but the class matters, which for one output is the sign.

    Returns:
        Targets (n, o), read-only.

    Raises:
        InputError: it holds a label that training never saw, or could mean two things; or as for :func:`targets`.
    """
    columns = _as_columns(name, value)
    o = y_train.shape[1]
    if value is y_train:  # these are targets, whatever the classes are called
        return as_matrix(name, columns)
    if columns.shape[1] > 1:
        return as_matrix(name, columns)
    column = columns[:, 0]
    if column.dtype.kind == "f":
        as_matrix(name, columns)  # finite
    if classes is None:
        return _by_nature(name, column, y_train, only_class)
    if column.dtype.kind != "f":
        if o == 1 and classes == (0, 1) and column.dtype.kind != "U" and np.isin(column, (-1, 1)).all():
            return _frozen(column.astype(np.float64)[:, None])  # 1 is 1 either way, and −1 can only mean 0
        return _by_classes(name, column, classes, "training", o)
    # As floating-point numbers, targets ±1 and labels can look alike.
    are_labels = not isinstance(classes[0], str) and bool(np.isin(column, np.array(classes)).all())
    are_signs = o == 1 and bool(np.isin(column, (-1.0, 1.0)).all())
    as_labels = _by_classes(name, column, classes, "training", o) if are_labels or not are_signs else None
    if not are_signs:
        assert as_labels is not None
        return as_labels
    as_targets = as_matrix(name, columns)
    if as_labels is not None and not np.array_equal(as_labels, as_targets):
        raise InputError(
            f"{name} holds floating-point numbers that are labels out of {shown_classes(classes)} as well as targets "
            "±1: give labels as integers"
        )
    return as_targets


def _by_nature(
    name: str, column: npt.NDArray[np.generic], y_train: npt.NDArray[np.floating], only_class: bool
) -> Array:
    """Labels or targets (n, o) where training had real targets y_train (m, o)."""
    o = y_train.shape[1]
    if column.dtype.kind == "U":
        raise InputError(
            f"{name} holds text, such as {str(column[0])!r}, and training had real targets: encode both with "
            "data.targets(), or give train(..., classes=...)"
        )
    if o > 1:
        if not only_class and task_of(y_train) == "regression":
            raise InputError(
                f"{name} must have shape ({len(column)}, {o}), got ({len(column)}, 1): training had real targets, "
                "among which labels have no meaning"
            )
        _refuse_others(name, column, np.isin(column, np.arange(o)), f"integers from 0 to {o - 1}")
        return _frozen((column[:, None] == np.arange(o)).astype(np.float64))
    trained_on_signs = bool(np.isin(y_train, (-1.0, 1.0)).all())
    lowest = 0 if (column == 0).any() else -1
    fits = np.isin(column, (lowest, 1))
    if column.dtype.kind == "f" and not only_class and not (trained_on_signs and fits.all()):
        return as_matrix(name, column[:, None])
    if not trained_on_signs and not only_class and (lowest == 0 or not fits.all()):
        raise InputError(
            f"{name} holds integers and training had real targets: give targets as floating-point numbers, or labels "
            "-1 and 1"
        )
    _refuse_others(name, column, fits, "-1 and 1, or 0 and 1, for a network with one output")
    if lowest == 0 and not trained_on_signs and np.min(y_train) >= 0 and np.max(y_train) > 0:
        raise InputError(
            f"{name} holds the label 0 and training had no negative target, so no output means it: train with integer "
            "labels, or with targets -1 and 1"
        )
    return _frozen(np.where(column == 0, -1, column).astype(np.float64)[:, None])


def check_have_classes(name: str, y: npt.NDArray[np.floating]) -> None:
    """Raise InputError unless every row of the targets (n, o) has a class: a sign, or a single largest entry."""
    has_none = y[:, 0] == 0 if y.shape[1] == 1 else (y == y.max(axis=1, keepdims=True)).sum(axis=1) > 1
    if has_none.any():
        row = int(np.argmax(has_none))
        expected = "a sign" if y.shape[1] == 1 else "one largest entry"
        shown = f"{y[row, 0]:g}" if y.shape[1] == 1 else str(y[row].tolist())
        raise InputError(
            f"accuracies are about classes, so every target must have {expected}, but row {row} (from 0) of {name} is "
            f"{shown}: give labels as integers"
        )


def _as_columns(name: str, value: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """Numbers or text of shape (n, o)."""
    array = as_array(name, value)
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"{name} must have shape (n,) or (n, o) and not be empty, got shape {array.shape}")
    columns = array[:, None] if array.ndim == 1 else array
    if columns.dtype.kind == "U" and columns.shape[1] > 1:
        raise InputError(f"{name} must hold one label per row where labels are text, got shape {columns.shape}")
    return columns


def _are_labels(columns: npt.NDArray[np.generic]) -> bool:
    return columns.dtype.kind in "biuU" and columns.shape[1] == 1


def _describe(columns: npt.NDArray[np.generic]) -> str:
    return f"{'labels' if _are_labels(columns) else 'targets'} of dtype {columns.dtype} and shape {columns.shape}"


def _by_classes(
    name: str, labels: npt.NDArray[np.generic], classes: Classes, source: str, o: int | None = None
) -> Array:
    """Targets (n, o) of labels (n,); two classes take one column of ±1 unless there are two outputs."""
    known = np.array(classes)
    of_one_kind = (labels.dtype.kind == "U") == (known.dtype.kind == "U")
    # Comparing with each class, rather than looking indices up, stays right for mixed integer types.
    member = labels[:, None] == known[None, :] if of_one_kind else np.zeros((len(labels), len(known)), dtype=bool)
    unseen = np.flatnonzero(~member.any(axis=1))
    if unseen.size:
        row = unseen[0]
        label = labels[row].item()
        shown = repr(label) if isinstance(label, str) else str(label)
        raise InputError(
            f"{name} must hold labels that occur in {source}, {shown_classes(classes)}, "
            f"but row {row} (from 0) is {shown}"
        )
    in_signs = len(classes) == 2 and o != 2
    return _frozen(np.where(member[:, 1:], 1.0, -1.0) if in_signs else member.astype(np.float64))


def _refuse_others(name: str, labels: npt.NDArray[np.generic], allowed: npt.NDArray[np.bool_], words: str) -> None:
    if not allowed.all():
        row = int(np.argmin(allowed))
        raise InputError(f"{name} must hold labels {words}, but row {row} (from 0) is {labels[row]:g}")


def _frozen(y: Array) -> Array:
    y.setflags(write=False)
    return y
