"""Trained infinite-width ensembles: reference values, neural-tangents, differences, limits, and what is refused."""

import functools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.errors import InputError
from ntkrobust.kernels import kernel_matrix, neural_tangents, stax, tiles
from ntkrobust.kernels.layers import layers_of
from ntkrobust.kernels.recursion import point_kernels
from ntkrobust.kernels.trained import Model, kernel_row

VALUES = {
    entry["id"]: entry for entry in json.loads((Path(__file__).parent / "reference_infinite_width.json").read_text())
}
RNG = np.random.default_rng(2024)
X, Y, X_TEST = RNG.standard_normal((30, 8)), RNG.standard_normal(30), RNG.standard_normal((4, 8))


def network(given: dict[str, Any]) -> ntr.MLP:
    first, *hidden, last = given["sw2"]
    gains = ntr.Initialization.from_gains(first, hidden[0] if hidden else 1.0, last)
    bias_std = math.sqrt(given["sb2"]) if given.get("sb2") else None
    return ntr.MLP(given["L"], activation=given.get("act", "relu"), initialization=gains, bias_std=bias_std)


@pytest.mark.fast
@pytest.mark.parametrize("name", [name for name in VALUES if name.startswith("trG")])
def test_gradient_covariance_at_initialization_meets_the_reference(name: str) -> None:
    entry = VALUES[name]
    given = entry["inputs"]

    def found(given: dict[str, Any]) -> list[float]:
        net = network(given)
        layers = layers_of(net, given["d"], "ntk")
        with jax.enable_x64(True):
            k, gamma, a, b = (float(v[0]) for v in point_kernels(net.phi, layers, given["d"], jnp.array([given["x2"]])))
        return [k, gamma, a, b, given["d"] * a + given["x2"] * b]

    np.testing.assert_allclose(found(given), entry["value"], rtol=entry["rtol"], atol=1e-15)
    for wrong in range(given["L"]):
        planted = [1.0001 * v if layer == wrong else v for layer, v in enumerate(given["sw2"])]
        if given["L"] == 5 and wrong in (2, 3):
            continue  # the network has one gain for all hidden layers
        off = found(given | {"sw2": planted})
        assert not np.allclose(off, entry["value"], rtol=entry["rtol"], atol=1e-15)


def trained_fields(name: str, **change: Any) -> dict[str, Callable[[], np.ndarray]]:
    """What the reference holds, each computed when it is asked for: each has programs of its own."""
    given = VALUES[name]["inputs"]
    if name.startswith("trained_std"):
        net = ntr.MLP(3, given["m"], initialization=name.split("_")[2], parameterization="standard")
        ensemble = ntr.InfiniteEnsemble(net, X, Y, **change)
        time = 10 / ensemble.conditioning.largest if given["t"] == "10/lmax" else float(given["t"])
    elif "k" in given:
        ensemble = ntr.InfiniteEnsemble(network(given), X, Y, learning_rate=given["lr"], **change)
        time = given["lr"] * given["k"]
    else:
        ensemble, time = ntr.InfiniteEnsemble(network(given), X, Y, **change), float(given["t"])
    now = ensemble.at(time)
    return {
        "grad_mu_sq": lambda: now.gradient_mean_sq(X_TEST),
        "trC": lambda: now.gradient_variance(X_TEST),
        "mean": lambda: now.mean(X_TEST)[:, 0],
        "var": lambda: now.variance(X_TEST),
        "lambda_max": lambda: np.array(ensemble.conditioning.largest),
    }


def trained_reference(name: str, **change: Any) -> dict[str, np.ndarray]:
    return {field: value() for field, value in trained_fields(name, **change).items()}


TRAINED = [name for name in VALUES if name.startswith("trained")]


@pytest.mark.parametrize("name", TRAINED)
def test_trained_ensembles_meet_the_reference(name: str) -> None:
    entry = VALUES[name]
    found = trained_reference(name)
    for field, expected in entry["value"].items():
        np.testing.assert_allclose(found[field], expected, rtol=entry["rtol"], err_msg=field)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_layer_left_out_misses_the_reference(layer: int) -> None:
    name = "trained_relu_L3_sb0.1_tinf"
    found, expected = trained_fields(name, frozen=[layer]), VALUES[name]["value"]
    assert np.abs(found["grad_mu_sq"]() / expected["grad_mu_sq"] - 1).max() > 1e-3


