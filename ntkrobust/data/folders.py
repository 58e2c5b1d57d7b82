"""Image data sets in a user's folder: IDX files (MNIST's format) and binary batches of CIFAR-10."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_integer
from ntkrobust.data.checks import Array, as_choice
from ntkrobust.data.cifar10 import read_batch
from ntkrobust.data.dataset import TEST_SHARE, Dataset, split
from ntkrobust.data.encoding import targets
from ntkrobust.data.idx import read_idx
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

Form = Literal["idx", "cifar10"]

_IDX_NAME = re.compile(r"(?:.+-)?(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_BATCH_NAME = re.compile(r"data_batch_[1-9]\.bin")
_TEST_BATCH = "test_batch.bin"
_LARGEST = 255


class _Images(NamedTuple):
    """Images (n, height, width, channels) and labels (n,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def from_folder(
    path: str | os.PathLike[str],
    form: Form | None = None,
    task: LabelTask = "classes",
    positive: int = 0,
    normalization: Normalization = "unit",
    seed: int = 0,
) -> Dataset:
    """Images in a folder; ``image_shape`` says how its rows are laid out.

    - ``"idx"``: ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, and optionally the same with ``t10k``
      (or ``test``) for ``train``, as MNIST and its relatives come; each plain or with ``.gz``, perhaps with a prefix
      (``emnist-digits-train-…``) or a dot before ``idx``.
    - ``"cifar10"``: ``data_batch_1.bin`` … ``data_batch_5.bin``, or some of them, and optionally ``test_batch.bin``:
      the binary version of CIFAR-10. (Its Python version is pickles, which can execute code, and is not read.)

    Files are read as data only, and all of them: n·d numbers of 8 bytes, 0.4 GB for MNIST, 1.5 GB for CIFAR-10.

    Args:
        path: the folder.
        form: which of the two; None looks which files there are.
        task: ``"classes"`` (one-hot; two classes ±1), ``"parity"`` (even +1, odd −1), or ``"one-vs-rest"`` (the class
            ``positive`` +1, all others −1).
        positive: a class that occurs, for ``"one-vs-rest"``.
        normalization: ``"unit"`` (each image divided by its ℓ2 norm), ``"pixel"`` (divided by 255), or ``"raw"``; the
            latter two have ``bounds`` [0, 1] and [0, 255].
        seed: of the split 80/20 if there are no test images.

    Raises:
        InputError: files are missing, truncated, or not what their names say; the sentence names the file, what was
            expected and what arrived.
    """
    check_task(task, positive, normalization)
    check_integer("seed", seed, 0, maximum=LARGEST_SEED)
    if form is not None:
        as_choice("form", form, tuple(_FORMS))
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"a data folder must be given by its path, got {path!r}")
    folder = Path(path)
    try:
        if not folder.is_dir():
            raise InputError(f"expected a folder, got {'a file' if folder.exists() else 'nothing at this path'}")
        files = {entry.name: entry for entry in sorted(folder.iterdir()) if entry.is_file()}
        train, test = _FORMS[_form_of(files) if form is None else form](files)
        return _dataset(folder, train, test, task, positive, normalization, seed)
    except InputError as error:
        raise InputError(f"data folder {folder}: {error}") from None
    except OSError as error:
        raise InputError(f"data folder {folder}: it can't be read ({error.strerror or error})") from None


def _dataset(
    folder: Path, train: _Images, test: _Images | None, task: str, positive: int, normalization: str, seed: int
) -> Dataset:
    digest = hashlib.sha256()
    for array in (*train, *(test or ())):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    origin = "train and test parts of the folder"
    if test is None:
        rows = split(len(train.images), TEST_SHARE, np.random.default_rng(seed))
        train, test = (_Images(train.images[part], train.labels[part]) for part in rows)
        origin = f"split {1 - TEST_SHARE:.0%} train, {TEST_SHARE:.0%} test with seed {seed}"
    if test.images.shape[1:] != train.images.shape[1:]:
        shapes = [" × ".join(map(str, part.images.shape[1:3])) for part in (train, test)]
        raise InputError(f"expected test images of {shapes[0]} pixels as the training images, got {shapes[1]}")
    # Both parts together, so a class that a small training part misses keeps its column.
    labels, task_words = labels_of_task(task, positive, np.concatenate([train.labels, test.labels]))
    y = targets(labels)
    y_train, y_test = y[: len(train.labels)], y[len(train.labels) :]
    x_train, words = _inputs("training", train, normalization)
    x_test, _ = _inputs("test", test, normalization)
    # Two folders of one name aren't the same data: the digest tells them apart in stored evidence.
    name = f"{folder.resolve().name} (sha256 {digest.hexdigest()[:12]}), {task_words}, {words}, {origin}"
    height, width, channels = train.images.shape[1:]
    shape, bounds = (height, width, channels), pixel_bounds(normalization, _LARGEST, x_train.shape[1])
    classes = classes_of_task(task, labels)
    return Dataset(x_train, y_train, x_test, y_test, name, "classification", shape, classes=classes, bounds=bounds)


