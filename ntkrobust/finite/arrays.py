"""Arrays that users give to finite networks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import as_matrix
from ntkrobust.errors import InputError


def single_precision(name: str, value: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """``value`` (rows, columns) as a float32 array.

    Raises:
        InputError: it is not a matrix of finite real numbers, or single precision can't hold them.
    """
    matrix = as_matrix(name, value)
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    if not np.isfinite(single).all():
        raise InputError(f"{name} must fit into single precision, got a number of size {np.abs(matrix).max():g}")
    return single