@pytest.mark.parametrize("field", ["value", "slope", "value_11", "slope_11", "slope_12"])
@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_a_wrong_constant_in_the_recursion_misses_the_reference(
    field: str, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ntkrobust.kernels import recursion

    both = recursion.dual_with_derivatives

    def planted(*arguments: Any) -> Any:
        return tuple(
            part._replace(**{field: 1.001 * getattr(part, field)}) if field in part._fields else part
            for part in both(*arguments)
        )

    monkeypatch.setattr(recursion, "dual_with_derivatives", planted)
    jax.clear_caches()
    try:
        name = f"trained_{activation}_L3_sb0.0_t1.0"
        found, expected = trained_fields(name), VALUES[name]["value"]
        # One field that is far off is enough; later ones are not compiled.
        assert any(
            np.abs(found[key]() / np.array(expected[key]) - 1).max() > 100 * VALUES[name]["rtol"] for key in expected
        )
    finally:
        monkeypatch.undo()
        jax.clear_caches()


def same_predictions(net: ntr.MLP, rng: np.random.Generator, time: float) -> tuple[float, float, float]:
    """Largest differences in mean and variance from neural-tangents, relative to the largest, and cond Θ."""
    n, d = 12, 5
    x, y, x_test = rng.standard_normal((n, d)), rng.standard_normal((n, 1)), rng.standard_normal((6, d))
    ensemble = ntr.InfiniteEnsemble(net, x, y)
    now = ensemble.at(time)
    with jax.enable_x64(True):
        predict = neural_tangents.predict.gradient_descent_mse_ensemble(stax(net, d).kernel_fn, x, y)
        # its loss is a mean over the n·o entries, so its time runs n·o times slower
        theirs = predict(None if math.isinf(time) else time * n, x_test, "ntk", compute_cov=True)
        mean, cov = np.asarray(theirs.mean), np.asarray(theirs.covariance)
    difference = [np.abs(now.mean(x_test) - mean).max() / np.abs(mean).max()]
    difference.append(np.abs(now.covariance(x_test) - cov).max() / np.abs(cov).max())
    assert np.abs(now.variance(x_test) / np.diag(now.covariance(x_test)) - 1).max() < 1e-9
    return difference[0], difference[1], ensemble.conditioning.condition_number


def random_network(rng: np.random.Generator, activation: str) -> ntr.MLP:
    gains = ntr.Initialization.from_gains(*rng.uniform(0.8, 2.2, 3))
    return ntr.MLP(
        int(rng.integers(2, 6)),
        int(rng.integers(50, 500)),
        activation=activation,
        initialization=gains,
        parameterization=str(rng.choice(["ntk", "standard"])),
        bias_std=None if rng.random() < 0.4 else float(rng.choice([0.0, 0.3])),
    )


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(more, marks=pytest.mark.slow) for more in (3, 4, 5))])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "erf", "gelu"])
def test_predictions_are_those_of_neural_tangents(activation: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(activation)])
    net = random_network(rng, activation)
    time = float(rng.choice([0.01, 0.3, np.inf])) / (1.0 if net.parameterization == "ntk" else 100.0)
    mean, covariance, condition = same_predictions(net, rng, time)
    # neural-tangents finds coincident points by comparing floats, which costs kinked activations half their digits
    tolerance = 1e-7 if activation in ("relu", "leaky_relu(0.2)") else 1e-10
    tolerance = max(tolerance, 100 * np.finfo(float).eps * condition)
    assert mean < tolerance, net
    assert covariance < tolerance, net


def test_neural_tangents_tells_a_wrong_layer_weight_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import ntkrobust.kernels.ensemble as ensemble

    def planted(*arguments: Any) -> Any:
        layers = layers_of(*arguments)
        return layers._replace(weight_speed=layers.weight_speed * np.array([1.0, 1.0001, 1.0]))

    monkeypatch.setattr(ensemble, "layers_of", planted)
    mean, _, _ = same_predictions(ntr.MLP(3, 100, activation="erf"), np.random.default_rng(0), 0.003)
    assert mean > 1e-6


