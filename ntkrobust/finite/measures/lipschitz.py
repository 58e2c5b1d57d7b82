"""Measures of Lipschitz constants: spectral norms of layers, and what attacks find in balls."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.finite import differences
from ntkrobust.finite.attacks import objectives
from ntkrobust.finite.attacks.balls import TINY, length, random_point
from ntkrobust.finite.attacks.base import count
from ntkrobust.finite.attacks.found import Evaluation
from ntkrobust.finite.measures import stability
from ntkrobust.finite.measures.attacked import INSIDE, STEPS, Attacking, two_runs
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.sources import WU
from ntkrobust.numerics import spectral
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.scaling import Scaled

LAYER_ERROR = 0.5 * spectral.TOLERANCE
"""Largest relative error of ``layer_spectral_norms``, up to the rounding of float32."""


NEAR = 0.05
"""Share of ε at which the second run of the local Lipschitz constant starts, so that short distances are seen too."""


class LipschitzUpper(Measure):
    r"""$\prod_l \|W_l\|_2/\alpha$."""

    dims = ()
    side = "upper"
    source = (
        "product of certified upper ends, of convolutions times ⌈k/stride⌉ and summed over the branches of "
        "a block; bounds the global Lipschitz constant where |φ'| ≤ 1"
    )

    def compute(self, probe: Probe) -> jax.Array:
        """The product, rounded up."""
        return probe.model.lipschitz_upper(probe.scales.weight_gain, probe.spectral_norms.upper)


class NormProductTightness(Measure):
    """How near the product of the layers' norms is to the largest Jacobian."""

    dims = ()
    definition = (
        rf"\max_x \|J(x)\|_2/\prod_l g_l\|W_l\|_2 \text{{ over the test points; relative error at most }} "
        rf"L \cdot {LAYER_ERROR:g}"
    )
    source = "middles of certified ends; at most 1 where |φ'| ≤ 1, by the chain rule"
    fully_connected = True

    def compute(self, probe: Probe) -> jax.Array:
        """The ratio."""
        largest = jnp.max(stability.largest_singular_value(probe.jacobian))
        # As a sum of logarithms: norms of deep networks multiply past the range of float32 before their ratio does.
        return jnp.exp(jnp.log(largest) - jnp.sum(jnp.log(_layer_norms(probe))))


class LayerSpectralNorms(Measure):
    """The norms of all layers."""

    dims = ("layer",)
    definition = (
        rf"g_l\|W_l\|_2,\ g_l \text{{ its factor in the forward pass; relative error at most }} {LAYER_ERROR:g}"
    )
    source = "middle of two certified ends"
    fully_connected = True

    def compute(self, probe: Probe) -> jax.Array:
        """g_l‖W_l‖₂ (L,)."""
        return _layer_norms(probe)


def _layer_norms(probe: Probe) -> jax.Array:
    ends = probe.spectral_norms
    return jnp.abs(probe.scales.weight_gain) * (ends.lower + 0.5 * (ends.upper - ends.lower))


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


class _Climbed(Attacking):
    """The largest number over two runs of projected gradient ascent in ℓ∞.

    Attributes:
        epsilon, by_attack: see :class:`~ntkrobust.finite.measures.attacked.Attacking`.
        steps: gradients in each run.
    """

    steps: int = count(default=STEPS)
    dims = ("point",)
    side_of_bound = "lower"


class LocalLipschitz(_Climbed):
    """How much a network changes between two points near each other, at most."""

    definition = r"\max_{x' \in B_\infty(x,\varepsilon)} \|f(x) - f(x')\|_1/\|x - x'\|_\infty"

    @property
    def source(self) -> str:
        """The attack."""
        return self.meant(f"{WU}; largest over two runs of {self.steps} steps that climb the numerator, {INSIDE}")

    def compute(self, probe: Probe) -> jax.Array:
        """The largest over the iterates of two runs that climb the numerator, (n',), rounded down."""
        f, ball = probe.f_in_columns, self.ball(probe)
        clean = probe.outputs.T
        key_far, key_near = jax.random.split(jax.random.fold_in(probe.key, 3))
        far = random_point("linf", ball, key_far)
        near = random_point("linf", ball._replace(radius=NEAR * ball.radius), key_near)

        def rise(outputs: jax.Array) -> jax.Array:
            return jnp.sum(jnp.abs(outputs - clean), axis=0)

        def track(best: Candidate, seen: Evaluation) -> Candidate:
            away = length("linf", seen.x - ball.centre)
            return best.or_larger(seen.x, jnp.where(away > 0, seen.loss / jnp.maximum(away, TINY), 0))

        best = two_runs(f, rise, ball, (far, near), track, Candidate.none(ball.centre), self.steps)
        # The search may be led by rounding, the number may not: it is made again in float64.
        delta = best.x - ball.centre
        found = differences.change(probe.model, probe.scales, probe.parameters, ball.centre, delta)
        return differences.quotient_below(found, length("linf", delta))


class KlGradient(_Climbed):
    """The steepest that the divergence of predictions is near a point, at most.

    p is the softmax of f, and for one output the logistic probabilities (σ(f), σ(−f)). The gradient is that in the
    coordinates that may move.

    Small outputs have a divergence that is quadratic in them, and drowns in the rounding of p; of large ones it is
    constant but for where the class changes. The search climbs that of f/T, with
    :func:`~ntkrobust.finite.attacks.objectives.temperature_into_range`; the number is that of f.
    """

    definition = (
        r"\max_{x'} \|\nabla_{x'} \mathrm{KL}(p(x)\,\|\,p(x'))\|_1,\ p = \mathrm{softmax}\,f,\ "
        r"x' \text{ the PGD iterates in } B_\infty(x,\varepsilon)"
    )

    @property
    def source(self) -> str:
        """The attack."""
        return self.meant(
            f"the formula of the local Lipschitz constant in the public code of {WU}, which takes it over ten points "
            f"on the way of each training input; here test points, two runs of {self.steps} steps, {INSIDE}"
        )

    def compute(self, probe: Probe) -> Scaled:
        """The largest ‖∇_{x'} KL(p(x)‖p(x'))‖₁ over the iterates of two runs from random points, (n',)."""
        f, ball = probe.f_in_columns, self.ball(probe)
        temperature = objectives.temperature_into_range(probe.outputs.T)
        clean = _log_probabilities(probe.outputs.T / temperature)

        def divergence(outputs: jax.Array) -> jax.Array:
            each = jnp.exp(clean) * (clean - _log_probabilities(outputs / temperature))
            return objectives.weight(temperature) * jnp.sum(each, axis=0)

        def track(best: Candidate, seen: Evaluation) -> Candidate:
            return best.or_larger(seen.x, length("l1", ball.moving(seen.gradient)))

        keys = jax.random.split(jax.random.fold_in(probe.key, 4))
        # At x itself the divergence is least and has no gradient.
        starts = (random_point("linf", ball, keys[0]), random_point("linf", ball, keys[1]))
        best = two_runs(f, divergence, ball, starts, track, Candidate.none(ball.centre), self.steps)
        movable = ball.moving(jnp.ones_like(ball.centre))
        return differences.divergence_slope(
            probe.model, probe.scales, probe.parameters, ball.centre, best.x - ball.centre, movable
        )


def _log_probabilities(outputs: jax.Array) -> jax.Array:
    """log p (max(o, 2), n) of outputs (o, n)."""
    if len(outputs) == 1:
        return jnp.concatenate([jax.nn.log_sigmoid(outputs), jax.nn.log_sigmoid(-outputs)])
    return jax.nn.log_softmax(outputs, axis=0)
