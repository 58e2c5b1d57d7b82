"""Our networks in neural-tangents' terms: same function, same law at initialization, same kernels."""

import jax
import jax.numpy as jnp
import neural_tangents_reference as reference
import numpy as np
import pytest

from ntkrobust.errors import InputError
from ntkrobust.kernels import neural_tangents as nt
from ntkrobust.kernels import stax, stax_parameters
from ntkrobust.networks.initializations import Initialization
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.parameters import forward
from ntkrobust.runtime.seeds import seed_keys

D = 5
X1 = jnp.asarray(np.random.default_rng(1).normal(size=(3, D)), jnp.float32)
X2 = jnp.asarray(np.random.default_rng(2).normal(size=(2, D)), jnp.float32)
CUSTOM = Initialization(0.7, 0.4, 0.3, alpha=3.0)
NETWORKS = [
    MLP(depth=depth, width=6, d_out=2, activation=phi, initialization=init, parameterization=kind, bias_std=bias)
    for depth, phi, init, bias in [
        (3, "relu", "he", None),
        (4, "leaky_relu(0.2)", "lecun", 0.0),
        (3, "erf", "ntk", 0.4),
        (2, "gelu", "mean_field", 0.4),
        (3, "linear", "xavier", None),
        (2, "relu", CUSTOM, 0.3),
    ]
    for kind in ("standard", "ntk")
]


def one_network(net, seed=0):
    """Parameters of one network, and its function of parameters and points."""
    parameters = jax.tree.map(lambda p: p[0], net.initialize(D, seed_keys(jax.random.key(seed), (0,))))
    return parameters, lambda p, x: forward(net.phi, net.layer_scales(D), p, x)


def ntk_of(f, parameters, x1, x2):
    """J(x1) J(x2)^T averaged over outputs, (n1, n2)."""

    def jacobian(x):
        leaves = jax.tree.leaves(jax.jacobian(f)(parameters, x))
        return jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves], -1)

    return jnp.einsum("ikp,jkp->ij", jacobian(x1), jacobian(x2)) / jacobian(x1).shape[1]


