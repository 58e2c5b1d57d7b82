"""Classes, and how far outputs are from changing them.

One output has the classes −1 and 1, the sign of f; several have the classes 0 … o−1, the largest output (the first of
equals), as in ``natural_accuracy``. An output of exactly 0 has no class. Outputs are (o, n), with points along the last
axis, where networks have them: what runs over classes then runs over whole vectors of points.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def predicted(outputs: jax.Array) -> jax.Array:
    """Classes (n,) of outputs (o, n), int32."""
    if len(outputs) == 1:
        return jnp.sign(outputs[0]).astype(jnp.int32)
    return jnp.argmax(outputs, axis=0).astype(jnp.int32)


def is_own(outputs: jax.Array, label: jax.Array) -> jax.Array:
    """1[k = c] (o, n) for the classes c = ``label`` (n,)."""
    return jnp.arange(len(outputs))[:, None] == label


def is_kept(outputs: jax.Array, label: jax.Array) -> jax.Array:
    """Whether outputs (o, n) have the classes ``label`` (n,)."""
    if len(outputs) == 1:
        return (predicted(outputs) == label) & (label != 0)
    own = output_of(outputs, label)
    comes_before = jnp.arange(len(outputs))[:, None] < label
    return jnp.all(jnp.where(comes_before, own > outputs, own >= outputs), axis=0)


def output_of(outputs: jax.Array, label: jax.Array) -> jax.Array:
    """f_c (n,) for the classes c = ``label`` (n,), several outputs."""
    return jnp.sum(jnp.where(is_own(outputs, label), outputs, 0), axis=0)


def margin(outputs: jax.Array, label: jax.Array) -> jax.Array:
    """c f for one output, f_c − max_{k≠c} f_k for several, (n,): negative where the class is lost."""
    if len(outputs) == 1:
        return label * outputs[0]
    others = jnp.where(is_own(outputs, label), -jnp.inf, outputs)
    return output_of(outputs, label) - jnp.max(others, axis=0)
