"""What attacks climb: losses of outputs (o, n) and classes (n,), one number per point, larger is worse for the network.

Cross entropy; the difference of logits ratio (DLR) of Croce & Hein, arXiv 2003.01690, section 4.2; and its targeted
form, appendix A there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ntkrobust.finite.attacks import classes
from ntkrobust.finite.balls import TINY

DLR_OUTPUTS = 3
"""Outputs from which the DLR is more than a sign."""

TARGETED_OUTPUTS = 4
"""Outputs from which its targeted form is defined."""


def cross_entropy(outputs: jax.Array, label: jax.Array) -> jax.Array:
    """−log softmax(f)_c; for one output log(1 + exp(−c f))."""
    if len(outputs) == 1:
        return jax.nn.softplus(-label * outputs[0])
    return -classes.output_of(jax.nn.log_softmax(outputs, axis=0), label)


def dlr(outputs: jax.Array, label: jax.Array, clean_margin: jax.Array) -> jax.Array:
    """−(f_c − max_{k≠c} f_k)/(f_(1) − f_(3)), with f_(1) ≥ f_(2) ≥ … the sorted outputs.

    It keeps its size when outputs are scaled, so it has a gradient where a softmax saturates. With one or two outputs
    there is no f_(3), and dividing by f_(1) − f_(2) would leave a sign; there the margin is divided by its size at the
    input, ``clean_margin`` (n,), a constant.
    """
    margin = classes.margin(outputs, label)
    if len(outputs) < DLR_OUTPUTS:
        return -margin / jnp.maximum(jnp.abs(clean_margin), TINY)
    first, _, third = _largest(outputs, 3)
    return -margin / jnp.maximum(first - third, TINY)


def targeted_dlr(outputs: jax.Array, label: jax.Array, target: jax.Array) -> jax.Array:
    """−(f_c − f_t)/(f_(1) − (f_(3) + f_(4))/2) for target classes t (n,)."""
    first, _, third, fourth = _largest(outputs, 4)
    difference = classes.output_of(outputs, label) - classes.output_of(outputs, target)
    return -difference / jnp.maximum(first - (third + fourth) / 2, TINY)


def _largest(outputs: jax.Array, count: int) -> jax.Array:
    """The largest outputs (count, n), in falling order."""
    return jax.lax.top_k(outputs.T, count)[0].T


def ranked_targets(outputs: jax.Array, label: jax.Array, count: int) -> jax.Array:
    """The ``count`` classes other than c with the largest outputs, (count, n)."""
    others = jnp.where(classes.is_own(outputs, label), -jnp.inf, outputs)
    return jax.lax.top_k(others.T, count)[1].T.astype(jnp.int32)