def differenced(now: Any, x: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, covariance with the value, and covariance of the gradient at one point, by central differences of the
    ensemble's mean and covariance, extrapolated once: the error is step² for kinked activations (K has a cubic term
    in |δ|), step⁴ for others."""
    d = len(x)

    def at(h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points = np.concatenate([x + h * np.eye(d), x - h * np.eye(d), x[None]])
        mean, covariance = now.mean(points)[:, 0], now.covariance(points)
        sign = np.concatenate([np.eye(d), -np.eye(d), np.zeros((1, d))]) / (2 * h)
        return sign.T @ mean, sign.T @ covariance[:, -1], sign.T @ covariance @ sign

    return at(step), at(2 * step)  # type: ignore[return-value]


def extrapolated(pair: Any, order: int) -> list[np.ndarray]:
    near, far = pair
    return [(2**order * a - b) / (2**order - 1) for a, b in zip(near, far, strict=True)]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])  # another network
@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "erf", "gelu", "tanh", "linear"])
def test_gradients_are_derivatives_of_mean_and_covariance(activation: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 7, len(activation)])
    net = random_network(rng, activation)
    x, y, point = rng.standard_normal((12, 4)), rng.standard_normal(12), rng.standard_normal(4)
    time = 0.5 if net.parameterization == "ntk" else 0.005
    now = ntr.InfiniteEnsemble(net, x, y).at(time)
    found = [now.gradient_mean(point[None])[0, 0], now.gradient_value_covariance(point[None])[0],
             now.gradient_covariance(point[None])[0]]  # fmt: skip
    kinked = activation in ("relu", "leaky_relu(0.2)")
    pair = differenced(now, point, 1e-4 if kinked else 2e-3)
    smooth, last = extrapolated(pair, 2), extrapolated(pair, 1 if kinked else 2)
    for ours, theirs in zip(found, [smooth[0], smooth[1], last[2]], strict=True):
        assert np.abs(ours - theirs).max() < 1e-6 * np.abs(theirs).max(), net
        assert np.abs(1.0001 * ours - theirs).max() > 1e-6 * np.abs(theirs).max()
    assert now.gradient_variance(point[None])[0] == pytest.approx(np.trace(found[2]), rel=1e-10)
    assert now.gradient_mean_sq(point[None])[0] == pytest.approx(found[0] @ found[0], rel=1e-10)


def own_gelu(u: jax.Array) -> jax.Array:
    return jax.nn.gelu(u, approximate=False)


def test_an_activation_given_as_a_function_gets_the_numbers_of_its_closed_form() -> None:
    gains = ntr.Initialization.from_gains(1.5, 1.7, 1.0)
    found = []
    for activation in ("gelu", own_gelu):
        net = ntr.MLP(3, activation=activation, initialization=gains, bias_std=0.1)
        ensemble = ntr.InfiniteEnsemble(net, X, Y)
        now = ensemble.at(1.0)
        found.append([now.mean(X_TEST)[:, 0], now.gradient_second_moment(X_TEST), now.gradient_norm(X_TEST)])
    assert ensemble.conditioning.series_terms > 0
    assert ensemble.conditioning.series_error < 1e-9
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8)
    with pytest.raises(InputError, match="is not smooth"):
        ntr.InfiniteEnsemble(ntr.MLP(3, activation=jnp.abs), X, Y)


def test_two_devices_share_the_tiles() -> None:
    code = """
import jax, numpy as np, ntkrobust as ntr
from ntkrobust.kernels import tiles
from ntkrobust.kernels.layers import layers_of
assert jax.local_device_count() == 2
net, x = ntr.MLP(3), np.random.default_rng(0).standard_normal((50, 6))
layers = layers_of(net, 6, "ntk")
one = tiles.kernel_matrices(net.phi, 0, layers, x, tile=16, devices=jax.local_devices()[:1])
two = tiles.kernel_matrices(net.phi, 0, layers, x, tile=16)
assert all((a == b).all() for a, b in zip(one, two))
assert ntr.InfiniteEnsemble(net, x, x[:, 0]).at(1.0).mean(x).dtype == np.float64
assert jax.numpy.ones(1).dtype == np.float32  # no global flag was set
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | flags)


@pytest.mark.parametrize("flag", [False, True])
def test_the_global_flag_makes_no_difference(flag: bool) -> None:
    with jax.enable_x64(flag):
        net = ntr.MLP(3, activation="tanh")
        found = ntr.InfiniteEnsemble(net, X, Y).at(1.0).gradient_second_moment(X_TEST)
    assert found.dtype == np.float64
    np.testing.assert_allclose(
        found, ntr.InfiniteEnsemble(net, X, Y).at(1.0).gradient_second_moment(X_TEST), rtol=1e-13
    )


@functools.cache
def several_outputs() -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((25, 6)), rng.integers(0, 3, 25)
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(3, d_out=3, activation="erf", bias_std=0.1), x, labels)
    return ensemble.at(2.0), rng.standard_normal((5, 6))


def test_several_outputs_share_everything_but_the_mean() -> None:
    now, points = several_outputs()
    assert now.mean(points).shape == (5, 3)
    assert now.gradient_mean(points).shape == (5, 3, 6)
    second = np.sum(now.gradient_mean(points) ** 2, axis=(1, 2)) + 3 * now.gradient_variance(points)
    np.testing.assert_allclose(now.gradient_second_moment(points), second, rtol=1e-11)


