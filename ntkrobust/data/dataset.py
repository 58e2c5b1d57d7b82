"""The one form in which data reaches training, kernels and measures."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_integer
from ntkrobust.data.checks import Array, as_array, as_choice, as_matrix, as_points, check_same_index, check_same_rows
from ntkrobust.data.geometry import class_of_points, median_class_distance, root_mean_square_norm
from ntkrobust.data.images import ImageShape, check_image_shape, image_shape_of
from ntkrobust.data.label_noise import check_label_noise, with_label_noise
from ntkrobust.data.labels import Classes, check_classes, shown_classes
from ntkrobust.data.size import STATED, Size, are_whole
from ntkrobust.domain import Bounds, Domain
from ntkrobust.errors import InputError
from ntkrobust.norms import Norm, check_norm
from ntkrobust.values import Value

Task = Literal["classification", "regression"]

TEST_SHARE = 0.2
"""Share of the test part where the source has none of its own."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset(Value):
    """Training and test points with real targets, checked when built.

    Attributes:
        x_train: (n, d) training inputs; no row has norm zero. Given as images (n, height, width) or (n, height, width,
            channels), they become rows and ``image_shape`` is theirs.
        y_train: (n, o) training targets.
        x_test: (n', d) test inputs, likewise.
        y_test: (n', o) test targets.
        name: what exactly this is: source, task, normalization, split, seed, label noise.
        task: ``"classification"`` (targets ±1 in one column, or one-hot) or ``"regression"``.
        image_shape: None, or (height, width, channels) if each input is an image, the last index fastest.
        classes: the labels that the columns of the targets stand for, sorted; of two in one column, the first is −1.
            None where targets are real, or were never labels.
        bounds: the range of the inputs: None where there is none, or (lower, upper), (d,) each. It may be given as two
            numbers, or numbers and arrays; −∞ and ∞ where a coordinate has no such end. What searches for other inputs
            (attacks, measures that attack, adversarial training) stays inside.
        movable: None, or (d,) bool, False for coordinates that it leaves alone, whatever their value. Those whose two
            bounds are the same can't move either.

    The arrays are read-only, C-contiguous float64 copies of what was given. Rows of both parts are in random order
    where this package made the split, so a leading slice is a random subset.

    Raises:
        InputError: an array isn't finite, two-dimensional and non-empty, shapes disagree, an input has norm zero,
            targets are labels (encode them with :func:`~ntkrobust.data.targets`), the task is unknown, a target 0 of a
            classification has no sign, images of that shape don't have d entries, there are other classes than
            columns, bounds are no range or a point is outside, or x and y are of pandas and their rows have different
            names.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    name: str
    task: Task
    image_shape: ImageShape | None = None
    classes: Classes | None = None
    bounds: Bounds | None = None
    movable: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"name must be a text that says what the data are, got {self.name!r}")
        as_choice("task", self.task, ("classification", "regression"))
        for part in ("train", "test"):
            x_name, y_name = f"x_{part}", f"y_{part}"
            check_same_index(x_name, getattr(self, x_name), y_name, getattr(self, y_name))
        for name in ("x_train", "x_test"):
            value = getattr(self, name)
            object.__setattr__(self, name, as_points(name, value))
            self._take_shape(image_shape_of(name, value))
        for name in ("y_train", "y_test"):
            y = as_array(name, getattr(self, name))
            # Integers here are most likely labels 0, 1, 2, …, which as real targets would mean something else.
            if y.dtype.kind != "f":
                raise InputError(f"{name} must hold real targets, got dtype {y.dtype}: encode labels with targets()")
            object.__setattr__(self, name, as_matrix(name, y))
        for part in ("train", "test"):
            x_name, y_name = f"x_{part}", f"y_{part}"
            check_same_rows(x_name, getattr(self, x_name), y_name, getattr(self, y_name))
        for letter, what in (("x", "inputs"), ("y", "targets")):
            train, test = (getattr(self, f"{letter}_{part}").shape[1] for part in ("train", "test"))
            if train != test:
                raise InputError(
                    f"{what} must have one dimension, got {train} in {letter}_train, {test} in {letter}_test"
                )
        if self.task == "classification" and self.o == 1:
            for name in ("y_train", "y_test"):
                if not np.all(getattr(self, name)):
                    row = int(np.argmin(getattr(self, name)[:, 0] != 0))
                    raise InputError(
                        f"{name} of a classification must be ±1 in one column, but row {row} (from 0) is 0"
                    )
        if self.image_shape is not None:
            object.__setattr__(self, "image_shape", check_image_shape(self.image_shape, self.d))
        if self.classes is not None:
            object.__setattr__(self, "classes", _checked_classes(self.classes, self.task, self.o))
        domain = Domain.of(self.d, self.bounds, self.movable)
        for name in ("bounds", "movable"):
            object.__setattr__(self, name, getattr(domain, name))
        for name in ("x_train", "x_test"):
            domain.check_points(name, getattr(self, name), "bounds")

    def _take_shape(self, shape: ImageShape | None) -> None:
        """Keep the shape of the images that one of the arrays had."""
        if shape is not None and self.image_shape not in (None, shape):
            raise InputError(
                f"images must have one shape (height, width, channels), got {self.image_shape} and {shape}"
            )
        object.__setattr__(self, "image_shape", shape or self.image_shape)

    @property
    def domain(self) -> Domain:
        """Which inputs there are, and how they may be moved."""
        return Domain(self.d, self.bounds, self.movable)

    @property
    def n(self) -> int:
        """Number of training points."""
        return len(self.x_train)

    @property
    def d(self) -> int:
        """Dimension of the inputs."""
        return self.x_train.shape[1]

    @property
    def o(self) -> int:
        """Number of outputs."""
        return self.y_train.shape[1]

    @property
    def labels_test(self) -> npt.NDArray[np.generic] | None:
        """(n',) labels of the test points, out of ``classes``; None without those."""
        if self.classes is None:
            return None
        return np.array(self.classes)[class_of_points(self.y_test)]

    @functools.cached_property
    def scale(self) -> float:
        """Root mean square ℓ2 norm of a training input, √(1/n Σ_i ‖x_i‖²)."""
        return root_mean_square_norm(self.x_train)

    def class_distance(self, norm: Norm) -> float:
        """How far classes lie apart: the median over training points of the distance to the nearest of another class.

        Distances are in ``norm``, along the coordinates that can move. Of a regression, the class of a point is the
        one that attacks take: the sign of a single target, else its largest column. At most 512 points are drawn (with
        a seed of its own, always the same), and the nearest is looked for among at most 2048, taken from the classes
        in turn. Computed once for each norm.

        Raises:
            InputError: the norm is unknown, the training points are all of one class (or real targets all of one
                sign), no coordinate can move, or half of the points coincide with points of another class.
        """
        norm = check_norm(norm)
        if norm not in self._class_distances:
            free = self.domain.free
            if free is not None and not free.any():
                raise InputError(f"the distance between classes takes a coordinate that can move, got {self.name}")
            x = self.x_train if free is None else self.x_train[:, free]
            try:
                self._class_distances[norm] = median_class_distance(x, class_of_points(self.y_train), norm)
            except InputError as error:
                raise InputError(f"{self.name}: {error}") from None
        return self._class_distances[norm]

    @functools.cached_property
    def size(self) -> Size:
        """How large training inputs are and how far classes lie apart, as every output states it."""
        distances: dict[Norm, float] | None = None
        with contextlib.suppress(InputError):
            distances = {norm: self.class_distance(norm) for norm in STATED}
        x = self.x_train
        return Size(self.scale, float(np.min(x)), float(np.max(x)), are_whole(x), distances)

    @functools.cached_property
    def _class_distances(self) -> dict[Norm, float]:
        return {}

    def subset(self, n_train: int, n_test: int) -> Dataset:
        """The first ``n_train`` training and ``n_test`` test points.

        Raises:
            InputError: there are fewer, or a number is below one.
        """
        for name, asked, there in (("n_train", n_train, self.n), ("n_test", n_test, len(self.x_test))):
            if check_integer(name, asked, 1) > there:
                raise InputError(f"{name} must be at most {there}, the points there are in {self.name}; got {asked}")
        return dataclasses.replace(
            self,
            x_train=self.x_train[:n_train],
            y_train=self.y_train[:n_train],
            x_test=self.x_test[:n_test],
            y_test=self.y_test[:n_test],
            name=f"{self.name}, first {n_train} training and {n_test} test points",
        )

    def noisy_targets(self, n: int, share: float) -> Array:
        """Targets (n, o) of the first n training points, round(share·n) of them wrong: the same ones at every call.

        With more noise, those that are already wrong stay so.

        Raises:
            InputError: the share is not in [0, 1), or is positive for a regression.
        """
        share = check_label_noise(share)
        n = check_integer("n", n, 1)
        if not share:
            return self.y_train[:n]
        if self.task != "classification":
            raise InputError(f"label noise is for classes, and {self.name} is a regression")
        return with_label_noise(self.y_train[:n], share, np.random.default_rng(n))

    def as_json(self) -> dict[str, Any]:
        """Name, numbers of points, range and size, as stored results hold them."""
        sizes = {"n": self.n, "d": self.d, "o": self.o, "n_test": len(self.x_test)}
        stated = {"range": self.domain.in_words(), "scale": self.size.as_json(), "size": self.size.in_words()}
        return {"name": self.name, **sizes, **self.domain.as_json(), **stated}

    def _facts(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "task": self.task,
            "points": f"{self.n} to train on, {len(self.x_test)} to test",
            "inputs": f"{self.d} coordinates, {self.domain.in_words()}",
            "outputs": self.o,
            "size": self.size.in_words(),
        }

    def __repr__(self) -> str:
        sizes = f"n={self.n}, n_test={len(self.x_test)}, d={self.d}, o={self.o}"
        inputs = "" if self.domain.is_whole else f", {self.domain.in_words()}"
        return f"<Dataset {self.name!r}: {self.task}, {sizes}{inputs}>"


def _checked_classes(classes: object, task: Task, o: int) -> Classes:
    """``classes`` of a classification with o outputs; InputError otherwise."""
    found = check_classes(classes)
    if task != "classification":
        raise InputError(f"classes must be None for a {task}, got {shown_classes(found)}")
    if o != (1 if len(found) == 2 else len(found)) and (o, len(found)) != (2, 2):
        raise InputError(
            f"classes must be those of {max(o, 2)} for targets with {o} column(s), got {shown_classes(found)}"
        )
    return found


def split(n: int, test_share: float, rng: np.random.Generator) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of a random training and test part of ``n`` points, in random order.

    The test part is ``test_share`` of the points, rounded, and at least one point stays on either side.

    Raises:
        InputError: n < 2.
    """
    if n < 2:
        raise InputError(f"a split needs at least two points, one for training and one for testing, got {n}")
    order = rng.permutation(n)
    n_test = min(max(round(test_share * n), 1), n - 1)
    return order[n_test:], order[:n_test]
