"""Measures: perturbation stability and its quadrature, the exact law, and every measure against plain numpy."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from ntkrobust import MLP, InputError, Measure, Run, measure, train
from ntkrobust.bounds.formulas.exact_law import exact_law
from ntkrobust.finite.measures.catalogue import MEASURES
from ntkrobust.finite.measures.lazy import KERNEL_POINTS
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.finite.measures.stability import ball_stability, mean_root, squared_singular_values
from ntkrobust.networks.derivatives import empirical_ntk
from ntkrobust.networks.parameters import Parameters

REFERENCE = {
    entry["id"]: entry for entry in json.loads((Path(__file__).parent / "reference_values.json").read_text())["values"]
}
# Two-sided, about 60 z-scores in this file (p = 7e-6 each)
Z = 4.5
# What mean_root promises in float32: a sum of 112 terms, each rounded a few times
ROOT = 1e-5
RNG = np.random.default_rng(20261122)


def ball_constant(d: int) -> float:
    """c_d = Γ(d/2+1)/(√π Γ((d+3)/2))."""
    return math.exp(special.gammaln(d / 2 + 1) - special.gammaln((d + 3) / 2)) / math.sqrt(math.pi)


def in_ball(d: int, n: int) -> np.ndarray:
    """n points uniform in the unit ball of R^d, by rejection."""
    points = RNG.uniform(-1, 1, size=(int(n * 2**d / 4 * d), d))
    points = points[np.sum(points**2, axis=1) < 1][:n]
    assert len(points) == n
    return points


def z_score(sample: np.ndarray, mean: float) -> float:
    return float((sample.mean() - mean) / (sample.std(ddof=1) / math.sqrt(sample.size)))


# --- E√(Σ v_i g_i²)


@pytest.mark.parametrize("k", [1, 2, 3, 10, 64])
def test_mean_root_of_equal_variances(k):
    # σ E χ_k
    expected = 0.7 * math.sqrt(2) * math.exp(special.gammaln((k + 1) / 2) - special.gammaln(k / 2))
    found = mean_root(jnp.full((3, k), 0.49, jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=ROOT)
    assert not np.allclose(found, expected * (1 + 3 * ROOT), rtol=ROOT, atol=0)
    # one more, zero, changes nothing
    np.testing.assert_allclose(mean_root(jnp.array([0.49] * k + [0.0])), expected, rtol=ROOT)


@pytest.mark.parametrize("ratio", [1e-8, 1e-4, 0.01, 0.3, 0.9])
def test_mean_root_of_two_variances(ratio):
    # a plane in polar coordinates: √(2/π) E(1 − ratio), E the complete elliptic integral
    expected = math.sqrt(2 / math.pi) * special.ellipe(1 - ratio)
    np.testing.assert_allclose(mean_root(jnp.array([1.0, ratio])), expected, rtol=ROOT)
    np.testing.assert_allclose(mean_root(jnp.array([ratio, 1.0])), expected, rtol=ROOT)


def test_mean_root_scales_with_the_root():
    variances = jnp.asarray(RNG.chisquare(1, size=(20, 5)), jnp.float32)
    found = mean_root(variances)
    # 4^k multiplies without rounding, from 1e-30 up to 1e30
    for k in (-50, -10, 10, 50):
        np.testing.assert_allclose(mean_root(variances * 4.0**k), found * 2.0**k, rtol=ROOT)
        assert np.all(mean_root(variances * 4.0**k) > 0)
    assert mean_root(jnp.zeros(4)) == 0.0
    assert mean_root(jnp.zeros((2, 3, 4))).shape == (2, 3)


# --- P/ε of a known Jacobian


@pytest.mark.parametrize("d", [1, 2, 5, 64, 3072])
def test_one_output_has_a_closed_form(d):
    jacobian = RNG.normal(size=(7, 1, d)).astype(np.float32)
    found = ball_stability(jacobian)
    # a norm in float32: d roundings of 6e-8, most of which cancel
    np.testing.assert_allclose(found, ball_constant(d) * np.linalg.norm(jacobian[:, 0], axis=1), rtol=1e-6)
    wrong = ball_constant(d + 1) * np.linalg.norm(jacobian[:, 0], axis=1)
    assert not np.allclose(found, wrong, rtol=1e-6, atol=0)
    # the general way gives the same
    general = d / (d + 1) * mean_root(squared_singular_values(jacobian)) / stats.chi(d).mean()
    np.testing.assert_allclose(general, found, rtol=ROOT)


def test_the_reference_constant():
    entry = REFERENCE["ball_const_d5"]
    assert ball_constant(5) == pytest.approx(entry["value"], rel=entry["rtol"])
    # float32
    assert ball_stability(jnp.eye(5)[:1]) == pytest.approx(entry["value"], rel=1e-6)


@pytest.mark.parametrize(("o", "d"), [(1, 4), (3, 4), (5, 3)])
def test_perturbation_stability_against_draws_from_the_ball(o, d):
    points = in_ball(d, 40_000)
    for scales in ([1.0] * o, 10.0 ** -np.arange(o)):
        jacobian = (np.asarray(scales)[:, None] * RNG.normal(size=(o, d))).astype(np.float32)
        norms = np.linalg.norm(points @ jacobian.T, axis=1)
        found = float(ball_stability(jacobian))
        assert abs(z_score(norms, found)) < Z
        # on the sphere, or 5 % off
        for wrong in (found * (d + 1) / d, found * 0.95, found * 1.05):
            assert abs(z_score(norms, wrong)) > Z
        # E‖J(x̂ − x)‖² = ε²‖J‖_F²/(d+2)
        mean_square = float(np.sum(jacobian**2))
        assert abs(z_score(norms**2, mean_square / (d + 2))) < Z
        assert abs(z_score(norms**2, mean_square / d)) > Z


@pytest.mark.parametrize(("o", "d"), [(3, 8), (8, 3)])
def test_jacobians_with_singular_values_in_closed_form(o, d):
    unit = d / (d + 1) / stats.chi(d).mean()
    # rank one: ‖Ju‖ = σ|u_1|
    left, right = (v / np.linalg.norm(v) for v in (RNG.normal(size=o), RNG.normal(size=d)))
    one = ball_stability(jnp.asarray(3 * np.outer(left, right), jnp.float32))
    assert one == pytest.approx(unit * 3 * math.sqrt(2 / math.pi), rel=ROOT)
    # all equal: ‖Jg‖ = σχ_k
    k = min(o, d)
    q, _ = np.linalg.qr(RNG.normal(size=(max(o, d), k)))
    equal = ball_stability(jnp.asarray(3 * (q if o > d else q.T), jnp.float32))
    assert equal == pytest.approx(unit * 3 * stats.chi(k).mean(), rel=ROOT)
    assert equal != pytest.approx(unit * 3 * stats.chi(k + 1).mean(), rel=ROOT)


@pytest.mark.parametrize("o", [1, 3])
def test_extreme_jacobians(o):
    jacobian = RNG.normal(size=(4, o, 6)).astype(np.float32)
    found = np.asarray(ball_stability(jacobian))
    assert not np.any(ball_stability(0 * jacobian))
    # squares stay inside the range of float32
    for size in (1e-15, 1e15):
        np.testing.assert_allclose(ball_stability(np.float32(size) * jacobian), size * found, rtol=ROOT)


def test_squared_singular_values():
    jacobian = RNG.normal(size=(4, 3, 7)).astype(np.float32)
    expected = np.linalg.svd(jacobian.astype(np.float64), compute_uv=False)[:, ::-1] ** 2
    # relative to the largest: an eigenvalue of a rounded matrix
    for shape in (jacobian, jacobian.transpose(0, 2, 1)):
        np.testing.assert_allclose(squared_singular_values(shape), expected, atol=1e-6 * expected.max())


# --- untrained networks against the exact law

NETWORKS = 4096
# Higher moments have heavier tails, and standard errors to match
WRONG = {"perturbation_stability": 1.2, "jacobian_frobenius_sq": 1.2**2, "jacobian_frobenius_fourth": 1.3**4}
CELLS = [
    MLP(2, 8, 1, "relu", "he", bias_std=0.5),
    MLP(3, 16, 1, "leaky_relu(0.2)", "lecun"),
    MLP(3, 4, 3, "relu", "xavier"),
]


@pytest.mark.parametrize("net", CELLS, ids=str)
def test_networks_at_initialization_follow_the_exact_law(net):
    names = [
        "perturbation_stability",
        "jacobian_frobenius_sq",
        "jacobian_frobenius_fourth",
        "jacobian_spectral",
        "jacobian_is_zero",
    ]
    law, x = exact_law(net, 5), np.linspace(-0.4, 1.1, 5)[None]
    found = {name: values[:, 0] for name, values in measure_untrained(net, x, names, seeds=NETWORKS).items()}
    expected = {
        "perturbation_stability": law.perturbation_stability(),
        "jacobian_frobenius_sq": law.jacobian_frobenius_sq(),
        "jacobian_frobenius_fourth": law.jacobian_frobenius_fourth(),
    }
    for name, value in expected.items():
        sample = found[name].to_numpy().astype(np.float64)
        assert abs(z_score(sample, value)) < Z
        # one β that is 20 or 30 % off shows
        for factor in (WRONG[name], 1 / WRONG[name]):
            assert abs(z_score(sample, factor * value)) > Z
    zeros = int(found["jacobian_is_zero"].sum())
    assert stats.binomtest(zeros, NETWORKS, law.p_zero).pvalue > 1e-5
    if law.p_zero > 0.01:
        assert stats.binomtest(zeros, NETWORKS, 1.3 * law.p_zero).pvalue < 1e-5
    np.testing.assert_array_equal(found["jacobian_frobenius_sq"] == 0, found["jacobian_is_zero"] == 1)
    # the whole distribution of ‖J‖_2, whose draws come from another route
    spectral = np.sqrt(np.linalg.eigvalsh(law.sample_gram(jax.random.key(1), 40_000))[:, -1].clip(0))
    measured = found["jacobian_spectral"].to_numpy()
    assert stats.ks_2samp(measured[measured > 0], spectral[spectral > 0]).pvalue > 1e-5
    assert stats.ks_2samp(measured[measured > 0], 1.15 * spectral[spectral > 0]).pvalue < 1e-5


# --- finite perturbations

LINEAR = MLP(2, 6, 3, "linear", "he", bias_std=0.5)
POINTS, SAMPLES = 300, 64


@pytest.fixture(scope="module")
def linear_perturbations():
    """A linear network at many points, each with its own draws: (points,) per seed of mean, standard error, and P/ε."""
    x = RNG.normal(size=(POINTS, 4))
    names = ["finite_perturbation_stability", "finite_perturbation_stability_se", "perturbation_stability"]
    found = measure_untrained(LINEAR, x, [*names, "jacobian_frobenius_sq"], seeds=2, epsilon=0.5, samples=SAMPLES)
    return [found[name].to_numpy().astype(np.float64) for name in (*names, "jacobian_frobenius_sq")]


def test_perturbations_of_a_linear_network_are_its_perturbation_stability(linear_perturbations):
    mean, error, stability, frobenius_sq = linear_perturbations
    for seed in range(2):
        # the Jacobian is the same everywhere
        np.testing.assert_allclose(stability[seed], stability[seed, 0], rtol=ROOT)
        expected = stability[seed, 0]
        assert abs(z_score(mean[seed], expected)) < Z
        for wrong in (expected * 5 / 4, expected * 0.95, expected * 1.05):  # the first: on the sphere
            assert abs(z_score(mean[seed], wrong)) > Z
        # the second moment, from mean and standard error: ‖J‖_F²/(d+2)
        square = mean[seed] ** 2 + error[seed] ** 2 * (SAMPLES - 1)
        assert abs(z_score(square, frobenius_sq[seed, 0] / 6)) < Z
        assert abs(z_score(square, frobenius_sq[seed, 0] / 5)) > Z


def test_their_standard_error_is_honest(linear_perturbations):
    mean, error, stability, _ = linear_perturbations
    scores = ((mean - stability) / error).ravel()
    # Student's t with 63 degrees of freedom, nearly
    covered = int(np.sum(abs(scores) < stats.t(SAMPLES - 1).ppf(0.975)))
    assert stats.binomtest(covered, scores.size, 0.95).pvalue > 1e-3
    for wrong in (1 / math.sqrt(2), math.sqrt(2)):
        covered = int(np.sum(abs(scores) * wrong < stats.t(SAMPLES - 1).ppf(0.975)))
        assert stats.binomtest(covered, scores.size, 0.95).pvalue < 1e-3
    # and points and networks have their own draws: errors of neighbours, and of two networks, are uncorrelated
    for one, other in ((scores[1:], scores[:-1]), (scores[:POINTS], scores[POINTS:])):
        assert abs(np.corrcoef(one, other)[0, 1]) * math.sqrt(one.size) < Z


# --- every measure against numpy

N, D, OUT, SEEDS = 70, 3, 3, 3
X, X_TEST = RNG.normal(size=(N, D)), RNG.normal(size=(20, D))
Y, Y_TEST = np.arange(N) % 3, np.arange(20) % 3
NET = MLP(2, 10, OUT, "relu", "he", bias_std=0.3)
RECORDS = (0, 3, 40)
SAMPLED = {"finite_perturbation_stability", "finite_perturbation_stability_se", "allowed_perturbation_stability"}
# tests/test_attacks.py
ATTACKED = {
    "robust_accuracy", "robust_accuracy_l2", "prediction_stability", "prediction_stability_l2",
    "stability_given_correct", "local_lipschitz", "kl_gradient",
}  # fmt: skip
ATTACKED |= {name for name in MEASURES if name.endswith("_by_pgd")}
# tests/test_certificates.py
ATTACKED |= {"certified_accuracy", "certified_stability", "local_lipschitz_upper"}


@pytest.fixture(scope="module")
def run() -> Run:
    return train(NET, X, Y, seeds=SEEDS, steps=RECORDS[-1], record_steps=RECORDS)


def measure_all(run, epsilon=0.1):
    return measure(run, X_TEST, list(MEASURES), y_test=Y_TEST, epsilon=epsilon, samples=8)


@pytest.fixture(scope="module")
def measured(run):
    return measure_all(run)


def plain_network(parameters: Parameters, seed: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f(x) and J(x) of a two-layer ReLU network."""
    (w1, w2), (b1, b2) = ([np.asarray(leaf[seed], np.float64) for leaf in group] for group in parameters)
    z = x @ w1.T + b1
    return np.maximum(z, 0) @ w2.T + b2, np.einsum("oj,nj,jd->nod", w2, z > 0, w1)