def draws_of_jacobians(now: Any, points: np.ndarray, samples: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    mean, covariance = now.gradient_mean(points), now.gradient_covariance(points)
    return np.stack(
        [
            m + rng.multivariate_normal(np.zeros(len(c)), c, (samples, len(m)))
            for m, c in zip(mean, covariance, strict=True)
        ]
    )


def agree(found: np.ndarray, draws: np.ndarray, error: np.ndarray | float = 0.0) -> bool:
    """``found`` (n',) against means of ``draws`` (n', samples), within five standard errors."""
    spread = np.hypot(draws.std(axis=1, ddof=1) / math.sqrt(draws.shape[1]), error)
    return bool((np.abs(found - draws.mean(axis=1)) < 5 * spread).all())


def test_norms_of_the_gaussian_jacobian_agree_with_sampling() -> None:
    now, points = several_outputs()
    jacobians = draws_of_jacobians(now, points, 20000)
    rng = np.random.default_rng(12)
    u = rng.standard_normal((*jacobians.shape[:2], 6))
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    frobenius = np.sqrt(np.sum(jacobians**2, axis=(2, 3)))
    assert agree(now.gradient_norm(points), frobenius)
    assert not agree(1.02 * now.gradient_norm(points), frobenius)
    value, error = now.perturbation_stability(points, return_error=True)
    moved = 6 / 7 * np.linalg.norm(np.einsum("psod,psd->pso", jacobians, u), axis=-1)
    assert agree(value, moved, error)
    assert not agree(7 / 6 * value, moved, error)
    for norm, order in (("l2", 2), ("linf", 1)):
        value, error = now.worst_case(points, norm, return_error=True)
        assert agree(value, np.linalg.norm(jacobians, ord=order, axis=-1).max(axis=-1), error)


@pytest.mark.parametrize("n", [4, 30])
def test_one_output_is_exact_in_few_and_in_many_dimensions(n: int) -> None:
    # with 4 training points in 8 dimensions the spectrum is taken in the span of x and the training points
    now = ntr.InfiniteEnsemble(ntr.MLP(3, activation="relu", bias_std=0.2), X[:n], Y[:n]).at(np.inf)
    jacobians = draws_of_jacobians(now, X_TEST, 40000)[:, :, 0]
    norms = np.linalg.norm(jacobians, axis=-1)
    assert agree(now.gradient_norm(X_TEST), norms)
    assert not agree(1.01 * now.gradient_norm(X_TEST), norms)
    assert agree(now.worst_case(X_TEST, "linf"), np.abs(jacobians).sum(axis=-1))
    np.testing.assert_allclose(now.worst_case(X_TEST), now.gradient_norm(X_TEST))
    # c_d = Γ(d/2+1)/(√π Γ((d+3)/2)) at d = 8
    constant = math.gamma(5) / (math.sqrt(math.pi) * math.gamma(5.5))
    np.testing.assert_allclose(now.perturbation_stability(X_TEST), constant * now.gradient_norm(X_TEST), rtol=1e-13)


def test_survival_is_that_of_values_and_gradients_together() -> None:
    # Without training, in one dimension, f and f' are centred Gaussians: P(|f| > ε|f'|) is an angle.
    x = np.array([[0.7], [-1.3]])
    now = ntr.InfiniteEnsemble(ntr.MLP(2, activation="erf", bias_std=0.1), x, np.array([1.0, 2.0])).at(0.0)
    point = np.array([[0.4]])
    v, c, s = (
        now.variance(point)[0],
        now.gradient_covariance(point)[0, 0, 0],
        now.gradient_value_covariance(point)[0, 0],
    )
    epsilon = 0.8
    # f² > ε²f'² means (f − εf')(f + εf') > 0, of two Gaussians with correlation ρ
    rho = (v - epsilon**2 * c) / math.sqrt((v + epsilon**2 * c) ** 2 - (2 * epsilon * s) ** 2)
    expected = 0.5 + math.asin(rho) / math.pi
    found, error = now.survival_probability(point, epsilon, samples=40000, return_error=True)
    assert abs(found[0] - expected) < 5 * error[0]
    uncorrelated = 0.5 + math.asin((v - epsilon**2 * c) / (v + epsilon**2 * c)) / math.pi
    assert abs(found[0] - uncorrelated) > 5 * error[0]
    several, points = several_outputs()
    radii = [several.survival_probability(points, epsilon, "linf") for epsilon in (0.0, 0.01, 0.1, 1.0)]
    assert (radii[0] == 1).all()
    assert (np.diff(radii, axis=0) <= 0).all()
    assert (radii[1] > several.survival_probability(points, 0.01 * math.sqrt(6), "l2") - 1e-12).all()


def test_finite_steps_are_linearised_for_small_ones() -> None:
    now, points = several_outputs()
    step = 1e-4 * np.eye(6)[0]
    along = now.gradient_mean(points)[:, :, 0]
    expected = np.sum(along**2, axis=1) + 3 * now.gradient_covariance(points)[:, 0, 0]
    np.testing.assert_allclose(now.squared_difference(points, points + step) / 1e-8, expected, rtol=1e-3)


def test_finite_steps_meet_the_reference() -> None:
    entry = VALUES["fin_eps_he_L5"]
    rng = np.random.default_rng(entry["inputs"]["seed"])
    x = rng.standard_normal(10)
    moved = x + 0.3 * rng.standard_normal(10)
    net = ntr.MLP(5, initialization=ntr.Initialization.from_gains(2.0, 2.0, 2.0))
    now = ntr.InfiniteEnsemble(net, RNG.standard_normal((3, 10)), np.ones(3)).at(0.0)
    assert now.squared_difference(x[None], moved[None])[0] == pytest.approx(entry["value"], rel=entry["rtol"])


def test_time_runs_from_initialization_to_interpolation() -> None:
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(3, activation="erf"), X, Y)
    start, end = ensemble.at(0.0), ensemble.at(np.inf)
    assert (start.mean(X_TEST) == 0).all()
    np.testing.assert_allclose(end.mean(X)[:, 0], Y, atol=1e-9)
    np.testing.assert_allclose(end.variance(X), 0, atol=1e-9)
    late = ensemble.at(100 / ensemble.conditioning.smallest)
    np.testing.assert_allclose(late.gradient_second_moment(X_TEST), end.gradient_second_moment(X_TEST), rtol=1e-10)


