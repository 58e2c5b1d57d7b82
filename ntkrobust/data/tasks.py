"""From class labels to the task that is asked of them, and from pixels to inputs: what all images share."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_integer
from ntkrobust.data.checks import Array, as_choice, first_bad_norm
from ntkrobust.data.labels import Classes, classes_in
from ntkrobust.domain import Bounds, check_bounds
from ntkrobust.errors import InputError

LabelTask = Literal["classes", "parity", "one-vs-rest"]
Normalization = Literal["unit", "pixel", "raw"]

LABEL_TASKS = ("parity", "classes", "one-vs-rest")
NORMALIZATIONS = ("unit", "pixel", "raw")


def check_task(task: object, positive: object, normalization: object) -> None:
    """Raise InputError unless the names are known, and ``positive`` is given only for the task that it belongs to."""
    as_choice("task", task, LABEL_TASKS)
    as_choice("normalization", normalization, NORMALIZATIONS)
    if check_integer("positive", positive, 0) and task != "one-vs-rest":
        raise InputError(f"positive chooses a class for the task one-vs-rest only, got {positive} for the task {task}")


def labels_of_task(task: str, positive: int, labels: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], str]:
    """The labels of a task and its description.

    Args:
        task: ``"parity"`` (even 1, odd 0), ``"classes"`` (as they are) or ``"one-vs-rest"`` (``positive`` 1, others 0).
        positive: the class of ``"one-vs-rest"``.
        labels: (n,).
    """
    if task == "parity":
        return (labels % 2 == 0).astype(np.int64), "even (+1) against odd (-1)"
    if task == "one-vs-rest":
        return (labels == positive).astype(np.int64), f"{positive} (+1) against the rest (-1)"
    classes = np.unique(labels)
    first, last = int(classes[0]), int(classes[-1])
    all_of_them = last - first + 1 == len(classes)
    return labels, f"classes {first}..{last}" if all_of_them else f"{len(classes)} classes of {first}..{last}"


def classes_of_task(task: str, labels: npt.NDArray[np.int64]) -> Classes | None:
    """The classes (sorted labels) of the task ``"classes"``; None for the others, which merge labels into ±1."""
    return classes_in(labels) if task == "classes" else None


def pixel_bounds(normalization: str, largest: int, d: int) -> Bounds | None:
    """The range of inputs (n, d) that :func:`normalized` makes of pixels 0..largest; rows of unit norm have none."""
    return check_bounds({"unit": None, "pixel": (0, 1), "raw": (0, largest)}[normalization], d)


def normalized(pixels: npt.NDArray[np.generic], normalization: str, largest: int) -> tuple[Array, str]:
    """Inputs (n, d) from pixels 0..largest, and the words for what was done.

    ``"unit"``: each image divided by its ℓ2 norm; ``"pixel"``: divided by ``largest``; ``"raw"``: as they are.

    Raises:
        InputError: an image is black, which has no direction.
    """
    x = np.array(pixels, dtype=np.float64)
    bad = first_bad_norm(x)
    if bad is not None:
        raise InputError(f"expected images with at least one pixel that is not 0, but image {bad[0]} (from 0) is black")
    if normalization == "unit":
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x, "rows of unit norm"
    if normalization == "pixel":
        x /= largest
        return x, "pixels in [0, 1]"
    return x, f"pixels in 0..{largest}"
