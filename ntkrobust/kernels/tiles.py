"""Kernel matrices, tile by tile: symmetric ones by their upper half, ragged edges padded, devices taking turns."""

from __future__ import annotations

import functools
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.kernels.layers import Layers
from ntkrobust.kernels.recursion import PairKernels, pair_kernels
from ntkrobust.networks.activations import Activation

Array = npt.NDArray[np.float64]

TILE = 256
"""Rows and columns of a tile, at most: its arrays then stay in a processor's cache, which is worth a factor of two."""

IN_FLIGHT = 2
"""Tiles that are asked of a device before the first of them is waited for."""


def kernel_matrices(
    phi: Activation,
    terms: int,
    layers: Layers[Any],
    x1: Array,
    x2: Array | None = None,
    *,
    tile: int = TILE,
    devices: Sequence[Any] | None = None,
) -> tuple[Array, Array]:
    """K and Θ (n1, n2) in float64; of ``x1`` with itself, exactly symmetric, if ``x2`` is None.

    Args:
        phi: the activation.
        terms: of its series, if it needs one.
        layers: one row per layer.
        x1: (n1, d).
        x2: (n2, d).
        tile: largest number of rows and columns of a tile.
        devices: which share the tiles; by default all local ones.

    Raises:
        InputError: a variance overflows in a deep network that amplifies.
    """
    devices = list(devices or jax.local_devices())
    turns = itertools.cycle(devices)

    def compute(a: Array, b: Array) -> PairKernels:
        return _tile(phi, terms, *jax.device_put((layers, a, b), next(turns)))

    k, theta = assemble(compute, x1, x2, tile, IN_FLIGHT * len(devices))
    for name, matrix in (("NNGP", k), ("NTK", theta)):
        if not math.isfinite(matrix.sum()):
            raise InputError(f"the {name} overflows: variances σ² above 2 multiply up over the layers of this network")
    return k, theta


def assemble(
    compute: Callable[[Array, Array], Iterable[jax.Array]],
    x1: Array,
    x2: Array | None,
    tile: int,
    in_flight: int = 1,
) -> tuple[Array, Array]:
    """K and Θ (n1, n2) in float64 out of tiles; of ``x1`` with itself, exactly symmetric, if ``x2`` is None.

    Args:
        compute: K and Θ (a, b) from blocks of a and b points. Short blocks are padded, so that all tiles have one
            shape.
        x1: points along the first axis.
        x2: the same.
        tile: largest number of rows and columns of a tile.
        in_flight: tiles that are asked for before the first of them is waited for.
    """
    symmetric = x2 is None
    other = x1 if x2 is None else x2
    rows, columns = blocks(len(x1), tile), blocks(len(other), tile)
    height, width = _longest(rows), _longest(columns)
    k, theta = (np.empty((len(x1), len(other))) for _ in range(2))
    waiting: deque[tuple[slice, slice, Iterable[jax.Array]]] = deque()

    def collect() -> None:
        at, to, found = waiting.popleft()
        for whole, part in zip((k, theta), found, strict=True):
            _place(whole, at, to, np.asarray(part), symmetric)

    with jax.enable_x64(True):
        for at, to in itertools.product(rows, columns):
            if symmetric and to.start < at.start:
                continue
            found = compute(_padded(x1[at], height), _padded(other[to], width))
            waiting.append((at, to, found))
            if len(waiting) >= in_flight:
                collect()
        while waiting:
            collect()
    return k, theta


def _place(whole: Array, at: slice, to: slice, padded: Array, symmetric: bool) -> None:
    """Write a tile into its matrix, and below the diagonal of a symmetric one what stands above it."""
    part = padded[: at.stop - at.start, : to.stop - to.start]
    whole[at, to] = part
    if symmetric:
        whole[to, at] = np.triu(part) + np.triu(part, 1).T if at == to else part.T


def blocks(n: int, size: int) -> list[slice]:
    """0 … n−1 in consecutive slices of nearly equal length, none longer than ``size``."""
    edges = np.linspace(0, n, -(-n // size) + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def padded_blocks(x: Array, size: int) -> Iterator[tuple[slice, Array]]:
    """The :func:`blocks` of ``x`` along its first axis; the last row of a short one is repeated, so that all have one
    shape."""
    parts = blocks(len(x), size)
    for part in parts:
        yield part, _padded(x[part], _longest(parts))


def _longest(parts: list[slice]) -> int:
    return max(part.stop - part.start for part in parts)


def _padded(x: Array, rows: int) -> Array:
    return x if len(x) == rows else np.concatenate([x, np.repeat(x[-1:], rows - len(x), axis=0)])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _tile(phi: Activation, terms: int, layers: Layers[Any], x1: jax.Array, x2: jax.Array) -> PairKernels:
    p, q, r = inner_products(x1, x2)
    # Of a point with itself, its copies and their opposites, r must be ±p to the last bit, in whatever order the two
    # sums of d terms were taken: depth multiplies what is between them.
    d = x1.shape[1]
    is_one = (p == q) & (p - jnp.abs(r) <= d * jnp.finfo(p.dtype).eps * p)
    return pair_kernels(phi, terms, layers, d, p, q, jnp.where(is_one, jnp.sign(r) * p, r))


def inner_products(x1: jax.Array, x2: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """p (a, 1), q (1, b) and r (a, b): squared norms and inner products of points (a, d) and (b, d)."""
    p, q = (jnp.sum(x * x, axis=1) for x in (x1, x2))
    return p[:, None], q[None, :], x1 @ x2.T
