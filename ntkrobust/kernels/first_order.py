"""The first order in 1/m of a trained two-layer ensemble of width m: E F_t and E F_t² of linear functionals F of f_t.

Squared loss ½Σ‖f − y‖², gradient flow. A functional is f_t(x), or a derivative ∂_j f_t(x), of each of o outputs. With
modes of Θ as indices, K = Cov f_0 of an output, R = oK + yyᵀ, y (n, o), and the coordinates M, … of
:mod:`ntkrobust.kernels.time_integrals`, the infinite ensemble has

    F_t = F_0 − Σ_k Θ_Fk M_k (f_0 − y)_k = c_F + Gaussian,   c_F = Σ_k μ_Fk y_k (o,),   μ_Fk = Θ_Fk M_k,
    Σ E F_t (f_0 − y)_k = b_Fk = o b⁰_Fk − c_F·y_k,   b⁰_Fk = K_Fk − Σ_q μ_Fq K_qk,   sums being over outputs,

and networks of width m

    E ‖F_t‖² = E∞ ‖F_t‖² + (2A + B + 2(chain + triple + fourth))/m + O(m^{−2}).

The terms are derived in docs/first-order-width.md; each function below states its own.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.kernels.neuron_moments import TestMoments, TrainMoments
from ntkrobust.kernels.time_integrals import TimeIntegrals

Array = npt.NDArray[np.float64]

_sum = functools.partial(np.einsum, optimize=True)


class Functionals(NamedTuple):
    """Components F of n' test points, c each, and the training set, by modes of Θ.

    Attributes:
        ntk: Θ_Fk (n', c, n).
        nngp: K_Fk (n', c, n).
        prior: K (n, n).
        y: (n, o).
    """

    ntk: Array
    nngp: Array
    prior: Array
    y: Array


class Of(NamedTuple):
    """How a Gaussian X, one for each output, goes with the residuals: E X_i (f_0−y)_kj = δ_ij b⁰_k − c_i y_kj, c = E X.

    Attributes:
        b: Σ_i E X_i (f_0−y)_ki (n', i, n).
        b0: b⁰ (n', i, n).
        cy: Σ_i c_i y_ki (n', i, n).
    """

    b: Array
    b0: Array
    cy: Array


class Weights(NamedTuple):
    """What multiplies the moments of a third-order process.

    Attributes:
        own: for X = F_t itself, or for the constant 1; i are components c.
        back: for Σ_F Θ_Fp X_F; i are modes p.
        square: R (n, n).
        prior: K (n, n).
        outputs: o.
    """

    own: Of
    back: Of
    square: Array
    prior: Array
    outputs: int


def second_moment(f: Functionals, train: TrainMoments, test: TestMoments, times: TimeIntegrals) -> Array:
    """The coefficient of 1/m of Σ_F E ‖F_t‖² (n'), F summed with multiplicity."""
    mu, outputs = f.ntk * times.m, f.y.shape[1]
    b0, cy = f.nngp - mu @ f.prior, mu @ f.y @ f.y.T
    weights = _weights(f, Of(outputs * b0 - cy, b0, cy))
    gram = _sum("xcp,xcq->xpq", f.ntk, f.ntk)
    once = outputs * _third(train, test, times, gram) + _own_triple(test, train, times, weights, mu, gram)
    return 2 * once + _squares(train, test, times, weights.square, gram) + 2 * _moved(train, test, times, weights)


def mean(f: Functionals, train: TrainMoments, test: TestMoments, times: TimeIntegrals) -> Array:
    """The coefficient of 1/m of Σ_F E F_t (n', o), for one component F."""
    found = []
    for y in f.y.T:  # X = 1 for this output, 0 for the others
        cy = np.broadcast_to(y, f.ntk.shape)
        found.append(_moved(train, test, times, _weights(f, Of(-cy, np.zeros_like(cy), cy))))
    return np.stack(found, axis=1)


def _weights(f: Functionals, own: Of) -> Weights:
    outputs = f.y.shape[1]
    back = Of(*(_sum("xcp,xck->xpk", f.ntk, one) for one in own))
    return Weights(own, back, outputs * f.prior + f.y @ f.y.T, f.prior, outputs)


def _third(train: TrainMoments, test: TestMoments, times: TimeIntegrals, gram: Array) -> Array:
    """A = −Σ_F E[h_F̂ Y_Fl h_l]: the third cumulant of F_0, the fluctuation of Θ and f_0. Here

    Y_Fl = κ_Fl M_l − Σ_p Θ_Fp N_pl κ_pl,   N = ``times.single``,   h_F̂ = h_F − Σ_q μ_Fq h_q.
    """
    return -(
        test.own_third @ times.m
        - _sum("xpl,pl->x", test.back_third, times.single)
        - _sum("xql,q,l->x", test.cross_third, times.m, times.m)
        + _sum("xpq,q,pl,pql->x", gram, times.m, times.single, train.third)
    )


def _squares(train: TrainMoments, test: TestMoments, times: TimeIntegrals, square: Array, gram: Array) -> Array:
    """B = Σ_F Σ_lq R_lq E Y_Fl Y_Fq: the fluctuation of Θ, squared."""
    own = _sum("xlq,l,q,lq->x", test.own_squares, times.m, times.m, square)
    mixed = _sum("xplq,l,pq,lq->x", test.squares, times.m, times.single, square)
    return own - 2 * mixed + _sum("xpr,pl,rq,lq,plrq->x", gram, times.single, times.single, square, train.squares)


def _own_triple(
    test: TestMoments, train: TrainMoments, times: TimeIntegrals, weights: Weights, mu: Array, gram: Array
) -> Array:
    """Σ_F Σ_kl R_kl E[K_Fkl h_F̂] in time: how Θ moves is correlated with F_0."""
    forward, back = weights.square * times.pair, weights.square * times.back_pair
    parts = _parts(weights.outputs)[0]
    return (
        _sum("kl,xkl->x", forward, test.own_triple)
        - _sum("s,kl,sxcklq,xcq->x", parts, forward, test.triple, mu)
        - _sum("pkl,xpkl->x", back, test.back_triple)
        + _sum("s,pkl,spklq,xpq,q->x", parts, back, train.triple, gram, times.m)
    )


def _parts(outputs: int) -> tuple[Array, Array]:
    """What E K_Fi,kj,lr h summed over outputs is of the parts P and Q, with h of output i or j, and with h of output r.

    P + (o+1) Q and o P + 2 Q; both are P + 2Q, the single part, for one output.
    """
    if outputs == 1:
        return np.ones(1), np.ones(1)
    return np.array([1.0, outputs + 1.0]), np.array([outputs, 2.0])


def _moved(train: TrainMoments, test: TestMoments, times: TimeIntegrals, weights: Weights) -> Array:
    """What E X·(second order of F_t) comes to, without the covariance of X with the neurons' own third brackets:

        chain:  E κ_Fk κ_kl · b_l                          (the fluctuation of Θ acts twice)
        triple: E K_Fkl (h_k b_l + h_l b_k)                (Θ moves, along a direction that f_0 is correlated with)
        fourth: −E K_Fkl h̃_q · E X(f_0−y)_k(f_0−y)_l(f_0−y)_q    (the motion of Θ changes, on average)

    each once with F at time s, and once with −Σ_p Θ_Fp M_p(t−s) in its place: training reacts to what happened.
    """
    first, last = _parts(weights.outputs)
    own, back = weights.own, weights.back
    forward = (
        _sum("xckl,kl,xcl->x", test.chain, times.chain, own.b)
        + _sum("s,sxcklk,kl,xcl->x", first, test.triple, times.pair, own.b)
        + _sum("s,sxckll,kl,xck->x", last, test.triple, times.pair, own.b)
    )
    reacted = (
        _sum("pkkl,pkl,xpl->x", train.squares, times.back_chain, back.b)
        + _sum("s,spklk,pkl,xpl->x", first, train.triple, times.back_pair, back.b)
        + _sum("s,spkll,pkl,xpk->x", last, train.triple, times.back_pair, back.b)
    )
    fourth = _wick("sxcklq,{}->x", test.triple_number * times.triple, own, weights)
    return forward - reacted - (fourth - _wick("spklq,{}->x", train.triple_number * times.back_triple, back, weights))


def _wick(form: str, fourth: Array, of: Of, weights: Weights) -> Array:
    """Σ of ``fourth``, of outputs i, j, r and those of its fourth function, with E X_i (f_0−y)_kj (f_0−y)_lr (f_0−y)_q.

    One output: (P + 2Q)(b_k R_lq + b_l R_kq + b_q R_kl + 2c y_k y_l y_q). Several: with D_k,lq = b⁰_k R_lq − cy_k K_lq,

        P b_k R_lq + 2Q D_k,lq + [Q b_l R_kq + (P + Q) D_l,kq] + [Q b_q R_kl + (P + Q) D_q,kl],

    to which the first is equal at o = 1, where b R + 2/3·c yyy are the three terms of P + 2Q.
    """
    i = "xc" if form.startswith("sx") else "xp"
    b, b0, cy = of
    if weights.outputs == 1:
        slots = [([b + 2 / 3 * cy], [-2 / 3 * cy])] * 3
    else:
        other = ([b0, b + b0], [-cy, -cy])
        slots = [([b, 2 * b0], [np.zeros_like(cy), -2 * cy]), other, other]
    return sum(
        _sum(form.format(f"s{i}{one},{two}"), fourth, np.array(first), weights.square)
        + _sum(form.format(f"s{i}{one},{two}"), fourth, np.array(second), weights.prior)
        for (one, two), (first, second) in zip((("k", "lq"), ("l", "kq"), ("q", "kl")), slots, strict=True)
    )
