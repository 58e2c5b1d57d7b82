"""Arrays that users give to finite networks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import as_matrix, check_same_rows
from ntkrobust.data.encoding import encode
from ntkrobust.errors import InputError
from ntkrobust.networks import Network


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


def check_data(
    net: Network, x: npt.ArrayLike, y: npt.ArrayLike, part: str, d_in: int | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Inputs x_part (n, d) and targets y_part (n, o) as float32 arrays.

    Raises:
        InputError: a shape is wrong, something is no finite number, the inputs do not have ``d_in`` columns where
            that is given, or the targets do not have ``net.d_out``.
    """
    x_name, y_name = f"x_{part}", f"y_{part}"
    inputs = single_precision(x_name, x)
    targets = single_precision(y_name, encode([(y_name, y)])[0])
    check_same_rows(x_name, inputs, y_name, targets)
    if d_in is not None and inputs.shape[1] != d_in:
        raise InputError(f"{x_name} must have shape (n, {d_in}), got {inputs.shape}")
    if targets.shape[1] != net.d_out:
        raise InputError(f"{y_name} has {targets.shape[1]} output column(s) and the network has d_out={net.d_out}")
    return inputs, targets
