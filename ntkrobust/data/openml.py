"""Data sets of openml.org, downloaded by scikit-learn into its cache: only where one is asked for by name."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_integer
from ntkrobust.data.checks import as_points
from ntkrobust.data.dataset import TEST_SHARE, Dataset, split
from ntkrobust.data.encoding import describe_task, encode, targets, task_of
from ntkrobust.data.tasks import (
    LabelTask,
    Normalization,
    check_task,
    classes_of_task,
    labels_of_task,
    normalized,
    pixel_bounds,
)
from ntkrobust.errors import InputError

IMAGE_SHAPES = {"mnist_784": (28, 28, 1), "Fashion-MNIST": (28, 28, 1)}
"""Height, width and channels of the images that are known to be such. (CIFAR_10 there has its colours first.)"""

_LARGEST = 255


def from_openml(
    name: str,
    version: int = 1,
    task: LabelTask = "classes",
    positive: int = 0,
    normalization: Normalization = "unit",
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> Dataset:
    """A data set of openml.org, split 80/20 with ``seed``.

    The first call downloads it, later ones read scikit-learn's cache and need no network
    (``sklearn.datasets.fetch_openml``). Nothing else in this package goes to a network.

    Args:
        name: as on openml.org, such as ``"mnist_784"``.
        version: as on openml.org.
        task: ``"classes"`` (one-hot; two classes ±1; real targets as they are), or where labels are integers
            ``"parity"`` (even +1, odd −1) or ``"one-vs-rest"`` (the class ``positive`` +1, all others −1).
        positive: a class that occurs, for ``"one-vs-rest"``.
        normalization: ``"unit"`` (each row divided by its ℓ2 norm), ``"pixel"`` (divided by 255, with ``bounds``
            [0, 1]), or ``"raw"`` (with ``bounds`` [0, 255] for images that are known as such).
        seed: of the split.
        cache: scikit-learn's data folder, by default ``~/scikit_learn_data`` or what ``SCIKIT_LEARN_DATA`` says.

    Raises:
        InputError: it can't be downloaded and is not in the cache, inputs are no finite numbers or have a row of norm
            zero, pixels are not 0..255, or the task needs integer labels.
    """
    check_task(task, positive, normalization)
    check_integer("seed", seed, 0, maximum=LARGEST_SEED)
    check_integer("version", version, 1)
    if not isinstance(name, str) or not name:
        raise InputError(f"an OpenML data set must be given by its name, got {name!r}")
    try:
        return _dataset(_fetch(name, version, cache), name, version, task, positive, normalization, seed)
    except InputError as error:
        raise InputError(f"OpenML data {name!r}, version {version}: {error}") from None


def _fetch(name: str, version: int, cache: str | os.PathLike[str] | None) -> Any:
    # Imported here because it takes a second, which only those who ask for this should wait for.
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings():
            # It says so again when it gives up, and then we do.
            warnings.filterwarnings("ignore", "A network error occurred")
            # The parser through pandas fails on classes that are numbers, such as MNIST's, with pandas 3.1
            # (scikit-learn issue 34892). This one is slower: MNIST takes minutes.
            return fetch_openml(name, version=version, data_home=cache, as_frame=False, parser="liac-arff", n_retries=1)
    except OSError as error:  # no network, a refusing server, a folder that can't be written to
        reason = getattr(error, "reason", None) or error.strerror or error
        raise InputError(f"it is not in the cache and can't be downloaded ({reason})") from None
    except Exception as error:  # no such name, a table that has no place in an array, an answer of another form
        raise InputError(
            f"scikit-learn can't read it ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from None


def _dataset(found: Any, name: str, version: int, task: str, positive: int, normalization: str, seed: int) -> Dataset:
    rows = as_points("the inputs", found.data)
    low, high = np.min(rows), np.max(rows)
    if normalization == "pixel" and (low < 0 or high > _LARGEST):
        raise InputError(f"expected pixels in 0..{_LARGEST}, got numbers from {low:g} to {high:g}")
    x, words = normalized(rows, normalization, _LARGEST)
    if normalization == "raw":
        words = "not normalized"
    if getattr(found.target, "ndim", 0) != 1:
        raise InputError("expected one target per row, got " + ("none" if found.target is None else "several"))
    labels = _integers(found.target)
    if labels is None:
        if task != "classes":
            raise InputError(f"the task {task} takes integer labels, got such as {str(found.target[0])!r}")
        (y,), classes = encode([("the target", found.target)])
        described = describe_task(task_of(y), y.shape[1])
    else:
        classes = classes_of_task(task, labels)
        labels, described = labels_of_task(task, positive, labels)
        y = targets(labels)
    train, test = split(len(x), TEST_SHARE, np.random.default_rng(seed))
    origin = f"split {1 - TEST_SHARE:.0%} train, {TEST_SHARE:.0%} test with seed {seed}"
    title = f"OpenML {name}, version {version}, {described}, {words}, {origin}"
    # Numbers as they come are pixels only where the data are known to be images.
    are_pixels = normalization == "pixel" or name in IMAGE_SHAPES
    bounds = pixel_bounds(normalization, _LARGEST, x.shape[1]) if are_pixels else None
    return Dataset(
        x[train], y[train], x[test], y[test], title, task_of(y), IMAGE_SHAPES.get(name), classes=classes, bounds=bounds
    )


def _integers(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64] | None:
    """Labels that are integers or their names (n,); None for others, and for real targets."""
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        return None
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (TypeError, ValueError):
        return None
