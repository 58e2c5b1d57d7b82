"""Expectations over one neuron, which is all that a two-layer network of width m is made of.

A neuron with parameters z = (a, w) contributes h_x(z) = a ψ(w·x) to m^{1/2} f(x), where ψ = σ_2 φ and inputs are scaled
such that w ~ N(0, I). With the layers' speeds S, {g, k} = ∇_z g · S ∇_z k and ⟨x, y⟩ = x·S y, writing ψ_x = ψ(w·x),

    {h_x, h_β}             = s ψ_x ψ_β + a² ⟨x,β⟩ ψ'_x ψ'_β
    {{h_x, h_β}, h_γ}      = a s [2⟨x,β⟩ ψ'_x ψ'_β ψ_γ + ⟨x,γ⟩ ψ'_x ψ_β ψ'_γ + ⟨β,γ⟩ ψ_x ψ'_β ψ'_γ]
                             + a³ ⟨x,β⟩ [⟨x,γ⟩ ψ''_x ψ'_β ψ'_γ + ⟨β,γ⟩ ψ'_x ψ''_β ψ'_γ]
    h̃_γ = z·S∇h_γ − tr S∇²h_γ = a [s ψ_γ + ⟨w,γ⟩ ψ'_γ − ⟨γ,γ⟩ ψ''_γ]

with s the speed of the last layer. Gaussian integration by parts gives E {g, h_γ} = E g h̃_γ, so that brackets of four
functions never appear. a is integrated exactly (E a² = 1, E a⁴ = 3); w by the points of
:mod:`ntkrobust.kernels.neuron_nodes`. What is derived from this, and how, is in docs/first-order-width.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.networks.activations import Activation

Array = npt.NDArray[np.float64]


class Neurons(NamedTuple):
    """Points as a neuron sees them, in R coordinates; float64, n training points, n' test points, c components each.

    Components of a test point are what is asked of it: the derivatives of f, or f itself.

    Attributes:
        train: (n, R).
        test: (n', R).
        speed: S (R,), with which the weights of each coordinate move.
        last_speed: s, that of the last layer.
        scale: σ_2.
        vectors: (n, n), eigenvectors of Θ in columns: modes.
        eigenvalues: (n,).
        ntk: Θ of the components with the modes (n', c, n).
        multiplicity: (c,), how many components each stands for.
    """

    train: Any
    test: Any
    speed: Any
    last_speed: Any
    scale: Any
    vectors: Any
    eigenvalues: Any
    ntk: Any
    multiplicity: Any


class TrainMoments(NamedTuple):
    """Expectations among training functions, by modes. Here κ_pk = {h_p, h_k} − Θ_pk and K_pkl = {{h_p, h_k}, h_l}.

    Attributes:
        squares: E κ_pk κ_ql (p, k, q, l).
        triple: E K_pkl h_q (p, k, l, q).
        triple_number: E K_pkl h̃_q (p, k, l, q).
        third: E κ_pl h_q h_l (p, q, l).
    """

    squares: Any
    triple: Any
    triple_number: Any
    third: Any


class TestMoments(NamedTuple):
    """Expectations with components F of test points, summed over F (with multiplicity) where F is missing below.

    Attributes:
        own_squares: Σ E κ_Fl κ_Fq (n', l, q).
        squares: Σ Θ_Fp E κ_Fl κ_pq (n', p, l, q).
        chain: E κ_Fk κ_kl (n', c, k, l).
        triple: E K_Fkl h_q (n', c, k, l, q).
        triple_number: E K_Fkl h̃_q (n', c, k, l, q).
        own_triple: Σ E K_Fkl h_F (n', k, l).
        back_triple: Σ Θ_Fp E K_pkl h_F (n', p, k, l).
        own_third: Σ E κ_Fl h_F h_l (n', l).
        back_third: Σ Θ_Fp E κ_pl h_F h_l (n', p, l).
        cross_third: Σ Θ_Fq E κ_Fl h_q h_l (n', q, l).
    """

    own_squares: Any
    squares: Any
    chain: Any
    triple: Any
    triple_number: Any
    own_triple: Any
    back_triple: Any
    own_third: Any
    back_third: Any
    cross_third: Any


class _OfPoint(NamedTuple):
    """Functions of one point x at one neuron, with its a set to 1 or integrated; or their derivatives by x.

    Attributes:
        value: ψ_x.
        kernel: {h_x, h_β} at a² = 1, (n,).
        moving: its part with a², (n,).
        triple: {{h_x, h_β}, h_γ} with 1 for a and 3 for a³, (n, n): what E over a leaves of its product with a.
    """

    value: Any
    kernel: Any
    moving: Any
    triple: Any


class _Batch(NamedTuple):
    """Training functions at the neurons z of a batch, by modes.

    Attributes:
        weights: (z,).
        h: ψ (z, n).
        number: h̃ at a = 1 (z, n).
        kernel: κ at a² = 1 (z, n, n).
        moving: its part with a² (z, n, n).
        triple: K (z, p, β, γ), the last two by points.
    """

    weights: Any
    h: Any
    number: Any
    kernel: Any
    moving: Any
    triple: Any


BATCH_BYTES = 2**25
"""What the largest array of a batch of neurons may take: it stays in a processor's cache, about."""


def neuron_moments(
    phi: Activation, gradients: bool, neurons: Neurons, points: Array, weights: Array
) -> tuple[TrainMoments, TestMoments]:
    """The expectations, with ``points`` (N, R) and ``weights`` (N,) for those over w.

    Args:
        phi: φ, with three derivatives.
        gradients: whether components are derivatives by all coordinates but those of zero multiplicity, else values.
        neurons: the points.
        points: w.
        weights: of the points.
    """
    n, components = len(neurons.train), len(neurons.multiplicity)
    size = max(1, min(len(points), BATCH_BYTES // (8 * n * n * max(n, components))))
    count = -(-len(points) // size)
    padding = count * size - len(points)
    with jax.enable_x64(True):
        w = jnp.asarray(np.pad(points, ((0, padding), (0, 0)))).reshape(count, size, -1)
        found = _sums(phi, gradients, neurons, w, jnp.asarray(np.pad(weights, (0, padding))).reshape(count, size))
        return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sums(
    phi: Activation, gradients: bool, neurons: Neurons, w: jax.Array, weights: jax.Array
) -> tuple[TrainMoments, TestMoments]:
    """Sums over batches w (b, z, R); indices k, l of K are carried from points to modes at the end, once."""
    at_point = _functions(phi, neurons)

    def of_batch(w: jax.Array, weights: jax.Array) -> tuple[TrainMoments, TestMoments]:
        batch = _train_batch(at_point, phi, neurons, w, weights)
        of_test = functools.partial(_test_moments, at_point, gradients, neurons, batch, w)
        return _train_moments(batch), jax.lax.map(lambda one: of_test(*one), (neurons.test, neurons.ntk))

    def add(sums: Any, one: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, of_batch(*one)), None

    shapes = jax.eval_shape(of_batch, w[0], weights[0])
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (train, test), _ = jax.lax.scan(add, start, (w, weights))
    turn = functools.partial(jnp.einsum, optimize=True)
    v = neurons.vectors
    return train._replace(
        triple=turn("pklq,kK,lL->pKLq", train.triple, v, v),
        triple_number=turn("pklq,kK,lL->pKLq", train.triple_number, v, v),
    ), test._replace(
        triple=turn("xcklq,kK,lL->xcKLq", test.triple, v, v),
        triple_number=turn("xcklq,kK,lL->xcKLq", test.triple_number, v, v),
        own_triple=turn("xkl,kK,lL->xKL", test.own_triple, v, v),
        back_triple=turn("xpkl,kK,lL->xpKL", test.back_triple, v, v),
    )


def derivatives_of(phi: Activation, scale: Any) -> list[Callable[[jax.Array], jax.Array]]:
    """ψ = σ_2 φ and its first two derivatives, entrywise."""
    functions: list[Callable[[jax.Array], jax.Array]] = [lambda u: scale * phi(u)]
    for _ in range(2):
        functions.append(_slope(functions[-1]))
    return functions


def _slope(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    return lambda u: jax.jvp(function, (u,), (jnp.ones_like(u),))[1]


def _functions(phi: Activation, neurons: Neurons) -> Callable[[jax.Array, jax.Array], _OfPoint]:
    """x (R,), w (R,) ↦ the functions of the module's head at one neuron."""
    psi = derivatives_of(phi, neurons.scale)
    s = neurons.last_speed
    gram = (neurons.train * neurons.speed) @ neurons.train.T

    def at_point(x: jax.Array, w: jax.Array) -> _OfPoint:
        f0, f1, f2 = (function(neurons.train @ w) for function in psi)
        a0, a1, a2 = (function(x @ w) for function in psi)
        inner = (neurons.train * neurons.speed) @ x
        near = inner * f1
        moving = a1 * near
        first = s * (2 * a1 * jnp.outer(near, f0) + a1 * jnp.outer(f0, near) + a0 * jnp.outer(f1, f1) * gram)
        cubic = a2 * jnp.outer(near, near) + a1 * jnp.outer(inner * f2, f1) * gram
        return _OfPoint(a0, s * a0 * f0 + moving, moving, first + 3 * cubic)

    return at_point


def _train_batch(
    at_point: Callable[[jax.Array, jax.Array], _OfPoint],
    phi: Activation,
    neurons: Neurons,
    w: jax.Array,
    weights: jax.Array,
) -> _Batch:
    psi = derivatives_of(phi, neurons.scale)
    moved = neurons.train * neurons.speed
    u = w @ neurons.train.T
    number = (
        neurons.last_speed * psi[0](u) + (w @ moved.T) * psi[1](u) - jnp.sum(moved * neurons.train, axis=1) * psi[2](u)
    )
    here = jax.vmap(jax.vmap(at_point, (0, None)), (None, 0))(neurons.train, w)
    v = neurons.vectors
    kernel, moving = (jnp.einsum("zpk,pP,kK->zPK", one, v, v) for one in (here.kernel, here.moving))
    return _Batch(
        weights,
        here.value @ v,
        number @ v,
        kernel - jnp.diag(neurons.eigenvalues),
        moving,
        jnp.einsum("zpbc,pP->zPbc", here.triple, v),
    )


def _train_moments(batch: _Batch) -> TrainMoments:
    """E over a: E κκ' = κκ' + 2·(parts with a²), E a² κ = κ + 2·(part with a²), at a² = 1."""
    weighted = batch.triple * batch.weights[:, None, None, None]
    kernel, moving = (one * batch.weights[:, None, None] for one in (batch.kernel, batch.moving))
    return TrainMoments(
        jnp.einsum("zpk,zql->pkql", kernel, batch.kernel) + 2 * jnp.einsum("zpk,zql->pkql", moving, batch.moving),
        jnp.einsum("zpkl,zq->pklq", weighted, batch.h),
        jnp.einsum("zpkl,zq->pklq", weighted, batch.number),
        jnp.einsum("zpl,zq,zl->pql", kernel + 2 * moving, batch.h, batch.h),
    )


def _test_moments(
    at_point: Callable[[jax.Array, jax.Array], _OfPoint],
    gradients: bool,
    neurons: Neurons,
    batch: _Batch,
    w: jax.Array,
    x: jax.Array,
    ntk: jax.Array,
) -> TestMoments:
    """Of one test point x (R,) whose components have Θ = ``ntk`` (c, n) with the modes."""
    count = len(neurons.multiplicity)
    if gradients:  # by the coordinates of the inputs, which come first
        here = jax.vmap(lambda one: jax.jacfwd(at_point)(x, one))(w)
        here = jax.tree.map(lambda a: jnp.moveaxis(a[..., :count], -1, 1), here)
    else:
        here = jax.tree.map(lambda a: a[:, None], jax.vmap(lambda one: at_point(x, one))(w))
    kernel = here.kernel @ neurons.vectors - ntk
    moving = here.moving @ neurons.vectors
    h, many, sizes = here.value, neurons.multiplicity, batch.weights
    to_modes = functools.partial(jnp.einsum, "cp,zcl->zpl", ntk)
    weigh = functools.partial(jnp.einsum, "z,zcl->zcl", sizes)
    both, weighted = kernel + 2 * moving, sizes[:, None, None, None] * here.triple
    own = jnp.einsum("c,zcl,zcq->lq", many, weigh(kernel), kernel)
    chain = jnp.einsum("zck,zkl->ckl", weigh(kernel), batch.kernel)
    squares = jnp.einsum("zpl,zpq->plq", to_modes(weigh(kernel)), batch.kernel)
    projected = jnp.einsum("cp,zc->zp", ntk, h)
    return TestMoments(
        own + 2 * jnp.einsum("c,zcl,zcq->lq", many, weigh(moving), moving),
        squares + 2 * jnp.einsum("zpl,zpq->plq", to_modes(weigh(moving)), batch.moving),
        chain + 2 * jnp.einsum("zck,zkl->ckl", weigh(moving), batch.moving),
        jnp.einsum("zckl,zq->cklq", weighted, batch.h),
        jnp.einsum("zckl,zq->cklq", weighted, batch.number),
        jnp.einsum("c,zckl,zc->kl", many, weighted, h),
        jnp.einsum("zpkl,zp->pkl", batch.triple, projected * sizes[:, None]),
        jnp.einsum("c,zc,zcl,zl->l", many, h, weigh(both), batch.h),
        jnp.einsum("zp,zpl,zl->pl", projected, (batch.kernel + 2 * batch.moving) * sizes[:, None, None], batch.h),
        jnp.einsum("zql,zq,zl->ql", to_modes(weigh(both)), batch.h, batch.h),
    )