def expected_measures(run: Run, seed: int, time: int) -> dict[str, np.ndarray]:
    f, jacobian = plain_network(run.snapshots[time], seed, X_TEST)
    f_train, _ = plain_network(run.snapshots[time], seed, X)
    old = [np.asarray(w[seed], np.float64) for w in run.snapshots[0].weights]
    new = [np.asarray(w[seed], np.float64) for w in run.snapshots[time].weights]
    changes = [np.sum((a - b) ** 2) for a, b in zip(new, old, strict=True)]
    sizes = [np.sum(b**2) for b in old]
    singular = np.linalg.svd(jacobian, compute_uv=False)
    frobenius_sq = np.sum(jacobian**2, axis=(1, 2))
    stability = np.asarray(ball_stability(np.float32(jacobian)), np.float64)
    rms = np.sqrt(np.mean(np.sum(f**2, axis=1)))
    scales = NET.layer_scales(D)

    def kernel(t):
        one = jax.tree.map(lambda leaf: leaf[seed], run.snapshots[t])
        return np.asarray(empirical_ntk(NET.phi, scales, one, np.float32(X[:KERNEL_POINTS])), np.float64)

    return {
        "perturbation_stability": stability,
        "normalized_perturbation_stability": stability / rms,
        "jacobian_frobenius": np.sqrt(frobenius_sq),
        "jacobian_frobenius_max": np.sqrt(frobenius_sq.max()),
        "jacobian_frobenius_sq": frobenius_sq,
        "jacobian_frobenius_fourth": frobenius_sq**2,
        "jacobian_spectral": singular[:, 0],
        "lipschitz_upper": np.prod([g * np.linalg.norm(w, 2) for g, w in zip(scales.weight_gain, new, strict=True)]),
        "layer_spectral_norms": [g * np.linalg.norm(w, 2) for g, w in zip(scales.weight_gain, new, strict=True)],
        "norm_product_tightness": singular.max()
        / np.prod([g * np.linalg.norm(w, 2) for g, w in zip(scales.weight_gain, new, strict=True)]),
        "jacobian_is_zero": np.zeros(20),
        "output_rms": rms,
        "lazy_ratio": math.sqrt(sum(changes) / sum(sizes)),
        "lazy_ratio_per_layer": np.sqrt(np.array(changes) / sizes),
        "kernel_change": np.linalg.norm(kernel(time) - kernel(0)) / np.linalg.norm(kernel(0)),
        "linearisation_error": linearisation_error(run, seed, time),
        "train_loss": 0.5 * np.sum((f_train - np.eye(3)[Y]) ** 2),
        "test_mse": np.mean(np.sum((f - np.eye(3)[Y_TEST]) ** 2, axis=1)),
        "train_accuracy": np.mean(np.argmax(f_train, axis=1) == Y),
        "natural_accuracy": np.mean(np.argmax(f, axis=1) == Y_TEST),
    }


