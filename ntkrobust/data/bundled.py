"""Data that come with an installed library: scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_integer
from ntkrobust.data.checks import Array, as_real
from ntkrobust.data.dataset import Dataset, split
from ntkrobust.data.encoding import targets
from ntkrobust.data.label_noise import check_label_noise, with_label_noise
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

SHAPE = (8, 8, 1)
"""Height, width and channels of an image of a digit."""

_LARGEST = 16


def digits(
    task: LabelTask = "parity",
    positive: int = 0,
    normalization: Normalization = "unit",
    test_share: float = 0.2,
    label_noise: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """The 1797 handwritten digits of scikit-learn: 8×8 grey images, d = 64.

    Args:
        task: ``"parity"`` (even +1, odd −1), ``"classes"`` (one-hot, o = 10), or ``"one-vs-rest"`` (the digit
            ``positive`` +1, all others −1).
        positive: the digit 0..9 of ``"one-vs-rest"``.
        normalization: ``"unit"`` (each image divided by its ℓ2 norm), ``"pixel"`` (divided by 16, so in [0, 1]), or
            ``"raw"`` (0..16). The latter two have that range as ``bounds``.
        test_share: share of the points in the test part, in (0, 1), of a seeded random split (not stratified).
        label_noise: share of the *training* labels that are wrong, in [0, 1): round(label_noise·n) of them have the
            sign flipped, or for ``"classes"`` a class drawn uniformly from the nine others.
        seed: an integer ≥ 0. The split depends on it and on ``test_share`` alone; with more label noise the labels
            already wrong stay the same.

    Raises:
        InputError: an argument is out of its range.
    """
    check_task(task, positive, normalization)
    if positive > 9:
        raise InputError(f"positive must be a digit from 0 to 9, got {positive}")
    test_share = as_real("test_share", test_share)
    if not 0 < test_share < 1:
        raise InputError(f"test_share must lie strictly between 0 and 1, got {test_share}")
    check_label_noise(label_noise)
    rng = np.random.default_rng(check_integer("seed", seed, 0, maximum=LARGEST_SEED))

    images, digit = _load()
    train, test = split(len(images), test_share, rng)
    labels, description = labels_of_task(task, positive, digit)
    y = targets(labels)
    # The encoding precedes the split and the noise, so a class that a small training part misses keeps its column.
    y_train = with_label_noise(y[train], label_noise, rng)
    x, words = normalized(images, normalization, _LARGEST)
    noise = f"label noise {label_noise}" if label_noise else "no label noise"
    name = f"digits, {description}, {words}, test share {test_share}, seed {seed}, {noise}"
    classes, bounds = classes_of_task(task, digit), pixel_bounds(normalization, _LARGEST, x.shape[1])
    return Dataset(x[train], y_train, x[test], y[test], name, "classification", SHAPE, classes=classes, bounds=bounds)


def _load() -> tuple[Array, npt.NDArray[np.int64]]:
    """Images (1797, 64) with values 0..16, and digits (1797,)."""
    # Imported here because it takes a second, which only those who ask for the digits should wait for.
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    return np.asarray(images, dtype=np.float64), np.asarray(digit, dtype=np.int64)
