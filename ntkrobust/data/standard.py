"""Columns of one scale: mean 0 and variance 1/d over the training points."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ntkrobust.data.checks import Array
from ntkrobust.data.dataset import Dataset

WORDS = "columns of mean 0 and variance 1/d"


def standardized(data: Dataset) -> Dataset:
    """A data set whose columns have mean 0 and variance 1/d over the training points, so that the mean of ‖x‖² is one.

    Real targets get mean 0 and variance 1; the range of the inputs moves with them. A column that is the same at all
    training points is only shifted.

    Raises:
        InputError: data are none, or an input has norm zero afterwards.
    """
    mean, scale = _moments(data.x_train)
    scale = scale * math.sqrt(data.d)
    parts = {name: (getattr(data, name) - mean) / scale for name in ("x_train", "x_test")}
    words = WORDS
    if data.task == "regression":
        middle, width = _moments(data.y_train)
        parts |= {name: (getattr(data, name) - middle) / width for name in ("y_train", "y_test")}
        words += ", targets of mean 0 and variance 1"
    bounds: Any = None
    if data.bounds is not None:
        low, high = data.bounds
        bounds = (low - mean) / scale, (high - mean) / scale
    plain = "not normalized"
    name = data.name.replace(plain, words, 1) if plain in data.name else f"{data.name}, then {words}"
    return dataclasses.replace(data, **parts, bounds=bounds, name=name)


def _moments(columns: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column; one for a column that doesn't vary."""
    deviation = columns.std(axis=0)
    return columns.mean(axis=0), deviation + (deviation == 0)