def linearisation_error(run: Run, seed: int, time: int) -> float:
    """Of a two-layer ReLU network: f_lin = f_0 + ΔW_2 h + Δb_2 + W_2 (1[z > 0] ∘ (ΔW_1 x + Δb_1)), all at θ_0."""
    f_0, f_t = (plain_network(run.snapshots[at], seed, X_TEST)[0] for at in (0, time))
    (w1, w2), (b1, _) = ([np.asarray(leaf[seed], np.float64) for leaf in group] for group in run.snapshots[0])
    (d1, d2), (e1, e2) = (
        [np.asarray(new[seed], np.float64) - old[seed] for new, old in zip(now, before, strict=True)]
        for now, before in zip(run.snapshots[time], run.snapshots[0], strict=True)
    )
    z = X_TEST @ w1.T + b1
    f_lin = f_0 + np.maximum(z, 0) @ d2.T + e2 + ((z > 0) * (X_TEST @ d1.T + e1)) @ w2.T
    change = np.linalg.norm(f_t - f_0)
    return float(np.linalg.norm(f_t - f_lin) / change) if change else 0.0


def test_every_measure_against_numpy(run, measured):
    assert set(measured.data_vars) == set(MEASURES)
    for seed in range(SEEDS):
        for time in range(len(RECORDS)):
            expected = expected_measures(run, seed, time)
            assert set(expected) == set(MEASURES) - SAMPLED - ATTACKED
            for name, value in expected.items():
                found = measured[name][seed, time].to_numpy()
                assert found.dtype == np.float32
                # float32, and differences of parameters that have hardly moved
                np.testing.assert_allclose(found, value, rtol=3e-5, atol=3e-6, err_msg=name)
                if np.all(np.asarray(value) > 1e-3):
                    assert not np.allclose(found, 1.0001 * np.asarray(value), rtol=3e-5, atol=3e-6)


