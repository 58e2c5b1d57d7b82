"""Gaussian expectations of smooth activations without closed forms, by the Hermite series (Mehler's formula).

With u = √K₁₁ a and v = √K₂₂ b, (a, b) standard normal with correlation ρ, and orthonormal Hermite polynomials h_k,

    E F(u)G(v) = Σ_k E[F(√K₁₁ a)h_k(a)] E[G(√K₂₂ b)h_k(b)] ρ^k        (O'Donnell, Analysis of Boolean Functions, §11.2)

so coefficients belong to points, and a pair costs one product per term. Here F and G are φ, φ', φ'' or φ'''. If φ is
analytic around the real line, coefficients decay geometrically in √k; if it has a kink, only algebraically:
:func:`terms_needed` says how many terms it takes, or that no number will do.

Everything is computed in float64: call within ``jax.enable_x64(True)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkrobust.errors import InputError
from ntkrobust.kernels.dual import Dual, DualDerivatives, Moments

Phi = Callable[[jax.Array], jax.Array]

MAX_TERMS = 1024
"""Beyond this the series is not worth its cost."""

# 16, 24, 32, 48, 64, …, MAX_TERMS
_CANDIDATES = (16, *(size for power in range(5, 11) for size in (3 * 2 ** (power - 2), 2**power)))
_DERIVATIVES = 4
# Coefficients are trapezoidal sums: they converge geometrically for analytic φ and, unlike the Gauss-Hermite rule, have
# no weights that underflow at high order. The k-th integrand has frequencies up to √k (at most 32) and those of
# φ(√K a): a pole of φ at distance y from the real line leaves an error of about exp(−y(2π/h − √k)/√K), which is 1e-16
# at y/√K = 0.22, where MAX_TERMS terms do no better than exp(−2·0.22·32) ~ 1e-6. Beyond |a| = 16 lies a mass of 1e-57.
_STEP, _RANGE = 1 / 32, 16.0
# What the coefficients are compared with must not share their errors, so it is integrated more finely, and further.
_CHECK_STEP, _CHECK_RANGE = 1 / 50, 20.0
_ROUNDING = 2e-14
"""What float64 leaves of the sums: the largest error seen, at any number of terms, is a third of it."""


def dual(phi: Phi, k11: jax.Array, k22: jax.Array, k12: jax.Array, terms: int) -> Dual:
    """J and D by the first ``terms`` terms.

    Args:
        phi: φ, entrywise; static under ``jax.jit``.
        k11: K₁₁ ≥ 0, of shape (a, 1).
        k22: K₂₂ ≥ 0, of shape (1, b).
        k12: K₁₂, of shape (a, b); |K₁₂| beyond √(K₁₁K₂₂) counts as √(K₁₁K₂₂).
        terms: number of terms, static; see :func:`terms_needed`.

    Raises:
        InputError: φ doesn't compute in float64.
    """
    left, right = _coefficients(phi, k11, terms), _coefficients(phi, k22, terms)
    return Dual(*_sums(left, right, _correlation(k11, k22, k12), ((0, 0), (1, 1))))


def dual_with_derivatives(
    phi: Phi, k11: jax.Array, k22: jax.Array, k12: jax.Array, terms: int
) -> tuple[Dual, DualDerivatives]:
    """J, D and their partial derivatives by the first ``terms`` terms; arguments and errors as for :func:`dual`."""
    left, right = _coefficients(phi, k11, terms), _coefficients(phi, k22, terms)
    pairs = ((0, 0), (1, 1), (2, 0), (3, 1), (2, 2))
    value, slope, value_11, slope_11, slope_12 = _sums(left, right, _correlation(k11, k22, k12), pairs)
    return Dual(value, slope), DualDerivatives(value_11 / 2, slope_11 / 2, slope_12)


def moments(phi: Phi, k: jax.Array) -> Moments:
    """Expectations at single points with variances ``k`` ≥ 0, of any shape.

    dV/dK is computed as E φ'² + E φφ'', which for φ without kinks equals E φφ'u/K (Stein's identity) and needs no limit
    at K = 0. Only for φ that :func:`terms_needed` finds smooth.

    Raises:
        InputError: φ doesn't compute in float64.
    """
    a, weights = _rule(_STEP, _RANGE)
    value, first, second, _ = _derivatives(phi, jnp.sqrt(k)[..., None] * a)
    return Moments(
        value=value**2 @ weights,
        value_slope=(first**2 + value * second) @ weights,
        slope=first**2 @ weights,
        slope_weighted=first**2 @ (weights * a**2),
    )


def terms_needed(phi: Phi, k_max: float, k_min: float, tolerance: float) -> tuple[int, float]:
    """The number of terms for variances from ``k_min`` to ``k_max``, and a bound on the error they leave.

    The error is that of J, D and the three derivatives, each relative to its natural scale √(E F(u)² E G(v)²); by
    Cauchy-Schwarz the terms from T on sum to at most √(tail_F tail_G), where Parseval gives tail_F = E F² − Σ_{k<T}c_k²
    without summing them. Tails are taken at 17 variances. A kink of φ, φ' or φ'', or an oscillation too fast for the
    quadrature, leaves a tail that no number of terms removes; the error then has the right size but is no strict bound.

    Args:
        phi: φ, entrywise and hashable.
        k_max: largest variance, positive.
        k_min: smallest variance; anything below k_max/10⁶, where φ is close to a polynomial, counts as k_max/10⁶.
        tolerance: largest acceptable error.

    Returns:
        ``(terms, error)`` with ``error`` ≤ ``tolerance``, or ``(MAX_TERMS, error)`` with the ``error`` reached
        (infinite if φ is not finite somewhere).

    Raises:
        InputError: φ doesn't compute in float64.
    """
    with jax.enable_x64(True):
        variances = jnp.geomspace(max(k_min, 1e-6 * k_max), k_max, 17)
        tails = np.asarray(_relative_tails(phi, variances)).max(axis=2)
    # in J, D, ∂J/∂K₁₁, ∂D/∂K₁₁ and ∂D/∂K₁₂; the third is never the largest
    errors = np.max(np.stack([tails[0], tails[1], np.sqrt(tails[3] * tails[1]), tails[2]]), axis=0) + _ROUNDING
    errors[~np.isfinite(errors)] = np.inf
    for terms in _CANDIDATES:
        if errors[terms - 1] <= tolerance:
            break
    return terms, float(errors[terms - 1])


@partial(jax.jit, static_argnums=0)
def _relative_tails(phi: Phi, k: jax.Array) -> jax.Array:
    """tail/E F² of F = φ, …, φ''' after 1, …, MAX_TERMS terms; of shape (4, MAX_TERMS) + k.shape."""
    a, weights = _rule(_CHECK_STEP, _CHECK_RANGE)
    squares = jnp.stack([values**2 @ weights for values in _derivatives(phi, jnp.sqrt(k)[..., None] * a)])
    captured = jnp.cumsum(jnp.stack(_coefficients(phi, k, MAX_TERMS)) ** 2, axis=1)
    # A derivative that is nothing but rounding, as φ'' of a φ that amounts to a linear one, has no meaningful tail.
    order = np.arange(_DERIVATIVES).reshape(-1, *[1] * k.ndim)
    scales = jnp.where(squares * k**order > 1e-30 * squares[0], squares, jnp.inf)[:, None]
    return jnp.abs(squares[:, None] - captured) / scales


def _correlation(k11: jax.Array, k22: jax.Array, k12: jax.Array) -> jax.Array:
    """ρ in [−1, 1], also where rounding leaves |K₁₂| > √(K₁₁K₂₂); 0 where a variance is 0."""
    scale = jnp.sqrt(k11) * jnp.sqrt(k22)
    return jnp.where(scale > 0, jnp.clip(k12 / jnp.where(scale > 0, scale, 1.0), -1.0, 1.0), 0.0)


def _sums(
    left: tuple[jax.Array, ...], right: tuple[jax.Array, ...], rho: jax.Array, pairs: tuple[tuple[int, int], ...]
) -> tuple[jax.Array, ...]:
    """Σ_k left[i]_k right[j]_k ρ^k for all (i, j) in ``pairs``, by Horner's rule and without an array of all terms."""

    def add_term(
        sums: tuple[jax.Array, ...], coefficients: tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]
    ) -> tuple[tuple[jax.Array, ...], None]:
        x, y = coefficients
        return tuple(total * rho + x[i] * y[j] for total, (i, j) in zip(sums, pairs, strict=True)), None

    # Eight terms a step read and write the sums an eighth as often; beyond that, compiling takes longer for nothing.
    return lax.scan(add_term, (jnp.zeros_like(rho),) * len(pairs), (left, right), reverse=True, unroll=8)[0]


def _coefficients(phi: Phi, k: jax.Array, terms: int) -> tuple[jax.Array, ...]:
    """E φ^(j)(√K a)h_k(a) for j = 0, …, 3; each of shape (terms,) + k.shape.

    Only those of φ''' are integrated. Integration by parts, √k E F(√K a)h_k(a) = √K E F'(√K a)h_{k−1}(a), leads from
    φ''' down to φ without dividing by K: small variances cost no digits, and K = 0 is no exception. (Upwards, from φ to
    φ''', rounding would grow like (k/K)^{3/2}.)
    """
    a, weights = _rule(_STEP, _RANGE)
    *lower, third = _derivatives(phi, jnp.sqrt(k)[..., None] * a)
    found = [jnp.moveaxis(third @ _hermite_weights(terms).T, -1, 0)]
    factors = jnp.sqrt(k / np.arange(1.0, terms).reshape(-1, *[1] * k.ndim))
    for values in reversed(lower):
        found.insert(0, jnp.concatenate([(values @ weights)[None], factors * found[0][:-1]]))
    return tuple(found)


def _derivatives(phi: Phi, u: jax.Array) -> list[jax.Array]:
    """φ, φ', φ'' and φ''' at ``u``."""
    functions = [phi]
    while len(functions) < _DERIVATIVES:
        functions.append(partial(_differentiate, functions[-1]))
    values = [function(u) for function in functions]
    if values[0].dtype != jnp.float64:
        raise InputError(f"infinite-width kernels are computed in float64, but {phi} returns {values[0].dtype}")
    return values


def _differentiate(phi: Phi, u: jax.Array) -> jax.Array:
    return jax.jvp(phi, (u,), (jnp.ones_like(u),))[1]


def _rule(step: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes a_i and weights w_i with E f(a) = Σ_i w_i f(a_i) for a ~ N(0, 1); each of shape (nodes,)."""
    size = round(end / step)
    a = step * np.arange(-size, size + 1.0)
    return a, step / np.sqrt(2 * np.pi) * np.exp(-(a**2) / 2)


def _hermite_weights(terms: int) -> jax.Array:
    """w_i h_k(a_i) of the rule for coefficients; of shape (terms, nodes).

    The recurrence √(k+1) h_{k+1} = a h_k − √k h_{k−1} is run for h_k times the root of the normal density, which stays
    of size 1 where h_k itself overflows; it is stable both where h_k oscillates and where it grows.
    """
    nodes, weights = _rule(_STEP, _RANGE)
    a = jnp.asarray(nodes)
    root = jnp.exp(-(a**2) / 4)

    def advance(last: tuple[jax.Array, jax.Array], k: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        before, now = last
        return (now, (a * now - jnp.sqrt(k) * before) / jnp.sqrt(k + 1)), now

    return lax.scan(advance, (jnp.zeros_like(root), root), jnp.arange(float(terms)))[1] * (weights / root)