def test_gradient_descent_tends_to_gradient_flow() -> None:
    net, time = ntr.MLP(3, activation="erf"), 1.0
    flow = ntr.InfiniteEnsemble(net, X, Y).at(time).gradient_second_moment(X_TEST)
    gaps = []
    for steps in (100, 200, 400):
        descent = ntr.InfiniteEnsemble(net, X, Y, learning_rate=time / steps).at(time)
        gaps.append(np.abs(descent.gradient_second_moment(X_TEST) / flow - 1).max())
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.1)
    assert gaps[1] / gaps[2] == pytest.approx(2, rel=0.1)


def test_another_learning_rate_shares_the_factorization(monkeypatch: pytest.MonkeyPatch) -> None:
    import ntkrobust.kernels.ensemble as module

    net = ntr.MLP(3, activation="tanh")
    given: dict[str, Any] = {"ridge": 1e-3, "frozen": (1,)}
    flow = ntr.InfiniteEnsemble(net, X, Y, **given)
    eta = 0.5 / flow.conditioning.largest
    anew = ntr.InfiniteEnsemble(net, X, Y, learning_rate=eta, **given)
    before = flow.at(7 * eta).gradient_second_moment(X_TEST)
    for name in ("kernel_matrices", "eigh"):
        monkeypatch.delattr(module, name)  # whoever computes them again fails
    descent = flow.with_learning_rate(eta)
    assert descent.learning_rate == eta
    assert descent.conditioning == anew.conditioning
    assert repr(descent) == repr(anew)
    expected = anew.at(7 * eta).gradient_second_moment(X_TEST)
    np.testing.assert_allclose(descent.at(7 * eta).gradient_second_moment(X_TEST), expected, rtol=1e-13)
    assert np.abs(before / expected - 1).max() > 1e-3
    for again in (flow, descent.with_learning_rate(None)):
        assert again.learning_rate is None
        np.testing.assert_allclose(again.at(7 * eta).gradient_second_moment(X_TEST), before, rtol=1e-13)
    for wrong, sentence in ((1e9, "diverges: it must be below 2/λ_max"), (0.0, "learning_rate must be positive")):
        with pytest.raises(InputError, match=sentence):
            flow.with_learning_rate(wrong)


def test_a_summary_computes_the_moments_of_gradients_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ntkrobust.kernels.ensemble_programs as programs
    from ntkrobust.workflows.infinite import summarize

    targets = RNG.standard_normal((30, 2))
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(3, d_out=2, activation="erf"), X, targets)
    now = ensemble.at(1.0)
    expected = {
        name: getattr(now, name)(X_TEST) for name in ("gradient_mean_sq", "gradient_variance", "gradient_second_moment")
    }
    passes = []
    program = programs.gradient_moments
    monkeypatch.setattr(programs, "gradient_moments", lambda *given: passes.append(1) or program(*given))
    monkeypatch.delattr(programs, "gradient_mean_sq")
    found = summarize(ensemble, ntr.data.Dataset(X, targets, X_TEST, targets[:4], "normal", "regression"), 1.0)
    assert len(passes) == 1
    for name, values in expected.items():
        np.testing.assert_allclose(found.per_point[name], values, rtol=1e-12)