def test_nothing_has_changed_at_step_zero(measured):
    for name in ("lazy_ratio", "lazy_ratio_per_layer", "kernel_change", "linearisation_error"):
        # initial parameters are drawn again inside the program, where the last bit may be rounded the other way
        assert np.all(measured[name][:, 0] < 2 * np.finfo(np.float32).eps)
        assert np.all(measured[name][:, 1:] > 1e-3)
    assert np.all(np.diff(measured.lazy_ratio, axis=1) > 0)


def test_measures_in_relation(run, measured):
    np.testing.assert_allclose(measured.train_loss, run.loss, rtol=1e-5)  # float32, summed in another order
    spectral, frobenius = measured.jacobian_spectral, measured.jacobian_frobenius
    assert np.all(spectral <= frobenius * (1 + 1e-6))
    assert np.all(frobenius <= math.sqrt(OUT) * spectral * (1 + 1e-6))
    assert np.all(measured.perturbation_stability <= D / (D + 1) * spectral)
    assert 0.4 < float(measured.train_accuracy[:, -1].mean()) <= 1


def test_small_perturbations_give_the_linearised_measure(run):
    for epsilon, close in ((1e-3, True), (3.0, False)):
        found = measure_all(run, epsilon=epsilon)
        mean, error, linearised = (
            found[name].to_numpy().astype(np.float64)
            for name in (
                "finite_perturbation_stability",
                "finite_perturbation_stability_se",
                "perturbation_stability",
            )
        )
        # points next to a kink are few at the small radius; rounding of f, 1e-7/ε, is far below the standard error
        assert (abs(np.sum(mean - linearised) / np.sqrt(np.sum(error**2))) < Z) == close


