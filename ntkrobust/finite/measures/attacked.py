"""What measures by attacks share: two runs of projected gradient ascent, and what they say of each test point."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_flag
from ntkrobust.finite.attacks import classes
from ntkrobust.finite.attacks.balls import Ball, random_point
from ntkrobust.finite.attacks.found import Evaluation, Found, Function, at_input, look, worse_of
from ntkrobust.finite.attacks.gradient import Track
from ntkrobust.finite.attacks.pgd import pgd
from ntkrobust.finite.measures.base import Measure, Side
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.norms import Norm
from ntkrobust.numerics.precision import TRAINING_DTYPE

State = TypeVar("State")

STEPS = 20
"""Steps of PGD in each run."""

INSIDE = "inside the range of the data"
ATTACKED = f"two runs of PGD against the predicted class, {STEPS} steps each, the same candidates for both, {INSIDE}"

_KEYS: dict[Norm, int] = {"linf": 1, "l2": 2, "l1": 6}
"""What the key of a network is folded with, for the start of the second run."""


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


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Attacking(Measure):
    """What is measured by an attack: bounds, or what this attack finds, in its own right.

    Attributes:
        by_attack: whether the number is meant as what this attack finds, and then is exact, rather than as a bound of
            what the best attack would.
    """

    by_attack: bool = False
    needs: ClassVar[tuple[str, ...]] = ("epsilon",)
    bounds_from: ClassVar[Side] = "upper"
    origin: ClassVar[str] = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_attack", check_flag(f"by_attack of {type(self).__name__}", self.by_attack))

    @property
    def name(self) -> str:
        """That of its class, and of the attack if it is about that."""
        return self.named()

    def named(self, suffix: str = "") -> str:
        """The name of its class with a suffix, and the attack's if it is about that."""
        return super().name + suffix + ("_by_pgd" if self.by_attack else "")

    @property
    def side(self) -> Side:
        """Of the bound; exact for what the attack finds."""
        return "exact" if self.by_attack else self.bounds_from

    @property
    def source(self) -> str:
        """The attack, and what the number is meant as."""
        source = f"{self.origin}; {ATTACKED}" if self.origin else ATTACKED
        return self.meant(source)

    def meant(self, source: str) -> str:
        """Where it comes from, with what it is meant as."""
        if not self.by_attack:
            return source
        bound = dataclasses.replace(self, by_attack=False).name
        return f"what this attack finds, in its own right: no bound on {bound} is meant. {source}"


def points(probe: Probe, norm: Norm, has_labels: bool = True) -> Points:
    """Each test point, in the ball of a norm."""
    found = probe.once(_Search(norm))
    return Points(_is_natural(probe) if has_labels else None, found.is_kept, ~jnp.isnan(found.margin))


@dataclasses.dataclass(frozen=True)
class _Search:
    """The candidate nearest to leaving the predicted class, for every test point."""

    norm: Norm

    def __call__(self, probe: Probe) -> Found:
        f, ball = probe.f_in_columns, ball_of(probe)
        label = classes.predicted(probe.outputs.T)
        start = random_point(self.norm, ball, jax.random.fold_in(probe.key, _KEYS[self.norm]))

        def track(found: Found, seen: Evaluation) -> Found:
            return worse_of(found, label, seen.x, seen.outputs)

        def loss(outputs: jax.Array) -> jax.Array:
            return -classes.margin(outputs, label)

        found = at_input(f, label, ball.centre)
        return two_runs(f, loss, ball, (ball.centre, start), track, found, self.norm)


def two_runs(
    f: Function,
    loss: Function,
    ball: Ball,
    starts: tuple[jax.Array, jax.Array],
    track: Track[State],
    state: State,
    norm: Norm = "linf",
) -> State:
    """PGD from two starts, one after the other, as one loop."""

    both = jnp.stack(starts)

    def run(index: jax.Array, state: State) -> State:
        return pgd(norm, lambda x: look(f, loss, x), ball, both[index], STEPS, track, state)

    return jax.lax.fori_loop(0, 2, run, state)


def ball_of(probe: Probe) -> Ball:
    """Around every test point, within the domain of the data."""
    return Ball.within(probe.x, probe.epsilon, probe.domain)


def _is_natural(probe: Probe) -> jax.Array:
    """Whether the class is the target's, as ``natural_accuracy`` has it, (n',)."""
    return classes.is_kept(probe.outputs.T, classes.predicted(probe.labels.T))
