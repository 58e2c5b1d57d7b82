"""Measures by attacks of fixed strength: shares of points that keep their class, and local Lipschitz constants.

Robust accuracy and prediction stability (Wu et al., arXiv 2010.01279) share their candidates: the iterates of PGD that
climbs minus the margin of the *predicted* class, from the input and from a random point. A point is stable if no
candidate has another class than the input; it is robust if no candidate, the input included, has another class than the
true one. Where the input has the true class the two are one condition, and where it hasn't the point is not robust, so

    {robust} = {natural} ∩ {stable},    Nat + Stab − 1 ≤ Rob ≤ min(Nat, Stab),

exactly and for every network. Attacks find some points and not all: both shares are upper bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from ntkrobust.finite import differences
from ntkrobust.finite.attacks import classes, objectives
from ntkrobust.finite.attacks.balls import TINY, Ball, length, random_point
from ntkrobust.finite.attacks.found import Evaluation, Found, Function, at_input, look, worse_of
from ntkrobust.finite.attacks.gradient import Track
from ntkrobust.finite.attacks.pgd import pgd
from ntkrobust.norms import Norm
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.scaling import Scaled

if TYPE_CHECKING:
    from ntkrobust.finite.measures.catalogue import Probe

State = TypeVar("State")

STEPS = 20
"""Steps of PGD in each run."""

NEAR = 0.05
"""Share of ε at which the second run of the local Lipschitz constant starts, so that short distances are seen too."""


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


class Candidate(NamedTuple):
    """Where something was largest, for every point.

    Attributes:
        x: (d, n).
        value: (n,) how large it was there.
    """

    x: jax.Array
    value: jax.Array

    @classmethod
    def none(cls, centre: jax.Array) -> Candidate:
        """Nothing yet: the inputs (d, n) themselves."""
        return cls(centre, jnp.zeros(centre.shape[1], TRAINING_DTYPE))

    def or_larger(self, x: jax.Array, value: jax.Array) -> Candidate:
        """Of this and another place, the one with the larger value; NaN is larger than any."""
        is_larger = ~(value <= self.value)
        return Candidate(jnp.where(is_larger, x, self.x), jnp.where(is_larger, value, self.value))


def points_linf(probe: Probe, has_labels: bool = True) -> Points:
    """In ℓ∞, each test point."""
    return _points(probe, probe.once(_attacked_linf), has_labels)


def points_l2(probe: Probe, has_labels: bool = True) -> Points:
    """In ℓ2, each test point."""
    return _points(probe, probe.once(_attacked_l2), has_labels)


def robust_accuracy(probe: Probe) -> jax.Array:
    """Share of points that no candidate in ℓ∞ takes from the true class."""
    points = points_linf(probe)
    return points.share(points.is_robust)


def robust_accuracy_l2(probe: Probe) -> jax.Array:
    """The same in ℓ2."""
    points = points_l2(probe)
    return points.share(points.is_robust)


def prediction_stability(probe: Probe) -> jax.Array:
    """Share of points that no candidate in ℓ∞ takes from the predicted class."""
    points = points_linf(probe, has_labels=False)
    return points.share(points.is_stable)


def prediction_stability_l2(probe: Probe) -> jax.Array:
    """The same in ℓ2."""
    points = points_l2(probe, has_labels=False)
    return points.share(points.is_stable)


def stability_given_correct(probe: Probe) -> jax.Array:
    """Share, among the points with the true class, of those that no candidate in ℓ∞ takes from it: Rob/Nat."""
    points = points_linf(probe)
    assert points.is_natural is not None
    return points.share(points.is_robust) / points.share(points.is_natural)


def local_lipschitz(probe: Probe) -> jax.Array:
    """max ‖f(x) − f(x')‖₁/‖x − x'‖_∞ over the iterates of two runs that climb the numerator, (n',), rounded down."""
    f, ball = probe.f_in_columns, _ball(probe)
    clean = probe.outputs.T
    key_far, key_near = jax.random.split(jax.random.fold_in(probe.key, 3))
    far = random_point("linf", ball, key_far)
    near = random_point("linf", ball._replace(radius=NEAR * ball.radius), key_near)

    def rise(outputs: jax.Array) -> jax.Array:
        return jnp.sum(jnp.abs(outputs - clean), axis=0)

    def track(best: Candidate, seen: Evaluation) -> Candidate:
        away = length("linf", seen.x - ball.centre)
        return best.or_larger(seen.x, jnp.where(away > 0, seen.loss / jnp.maximum(away, TINY), 0))

    best = _two_runs(f, rise, ball, (far, near), track, Candidate.none(ball.centre))
    # The search may be led by rounding, the number may not: it is made again in float64.
    delta = best.x - ball.centre
    found = differences.change(probe.model, probe.scales, probe.parameters, ball.centre, delta)
    return differences.quotient_below(found, length("linf", delta))


def kl_gradient(probe: Probe) -> Scaled:
    """max ‖∇_{x'} KL(p(x)‖p(x'))‖₁ over the iterates of two runs of PGD that climb it from random points, (n',).

    p is the softmax of f, and for one output the logistic probabilities (σ(f), σ(−f)). The gradient is that in the
    coordinates that may move.

    Small outputs have a divergence that is quadratic in them, and drowns in the rounding of p; of large ones it is
    constant but for where the class changes. The search climbs that of f/T, with
    :func:`~ntkrobust.finite.attacks.objectives.temperature_into_range`; the number is that of f.
    """
    f, ball = probe.f_in_columns, _ball(probe)
    temperature = objectives.temperature_into_range(probe.outputs.T)
    clean = _log_probabilities(probe.outputs.T / temperature)

    def divergence(outputs: jax.Array) -> jax.Array:
        return jnp.sum(jnp.exp(clean) * (clean - _log_probabilities(outputs / temperature)), axis=0)

    def track(best: Candidate, seen: Evaluation) -> Candidate:
        return best.or_larger(seen.x, length("l1", ball.moving(seen.gradient)))

    keys = jax.random.split(jax.random.fold_in(probe.key, 4))
    # At x itself the divergence is least and has no gradient.
    starts = (random_point("linf", ball, keys[0]), random_point("linf", ball, keys[1]))
    best = _two_runs(f, divergence, ball, starts, track, Candidate.none(ball.centre))
    movable = ball.moving(jnp.ones_like(ball.centre))
    return differences.divergence_slope(
        probe.model, probe.scales, probe.parameters, ball.centre, best.x - ball.centre, movable
    )


def _log_probabilities(outputs: jax.Array) -> jax.Array:
    """log p (max(o, 2), n) of outputs (o, n)."""
    if len(outputs) == 1:
        return jnp.concatenate([jax.nn.log_sigmoid(outputs), jax.nn.log_sigmoid(-outputs)])
    return jax.nn.log_softmax(outputs, axis=0)


def _attacked_linf(probe: Probe) -> Found:
    return _attacked("linf", probe)


def _attacked_l2(probe: Probe) -> Found:
    return _attacked("l2", probe)


def _points(probe: Probe, found: Found, has_labels: bool) -> Points:
    return Points(_is_natural(probe) if has_labels else None, found.is_kept, ~jnp.isnan(found.margin))


def _attacked(norm: Norm, probe: Probe) -> Found:
    """The candidate nearest to leaving the predicted class, for every test point."""
    f, ball = probe.f_in_columns, _ball(probe)
    label = classes.predicted(probe.outputs.T)
    start = random_point(norm, ball, jax.random.fold_in(probe.key, 1 if norm == "linf" else 2))

    def track(found: Found, seen: Evaluation) -> Found:
        return worse_of(found, label, seen.x, seen.outputs)

    def loss(outputs: jax.Array) -> jax.Array:
        return -classes.margin(outputs, label)

    found = at_input(f, label, ball.centre)
    return _two_runs(f, loss, ball, (ball.centre, start), track, found, norm)


def _two_runs(
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


def _ball(probe: Probe) -> Ball:
    """Around every test point, within the domain of the data."""
    return Ball.within(probe.x, probe.epsilon, probe.domain)


def _is_natural(probe: Probe) -> jax.Array:
    """Whether the class is the target's, as ``natural_accuracy`` has it, (n',)."""
    return classes.is_kept(probe.outputs.T, classes.predicted(probe.labels.T))
