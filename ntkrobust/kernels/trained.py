"""The trained infinite-width ensemble at test points: f_t and ∇f_t are Gaussian, and these are their moments.

Squared loss ½Σ(f − y)², gradient flow or gradient descent from random initialization, in the kernel regime. With
Θ = Θ(X, X), K = K(X, X), M = M_t = Θ^{−1}(I − e^{−Θt}), N = M K M and v = M y, at a test point x with θ = Θ(X, x) and
k = K(X, x) (Lee et al. 2019, equations 14-16):

    E f = θᵀv,     Var f = K(x, x) + θᵀNθ − 2 θᵀM k = K(x, x) + aᵀKa − 2 aᵀk,     a = Mθ.

Kernels of fully connected networks depend on p = ‖x‖² and r_i = x·x_i, so ∇_xΘ(x, x_i) = P_i x + Q_i x_i with
P = 2∂_pΘ, Q = ∂_rΘ, and ∇_xK(x, x_i) = A_i x + B_i x_i. Differentiating the above, with Γ = XXᵀ and the covariance G
of ∇f at initialization,

    ‖E∇f‖² = p(P·v)² + 2(P·v)((Q∘v)·r) + (Q∘v)ᵀΓ(Q∘v)
    tr Cov ∇f = tr G + pPᵀNP + 2PᵀN(Q∘r) + Qᵀ(N∘Γ)Q
                − 2[pPᵀMA + PᵀM(B∘r) + (Q∘r)ᵀMA + Qᵀ(M∘Γ)B].

Each test point costs O(n²), whatever d: no Jacobian of the kernel is formed. Traced in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.kernels.layers import Layers
from ntkrobust.kernels.recursion import (
    PairDerivatives,
    PairKernels,
    PointKernels,
    pair_kernels_with_derivatives,
    point_kernels,
)
from ntkrobust.kernels.tiles import inner_products
from ntkrobust.networks.activations import Activation

AnyArray = TypeVar("AnyArray", jax.Array, npt.NDArray[np.float64])

ROUNDING = 2.0**-53
"""Unit roundoff u of float64."""

SUMMANDS = 32
"""Roundings u that an entry of a kernel has behind it, about: through some layers, and into the sum."""

COLUMNS = 512
"""Columns of the products with M and N that covariance matrices are computed by, at least."""


class Model(NamedTuple):
    """What stays the same for all times and test points; static under ``jit``.

    Attributes:
        phi: the activation.
        terms: of its series, if it needs one.
        d_in: d. Points may come in fewer coordinates, since only inner products enter.
        bayesian: whether Θ is replaced by K: then t = ∞ is the posterior of the NNGP.
    """

    phi: Activation
    terms: int
    d_in: int
    bayesian: bool


class Training(NamedTuple):
    """What the training points contribute at one time; float64, n training points.

    Attributes:
        x: (n, d).
        gram: Γ = XXᵀ (n, n).
        v: M y (n, o).
        m: M (n, n); empty where only means are asked for, like the next three.
        n: N (n, n).
        m_gram: M∘Γ (n, n).
        n_gram: N∘Γ (n, n).
        prior: K (n, n), with the noise that a Bayesian ridge adds.
        amplification: ‖Θ‖₂‖M‖₂, by which inverting Θ multiplies its relative errors.
    """

    x: jax.Array
    gram: jax.Array
    v: jax.Array
    m: jax.Array
    n: jax.Array
    m_gram: jax.Array
    n_gram: jax.Array
    prior: jax.Array
    amplification: jax.Array | float


class Row(NamedTuple):
    """Test points x (a, d) and their kernels with the training points, each (a, n).

    Attributes:
        x: (a, d).
        k: K(x, X).
        theta: Θ(x, X).
        big_p: P.
        big_q: Q.
        big_a: A.
        big_b: B.
        r: x·x_i.
        p: ‖x‖², (a,).
        point: moments at initialization, (a,) each.
    """

    x: jax.Array
    k: jax.Array
    theta: jax.Array
    big_p: jax.Array
    big_q: jax.Array
    big_a: jax.Array
    big_b: jax.Array
    r: jax.Array
    p: jax.Array
    point: PointKernels


def propagators(vectors: AnyArray, response: AnyArray, prior: AnyArray) -> tuple[AnyArray, AnyArray]:
    """M = V diag(m) Vᵀ and N = M K M, of numpy's arrays or traced ones.

    Args:
        vectors: V (n, n), eigenvectors of Θ in columns.
        response: m_i = (1 − e^{−λ_i t})/λ_i, or what gradient descent has instead; (n,).
        prior: K (n, n), with the noise that a Bayesian ridge adds.
    """
    m = (vectors * response) @ vectors.T
    return m, m @ prior @ m


def propagators_with_gram(
    vectors: jax.Array, response: jax.Array, prior: jax.Array, gram: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The :func:`propagators` M and N, and M∘Γ and N∘Γ with Γ (n, n), which only kernels of inner products need."""
    m, n = propagators(vectors, response, prior)
    return m, n, m * gram, n * gram


