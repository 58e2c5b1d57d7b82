"""What the design of a study asks of a data set: how long inputs are, and how far apart classes lie."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import Array
from ntkrobust.errors import InputError
from ntkrobust.norms import Norm

MOST_POINTS = 512
"""Points from which distances are measured, at most."""

MOST_NEIGHBOURS = 2048
"""Points among which the nearest is looked for, at most."""

_METRICS = {"linf": "chebyshev", "l2": "euclidean", "l1": "cityblock"}
_BLOCK = 2**20


def root_mean_square_norm(x: Array) -> float:
    """√(1/n Σ_i ‖x_i‖²) of inputs x (n, d)."""
    rows = max(_BLOCK // x.shape[1], 1)
    unit = _power_of_two(x)
    total = 0.0
    for start in range(0, len(x), rows):
        block = x[start : start + rows] / unit
        total += float(np.einsum("ij,ij->", block, block))
    return unit * float(np.sqrt(total / len(x)))


def class_of_points(y: Array) -> npt.NDArray[np.intp]:
    """The class (n,) of points with targets y (n, o): the sign of a single column, or else the largest column."""
    return (y[:, 0] > 0).astype(np.intp) if y.shape[1] == 1 else np.argmax(y, axis=1)


def median_class_distance(x: Array, classes: npt.NDArray[np.intp], norm: Norm) -> float:
    """The median over i of min {‖x_i − x_j‖ : the class of j is another than that of i}.

    Of more than :data:`MOST_POINTS` points i, so many are drawn; of more than :data:`MOST_NEIGHBOURS` points j, so many
    are taken, from each class in turn, so that those of a small class are all among them. The draw has seed 0. Fewer
    points j mean a larger distance to the nearest one.

    Args:
        x: (n, d) inputs.
        classes: (n,).
        norm: of the difference.

    Raises:
        InputError: there is one class only, or the median is zero.
    """
    # Imported here because it takes a while, which only those who ask for distances should wait for.
    from scipy.spatial.distance import cdist

    if np.all(classes == classes[0]):
        raise InputError(
            "the distance between classes takes training points of two classes (or with real targets of both signs), "
            "got one class"
        )
    order = np.random.default_rng(0).permutation(len(x))
    seen, others = order[:MOST_POINTS], _in_turn(order, classes)[:MOST_NEIGHBOURS]
    # Squares of small and large inputs would leave the range of floats; a power of two changes no digit.
    unit = _power_of_two(x)
    distances = cdist(x[seen] / unit, x[others] / unit, _METRICS[norm])
    distances[classes[seen][:, None] == classes[others][None, :]] = np.inf
    median = unit * float(np.median(distances.min(axis=1)))
    if not median:
        raise InputError(
            "the distance between classes must be positive, but at least half of the training points coincide with "
            "points of another class"
        )
    return median


def _in_turn(order: npt.NDArray[np.intp], classes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """``order`` (n,) rearranged: the first point of each class, then the second of each, and so on."""
    by_class = np.argsort(classes[order], kind="stable")
    of_class = classes[order][by_class]
    first = np.flatnonzero(np.r_[True, of_class[1:] != of_class[:-1]])
    sizes = np.diff(np.r_[first, len(order)])
    turn = np.empty(len(order), dtype=np.intp)
    turn[by_class] = np.arange(len(order)) - np.repeat(first, sizes)
    return order[np.argsort(turn, kind="stable")]


def _power_of_two(x: Array) -> float:
    """The power of two next above the largest entry in size; 1 where all are zero."""
    largest = max(-float(np.min(x)), float(np.max(x)))
    return float(np.ldexp(1.0, int(np.frexp(largest)[1])))