def test_the_nngp_with_noise_is_gaussian_process_regression() -> None:
    net, noise = ntr.MLP(3, activation="gelu", bias_std=0.2), 0.3
    now = ntr.InfiniteEnsemble(net, X, Y, kernel="nngp", ridge=noise).at(np.inf)
    k, crossed = kernel_matrix(net, X, kernel="nngp"), kernel_matrix(net, X_TEST, X, kernel="nngp")
    inverse = np.linalg.inv(k + noise * np.eye(len(X)))
    prior = kernel_matrix(net, X_TEST, kernel="nngp")
    np.testing.assert_allclose(now.mean(X_TEST)[:, 0], crossed @ inverse @ Y, rtol=1e-9)
    np.testing.assert_allclose(now.covariance(X_TEST), prior - crossed @ inverse @ crossed.T, atol=1e-10)


def test_a_ridge_is_kernel_ridge_regression() -> None:
    net, ridge = ntr.MLP(2, activation="relu"), 0.5
    now = ntr.InfiniteEnsemble(net, X, Y, ridge=ridge).at(np.inf)
    theta = kernel_matrix(net, X)
    expected = kernel_matrix(net, X_TEST, X) @ np.linalg.solve(theta + ridge * np.eye(len(X)), Y)
    np.testing.assert_allclose(now.mean(X_TEST)[:, 0], expected, rtol=1e-10)


def test_frozen_layers_leave_the_kernel() -> None:
    net = ntr.MLP(3, activation="relu", bias_std=0.1)
    parts = [kernel_matrix(net, X, frozen=[layer for layer in (1, 2, 3) if layer != kept]) for kept in (1, 2, 3)]
    np.testing.assert_allclose(sum(parts), kernel_matrix(net, X), rtol=1e-12)


