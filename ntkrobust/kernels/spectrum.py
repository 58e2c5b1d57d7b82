"""The training kernel's eigenvalues λ: whether they can be inverted, and how training responds along them.

Training multiplies the residual along an eigenvector by e^{−λt} (gradient flow) or (1 − ηλ)^k (k steps of gradient
descent). What the predictor needs of it is the response m = (1 − e^{−λt})/λ, the eigenvalue of M_t.
"""

from __future__ import annotations

import functools
import math
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.checks import shown
from ntkrobust.errors import InputError

Array = npt.NDArray[np.float64]


class Conditioning(NamedTuple):
    """How well the training kernel can be inverted, and what its numbers rest on.

    Attributes:
        smallest: λ_min of Θ(X, X), before the ridge.
        largest: λ_max.
        condition_number: (λ_max + ridge)/(λ_min + ridge); inf if that isn't positive.
        ridge: what was added to the eigenvalues because it was asked for; nothing is ever added silently.
        series_terms: terms of the Hermite series of the activation, 0 where closed forms are used.
        series_error: bound on the relative error of its expectations.
    """

    smallest: float
    largest: float
    condition_number: float
    ridge: float
    series_terms: int
    series_error: float


def diagnose(
    eigenvalues: Array, ridge: float, learning_rate: float | None, series_terms: int = 0, series_error: float = 0.0
) -> Conditioning:
    """The conditioning of a training kernel with ``eigenvalues`` (n,), ascending.

    Raises:
        InputError: the kernel isn't positive semi-definite, or gradient descent with this learning rate diverges.
    """
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    rounding = len(eigenvalues) * max(np.finfo(float).eps, series_error)
    if smallest < -10 * rounding * largest:
        raise InputError(
            f"the training kernel is not positive semi-definite (λ_min = {smallest:.1e}, λ_max = {largest:.1e})"
        )
    if learning_rate is not None and learning_rate * (largest + ridge) >= 2:
        raise InputError(
            f"learning_rate={learning_rate:g} diverges: it must be below 2/λ_max = {2 / (largest + ridge):g}"
        )
    lowest = smallest + ridge
    condition = (largest + ridge) / lowest if lowest > 0 else math.inf
    return Conditioning(smallest, largest, condition, ridge, series_terms, series_error)


def response(
    eigenvalues: Array,
    conditioning: Conditioning,
    time: object,
    learning_rate: float | None,
    kernel_error: float = 0.0,
) -> Array:
    """m (n,) at gradient-flow time ``time`` ≥ 0; with a learning rate η, after time/η steps; inf is allowed.

    Args:
        eigenvalues: λ (n,).
        conditioning: what :func:`diagnose` said of them.
        time: t.
        learning_rate: η, or None.
        kernel_error: relative error of the kernel's entries, where it exceeds rounding.

    Raises:
        InputError: the time is negative, NaN, or not a multiple of the learning rate; or the training kernel is too
            nearly singular for it.
    """
    time = check_time(time)
    shifted = np.maximum(eigenvalues, 0.0) + conditioning.ridge
    found = _response(shifted, time, learning_rate)
    _refuse_amplified(conditioning, found, time, kernel_error)
    return found


def check_time(time: object) -> float:
    """A time as a float that is not negative, inf allowed; InputError otherwise."""
    try:
        number = float(time) if isinstance(time, Real) and not isinstance(time, bool) else math.nan
    except OverflowError:  # an integer beyond the floats
        number = math.nan
    if not number >= 0:
        raise InputError(f"time must be a number that is not negative (inf is allowed), got {shown(time)}")
    return number


def _response(shifted: Array, time: float, learning_rate: float | None) -> Array:
    if math.isinf(time):
        return np.divide(1.0, shifted, out=np.full_like(shifted, np.inf), where=shifted > 0)
    if learning_rate is None:
        return flow_response(shifted, time)
    if not math.isfinite(time / learning_rate):
        raise InputError(f"time {time:g} is more steps of learning_rate={learning_rate:g} than can be counted")
    steps = round(time / learning_rate)
    if abs(steps * learning_rate - time) > 1e-9 * time:
        raise InputError(
            f"with learning_rate={learning_rate:g} times are its multiples, got {time:g}, which is "
            f"{time / learning_rate:.6g} steps"
        )
    return descent_response(shifted, learning_rate, steps)


def flow_response(eigenvalues: Array, time: float) -> Array:
    """(1 − e^{−λt})/λ of gradient flow, t at λ = 0."""
    safe = np.where(eigenvalues > 0, eigenvalues, 1.0)
    with np.errstate(over="ignore"):  # e^{−λt} is then zero, as it should be
        return np.where(eigenvalues > 0, -np.expm1(-eigenvalues * time) / safe, time)


def descent_response(eigenvalues: Array, learning_rate: float, steps: int) -> Array:
    """(1 − (1 − ηλ)^k)/λ of gradient descent, ηk at λ = 0."""
    contraction = 1 - learning_rate * eigenvalues
    slow = contraction > 0.5  # where 1 − (1 − ηλ)^k would cancel
    decay = steps * np.log1p(-learning_rate * np.where(slow, eigenvalues, 0.0))
    reached = np.where(slow, -np.expm1(decay), 1 - contraction**steps)
    safe = np.where(eigenvalues > 0, eigenvalues, 1.0)
    return np.where(eigenvalues > 0, reached / safe, learning_rate * steps)


RESOLVED = 1e-3
"""Rounding in a kernel, amplified by inverting it, may reach this; variances that are small differences of large
numbers lose their sign at about ten times as much."""


@functools.partial(jax.jit, donate_argnums=0)
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues (n,), ascending, and eigenvectors (n, n) in columns, of a symmetric matrix that is given up."""
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
    return values, vectors


def _refuse_amplified(c: Conditioning, found: Array, time: float, kernel_error: float) -> None:
    """Refuse a time at which errors of the kernel matter: λ_max·max m is the condition number of Θ at t = ∞, and about
    λ_max·t where there are null directions."""
    amplification = (c.largest + c.ridge) * float(np.max(found))
    if amplification * len(found) * np.finfo(float).eps >= RESOLVED or amplification * kernel_error >= 1:
        raise InputError(
            f"time {time:g} can't be resolved: the training kernel is singular to working precision (λ_min = "
            f"{c.smallest:.1e}, λ_max = {c.largest:.1e}{f', ridge = {c.ridge:g}' if c.ridge else ''}). Look for equal "
            "or nearly equal training points (or more points than dimensions, if the network is linear), take an "
            "earlier time, or give a ridge"
        )