def kernel_row(model: Model, layers: Layers[Any], x: jax.Array, x_train: jax.Array) -> Row:
    """Everything that the moments at test points ``x`` (a, d) are made of."""
    p, q, r = inner_products(x, x_train)
    kernels, slopes = pair_kernels_with_derivatives(model.phi, model.terms, layers, model.d_in, p, q, r)
    if model.bayesian:
        kernels = PairKernels(kernels.nngp, kernels.nngp)
        slopes = PairDerivatives(slopes.nngp_p, slopes.nngp_r, slopes.nngp_p, slopes.nngp_r)
    return Row(
        x,
        *kernels,
        2 * slopes.ntk_p,
        slopes.ntk_r,
        2 * slopes.nngp_p,
        slopes.nngp_r,
        r,
        p[:, 0],
        point_kernels(model.phi, layers, model.d_in, p[:, 0]),
    )


def mean(row: Row, train: Training) -> jax.Array:
    """E f (a, o)."""
    return row.theta @ train.v


def variance(row: Row, train: Training) -> jax.Array:
    """Var f (a, 2), the same for all outputs, and below what it is not told from zero; see :func:`resolved`."""
    return jnp.stack(
        variance_and_resolution(
            row.theta, row.k, row.point.variance, train.m, train.prior, train.amplification, jnp.sqrt
        ),
        axis=1,
    )


def variance_and_resolution(
    theta: AnyArray,
    k: AnyArray,
    at_point: AnyArray,
    m: AnyArray,
    prior: AnyArray,
    amplification: Any,
    root: Any,
) -> tuple[AnyArray, AnyArray]:
    """Var f (a,), and the size (a,) of its rounding error; of numpy's arrays or traced ones.

    As the variance of f_0(x) − aᵀf_0(X) it is a quadratic form in the weights (1, −a), with a = Mθ found first: their
    large entries cancel before they meet K. (θᵀNθ is the same number, and N has entries of the order ‖K‖/λ_min².) With
    u = 2⁻⁵³, entries of the kernels and sums of n of them are rounded by a few u of

        s² = (√K(x, x) + Σ_i |a_i|√K_ii)²,

    which bounds what is added up. Besides, a itself has an error δ of about u‖Θ‖‖M‖‖a‖, which changes the variance by
    2δᵀ(Ka − k) + δᵀKδ.
    """
    a = theta @ m
    back = a @ prior
    slope = back - k
    scales = root(prior.diagonal())
    s = root(at_point) + abs(a) @ scales
    error = ROUNDING * amplification * root((a * a).sum(axis=1))
    largest = (scales * scales).sum()  # tr K ≥ ‖K‖₂
    moved = 2 * error * root((slope * slope).sum(axis=1)) + error * error * largest
    rounded = ROUNDING * (SUMMANDS + len(prior) ** 0.5) * s * s
    return at_point + ((slope - k) * a).sum(axis=1), rounded + moved


def resolved(
    found: npt.NDArray[np.float64], resolution: npt.NDArray[np.float64], what: str = "variance"
) -> npt.NDArray[np.float64]:
    """Variances, or whatever else can't be negative, or zero where they are below what is resolved.

    Raises:
        InputError: one is farther below zero than rounding takes it: the kernels are not those of random functions.
    """
    return np.where(not_negative(found, resolution, what) < resolution, 0.0, found)


