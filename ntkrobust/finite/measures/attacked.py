"""What measures by attacks share: attacks, runs of projected gradient ascent, and what they say of each test point."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_flag
from ntkrobust.finite.attacks import classes
from ntkrobust.finite.attacks.balls import Ball, length
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.finite.attacks.found import Found, Function, look
from ntkrobust.finite.attacks.gradient import Track
from ntkrobust.finite.attacks.margin_pgd import MarginPGD
from ntkrobust.finite.attacks.pgd import pgd
from ntkrobust.finite.measures.base import Measure, Side, number
from ntkrobust.finite.measures.naming import in_small_letters, what_differs
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.norms import Norm
from ntkrobust.numerics.precision import TRAINING_DTYPE

State = TypeVar("State")

STEPS = 20
"""Steps of gradient ascent in each of two runs, unless something else is asked for."""

USUAL = MarginPGD(STEPS, restarts=2)
"""The attack of measures that are given no other."""

INSIDE = "inside the range of the data"

UNIT = 2.0**-24
"""The unit roundoff of float32."""


class Points(NamedTuple):
    """What an attack says about each test point, (n',).

    Attributes:
        is_natural: whether the network gives the true class; absent without labels.
        is_stable: whether no candidate has another class than the input.
        is_defined: whether the outputs of all candidates were numbers.
    """

    is_natural: jax.Array | None
    is_stable: jax.Array
    is_defined: jax.Array

    @property
    def is_robust(self) -> jax.Array:
        """Whether every candidate, the input included, has the true class."""
        assert self.is_natural is not None
        return self.is_natural & self.is_stable

    def share(self, holds: jax.Array) -> jax.Array:
        """The share of points for which something holds; NaN where an output is no number, so has no class."""
        return jnp.where(self.is_defined.all(), jnp.mean(holds, dtype=TRAINING_DTYPE), jnp.nan)


class Attacking(Measure):
    """What is measured by an attack: a bound, or what this attack finds, in its own right.

    Attributes:
        epsilon: radius, in the units of x; None for that of the call.
        by_attack: whether the number is meant as what this attack finds, and then is exact, rather than as a bound of
            what the best attack would.
    """

    epsilon: float | None = number(default=None)
    by_attack: bool = False

    needs: ClassVar[tuple[str, ...]] = ("epsilon",)
    side_of_bound: ClassVar[Side] = "upper"

    def __post_init__(self) -> None:
        """Check the flag too."""
        super().__post_init__()
        self._set("by_attack", check_flag(f"by_attack of {type(self).__name__}", self.by_attack))

    @property
    def side(self) -> Side:
        """Of the bound; exact for what the attack finds."""
        return "exact" if self.by_attack else self.side_of_bound

    def _own_name(self) -> str:
        return self._class_name() + what_differs(self, ("attack", "by_attack"))

    def _class_name(self) -> str:
        return in_small_letters(type(self).__name__) + ("_by_pgd" if self.by_attack else "")

    def ball(self, probe: Probe) -> Ball:
        """Around every test point, within the domain of the data."""
        radius: Any = self.epsilon
        return Ball.within(probe.x, radius, probe.domain)

    def meant(self, source: str) -> str:
        """The source, with what the number is meant as."""
        if not self.by_attack:
            return source
        bound = self._changed({"by_attack": False}).name
        return f"what this attack finds, in its own right: no bound on {bound} is meant. {source}"


def points(probe: Probe, attack: Attack, epsilon: Any, has_labels: bool = True) -> Points:
    """Each test point, attacked in the ball of this radius."""
    found = probe.once(_found, attack, epsilon)
    return Points(is_natural(probe) if has_labels else None, found.is_kept, ~jnp.isnan(found.margin))


def _found(probe: Probe, attack: Attack, epsilon: Any) -> Found:
    """The candidate nearest to leaving the predicted class, for every test point."""
    ball = Ball.within(probe.x, epsilon, probe.domain)
    label = classes.predicted(probe.outputs.T)
    found = attack.against(probe.f_in_columns, label, ball, probe.key)
    if type(attack) is MarginPGD:  # its steps stay inside
        return found
    # What is outside counts for nothing: the input, which has its own class, stands in its place.
    return found._replace(is_kept=found.is_kept | ~_is_inside(attack.norm, ball, found.x))


def _is_inside(norm: Norm, ball: Ball, x: jax.Array) -> jax.Array:
    """Which points (d, n) lie in their ball and its range, up to rounding, (n,)."""
    change = x - ball.centre
    # As in attacks.strength.containment, with room for distances that are rounded too.
    terms = 1 if norm == "linf" else len(x)
    allowed = 2 * UNIT * (length(norm, x) + (terms + 8) * ball.radius)
    in_range = jnp.all((x >= ball.lower) & (x <= ball.upper) & (change == ball.moving(change)), axis=0)
    return in_range & (length(norm, change) - ball.radius <= allowed)


def two_runs(
    f: Function,
    loss: Function,
    ball: Ball,
    starts: tuple[jax.Array, jax.Array],
    track: Track[State],
    state: State,
    steps: int | jax.Array,
) -> State:
    """PGD in ℓ∞ from two starts, one after the other, as one loop."""
    both = jnp.stack(starts)

    def run(index: jax.Array, state: State) -> State:
        return pgd("linf", lambda x: look(f, loss, x), ball, both[index], steps, track, state)

    return jax.lax.fori_loop(0, 2, run, state)


def is_natural(probe: Probe) -> jax.Array:
    """Whether the class is the target's, as ``natural_accuracy`` has it, (n',)."""
    return classes.is_kept(probe.outputs.T, classes.predicted(probe.labels.T))
