"""Two lines around an activation on an interval: a z + b ≤ φ(z) ≤ a' z + b' for every z in [l, u].

Any slope gives a valid line, once its shift is the extreme value of g(z) = φ(z) − a z on the interval. So slopes are
chosen to be tight and need no digits, and shifts are what is proved. The line that encloses least area is the one that
is nearest to φ over the middle of the interval, so that is what slopes are chosen by.

- relu and its kin are max(z, s z): convex, so that g is largest at an end of [l, u], and a z ≤ φ(z) for all slopes a in
  [s, 1].
- Smooth activations are concave on some half-lines. There g lies below each of its tangents, wherever they touch:
  g(z) ≤ g(t) + g'(t)(z − t). Elsewhere it is convex, and largest at an end of the interval or where a concave part
  begins.

All of it is in float64, and every shift is moved outwards by more than its own rounding: :data:`SLACK` of the size of
what was subtracted. Lower lines are the upper ones of −φ, with their signs turned.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from ntkrobust.errors import InputError
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.models import STEEPEST
from ntkrobust.numerics.wide import UNIT

SLACK = 2.0**-44
"""What shifts are moved by, relative to the sizes of the numbers in them: five hundred units of float64, where the
functions of the library are off by a few."""

_BISECTIONS = 16
_TANGENTS = 4

EVALUATED = {"relu": 0.0, "linear": 0.0, "leaky_relu": 2.0**-22}
"""What float32 adds to |φ(z)|, relative to |z|, where it isn't :data:`SMOOTHLY`."""

SMOOTHLY = 2.0**-20
"""The same for smooth activations: sixteen units of float32; a test looks for the largest error."""


class Lines(NamedTuple):
    """Slopes and shifts of a lower and an upper line, each of the shape of the pre-activations."""

    lower_slope: jax.Array
    lower_shift: jax.Array
    upper_slope: jax.Array
    upper_shift: jax.Array


@dataclasses.dataclass(frozen=True)
class _Bend:
    """A half-line or interval on which a curve is concave.

    Attributes:
        start, end: its ends.
        touching: slope a, and ends of a part of it, to a place in that part whose tangent has about this slope.
    """

    start: float
    end: float
    touching: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class _Curve:
    """A smooth function and its derivative.

    Attributes:
        value, slope: of it.
        bends: where it is concave; between these parts it is convex.
        valleys: those parts, as bends of its negative.
    """

    value: Callable[[jax.Array], jax.Array]
    slope: Callable[[jax.Array], jax.Array]
    bends: tuple[_Bend, ...]
    valleys: tuple[_Bend, ...]

    def turned(self) -> _Curve:
        """Its negative."""
        return _Curve(lambda z: -self.value(z), lambda z: -self.slope(z), self.valleys, self.bends)


def check_known(phi: Activation) -> None:
    """Raise InputError unless the activation is one that lines are known for."""
    if phi.function is not None:
        raise InputError(
            f"certificates know relu, leaky_relu, linear, tanh, erf and gelu, not the function {phi.name!r}: of such a "
            "network an attack bounds robustness from above, and nothing from below"
        )


def evaluated_within(phi: Activation) -> float:
    """c such that float32 evaluates φ(z) within c|z|."""
    return EVALUATED.get(phi.name, SMOOTHLY)


def derivative(phi: Activation, z: jax.Array) -> jax.Array:
    """φ'(z) of a smooth activation."""
    return _CURVES[phi.name].slope(z)


def size_after(phi: Activation, size: jax.Array) -> jax.Array:
    """A number that |φ(z)| isn't above where |z| ≤ size: φ(0) = 0."""
    return size if phi.negative_slope is not None else STEEPEST * size


