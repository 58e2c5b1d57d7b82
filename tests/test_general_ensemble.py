"""Infinite-width ensembles of any architecture, against every other route to the same numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.errors import InputError
from ntkrobust.kernels import GeneralEnsemble, coincident
from ntkrobust.kernels import neural_tangents as nt
from ntkrobust.kernels import stax as describe
from ntkrobust.kernels.extrapolation import limit_at_zero, nodes
from ntkrobust.kernels.kernel_function import KernelFunction

RNG = np.random.default_rng(0)
VECTORS, TESTS = RNG.standard_normal((9, 5)), RNG.standard_normal((3, 5))
IMAGES, TEST_IMAGES = RNG.standard_normal((5, 3, 3, 1)), RNG.standard_normal((2, 3, 3, 1))
SCALARS = ("mean", "variance", "gradient_mean", "gradient_mean_sq", "gradient_variance", "gradient_second_moment")


def convolutional(activation: Any = nt.stax.Relu) -> Any:
    """One hidden convolution, average pooling, its average over positions."""
    stax = nt.stax
    return stax.serial(
        stax.Conv(16, (2, 2), padding="SAME", W_std=1.3, b_std=0.2),
        activation(),
        stax.AvgPool((2, 2), (1, 1)),
        stax.GlobalAvgPool(),
        stax.Dense(1, W_std=1.2),
    )


def wide_residual() -> Any:
    stax = nt.stax
    conv = stax.Conv(16, (2, 2), padding="SAME", b_std=0.1)
    branch = stax.serial(stax.Relu(), stax.Conv(16, (2, 2), padding="SAME", b_std=0.1))
    block = stax.serial(stax.FanOut(2), stax.parallel(branch, stax.Identity()), stax.FanInSum())
    return stax.serial(conv, block, stax.Relu(), stax.Flatten(), stax.Dense(1))


def dense(activation: Any) -> Any:
    stax = nt.stax
    return stax.serial(stax.Dense(16, 1.3, 0.2), activation, stax.Dense(1, 1.1, 0.1))


def fully_connected(activation: str, d_out: int = 1) -> tuple[ntr.MLP, Any]:
    net = ntr.MLP(
        depth=2,
        width=16,
        d_out=d_out,
        activation=activation,
        initialization="he",
        bias_std=0.1,
        parameterization="standard",
    )
    return net, describe(net, VECTORS.shape[1]).kernel_fn


def worst(found: Any, expected: Any, points: np.ndarray) -> dict[str, float]:
    """The largest differences, relative to the largest entry."""
    pairs = {name: (getattr(found, name)(points), getattr(expected, name)(points)) for name in SCALARS}
    for a, b in pairs.values():
        assert a.shape == b.shape
        assert a.dtype == np.float64
    return {name: np.abs(a - b).max() / np.abs(b).max() for name, (a, b) in pairs.items()}


@pytest.mark.parametrize(("activation", "x64"), [("relu", True), ("relu", False), ("erf", False)])
def test_fully_connected_ensembles_are_those_of_the_closed_forms(activation: str, x64: bool) -> None:
    with jax.enable_x64(x64):
        compare_with_closed_forms(activation)


def compare_with_closed_forms(activation: str) -> None:
    net, kernel_fn = fully_connected(activation, d_out=2)
    targets = np.random.default_rng(1).standard_normal((len(VECTORS), 2))
    general, closed = GeneralEnsemble(kernel_fn, VECTORS, targets), ntr.InfiniteEnsemble(net, VECTORS, targets)
    np.testing.assert_allclose(general.conditioning[:3], closed.conditioning[:3], rtol=1e-10)
    for time in (0.02, np.inf):
        assert max(worst(general.at(time), closed.at(time), TESTS).values()) < 1e-8
    # A wrong time, or a wrong kernel, is not within these tolerances.
    wrong = worst(general.at(0.02), closed.at(0.0201), TESTS)
    assert min(wrong.values()) > 1e-6


@pytest.mark.parametrize("options", [{"kernel": "nngp", "ridge": 0.1}, {"learning_rate": 0.002}])
def test_options_mean_what_they_mean_for_the_closed_forms(options: dict[str, Any]) -> None:
    net, kernel_fn = fully_connected("erf")
    targets = RNG.standard_normal(len(VECTORS))
    general = GeneralEnsemble(kernel_fn, VECTORS, targets, **options)
    closed = ntr.InfiniteEnsemble(net, VECTORS, targets, **options)
    assert max(worst(general.at(0.4), closed.at(0.4), TESTS).values()) < 1e-8
    without = ntr.InfiniteEnsemble(net, VECTORS, targets)
    assert min(worst(general.at(0.4), without.at(0.4), TESTS).values()) > 1e-5


def test_smooth_networks_have_gradients_at_training_points() -> None:
    net, kernel_fn = fully_connected("erf")
    targets = RNG.standard_normal(len(VECTORS))
    found = GeneralEnsemble(kernel_fn, VECTORS, targets).at(0.3)
    closed = ntr.InfiniteEnsemble(net, VECTORS, targets)
    assert max(worst(found, closed.at(0.3), VECTORS[:2]).values()) < 1e-8
    assert min(worst(found, closed.at(0.301), VECTORS[:2]).values()) > 1e-6


def test_predictions_are_those_of_neural_tangents() -> None:
    targets = RNG.standard_normal((len(IMAGES), 1))
    kernel_fn = convolutional()[2]
    ensemble = GeneralEnsemble(kernel_fn, IMAGES, targets)
    with jax.enable_x64(True):
        theirs = nt.predict.gradient_descent_mse_ensemble(kernel_fn, jnp.asarray(IMAGES), jnp.asarray(targets))
        # Their loss is a mean over samples and outputs.
        expected = theirs(3.0 * targets.size, jnp.asarray(TEST_IMAGES), "ntk", compute_cov=True)
        mean, variance = np.asarray(expected.mean), np.diagonal(expected.covariance)
    now, later = ensemble.at(3.0), ensemble.at(3.01)
    np.testing.assert_allclose(now.mean(TEST_IMAGES), mean, rtol=1e-7)
    np.testing.assert_allclose(now.variance(TEST_IMAGES), variance, rtol=1e-7)
    assert not np.allclose(later.mean(TEST_IMAGES), mean, rtol=1e-7)
    assert not np.allclose(later.variance(TEST_IMAGES), variance, rtol=1e-7)


class Posterior:
    """μ and Σ of a trained ensemble from dense matrices, and their differences: no derivative is taken."""

    def __init__(self, kernel_fn: Any, x: np.ndarray, y: np.ndarray, time: float) -> None:
        self.x, self.kernel_fn = x, jax.jit(lambda a, b: tuple(kernel_fn(a, b, ("nngp", "ntk"))))
        k, theta = self.kernels(x, x)
        values, vectors = np.linalg.eigh((theta + theta.T) / 2)
        self.m = (vectors * (-np.expm1(-values * time) / values)) @ vectors.T
        self.n, self.v = self.m @ k @ self.m, self.m @ y

    def kernels(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            k, theta = self.kernel_fn(jnp.asarray(a), jnp.asarray(b))
            return np.asarray(k), np.asarray(theta)

    def differences(self, point: np.ndarray, h: float) -> tuple[np.ndarray, float]:
        """Central differences of μ (d,), and Σ_j E|f(x + h e_j) − f(x)|²/h² less its mean part."""
        axes = h * np.eye(point.size).reshape(-1, *point.shape)
        moved = np.concatenate([point + axes, point - axes, point[None]])
        k, theta = self.kernels(moved, self.x)
        mean = (theta @ self.v)[:, 0]
        crossed = theta @ self.m @ k.T
        covariance = self.kernels(moved, moved)[0] + theta @ self.n @ theta.T - crossed - crossed.T
        d = point.size
        spread = np.diagonal(covariance)[:d] + covariance[-1, -1] - 2 * covariance[:d, -1]
        return (mean[:d] - mean[d : 2 * d]) / (2 * h), spread.sum() / h**2


@pytest.mark.filterwarnings("ignore:`FanIn` layers assume independent inputs")
@pytest.mark.parametrize("network", [convolutional, wide_residual])
def test_gradients_are_derivatives_of_mean_and_covariance(network: Any) -> None:
    kernel_fn, targets = network()[2], RNG.standard_normal((len(IMAGES), 1))
    now = GeneralEnsemble(kernel_fn, IMAGES, targets).at(2.0)
    mean, variance = now.gradient_mean(TEST_IMAGES), now.gradient_variance(TEST_IMAGES)
    assert mean.shape == (2, 1, 3, 3, 1)
    posterior = Posterior(kernel_fn, IMAGES, targets, 2.0)
    steps = 0.08 * 0.5 ** np.arange(6)
    for point, slope, spread in zip(TEST_IMAGES, mean, variance, strict=True):
        slopes, spreads = zip(*(posterior.differences(point, h) for h in steps), strict=True)
        np.testing.assert_allclose(slope.reshape(-1), limit_at_zero(steps, np.array(slopes))[0], rtol=1e-5, atol=1e-8)
        expected, error = limit_at_zero(steps, np.array(spreads))
        assert error < 1e-6 * expected
        assert spread == pytest.approx(expected, rel=1e-6)
        # The ensemble before training is not what these differences find.
        assert coincident.gradient_variance(now._kernels, point, np.linalg.norm(point))[0] != pytest.approx(
            expected, rel=1e-3
        )


def test_untrained_gradients_are_those_of_finite_networks() -> None:
    # With one hidden layer the mean over networks is that of infinite width, at any width.
    init_fn, apply_fn, kernel_fn = convolutional()
    point = TEST_IMAGES[0]
    now = GeneralEnsemble(kernel_fn, IMAGES, RNG.standard_normal(len(IMAGES))).at(0.0)
    expected = now.gradient_second_moment(point[None])[0]
    assert expected == pytest.approx(now.gradient_variance(point[None])[0])

    def squared_gradient(key: jax.Array) -> jax.Array:
        _, parameters = init_fn(key, (1, *point.shape))
        gradient = jax.grad(lambda x: apply_fn(parameters, x[None])[0, 0])
        return jnp.sum(gradient(jnp.asarray(point)) ** 2)

    with jax.enable_x64(False):
        drawn = np.asarray(jax.jit(jax.vmap(squared_gradient))(jax.random.split(jax.random.key(0), 20_000)), np.float64)
    error = drawn.std() / np.sqrt(len(drawn))
    assert error < 0.01 * expected
    assert abs(drawn.mean() - expected) < 4 * error
    assert abs(drawn.mean() - 1.3**2 * expected) > 4 * error


def test_gradients_of_coarse_integrals_are_refused() -> None:
    # This layer's kernel is within 5 % of erf's, and the trace of its mixed derivative half of what it should be.
    with pytest.warns(UserWarning, match="numerical error"):
        layer = nt.stax.ElementwiseNumerical(jax.lax.erf, 15, lambda u: 2 / np.sqrt(np.pi) * jnp.exp(-(u**2)))
    point, length = TESTS[0], float(np.linalg.norm(TESTS[0]))
    coarse, exact = (KernelFunction(dense(phi)[2], point.shape, False) for phi in (layer, nt.stax.Erf()))
    of_coarse, of_exact = (coincident.gradient_variance(kernels, point, length)[0] for kernels in (coarse, exact))
    assert of_coarse < 0.6 * of_exact
    assert coarse.asymmetry(VECTORS) > 1e-6
    assert exact.asymmetry(VECTORS) < 1e-13
    ensemble = GeneralEnsemble(dense(layer)[2], VECTORS, RNG.standard_normal(len(VECTORS)))
    assert np.isfinite(ensemble.at(1.0).variance(TESTS)).all()
    for request in (ensemble.at(1.0).gradient_mean, ensemble.at(1.0).gradient_variance):
        with pytest.raises(InputError, match="the kernel is not symmetric"):
            request(TESTS)


@pytest.mark.fast
@pytest.mark.parametrize("odd", [0.0, 1.0])
def test_limits_at_zero(odd: float) -> None:
    steps = nodes(0.3)
    value, error = limit_at_zero(steps, np.exp(steps**2) + odd * steps**3)
    assert value == pytest.approx(1.0, abs=1e-9)
    assert abs(value - 1.0) <= error + 1e-12
    _, error = limit_at_zero(steps, np.exp(steps**2) + 0.1 * np.sqrt(steps))
    assert error > 1e-4


@pytest.mark.fast
def test_kinks_are_refused() -> None:
    relu = GeneralEnsemble(fully_connected("relu")[1], VECTORS, RNG.standard_normal(len(VECTORS))).at(1.0)
    at_training = np.concatenate([TESTS, VECTORS[4:5] * (1 + 1e-9)])
    assert relu.mean(at_training).shape == (4, 1)
    for request in (relu.gradient_mean, relu.gradient_variance, relu.gradient_second_moment):
        with pytest.raises(InputError, match="kink between test point 3 and training point 4"):
            request(at_training)
    assert np.isfinite(relu.gradient_mean(VECTORS[4:5] + 0.05 * TESTS[:1])).all()
    assert np.isfinite(relu.gradient_mean(2 * VECTORS[4:5])).all()


def test_multiples_of_training_points_are_kinks_without_biases() -> None:
    stax = nt.stax
    network = stax.serial(stax.Dense(16), stax.Relu(), stax.Dense(1))
    ensemble = GeneralEnsemble(network[2], VECTORS, RNG.standard_normal(len(VECTORS)))
    with pytest.raises(InputError, match="kink between test point 0 and training point 4"):
        ensemble.at(1.0).gradient_mean(2 * VECTORS[4:5])


def test_equal_patches_are_kinks() -> None:
    shared = TEST_IMAGES[:1].copy()
    shared[0, :2, :2] = IMAGES[3, :2, :2]
    ensemble = GeneralEnsemble(convolutional()[2], IMAGES, RNG.standard_normal(len(IMAGES)))
    with pytest.raises(InputError, match="kink between test point 0 and training point 3"):
        ensemble.at(1.0).gradient_variance(shared)


def test_networks_at_their_kinks_are_refused() -> None:
    stax = nt.stax
    network = stax.serial(stax.Conv(16, (2, 2)), stax.Relu(), stax.Flatten(), stax.Dense(1))
    kernels = KernelFunction(network[2], (3, 3, 1), bayesian=False)
    point = TEST_IMAGES[0].copy()
    length = float(np.linalg.norm(point))
    assert coincident.gradient_variance(kernels, point, length)[1] < 1e-8
    point[:2, :2] *= 1e-4
    with pytest.raises(InputError, match="can't be computed here to better than"):
        coincident.gradient_variance(kernels, point, length)
    point[:2, :2] = 0.0
    with pytest.raises(InputError, match="no gradient at this point"):
        coincident.gradient_variance(kernels, point, length)


def test_a_wrong_derivative_is_noticed() -> None:
    kernel_fn = fully_connected("erf")[1]

    @jax.custom_jvp
    def same(x: jax.Array) -> jax.Array:
        return x

    same.defjvps(lambda tangent, _, x: (1 + 1e-4) * tangent)

    def planted(a: jax.Array, b: jax.Array, get: Any) -> Any:
        return kernel_fn(same(a), b, get)

    ensemble = GeneralEnsemble(planted, VECTORS, RNG.standard_normal(len(VECTORS)))
    with pytest.raises(InputError, match="difference quotient disagree"):
        ensemble.at(1.0).gradient_mean(TESTS)


def test_bad_input_is_refused() -> None:
    stax = nt.stax
    kernel_fn, targets = fully_connected("erf")[1], np.arange(len(VECTORS)) % 2
    with pytest.raises(InputError, match="one number per pair of points"):
        GeneralEnsemble(stax.serial(stax.Conv(4, (2, 2)), stax.Relu())[2], IMAGES, targets[:5])
    with pytest.raises(InputError, match="as many rows"):
        GeneralEnsemble(kernel_fn, VECTORS, targets[:5])
    with pytest.raises(InputError, match="at least 2 training points"):
        GeneralEnsemble(kernel_fn, VECTORS[:1], [1.0])
    with pytest.raises(InputError, match="x_train must have shape"):
        GeneralEnsemble(kernel_fn, VECTORS[0], targets)
    with pytest.raises(InputError, match=r"finite, but its entry at \(1, 2\)"):
        GeneralEnsemble(kernel_fn, np.where(np.arange(45).reshape(9, 5) == 7, np.nan, VECTORS), targets)
    with pytest.raises(InputError, match="different targets"):
        GeneralEnsemble(kernel_fn, VECTORS[[0, 0, 1]], [0.0, 1.0, 0.0])
    with pytest.raises(InputError, match="pairs must be an integer"):
        GeneralEnsemble(kernel_fn, VECTORS, targets, pairs=0)
    with pytest.raises(InputError, match="diverges"):
        GeneralEnsemble(kernel_fn, VECTORS, targets, learning_rate=100.0)
    ensemble = GeneralEnsemble(kernel_fn, VECTORS, targets, learning_rate=0.01, pairs=3)
    with pytest.raises(InputError, match="times are its multiples"):
        ensemble.at(0.005)
    with pytest.raises(InputError, match=r"points must have shape \(5,\), got \(4,\)"):
        ensemble.at(0.01).mean(TESTS[:, :4])
    twice = GeneralEnsemble(kernel_fn, VECTORS[[0, 0, 1]], [1.0, 1.0, 0.0])
    with pytest.raises(InputError, match="singular to working precision"):
        twice.at(np.inf)
