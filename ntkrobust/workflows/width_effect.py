"""What width does to the gradients of trained networks of any depth: m(E‖J_t‖_F²/G_t − 1), from few trained networks.

G_t = E‖J_t‖_F² at infinite width is known. The plain average of m(‖J_t‖_F²/G_t − 1) over trained networks has noise
that grows like m. Here it is a sum of three expectations, of which only the last one needs training. With the residuals
ρ = f_0 − y, and M(Θ) = Θ^{−1}(1 − e^{−Θt}) of a training kernel,

    g_0 = ∇f_0 − ∇Θ∞ M(Θ∞) ρ      linearised, with the infinite kernel,
    g_1 = ∇f_0 − ∇Θ_0 M(Θ_0) ρ      linearised, with the network's own kernel Θ_0 at initialization,

    E‖J_t‖² − G_t = [E‖g_0‖² − G_t] + E[‖g_1‖² − ‖g_0‖²] + E[‖J_t‖² − ‖g_1‖²].

g_0 is linear in the last layer's weights, so that its expectation over them is exact given the other layers; what is
left of it, and the second difference, is of order m^{−1/2}: networks that are drawn and never trained. Both take W_L
and −W_L together, under which Θ_0 does not change and what is linear in f_0 cancels. The third, how far kernels move,
is of order 1/m. So m times it has noise of order one at any width. The sum is right whatever Θ∞ and Θ_0 are: they only
take noise away.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_integer, check_not_negative, shown, takes, whole
from ntkrobust.errors import InputError
from ntkrobust.kernels import trained as infinite
from ntkrobust.kernels.ensemble import InfiniteEnsemble
from ntkrobust.networks.mlp import MLP, FullyConnected
from ntkrobust.networks.parameters import LayerScales, Parameters
from ntkrobust.values import equal_tuples, hash_of_tuple

Array = npt.NDArray[np.float64]

STEP = 0.5
"""Runge-Kutta steps, at most, in units of 1/λ_max(Θ∞). The linearised network takes the same ones."""

BATCH = 32
"""Networks at once."""

MOST_NETWORKS = 1_000_000


class WidthEffect(NamedTuple):
    """m(E‖J_t‖_F²/G_t − 1) of networks of width m at n' points; it tends to c_t of E‖J_t‖_F² = G_t(1 + c_t/m + …).

    Attributes:
        value: (n',).
        error: its standard error (n',).
        trained_error: the share of it that trained networks leave (n',); the others leave the rest, in quadrature.
        plain_error: what the plain average over the trained networks would have (n',).
    """

    value: Array
    error: Array
    trained_error: Array
    plain_error: Array

    @property
    def networks_saved(self) -> Array:
        """How many times more trained networks the plain average takes for the same standard error (n',)."""
        return np.square(self.plain_error / self.error)

    def __eq__(self, other: object) -> bool:
        return equal_tuples(self, other)

    def __hash__(self) -> int:
        return hash_of_tuple(self)


class _Task(NamedTuple):
    """What all networks share.

    Attributes:
        scales: of the layers.
        x_train: (n, d).
        y: (n, o).
        x: (n', d).
        theta_m: ∇Θ∞ M (n', d, n).
        gradient: G_t (n',).
        time: t.
    """

    scales: LayerScales
    x_train: Any
    y: Any
    x: Any
    theta_m: Any
    gradient: Any
    time: Any


@takes(time=check_not_negative, trained=whole(2, MOST_NETWORKS), untrained=whole(2, MOST_NETWORKS))
def width_effect(
    ensemble: InfiniteEnsemble,
    x: npt.ArrayLike,
    time: float,
    *,
    trained: int = 200,
    untrained: int = 5000,
    seed: int = 0,
) -> WidthEffect:
    """What width does to E‖J_t‖_F² in networks of the ensemble's own width, depth and activation.

    For two layers and smooth activations :meth:`EnsembleAt.first_order_width` has the limit m → ∞ without networks.

    Args:
        ensemble: of a network that has a width.
        x: (n', d).
        time: of gradient flow, finite.
        trained: networks to train, by Runge-Kutta steps in float64, for what training does beyond linearisation.
        untrained: networks to draw, for the rest; about m times as many leave an equal error.
        seed: of all draws.

    Raises:
        InputError: the network has no width, training is not gradient flow on all layers without a ridge, or the time
            is infinite.
    """
    seed = check_integer("seed", seed, 0, maximum=LARGEST_SEED)
    net = _network(ensemble, time)
    task = _task(ensemble, net, x, time)
    steps = math.ceil(time * float(ensemble.conditioning.largest) / STEP)
    linear = _averages(net, task, untrained, (seed, 0), None)
    moved = _averages(net, task, trained, (seed, 1), steps)
    parts = [net.finite_width * part / task.gradient for part in (linear[0], moved[0], moved[1] - task.gradient)]
    errors = [part.std(axis=0, ddof=1) / math.sqrt(len(part)) for part in parts]
    return WidthEffect(parts[0].mean(axis=0) + parts[1].mean(axis=0), np.hypot(*errors[:2]), errors[1], errors[2])


def _network(ensemble: InfiniteEnsemble, time: float) -> MLP:
    if not isinstance(ensemble, InfiniteEnsemble):
        raise InputError(f"width_effect takes an InfiniteEnsemble, got {shown(ensemble)}")
    net = ensemble.net
    for refused, reason in (
        (net.width is None, "needs a network with a width"),
        (ensemble.learning_rate is not None, "is for gradient flow: leave out the learning rate"),
        (ensemble.ridge != 0, f"is for training without a ridge, got ridge={ensemble.ridge:g}"),
        (ensemble.kernel != "ntk", f"is for kernel='ntk', got kernel={ensemble.kernel!r}"),
        (not np.all(ensemble._layers.weight_speed), "is for networks all of whose layers are trained"),
    ):
        if refused:
            raise InputError(f"width_effect {reason}")
    return dataclasses.replace(net, parameterization=ensemble.parameterization)


def _task(ensemble: InfiniteEnsemble, net: MLP, points: npt.ArrayLike, time: float) -> _Task:
    now, factors = ensemble.at(time), ensemble._factors
    x = now._points(points)
    with jax.enable_x64(True):
        row = infinite.kernel_row(ensemble._model, ensemble._layers, jnp.asarray(x), factors.x_train)
        theta = row.big_p[:, None] * x[:, :, None] + row.big_q[:, None] * factors.x_train.T
        theta_m = theta @ (factors.vectors * now._response) @ factors.vectors.T
        y = factors.vectors @ factors.projected
    scales = jax.tree.map(lambda one: np.asarray(one, np.float64), net.layer_scales(x.shape[1]))
    return _Task(scales, factors.x_train, y, x, theta_m, now.gradient_second_moment(x), np.float64(time))


def _averages(net: MLP, task: _Task, count: int, seed: tuple[int, int], steps: int | None) -> tuple[Array, Array]:
    """Of so many networks, (count, n') each: see :func:`_untrained` and :func:`_trained`."""
    shapes, found = tuple(net.layer_shapes(task.x.shape[1])), []
    rng = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        many = min(BATCH, count - start)
        std, bias = task.scales.weight_std, task.scales.bias_std
        weights = tuple(s * rng.standard_normal((BATCH, *shape)) for s, shape in zip(std, shapes, strict=True))
        biases = tuple(bias * rng.standard_normal((BATCH, shape[0])) for shape in shapes)
        drawn = Parameters(weights, () if net.bias_std is None else biases)
        with jax.enable_x64(True):
            values = _programs(net.model(), task, drawn, steps)
        found.append(tuple(np.asarray(one)[:many] for one in values))
    first, second = (np.concatenate(one) for one in zip(*found, strict=True))
    return first, second


@functools.partial(jax.jit, static_argnums=(0, 3))
def _programs(model: FullyConnected, task: _Task, drawn: Parameters, steps: int | None) -> tuple[jax.Array, jax.Array]:
    one = _untrained if steps is None else functools.partial(_trained, steps=steps)
    return jax.vmap(lambda parameters: one(model, task, parameters))(drawn)


def _untrained(model: FullyConnected, task: _Task, parameters: Parameters) -> tuple[jax.Array, jax.Array]:
    """‖g_1‖² − ‖g_0‖² + E(‖g_0‖² | all layers but the last) − G_t (n',), and the first difference alone.

    A change of sign of the last layer changes that of f_0 and ∇f_0, and Θ_0 stays: both signs together leave
    ‖Pf_0‖² + ‖Qy‖² of ‖Pf_0 + Qy‖².
    """
    f, jacobian = model.outputs(task.scales, parameters, task.x_train), model.jacobian(task.scales, parameters, task.x)
    own = _own_response(model, task, parameters, lambda rates: -jnp.expm1(-rates * task.time) / rates)

    def known(values: jax.Array) -> jax.Array:
        return jnp.einsum("xdn,no->xod", task.theta_m, values)

    gap = _squares(jacobian - own(f)) + _squares(own(task.y)) - _squares(jacobian - known(f)) - _squares(known(task.y))
    return gap + _given_features(model, task, parameters) - task.gradient, gap


def _given_features(model: FullyConnected, task: _Task, parameters: Parameters) -> jax.Array:
    """E(‖g_0‖² | all layers but the last): outputs with the weights I are the features."""
    o, m = parameters.weights[-1].shape
    biases = (*parameters.biases[:-1], jnp.zeros(m)) if parameters.biases else ()
    features = Parameters((*parameters.weights[:-1], jnp.eye(m)), biases)
    at_train = model.outputs(task.scales, features, task.x_train)
    slopes = model.jacobian(task.scales, features, task.x)
    linear = slopes - jnp.einsum("xdn,nm->xmd", task.theta_m, at_train)
    found = o * task.scales.weight_std[-1] ** 2 * _squares(linear)
    if parameters.biases:
        deviation = task.scales.bias_std * task.scales.bias_gain
        found += o * deviation**2 * jnp.sum(jnp.sum(task.theta_m, axis=2) ** 2, axis=1)
    return found + _squares(jnp.einsum("xdn,no->xod", task.theta_m, task.y))


def _trained(model: FullyConnected, task: _Task, parameters: Parameters, *, steps: int) -> tuple[jax.Array, jax.Array]:
    """‖J_t‖² − ‖g_1‖² and ‖J_t‖² (n',), both with the same Runge-Kutta steps.

    Of exponentials they make R(λh)^k, R(z) = 1 − z + z²/2 − z³/6 + z⁴/24: their error enters by the difference alone.
    """
    f, jacobian = model.outputs(task.scales, parameters, task.x_train), model.jacobian(task.scales, parameters, task.x)
    h = task.time / max(steps, 1)

    def response(rates: jax.Array) -> jax.Array:
        z = rates * h
        return (1 - (1 - z * (1 - z / 2 * (1 - z / 3 * (1 - z / 4)))) ** steps) / rates

    linear = jacobian - _own_response(model, task, parameters, response)(f - task.y)

    def loss(parameters: Parameters) -> jax.Array:
        return 0.5 * jnp.sum((model.outputs(task.scales, parameters, task.x_train) - task.y) ** 2)

    def along(parameters: Parameters, slope: Parameters, size: jax.Array) -> Parameters:
        return jax.tree.map(lambda p, s: p - size * s, parameters, slope)

    def step(_: Any, parameters: Parameters) -> Parameters:
        k1 = jax.grad(loss)(parameters)
        k2 = jax.grad(loss)(along(parameters, k1, h / 2))
        k3 = jax.grad(loss)(along(parameters, k2, h / 2))
        k4 = jax.grad(loss)(along(parameters, k3, h))
        return along(parameters, jax.tree.map(lambda p, q, r, s: (p + 2 * q + 2 * r + s) / 6, k1, k2, k3, k4), h)

    end = model.jacobian(task.scales, jax.lax.fori_loop(0, steps, step, parameters), task.x)
    return _squares(end) - _squares(linear), _squares(end)


def _own_response(model: FullyConnected, task: _Task, parameters: Parameters, response: Any) -> Any:
    """values (n, o) ↦ ∇Θ_0 M(Θ_0)·values (n', o, d), Θ_0 the network's own kernel and M = ``response`` of its rates."""
    outputs = lambda p: model.outputs(task.scales, p, task.x_train).ravel()  # noqa: E731
    slopes = jax.jacrev(outputs)(parameters)
    flat = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(slopes)], axis=1)
    rates, vectors = jnp.linalg.eigh(flat @ flat.T)
    rates = jnp.maximum(rates, 1e-14 * rates[-1])
    factors = (vectors * response(rates)) @ vectors.T
    jacobian = lambda p: model.jacobian(task.scales, p, task.x)  # noqa: E731

    def respond(values: jax.Array) -> jax.Array:
        direction = factors @ values.ravel()
        moved = jax.tree.map(lambda leaf: jnp.tensordot(direction, leaf, axes=1), slopes)
        return jax.jvp(jacobian, (parameters,), (moved,))[1]

    return respond


def _squares(jacobians: jax.Array) -> jax.Array:
    """‖J‖_F² (n',)."""
    return jnp.sum(jacobians**2, axis=(1, 2))
