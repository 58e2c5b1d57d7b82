"""Gradient flow dθ/dt = −∇L(θ), integrated with steps that adapt.

Bogacki and Shampine's pair of orders 3 and 2 (Appl. Math. Lett. 2, 1989): three gradients a step, the last of which is
the first of the next, and comes with the loss there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.checks import check_number
from ntkrobust.errors import InputError
from ntkrobust.finite.training.losses import TrainingLoss
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import Parameters, Stacked
from ntkrobust.numerics.scaling import sum_of_all_squares

STAGES = np.array(
    [[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 3 / 4, 0, 0], [2 / 9, 1 / 3, 4 / 9, 0]],
    dtype=np.float32,
)
"""Row i: weights of the slopes before stage i. The last row is the step itself, of order 3."""

ERROR = np.array([-5 / 72, 1 / 12, 1 / 9, -1 / 8], dtype=np.float32)
"""Weights of the slopes in the difference between the step and its twin of order 2."""

SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0
LONGEST = 1e37
"""Steps are no longer than this, so that the next, ``GROW`` times as long, is a number of float32."""

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""An error of this share of ‖θ‖ is that of storing θ, and no smaller step would lower it."""


def check_tolerance(tolerance: object) -> float:
    """The tolerance as a number between 0 and 1, both excluded; InputError otherwise."""
    number = check_number("tolerance", tolerance)
    if not 0 < number < 1:
        raise InputError(f"tolerance must lie strictly between 0 and 1, got {number:g}")
    return number


def _norm(tree: Parameters | Stacked) -> jax.Array:
    return sum_of_all_squares(jax.tree.leaves(tree)).root


def _along(parameters: Any, size: jax.Array, weights: jax.Array, slopes: Any) -> Any:
    """θ + h Σ_j weights_j k_j."""
    return jax.tree.map(lambda p, k: p + size * jnp.tensordot(weights, k, 1), parameters, slopes)


def _step(
    value_and_gradient: Callable[[Any], tuple[jax.Array, Any]], carry: dict, size: jax.Array
) -> tuple[Any, Any, jax.Array]:
    """The four slopes of a step of length h = ``size``, where it ends, and the loss there."""
    parameters = carry["parameters"]

    def stage(i: jax.Array, inner: tuple) -> tuple:
        slopes, _, _ = inner
        point = _along(parameters, size, jnp.asarray(STAGES)[i], slopes)
        value, gradient = value_and_gradient(point)
        return jax.tree.map(lambda k, g: k.at[i].set(-g), slopes, gradient), point, value

    # Zeros, not what a rejected step left there: that may be infinite, and 0·∞ is no number.
    slopes = jax.tree.map(lambda k: jnp.zeros((4, *k.shape), k.dtype).at[0].set(k), carry["slope"])
    return jax.lax.fori_loop(1, 4, stage, (slopes, parameters, carry["loss"]))


