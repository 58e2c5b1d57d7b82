"""The control variate has mean zero whatever the propagators are, and removes most of the noise if they are right."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrobust.errors import InputError
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.finite.training.control_variate import jacobian_excess
from ntkrobust.networks.derivatives import input_jacobian
from ntkrobust.networks.initializations import Initialization
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.parameters import Parameters, forward
from ntkrobust.runtime.seeds import seed_keys

RNG = np.random.default_rng(0)
X, Y, TEST = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2)), RNG.normal(size=(2, 3))
PROPAGATORS = RNG.normal(size=(2, 2, 4, 3))  # of no theory at all

NETS = [
    MLP(2, 8, d_out=2),
    MLP(2, 8, d_out=2, activation="erf", parameterization="ntk", bias_std=0.7),
    MLP(4, 8, d_out=2, activation="gelu", bias_std=0.3),
    MLP(3, 8, d_out=2, bias_std=0.0, initialization=Initialization(0.7, 0.4, 0.5, alpha=3.0)),
]


def drawn(net: MLP, seed: int) -> Parameters:
    return jax.tree.map(lambda leaf: leaf[0], net.initialize(3, seed_keys(jax.random.key(0), (seed,))))


def moved_square(net: MLP, parameters: Parameters) -> jax.Array:
    """‖g_t‖_F² (time,), averaged over the test points, as its definition has it."""
    scales = net.layer_scales(3)
    residuals = Y - forward(net.phi, scales, parameters, jnp.asarray(X, jnp.float32))
    start = input_jacobian(net.phi, scales, parameters, jnp.asarray(TEST, jnp.float32))
    g = start + jnp.einsum("io,tpid->tpod", residuals, PROPAGATORS)
    return jnp.mean(jnp.sum(g**2, axis=(2, 3)), axis=1)


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_excess_is_what_redrawing_the_last_layer_leaves(net: MLP) -> None:
    parameters, scales = drawn(net, 5), net.layer_scales(3)

    def redrawn(key: jax.Array) -> jax.Array:
        weight_key, bias_key = jax.random.split(key)
        last = scales.weight_std[-1] * jax.random.normal(weight_key, parameters.weights[-1].shape)
        biases = parameters.biases
        if biases:
            biases = (*biases[:-1], scales.bias_std * jax.random.normal(bias_key, biases[-1].shape))
        return moved_square(net, Parameters((*parameters.weights[:-1], last), biases))

    many = np.asarray(jax.jit(jax.vmap(redrawn))(jax.random.split(jax.random.key(1), 4000)))
    wanted = np.asarray(moved_square(net, parameters)) - many.mean(axis=0)
    error = many.std(axis=0) / np.sqrt(len(many))
    found = jacobian_excess(net, X, Y, TEST, PROPAGATORS, seeds=[5])[0]
    assert (np.abs(found - wanted) < 4 * error).all()
    assert (np.abs(found) > 4 * error).any(), "zero would not have passed"


@pytest.mark.parametrize("net", NETS[::3], ids=repr)
def test_its_mean_is_zero_for_any_propagators(net: MLP) -> None:
    excess = jacobian_excess(net, X, Y, TEST, PROPAGATORS, seeds=2048)
    error = excess.std(axis=0) / np.sqrt(len(excess))
    assert (np.abs(excess.mean(axis=0)) < 4 * error).all()
    # The test is sharp enough to see a bias of a fifth of the spread.
    assert (error < 0.05 * excess.std(axis=0)).all()


def test_wide_networks_are_left_with_little_noise() -> None:
    net = MLP(2, 1024, d_out=2, activation="erf", parameterization="ntk")
    none = np.zeros_like(PROPAGATORS)
    measured = measure_untrained(net, TEST, ["jacobian_frobenius_sq"], seeds=200)
    squares = measured["jacobian_frobenius_sq"].to_numpy().mean(axis=1)
    excess = jacobian_excess(net, X, Y, TEST, none, seeds=200)[:, 0]
    assert (squares - excess).std() < 0.15 * squares.std()
    other = jacobian_excess(dataclasses.replace(net, activation="tanh"), X, Y, TEST, none, seeds=200)[:, 0]
    assert (squares - other).std() > (squares - excess).std(), "that of another activation serves less"


def test_propagators_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"propagators must have shape \(times, 2, 4, 3\), got \(2, 2, 3, 3\)"):
        jacobian_excess(NETS[0], X, Y, TEST, PROPAGATORS[:, :, :3], seeds=2)
