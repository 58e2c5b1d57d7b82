"""Square attack: random search by windows, from outputs alone (Andriushchenko et al., arXiv 1912.00049).

Images have square windows; vectors without a shape have windows of neighbouring coordinates. Differing from the paper,
a proposal that leaves the margin as it is is taken, so that the search crosses plateaus.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.checks import check_integer, shown
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.balls import TINY
from ntkrobust.finite.attacks.base import Attack, count
from ntkrobust.finite.attacks.found import Found
from ntkrobust.norms import Norm
from ntkrobust.numerics.scaling import unit

FIRST_SHARE = 0.8
"""p: share of the coordinates in the first windows."""

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries out of 10 000 after which p is halved."""

TILE = 5
"""Side of the bumps that the ℓ2 attack starts from."""

ImageShape = tuple[int, ...]
"""(rows, columns) or (rows, columns, channels)."""


class Square(Attack):
    """Random search by windows, from outputs alone.

    Attributes:
        queries: forward passes.
        image_shape: (rows, columns) or (rows, columns, channels) of the inputs, the last index fastest, for square
            windows; None for runs of neighbouring coordinates.
    """

    queries: int = count(default=500)
    image_shape: ImageShape | None = None

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    uses_gradients = False

    def __post_init__(self) -> None:
        """Check the shape too."""
        super().__post_init__()
        self._set("image_shape", check_image_shape(self.image_shape))

    def lacks(self, d_in: int, d_out: int) -> str:
        """Inputs of that shape."""
        if self.image_shape is not None and math.prod(self.image_shape) != d_in:
            return f"is for inputs of {math.prod(self.image_shape)} numbers, the network's have {d_in}"
        return ""

    def key_index(self) -> int:
        """Of this package."""
        return 5

    def search(self, target: AttackedNetwork, found: Found) -> Found:
        """The worst of what was found and of ``queries`` points around each input."""
        ball, key = target.ball, target.key
        d, n = ball.centre.shape
        grid = Grid.of(self.image_shape, d)
        radius = jnp.reshape(ball.radius, (-1, 1, 1, 1))

        def place(change: jax.Array) -> jax.Array:
            return target.project(ball.centre + change.reshape(n, d).T)

        def proposal(x: jax.Array, index: jax.Array, key: jax.Array) -> jax.Array:
            change = grid.unflatten((x - ball.centre).T)
            size = _window_size(grid, index, self.queries)
            if self.norm == "l2":
                return place(_moved_l2(grid, change, radius, key, size))
            key_window, key_sign = jax.random.split(key)
            window = _draw_window(grid, n, key_window, size)
            return place(jnp.where(window.inside, radius * _signs(key_sign, (n, 1, 1, grid.channels)), change))

        def query(index: jax.Array, carry: tuple[jax.Array, jax.Array, Found]) -> tuple[jax.Array, jax.Array, Found]:
            x, margin, found = carry
            new = proposal(x, index, jax.random.fold_in(key, index))
            outputs = target.f(new)
            new_margin = target.margin(outputs)
            is_taken = new_margin <= margin
            return (
                jnp.where(is_taken, new, x),
                jnp.where(is_taken, new_margin, margin),
                target.judge_outputs(found, new, outputs),
            )

        first = _first_l2 if self.norm == "l2" else _first_linf
        x = place(radius * first(grid, n, jax.random.fold_in(key, 0)))
        outputs = target.f(x)
        carry = (x, target.margin(outputs), target.judge_outputs(found, x, outputs))
        # The start is the first query.
        return jax.lax.fori_loop(1, self.queries, query, carry)[2]


def check_image_shape(image_shape: Sequence[int] | None, d: int | None = None) -> ImageShape | None:
    """(rows, columns) or (rows, columns, channels), of d numbers where that is known; None for None.

    Raises:
        InputError: it is something else.
    """
    if image_shape is None:
        return None
    if not isinstance(image_shape, Sequence) or isinstance(image_shape, str):
        raise InputError(f"image_shape must be (rows, columns[, channels]), got {shown(image_shape)}")
    shape = tuple(check_integer("each entry of image_shape", size, 1) for size in image_shape)
    if len(shape) not in (2, 3) or d not in (None, math.prod(shape)):
        of = "" if d is None else f" of {d} numbers"
        raise InputError(f"image_shape must be (rows, columns[, channels]){of}, got {tuple(image_shape)!r}")
    return shape


class Grid(NamedTuple):
    """How the d coordinates lie.

    Attributes:
        rows, columns, channels: d = rows · columns · channels, the last varies fastest.
        is_image: whether windows have a height.
    """

    rows: int
    columns: int
    channels: int
    is_image: bool

    @classmethod
    def of(cls, image_shape: ImageShape | None, d: int) -> Grid:
        """The grid of images, or of vectors of length d."""
        if image_shape is None:
            return cls(1, d, 1, False)
        rows, columns, channels = (*image_shape, 1)[:3]
        return cls(rows, columns, channels, True)

    def unflatten(self, x: jax.Array) -> jax.Array:
        """(n, d) as (n, rows, columns, channels)."""
        return x.reshape(len(x), self.rows, self.columns, self.channels)


class Window(NamedTuple):
    """One window per point; arrays (n, rows, columns, 1).

    Attributes:
        row, column: of every coordinate, counted from the window's corner.
        inside: whether it is in the window.
        height, width: ().
    """

    row: jax.Array
    column: jax.Array
    inside: jax.Array
    height: jax.Array
    width: jax.Array