def test_the_labelled_result(run, measured):
    assert dict(measured.sizes) == {"seed": SEEDS, "time": 3, "point": 20, "layer": 2}
    assert measured.perturbation_stability.dims == ("seed", "time", "point")
    assert measured.lazy_ratio_per_layer.dims == ("seed", "time", "layer")
    assert measured.lazy_ratio.dims == ("seed", "time")
    np.testing.assert_array_equal(measured.seed, run.seeds)
    np.testing.assert_array_equal(measured.step, run.step)
    np.testing.assert_array_equal(measured.gradient_flow_time, run.learning_rate[:, None] * run.step)
    np.testing.assert_array_equal(measured.status, run.status)
    assert measured.attrs["network"] == repr(NET)
    for name, one in MEASURES.items():
        assert one.name == name
        assert one.side in {"exact", "lower", "upper"}
        assert one.definition
        attributes = {"definition": one.definition, "side": one.side, "source": one.source}
        assert measured[name].attrs == attributes


def test_one_output_is_classified_by_its_sign():
    net = MLP(2, 10, 1, "relu", "he", bias_std=0.3)
    y, y_test = np.arange(N) % 2, np.arange(20) % 2
    run = train(net, X, y, seeds=SEEDS, steps=0)
    names = ["natural_accuracy", "train_accuracy", "test_mse"]
    found = measure(run, X_TEST, names, y_test=y_test)
    for seed in range(SEEDS):
        f, _ = plain_network(run.parameters, seed, X_TEST)
        f_train, _ = plain_network(run.parameters, seed, X)
        # shares are multiples of 1/20 and 1/70, in float32
        assert float(found.natural_accuracy[seed, 0]) == pytest.approx(np.mean((f[:, 0] > 0) == y_test), rel=1e-6)
        assert float(found.train_accuracy[seed, 0]) == pytest.approx(np.mean((f_train[:, 0] > 0) == y), rel=1e-6)
        assert float(found.test_mse[seed, 0]) == pytest.approx(np.mean((f[:, 0] - (2 * y_test - 1)) ** 2), rel=1e-5)
    flipped = measure(run, X_TEST, names, y_test=1 - y_test)
    np.testing.assert_allclose(flipped.natural_accuracy + found.natural_accuracy, 1.0, rtol=1e-6)