def _error(
    origin: Any, parameters: Any, size: jax.Array, slopes: Any, point: Any, tolerance: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The estimated error of a step that ends at ``point``, and its ratio to what is allowed."""
    distance = _norm(jax.tree.map(jnp.subtract, point, origin))
    error = _norm(_along(jax.tree.map(jnp.zeros_like, parameters), size, jnp.asarray(ERROR), slopes))
    allowed = tolerance * distance + ROUNDING * _norm(parameters) + jnp.finfo(jnp.float32).tiny
    return error, error / allowed


def _judge(
    carry: dict, size: jax.Array, clipped: jax.Array, ratio: jax.Array, value: jax.Array, level: jax.Array,
    tolerance: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Whether a step that ends at the loss ``value`` is taken, and the length of the next one."""
    first = carry["first"]
    exact = ratio <= 1
    beyond = exact & ~first & (value < level * (1 - tolerance))
    # Between exponentials, the logarithm of the loss is straight: aim at the middle of what is allowed.
    middle = jnp.log(carry["loss"] / (level * (1 - tolerance / 2)))
    shorter = jnp.clip(middle / jnp.log(carry["loss"] / value), 0.1, 0.9)
    # The error is of order 3 in h.
    factor = SAFETY / jnp.cbrt(jnp.maximum(ratio, 1e-6))
    rejected = jnp.where(exact, shorter, jnp.clip(factor, SHRINK, SAFETY))
    rejected = jnp.where(jnp.isfinite(rejected), rejected, SHRINK)
    taken = first | (exact & ~beyond)
    # A step cut short by a record says nothing of how long the next may be.
    longer = jnp.where(clipped, carry["size"], size * jnp.clip(factor, SHRINK, GROW))
    return taken, jnp.where(taken, jnp.minimum(longer, LONGEST), size * rejected)


def _clock(carry: dict, size: jax.Array, clipped: jax.Array, until: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The time after a step, and what rounding took from it.

    Compensated sum: thousands of small steps would otherwise lose digits of the time.
    """
    addend = size - carry["late"]
    clock = carry["clock"] + addend
    arrived = clipped & ~carry["first"]
    late = jnp.where(arrived, 0.0, (clock - carry["clock"]) - addend)
    return jnp.where(arrived, until, clock), late


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Gradient flow of one network until a time or a loss is reached, its steps are spent, or its loss rises.

    A step is taken if its estimated error is at most ``tolerance`` times the distance ‖θ − θ_0‖ at its end (Euclidean,
    over all parameters). Relative to ‖θ‖ that would say nothing of wide networks, which hardly move. Relative
    to the length of the step it would hardly end for ReLU: where the flow slides along a jump of the gradient, no step
    is short enough. A step that ends with a loss further below the level than the tolerance is shortened.
    """

    model: Model
    loss: str = "squared"

    def __call__(self, shared: dict, one: dict) -> dict[str, Any]:
        """Take one network to where ``one`` says; see :class:`~ntkrobust.finite.training.attempts.TrainingTask`."""
        training_loss = TrainingLoss(self.model, self.loss)
        value_and_gradient = jax.value_and_grad(lambda parameters: training_loss(shared, parameters))
        tolerance, level = shared["tolerance"], shared["level"]

        def attempt(carry: dict) -> dict:
            # The first pass is a step of length zero: it finds the slope, so that the program holds one gradient.
            first, parameters = carry["first"], carry["parameters"]
            room = one["until"] - carry["clock"]
            clipped = carry["size"] >= room
            size = jnp.where(first, 0.0, jnp.where(clipped, room, carry["size"]))
            slopes, point, value = _step(value_and_gradient, carry, size)
            error, ratio = _error(one["origin"], parameters, size, slopes, point, tolerance)
            taken, proposed = _judge(carry, size, clipped, ratio, value, level, tolerance)
            clock, late = _clock(carry, size, clipped, one["until"])

            after = {
                "parameters": point,
                "slope": jax.tree.map(lambda k: k[3], slopes),
                "loss": value,
                "clock": clock,
                "late": late,
            }
            after = jax.tree.map(lambda new, old: jnp.where(taken, new, old), after, {k: carry[k] for k in after})
            step, loss = carry["step"] + ~first, after["loss"]
            ceiling = jnp.where(
                first & (step == 0), shared["tolerated_rise"] * jnp.maximum(loss, shared["zero_loss"]), carry["ceiling"]
            )
            # A first slope that is no number (0·∞ is none) leads nowhere: no loss is below this ceiling.
            ceiling = jnp.where(first & ~jnp.isfinite(error), jnp.nan, ceiling)
            reached = (after["clock"] >= one["until"]) | (loss <= level)
            return {
                **after,
                "size": jnp.where(first, carry["size"], proposed),
                "step": step,
                "ceiling": ceiling,
                "first": jnp.zeros((), bool),
                "done": reached | (step >= one["stop"]) | ~(loss <= ceiling),
            }

        kept = {name: one[name] for name in ("parameters", "clock", "late", "size", "step", "ceiling")}
        start = {
            **kept,
            "slope": jax.tree.map(jnp.zeros_like, one["parameters"]),
            "loss": jnp.zeros((), jnp.float32),
            "first": jnp.ones((), bool),
            "done": jnp.zeros((), bool),
        }
        end = jax.lax.while_loop(lambda carry: ~carry["done"], attempt, start)
        return {name: end[name] for name in (*kept, "loss")}
