"""Closed-form kernels of neural-tangents through the adapter, against formulas written out in numpy."""

import jax
import jax.numpy as jnp
import neural_tangents_reference as reference
import numpy as np
import pytest

from ntkrobust.kernels import neural_tangents as nt

stax = nt.stax
X1 = np.random.default_rng(1).normal(size=(4, 3))
X2 = np.random.default_rng(2).normal(size=(5, 3))
SEQUENCES1 = np.random.default_rng(3).normal(size=(3, 6, 2))
SEQUENCES2 = np.random.default_rng(4).normal(size=(2, 6, 2))
ACTIVATIONS = {
    "Relu": (lambda: stax.Relu(), reference.abrelu_moments(0.0, 1.0)),
    "LeakyRelu": (lambda: stax.LeakyRelu(0.3), reference.abrelu_moments(0.3, 1.0)),
    "ABRelu": (lambda: stax.ABRelu(-0.5, 1.4), reference.abrelu_moments(-0.5, 1.4)),
    "Erf": (lambda: stax.Erf(), reference.erf_moments),
    "Gelu": (lambda: stax.Gelu(), reference.gelu_moments),
}
PARAMETERIZATIONS = {"ntk": None, "standard": 7}
RTOL = {True: 1e-9, False: 2e-4}  # the angle between inputs loses half the digits of float32


# neural-tangents says this at every FanInSum. It holds here: a Dense layer of its own makes the branches independent.
independent_branches = pytest.mark.filterwarnings("ignore:`FanIn` layers assume independent inputs:UserWarning")


@pytest.fixture(params=[True, False], ids=["x64", "x32"])
def x64(request):
    with jax.enable_x64(request.param):
        yield request.param


def dense_network(phi, depth, width, w_std, b_std, parameterization="ntk", outputs=1):
    layers = []
    for _ in range(depth - 1):
        layers += [stax.Dense(width, w_std, b_std, parameterization=parameterization), phi()]
    return stax.serial(*layers, stax.Dense(outputs, w_std, b_std, parameterization=parameterization))


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_fully_connected_kernels(x64, name, parameterization):
    phi, moments = ACTIVATIONS[name]
    width = PARAMETERIZATIONS[parameterization]
    for b_std in (None, 0.0, 0.4):
        expected = reference.fully_connected(X1, X2, moments, 3, 1.3, b_std, width)
        kernel_fn = dense_network(phi, 3, width or 7, 1.3, b_std, parameterization)[2]
        found = kernel_fn(jnp.asarray(X1), jnp.asarray(X2), ("nngp", "ntk"))
        np.testing.assert_allclose(found.nngp, expected[0], rtol=RTOL[x64], atol=RTOL[x64])
        np.testing.assert_allclose(found.ntk, expected[1], rtol=RTOL[x64], atol=RTOL[x64])


def test_references_can_fail():
    """The comparison above notices a wrong slope, a wrong bias and the other parameterization."""
    moments = reference.abrelu_moments(0.3, 1.0)
    right = reference.fully_connected(X1, X2, moments, 3, 1.3, 0.4)[1]
    wrong = [
        reference.fully_connected(X1, X2, reference.abrelu_moments(0.31, 1.0), 3, 1.3, 0.4)[1],
        reference.fully_connected(X1, X2, moments, 3, 1.3, 0.41)[1],
        reference.fully_connected(X1, X2, moments, 3, 1.3, 0.4, width=7)[1],
    ]
    assert all(np.max(np.abs(other / right - 1)) > 5e-3 for other in wrong)


@pytest.mark.parametrize("pool", [True, False], ids=["GlobalAvgPool", "Flatten"])
@pytest.mark.parametrize("name", ["Relu", "Erf"])
def test_convolutional_kernels(x64, name, pool):
    phi, moments = ACTIVATIONS[name]
    expected = reference.convolution(SEQUENCES1, SEQUENCES2, moments, (3, 2), 1.2, 0.3, pool)
    kernel_fn = stax.serial(
        stax.Conv(8, (3,), W_std=1.2, b_std=0.3),
        phi(),
        stax.Conv(8, (2,), W_std=1.2, b_std=0.3),
        phi(),
        stax.GlobalAvgPool() if pool else stax.Flatten(),
        stax.Dense(1, 1.2, 0.3),
    )[2]
    found = jax.jit(kernel_fn, static_argnums=2)(jnp.asarray(SEQUENCES1), jnp.asarray(SEQUENCES2), ("nngp", "ntk"))
    np.testing.assert_allclose(found.nngp, expected[0], rtol=RTOL[x64])
    np.testing.assert_allclose(found.ntk, expected[1], rtol=RTOL[x64])