def test_standard_and_ntk_parameterizations_differ_by_their_layer_weights() -> None:
    standard = ntr.MLP(3, 100, initialization="he", parameterization="standard")
    ntk = ntr.MLP(3, 100, initialization="he", parameterization="ntk")
    np.testing.assert_allclose(kernel_matrix(standard, X, kernel="nngp"), kernel_matrix(ntk, X, kernel="nngp"))
    shares = [kernel_matrix(ntk, X, frozen=[layer for layer in (1, 2, 3) if layer != kept]) for kept in (1, 2, 3)]
    weights = (8 / 2, 100 / 2, 100 / 2)  # 1/β_l²
    np.testing.assert_allclose(
        kernel_matrix(standard, X), sum(w * s for w, s in zip(weights, shares, strict=True)), rtol=1e-12
    )
    alpha = ntr.MLP(2, 50, initialization=ntr.Initialization(1.0, 1.0, 1.0, alpha=3.0), parameterization="standard")
    last = kernel_matrix(alpha, X, frozen=[1])
    np.testing.assert_allclose(last, kernel_matrix(alpha, X, kernel="nngp"), rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
def test_depth_one_hundred_is_finite_at_coincident_and_opposite_points(activation: str) -> None:
    gains = ntr.Initialization.from_gains(2.0, 2.0, 2.0)
    net = ntr.MLP(100, activation=activation, initialization=gains)
    x = np.concatenate([X[:3], X[:1], -X[:1]])
    theta, k = kernel_matrix(net, x), kernel_matrix(net, x, kernel="nngp")
    assert np.isfinite(theta).all()
    # the copy of the first point is that point to rounding, whatever the depth
    np.testing.assert_allclose(theta[3], theta[0], rtol=1e-11)
    np.testing.assert_allclose(k[3], k[0], rtol=1e-12)
    if activation == "relu":  # K = 2‖x‖²/d and Θ = L K at a point: the gain keeps the variance
        np.testing.assert_allclose(np.diag(k), 2 * np.sum(x**2, axis=1) / 8, rtol=1e-12)
        np.testing.assert_allclose(np.diag(theta), 100 * np.diag(k), rtol=1e-11)
    now = ntr.InfiniteEnsemble(net, X[:6], Y[:6], ridge=1e-3).at(5.0)
    points = np.concatenate([X_TEST, X[:1], -X[:1]])
    assert np.isfinite(now.gradient_second_moment(points)).all()


def test_the_program_does_not_grow_with_depth() -> None:
    def size(depth: int) -> int:
        net = ntr.MLP(depth, activation="relu")
        model = Model(net.phi, 0, 8, False)
        with jax.enable_x64(True):
            return len(str(jax.make_jaxpr(functools.partial(kernel_row, model))(layers_of(net, 8, "ntk"), X, X)))

    assert size(100) < 1.05 * size(3)


def test_a_training_point_gets_the_mean_over_directions() -> None:
    net = ntr.MLP(2, activation="relu")
    now = ntr.InfiniteEnsemble(net, X, Y).at(1.0)
    rng = np.random.default_rng(0)
    u = rng.standard_normal((4000, 8))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    around = now.gradient_mean(np.concatenate([X[0] + 1e-6 * u, X[0] - 1e-6 * u]))[:, 0].mean(axis=0)
    np.testing.assert_allclose(now.gradient_mean(X[:1])[0, 0], around, atol=1e-4)


def test_batches_and_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import ntkrobust.kernels.ensemble_at as ensemble_at

    net = ntr.MLP(3, activation="relu", bias_std=0.1)
    points = RNG.standard_normal((37, 8))
    whole = ntr.InfiniteEnsemble(net, X, Y).at(1.0).gradient_second_moment(points)
    monkeypatch.setattr(ensemble_at, "batch_rows", lambda n: 10)  # 37 points: batches of 10, 9, 9 and 9
    np.testing.assert_allclose(
        ntr.InfiniteEnsemble(net, X, Y).at(1.0).gradient_second_moment(points), whole, rtol=1e-12
    )
    layers = layers_of(net, 8, "ntk")
    one = tiles.kernel_matrices(net.phi, 0, layers, X)
    many = tiles.kernel_matrices(net.phi, 0, layers, X, tile=7)  # 30 points: ragged
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert (b == b.T).all()
    smooth = ntr.MLP(3, activation="erf", bias_std=0.1)
    for matrix in tiles.kernel_matrices(smooth.phi, 0, layers_of(smooth, 8, "ntk"), X, tile=7):
        assert (matrix == matrix.T).all()
    np.testing.assert_allclose(
        tiles.kernel_matrices(net.phi, 0, layers, X, points, tile=11)[1], kernel_matrix(net, X, points), rtol=1e-12
    )


@pytest.mark.parametrize("in_flight", [1, 3])
def test_tiles_are_put_where_they_belong(in_flight: int) -> None:
    weights = RNG.standard_normal((8, 8))
    asked = []

    def compute(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append((a.shape, b.shape, np.array_equal(a, b)))
        return a @ b.T, a @ weights @ b.T  # the second is not symmetric

    points = RNG.standard_normal((17, 8))
    k, theta = tiles.assemble(compute, X, points, 7, in_flight)
    np.testing.assert_allclose(k, X @ points.T, rtol=1e-12)
    np.testing.assert_allclose(theta, X @ weights @ points.T, rtol=1e-12, atol=1e-12)
    assert asked == 15 * [((6, 8), (6, 8), False)]

    asked.clear()
    k, theta = tiles.assemble(compute, X, None, 7, in_flight)
    np.testing.assert_allclose(k, X @ X.T, rtol=1e-12, atol=1e-12)
    upper = np.triu(X @ weights @ X.T)
    np.testing.assert_allclose(theta, upper + np.triu(upper, 1).T, rtol=1e-12, atol=1e-12)
    assert (k == k.T).all()
    assert (theta == theta.T).all()
    assert sum(is_one for *_, is_one in asked) == 5
    assert len(asked) == 15


@pytest.mark.parametrize("name", [name for name in VALUES if name.startswith("MC")])
def test_the_prediction_for_finite_networks_meets_the_reference(name: str) -> None:
    entry = VALUES[name]
    given = entry["inputs"]
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    images = images - images.mean(axis=0)
    x = images @ np.linalg.svd(images, full_matrices=False)[2][:10].T
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.where(digits % 2 == 0, 1.0, -1.0)
    order = np.random.default_rng(0).permutation(1797)
    train, test = order[:40], order[40:60]
    if given["tag"] == "ntk":
        gains = ntr.Initialization.from_gains(2.0, 2.0, 1.0)
        net = ntr.MLP(given["L"], activation=given["act"], initialization=gains)
    else:
        net = ntr.MLP(given["L"], given["m"], activation=given["act"], initialization="he")
    largest = ntr.InfiniteEnsemble(net, x[train], y[train]).conditioning.largest
    now = ntr.InfiniteEnsemble(net, x[train], y[train], learning_rate=1 / largest).at(given["k"] / largest)
    mean, spread = now.gradient_mean_sq(x[test]).mean(), now.gradient_variance(x[test]).mean()
    expected = entry["value"]
    assert mean == pytest.approx(expected["theory_mean2"], rel=1e-6)
    assert spread == pytest.approx(expected["theory_trC"], rel=1e-6)
    assert mean + spread == pytest.approx(expected["mc"], rel=entry["rtol"])


NET = ntr.MLP(2, activation="relu")


def nearly_equal() -> tuple[np.ndarray, np.ndarray]:
    """Pairs of points so close that variances at t = ∞ come out negative."""
    moved = X[:8] + 1e-6 * np.random.default_rng(1).standard_normal((8, 8))
    return np.concatenate([X[:8], moved]), np.concatenate([Y[:8], Y[:8]])


def test_long_test_points_get_the_terms_they_need() -> None:
    net = ntr.MLP(2, activation="tanh", initialization="lecun")
    now = ntr.InfiniteEnsemble(net, X, Y).at(1.0)
    assert now._model_for(X) == now._model
    far = 2 * X_TEST
    by_kernel = kernel_matrix(net, far, X) @ np.asarray(now._mean_only.v)  # chooses its terms for both sets
    np.testing.assert_allclose(now.mean(far), by_kernel, rtol=1e-7)
    with pytest.raises(InputError, match="too steep for variances"):
        now.variance(100 * X_TEST)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ntr.InfiniteEnsemble(NET, X[:1], Y[:1]), "at least 2 training points, got 1"),
        (lambda: ntr.InfiniteEnsemble(NET, np.zeros((2, 3)), [1.0, 2.0]), "row 0"),
        (lambda: ntr.InfiniteEnsemble(NET, X[[0, 1, 0]], [1.0, 2.0, 3.0]), "rows 0 and 2 .* different targets"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y[:5]), "as many rows"),
        (lambda: ntr.InfiniteEnsemble(NET, X, np.ones((30, 2))), "d_out=1 but the targets have 2"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, ridge=-1.0), "ridge must not be negative"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, learning_rate=1e9), "diverges: it must be below 2/λ_max"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, parameterization="standard"), "needs a width"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, frozen=[3]), "numbers from 1 to 2, got 3"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, frozen=1), "sequence of layers"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, frozen=[True]), "a frozen layer must be an integer"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, frozen=[1], kernel="nngp"), "nothing to freeze"),
        (lambda: ntr.InfiniteEnsemble("relu", X, Y), "must be an MLP, got 'relu'"),
        (lambda: ntr.InfiniteEnsemble(NET, 1e160 * X, Y), "out of range"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(1.0).mean(1e-160 * X), "out of range"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, memory_limit="8GB"), "memory_limit must be an integer"),
        (lambda: ntr.InfiniteEnsemble(NET, X, np.arange(30)), "floating-point targets"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, learning_rate=1e-3).at(1e308), "than can be counted"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(1.0 + 0j), "time must be a number"),
        (lambda: ntr.InfiniteEnsemble(ntr.MLP(2, activation="linear"), X, Y).at(1e14), "more points than dimensions"),
        (lambda: ntr.InfiniteEnsemble(ntr.MLP(2, activation="erf"), *nearly_equal()).at(np.inf), "can't be resolved"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, frozen=[1, 2]), "at least one layer must be trained"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, memory_limit=2**20), "take fewer training points"),
        (lambda: ntr.InfiniteEnsemble(ntr.MLP(2, initialization="ntk"), X, Y), "give the network a width"),
        (lambda: ntr.InfiniteEnsemble(ntr.MLP(2, activation="swish"), X, Y), "unknown activation 'swish'"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(-1.0), "not negative .* got -1.0"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(math.nan), "got nan"),
        (lambda: ntr.InfiniteEnsemble(NET, X[[0, 1, 0]], [1.0, 2.0, 1.0]).at(np.inf), "can't be resolved.* equal"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y, learning_rate=0.01).at(0.025), "2.5 steps"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(1.0).mean(np.ones((2, 3))), "8 coordinates per point, got 3"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(1.0).mean(np.zeros((2, 8))), "row 0"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(1.0).worst_case(X, "l1"), "norm must be one of l2, linf"),
        (lambda: ntr.InfiniteEnsemble(NET, X, Y).at(1.0).survival_probability(X, -1.0), "must not be negative"),
        (lambda: kernel_matrix(NET, X, np.ones((2, 3))), "one dimension"),
        (lambda: kernel_matrix(ntr.MLP(400, initialization=ntr.Initialization.from_gains(99.0, 99.0)), X), "overflow"),
    ],
)
def test_what_cannot_work_gets_one_sentence(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_zero_points_are_fine_with_biases_and_duplicates_with_a_ridge() -> None:
    biased = ntr.MLP(2, activation="relu", bias_std=0.3)
    points = np.concatenate([np.zeros((1, 8)), X])
    assert np.isfinite(ntr.InfiniteEnsemble(biased, points, np.ones(31)).at(1.0).gradient_second_moment(X_TEST)).all()
    with_ridge = ntr.InfiniteEnsemble(NET, X[[0, 1, 0]], [1.0, 2.0, 3.0], ridge=1e-6).at(np.inf)
    assert with_ridge.mean(X[:1])[0, 0] == pytest.approx(2.0, rel=1e-4)


def test_it_says_what_it_is() -> None:
    ensemble = ntr.InfiniteEnsemble(NET, X, Y)
    assert "parameterization='ntk'" in repr(ensemble)
    assert ensemble.parameterization == "ntk"
    assert ntr.InfiniteEnsemble(ntr.MLP(2, 64), X, Y).parameterization == "standard"
    assert ensemble.memory.peak > 8 * 30 * 30
    assert "time=1" in repr(ensemble.at(1))
    found = ensemble.at(1).mean(X_TEST)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
