"""Measures of how far training has moved a network from what it was when it was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_integer
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.sources import ZHU
from ntkrobust.networks.derivatives import parameter_gradient_unit
from ntkrobust.networks.parameters import Parameters
from ntkrobust.numerics import scaling

KERNEL_POINTS = 64
"""Training points on which the change of the empirical kernel is measured (the first so many)."""

SCALE_POINTS = 4
"""Training points that the scale of the kernel is estimated from, before it is computed."""

ROUNDING = 1e-5
"""A change of f by this share of ‖f_0‖ counts as none: f_0 and f_t are rounded, in an order that is the compiler's."""


def _weights(parameters: Any) -> Sequence[jax.Array]:
    """W_1 … W_L; of a network of one's own all arrays, since nothing says which are weights."""
    return parameters.weights if isinstance(parameters, Parameters) else jax.tree.leaves(parameters)


class LazyRatio(Measure):
    r"""$\kappa_t = \|\theta_t - \theta_0\|_F/\|\theta_0\|_F \text{ over all weights}$."""

    dims = ()
    source = ZHU
    needs_initial = True

    def compute(self, probe: Probe) -> jax.Array:
        """κ_t."""
        return _relative_change(_weights(probe.parameters), _weights(probe.initial))


class LazyRatioPerLayer(Measure):
    r"""$\|W_l(t) - W_l(0)\|_F/\|W_l(0)\|_F$."""

    dims = ("layer",)
    source = ZHU
    needs_initial = True

    def compute(self, probe: Probe) -> jax.Array:
        """The ratio of every layer, (L,)."""
        pairs = zip(_weights(probe.parameters), _weights(probe.initial), strict=True)
        return jnp.stack([_relative_change([new], [old]) for new, old in pairs])


class KernelChange(Measure):
    """How far the empirical kernel has moved.

    Attributes:
        points: training points, the first so many.
    """

    points: int = KERNEL_POINTS
    dims = ()
    needs_training_data = True
    needs_initial = True

    def __post_init__(self) -> None:
        """Check the number of points too."""
        super().__post_init__()
        self._set("points", check_integer("points of KernelChange", self.points, 1))

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return rf"\|\Theta_t - \Theta_0\|_F/\|\Theta_0\|_F \text{{ on the first {self.points} training points}}"

    def compute(self, probe: Probe) -> jax.Array:
        """‖Θ_t − Θ_0‖_F/‖Θ_0‖_F."""
        x, model, scales = probe.x_train[: self.points], probe.model, probe.scales
        # Kernels have the square of the scale of the network, which divides out of the ratio.
        factor = 1 / parameter_gradient_unit(lambda one: model.outputs(scales, one, x[:SCALE_POINTS]), probe.initial)
        new, old = (model.kernel(scales, one, x, factor) for one in (probe.parameters, probe.initial))
        return _relative_change([new], [old])


class LinearisationError(Measure):
    r"""$\|f_t - f_0 - Df_0[\theta_t - \theta_0]\|/\|f_t - f_0\| \text{ over the test points}$."""

    dims = ()
    source = "first-order Taylor expansion in the parameters, biases included"
    needs_initial = True

    def compute(self, probe: Probe) -> jax.Array:
        """‖f_t − f_lin‖/‖f_t − f_0‖ over all outputs, with f_lin = f_0 + Df_0[θ_t − θ_0] by one jvp at θ_0."""
        moved = jax.tree.map(jnp.subtract, probe.parameters, probe.initial)
        f_0, first_order = jax.jvp(
            lambda parameters: probe.model.outputs(probe.scales, parameters, probe.x), (probe.initial,), (moved,)
        )
        change = probe.outputs - f_0
        size, error = scaling.norm(change), scaling.norm(change - first_order)
        rounding = ROUNDING * scaling.norm(f_0)
        # Where nothing has moved the expansion is exact; where only f hasn't, it errs by all there is. NaN stays NaN.
        unmoved = jnp.where(error > rounding, jnp.inf, 0.0)
        has_moved = ~(size <= rounding)
        found = jnp.where(has_moved, error / jnp.where(has_moved, size, 1), unmoved)
        return jnp.where(jnp.isnan(error), jnp.nan, found)


def _relative_change(new: Sequence[jax.Array], old: Sequence[jax.Array]) -> jax.Array:
    """‖new − old‖_F/‖old‖_F over all arrays together."""
    change = scaling.sum_of_all_squares([a - b for a, b in zip(new, old, strict=True)])
    return change.over(scaling.sum_of_all_squares(old))
