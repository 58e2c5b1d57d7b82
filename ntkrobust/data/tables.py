"""Tables of measurements that come with scikit-learn: breast cancer, wine, iris, diabetes."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_integer
from ntkrobust.data.checks import Array, as_choice
from ntkrobust.data.dataset import TEST_SHARE, Dataset, split
from ntkrobust.data.encoding import describe_task, targets, task_of
from ntkrobust.data.tasks import LabelTask, check_task, classes_of_task, labels_of_task

TableName = Literal["breast-cancer", "wine", "iris", "diabetes"]
Columns = Literal["standard", "unit", "raw"]

COLUMNS: tuple[Columns, ...] = ("standard", "unit", "raw")
"""What becomes of the columns."""


class _Source(NamedTuple):
    """A function of ``sklearn.datasets``, and what it holds."""

    function: str
    points: int
    d: int
    classes: int


TABLES: dict[str, _Source] = {
    "breast-cancer": _Source("load_breast_cancer", 569, 30, 2),
    "wine": _Source("load_wine", 178, 13, 3),
    "iris": _Source("load_iris", 150, 4, 3),
    "diabetes": _Source("load_diabetes", 442, 10, 0),
}
"""Of ``diabetes`` the targets are real."""


def table(
    name: TableName, task: LabelTask = "classes", positive: int = 0, columns: Columns = "standard", seed: int = 0
) -> Dataset:
    """A table that is bundled with scikit-learn, split 80/20.

    ============== ====== == =======================================================
    name           points d  targets
    ============== ====== == =======================================================
    breast-cancer  569    30 2 classes, malignant −1 and benign +1
    wine           178    13 3 cultivars, one-hot
    iris           150    4  3 species, one-hot
    diabetes       442    10 real: the disease's progression, of mean 0, variance 1
    ============== ====== == =======================================================

    Args:
        name: as above.
        task: ``"classes"``, or ``"one-vs-rest"``: the class ``positive`` +1, all others −1. For ``diabetes`` there is
            no other than ``"classes"``.
        positive: 0 … 2, for ``"one-vs-rest"``.
        columns: ``"standard"``: each column of mean 0 and variance 1/d over the training points, so that the mean of
            ‖x‖² is one; ``"unit"``: rows of these divided by their ℓ2 norm; ``"raw"``: as they are.
        seed: of the split.

    Raises:
        InputError: an argument is out of its range.
    """
    source = TABLES[as_choice("name", name, tuple(TABLES))]
    as_choice("columns", columns, COLUMNS)
    check_task(task, positive, "raw")
    as_choice("task", task, ("classes", "one-vs-rest") if source.classes else ("classes",))
    check_integer("positive", positive, 0, maximum=max(source.classes - 1, 0))
    rng = np.random.default_rng(check_integer("seed", seed, 0, maximum=LARGEST_SEED))
    x, given = _read(source.function)
    train, test = split(len(x), TEST_SHARE, rng)
    x, words = _scaled(x, train, columns)
    if source.classes:
        labels, described = labels_of_task(task, positive, given.astype(np.int64))
        y, classes = targets(labels), classes_of_task(task, given.astype(np.int64))
    else:
        real: np.ndarray = given.astype(np.float64)
        y, classes = ((real - np.mean(real[train])) / np.std(real[train]))[:, None], None
        described = f"{describe_task('regression', 1)} of mean 0 and variance 1"
    origin = f"split {1 - TEST_SHARE:.0%} train, {TEST_SHARE:.0%} test with seed {seed}"
    title = f"{name} of scikit-learn, {described}, {words}, {origin}"
    return Dataset(x[train], y[train], x[test], y[test], title, task_of(y), classes=classes)


def _read(function: str) -> tuple[Array, npt.NDArray[np.generic]]:
    # Imported here because it takes a second, which only those who ask for such data should wait for.
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, function)(return_X_y=True)
    return np.asarray(x, dtype=np.float64), np.asarray(y)


def _scaled(x: Array, train: npt.NDArray[np.intp], columns: str) -> tuple[Array, str]:
    """Inputs (n, d) as they are asked for, and the words for it."""
    if columns == "raw":
        return x, "columns as they are"
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0) / math.sqrt(x.shape[1])
    if columns == "standard":
        return x, "columns of mean 0 and variance 1/d"
    return x / np.linalg.norm(x, axis=1, keepdims=True), "columns of mean 0 and one variance, rows of unit norm"