def value_range(phi: Activation, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Ends around φ([l, u])."""
    slope = phi.negative_slope
    if slope is not None:
        down, up = (jnp.where(end >= 0, end, slope * end) for end in (lower, upper))
        # The product with a slope is rounded.
        return down - 2 * UNIT * jnp.abs(down), up + 2 * UNIT * jnp.abs(up)
    curve = _CURVES[phi.name]
    down, up = curve.value(lower), curve.value(upper)
    low, high = jnp.minimum(down, up), jnp.maximum(down, up)
    if phi.name == "gelu":
        low = jnp.where((lower <= _GELU_DIP) & (upper >= _GELU_DIP), curve.value(jnp.asarray(_GELU_DIP)), low)
    slack = SLACK * jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    return low - slack, high + slack


def lines(phi: Activation, lower: jax.Array, upper: jax.Array) -> Lines:
    """Lines around φ on [lower, upper], entry by entry, in float64."""
    slope = phi.negative_slope
    if slope == 1:
        one, zero = jnp.ones_like(lower), jnp.zeros_like(lower)
        return Lines(one, zero, one, zero)
    if slope is not None:
        return _of_kink(slope, lower, upper)
    curve = _CURVES[phi.name]
    above = _upper_line(curve, lower, upper)
    below = _upper_line(curve.turned(), lower, upper)
    return Lines(-below[0], -below[1], *above)


def _of_kink(s: float, lower: jax.Array, upper: jax.Array) -> Lines:
    """Of max(z, s z): the chord from above; from below the branch that is nearer in the middle."""
    down, up = (jnp.where(end >= 0, end, s * end) for end in (lower, upper))
    width = upper - lower
    is_split = (lower < 0) & (upper > 0)
    chord = jnp.clip((up - down) / jnp.where(is_split, width, 1), s, 1)
    slope = jnp.where(is_split, chord, jnp.where(upper > 0, 1.0, s))
    shift = jnp.maximum(down - slope * lower, up - slope * upper)
    size = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    shift = jnp.where(is_split, shift + SLACK * size, 0)
    beneath = jnp.where(is_split, jnp.where(upper > -lower, 1.0, s), slope)
    return Lines(beneath, jnp.zeros_like(lower), slope, shift)


def _upper_line(curve: _Curve, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Slope and shift of a line above a curve on [l, u]: the best over the middle of some that are worth trying."""
    middle = 0.5 * (lower + upper)
    corners = jnp.stack([lower, upper])
    values = curve.value(corners)
    width = upper - lower
    chord = jnp.where(width > 0, (values[1] - values[0]) / jnp.where(width > 0, width, 1), curve.slope(middle))
    trials = [jnp.stack([chord, curve.slope(middle)])]
    for bend in curve.bends:
        start, end = (jnp.clip(edge, lower, upper) for edge in (bend.start, bend.end))

        def steeper(_: int, slope: jax.Array, bend: _Bend = bend, start: Any = start, end: Any = end) -> jax.Array:
            at = bend.touching(slope, start, end)
            away = at - corners
            return jnp.where(away != 0, (curve.value(at) - values) / jnp.where(away != 0, away, 1), slope)

        # The steepest way from a corner to the bend, or the flattest where it lies to the left (Dinkelbach 1967).
        trials.append(jax.lax.fori_loop(0, _TANGENTS, steeper, jnp.broadcast_to(chord, corners.shape)))
    slopes = jnp.concatenate(trials)
    shifts = _upper_shift(curve, slopes, lower, upper)
    best = slopes[0], shifts[0]
    for slope, shift in zip(slopes[1:], shifts[1:], strict=True):
        is_better = slope * middle + shift < best[0] * middle + best[1]
        best = jnp.where(is_better, slope, best[0]), jnp.where(is_better, shift, best[1])
    return best


def _upper_shift(curve: _Curve, slope: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """A number that φ(z) − a z is not above on [l, u], whatever the slope a."""

    def g(z: jax.Array) -> jax.Array:
        return curve.value(z) - slope * z

    most = jnp.maximum(g(lower), g(upper))
    for bend in curve.bends:
        start, end = (jnp.clip(edge, lower, upper) for edge in (bend.start, bend.end))
        at = bend.touching(slope, start, end)
        rise = curve.slope(at) - slope
        tangent = g(at) + jnp.maximum(rise * (start - at), rise * (end - at))
        # Where the bend lies outside, start = end is an end of the interval, and so is the tangent's place.
        most = jnp.maximum(most, tangent)
    size = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    return most + SLACK * (STEEPEST + 2 * jnp.abs(slope)) * size


# --- the smooth activations


def _tanh_slope(z: jax.Array) -> jax.Array:
    return (1 - jnp.tanh(z)) * (1 + jnp.tanh(z))


def _erf_slope(z: jax.Array) -> jax.Array:
    return 2 / math.sqrt(math.pi) * jnp.exp(-z * z)


def _gelu(z: jax.Array) -> jax.Array:
    return 0.5 * z * jax.scipy.special.erfc(-z * math.sqrt(0.5))


def _gelu_slope(z: jax.Array) -> jax.Array:
    return 0.5 * jax.scipy.special.erfc(-z * math.sqrt(0.5)) + z * jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


_GELU_DIP = -0.7517915246935645
"""Where gelu is smallest, to within the rounding of float64; its value there has no digits to lose."""


def _even(inverse: Callable[[jax.Array], jax.Array], sign: int) -> Callable[..., jax.Array]:
    """Where an even slope is a, on the half-line of this sign; on the negative one it is −φ that is concave."""
    return lambda slope, start, end: jnp.clip(sign * inverse(sign * slope), start, end)


def _tanh_inverse(slope: jax.Array) -> jax.Array:
    return jnp.arctanh(jnp.sqrt(1 - jnp.clip(slope, 1e-14, 1)))


def _erf_inverse(slope: jax.Array) -> jax.Array:
    return jnp.sqrt(-jnp.log(jnp.clip(0.5 * math.sqrt(math.pi) * slope, 1e-14, 1)))


def _by_halving(slope_of: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    """Where a slope that falls through a part is a."""

    def touching(slope: jax.Array, start: jax.Array, end: jax.Array) -> jax.Array:
        def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            middle = 0.5 * (ends[0] + ends[1])
            is_before = slope_of(middle) > slope
            return jnp.where(is_before, middle, ends[0]), jnp.where(is_before, ends[1], middle)

        both = jnp.broadcast_to(start, slope.shape), jnp.broadcast_to(end, slope.shape)
        ends = jax.lax.fori_loop(0, _BISECTIONS, halve, both)
        return 0.5 * (ends[0] + ends[1])

    return touching


_INF = math.inf
_TURN = math.sqrt(2)
"""Where gelu's second derivative (2 − z²)·exp(−z²/2)/√(2π) vanishes, to rounding: there it is below 2⁻⁵¹."""

_CURVES = {
    "tanh": _Curve(
        jnp.tanh, _tanh_slope,
        bends=(_Bend(0, _INF, _even(_tanh_inverse, 1)),),
        valleys=(_Bend(-_INF, 0, _even(_tanh_inverse, -1)),),
    ),
    "erf": _Curve(
        erf, _erf_slope,
        bends=(_Bend(0, _INF, _even(_erf_inverse, 1)),),
        valleys=(_Bend(-_INF, 0, _even(_erf_inverse, -1)),),
    ),
    "gelu": _Curve(
        _gelu, _gelu_slope,
        bends=tuple(_Bend(*ends, _by_halving(_gelu_slope)) for ends in ((-_INF, -_TURN), (_TURN, _INF))),
        valleys=(_Bend(-_TURN, _TURN, _by_halving(lambda z: -_gelu_slope(z))),),
    ),
}  # fmt: skip
