"""Numerical precision, chosen where it is needed and never by a global flag."""

from __future__ import annotations

import contextlib

import jax
import jax.numpy as jnp

TRAINING_DTYPE = jnp.float32
"""Finite networks are drawn, trained and measured in single precision."""


def full_matmul_precision() -> contextlib.AbstractContextManager:
    """Context in which matrix products keep all of float32 (no TF32, no bfloat16 passes on accelerators)."""
    return jax.default_matmul_precision("highest")
