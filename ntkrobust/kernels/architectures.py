"""Networks of ntkrobust as neural-tangents describes them, so that one object drives both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ntkrobust.activations import Activation
from ntkrobust.errors import InputError
from ntkrobust.kernels._neural_tangents import load
from ntkrobust.networks import MLP


class Stax(NamedTuple):
    """A network in the terms of neural-tangents; unpacks as its triples do.

    Attributes:
        init_fn: (key, input shape) ↦ (output shape, parameters).
        apply_fn: (parameters, x (n, d)) ↦ f(x) (n, o).
        kernel_fn: (x1, x2, get) ↦ kernels (n1, n2), ``get`` being ``"nngp"``, ``"ntk"`` or a tuple of these.
    """

    init_fn: Callable[..., Any]
    apply_fn: Callable[..., Any]
    kernel_fn: Callable[..., Any]


def stax(net: MLP, d_in: int) -> Stax:
    """``net`` for inputs of dimension ``d_in``, in the terms of neural-tangents.

    What is tied: ``init_fn`` draws from the law that ntkrobust draws from (not the same numbers); ``apply_fn`` is the
    same function of the same parameters (:func:`stax_parameters`), α included, so empirical kernels and training agree;
    ``kernel_fn`` gives the limits of NNGP and NTK as the width of the hidden layers grows while β_l²·fan_in stays what
    it is at the width of ``net``. In the standard parameterization its NTK keeps that width: layer l enters it with
    weight 1/β_l² relative to its share of the NNGP, each trained bias with 1, also one that starts at zero
    (``bias_std=0.0``), and the output bias is not divided by α. neural-tangents has these conventions itself
    (``stax.Dense``), with W_std = β_l √fan_in.

    Args:
        net: the network; it needs a width.
        d_in: input dimension d.

    Raises:
        InputError: the network has no width, or neural-tangents knows no closed form for its activation.
    """
    layers = load().stax
    scales = net.scales(d_in)
    betas = (scales.beta_first, *[scales.beta] * (net.depth - 2), scales.beta_last)
    phi = _activation(layers, net.phi)
    parts: list[Any] = []
    for beta, (fan_out, fan_in) in zip(betas, net.layer_shapes(d_in), strict=True):
        parts += [
            layers.Dense(fan_out, beta * math.sqrt(fan_in), b_std=net.bias_std, parameterization=net.parameterization),
            phi,
        ]
    parts.pop()
    # 1/α multiplies the last layer's inputs, which leaves its bias alone and its weights as they are trained.
    parts.insert(-1, layers.DotGeneral(rhs=1 / scales.alpha))
    return Stax(*layers.serial(*parts))


def stax_parameters(net: MLP, parameters: Any) -> list[Any]:
    """Parameters of ``net`` as the ``apply_fn`` of :func:`stax` takes them.

    Args:
        net: the network.
        parameters: with ``weights`` W_l (fan_out, fan_in) and ``biases`` b_l (fan_out,), as ntkrobust draws and trains
            them; one network's, without a leading axis.
    """
    biases = [b[None, :] for b in parameters.biases] or [None] * net.depth
    parts: list[Any] = []
    for weight, bias in zip(parameters.weights, biases, strict=True):
        parts += [(weight.T, bias), ()]
    parts.pop()
    parts.insert(-1, ())
    return parts


def _activation(layers: Any, phi: Activation) -> Any:
    """The layer of neural-tangents that applies ``phi``."""
    if phi.name == "relu":
        return layers.Relu()
    if phi.name == "leaky_relu":
        return layers.LeakyRelu(phi.slope)
    if phi.name == "linear":
        return layers.Identity()
    if phi.name == "erf":
        return layers.Erf()
    if phi.name == "gelu":
        return layers.Gelu()
    raise InputError(
        f"neural-tangents has no closed form for the activation {phi.name!r}: expected relu, leaky_relu, linear, erf "
        "or gelu (for others, build the network from its own layers and let stax.ElementwiseNumerical integrate)"
    )
