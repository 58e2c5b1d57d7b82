"""Parameters of finite networks: how they are drawn, the forward pass, and its derivatives."""

import dataclasses
import itertools
import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from ntkrobust import MLP, Initialization, InputError
from ntkrobust.networks.activations import as_activation
from ntkrobust.networks.derivatives import empirical_ntk, input_jacobian, ntk_largest_eigenvalue
from ntkrobust.networks.parameters import Parameters, forward
from ntkrobust.runtime.seeds import check_key, check_seeds, seed_keys, typed_keys

D = 5
KEY = jax.random.key(2026)
# Two-sided, about 100 z-scores over this file: none of them beyond this by chance (p = 7e-6 each), and a constant that
# is 10 % off is further away in every test below.
Z = 4.5


# Networks that tests draw at a time.
MANY = 400
DEEP = MLP(depth=4, width=16, d_out=3, initialization="xavier", bias_std=0.7)
SHALLOW = dataclasses.replace(DEEP, depth=2)


def draw_many(net: MLP, seed: int = 2026) -> Parameters:
    return net.initialize(D, seed_keys(jax.random.key(seed), tuple(range(MANY))))


def draw_one(net: MLP) -> Parameters:
    """Parameters of one network, cut out of one of 3 outputs with biases."""
    whole = draw_many(dataclasses.replace(net, d_out=3, bias_std=net.bias_std or 0.0))
    one = jax.tree.map(lambda leaf: leaf[0], whole)
    weights = (*one.weights[:-1], one.weights[-1][: net.d_out])
    return Parameters(weights, () if net.bias_std is None else (*one.biases[:-1], one.biases[-1][: net.d_out]))


# --- draws

BETAS_SQ = {
    "lecun": (1 / D, 1 / 16, 1 / 16),
    "he": (2 / D, 2 / 16, 2 / 16),
    "ntk": (2 / 16, 2 / 16, 1),
    "xavier": (2 / (D + 16), 1 / 16, 2 / (16 + 3)),
    "mean_field": (1, 1, 1),
}


def variance_z(arrays, variance):
    """z-score of Σw²/β² against χ²_N, which has mean N and variance 2N."""
    entries = np.asarray(arrays, np.float64).ravel()
    return (np.sum(entries**2) / variance - entries.size) / math.sqrt(2 * entries.size)


@pytest.mark.fast
@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
@pytest.mark.parametrize("initialization", BETAS_SQ)
def test_variances_of_the_entries(initialization, parameterization):
    base = SHALLOW if initialization == "mean_field" else DEEP
    net = dataclasses.replace(base, initialization=initialization, parameterization=parameterization)
    drawn = draw_many(net)
    first, hidden, last = BETAS_SQ[initialization] if parameterization == "standard" else (1, 1, 1)
    bias = 0.7**2 if parameterization == "standard" else 1
    expected = list(zip(drawn.weights, [first, *[hidden] * (net.depth - 2), last], strict=True))
    expected.append((np.concatenate([b.ravel() for b in drawn.biases]), bias))
    for array, variance in expected:
        assert array.dtype == jnp.float32
        assert abs(variance_z(array, variance)) < Z
        # the mean of N entries has standard error β/√N
        assert abs(array.mean()) < Z * math.sqrt(variance / array.size)
        for wrong in (0.85, 1.15):
            assert abs(variance_z(array, wrong * variance)) > Z


@pytest.mark.fast
def test_entries_are_normal_and_independent():
    drawn = draw_many(dataclasses.replace(DEEP, parameterization="ntk"))
    arrays = [np.asarray(leaf).reshape(MANY, -1)[:, :3] for leaf in jax.tree.leaves(drawn)]
    for array in arrays:
        assert stats.kstest(array.ravel(), "norm").pvalue > 1e-5
        assert stats.kstest(1.5 * array.ravel(), "norm").pvalue < 1e-5
    # leading entries of any two arrays of one network: r√n is a z-score
    for a, b in itertools.combinations(arrays, 2):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * math.sqrt(a.size) < Z


def test_biases_from_zero_and_none():
    zero = draw_many(dataclasses.replace(SHALLOW, bias_std=0.0))
    assert [bias.shape for bias in zero.biases] == [(MANY, 16), (MANY, 3)]
    assert not any(bias.any() for bias in zero.biases)
    without = draw_many(dataclasses.replace(SHALLOW, bias_std=None))
    assert without.biases == ()
    for a, b in zip(without.weights, zero.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=ULPS)


# β and its product with the draw are rounded to float32, in an order that is the compiler's choice
ULPS = 4 * float(np.finfo(np.float32).eps)


