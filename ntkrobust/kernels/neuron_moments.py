"""Expectations over one neuron, which is all that a two-layer network of width m is made of.

A neuron with parameters z = (a, w), a (o,), contributes h_xi(z) = a_i ψ(w·x) to output i of m^{1/2} f(x), where
ψ = σ_2 φ and inputs are scaled such that w ~ N(0, I). With the layers' speeds S, {g, k} = ∇_z g · S ∇_z k and
⟨x, y⟩ = x·S y + s_b, where s_b is the speed of the first layer's bias, writing ψ_x = ψ(w·x),

    {h_xi, h_βj}           = δ_ij s ψ_x ψ_β + a_i a_j ⟨x,β⟩ ψ'_x ψ'_β
    {{h_xi, h_βj}, h_γk}   = s (δ_ik a_j + δ_jk a_i) T_1 + s δ_ij a_k T_2 + a_i a_j a_k T_3,
        T_1 = ⟨x,β⟩ ψ'_x ψ'_β ψ_γ,       T_2 = ⟨x,γ⟩ ψ'_x ψ_β ψ'_γ + ⟨β,γ⟩ ψ_x ψ'_β ψ'_γ,
        T_3 = ⟨x,β⟩ [⟨x,γ⟩ ψ''_x ψ'_β ψ'_γ + ⟨β,γ⟩ ψ'_x ψ''_β ψ'_γ]
    h̃_γk = z·S∇h_γk − tr S∇²h_γk = a_k [s ψ_γ + ⟨w,γ⟩ ψ'_γ − ⟨γ,γ⟩ ψ''_γ]   (of a and w; biases apart)

with s the speed of the last layer. Gaussian integration by parts gives E {g, h_γ} = E g h̃_γ, so that brackets of four
functions never appear. Biases may start at zero, with no density to integrate by: their part, s_b E ∂_b g a_k ψ'_γ, is
differentiated. a is integrated exactly. With one output that is E a² = 1, E a⁴ = 3. With several,

    E a_r {{h_xi, h_βj}, h_γk} = δ_ij δ_kr P + (δ_ik δ_jr + δ_jk δ_ir) Q,     P = s T_2 + T_3,   Q = s T_1 + T_3,

so that what sums over outputs need are two numbers, P and Q, for each triple of points, and their sum P + 2Q for one
output. w is integrated by the points of :mod:`ntkrobust.kernels.neuron_nodes`. What is derived from this, and how, is
in docs/first-order-width.md.
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
        shift_speed: s_b, that of the first layer's bias; its weight is a coordinate of speed 0.
        last_speed: s, that of the last layer.
        output_speed: that of the output bias: it adds to Θ, and does not fluctuate.
        outputs: o.
        scale: σ_2.
        vectors: (n, n), eigenvectors of Θ in columns: modes.
        eigenvalues: (n,).
        ntk: Θ of the components with the modes (n', c, n).
        multiplicity: (c,), how many components each stands for.
    """

    train: Any
    test: Any
    speed: Any
    shift_speed: Any
    last_speed: Any
    output_speed: Any
    outputs: Any
    scale: Any
    vectors: Any
    eigenvalues: Any
    ntk: Any
    multiplicity: Any


class TrainMoments(NamedTuple):
    """Expectations among training functions, by modes. Here κ_pk = {h_p, h_k} − Θ_pk and K_pkl = {{h_p, h_k}, h_l}.

    Products of two κ are summed over the output in between, Σ_i E κ_pi,kj κ_qi,lj' = δ_jj'·(what is here), those of κ
    and two h over both, with a factor of o left out. E K h come in parts: P and Q for several outputs, P + 2Q for one.

    Attributes:
        squares: E κ_pk κ_ql (p, k, q, l).
        triple: E K_pkl h_q (parts, p, k, l, q).
        triple_number: E K_pkl h̃_q (parts, p, k, l, q).
        third: E κ_pl h_q h_l (p, q, l).
    """

    squares: Any
    triple: Any
    triple_number: Any
    third: Any


