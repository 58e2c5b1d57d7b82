"""The largest singular value of one matrix, between two certified ends.

Let G be the smaller Gram matrix of W (a, b), so that ‖W‖₂² = λ_max(G). A Rayleigh quotient bounds λ_max from below. A
small residual does not bound it from above: it shows that *some* eigenvalue is near, not that it is the largest. What
does is a Cholesky factorization of sI − G that runs to completion, which proves λ_max(G) ≤ s up to its backward error;
one that breaks down proves the converse. The backward errors are bounded a priori, for every order of summation
(Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., (3.13), theorems 10.3 and 10.7), and added to the
ends. In float32 those bounds would exceed λ_max itself, so all of it is in float64, where products of two entries of W
are exact. docs/measures.md has the derivation and times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.errors import InputError
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.wide import UNIT, widened

TOLERANCE = 1e-3
"""Relative distance of the two ends, unless another is asked for."""

DIRECT_SIZE = 128
"""Up to this smaller side all eigenvalues of G are computed, which is faster than an iteration (measured, 2 cores)."""

_FINEST = 1e-6
"""Relative distance of the ends where eigenvalues are computed, and the smallest that can be asked for."""

_ROUNDING = 4e-7
"""What rounding both ends outwards to float32 costs of the tolerance at most: one and a half units of 2⁻²³ each."""

_STEPS, _STRIDE = 96, 8
"""Lanczos steps at most, and how many of them between two looks at the residual."""

_ATTEMPTS = 64
"""Factorizations at most: one nearly always, and bisection would take this many from any start whatever."""


class SpectralNorm(NamedTuple):
    """Two ends around ‖W‖₂.

    Attributes:
        lower: float32, at most ‖W‖₂.
        upper: float32, at least ‖W‖₂.
    """

    lower: jax.Array
    upper: jax.Array


class _Eigenvalue(NamedTuple):
    """Ends around λ_max(G), and the number of factorizations spent on them."""

    lower: jax.Array
    upper: jax.Array
    attempts: jax.Array


def spectral_norm(matrix: jax.Array, tolerance: float = TOLERANCE) -> SpectralNorm:
    """lower ≤ ‖W‖₂ ≤ upper with upper − lower ≤ tolerance·‖W‖₂, in the units of W.

    The inequalities hold whatever the matrix, rounding included, for conventional matrix products and factorizations in
    IEEE float64 (not for Strassen's, nor for emulated float64). The distance is reached for matrices up to 10⁴ on a
    side at the default tolerance. Traceable, not differentiable; ``vmap`` takes one matrix after the other.

    Costs one product in float64 (2·a·b·min(a, b) operations), at most 96 products with a vector and, nearly always,
    one Cholesky factorization (min(a, b)³/3).

    Args:
        matrix: W (a, b), float32. An entry that isn't finite makes both ends NaN.
        tolerance: relative distance of the ends; sides up to ``DIRECT_SIZE`` get 10⁻⁶ anyway.

    Raises:
        InputError: the matrix isn't one, or isn't float32; the tolerance is not in [10⁻⁶, 1).
    """
    return jax.tree.map(lambda end: end[0], spectral_norms(matrix[None], tolerance))


def spectral_norms(matrices: jax.Array, tolerance: float = TOLERANCE) -> SpectralNorm:
    """Ends (k,) of several matrices (k, a, b), one after the other: compiled, and given memory, once.

    Raises:
        InputError: as for :func:`spectral_norm`.
    """
    if matrices.ndim != 3 or 0 in matrices.shape or matrices.dtype != TRAINING_DTYPE:
        raise InputError(f"a matrix must be (a, b) in float32, got {matrices.dtype} of shape {matrices.shape[1:]}")
    if not _FINEST <= tolerance < 1:
        raise InputError(f"tolerance must be in [{_FINEST}, 1), got {tolerance!r}")
    return _program(tolerance)(matrices)


@cache
def _program(tolerance: float) -> Callable[[jax.Array], SpectralNorm]:
    """The ends of matrices (k, a, b).

    JAX batches a traced function where ``vmap`` is called, and there float64 is off. So batches become more matrices of
    the one loop.
    """

    @jax.custom_batching.custom_vmap
    def ends(matrices: jax.Array) -> SpectralNorm:
        return jax.lax.map(partial(_ends, tolerance=tolerance), matrices)

    @ends.def_vmap
    def of_batch(size: int, _: Any, matrices: jax.Array) -> tuple[SpectralNorm, Any]:
        k, a, b = matrices.shape[1:]
        found = ends(matrices.reshape(size * k, a, b))
        return SpectralNorm(*(end.reshape(size, k) for end in found)), jax.tree.map(lambda _: True, found)

    return jax.jit(ends)


def _ends(matrix: jax.Array, tolerance: float) -> SpectralNorm:
    direct = min(matrix.shape) <= DIRECT_SIZE
    # (1 + t)² ≥ 1 + 2t
    gap = 2 * ((_FINEST if direct else tolerance) - _ROUNDING)
    with jax.enable_x64(True):
        found = _largest_eigenvalue(matrix, gap, direct)
        lower, upper = _rounded_down(jnp.sqrt(found.lower)), _rounded_up(jnp.sqrt(found.upper))
    return SpectralNorm(lower, upper)


def product_upper(factors: jax.Array) -> jax.Array:
    """A float32 number that is at least the product of these non-negative float32 ones (k,)."""
    with jax.enable_x64(True):
        # k roundings of relative size 2⁻⁵³ are far below the unit of float32 that is added
        return _rounded_up(jnp.prod(factors.astype(jnp.float64)))


def sum_upper(terms: jax.Array) -> jax.Array:
    """A float32 number that is at least the sum of these non-negative float32 ones (k,)."""
    with jax.enable_x64(True):
        return _rounded_up(jnp.sum(terms.astype(jnp.float64)))


def _largest_eigenvalue(matrix: jax.Array, gap: float, direct: bool) -> _Eigenvalue:
    """Ends around λ_max(G) with upper ≤ (1 + gap)·lower, in float64; NaN if an entry isn't finite."""
    a, b = matrix.shape
    wide = widened(matrix)
    gram = wide @ wide.T if a <= b else wide.T @ wide
    trace = jnp.trace(gram)
    vector = jnp.linalg.eigh(gram)[1][:, -1] if direct else _leading_vector(gram, gap / 8)
    error = _gram_error(a, b) * trace
    found = _Eigenvalue(
        # λ_max is at least the mean of the eigenvalues, which is what is left if the vector is no good
        jnp.maximum(jnp.maximum(_rayleigh_quotient(gram, vector), trace / len(gram)) - error, 0),
        _norm_bound(gram) * (1 + _factorization_error(len(gram))) + error,
        jnp.zeros((), jnp.int32),
    )
    found = jax.lax.while_loop(lambda ends: _open(ends, gap), lambda ends: _narrowed(gram, error, ends, gap), found)
    defined = jnp.isfinite(trace)
    return found._replace(
        lower=jnp.where(defined, found.lower, jnp.nan), upper=jnp.where(defined, found.upper, jnp.nan)
    )


def _gram_error(a: int, b: int) -> float:
    """c with c·tr(G) above what rounding does to a quadratic form of G, from forming G to dividing by v·v.

    With m = max(a, b), n = min(a, b): ‖fl(G) − G‖₂ ≤ γ_m ‖|W|‖₂² ≤ γ_m ‖W‖_F², and ‖W‖_F² = tr(G). The quotient adds
    γ_{3n+2} ‖|G|‖₂ ≤ γ_{3n+2} ‖G‖_F ≤ γ_{3n+2} tr(G). Here γ_k = ku/(1 − ku) < 1.01 ku; twice that also covers the
    rounding of the trace.
    """
    return 2 * (max(a, b) + 3 * min(a, b) + 8) * UNIT


def _factorization_error(n: int) -> float:
    """c such that Cholesky of sI − G (n, n) shows λ_max(G) ≤ s(1 + c) if it succeeds and ≥ s(1 − c) if it fails.

    Success: R^T R = A + E with |E| ≤ γ' d d^T, d_i² = a_ii, γ' = γ_{n+1}/(1 − γ_{n+1}) (theorem 10.3), so that
    ‖E‖₂ ≤ γ' tr(A) ≤ γ' n s. Failure: λ_min(D⁻¹AD⁻¹) ≤ nγ' (theorem 10.7), so that λ_min(A) ≤ nγ' s. The diagonal
    s − g_ii is rounded too, by us at most. Twice their sum also covers a sum over all entries of G in any order.
    """
    return 2 * n * (n + 8) * UNIT


def _norm_bound(gram: jax.Array) -> jax.Array:
    """λ_max(G) ≤ min(‖G‖_F, ‖G‖_∞): tight if one singular value stands for all, or if rows are orthogonal."""
    return jnp.minimum(jnp.linalg.norm(gram), jnp.max(jnp.sum(jnp.abs(gram), axis=1)))


def _rayleigh_quotient(gram: jax.Array, vector: jax.Array) -> jax.Array:
    norm = vector @ vector
    return jnp.where(norm > 0, vector @ (gram @ vector) / jnp.where(norm > 0, norm, 1), 0)


# --- the upper end


def _open(ends: _Eigenvalue, gap: float) -> jax.Array:
    # false for NaN
    return (ends.upper > (1 + gap) * ends.lower) & (ends.attempts < _ATTEMPTS)


def _narrowed(gram: jax.Array, error: jax.Array, ends: _Eigenvalue, gap: float) -> _Eigenvalue:
    """Ends after one more factorization, right above the lower end at first, then in doubled strides or halfway."""
    stride = jnp.log1p(0.9 * gap) * 2.0**ends.attempts
    trial = ends.lower * jnp.exp(jnp.minimum(stride, 0.5 * jnp.log(ends.upper / ends.lower)))
    shifted = trial * jnp.eye(len(gram), dtype=gram.dtype) - gram
    # On failure the factor is NaN.
    success = jnp.all(jnp.isfinite(jax.lax.linalg.cholesky(shifted, symmetrize_input=False)))
    slack = _factorization_error(len(gram)) * trial + error
    return _Eigenvalue(
        jnp.where(success, ends.lower, jnp.maximum(ends.lower, trial - slack)),
        jnp.where(success, jnp.minimum(ends.upper, trial + slack), ends.upper),
        ends.attempts + 1,
    )


# --- the lower end


class _Krylov(NamedTuple):
    """Orthonormal rows V, T = V G V^T by its diagonals, and T's top eigenpair with its distance from one of G."""

    basis: jax.Array
    diagonal: jax.Array
    beside: jax.Array
    step: jax.Array
    value: jax.Array
    distance: jax.Array
    coordinates: jax.Array


def _leading_vector(gram: jax.Array, enough: float) -> jax.Array:
    """A vector (n,) near the leading eigenvector of G, by Lanczos with full reorthogonalization.

    Stops when θ = v·Gv seems to be within ``enough``·θ of λ_max. What comes of it is checked by others, so nothing here
    has to be proved: a bad vector costs factorizations.
    """
    n, steps = len(gram), min(_STEPS, len(gram))
    start = jnp.asarray(np.random.default_rng(0).standard_normal(n), gram.dtype)
    state = _Krylov(
        jnp.zeros((steps + 1, n), gram.dtype).at[0].set(start / jnp.linalg.norm(start)),
        jnp.zeros(steps, gram.dtype),
        jnp.zeros(steps, gram.dtype),
        jnp.zeros((), jnp.int32),
        jnp.zeros((), gram.dtype),
        jnp.full((), jnp.inf, gram.dtype),
        jnp.zeros(steps, gram.dtype),
    )
    state = jax.lax.while_loop(
        lambda state: (state.step < steps) & (state.distance > enough * state.value),
        lambda state: _looked_at(_strode(gram, state)),
        state,
    )
    return state.coordinates @ state.basis[:-1]


def _strode(gram: jax.Array, state: _Krylov) -> _Krylov:
    # Not a loop within the loop: see _program.
    for _ in range(_STRIDE):
        state = _extended(gram, state)
    return state


def _extended(gram: jax.Array, state: _Krylov) -> _Krylov:
    """One step more: the next row is G v_j without its parts along all rows so far, taken out twice."""
    j = state.step
    product = gram @ state.basis[j]
    left = product - (state.basis @ product) @ state.basis
    left = left - (state.basis @ left) @ state.basis
    norm = jnp.linalg.norm(left)
    # An invariant subspace: what is left is rounding. Rows after it are zero, and so is what they add to T.
    goes_on = norm > 1e-12 * jnp.linalg.norm(product)
    return state._replace(
        basis=state.basis.at[j + 1].set(jnp.where(goes_on, left / jnp.where(goes_on, norm, 1), 0)),
        diagonal=state.diagonal.at[j].set(state.basis[j] @ product),
        beside=state.beside.at[j].set(jnp.where(goes_on, norm, 0)),
        step=j + 1,
    )


def _looked_at(state: _Krylov) -> _Krylov:
    """The top eigenpair (θ, y) of T; its residual in G is r = β_k|y_k|.

    λ_max − θ is r²/(θ − θ₂) at most if no other eigenvalue lies above the second of T (Kato and Temple), r otherwise,
    and in both cases only if θ belongs to λ_max at all.
    """
    last = state.step - 1
    # β_k couples T to a row that it does not have yet.
    beside = jnp.where(jnp.arange(len(state.beside)) < last, state.beside, 0)[:-1]
    values, vectors = jnp.linalg.eigh(jnp.diag(state.diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1))
    residual = state.beside[last] * jnp.abs(vectors[last, -1])
    apart = values[-1] - values[-2]
    distance = residual * jnp.minimum(1, residual / apart)
    return state._replace(value=values[-1], distance=distance, coordinates=vectors[:, -1])


# --- rounding to float32


def _rounded_up(value: jax.Array) -> jax.Array:
    """A float32 number above ``value``, by two at most, and normal; zero stays zero and NaN NaN."""
    single = value.astype(TRAINING_DTYPE)
    above = jnp.maximum(jnp.nextafter(single, jnp.full_like(single, np.inf)), jnp.finfo(TRAINING_DTYPE).tiny)
    return jnp.where(value > 0, above, single)


def _rounded_down(value: jax.Array) -> jax.Array:
    single = jnp.minimum(value.astype(TRAINING_DTYPE), jnp.finfo(TRAINING_DTYPE).max)
    return jnp.where(value > 0, jnp.nextafter(single, jnp.zeros_like(single)), single)