def test_standard_weights_are_beta_times_those_of_the_ntk_parameterization():
    standard, ntk = draw_many(DEEP), draw_many(dataclasses.replace(DEEP, parameterization="ntk"))
    first, hidden, last = (math.sqrt(variance) for variance in BETAS_SQ["xavier"])
    betas = (first, hidden, hidden, last, *[0.7] * 4)
    for a, b, beta in zip(jax.tree.leaves(standard), jax.tree.leaves(ntk), betas, strict=True):
        np.testing.assert_allclose(a, beta * np.asarray(b), rtol=ULPS)
        assert not np.allclose(a, (1 + 2 * ULPS) * beta * np.asarray(b), rtol=ULPS, atol=0)


def test_initializations_of_one_shape_share_their_normals():
    he, lecun = (draw_many(dataclasses.replace(DEEP, initialization=name)) for name in ("he", "lecun"))
    for a, b in zip(he.weights, lecun.weights, strict=True):
        np.testing.assert_allclose(a, math.sqrt(2) * np.asarray(b), rtol=ULPS)


def test_shapes_share_no_randomness():
    def leading(net, d=D):
        keys = seed_keys(jax.random.key(2026), tuple(range(MANY)))
        weights = net.initialize(d, keys).weights
        return [np.asarray(w)[:, :3, :3].ravel() for w in (weights[0], weights[-1])]

    reference = leading(SHALLOW)
    for other in (leading(DEEP), leading(dataclasses.replace(SHALLOW, width=17)), leading(SHALLOW, d=6)):
        for a, b in itertools.product(reference, other):
            assert abs(np.corrcoef(a, b)[0, 1]) * math.sqrt(a.size) < Z
    # the same statistic sees what is shared
    for a, b in zip(reference, leading(dataclasses.replace(SHALLOW, initialization="lecun")), strict=True):
        assert np.corrcoef(a, b)[0, 1] * math.sqrt(a.size) > Z


@pytest.mark.fast
def test_more_seeds_never_change_earlier_ones():
    def draw_three(*seeds, key=2026):
        return jax.tree.leaves(SHALLOW.initialize(D, seed_keys(jax.random.key(key), seeds)))

    many = jax.tree.leaves(draw_many(SHALLOW))
    for found, picked in ((draw_three(0, 1, 2), [0, 1, 2]), (draw_three(4, 399, 2), [4, 399, 2])):
        for a, b in zip(found, many, strict=True):
            np.testing.assert_array_equal(a, np.asarray(b)[picked])
    for other in (draw_three(2**32 - 1, 2**31, 400), draw_three(0, 1, 2, key=2027)):
        for a, b in zip(other, many, strict=True):
            assert not np.isin(a, b[:3]).any()


