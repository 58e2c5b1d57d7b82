"""Measures of what f changes by under random perturbations of finite size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.finite import differences
from ntkrobust.finite.attacks.balls import Ball, random_point
from ntkrobust.finite.measures.base import Measure, number
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.sources import ZHU
from ntkrobust.numerics import scaling
from ntkrobust.numerics.precision import TRAINING_DTYPE


class _Sampled(Measure):
    """A statistic of so many perturbations of each point.

    Attributes:
        epsilon: radius, in the units of x; None for that of the call.
        samples: draws per point; None for those of the call.
    """

    epsilon: float | None = number(default=None)
    samples: int | None = None
    dims = ("point",)
    needs = ("epsilon",)


class FinitePerturbationStability(_Sampled):
    r"""$E_{\hat x}\,\|f(\hat x) - f(x)\|_2/\varepsilon,\ \hat x \sim \mathrm{Unif}(B_2(x,\varepsilon))$."""

    source = f"the measure of {ZHU} before linearisation; sampled, beyond the range of the data too"

    def compute(self, probe: Probe) -> jax.Array:
        """The mean over draws, (n',)."""
        return jnp.mean(probe.once(_differences, self.epsilon, self.samples), axis=0)


class FinitePerturbationStabilitySe(_Sampled):
    r"""$\text{standard error over draws of } E_{\hat x}\,\|f(\hat x) - f(x)\|_2/\varepsilon$."""

    def compute(self, probe: Probe) -> jax.Array:
        """The standard error of ``finite_perturbation_stability``, (n',)."""
        assert self.samples is not None
        values = probe.once(_differences, self.epsilon, self.samples)
        squares = scaling.sum_of_squares(values - jnp.mean(values, axis=0), 0)
        variance = squares._replace(value=squares.value / (self.samples - 1))
        return variance.root / np.sqrt(self.samples)


class AllowedPerturbationStability(_Sampled):
    """``finite_perturbation_stability`` of perturbations that the domain of the data allows."""

    definition = (
        r"E_{\hat x}\,\|f(\hat x) - f(x)\|_2/\varepsilon,\ \hat x \sim \mathrm{Unif}(B_2(x,\varepsilon)) "
        r"\text{ in the coordinates that may move, then cut to the range of the data}"
    )
    source = "finite_perturbation_stability inside the range of the data; sampled"

    def compute(self, probe: Probe) -> jax.Array:
        """The mean over draws, (n',)."""
        return jnp.mean(probe.once(_allowed_differences, self.epsilon, self.samples), axis=0)


def _differences(probe: Probe, epsilon: jax.Array, samples: int) -> jax.Array:
    """‖f(x̂) − f(x)‖/ε (samples, n') for x̂ uniform in B₂(x, ε), all of it: its limit is that of the linearised f."""
    n, d = probe.x.shape
    key_direction, key_radius = jax.random.split(probe.key)
    direction = jax.random.normal(key_direction, (samples, n, d), dtype=TRAINING_DTYPE)
    direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
    # The radius of a uniform point in the unit ball is U^{1/d}.
    radius = jax.random.uniform(key_radius, (samples, n, 1), dtype=TRAINING_DTYPE) ** (1 / d)
    return jax.lax.map(lambda delta: _change_by(probe, delta.T), epsilon * radius * direction) / epsilon


def _allowed_differences(probe: Probe, epsilon: jax.Array, samples: int) -> jax.Array:
    """‖f(x̂) − f(x)‖/ε (samples, n') for x̂ uniform in the ball of the coordinates that may move, cut to the range."""
    ball = Ball.within(probe.x, epsilon, probe.domain)

    def of_one(key: jax.Array) -> jax.Array:
        return _change_by(probe, random_point("l2", ball, key) - ball.centre)

    keys = jax.random.split(jax.random.fold_in(probe.key, 5), samples)
    return jax.lax.map(of_one, keys) / epsilon


def _change_by(probe: Probe, delta: jax.Array) -> jax.Array:
    """‖f(x + δ) − f(x)‖ (n',) for steps δ (d, n') of any size: the difference is made in float64."""
    found = differences.change(probe.model, probe.scales, probe.parameters, probe.x.T, delta)
    return scaling.norm(found.value, 0)