def test_untrained_networks_are_those_of_an_untrained_run():
    names = ["perturbation_stability", "finite_perturbation_stability", "output_rms", "jacobian_spectral"]
    run = train(NET, X, Y, seeds=[7, 0, 4], steps=0)
    # the same measures in both: programs of others add up in another order
    one = measure(run, X_TEST, names, epsilon=0.1, samples=8)
    other = measure_untrained(NET, X_TEST, names, seeds=[7, 0, 4], epsilon=0.1, samples=8)
    for name in names:
        np.testing.assert_array_equal(one[name][:, 0], other[name])
    np.testing.assert_array_equal(other.seed, [7, 0, 4])
    # another key, other networks and other perturbations
    key = jax.random.key(5)
    third = measure_untrained(NET, X_TEST, names, seeds=[7, 0, 4], epsilon=0.1, samples=8, key=key)
    for name in names:
        assert not np.any(third[name] == other[name])


def test_measures_of_ones_own(run):
    margin = Measure(
        "margin",
        r"f_1(x) - f_2(x)",
        lambda probe: probe.outputs[:, 0] - probe.outputs[:, 1],
        side="lower",
        source="this test",
    )
    found = measure(run, X_TEST, [margin])
    f, _ = plain_network(run.parameters, 1, X_TEST)
    np.testing.assert_allclose(found.margin[1, -1], f[:, 0] - f[:, 1], atol=1e-5)  # float32 outputs of size 1
    assert found.margin.attrs["side"] == "lower"
    np.testing.assert_array_equal(measure(run, X_TEST, margin).margin, found.margin)


