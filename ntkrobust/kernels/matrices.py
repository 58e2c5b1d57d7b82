"""Kernel matrices of fully connected networks at infinite width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import as_choice, as_inputs
from ntkrobust.errors import InputError
from ntkrobust.kernels.accuracy import series_terms
from ntkrobust.kernels.layers import check_variances, layers_of, resolve_parameterization
from ntkrobust.kernels.tiles import kernel_matrices
from ntkrobust.networks.layered import Parameterization
from ntkrobust.networks.mlp import MLP

Array = npt.NDArray[np.float64]


def kernel_matrix(
    net: MLP,
    x1: npt.ArrayLike,
    x2: npt.ArrayLike | None = None,
    *,
    kernel: Literal["ntk", "nngp"] = "ntk",
    parameterization: Parameterization | None = None,
    frozen: Sequence[int] = (),
) -> Array:
    """Θ or K (n1, n2) in float64, of every output with itself.

    Args:
        net: the network. Without a width, its initialization has to have a limit of its own.
        x1: (n1, d).
        x2: (n2, d); by default ``x1``, and the matrix is exactly symmetric.
        kernel: ``"ntk"`` or ``"nngp"``.
        parameterization: as for :class:`~ntkrobust.InfiniteEnsemble`.
        frozen: layers l (from 1) that don't enter the NTK.

    Raises:
        InputError: arrays of the wrong shape or with NaN, points of zero norm in a network without initial biases, or a
            network whose kernels need a width.
    """
    as_choice("kernel", kernel, ("ntk", "nngp"))
    points = [("x1", as_inputs("x1", x1))]
    if x2 is not None:
        points.append(("x2", as_inputs("x2", x2)))
    first = points[0][1]
    layers = layers_of(net, first.shape[1], resolve_parameterization(net, parameterization), frozen)
    for name, one in points:
        check_variances(name, one, layers)
        if one.shape[1] != first.shape[1]:
            raise InputError(f"x1 and x2 must have one dimension, got {first.shape[1]} and {one.shape[1]}")
    terms, _ = series_terms(net, layers, np.concatenate([one for _, one in points]))
    found = kernel_matrices(net.phi, terms, layers, *(one for _, one in points))
    return found[kernel == "ntk"]