def _inputs(part: str, data: _Images, normalization: str) -> tuple[Array, str]:
    try:
        return normalized(data.images.reshape(len(data.images), -1), normalization, _LARGEST)
    except InputError as error:
        raise InputError(f"{part} part: {error}") from None


def _read_idx_folder(files: dict[str, Path]) -> tuple[_Images, _Images | None]:
    found: dict[tuple[str, str], Path] = {}
    for name, path in files.items():
        match = _IDX_NAME.fullmatch(name)
        if match is None:
            continue
        kind = ("train" if match[1] == "train" else "test", match[2])
        # An archive beside what was unpacked from it: the names come sorted, the plain file first.
        if kind in found and name != f"{found[kind].name}.gz":
            raise InputError(f"expected one file of {kind[0]} {kind[1]}, got {found[kind].name} and {name}")
        found.setdefault(kind, path)
    for part in ("train", "test"):
        there = [what for what in ("images", "labels") if (part, what) in found]
        if len(there) == 1:
            other = "labels" if there == ["images"] else "images"
            raise InputError(f"expected {part} {other} beside {found[part, there[0]].name}, got no such file")
    if ("train", "images") not in found:
        raise InputError(f"expected train-images-idx3-ubyte and train-labels-idx1-ubyte, got {_shown(files)}")
    train = _read_idx_part(found["train", "images"], found["train", "labels"])
    if ("test", "images") not in found:
        return train, None
    return train, _read_idx_part(found["test", "images"], found["test", "labels"])


def _read_idx_part(images: Path, labels: Path) -> _Images:
    pixels = _reading(images, lambda path: read_idx(path, 3))
    classes = _reading(labels, lambda path: read_idx(path, 1))
    if len(pixels) != len(classes):
        raise InputError(
            f"expected as many labels as images, got {len(pixels)} images in {images.name} and {len(classes)} labels "
            f"in {labels.name}"
        )
    return _Images(pixels[..., None], classes.astype(np.int64))


def _read_cifar10_folder(files: dict[str, Path]) -> tuple[_Images, _Images | None]:
    batches = [path for name, path in files.items() if _BATCH_NAME.fullmatch(name)]
    if not batches:
        pickled = " (the Python version of CIFAR-10: take the binary version)" if "data_batch_1" in files else ""
        raise InputError(f"expected data_batch_1.bin and so on, got {_shown(files)}{pickled}")
    read = [_reading(path, read_batch) for path in batches]
    # The files have no header: one cut at the end of an image would go unnoticed but for the others.
    for path, (images, _) in zip(batches, read, strict=True):
        if len(images) != len(read[0][0]):
            raise InputError(
                f"expected batches of one size, got {len(read[0][0])} images in {batches[0].name} and {len(images)} "
                f"in {path.name}"
            )
    train = _Images(*(np.concatenate(arrays) for arrays in zip(*read, strict=True)))
    return train, _Images(*_reading(files[_TEST_BATCH], read_batch)) if _TEST_BATCH in files else None


_FORMS: dict[str, Callable[[dict[str, Path]], tuple[_Images, _Images | None]]] = {
    "idx": _read_idx_folder,
    "cifar10": _read_cifar10_folder,
}


def _form_of(files: dict[str, Path]) -> str:
    forms = {"idx": any(map(_IDX_NAME.fullmatch, files)), "cifar10": any(map(_BATCH_NAME.fullmatch, files))}
    fitting = [form for form, there in forms.items() if there]
    if len(fitting) == 2:
        raise InputError("expected IDX files or batches of CIFAR-10, got both: say which as idx:FOLDER, cifar10:FOLDER")
    if not fitting:
        raise InputError(
            "expected IDX files (train-images-idx3-ubyte, …) or the binary version of CIFAR-10 (data_batch_1.bin, …), "
            f"got {_shown(files)}"
        )
    return fitting[0]


_Read = TypeVar("_Read")


def _reading(path: Path, read: Callable[[Path], _Read]) -> _Read:
    """What ``read`` makes of a file; its sentences begin with the name of the file."""
    try:
        return read(path)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None


def _shown(files: dict[str, Path]) -> str:
    """Some of the names, for a sentence."""
    if not files:
        return "no files"
    return f"{', '.join(list(files)[:4])}{' …' if len(files) > 4 else ''}"
