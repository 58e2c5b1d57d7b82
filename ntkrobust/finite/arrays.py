"""Arrays that users give to finite networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import as_inputs, check_same_index, check_same_rows
from ntkrobust.data.encoding import encode, encode_like
from ntkrobust.data.labels import Classes
from ntkrobust.errors import InputError
from ntkrobust.networks.network import Network, rows_of

SMALLEST = 1e-36
"""Arrays without a larger entry lose digits in single precision, or all of them."""

SQUARED = 1e15
"""Largest entry of what training squares; its inverse is the smallest."""

AT_ONCE = 2**22
"""Numbers that are looked at together."""


def single_precision(name: str, value: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """``value`` (rows, columns), or images, as a float32 array of rows.

    Raises:
        InputError: it is not such an array of finite real numbers, or single precision can't hold them.
    """
    matrix = as_inputs(name, value)
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    if not np.isfinite(single).all():
        raise InputError(f"{name} must fit into single precision, got a number of size {np.abs(matrix).max():g}")
    largest = float(np.max(np.abs(matrix)))
    if 0 < largest < SMALLEST:
        raise InputError(f"{name} must fit into single precision, got no number larger than {largest:g}")
    return single


def check_size(name: str, array: npt.NDArray[np.float32]) -> None:
    """Raise InputError unless float32 holds squares, and products of two, of an array's entries, or all are zero."""
    largest = float(np.max(np.abs(array)))
    if largest and not 1 / SQUARED <= largest <= SQUARED:
        raise InputError(
            f"the largest entry of {name} must be between {1 / SQUARED:g} and {SQUARED:g}, so that training can square "
            f"it in single precision, got {largest:g}: rescale it"
        )


def training_data(
    net: Network, x_train: npt.ArrayLike, y_train: npt.ArrayLike, classes: Sequence[object] | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], Classes | None]:
    """Inputs (n, d) and targets (n, o) as float32 arrays, and the classes of the labels.

    Args:
        net: the network.
        x_train: (n, d) inputs.
        y_train: (n,) labels, or (n, o) targets.
        classes: what labels are encoded with, or what the columns of targets stand for; by default the labels that
            occur, and None for targets.

    Raises:
        InputError: a shape is wrong, something is no finite number, a label is none of the classes, or the targets do
            not have ``net.d_out`` columns.
    """
    inputs = single_precision("x_train", rows_of(net, x_train))
    (targets,), known = encode([("y_train", y_train)], classes)
    check_same_index("x_train", x_train, "y_train", y_train)
    return inputs, _fitting(net, inputs, targets, "train"), known


def finite_networks(snapshots: Iterable[Iterable[npt.NDArray[np.float32]]]) -> npt.NDArray[np.bool_]:
    """Whether every parameter is a finite number (seed,), from arrays with a leading seed axis; in pieces, since what
    says so of each takes a quarter of their memory."""
    sound: npt.NDArray[np.bool_] = np.array(True)
    for leaf in (leaf for snapshot in snapshots for leaf in snapshot):
        array = np.asarray(leaf)
        rows = max(1, AT_ONCE * len(array) // max(array.size, 1))
        parts = [np.isfinite(array[start : start + rows]) for start in range(0, len(array), rows)]
        sound = sound & np.concatenate([part.all(axis=tuple(range(1, part.ndim))) for part in parts])
    return sound


def check_data(
    net: Network,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    part: str,
    y_train: npt.NDArray[np.floating],
    classes: Classes | None,
    d_in: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Inputs x_part (n, d) and targets y_part (n, o) as float32 arrays, of other points than those of training.

    Labels mean what they meant in training, with the targets ``y_train`` and the ``classes``.

    Raises:
        InputError: a shape is wrong, something is no finite number, a label is none of training's, the inputs do not
            have ``d_in`` columns, or the targets do not have ``net.d_out``.
    """
    x_name, y_name = f"x_{part}", f"y_{part}"
    inputs = single_precision(x_name, rows_of(net, x))
    targets = encode_like(y_name, y, y_train, classes)
    check_same_index(x_name, x, y_name, y)
    if inputs.shape[1] != d_in:
        raise InputError(f"{x_name} must have shape (n, {d_in}), got {inputs.shape}")
    return inputs, _fitting(net, inputs, targets, part)


def _fitting(
    net: Network, inputs: npt.NDArray[np.float32], targets: npt.ArrayLike, part: str
) -> npt.NDArray[np.float32]:
    """Targets of this part in single precision; InputError unless they fit the inputs and the network."""
    x_name, y_name = f"x_{part}", f"y_{part}"
    single = single_precision(y_name, targets)
    check_same_rows(x_name, inputs, y_name, single)
    if single.shape[1] != net.d_out:
        wanted = single.shape[1]
        raise InputError(
            f"{y_name} has {wanted} output column(s) and the network has d_out={net.d_out}: make it with d_out={wanted}"
        )
    return single


def as_radius(epsilon: float, x: npt.NDArray[np.float32]) -> np.float32:
    """A positive radius in single precision, around inputs x (n, d).

    Raises:
        InputError: single precision has it as infinite, or as too small to move any coordinate of an input.
    """
    with np.errstate(over="ignore", under="ignore"):
        radius = np.float32(epsilon)
        stuck = np.flatnonzero((x + radius == x).all(axis=1)) if np.isfinite(radius) else np.arange(1)
    if stuck.size:
        problem = f"moves no coordinate of row {stuck[0]} (from 0)" if np.isfinite(radius) else "is infinite"
        raise InputError(f"epsilon must be a radius in single precision, and {epsilon:g} {problem} there")
    return radius