@pytest.mark.fast
@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: check_key(jax.random.PRNGKey(0)), "key must be one typed key"),
        (lambda: check_key(jax.random.split(jax.random.key(0))), "key must be one typed key"),
        (lambda: check_key(0), "key must be one typed key"),
        (lambda: check_key(jax.random.key(0, impl="rbg")), "depends on those beside it, got one of rbg"),
        (lambda: check_seeds(0), "at least one seed is needed, got 0"),
        (lambda: check_seeds(-3), "at least one seed is needed, got -3"),
        (lambda: check_seeds([]), "at least one seed is needed"),
        (lambda: check_seeds(2.5), "a number of seeds or the seeds themselves, got 2.5"),
        (lambda: check_seeds(True), "a number of seeds or the seeds themselves, got True"),
        (lambda: check_seeds(None), "a number of seeds or the seeds themselves, got None"),
        (lambda: check_seeds([0, 1.0]), "from 0 to .*, got 1.0"),
        (lambda: check_seeds([0, -1]), "from 0 to .*, got -1"),
        (lambda: check_seeds([0, 2**32]), "from 0 to .*, got 4294967296"),
        (lambda: check_seeds([False]), "from 0 to .*, got False"),
        (lambda: check_seeds("12"), "from 0 to .*, got '1'"),
        (lambda: check_seeds([3, 5, 3]), "different from each other"),
    ],
)
def test_bad_seeds_and_keys(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()


def test_seeds_and_keys():
    assert check_seeds(3) == (0, 1, 2)
    assert check_seeds(np.array([7, 5])) == (7, 5)
    assert check_seeds(range(4, 6)) == (4, 5)
    assert check_key(None) == jax.random.key(0)
    key = jax.random.key(3)
    assert typed_keys(seed_keys(key, (9,)))[0] == jax.random.fold_in(key, 9)


# --- the forward pass

FORMULAS = {
    "relu": lambda u: np.maximum(u, 0),
    "leaky_relu(0.2)": lambda u: np.where(u >= 0, u, 0.2 * u),
    "linear": lambda u: u,
    "erf": special.erf,
    "gelu": lambda u: u * special.ndtr(u),
    "tanh": np.tanh,
}


def plain_forward(net: MLP, parameters: Parameters, x: np.ndarray) -> np.ndarray:
    """f(x) (n, o) in float64, as THEORY.md §1 has it."""
    first, hidden, last, alpha = net.scales(x.shape[1])
    gains, bias_gain = [1.0] * net.depth, 1.0
    if net.parameterization == "ntk":
        gains, bias_gain = [first, *[hidden] * (net.depth - 2), last], net.bias_std
    weights = [gain * np.asarray(w, np.float64) for gain, w in zip(gains, parameters.weights, strict=True)]
    biases = [bias_gain * np.asarray(b, np.float64) for b in parameters.biases] or [0.0] * net.depth
    h = np.asarray(x, np.float64)
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h = FORMULAS[str(net.activation)](h @ w.T + b)
    return h @ weights[-1].T / alpha + biases[-1]


X = np.linspace(-1.4, 1.6, 6 * D).reshape(6, D).astype(np.float32)
# Sums of up to 16 products, four times over, of numbers of size 1: a few dozen roundings of 6e-8
FORWARD = 5e-6
GAINS = Initialization(0.9, 0.4, lambda d, m, o: 2 / math.sqrt(m), alpha=1.7)


@pytest.mark.parametrize("bias_std", [None, 0.7])
@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
@pytest.mark.parametrize("activation", FORMULAS)
def test_forward_pass_against_plain_numpy(activation, parameterization, bias_std):
    net = MLP(4, 16, 3, activation, GAINS, parameterization, bias_std)
    parameters = draw_one(net)
    outputs = forward(net.phi, net.layer_scales(D), parameters, X)
    assert outputs.dtype == jnp.float32
    np.testing.assert_allclose(outputs, plain_forward(net, parameters, X), atol=FORWARD)
    # an output scale a little off
    wrong = dataclasses.replace(net, initialization=dataclasses.replace(GAINS, alpha=1.7003))
    assert not np.allclose(outputs, plain_forward(wrong, parameters, X), rtol=0, atol=FORWARD)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_both_parameterizations_are_one_function(activation):
    # scales that are powers of two multiply without rounding, so the outputs agree to the last bit
    exact = Initialization(0.5, 0.25, 2.0, alpha=4.0)
    standard = MLP(4, 16, 3, activation, exact, bias_std=0.5)
    ntk = dataclasses.replace(standard, parameterization="ntk")
    a, b = (forward(net.phi, net.layer_scales(D), draw_one(net), X) for net in (standard, ntk))
    np.testing.assert_array_equal(a, b)
    assert a.any()


def test_mean_field_divides_by_the_width_but_not_the_bias():
    net = dataclasses.replace(SHALLOW, initialization="mean_field")
    scales, parameters = net.layer_scales(D), draw_one(net)
    unbiased = parameters._replace(biases=(parameters.biases[0], jnp.zeros(3)))
    hidden = np.maximum(X @ np.asarray(parameters.weights[0]).T + np.asarray(parameters.biases[0]), 0)
    expected = hidden @ np.asarray(parameters.weights[1]).T / 16
    np.testing.assert_allclose(forward(net.phi, scales, unbiased, X), expected, atol=FORWARD)
    # all weights zero: what is left is the bias
    alone = Parameters(jax.tree.map(jnp.zeros_like, parameters.weights), parameters.biases)
    np.testing.assert_array_equal(
        forward(net.phi, scales, alone, X), np.broadcast_to(np.asarray(parameters.biases[1]), (6, 3))
    )


def test_both_parameterizations_have_one_law_at_initialization():
    """One output at one point of 10000 networks each, from different keys."""
    of_many = jax.jit(jax.vmap(lambda scales, one: forward(DEEP.phi, scales, one, X[:1])[0, 0], in_axes=(None, 0)))

    def outputs(first_key, **changes):
        net = dataclasses.replace(DEEP, **changes)
        keys = range(first_key, first_key + 25)
        return np.concatenate([of_many(net.layer_scales(D), draw_many(net, key)) for key in keys])

    he = Initialization.from_gains(2, 2, 2)
    standard = outputs(0, initialization=he)
    ntk = outputs(100, initialization=he, parameterization="ntk")
    wrong = outputs(100, initialization=Initialization.from_gains(2, 2, 2 * 1.25**2), parameterization="ntk")
    assert stats.ks_2samp(standard, ntk).pvalue > 1e-4
    # a last layer 25 % larger moves the distribution function by some 0.05, far above √(2/n) = 0.014
    assert stats.ks_2samp(standard, wrong).pvalue < 1e-4


# --- derivatives

# A forward and a backward pass in float32, each some dozen roundings of 6e-8
DERIVATIVE = 3e-6


def relative_error(found, expected) -> float:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("activation", FORMULAS)
@pytest.mark.parametrize(("parameterization", "d_out"), [("standard", 3), ("ntk", 3), ("ntk", 1)])
def test_input_jacobian_against_automatic_differentiation(activation, parameterization, d_out):
    net = MLP(4, 16, d_out, activation, GAINS, parameterization, bias_std=0.7)
    parameters, scales = draw_one(net), net.layer_scales(D)
    found = input_jacobian(net.phi, scales, parameters, X)
    assert found.shape == (6, d_out, D)
    expected = jax.vmap(jax.jacrev(lambda point: forward(net.phi, scales, parameters, point[None])[0]))(X)
    assert relative_error(found, expected) < DERIVATIVE
    # any one weight matrix a little larger
    for layer in range(4):
        gains = scales.weight_gain * np.where(np.arange(4) == layer, 1.0001, 1).astype(np.float32)
        wrong = input_jacobian(net.phi, scales._replace(weight_gain=gains), parameters, X)
        assert relative_error(wrong, expected) > DERIVATIVE


@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
def test_input_jacobian_against_differences_of_plain_numpy(parameterization):
    net = MLP(4, 16, 3, "tanh", GAINS, parameterization, bias_std=0.7)
    parameters = draw_one(net)
    found = input_jacobian(net.phi, net.layer_scales(D), parameters, X)
    # central differences: error step² = 1e-8 and rounding 1e-16/step
    steps = 1e-4 * np.eye(D)
    columns = [(plain_forward(net, parameters, X + e) - plain_forward(net, parameters, X - e)) / 2e-4 for e in steps]
    assert relative_error(found, np.stack(columns, axis=-1)) < DERIVATIVE


@lru_cache
def kernels(d_out: int, has_bias: bool):
    """A program for Θ, J_θ J_θ^T (both (n, o, n, o)) and λ_max of a gelu network."""
    phi = as_activation("gelu")

    @jax.jit
    def compute(scales, parameters):
        def outputs(parameters):
            return forward(phi, scales, parameters, X)

        jacobians = jax.tree.leaves(jax.jacrev(outputs)(parameters))
        flat = jnp.concatenate([leaf.reshape(6, d_out, -1) for leaf in jacobians], axis=2)
        return (
            empirical_ntk(phi, scales, parameters, X),
            jnp.einsum("iap,jbp->iajb", flat, flat),
            *(ntk_largest_eigenvalue(outputs, parameters, jnp.ones((6, d_out)), k) for k in (12, 100)),
        )

    return compute


@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
@pytest.mark.parametrize(("d_out", "bias_std"), [(3, 0.7), (3, None), (1, 0.7)])
def test_empirical_ntk_against_the_full_jacobian(d_out, bias_std, parameterization):
    net = MLP(4, 16, d_out, "gelu", GAINS, parameterization, bias_std)
    parameters, scales = draw_one(net), net.layer_scales(D)
    compute = kernels(d_out, bias_std is not None)
    found, expected, after_12, after_100 = compute(scales, parameters)
    assert found.shape == (6, d_out, 6, d_out)
    assert relative_error(found, expected) < DERIVATIVE
    # a gain a little larger
    wrong = compute(scales._replace(weight_gain=1.0001 * scales.weight_gain), parameters)[0]
    assert relative_error(wrong, expected) > DERIVATIVE
    if bias_std is not None:
        wrong = compute(scales._replace(bias_gain=1.001 * scales.bias_gain), parameters)[0]
        assert relative_error(wrong, expected) > DERIVATIVE

    # the Rayleigh quotient of 12 products, written out
    theta = np.asarray(expected, np.float64).reshape(6 * d_out, -1)
    v = np.linalg.matrix_power(theta, 11) @ np.ones(6 * d_out)
    quotient = v @ theta @ v / (v @ v)
    assert after_12 == pytest.approx(quotient, rel=10 * DERIVATIVE)
    # from below, up to rounding; close enough for a step size at once, and to 1 % where outputs' eigenvalues are close
    exact = np.linalg.eigvalsh(theta)[-1]
    assert 0.95 * exact < after_12 < (1 + DERIVATIVE) * exact
    assert 0.99 * exact < after_100 < (1 + DERIVATIVE) * exact
    assert theta.trace() > 1.01 * exact


def test_largest_eigenvalue_of_a_kernel_that_is_zero():
    net = MLP(2, 1)
    dead = Parameters((-jnp.ones((1, D)), jnp.ones((1, 1))), ())

    def outputs(parameters):
        return forward(net.phi, net.layer_scales(D), parameters, np.abs(X))

    assert ntk_largest_eigenvalue(outputs, dead, jnp.ones((6, 1))) == 0.0