@independent_branches
def test_wide_residual_kernels(x64):
    """FanOut, parallel branches, FanInSum: the covariances of the branches add up."""
    w_std = 1.1
    block = stax.serial(
        stax.FanOut(2), stax.parallel(stax.serial(stax.Relu(), stax.Dense(9, w_std)), stax.Identity()), stax.FanInSum()
    )
    kernel_fn = stax.serial(stax.Dense(9, w_std), block, block, stax.Relu(), stax.Dense(1, w_std))[2]
    moments = reference.abrelu_moments(0.0, 1.0)
    k11, k22, k12 = (w_std**2 / 3 * k for k in ((X1**2).sum(1)[:, None], (X2**2).sum(1), X1 @ X2.T))
    ntk = k12
    for residual in (True, True, False):
        shortcut = (k11, k22, k12, ntk) if residual else (0.0,) * 4
        a11, a22, a12, slope_ntk = reference.activation(moments, k11, k22, k12, ntk)
        branch = (w_std**2 * a11, w_std**2 * a22, w_std**2 * a12, w_std**2 * (a12 + slope_ntk))
        k11, k22, k12, ntk = (a + b for a, b in zip(branch, shortcut, strict=True))
    found = kernel_fn(jnp.asarray(X1), jnp.asarray(X2), ("nngp", "ntk"))
    np.testing.assert_allclose(found.nngp, k12, rtol=RTOL[x64], atol=RTOL[x64])
    np.testing.assert_allclose(found.ntk, ntk, rtol=RTOL[x64], atol=RTOL[x64])


def test_layer_norm_kernels(x64):
    """LayerNorm divides each pre-activation by its standard deviation, which the limit knows."""
    kernel_fn = stax.serial(stax.Dense(9, 1.7, 0.5), stax.LayerNorm(), stax.Relu(), stax.Dense(1, 1.2))[2]
    k11, k22, k12 = (1.7**2 / 3 * k + 0.25 for k in ((X1**2).sum(1)[:, None], (X2**2).sum(1), X1 @ X2.T))
    norm = np.sqrt((k11 + 1e-12) * (k22 + 1e-12))  # the layer's default eps
    value, slope = reference.abrelu_moments(0.0, 1.0)(1.0, 1.0, k12 / norm)
    found = kernel_fn(jnp.asarray(X1), jnp.asarray(X2), ("nngp", "ntk"))
    np.testing.assert_allclose(found.nngp, 1.44 * value, rtol=RTOL[x64], atol=RTOL[x64])
    np.testing.assert_allclose(found.ntk, 1.44 * (value + slope * k12 / norm), rtol=RTOL[x64], atol=RTOL[x64])


NETWORKS = {
    "dense": (lambda w: stax.serial(stax.Dense(16, w, 0.3), stax.Erf(), stax.Dense(8, 1.0)), X1),
    "standard": (
        lambda w: stax.serial(
            stax.Dense(16, w, 0.3, parameterization="standard"),
            stax.Relu(),
            stax.Dense(8, 1.0, parameterization="standard"),
        ),
        X1,
    ),
    "convolutional": (
        lambda w: stax.serial(stax.Conv(16, (3,), W_std=w), stax.Gelu(), stax.GlobalAvgPool(), stax.Dense(8)),
        SEQUENCES1,
    ),
    "residual": (
        lambda w: stax.serial(
            stax.Dense(16, w),
            stax.FanOut(2),
            stax.parallel(stax.serial(stax.LeakyRelu(0.2), stax.Dense(16)), stax.serial(stax.Relu(), stax.Dense(16))),
            stax.FanInSum(),
        ),
        X1,
    ),
}


@independent_branches
@pytest.mark.parametrize("name", NETWORKS)
def test_closed_form_is_the_mean_over_finite_networks(name):
    """With one hidden layer both kernels are exact in expectation at any width; W_std off by 15 % is noticed."""
    network, x = NETWORKS[name]
    x = jnp.asarray(x)
    init_fn, apply_fn, kernel_fn = network(1.3)
    empirical = nt.empirical_kernel_fn(apply_fn, vmap_axes=0)

    @jax.jit
    @jax.vmap
    def sample(key):
        return empirical(x, None, ("nngp", "ntk"), init_fn(key, x.shape)[1])

    samples = sample(jax.random.split(jax.random.key(0), 3000))
    for get in ("nngp", "ntk"):
        found = np.asarray(getattr(samples, get))
        assert np.max(np.abs(reference.z_scores(found, kernel_fn(x, None, get)))) < 5
        assert np.max(np.abs(reference.z_scores(found, network(1.5)[2](x, None, get)))) > 5