def _window_size(grid: Grid, index: jax.Array, queries: int | jax.Array) -> tuple[jax.Array, jax.Array]:
    """Height and width after ``index`` of ``queries`` queries."""
    passed = jnp.sum(index * 10_000 > jnp.asarray(HALVINGS, jnp.float32) * queries, dtype=jnp.float32)
    share = FIRST_SHARE * 2.0**-passed
    if not grid.is_image:
        return jnp.int32(1), jnp.clip(jnp.round(share * grid.columns), 1, grid.columns).astype(jnp.int32)
    side = jnp.round(jnp.sqrt(share * grid.rows * grid.columns))
    side = jnp.clip(side, 1, min(grid.rows, grid.columns)).astype(jnp.int32)
    return side, side


def _draw_window(grid: Grid, n: int, key: jax.Array, size: tuple[jax.Array, jax.Array]) -> Window:
    """A window at a uniform place, for each of n points."""
    height, width = size
    uniform = jax.random.uniform(key, (2, n, 1, 1, 1), jnp.float32)
    top = jnp.floor(uniform[0] * (grid.rows - height + 1)).astype(jnp.int32)
    left = jnp.floor(uniform[1] * (grid.columns - width + 1)).astype(jnp.int32)
    row = jnp.arange(grid.rows, dtype=jnp.int32)[:, None, None] - top
    column = jnp.arange(grid.columns, dtype=jnp.int32)[:, None] - left
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row, column = jnp.broadcast_arrays(row, column)
    return Window(row, column, inside, height, width)


def _bump(row: jax.Array, column: jax.Array, height: jax.Array, width: jax.Array, largest: int) -> jax.Array:
    """Σ_{k=0}^{M} (m + 1 − k)^{−2} with M = m − max(|row − ⌊height/2⌋|, |column − ⌊width/2⌋|), 0 where M < 0: it rises
    towards the middle of a rectangle (section 3.4 of the paper), m half its longer side.
    """
    # Partial sums of 1/j²: the sum above is the one up to m + 1 without the one up to m − M.
    sums = jnp.asarray(np.concatenate([[0], np.cumsum(1.0 / np.arange(1, largest + 3) ** 2)]), jnp.float32)
    half = jnp.maximum(height, width) // 2
    away = jnp.maximum(jnp.abs(row - height // 2), jnp.abs(column - width // 2))
    return jnp.where(away <= half, sums[half + 1] - sums[jnp.clip(away, 0, largest + 2)], 0)


def _two_bumps(grid: Grid, window: Window, key: jax.Array) -> jax.Array:
    """A rising and a falling bump side by side in each window, of length 1, (n, rows, columns, 1)."""
    largest = max(grid.rows, grid.columns)

    def halves(row: jax.Array, column: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
        first = width // 2
        rising = _bump(row, column, height, first, largest)
        falling = _bump(row, column - first, height, width - first, largest)
        return jnp.where(column < first, rising, -falling)

    bumps = halves(window.row, window.column, window.height, window.width)
    if grid.is_image:
        is_turned = jax.random.bernoulli(key, 0.5, (len(bumps), 1, 1, 1))
        bumps = jnp.where(is_turned, halves(window.column, window.row, window.width, window.height), bumps)
    bumps = jnp.where(window.inside, bumps, 0)
    return bumps / _size(bumps)


def _size(block: jax.Array) -> jax.Array:
    """ℓ2 length over rows and columns, (n, 1, 1, channels), positive."""
    return jnp.maximum(jnp.sqrt(jnp.sum(block**2, axis=(1, 2), keepdims=True)), TINY)


def _signs(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.rademacher(key, shape, jnp.float32)


def _first_linf(grid: Grid, n: int, key: jax.Array) -> jax.Array:
    """Stripes of ±1, one sign per column and channel, (n, rows, columns, channels)."""
    stripes = _signs(key, (n, 1, grid.columns, grid.channels))
    return jnp.broadcast_to(stripes, (n, grid.rows, grid.columns, grid.channels))


def _first_l2(grid: Grid, n: int, key: jax.Array) -> jax.Array:
    """Tiles of bumps with random signs, together of length 1."""
    down, across = math.ceil(grid.rows / TILE), math.ceil(grid.columns / TILE)
    row, column = (jnp.arange(size, dtype=jnp.int32) for size in (grid.rows, grid.columns))
    bumps = _bump((row % TILE)[:, None], column % TILE, jnp.int32(TILE), jnp.int32(TILE), TILE)
    signs = _signs(key, (n, down, across, grid.channels))[:, row // TILE][:, :, column // TILE]
    tiles = signs * bumps[:, :, None]
    return tiles / jnp.sqrt(jnp.sum(tiles**2, axis=(1, 2, 3), keepdims=True))


def _moved_l2(
    grid: Grid, change: jax.Array, radius: jax.Array, key: jax.Array, size: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """Take what one window has of the length, and what is left of ε, to two bumps in another (algorithm 3).

    In units of a power of two near ε: its square may be none of float32.
    """
    of = unit(radius, -1)
    change, radius = change / of, radius / of
    key_to, key_from, key_turn, key_sign = jax.random.split(key, 4)
    n = len(change)
    to, away = (_draw_window(grid, n, one, size) for one in (key_to, key_from))
    unused = jnp.maximum(radius**2 - jnp.sum(change**2, axis=(1, 2, 3), keepdims=True), 0)
    either = jnp.sum(jnp.where(to.inside | away.inside, change, 0) ** 2, axis=(1, 2), keepdims=True)
    there = jnp.where(to.inside, change, 0)
    sign = _signs(key_sign, (n, 1, 1, grid.channels))
    added = sign * _two_bumps(grid, to, key_turn) + there / _size(there)
    added = added / _size(added) * jnp.sqrt(either + unused / grid.channels)
    return of * jnp.where(to.inside, added, jnp.where(away.inside, 0, change))