class TestMoments(NamedTuple):
    """Expectations with components F of test points, summed over F (with multiplicity) where F is missing below.

    Over outputs they are summed as in :class:`TrainMoments`; ``own_triple`` and ``back_triple``, over i = r, are
    P + (o+1)Q.

    Attributes:
        own_squares: Σ E κ_Fl κ_Fq (n', l, q).
        squares: Σ Θ_Fp E κ_Fl κ_pq (n', p, l, q).
        chain: E κ_Fk κ_kl (n', c, k, l).
        triple: E K_Fkl h_q (parts, n', c, k, l, q).
        triple_number: E K_Fkl h̃_q (parts, n', c, k, l, q).
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
        triple: what E over a leaves of {{h_x, h_β}, h_γ} times an a, (parts, n, n).
        shifted: s_b ∂_b of that; None without biases.
    """

    value: Any
    kernel: Any
    moving: Any
    triple: Any
    shifted: Any


class _Batch(NamedTuple):
    """Training functions at the neurons z of a batch, by modes.

    Attributes:
        weights: (z,).
        h: ψ (z, n).
        number: h̃ at a = 1 (z, n).
        slope: ψ' (z, n).
        kernel: κ at a² = 1 (z, n, n).
        moving: its part with a² (z, n, n).
        triple: K (z, parts, p, β, γ), the last two by points.
        shifted: s_b ∂_b K alike; None without biases.
    """

    weights: Any
    h: Any
    number: Any
    slope: Any
    kernel: Any
    moving: Any
    triple: Any
    shifted: Any


class Kind(NamedTuple):
    """What programs for neurons differ in, static under ``jit``.

    Attributes:
        phi: φ, with three derivatives; with biases, four.
        gradients: whether components are derivatives by coordinates, the first ones of a point, else values.
        biases: whether there are any that are trained in the first layer.
        several: whether there are several outputs.
    """

    phi: Activation
    gradients: bool
    biases: bool
    several: bool


BATCH_BYTES = 2**25
"""What the largest array of a batch of neurons may take: it stays in a processor's cache, about."""


