"""What attacks climb: losses of outputs (o, n) and classes (n,), one number per point, larger is worse for the network.

Cross entropy; the difference of logits ratio (DLR) of Croce & Hein, arXiv 2003.01690, section 4.2; and its targeted
form, appendix A there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ntkrobust.finite.attacks import classes
from ntkrobust.finite.attacks.balls import TINY
from ntkrobust.numerics.scaling import unit

DLR_OUTPUTS = 3
"""Outputs from which the DLR is more than a sign."""

TARGETED_OUTPUTS = 4
"""Outputs from which its targeted form is defined."""

SMALLEST, LARGEST = 2.0**-5, 2.0**5
"""Sizes of outputs between which attacks climb the cross entropy as it is."""

ORDINARY = 8.0
"""Size that others are brought to: large enough for the classes that matter to stand out, and far from saturation."""


def temperature(clean: jax.Array) -> jax.Array:
    """T (n,) of :func:`cross_entropy` as attacks climb it, from the outputs (o, n) at the inputs.

    With s the largest |f_k|, or the largest |f_k − mean f| of several: 1 where ``SMALLEST`` ≤ s ≤ ``LARGEST``, and
    s/``ORDINARY`` outside, so that networks multiplied by a number are attacked alike. With T = 1 the loss of a network
    multiplied by 1e3 saturates, and has no gradient; multiplied by 1e-8, it is a constant in float32.
    """
    size = _size(clean)
    return jnp.where((size > 0) & ((size < SMALLEST) | (size > LARGEST)), size / ORDINARY, 1)


def temperature_into_range(clean: jax.Array) -> jax.Array:
    """T (n,) that brings the size s of :func:`temperature` to the nearer end of ``SMALLEST`` … ``LARGEST``; 1 inside.

    For a divergence of class probabilities, which is quadratic in small outputs whatever their size, and linear in
    large ones where the class changes.
    """
    size = _size(clean)
    return jnp.where(size > 0, size / jnp.clip(size, SMALLEST, LARGEST), 1)


def cross_entropy(outputs: jax.Array, label: jax.Array, temperature: jax.Array | float = 1.0) -> jax.Array:
    """−w(T) log softmax(f/T)_c, see :func:`weight`; for one output w(T) log(1 + exp(−c f/T))."""
    outputs = outputs / temperature
    if len(outputs) == 1:
        return weight(temperature) * jax.nn.softplus(-label * outputs[0])
    return -weight(temperature) * classes.output_of(jax.nn.log_softmax(outputs, axis=0), label)


def weight(temperature: jax.Array | float) -> jax.Array:
    """w(T): the power of two from T/2 to T; 1 below 1.

    The derivative by large outputs, (p − e)/T, could else vanish before it meets their weights; a small T as a factor
    would meet small weights, and their product is beyond float32. A power of two leaves all digits, so that a search
    goes the same way on a network and on its multiple by one.
    """
    return jnp.maximum(unit(jnp.asarray(temperature), ()), 1)


def dlr(outputs: jax.Array, label: jax.Array, clean_margin: jax.Array) -> jax.Array:
    """−(f_c − max_{k≠c} f_k)/(f_(1) − f_(3)), with f_(1) ≥ f_(2) ≥ … the sorted outputs.

    It keeps its size when outputs are scaled, so it has a gradient where a softmax saturates. With one or two outputs
    there is no f_(3), and dividing by f_(1) − f_(2) would leave a sign; there the margin is divided by its size at the
    input, ``clean_margin`` (n,), a constant.
    """
    if len(outputs) < DLR_OUTPUTS:
        return -classes.margin(outputs, label) / jnp.maximum(jnp.abs(clean_margin), TINY)
    outputs = _of_ordinary_size(outputs)
    first, _, third = _largest(outputs, 3)
    return -classes.margin(outputs, label) / jnp.maximum(first - third, TINY)


def targeted_dlr(outputs: jax.Array, label: jax.Array, target: jax.Array) -> jax.Array:
    """−(f_c − f_t)/(f_(1) − (f_(3) + f_(4))/2) for target classes t (n,)."""
    outputs = _of_ordinary_size(outputs)
    first, _, third, fourth = _largest(outputs, 4)
    difference = classes.output_of(outputs, label) - classes.output_of(outputs, target)
    return -difference / jnp.maximum(first - (third + fourth) / 2, TINY)


def _size(outputs: jax.Array) -> jax.Array:
    """The largest |f_k| (n,), or the largest |f_k − mean f| of several."""
    if len(outputs) > 1:
        outputs = outputs - jnp.mean(outputs, axis=0)
    return jnp.max(jnp.abs(outputs), axis=0)


def _of_ordinary_size(outputs: jax.Array) -> jax.Array:
    """Outputs (o, n) divided by a power of two near the largest of each point, which no ratio of them notices.

    The derivative of a ratio has the square of what it is divided by, which float32 can't hold for outputs below 1e-19
    or above 1e19.
    """
    return outputs / unit(outputs, 0)


def _largest(outputs: jax.Array, count: int) -> jax.Array:
    """The largest outputs (count, n), in falling order."""
    return jax.lax.top_k(outputs.T, count)[0].T


def ranked_targets(outputs: jax.Array, label: jax.Array, count: int) -> jax.Array:
    """The ``count`` classes other than c with the largest outputs, (count, n)."""
    others = jnp.where(classes.is_own(outputs, label), -jnp.inf, outputs)
    return jax.lax.top_k(others.T, count)[1].T.astype(jnp.int32)
