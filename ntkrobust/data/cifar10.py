"""Batches of CIFAR-10 in its binary version: per image one byte with the class, then 32 × 32 bytes of each colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.files.archives import check_size

SHAPE = (32, 32, 3)
CLASSES = 10
_RECORD = 1 + 32 * 32 * 3


def read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (n, 32, 32, 3) and classes (n,) of one file.

    Raises:
        InputError: the file isn't a whole number of images, or a class is not 0..9.
        OSError: it can't be read.
    """
    size = path.stat().st_size
    check_size("the file", size, size, size)
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    if not data.size or data.size % _RECORD:
        raise InputError(f"expected a whole number of images of {_RECORD} bytes each, got {data.size} bytes")
    records = data.reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    wrong = np.flatnonzero(labels >= CLASSES)
    if wrong.size:
        raise InputError(f"expected classes 0..9, got {labels[wrong[0]]} for image {wrong[0]} (from 0)")
    # Each colour is a plane in the file; images have their colours last everywhere here.
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