def neuron_moments(kind: Kind, neurons: Neurons, points: Array, weights: Array) -> tuple[TrainMoments, TestMoments]:
    """The expectations, with ``points`` (N, R) and ``weights`` (N,) for those over w."""
    n, components = len(neurons.train), len(neurons.multiplicity)
    arrays = (1 + kind.several) * (1 + kind.biases)
    size = max(1, min(len(points), BATCH_BYTES // (8 * arrays * n * n * max(n, components))))
    count = -(-len(points) // size)
    padding = count * size - len(points)
    with jax.enable_x64(True):
        w = jnp.asarray(np.pad(points, ((0, padding), (0, 0)))).reshape(count, size, -1)
        found = _sums(kind, neurons, w, jnp.asarray(np.pad(weights, (0, padding))).reshape(count, size))
        return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnums=0)
def _sums(kind: Kind, neurons: Neurons, w: jax.Array, weights: jax.Array) -> tuple[TrainMoments, TestMoments]:
    """Sums over batches w (b, z, R); indices k, l of K are carried from points to modes at the end, once."""
    at_point = _functions(kind, neurons)

    def of_batch(w: jax.Array, weights: jax.Array) -> tuple[TrainMoments, TestMoments]:
        batch = _train_batch(at_point, kind, neurons, w, weights)
        of_test = functools.partial(_test_moments, at_point, kind, neurons, batch, w)
        test = jax.lax.map(lambda one: of_test(*one), (neurons.test, neurons.ntk))
        return _train_moments(neurons, batch), test

    def add(sums: Any, one: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, of_batch(*one)), None

    shapes = jax.eval_shape(of_batch, w[0], weights[0])
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (train, test), _ = jax.lax.scan(add, start, (w, weights))
    turn = functools.partial(jnp.einsum, optimize=True)
    v = neurons.vectors
    return train._replace(
        triple=turn("spklq,kK,lL->spKLq", train.triple, v, v),
        triple_number=turn("spklq,kK,lL->spKLq", train.triple_number, v, v),
    ), test._replace(
        triple=turn("xscklq,kK,lL->sxcKLq", test.triple, v, v),
        triple_number=turn("xscklq,kK,lL->sxcKLq", test.triple_number, v, v),
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


def _functions(kind: Kind, neurons: Neurons) -> Callable[[jax.Array, jax.Array], _OfPoint]:
    """x (R,), w (R,) ↦ the functions of the module's head at one neuron."""
    psi = derivatives_of(kind.phi, neurons.scale)
    s = neurons.last_speed
    gram = (neurons.train * neurons.speed) @ neurons.train.T + neurons.shift_speed

    def shifted_by(b: jax.Array, x: jax.Array, w: jax.Array) -> _OfPoint:
        f0, f1, f2 = (function(neurons.train @ w + b) for function in psi)
        a0, a1, a2 = (function(x @ w + b) for function in psi)
        inner = (neurons.train * neurons.speed) @ x + neurons.shift_speed
        near = inner * f1
        moving = a1 * near
        first, second = a1 * jnp.outer(near, f0), a1 * jnp.outer(f0, near) + a0 * jnp.outer(f1, f1) * gram
        cubic = a2 * jnp.outer(near, near) + a1 * jnp.outer(inner * f2, f1) * gram
        triple = [s * second + cubic, s * first + cubic] if kind.several else [s * (2 * first + second) + 3 * cubic]
        return _OfPoint(a0, s * a0 * f0 + moving + neurons.output_speed, moving, jnp.stack(triple), None)

    def at_point(x: jax.Array, w: jax.Array) -> _OfPoint:
        zero = jnp.zeros_like(neurons.shift_speed)
        if not kind.biases:
            return shifted_by(zero, x, w)
        found, slopes = jax.jvp(lambda b: shifted_by(b, x, w), (zero,), (jnp.ones_like(zero),))
        return found._replace(shifted=neurons.shift_speed * slopes.triple)

    return at_point


def _train_batch(
    at_point: Callable[[jax.Array, jax.Array], _OfPoint],
    kind: Kind,
    neurons: Neurons,
    w: jax.Array,
    weights: jax.Array,
) -> _Batch:
    psi = derivatives_of(kind.phi, neurons.scale)
    moved = neurons.train * neurons.speed
    u = w @ neurons.train.T
    number = (
        neurons.last_speed * psi[0](u) + (w @ moved.T) * psi[1](u) - jnp.sum(moved * neurons.train, axis=1) * psi[2](u)
    )
    here = jax.vmap(jax.vmap(at_point, (0, None)), (None, 0))(neurons.train, w)
    v = neurons.vectors
    kernel, moving = (jnp.einsum("zpk,pP,kK->zPK", one, v, v) for one in (here.kernel, here.moving))
    triple, shifted = jax.tree.map(lambda one: jnp.einsum("zpsbc,pP->zsPbc", one, v), (here.triple, here.shifted))
    kernel = kernel - jnp.diag(neurons.eigenvalues)
    return _Batch(weights, here.value @ v, number @ v, psi[1](u) @ v, kernel, moving, triple, shifted)


def _train_moments(neurons: Neurons, batch: _Batch) -> TrainMoments:
    """Σ_i E κ_ij κ'_ij = κκ' + (o+1)·(their parts with a²), Σ_i E a_i a_j κ_ij = κ + (o+1)·(that of κ), at a² = 1."""
    again = neurons.outputs + 1
    weigh = lambda one: one * batch.weights[:, None, None, None, None]  # noqa: E731
    triple, shifted = jax.tree.map(weigh, (batch.triple, batch.shifted))
    kernel, moving = (one * batch.weights[:, None, None] for one in (batch.kernel, batch.moving))
    squares = jnp.einsum("zpk,zql->pkql", kernel, batch.kernel)
    return TrainMoments(
        squares + again * jnp.einsum("zpk,zql->pkql", moving, batch.moving),
        jnp.einsum("zspkl,zq->spklq", triple, batch.h),
        _fourth("zspkl,zq->spklq", triple, shifted, batch),
        jnp.einsum("zpl,zq,zl->pql", kernel + again * moving, batch.h, batch.h),
    )


def _fourth(form: str, triple: jax.Array, shifted: jax.Array | None, batch: _Batch) -> jax.Array:
    """E {K, h_q}: by parts in a and w, differentiated in b."""
    found = jnp.einsum(form, triple, batch.number)
    return found if shifted is None else found + jnp.einsum(form, shifted, batch.slope)


def _test_moments(
    at_point: Callable[[jax.Array, jax.Array], _OfPoint],
    kind: Kind,
    neurons: Neurons,
    batch: _Batch,
    w: jax.Array,
    x: jax.Array,
    ntk: jax.Array,
) -> TestMoments:
    """Of one test point x (R,) whose components have Θ = ``ntk`` (c, n) with the modes."""
    count, again = len(neurons.multiplicity), neurons.outputs + 1
    if kind.gradients:  # by the coordinates of the inputs, which come first
        here = jax.vmap(lambda one: jax.jacfwd(at_point)(x, one))(w)
        here = jax.tree.map(lambda a: jnp.moveaxis(a[..., :count], -1, 1), here)
    else:
        here = jax.tree.map(lambda a: a[:, None], jax.vmap(lambda one: at_point(x, one))(w))
    kernel = here.kernel @ neurons.vectors - ntk
    moving = here.moving @ neurons.vectors
    h, many, sizes = here.value, neurons.multiplicity, batch.weights
    to_modes = functools.partial(jnp.einsum, "cp,zcl->zpl", ntk)
    weigh = functools.partial(jnp.einsum, "z,zcl->zcl", sizes)
    both = kernel + again * moving
    weighted, shifted = jax.tree.map(lambda a: sizes[:, None, None, None, None] * a, (here.triple, here.shifted))
    own = jnp.einsum("c,zcl,zcq->lq", many, weigh(kernel), kernel)
    chain = jnp.einsum("zck,zkl->ckl", weigh(kernel), batch.kernel)
    squares = jnp.einsum("zpl,zpq->plq", to_modes(weigh(kernel)), batch.kernel)
    projected = jnp.einsum("cp,zc->zp", ntk, h)
    own_parts = jnp.stack([jnp.ones_like(again), again]) if kind.several else jnp.ones(1)
    return TestMoments(
        own + again * jnp.einsum("c,zcl,zcq->lq", many, weigh(moving), moving),
        squares + again * jnp.einsum("zpl,zpq->plq", to_modes(weigh(moving)), batch.moving),
        chain + again * jnp.einsum("zck,zkl->ckl", weigh(moving), batch.moving),
        jnp.einsum("zcskl,zq->scklq", weighted, batch.h),
        _fourth("zcskl,zq->scklq", weighted, shifted, batch),
        jnp.einsum("c,s,zcskl,zc->kl", many, own_parts, weighted, h),
        jnp.einsum("s,zspkl,zp->pkl", own_parts, batch.triple, projected * sizes[:, None]),
        jnp.einsum("c,zc,zcl,zl->l", many, h, weigh(both), batch.h),
        jnp.einsum("zp,zpl,zl->pl", projected, (batch.kernel + again * batch.moving) * sizes[:, None, None], batch.h),
        jnp.einsum("zql,zq,zl->ql", to_modes(weigh(both)), batch.h, batch.h),
    )