@pytest.mark.parametrize("net", NETWORKS, ids=repr)
def test_same_function_and_same_empirical_kernel(net):
    parameters, f = one_network(net)
    described = stax(net, D)
    theirs = stax_parameters(net, parameters)
    drawn = described.init_fn(jax.random.key(0), X1.shape)[1]
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, theirs)
    np.testing.assert_allclose(described.apply_fn(theirs, X1), f(parameters, X1), rtol=1e-5, atol=1e-6)
    empirical = nt.empirical_ntk_fn(described.apply_fn, implementation=3)
    expected = jax.jit(lambda p: ntk_of(f, p, X1, X2))(parameters)
    np.testing.assert_allclose(empirical(X1, X2, theirs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", NETWORKS, ids=repr)
def test_same_law_of_parameters(net):
    """Mean squares of theirs and of ours, pooled over 400 draws, differ by less than 5 standard errors."""
    keys = jax.random.split(jax.random.key(3), 400)
    described = stax(net, D)
    theirs = jax.vmap(lambda key: described.init_fn(key, X1.shape)[1])(keys)
    ours = net.initialize(D, seed_keys(jax.random.key(3), tuple(range(400))))
    ours = jax.vmap(lambda p: stax_parameters(net, p))(ours)
    for a, b in zip(jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True):
        squares = [float(jnp.mean(p**2)) for p in (a, b)]
        error = squares[1] * np.sqrt(2 * 2 / a.size)  # of the difference of two mean squares of Gaussians
        assert abs(squares[0] - squares[1]) <= 5 * error


# One hidden layer, where both kernels are exact in expectation at any width.
SHALLOW = [
    MLP(depth=2, width=16, d_out=2, activation=phi, initialization=init, parameterization=kind, bias_std=bias)
    for phi, init, bias in [("relu", CUSTOM, 0.4), ("erf", "xavier", None), ("gelu", "mean_field", 0.0)]
    for kind in ("standard", "ntk")
]


@pytest.mark.parametrize("net", SHALLOW, ids=repr)
def test_same_kernels_at_initialization(net):
    """Kernels of our networks, averaged over draws, against ``kernel_fn``: within 5 standard errors, both ways."""
    _, f = one_network(net)
    keys = seed_keys(jax.random.key(11), tuple(range(3000)))

    @jax.jit
    @jax.vmap
    def sample(parameters):
        return f(parameters, X1) @ f(parameters, X2).T / net.d_out, ntk_of(f, parameters, X1, X2)

    nngp, ntk = (np.asarray(s, np.float64) for s in sample(net.initialize(D, keys)))
    kernel_fn = stax(net, D).kernel_fn
    assert np.max(np.abs(reference.z_scores(nngp, kernel_fn(X1, X2, "nngp")))) < 5
    assert np.max(np.abs(reference.z_scores(ntk, kernel_fn(X1, X2, "ntk")))) < 5
    # The other parameterization has the same NNGP and another NTK; another α has another NNGP.
    other = MLP(**{**vars(net), "parameterization": {"ntk": "standard", "standard": "ntk"}[net.parameterization]})
    np.testing.assert_allclose(stax(other, D).kernel_fn(X1, X2, "nngp"), kernel_fn(X1, X2, "nngp"), rtol=1e-5)
    assert np.max(np.abs(reference.z_scores(ntk, stax(other, D).kernel_fn(X1, X2, "ntk")))) > 5
    assert np.max(np.abs(reference.z_scores(nngp, 1.2 * kernel_fn(X1, X2, "nngp")))) > 5


@pytest.mark.parametrize("bias", [None, 0.0, 0.4])
def test_weights_of_the_layers_in_the_standard_parameterization(bias):
    """Θ = Σ_l Θ_l/β_l² and 1 per trained bias; σ_L² = β_L² m/α², the last weight 1/β_L² without α.

    Two layers, r = x·x'/d, K = σ_1² r + s²: Θ = (m/α²) J(K) + σ_L² D(K) (d r + [bias]) + [bias].
    """
    m, alpha = 7, 3.0
    net = MLP(2, m, activation="relu", initialization=CUSTOM, bias_std=bias)
    x1, x2 = (np.asarray(x, np.float64) for x in (X1, X2))
    variance, offset = CUSTOM.beta_first**2, (bias or 0.0) ** 2
    k11, k22, k12 = (variance * k + offset for k in ((x1**2).sum(1)[:, None], (x2**2).sum(1), x1 @ x2.T))
    value, slope = reference.abrelu_moments(0.0, 1.0)(k11, k22, k12)
    trained = bias is not None
    last = CUSTOM.beta_last**2 * m / alpha**2
    expected = m / alpha**2 * value + last * slope * (x1 @ x2.T + trained) + trained
    with jax.enable_x64(True):
        found = stax(net, D).kernel_fn(jnp.asarray(x1), jnp.asarray(x2), ("nngp", "ntk"))
    np.testing.assert_allclose(found.nngp, last * value + offset, rtol=1e-9)
    np.testing.assert_allclose(found.ntk, expected, rtol=1e-9)
    wrong = expected + (m - m / alpha**2) * value  # the last layer weighted by fan_in/σ_L²
    assert np.min(np.abs(wrong / expected - 1)) > 0.1


def test_predictions_from_our_networks():
    """The pieces fit: ``predict`` on the kernel of a network of ours interpolates its labels."""
    net = MLP(3, 64, activation="erf", initialization="he", parameterization="ntk", bias_std=0.1)
    y = jnp.asarray([[1.0], [-1.0], [0.5]])
    predict = nt.predict.gradient_descent_mse_ensemble(stax(net, D).kernel_fn, X1, y)
    np.testing.assert_allclose(predict(None, X1, "ntk"), y, atol=1e-3)


def test_what_cannot_be_described():
    with pytest.raises(InputError, match=r"no closed form for the activation 'tanh': expected relu, leaky_relu"):
        stax(MLP(3, 8, activation="tanh"), D)
    with pytest.raises(InputError, match="needs a width"):
        stax(MLP(3), D)
    with pytest.raises(InputError, match="d_in must be an integer of at least 1, got 0"):
        stax(MLP(3, 8), 0)