# --- bad input


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"measures": ["robustness"]}, "unknown measure 'robustness': expected one of perturbation_stability, "),
        ({"measures": "robustness"}, "unknown measure 'robustness'"),
        (
            {"measures": "jacobian_frobenious"},
            r"'jacobian_frobenious' \(did you mean 'jacobian_frobenius'\?\): expected",
        ),
        ({"measures": ["test_mse"]}, "the measure 'test_mse' needs y_test"),
        ({"measures": ["natural_accuracy"], "epsilon": 0.1}, "the measure 'natural_accuracy' needs y_test"),
        ({"measures": ["finite_perturbation_stability"]}, "'finite_perturbation_stability' needs epsilon"),
        ({"epsilon": 0.0}, "epsilon must be positive, got 0.0"),
        ({"epsilon": math.nan}, "epsilon must be a finite number, got nan"),
        ({"epsilon": "large"}, "epsilon must be a finite number, got 'large'"),
        ({"samples": 1}, "samples must be an integer of at least 2, got 1"),
        ({"x_test": X_TEST[:, :2]}, r"x_test must have shape \(n, 3\), got \(20, 2\)"),
        ({"x_test": X_TEST[0]}, "x_test must have shape"),
        ({"x_test": np.where(np.arange(20)[:, None] == 6, np.nan, X_TEST)}, "x_test must be finite, but row 6"),
        ({"x_test": [["a", "b", "c"]]}, "x_test must hold real numbers"),
        ({"y_test": Y_TEST[:-1]}, r"y_test must have shape \(20, 3\), got \(19, 3\)"),
        ({"y_test": np.arange(20) % 4}, "y_test must hold labels that occur in training, 0, 1, 2, but row 3"),
        ({"y_test": np.eye(2)[np.arange(20) % 2]}, r"y_test must have shape \(20, 3\), got \(20, 2\)"),
        ({"y_test": np.full((20, 3), np.nan)}, "y_test must be finite, but row 0"),
    ],
)
def test_bad_input(run, changes, sentence):
    arguments = {"x_test": X_TEST, "measures": ["perturbation_stability"]} | changes
    with pytest.raises(InputError, match=sentence):
        measure(run, **arguments)


@pytest.mark.parametrize("name", [name for name, one in MEASURES.items() if one.needs_training_data])
def test_untrained_networks_have_no_training_data(name):
    with pytest.raises(InputError, match=f"{name!r} needs training data"):
        measure_untrained(NET, X_TEST, [name])


def test_measures_that_look_at_the_training_set_say_so():
    assert {name for name, one in MEASURES.items() if one.needs_training_data} == {
        "kernel_change",
        "train_loss",
        "train_accuracy",
    }
