"""Networks of ntkrobust as neural-tangents describes them, so that one object drives both."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ntkrobust.errors import InputError
from ntkrobust.kernels._neural_tangents import load
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.convolutional import ImageNetwork
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.layers import Activate, Convolve, Dense, Flatten, GlobalAverage, Layer, Residual
from ntkrobust.networks.network import Network


class Stax(NamedTuple):
    """A network in the terms of neural-tangents; unpacks as its triples do.

    Attributes:
        init_fn: (key, input shape) ↦ (output shape, parameters).
        apply_fn: (parameters, x) ↦ f(x) (n, o).
        kernel_fn: (x1, x2, get) ↦ kernels (n1, n2), ``get`` being ``"nngp"``, ``"ntk"`` or a tuple of these.

    Points are rows (n, d), those of convolutional networks images (n, height, width, channels): reshape rows with
    ``x.reshape(-1, *net.image_shape)``.
    """

    init_fn: Callable[..., Any]
    apply_fn: Callable[..., Any]
    kernel_fn: Callable[..., Any]


def stax(net: LayeredNetwork, d_in: int) -> Stax:
    """``net`` for inputs of dimension ``d_in``, in the terms of neural-tangents.

    What is tied: ``init_fn`` draws from the law that ntkrobust draws from (not the same numbers); ``apply_fn`` is the
    same function of the same parameters (:func:`stax_parameters`), α included, so empirical kernels and training agree;
    ``kernel_fn`` gives the limits of NNGP and NTK as the width of the hidden layers grows while β_l²·fan_in stays what
    it is at the width of ``net``. In the standard parameterization its NTK keeps that width: layer l enters it with
    weight 1/β_l² relative to its share of the NNGP, each trained bias with 1, also one that starts at zero
    (``bias_std=0.0``), and the output bias is not divided by α. neural-tangents has these conventions itself
    (``stax.Dense``, ``stax.Conv``), with W_std = β_l √fan_in: for convolutions and residual networks that is the root
    of the gain σ_l², whatever the width.

    Args:
        net: the network; it needs a width.
        d_in: input dimension d.

    Raises:
        InputError: the network has no width, takes no inputs of that dimension, or neural-tangents knows no closed form
            for its activation.
    """
    theirs = load().stax
    stds = net.weight_stds(d_in)
    phi = _activation(theirs, net.phi)
    common = {"b_std": net.bias_std, "parameterization": net.parameterization}

    def serial(layers: tuple[Layer, ...]) -> list[Any]:
        return [part for layer in layers for part in translated(layer)]

    def translated(layer: Layer) -> Iterator[Any]:
        match layer:
            case Activate():
                yield phi
            case Dense():
                yield theirs.Dense(layer.fan_out, stds[layer.index] * math.sqrt(layer.fan_in), **common)
            case Convolve():
                yield theirs.Conv(
                    layer.channels,
                    (layer.kernel, layer.kernel),
                    (layer.stride, layer.stride),
                    "SAME",
                    W_std=stds[layer.index] * math.sqrt(layer.fan_in),
                    **common,
                )
            case Residual():
                beside = serial(layer.shortcut) or [theirs.Identity()]
                yield theirs.FanOut(2)
                yield theirs.parallel(theirs.serial(*serial(layer.main)), theirs.serial(*beside))
                yield theirs.FanInSum()
            case GlobalAverage():
                yield theirs.GlobalAvgPool()
            case Flatten():
                yield theirs.Flatten()

    parts = serial(net.layers(d_in))
    # 1/α multiplies the last layer's inputs, which leaves its bias alone and its weights as they are trained.
    parts.insert(-1, theirs.DotGeneral(rhs=1 / net.scales(d_in).alpha))
    init_fn, apply_fn, kernel_fn = theirs.serial(*parts)
    return Stax(init_fn, apply_fn, _of_independent_branches(kernel_fn))


def kernel_of(net: Network, d_in: int) -> Callable[..., Any]:
    """The kernel function of a network, in the terms of neural-tangents.

    Raises:
        InputError: nothing is known of its infinite width.
    """
    if isinstance(net, LayeredNetwork):
        return stax(net, d_in).kernel_fn
    if net.kernel_function is None:
        raise InputError(
            f"nothing is known of {net!r} at infinite width: networks of this package and of from_stax have kernels"
        )
    return _of_independent_branches(net.kernel_function)


def _of_independent_branches(kernel_fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same, without the warning that sums assume independent branches: each block has weights of its own."""

    @functools.wraps(kernel_fn)
    def quiet(*arguments: Any, **more: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`FanIn` layers assume independent inputs")
            return kernel_fn(*arguments, **more)

    return quiet


def stax_parameters(net: LayeredNetwork, parameters: Any) -> list[Any]:
    """Parameters of ``net`` as the ``apply_fn`` of :func:`stax` takes them.

    Args:
        net: the network.
        parameters: with ``weights`` W_l (fan_out, fan_in) and ``biases`` b_l (fan_out,), as ntkrobust draws and trains
            them; one network's, without a leading axis.
    """

    def serial(layers: tuple[Layer, ...]) -> list[Any]:
        return [part for layer in layers for part in translated(layer)]

    def translated(layer: Layer) -> Iterator[Any]:
        match layer:
            case Dense():
                bias = parameters.biases[layer.index][None, :] if parameters.biases else None
                yield parameters.weights[layer.index].T, bias
            case Convolve():
                # W_l (channels, rows · columns · inputs) as theirs: (rows, columns, inputs, channels).
                patch = (layer.kernel, layer.kernel, layer.image[2])
                weight = parameters.weights[layer.index].T.reshape(*patch, layer.channels)
                yield weight, parameters.biases[layer.index][None, None, None, :] if parameters.biases else None
            case Residual():
                yield ()
                yield serial(layer.main), serial(layer.shortcut) or [()]
                yield ()
            case _:
                yield ()

    # The first layer's columns are the inputs of a fully connected network; others know their inputs.
    d_in = net.d_in if isinstance(net, ImageNetwork) else parameters.weights[0].shape[1]
    parts = serial(net.layers(d_in))
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