def not_negative(
    found: npt.NDArray[np.float64], resolution: npt.NDArray[np.float64], what: str = "variance"
) -> npt.NDArray[np.float64]:
    """Variances, or zero where rounding made them negative; for resolutions that are far from reached.

    Raises:
        InputError: as for :func:`resolved`.
    """
    low = np.flatnonzero(~(found >= -resolution))
    if low.size:
        row = low[0]
        raise InputError(
            f"the {what} at row {row} (from 0) comes out as {found[row]:.2g}, with {resolution[row]:.1g} resolved: "
            "the kernel is not positive semi-definite, or too nearly singular for this time"
        )
    return np.maximum(found, 0.0)


def covariance(row: Row, train: Training, at_test: jax.Array) -> jax.Array:
    """Cov(f(x), f(x')) (a, a) from K(x, x') (a, a)."""
    a = row.theta @ train.m
    crossed = a @ row.k.T
    return at_test + a @ train.prior @ a.T - crossed - crossed.T


def squared_difference(row: Row, moved: Row, train: Training, crossed: jax.Array) -> jax.Array:
    """E‖f(x̂) − f(x)‖² and the size of its rounding error, (a, 2), from K(x, x̂) (a,); see :func:`resolved`.

    A finite step, not its linearisation: summed over outputs, ‖vᵀδ_θ‖² + o·Var with δ_θ = θ(x̂) − θ(x), δ_k alike, and

        Var = K(x̂, x̂) + K(x, x) − 2K(x, x̂) + aᵀKa − 2aᵀδ_k,    a = Mδ_θ,

    the variance of f_0(x̂) − f_0(x) − aᵀf_0(X). What is added up is bounded as in
    :func:`variance_and_resolution`, with √K(x̂, x̂) + √K(x, x) in place of one root. Besides, δ_θ has the rounding of
    the rows themselves, e of about u(‖θ(x̂)‖ + ‖θ(x)‖), which changes a by ‖M‖e at most and vᵀδ_θ by ‖v‖e.
    """
    theta, k = moved.theta - row.theta, moved.k - row.k
    drift, outputs = theta @ train.v, train.v.shape[1]
    a = theta @ train.m
    slope = a @ train.prior - k
    spread = moved.point.variance + row.point.variance - 2 * crossed + jnp.sum((slope - k) * a, axis=1)

    scales = jnp.sqrt(train.prior.diagonal())
    s = jnp.sqrt(moved.point.variance) + jnp.sqrt(row.point.variance) + jnp.abs(a) @ scales
    of_row = ROUNDING * SUMMANDS * (_lengths(moved.theta) + _lengths(row.theta))
    error = ROUNDING * train.amplification * _lengths(a) + train.m.trace() * of_row
    by_a = 2 * error * _lengths(slope) + error**2 * jnp.sum(scales**2)
    by_sums = ROUNDING * (SUMMANDS + len(scales) ** 0.5) * s**2
    by_drift = 2 * of_row * _lengths(drift) * jnp.linalg.norm(train.v) + (of_row * jnp.linalg.norm(train.v)) ** 2
    return jnp.stack([jnp.sum(drift**2, axis=1) + outputs * spread, outputs * (by_a + by_sums) + by_drift], axis=1)


def gradient_mean(row: Row, train: Training) -> jax.Array:
    """E ∇f (a, o, d)."""
    along = row.big_p @ train.v
    across = jax.lax.map(lambda one: (row.big_q * one) @ train.x, train.v.T)
    return along[:, :, None] * row.x[:, None, :] + jnp.swapaxes(across, 0, 1)


def gradient_mean_sq(row: Row, train: Training) -> jax.Array:
    """Σ_k ‖E ∇f_k‖² (a,)."""

    def of_output(one: jax.Array) -> jax.Array:
        along, weighted = row.big_p @ one, row.big_q * one
        if train.x.shape[1] < len(train.x):  # (Q∘v)ᵀΓ(Q∘v) = ‖Xᵀ(Q∘v)‖²
            across = jnp.sum((weighted @ train.x) ** 2, axis=1)
        else:
            across = _forms(weighted, train.gram, weighted)
        return row.p * along**2 + 2 * along * jnp.sum(weighted * row.r, axis=1) + across

    if train.v.shape[1] == 1:  # no loop, which would keep the compiler from fusing this with the kernels' rows
        return of_output(train.v[:, 0])
    return jnp.sum(jax.lax.map(of_output, train.v.T), axis=0)


