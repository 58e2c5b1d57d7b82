"""Nested integrals over training time of exponentials e^{−λt}, for the first order in 1/m; numpy, float64.

With M_k(t) = (1 − e^{−λ_k t})/λ_k, a perturbation of training at time s moves what is asked for at time t through modes
p by M_p(t − s). What happens before s has integrals in closed form; the outermost integral, over s, is a Gauss-Legendre
rule on intervals that shrink geometrically towards both ends, because the rates λ span many orders of magnitude.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DECAYED = 45.0
"""λ_min·s after which e^{−λs} is below 3e-20 for every mode."""

FIRST, RATIO, ORDER = 0.05, 1.6, 8
"""The first interval is FIRST/λ_max long, each next one RATIO times as long; with ORDER nodes each, integrals of
products of exponentials come out to about 1e-12."""

SMALLEST = 1e-13
"""Eigenvalues are raised to this share of the largest: slower modes do not move before 1e13/λ_max, and differences of
their integrals would cancel."""


class TimeIntegrals(NamedTuple):
    """∫_0^t ds of products, by modes: p moves what is asked for, k acts at s, l and q before.

    Attributes:
        m: M_k(t) (k,).
        single: M_p(t−s) e^{−λ_l s} (p, l).
        chain: D_kl(s) (k, l), with D_kl(s) = ∫_0^s e^{−λ_k(s−u) − λ_l u} du.
        back_chain: M_p(t−s) D_kl(s) (p, k, l).
        pair: e^{−λ_k s} M_l(s) (k, l).
        back_pair: M_p(t−s) e^{−λ_k s} M_l(s) (p, k, l).
        triple: e^{−λ_k s} W_lq(s) (k, l, q), with W_lq(s) = ∫_0^s e^{−λ_l u} M_q(u) du.
        back_triple: M_p(t−s) e^{−λ_k s} W_lq(s) (p, k, l, q).
    """

    m: Array
    single: Array
    chain: Array
    back_chain: Array
    pair: Array
    back_pair: Array
    triple: Array
    back_triple: Array


def time_integrals(eigenvalues: Array, time: float) -> TimeIntegrals:
    """The integrals up to ``time`` ≥ 0 (inf is allowed), for eigenvalues λ (n,), ascending."""
    rates = np.maximum(eigenvalues, SMALLEST * eigenvalues[-1])
    s, weights = _nodes(rates, time)
    response = np.broadcast_to(1 / rates, (len(s), len(rates))) if math.isinf(time) else _m(rates, time - s[:, None])
    decay, before = np.exp(-rates * s[:, None]), _m(rates, s[:, None])
    k, q = rates[:, None], rates
    slower, apart = np.minimum(k, q), np.abs(k - q)
    chain = np.exp(-slower * s[:, None, None]) * _m(apart, s[:, None, None])
    twice = (before[:, :, None] - _m(k + q, s[:, None, None])) / q  # ∫ e^{−λ_l u} (1 − e^{−λ_q u})/λ_q du
    total = functools.partial(np.einsum, optimize=True)
    weighted = weights[:, None] * response
    return TimeIntegrals(
        1 / rates if math.isinf(time) else _m(rates, time),
        total("sp,sl->pl", weighted, decay),
        total("s,skl->kl", weights, chain),
        total("sp,skl->pkl", weighted, chain),
        total("s,sk,sl->kl", weights, decay, before),
        total("sp,sk,sl->pkl", weighted, decay, before),
        total("s,sk,slq->klq", weights, decay, twice),
        np.tensordot(weighted[:, :, None] * decay[:, None, :], twice, axes=(0, 0)),
    )


def _m(rates: Array, s: Array | float) -> Array:
    """(1 − e^{−λs})/λ, which is s at λ = 0."""
    safe = np.where(rates > 0, rates, 1.0)
    return np.where(rates > 0, -np.expm1(-safe * s) / safe, s)


def _nodes(rates: Array, time: float) -> tuple[Array, Array]:
    """Nodes and weights (T,) for the integral over 0 < s < t."""
    end, first = min(time, DECAYED / rates[0]), FIRST / rates[-1]
    edges = np.array([0.0, end])
    if end > 2 * first:
        steps = 1 + math.ceil(math.log(end / 2 / first) / math.log(RATIO))
        rising = np.concatenate([[0.0], np.geomspace(first, end / 2, 1 + steps)])
        edges = np.concatenate([rising, (end - rising[:-1])[::-1]])
    nodes, weights = np.polynomial.legendre.leggauss(ORDER)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()
