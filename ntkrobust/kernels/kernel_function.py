"""Kernels of one network of neural-tangents as matrices, and as gradients by an input; points in blocks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.kernels._neural_tangents import load
from ntkrobust.kernels.tiles import assemble, padded_blocks
from ntkrobust.values import Carried, Value

Array = npt.NDArray[np.float64]

LIVE_ARRAYS = 64
"""Arrays over all pairs of positions of two inputs that are alive while a kernel is differentiated, about."""

BUDGET = 2**28
"""Bytes they may take."""


class KernelFunction(Value):
    """K and Θ of a network of neural-tangents, in float64; numpy in, numpy out.

    Points have the shape ``input_shape``, such as (d,) or (height, width, channels). Everything is computed for blocks
    of pairs of points. The kernel of a pair is one number, so gradients by an input go in reverse mode: a few times the
    price of the kernel, whatever the dimension.

    Attributes:
        input_shape: of one point.
        bayesian: whether Θ is replaced by K.
        pairs: pairs of points per block.
    """

    def __init__(
        self, kernel_fn: Callable[..., Any], input_shape: tuple[int, ...], bayesian: bool, pairs: int | None = None
    ) -> None:
        """Find out what the kernel function returns, without computing it.

        Args:
            kernel_fn: of neural-tangents.
            input_shape: of one point.
            bayesian: whether Θ is replaced by K.
            pairs: per block; by default as many as a rough estimate of memory allows.

        Raises:
            InputError: it doesn't return one number per pair of points.
        """
        self.input_shape, self.bayesian = input_shape, bayesian
        positions = math.prod(input_shape[:-1])
        self.pairs = pairs or int(np.clip(BUDGET // (8 * LIVE_ARRAYS * positions**2), 1, 4096))
        self._kernel_fn = kernel_fn
        with jax.enable_x64(True):
            two = jax.ShapeDtypeStruct((2, *input_shape), np.float64)
            found = jax.eval_shape(self._kernels, two, two)
        for kernel in found:
            if kernel.shape != (2, 2):
                raise InputError(
                    "the kernel function must return one number per pair of points, shape (2, 2) for two points with "
                    f"two, got {kernel.shape}: end the network with Flatten or pooling, and a Dense layer"
                )

    def _contents(self) -> dict[str, Any]:
        # What neural-tangents makes can't be compared; who holds this also holds what it gives for training points.
        return {name: value for name, value in self._stored().items() if name != "_kernel_fn"}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kernel_fn": _OfNeuralTangents(self._kernel_fn)}

    def matrices(self, x1: Array, x2: Array | None = None) -> tuple[Array, Array]:
        """K and Θ (n1, n2); of ``x1`` with itself, exactly symmetric, if ``x2`` is None."""
        return assemble(self._block, x1, x2, self._side)

    def asymmetry(self, x: Array) -> float:
        """How far K and Θ of the first block of points are from symmetric, relative to their largest entries."""
        part, block = next(padded_blocks(x, self._side))
        with jax.enable_x64(True):
            found = [np.asarray(kernel)[: part.stop, : part.stop] for kernel in self._block(block, block)]
        return max(float(np.abs(kernel - kernel.T).max() / np.abs(kernel).max()) for kernel in found)

    def nngp(self, x1: Array, x2: Array) -> Array:
        """K (n,) of each row of ``x1`` with the same row of ``x2``."""
        return self._paired(self._nngp, x1, x2)

    def ntk(self, x1: Array, x2: Array) -> Array:
        """Θ (n,) of each row of ``x1`` with the same row of ``x2``."""
        return self._paired(self._ntk, x1, x2)

    def gradients(self, x: Array, x_train: Array) -> tuple[Array, Array]:
        """∂_x K(x, x_i) and ∂_x Θ(x, x_i), each (n, d), by one point ``x``, its coordinates in one row."""
        found = []
        with jax.enable_x64(True):
            for part, block in padded_blocks(x_train, self.pairs):
                found.append(np.stack(self._gradients(x, block))[:, : part.stop - part.start])
        by_k, by_theta = np.concatenate(found, axis=1)
        return by_k, by_theta

    def _paired(self, kernel: Callable[..., jax.Array], x1: Array, x2: Array) -> Array:
        with jax.enable_x64(True):
            return np.concatenate(
                [
                    np.asarray(kernel(a, b))[: part.stop - part.start]
                    for (part, a), (_, b) in zip(
                        padded_blocks(x1, self.pairs), padded_blocks(x2, self.pairs), strict=True
                    )
                ]
            )

    @property
    def _side(self) -> int:
        """Rows and columns of a block of a matrix; at least two, so that symmetry can be seen."""
        return max(math.isqrt(self.pairs), 2)

    def _kernels(self, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        if self.bayesian:
            k = self._kernel_fn(a, b, "nngp")
            return k, k
        found = self._kernel_fn(a, b, ("nngp", "ntk"))
        return found.nngp, found.ntk

    def _pair(self, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        k, theta = self._kernels(a[None], b[None])
        return k[0, 0], theta[0, 0]

    def _each(self, of_pair: Callable[..., Any]) -> Callable[..., Any]:
        """``of_pair`` along the first axis of all arguments."""
        if len(self.input_shape) == 1:
            return jax.vmap(of_pair)
        # One pair has work enough, and XLA crashed on the CPU (jaxlib 0.10.2, segmentation fault) when derivatives of
        # convolutions over all pairs of positions were vectorized.
        return lambda *arguments: jax.lax.map(lambda one: of_pair(*one), arguments)

    @functools.cached_property
    def _block(self) -> Callable[..., tuple[jax.Array, jax.Array]]:
        return jax.jit(self._kernels)

    @functools.cached_property
    def _nngp(self) -> Callable[..., jax.Array]:
        return jax.jit(self._each(lambda a, b: self._kernel_fn(a[None], b[None], "nngp")[0, 0]))

    @functools.cached_property
    def _ntk(self) -> Callable[..., jax.Array]:
        return jax.jit(self._each(lambda a, b: self._pair(a, b)[1]))

    @functools.cached_property
    def _gradients(self) -> Callable[..., tuple[jax.Array, jax.Array]]:
        def of_pair(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
            _, pull_back = jax.vjp(lambda point: self._pair(point, b), a)
            zero, one = jnp.zeros(()), jnp.ones(())
            (by_k,), (by_theta,) = pull_back((one, zero)), pull_back((zero, one))
            return by_k.reshape(-1), by_theta.reshape(-1)

        return jax.jit(lambda a, block: self._each(lambda b: of_pair(a, b))(block))


class _OfNeuralTangents(Carried):
    """A function made by neural-tangents, which has to be adapted before one is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, super().__reduce__()


def _restored(restore: Callable[..., Carried], arguments: tuple[Any, ...]) -> Carried:
    load()
    return restore(*arguments)
