"""From a trained infinite ensemble to the coefficients of 1/m at test points: what is refused, scaled and summed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.kernels import first_order, trained
from ntkrobust.kernels.duals import is_kinked
from ntkrobust.kernels.factorization import Factorization
from ntkrobust.kernels.kept_moments import kept
from ntkrobust.kernels.layers import Layers
from ntkrobust.kernels.neuron_moments import Kind, Neurons, TestMoments, TrainMoments, neuron_moments
from ntkrobust.kernels.neuron_nodes import cubature_nodes, sobol_nodes
from ntkrobust.kernels.tiles import blocks
from ntkrobust.kernels.time_integrals import TimeIntegrals, time_integrals
from ntkrobust.kernels.trained import Model
from ntkrobust.networks.mlp import MLP
from ntkrobust.runtime.machine import available_bytes

Array = npt.NDArray[np.float64]

NEURONS = 2**14
"""Neurons that expectations are taken over, all sets of them together."""

MOST_NEURONS = 2**24

SETS = 8
"""Independent sets of neurons, whose spread gives the standard error."""

FOURTH_ORDER_ARRAYS = 10, 16
"""Arrays of n⁴ numbers that are alive at once, at most; with one output, and with several."""

BLOCK = 8
"""Test points that share neurons, at most."""


class Trained(NamedTuple):
    """What an ensemble at one time consists of.

    Attributes:
        net: the network.
        model: what is static.
        layers: of the kernels.
        factors: of the training kernel.
        time: of gradient flow.
        ridge: added to the eigenvalues.
        learning_rate: None for gradient flow.
    """

    net: MLP
    model: Model
    layers: Layers[Any]
    factors: Factorization
    time: float
    ridge: float
    learning_rate: float | None


class Coefficients(NamedTuple):
    """Coefficients of 1/m at test points, and their standard errors over sets of neurons; (n',) each.

    Attributes:
        second_moment: of E‖J_t‖_F², or of E‖f_t‖².
        second_moment_error: zero where the expectations over neurons are exact.
        mean: of E f_t, (n', o); zeros for gradients, where it is not computed.
        mean_error: alike.
    """

    second_moment: Array
    second_moment_error: Array
    mean: Array
    mean_error: Array


def check_first_order(ensemble: Trained) -> None:
    """Refuse what the expansion does not cover.

    Raises:
        InputError: in one sentence.
    """
    net = ensemble.net
    for refused, reason in (
        (
            net.depth != 2,
            f"is for depth=2, got depth={net.depth}: ntkrobust.width_effect estimates it in deeper networks",
        ),
        (
            is_kinked(net.phi),
            f"needs a smooth activation, got {net.activation}: training moves its gates, an effect of order m^(-1/2), "
            "so only time 0 has an expansion, and there its coefficient is 0",
        ),
        (ensemble.learning_rate is not None, "is for gradient flow: leave out the learning rate"),
        (ensemble.ridge != 0, f"is for training without a ridge, got ridge={ensemble.ridge:g}"),
        (ensemble.model.bayesian, "is for kernel='ntk', got kernel='nngp'"),
    ):
        if refused:
            raise InputError(f"the first order in 1/m {reason}")


def check_size(n: int, components: int, outputs: int = 1) -> None:
    """Refuse more training points than memory holds, before any of it is taken.

    Raises:
        InputError: the arrays of n⁴ and c·n³ numbers exceed the machine's memory.
    """
    needed, available = memory_needed(n, components, outputs), available_bytes()
    if available and needed > available:
        raise InputError(
            f"the first order in 1/m needs about {needed / 2**30:.1f} GiB with n={n} training points and "
            f"{available / 2**30:.1f} GiB are there: take fewer (memory grows like n⁴)"
        )


def memory_needed(n: int, components: int, outputs: int = 1) -> int:
    """Bytes, about, for n training points and so many components of a test point."""
    several = outputs > 1
    return 8 * n**3 * (FOURTH_ORDER_ARRAYS[several] * n + (1 + several) * 6 * BLOCK * components)


def width_coefficients(ensemble: Trained, x: Array, neurons: int, seed: int, gradients: bool) -> Coefficients:
    """The coefficients at points ``x`` (n', d), of gradients or of values, over so many neurons.

    Raises:
        InputError: see :func:`check_first_order` and :func:`check_size`.
    """
    second_moment, means = coefficients_of_sets(ensemble, x, neurons, seed, gradients)
    return Coefficients(
        second_moment.mean(axis=0), _standard_error(second_moment), means.mean(axis=0), _standard_error(means)
    )


def coefficients_of_sets(ensemble: Trained, x: Array, neurons: int, seed: int, gradients: bool) -> tuple[Array, Array]:
    """The coefficients of second moments (sets, n') and of means (sets, n', o) by each independent set of neurons.

    There is one set where expectations are exact.

    Raises:
        InputError: see :func:`check_first_order` and :func:`check_size`.
    """
    check_first_order(ensemble)
    n, d = ensemble.factors.x_train.shape
    check_size(n, min(d, n + BLOCK + 1) if gradients else 1, ensemble.net.d_out)
    times = time_integrals(ensemble.factors.eigenvalues, ensemble.time)
    parts = [_of_block(ensemble, x[part], neurons, seed, gradients, times) for part in blocks(len(x), BLOCK)]
    second_moment, means = (np.concatenate(one, axis=1) for one in zip(*parts, strict=True))
    return second_moment, means


def _of_block(
    ensemble: Trained, x: Array, neurons: int, seed: int, gradients: bool, times: TimeIntegrals
) -> tuple[Array, Array]:
    seen, functionals, scale, others = _embedded(ensemble, x, gradients)
    net, dimension = ensemble.net, seen.train.shape[1] - len(others)
    kind = Kind(net.phi, gradients, bool(seen.shift_speed > 0), net.d_out > 1)

    def moments() -> Iterator[tuple[TrainMoments, TestMoments]]:
        for points, weights in _neuron_sets(ensemble, dimension, neurons, seed):
            yield neuron_moments(kind, seen, np.insert(points, others, 1.0, axis=1), weights)

    found = []
    makers = neuron_moments, _neuron_sets
    for train, test in kept((*makers, kind, neurons, seed), seen, moments):
        second = scale**2 * first_order.second_moment(functionals, train, test, times)
        mean = np.zeros((len(x), net.d_out)) if gradients else first_order.mean(functionals, train, test, times)
        found.append((second, mean))
    second_moment, means = (np.array(one) for one in zip(*found, strict=True))
    return second_moment, means


def _standard_error(sets: Array) -> Array:
    """Of the mean over independent sets (sets, n', …); zero for a single one, which is exact."""
    return sets.std(axis=0, ddof=1) / math.sqrt(len(sets)) if len(sets) > 1 else np.zeros(sets.shape[1:])


def _neuron_sets(ensemble: Trained, dimension: int, neurons: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Points and weights; one exact set where expectations are of polynomials of degree 4."""
    if ensemble.net.phi.negative_slope == 1:
        yield cubature_nodes(dimension)
        return
    rng = np.random.default_rng(seed)
    for _ in range(SETS):
        yield sobol_nodes(dimension, max(1, math.ceil(math.log2(neurons / SETS))), rng)


_kernel_row = functools.partial(jax.jit, static_argnums=0)(trained.kernel_row)


def _embedded(
    ensemble: Trained, x: Array, gradients: bool
) -> tuple[Neurons, first_order.Functionals, float, list[int]]:
    """Points in the coordinates in which w ~ N(0, I), the functionals at ``x``, ∂x̃/∂x = σ_1/√d, and which coordinates
    stand for others.

    Coordinates are those of the inputs, x̃ = σ_1 x/√d, in a basis of the span of all points if they span less than R^d.
    Then one more stands for all others: there every point is 0, the weight enters by E w² = 1 alone, so it is put to 1,
    and the derivative by it counts d − r times. With biases one more follows, where every point is σ_b: its weight is
    that of the bias, and moves in :class:`Neurons` as ``shift_speed``.
    """
    factors, layers = ensemble.factors, ensemble.layers
    x_train = np.asarray(factors.x_train)
    d, y = x_train.shape[1], np.asarray(factors.projected)
    together = np.concatenate([x_train, x])
    basis = np.eye(d) if d <= len(together) else np.linalg.svd(together, full_matrices=False)[2].T
    r = basis.shape[1]
    scale = math.sqrt(layers.weight_variance[0] / d)
    others = [r] * (r < d)
    train, test = (np.pad(scale * one @ basis, ((0, 0), (0, len(others)))) for one in (x_train, x))
    speed = np.full(r + len(others), layers.weight_speed[0])
    if ensemble.net.bias_std is not None:
        deviation = math.sqrt(layers.bias_variance[0])
        train, test = (np.pad(one, ((0, 0), (0, 1)), constant_values=deviation) for one in (train, test))
        speed = np.append(speed, 0.0)
    vectors = np.asarray(factors.vectors)
    with jax.enable_x64(True):
        row = _kernel_row(ensemble.model, layers, jnp.asarray(x), factors.x_train)
        row = jax.tree.map(np.asarray, row)
    if gradients:
        ntk, nngp = (
            np.einsum("xnr,nk->xrk", (p[:, :, None] * x[:, None] + q[:, :, None] * x_train) @ basis / scale, vectors)
            for p, q in ((row.big_p, row.big_q), (row.big_a, row.big_b))
        )
        multiplicity = np.ones(r + len(others))
        if others:
            multiplicity[-1] = d - r
            ntk, nngp = (np.pad(one, ((0, 0), (0, 1), (0, 0))) for one in (ntk, nngp))
    else:
        ntk, nngp, multiplicity, scale = (row.theta @ vectors)[:, None], (row.k @ vectors)[:, None], np.ones(1), 1.0
    neurons = Neurons(
        train,
        test,
        speed,
        np.float64(layers.bias_speed[0]),
        np.float64(layers.weight_speed[1]),
        np.float64(layers.bias_speed[1]),
        np.float64(ensemble.net.d_out),
        np.float64(math.sqrt(layers.weight_variance[1])),
        vectors,
        factors.eigenvalues,
        ntk,
        multiplicity,
    )
    return neurons, first_order.Functionals(ntk, nngp, vectors.T @ np.asarray(factors.nngp) @ vectors, y), scale, others