def gradient_variance(row: Row, train: Training, d_in: int) -> jax.Array:
    """tr Cov ∇f (a,), the same for all outputs: the module's formula with M and N moved to one side of each product,

        P·[N(pP + 2Q∘r) − 2M(pA + B∘r)] + Q·[(N∘Γ)Q − 2(M∘Γ)B] − 2(Q∘r)·MA,

    so that one pass sums it all up.
    """
    p, big_p, big_q = row.p[:, None], row.big_p, row.big_q
    inner = big_q * row.r
    trained = (
        big_p * ((p * big_p + 2 * inner) @ train.n - 2 * ((p * row.big_a + row.big_b * row.r) @ train.m))
        + big_q * (big_q @ train.n_gram - 2 * (row.big_b @ train.m_gram))
        - 2 * inner * (row.big_a @ train.m)
    )
    return d_in * row.point.isotropic + row.p * row.point.radial + jnp.sum(trained, axis=1)


def gradient_resolution(row: Row, train: Training, d_in: int) -> jax.Array:
    """Size (a,) of the rounding error of :func:`gradient_variance`, at most, from norms of what is multiplied."""

    def squares(p: jax.Array, q: jax.Array) -> jax.Array:
        """‖D‖_F² (a,) of the Jacobian with rows P_i x + Q_i x_i."""
        return jnp.sum(row.p[:, None] * p**2 + 2 * p * q * row.r + q**2 * train.gram.diagonal(), axis=1)

    at_initialization = d_in * row.point.isotropic + row.p * jnp.abs(row.point.radial)
    by_theta, by_k = (jnp.sqrt(jnp.abs(squares(*one))) for one in ((row.big_p, row.big_q), (row.big_a, row.big_b)))
    return gradient_rounding(at_initialization, by_theta, by_k, train.m, train.prior)


def gradient_rounding(
    at_initialization: AnyArray, by_theta: AnyArray, by_k: AnyArray, m: AnyArray, prior: AnyArray
) -> AnyArray:
    """u·c·(tr G + ‖M‖²‖K‖‖D_Θ‖_F² + 2‖M‖‖D_Θ‖_F‖D_K‖_F), with ‖M‖ ≤ tr M and ‖K‖ ≤ tr K; (a,) from (a,) norms."""
    inverse, size = m.trace(), prior.trace()
    largest = at_initialization + (inverse * by_theta) ** 2 * size + 2 * inverse * by_theta * by_k
    return ROUNDING * (SUMMANDS + len(prior) ** 0.5) * largest


def gradient_value_covariance(row: Row, train: Training) -> jax.Array:
    """Cov(∇f, f) (a, d) = s + D_Θ(Nθ − Mk) − D_K Mθ, with D the Jacobians of the kernels' rows by x."""
    by_theta = row.theta @ train.n - row.k @ train.m
    by_k = -(row.theta @ train.m)
    along = row.point.gamma + jnp.sum(row.big_p * by_theta + row.big_a * by_k, axis=1)
    return along[:, None] * row.x + (row.big_q * by_theta + row.big_b * by_k) @ train.x


def gradient_covariance(row: Row, train: Training) -> jax.Array:
    """Cov ∇f (a, d, d) = G + D_Θ N D_Θᵀ − D_Θ M D_Kᵀ − D_K M D_Θᵀ. This does form the (n, d) Jacobians, a point at a
    time: O(d n²) each."""

    def at_point(one: Row) -> jax.Array:
        d_theta = jnp.outer(one.big_p, one.x) + one.big_q[:, None] * train.x
        d_k = jnp.outer(one.big_a, one.x) + one.big_b[:, None] * train.x
        half = d_theta.T @ (0.5 * train.n @ d_theta - train.m @ d_k)
        at_initialization = one.point.isotropic * jnp.eye(len(one.x)) + one.point.radial * jnp.outer(one.x, one.x)
        return at_initialization + half + half.T

    # Several points at a time where d is small: products with M and N are fast for many columns only.
    return jax.lax.map(at_point, row, batch_size=max(1, COLUMNS // row.x.shape[1]))


def _lengths(rows: jax.Array) -> jax.Array:
    """Euclidean norms (a,) of rows (a, n)."""
    return jnp.sqrt(jnp.sum(rows**2, axis=1))


def _forms(left: jax.Array, matrix: jax.Array, right: jax.Array) -> jax.Array:
    """left_iᵀ·matrix·right_i for each row i."""
    return jnp.sum((left @ matrix) * right, axis=1)