@pytest.mark.parametrize(("width", "bound"), [(64, 5 / 64), (512, 0.02)])
def test_layer_norm_network_tends_to_its_kernel(width, bound):
    """LayerNorm is exact only in the limit: a gap of order 1/width, beside a standard error of 0.01."""
    init_fn, apply_fn, kernel_fn = stax.serial(
        stax.Dense(width, 1.7, 0.5), stax.LayerNorm(), stax.Relu(), stax.Dense(64)
    )
    x = jnp.asarray(X1)
    nngp = nt.empirical_nngp_fn(apply_fn)
    keys = jax.random.split(jax.random.key(1), 200)
    found = jax.vmap(lambda key: nngp(x, None, init_fn(key, x.shape)[1]))(keys).mean(0)
    assert 0 < np.max(np.abs(found / kernel_fn(x, None, "nngp") - 1)) < bound


def test_jit_vmap_and_grad(x64):
    kernel_fn = dense_network(stax.Erf, 3, 8, 1.3, 0.2)[2]
    x1, x2 = jnp.asarray(X1), jnp.asarray(X2)
    ntk = kernel_fn(x1, x2, "ntk")
    tolerance, slope_tolerance = {True: (1e-10, 1e-8), False: (1e-5, 1e-4)}[x64]
    np.testing.assert_allclose(jax.jit(lambda a, b: kernel_fn(a, b, "ntk"))(x1, x2), ntk, rtol=tolerance)
    np.testing.assert_allclose(jax.jit(kernel_fn, static_argnames="get")(x1, x2, get="ntk"), ntk, rtol=tolerance)
    each = jax.vmap(lambda a: kernel_fn(a[None], x2, "ntk")[0])(x1)
    np.testing.assert_allclose(each, ntk, rtol=tolerance)

    def entry(x):
        return kernel_fn(x[None], x2, "ntk")[0, 2]

    direction = np.array([0.3, -0.5, 0.2])
    step = 1e-5
    moments = ACTIVATIONS["Erf"][1]
    shifted = [
        reference.fully_connected(X1[:1] + s * step * direction, X2, moments, 3, 1.3, 0.2)[1][0, 2] for s in (1, -1)
    ]
    expected = (shifted[0] - shifted[1]) / (2 * step)
    np.testing.assert_allclose(jax.grad(entry)(x1[0]) @ direction, expected, rtol=slope_tolerance)
    np.testing.assert_allclose(
        jax.jit(jax.grad(entry))(x1[0]) @ direction, expected, rtol={True: 1e-8, False: 1e-4}[x64]
    )


def test_typed_and_raw_keys_draw_the_same():
    init_fn, apply_fn, _ = stax.serial(stax.Dense(8), stax.Dropout(0.5), stax.Dense(2))
    x = jnp.asarray(X1)
    typed, raw = jax.random.key(3), jax.random.PRNGKey(3)
    parameters = init_fn(typed, x.shape)[1]
    same = jax.tree.map(np.array_equal, parameters, init_fn(raw, x.shape)[1])
    assert all(jax.tree.leaves(same))
    assert np.array_equal(apply_fn(parameters, x, rng=typed), apply_fn(parameters, x, rng=raw))


def test_dropout_takes_typed_keys_in_empirical_kernels():
    """Two batches get two keys split from the one given, the same for typed and raw keys."""
    init_fn, apply_fn, _ = stax.serial(stax.Dense(64), stax.Relu(), stax.Dropout(0.7), stax.Dense(1))
    parameters = init_fn(jax.random.key(0), X1.shape)[1]
    ntk = nt.empirical_ntk_fn(apply_fn)
    kernels = [
        ntk(jnp.asarray(X1), jnp.asarray(X2), parameters, rng=key) for key in (jax.random.key(5), jax.random.PRNGKey(5))
    ]
    assert np.array_equal(*kernels)
    assert not np.array_equal(kernels[0], ntk(jnp.asarray(X1), jnp.asarray(X2), parameters, rng=jax.random.key(6)))
