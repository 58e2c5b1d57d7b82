"""How the layers of a network enter its kernels: variances σ², and the weights of their shares of the NTK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_integer
from ntkrobust.data.checks import as_choice
from ntkrobust.errors import InputError
from ntkrobust.networks.initializations import Initialization, Scales
from ntkrobust.networks.layered import Parameterization
from ntkrobust.networks.mlp import MLP

Array = npt.NDArray[np.float64]

A = TypeVar("A")

_TWO_WIDTHS = (3, 4096)
"""An initialization has a limit of its own if it gives the same β²·fan_in at both."""


class Layers(NamedTuple, Generic[A]):
    """One number per layer l = 1 … L, float64 (L,); of numpy, or of JAX inside a program.

    K_l = σ_l²·(…) + σ_b² and Θ_l = σ_l²(w_l·… + …) + speed of the bias, as :mod:`ntkrobust.kernels.recursion` has it.

    Attributes:
        weight_variance: σ_l².
        weight_speed: w_l, with which the layer's weights enter the NTK; 0 if they are frozen.
        bias_variance: σ_b².
        bias_speed: w_b σ_b², with which a layer's biases enter the NTK; 0 without biases or if they are frozen.
    """

    weight_variance: A
    weight_speed: A
    bias_variance: A
    bias_speed: A


def layers_of(net: MLP, d_in: int, parameterization: Parameterization, frozen: Sequence[int] = ()) -> Layers[Array]:
    """The layers of ``net`` for inputs of dimension ``d_in``.

    σ_l² = β_l²·fan_in for l < L and σ_L² = β_L² m/α². NTK parameterization: w_l = 1 and w_b = 1. Standard
    parameterization: w_l = 1/β_l², so that σ_L² w_L = m/α², and w_b σ_b² = 1 for every trained bias, also one that
    starts at zero. These are the weights of the finite network of width m under plain gradient descent: hidden layers
    weigh m/d times more than the first.

    Args:
        net: the network.
        d_in: input dimension d.
        parameterization: of the training; the law at initialization does not depend on it.
        frozen: layers l (from 1) that are not trained.

    Raises:
        InputError: the standard parameterization, or an initialization whose β²·fan_in depends on the width, without
            a width; a frozen layer that isn't there, or all layers frozen.
    """
    weight_variance, beta_squared = _variances(net, d_in, parameterization)
    trained = np.ones(net.depth)
    if not isinstance(frozen, Sequence) or isinstance(frozen, str):
        raise InputError(f"frozen is a sequence of layers from 1 to {net.depth}, got {frozen!r}")
    for layer in frozen:
        if check_integer("a frozen layer", layer, 1) > net.depth:
            raise InputError(f"frozen layers are numbers from 1 to {net.depth}, got {layer!r}")
        trained[layer - 1] = 0.0
    if not trained.any():
        raise InputError("at least one layer must be trained, got all of them frozen")
    bias_variance = np.full(net.depth, 0.0 if net.bias_std is None else net.bias_std**2)
    if net.bias_std is None:
        bias_speed = np.zeros(net.depth)
    else:
        bias_speed = bias_variance if parameterization == "ntk" else np.ones(net.depth)
    weight_speed = np.ones(net.depth) if parameterization == "ntk" else 1 / beta_squared
    return Layers(weight_variance, trained * weight_speed, bias_variance, trained * bias_speed)


def resolve_parameterization(net: MLP, asked: Parameterization | None) -> Parameterization:
    """``asked``; else the network's own, if it has a width; else the NTK parameterization, which needs none.

    Raises:
        InputError: the standard parameterization is asked for without a width, or the name is unknown.
    """
    if not isinstance(net, MLP):
        raise InputError(
            f"closed forms are for fully connected networks: the network must be an MLP, got {net!r} "
            "(ntkrobust.kernels.GeneralEnsemble takes the others)"
        )
    if asked is not None:
        as_choice("parameterization", asked, ("standard", "ntk"))
    if asked == "standard" and net.width is None:
        raise InputError(
            "the standard parameterization needs a width also at infinite width, because layers are trained at speeds "
            "1/β_l² that depend on it: give one, or use parameterization='ntk'"
        )
    return asked or ("ntk" if net.width is None else net.parameterization)


def check_variances(name: str, x: Array, layers: Layers[Array]) -> None:
    """Every point needs a positive variance in the first layer: without initial biases, a positive norm.

    Raises:
        InputError: a point has none, or its squared norm leaves the range of float64.
    """
    with np.errstate(over="ignore", under="ignore"):
        squares = np.sum(x * x, axis=1)
    outside = np.flatnonzero(~np.isfinite(squares) | ((squares < np.finfo(float).tiny) & x.any(axis=1)))
    if outside.size:
        raise InputError(f"the squared norm of row {outside[0]} (from 0) of {name} is out of range: rescale the inputs")
    zero = np.flatnonzero(layers.weight_variance[0] * squares + layers.bias_variance[0] == 0)
    if zero.size:
        raise InputError(
            f"every row of {name} must have a positive norm in a network without initial biases, but that of row "
            f"{zero[0]} (from 0) is zero"
        )


def _variances(net: MLP, d_in: int, parameterization: Parameterization) -> tuple[Array, Array]:
    """σ_l² and β_l², each (L,); β_l² is meaningful only if the network has a width."""
    assert isinstance(net.initialization, Initialization)
    if net.width is not None:
        return _at_width(net, net.scales(d_in), d_in, net.width)
    at_two = [_at_width(net, net.initialization.scales(d_in, m, net.d_out), d_in, m) for m in _TWO_WIDTHS]
    if not np.allclose(at_two[0][0], at_two[1][0], rtol=1e-12, atol=0):
        raise InputError(
            f"the {net.initialization!r} initialization has no limit of its own as the width grows (β²·fan_in or α "
            "depends on the width): give the network a width"
        )
    return at_two[1]


def _at_width(net: MLP, scales: Scales, d_in: int, width: int) -> tuple[Array, Array]:
    beta_squared = np.square([scales.beta_first, *[scales.beta] * (net.depth - 2), scales.beta_last])
    fan_in = np.array([d_in, *[width] * (net.depth - 1)], dtype=np.float64)
    weight_variance = beta_squared * fan_in
    weight_variance[-1] /= scales.alpha**2
    return weight_variance, beta_squared
