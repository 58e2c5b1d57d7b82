"""Whether single precision can hold what a network computes: a product over layers leaves its range when deep.

Half the pre-activations of a ReLU network are cut off in each layer, so that ``lecun`` weights, with β² = 1/m, halve
the square of what they pass on: at depth 260 a Jacobian is 2⁻¹³⁰, and zero in float32. That is refused here, from the
typical size of each layer's weights, before anything is computed.
"""

from __future__ import annotations

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.layers import Activate, Convolve, Dense, Layer, Residual
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import LayerScales, Parameters

TYPICAL = (-108.0, 118.0)
"""Exponents of 2 between which the typical size of a Jacobian, or of an output, has its digits in float32."""

OUTLYING = (-122.0, 124.0)
"""Those between which networks stay that are ``SIGMAS`` away from it."""

SIGMAS = 3.0

ROWS = 8
"""Rows of each weight matrix that its typical size is read from."""

Exponents = npt.NDArray[np.float64]
"""Powers of 2 (seed,)."""


def check_representable(
    net: Network,
    scales: LayerScales,
    x: npt.NDArray[np.float32],
    parameters: Parameters | None = None,
    is_sound: npt.NDArray[np.bool_] | None = None,
    *,
    squared: bool = False,
) -> None:
    """Raise InputError if the Jacobians or the outputs of networks leave the range of single precision.

    Args:
        net: the networks.
        scales: the numbers that set their scales.
        x: (n, d) inputs.
        parameters: of an ensemble, (seed, …); None for networks as they are drawn.
        is_sound: (seed,) which of them count; all by default.
        squared: whether squares have to fit too, as in empirical kernels.
    """
    if not isinstance(net, LayeredNetwork):
        return  # what its layers multiply by is not known: a number that is not finite shows in the results
    if not (np.all(scales.weight_gain) and np.all(scales.weight_std)):
        raise InputError(f"a standard deviation or 1/α of {net!r} is zero in single precision")
    sizes = _typical_sizes(scales, parameters)
    if is_sound is not None:
        sizes = sizes[:, is_sound]
    homogeneous = net.phi.negative_slope is not None
    steps = _log2_factors(net.layers(x.shape[1]), sizes, _log2_slope(net.phi))
    # A network whose weights are zero, or not finite, is none that fades.
    alive = np.all(np.isfinite(steps), axis=0)
    if not alive.any():
        return
    steps = steps[:, alive]
    # log ‖J‖ of ReLU networks has variance 5/4 per layer, over m: that of log χ²_m/m over two, with half the units.
    spread = SIGMAS * math.sqrt(1.25 * (net.depth - 1) / net.finite_width) / math.log(2) if homogeneous else 0.0
    backward = np.cumsum(steps[::-1], axis=0)
    _check("a typical input gradient", net, backward, spread, homogeneous, squared)
    rows = np.max(np.abs(x), axis=1).astype(np.float64)
    # Biases, and activations that are not zero at 0, keep outputs from fading.
    if net.bias_std is None and homogeneous and (rows > 0).any():
        ends = np.log2([np.min(rows[rows > 0]), np.max(rows)])
        forward = np.cumsum(steps, axis=0)
        for end in ends:
            _check("a typical output", net, forward + end, spread, homogeneous, squared)


def _check(what: str, net: LayeredNetwork, products: Exponents, spread: float, both: bool, squared: bool) -> None:
    """Raise InputError unless products (factor, seed) of the first few factors are in range, as exponents of 2."""
    if squared:
        # A square near the end has no room for the sum around it.
        products, spread = 2 * products, 2 * spread
    lowest, highest = float(np.min(products)), float(np.max(products))
    is_low = lowest < TYPICAL[0] or lowest - spread < OUTLYING[0]
    is_high = both and (highest > TYPICAL[1] or highest + spread > OUTLYING[1])
    if is_low or is_high:
        exponent = (lowest if is_low else highest) * math.log10(2)
        square = "the square of " if squared else ""
        raise InputError(
            f"{square}{what} of {net!r} is about 1e{exponent:+.0f}, and single precision holds numbers from 1e-38 to "
            "3e38: give other weights, another alpha or initialization, or less depth"
        )


def _typical_sizes(scales: LayerScales, parameters: Parameters | None) -> Exponents:
    """log₂ of each layer's factor times the root mean square of its weights, (L, seed)."""
    gains = np.log2(np.abs(np.asarray(scales.weight_gain, np.float64)))[:, None]
    if parameters is None:
        return gains + np.log2(np.asarray(scales.weight_std, np.float64))[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return gains + np.log2([_root_mean_square(weight) for weight in parameters.weights])


def _root_mean_square(weight: jax.Array) -> npt.NDArray[np.float64]:
    """Of weights (seed, fan_out, fan_in), from some of the rows; of all where those are zero: (seed,)."""
    some = np.asarray(weight[:, :ROWS], np.float64)
    found = np.sqrt(np.mean(some**2, axis=(1, 2)))
    if np.all(found):
        return found
    return np.sqrt(np.mean(np.asarray(weight, np.float64) ** 2, axis=(1, 2)))


def _log2_factors(layers: tuple[Layer, ...], sizes: Exponents, slope: float) -> Exponents:
    """log₂ of what each layer multiplies by, typically, (factor, seed): √fan_in times its weights, or |φ'|."""
    found = []
    for layer in layers:
        if isinstance(layer, Dense | Convolve):
            found.append(sizes[layer.index] + 0.5 * math.log2(layer.fan_in))
        elif isinstance(layer, Activate):
            found.append(np.full(sizes.shape[1], slope))
        elif isinstance(layer, Residual):
            # The larger branch is the one that arrives; an empty one is the identity.
            branches = [
                np.sum(_log2_factors(branch, sizes, slope), axis=0) if branch else np.zeros(sizes.shape[1])
                for branch in (layer.main, layer.shortcut)
            ]
            found.append(np.maximum(*branches))
    return np.array(found)


@cache
def _log2_slope(phi: Activation) -> float:
    """log₂ of the root mean square of φ' over both signs, where it has one slope on each; else of the largest |φ'|."""
    if phi.negative_slope is not None:
        return 0.5 * math.log2((1 + phi.negative_slope**2) / 2)
    points = jnp.linspace(-4, 4, 801, dtype=jnp.float32)
    slopes = np.abs(np.asarray(jax.jvp(phi, (points,), (jnp.ones_like(points),))[1], np.float64))
    largest = float(np.max(slopes[np.isfinite(slopes)], initial=0.0))
    return math.log2(largest) if largest > 0 else 0.0
