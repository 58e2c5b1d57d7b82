"""Measures of outputs: their size, losses, and shares of right classes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.numerics import scaling
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.scaling import Scaled


class OutputRms(Measure):
    r"""$\mathrm{rms}_x\|f(x)\|_2$."""

    dims = ()

    def compute(self, probe: Probe) -> jax.Array:
        """The size of the outputs at the test points."""
        return output_rms(probe)


class TrainLoss(Measure):
    r"""$\tfrac12 \sum_i \|f(x_i) - y_i\|^2 \text{ over the training set}$."""

    dims = ()
    needs_training_data = True

    def compute(self, probe: Probe) -> Scaled:
        """The squared loss, a sum."""
        return scaling.sum_of_squares(probe.f(probe.x_train) - probe.y_train).scaled().times(0.5)


class TestMse(Measure):
    r"""$\mathrm{mean}_x \|f(x) - y\|^2 \text{ over the test set}$."""

    dims = ()
    needs = ("y_test",)

    def compute(self, probe: Probe) -> Scaled:
        """The squared error, a mean over points of sums over outputs."""
        return scaling.mean_square_of_rows(probe.outputs - probe.labels).scaled()


class TrainAccuracy(Measure):
    r"""$\text{share of training points whose class is predicted}$."""

    dims = ()
    needs_training_data = True
    of_classes = True

    def compute(self, probe: Probe) -> jax.Array:
        """The share."""
        return _accuracy(probe.f(probe.x_train), probe.y_train)


class NaturalAccuracy(Measure):
    r"""$\text{share of test points whose class is predicted}$."""

    dims = ()
    needs = ("y_test",)
    of_classes = True

    def compute(self, probe: Probe) -> jax.Array:
        """The share."""
        return _accuracy(probe.outputs, probe.labels)


def output_rms(probe: Probe) -> jax.Array:
    """rms_x ‖f(x)‖₂ over the test points."""
    return scaling.mean_square_of_rows(probe.outputs).root


def _accuracy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Share of rows whose predicted class is the target's: the sign for one output, the largest for several."""
    if y.shape[-1] == 1:
        is_right = jnp.sign(outputs[..., 0]) == jnp.sign(y[..., 0])
    else:
        is_right = jnp.argmax(outputs, -1) == jnp.argmax(y, -1)
    # An output that is no number has no class, and a share that counts it would be a number all the same.
    return jnp.where(jnp.isfinite(outputs).all(), jnp.mean(is_right, dtype=TRAINING_DTYPE), jnp.nan)
