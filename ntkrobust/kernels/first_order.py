"""The first order in 1/m of a trained two-layer ensemble of width m: E F_t and E F_t² of linear functionals F of f_t.

Squared loss ½Σ(f − y)², gradient flow. A functional is f_t(x), or a derivative ∂_j f_t(x). With modes of Θ as indices,
K = Cov f_0, R = K + yyᵀ, and the coordinates M, … of :mod:`ntkrobust.kernels.time_integrals`, the infinite ensemble has

    F_t = F_0 − Σ_k Θ_Fk M_k (f_0 − y)_k = c_F + Gaussian,   c_F = Σ_k μ_Fk y_k,   μ_Fk = Θ_Fk M_k,
    b_Fk = E F_t (f_0 − y)_k = K_Fk − Σ_q μ_Fq K_qk − c_F y_k,

and networks of width m

    E F_t² = E∞ F_t² + (2A + B + 2(chain + triple + fourth))/m + O(m^{−2}).

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
        y: (n,).
    """

    ntk: Array
    nngp: Array
    prior: Array
    y: Array


class Weights(NamedTuple):
    """What multiplies the moments of a third-order process: E[X (f_0−y)_k (f_0−y)_l (f_0−y)_q] for Gaussian X.

    It is b_k R_lq + b_l R_kq + b_q R_kl + 2c y_k y_l y_q with b_k = E X (f_0−y)_k and c = E X: for F_t itself, and for
    the constant 1, where b = −y and c = 1.

    Attributes:
        b: (n', c, n).
        c: (n', c).
        back_b: Σ_F Θ_Fp b_Fk (n', p, k).
        back_c: Σ_F Θ_Fp c_F (n', p).
        square: R (n, n).
        y: (n,).
    """

    b: Array
    c: Array
    back_b: Array
    back_c: Array
    square: Array
    y: Array


def second_moment(f: Functionals, train: TrainMoments, test: TestMoments, times: TimeIntegrals) -> Array:
    """The coefficient of 1/m of Σ_F E F_t² (n',), F summed with multiplicity."""
    mu = f.ntk * times.m
    c = mu @ f.y
    b = f.nngp - mu @ f.prior - c[:, :, None] * f.y
    weights = _weights(f, b, c)
    gram = _sum("xcp,xcq->xpq", f.ntk, f.ntk)
    once = _third(train, test, times, gram) + _own_triple(test, train, times, weights.square, mu, gram)
    return 2 * once + _squares(train, test, times, weights.square, gram) + 2 * _moved(train, test, times, weights)


def mean(f: Functionals, train: TrainMoments, test: TestMoments, times: TimeIntegrals) -> Array:
    """The coefficient of 1/m of Σ_F E F_t (n',), for one component F."""
    shape = f.ntk.shape
    return _moved(train, test, times, _weights(f, np.broadcast_to(-f.y, shape), np.ones(shape[:2])))


def _weights(f: Functionals, b: Array, c: Array) -> Weights:
    back_b, back_c = _sum("xcp,xck->xpk", f.ntk, b), _sum("xcp,xc->xp", f.ntk, c)
    return Weights(b, c, back_b, back_c, f.prior + np.outer(f.y, f.y), f.y)


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
    test: TestMoments, train: TrainMoments, times: TimeIntegrals, square: Array, mu: Array, gram: Array
) -> Array:
    """Σ_F Σ_kl R_kl E[K_Fkl h_F̂] in time: how Θ moves is correlated with F_0."""
    forward, back = square * times.pair, square * times.back_pair
    return (
        _sum("kl,xkl->x", forward, test.own_triple)
        - _sum("kl,xcklq,xcq->x", forward, test.triple, mu)
        - _sum("pkl,xpkl->x", back, test.back_triple)
        + _sum("pkl,pklq,xpq,q->x", back, train.triple, gram, times.m)
    )


def _moved(train: TrainMoments, test: TestMoments, times: TimeIntegrals, weights: Weights) -> Array:
    """What E X·(second order of F_t) comes to, without the covariance of X with the neurons' own third brackets:

        chain:  E κ_Fk κ_kl · b_l                          (the fluctuation of Θ acts twice)
        triple: E K_Fkl (h_k b_l + h_l b_k)                (Θ moves, along a direction that f_0 is correlated with)
        fourth: −E K_Fkl h̃_q · E X(f_0−y)_k(f_0−y)_l(f_0−y)_q    (the motion of Θ changes, on average)

    each once with F at time s, and once with −Σ_p Θ_Fp M_p(t−s) in its place: training reacts to what happened.
    """
    forward = (
        _sum("xckl,kl,xcl->x", test.chain, times.chain, weights.b)
        + _sum("xcklk,kl,xcl->x", test.triple, times.pair, weights.b)
        + _sum("xckll,kl,xck->x", test.triple, times.pair, weights.b)
    )
    back = (
        _sum("pkkl,pkl,xpl->x", train.squares, times.back_chain, weights.back_b)
        + _sum("pklk,pkl,xpl->x", train.triple, times.back_pair, weights.back_b)
        + _sum("pkll,pkl,xpk->x", train.triple, times.back_pair, weights.back_b)
    )
    own = _wick("xcklq,{}->x", test.triple_number * times.triple, weights.b, weights.c, weights)
    reacted = _wick("pklq,{}->x", train.triple_number * times.back_triple, weights.back_b, weights.back_c, weights)
    return forward - back - (own - reacted)


def _wick(form: str, fourth: Array, b: Array, c: Array, weights: Weights) -> Array:
    """Σ of ``fourth`` against b_k R_lq + b_l R_kq + b_q R_kl + 2c y_k y_l y_q, with b (n', i, n) and c (n', i)."""
    i = "c" if form.startswith("x") else "p"
    y, r = weights.y, weights.square
    return (
        _sum(form.format(f"x{i}k,lq"), fourth, b, r)
        + _sum(form.format(f"x{i}l,kq"), fourth, b, r)
        + _sum(form.format(f"x{i}q,kl"), fourth, b, r)
        + 2 * _sum(form.format(f"x{i},k,l,q"), fourth, c, y, y, y)
    )
