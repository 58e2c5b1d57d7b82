"""The first order in 1/m of two-layer networks: exact linear dynamics, brackets by autodiff, quadrature, ensembles."""

import functools
import importlib.util
import itertools
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from scipy.integrate import quad

import ntkrobust as ntr
from ntkrobust.kernels import first_order, neuron_moments, neuron_nodes, width_order
from ntkrobust.kernels.time_integrals import time_integrals

LINE = np.array([[1.0], [0.5]]), np.array([[1.5], [-0.3]])
"""Two inputs in one dimension, and targets that no linear network fits."""
POINTS = [[1.0], [-2.0]]


@functools.cache
def line_ensemble() -> ntr.InfiniteEnsemble:
    net = ntr.MLP(depth=2, activation="linear", initialization="lecun", parameterization="ntk")
    return ntr.InfiniteEnsemble(net, *LINE)


def chi_square_rule(m: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes and weights for χ²_m, by the three-term recurrence of Laguerre polynomials with α = m/2 − 1."""
    k, alpha = np.arange(count), m / 2 - 1
    off = np.sqrt(k[1:] * (k[1:] + alpha))
    values, vectors = np.linalg.eigh(np.diag(2 * k + alpha + 1) + np.diag(off, 1) + np.diag(off, -1))
    return 2 * values, vectors[0] ** 2


def linear_network(m: int, time: float, steps: int = 1000) -> tuple[float, float]:
    """E β_t and E β_t² of f(x) = βx, β = m^(−1/2) Σ a_i w_i, trained on LINE: exact at width m, by quadrature.

    With P = Σ (a+w)²/2 and Q = Σ (a−w)²/2, independent χ²_m, β_0 = (P−Q)/(2√m), and p = Σ (a² + w²)/(2m) obeys
    p² − β²/m = PQ/m² at all times, so that β' = −2p(Aβ − B) with A = Σx², B = Σxy is closed.
    """
    nodes, weights = chi_square_rule(m, 20)
    p, q = np.meshgrid(nodes, nodes)
    beta, conserved = (p - q) / (2 * math.sqrt(m)), p * q / m**2
    a, b = np.sum(LINE[0] ** 2), np.sum(LINE[0] * LINE[1])

    def slope(beta: np.ndarray) -> np.ndarray:
        return -2 * np.sqrt(conserved + beta**2 / m) * (a * beta - b)

    h = time / steps
    for _ in range(steps):
        k1 = slope(beta)
        k2 = slope(beta + h / 2 * k1)
        k3 = slope(beta + h / 2 * k2)
        beta = beta + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(beta + h * k3))
    both = np.outer(weights, weights)
    return float(np.sum(both * beta)), float(np.sum(both * beta**2))


def linear_coefficient(time: float, moment: int, limit: float) -> float:
    """lim m(E β_t^moment − limit), by extrapolating from widths 100 to 3200 in powers of 1/m."""
    widths = 100 * 2 ** np.arange(6)
    scaled = [m * (linear_network(int(m), time)[moment - 1] - limit) for m in widths]
    return float(np.polynomial.polynomial.polyfit(100 / widths, scaled, 5)[0])


LINE_TIMES = (0.2, 0.7, 2.0)


@functools.cache
def line_truth() -> dict[float, float]:
    ensemble = line_ensemble()
    sizes = {t: float(ensemble.at(t).gradient_second_moment([[1.0]])[0]) for t in LINE_TIMES}
    return {t: linear_coefficient(t, 2, size) / size for t, size in sizes.items()}


@pytest.mark.fast
def test_linear_networks_have_their_exact_coefficient_at_any_time() -> None:
    for time, truth in line_truth().items():
        c, error = line_ensemble().at(time).first_order_width(POINTS, return_error=True)
        np.testing.assert_allclose(c, truth, rtol=1e-6)
        assert (error == 0).all()


def residual_exponent(time: float, c: float) -> float:
    """d log|E β_t²/G_t − 1 − c/m| / d log m as m grows, from widths 64, 128 and 256; G_t that of width 10¹³."""
    size = linear_network(10**13, time, 500)[1]
    left = [abs(linear_network(m, time, 500)[1] / size - 1 - c / m) for m in (64, 128, 256)]
    first, second = np.diff(np.log2(left))
    return 2 * second - first  # what is of order 1/m in the slopes cancels


def test_what_the_first_order_leaves_falls_like_the_square_of_the_width() -> None:
    for time in LINE_TIMES:
        c = line_ensemble().at(time).first_order_width(POINTS)[0]
        assert residual_exponent(time, c) == pytest.approx(-2, abs=2e-3)
        assert abs(residual_exponent(time, 1.02 * c) + 2) > 2e-2


def test_values_of_linear_networks_have_their_exact_mean_and_second_moment() -> None:
    for time in LINE_TIMES:
        now = line_ensemble().at(time)
        mean, variance = now.mean([[1.0]])[0, 0], now.variance([[1.0]])[0]
        found = now._first_order(POINTS, width_order.NEURONS, 0, gradients=False)
        e, error = now.first_order_mean(POINTS, return_error=True)  # f(x) = βx, at x = 1 and −2
        np.testing.assert_allclose(e, linear_coefficient(time, 1, mean) * np.array([1, -2]), rtol=1e-6)
        np.testing.assert_allclose(
            found.second_moment, linear_coefficient(time, 2, mean**2 + variance) * np.array([1, 4]), rtol=1e-6
        )
        assert (error == 0).all()


def planted(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """One field of the moments or of the time integrals, or one term, 1.1 times what it is."""
    where, name = fault.split(".")
    if where == "term":
        right = getattr(first_order, name)
        monkeypatch.setattr(first_order, name, lambda *args: 1.1 * right(*args))
    elif where == "times":
        made = width_order.time_integrals
        change = lambda found: found._replace(**{name: 1.1 * getattr(found, name)})  # noqa: E731
        monkeypatch.setattr(width_order, "time_integrals", lambda *args: change(made(*args)))
    else:
        expectations = width_order.neuron_moments

        def changed(*args: object) -> tuple:
            train, test = expectations(*args)
            if where == "train":
                return train._replace(**{name: 1.1 * getattr(train, name)}), test
            return train, test._replace(**{name: 1.1 * getattr(test, name)})

        monkeypatch.setattr(width_order, "neuron_moments", changed)


FAULTS = [
    *(f"term.{name}" for name in ("_third", "_squares", "_own_triple", "_moved", "_wick")),
    *(f"times.{name}" for name in time_integrals(np.ones(1), 1.0)._fields if name != "m"),
    *(f"train.{name}" for name in neuron_moments.TrainMoments._fields),
    *(f"test.{name}" for name in neuron_moments.TestMoments._fields),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tenth_too_much_in_any_term_is_caught(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    planted(monkeypatch, fault)
    gaps = [abs(line_ensemble().at(t).first_order_width(POINTS)[0] / c - 1) for t, c in line_truth().items()]
    assert max(gaps) > 1e-3


def test_at_initialization_two_layers_have_the_second_moment_of_the_exact_law_at_any_width() -> None:
    law = [ntr.exact_law(ntr.MLP(depth=2, width=m, activation="linear", initialization="lecun"), 1) for m in (8, 1000)]
    assert law[0].moment(2) == pytest.approx(law[1].moment(2), rel=1e-12)
    assert abs(line_ensemble().at(0).first_order_width(POINTS)[0]) < 1e-12


def brackets(phi, x, a, w, s, speed):
    """h̃_x, {h_x, h_β} and {{h_x, h_β}, h_γ}, by differentiating with respect to (a, w)."""

    def h(point):
        return lambda z: z[0] * phi(z[1:] @ point)

    metric = jnp.concatenate([jnp.array([s]), speed])

    def bracket(f, g):
        return lambda z: jax.grad(f)(z) @ (metric * jax.grad(g)(z))

    z = jnp.concatenate([jnp.array([a]), w])
    number = [z @ (metric * jax.grad(h(p))(z)) - jnp.sum(metric * jnp.diag(jax.hessian(h(p))(z))) for p in x]
    two = [[bracket(h(p), h(q))(z) for q in x] for p in x]
    three = [[[bracket(bracket(h(p), h(q)), h(r))(z) for r in x] for q in x] for p in x]
    return jnp.array(number), jnp.array(two), jnp.array(three)


@pytest.mark.parametrize("activation", ["gelu"])
def test_functions_of_a_neuron_are_the_brackets_of_their_definition(activation: str) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        phi = ntr.MLP(depth=2, activation=activation).phi
        x, w = jnp.asarray(rng.standard_normal((2, 3))), jnp.asarray(rng.standard_normal(3))
        speed, s = jnp.array([0.7, 0.7, 1.3]), 0.4
        none = jnp.zeros((0, 3))
        numbers = (jnp.zeros(()), s, 0.0, 1.0, 1.0)
        neurons = neuron_moments.Neurons(x, none, speed, *numbers, jnp.eye(2), jnp.zeros(2), none, jnp.ones(1))
        kind = neuron_moments.Kind(phi, gradients=False, biases=False, several=False)
        at_point = neuron_moments._functions(kind, neurons)
        batch = neuron_moments._train_batch(at_point, kind, neurons, w[None], jnp.ones(1))
        # expectations over a ~ N(0, 1) of what is at most quartic in it: three nodes
        found = [
            (weight, a, jax.jit(brackets, static_argnums=0)(phi, x, a, w, s, speed))
            for a, weight in ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
        ]
        number, two, three = (sum(p * power * part[i] for p, a, part in found for power in [a if i != 1 else 1])
                              for i in range(3))  # fmt: skip
        np.testing.assert_allclose(batch.number[0], number, rtol=1e-10)
        np.testing.assert_allclose(batch.kernel[0], two, rtol=1e-10)
        np.testing.assert_allclose(batch.triple[0, 0], three, rtol=1e-10)


@pytest.mark.fast
def test_time_integrals_are_what_quadrature_finds() -> None:
    rates, t = np.array([0.3, 2.0]), 1.7
    found = time_integrals(rates, t)

    def m(k: int, s: float) -> float:
        return (1 - math.exp(-rates[k] * s)) / rates[k]

    for p, k, l, q in itertools.product(range(2), repeat=4):  # noqa: E741
        twice = lambda s: quad(lambda u: math.exp(-rates[l] * u) * m(q, u), 0, s)[0]  # noqa: B023, E731
        truth = quad(lambda s: m(p, t - s) * math.exp(-rates[k] * s) * twice(s), 0, t)[0]  # noqa: B023
        assert found.back_triple[p, k, l, q] == pytest.approx(truth, rel=1e-8)
        chain = lambda s: quad(lambda u: math.exp(-rates[k] * (s - u) - rates[l] * u), 0, s)[0]  # noqa: B023, E731
        truth = quad(lambda s: m(p, t - s) * chain(s), 0, t)[0]  # noqa: B023
        assert found.back_chain[p, k, l] == pytest.approx(truth, rel=1e-8)
    late = time_integrals(rates, np.inf)
    np.testing.assert_allclose(late.back_triple, time_integrals(rates, 300.0).back_triple, rtol=1e-12)
    np.testing.assert_allclose(late.m, 1 / rates)


@pytest.mark.fast
@pytest.mark.parametrize("dimension", [1, 2, 7])
def test_the_cubature_is_exact_to_degree_five_and_not_to_six(dimension: int) -> None:
    w, weights = neuron_nodes.cubature_nodes(dimension)
    a, b = np.random.default_rng(dimension).standard_normal((2, dimension))
    u, v = w @ a, w @ b
    assert weights @ u**4 == pytest.approx(3 * (a @ a) ** 2)
    assert weights @ (u * v) ** 2 == pytest.approx((a @ a) * (b @ b) + 2 * (a @ b) ** 2)
    if dimension > 1:
        assert weights @ u**6 != pytest.approx(15 * (a @ a) ** 3, rel=1e-3)


@pytest.mark.parametrize(
    ("net", "more", "message"),
    [
        (ntr.MLP(depth=3, activation="erf"), {}, "is for depth=2, got depth=3"),
        (ntr.MLP(depth=2, activation="relu"), {}, "needs a smooth activation, got relu"),
        (ntr.MLP(depth=2, activation="erf"), {"learning_rate": 0.1}, "is for gradient flow"),
        (ntr.MLP(depth=2, activation="erf"), {"ridge": 0.1}, "without a ridge"),
        (ntr.MLP(depth=2, activation="erf"), {"kernel": "nngp"}, "is for kernel='ntk'"),
    ],
)
def test_what_the_expansion_does_not_cover_is_refused(net: ntr.MLP, more: dict, message: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2))
    now = ntr.InfiniteEnsemble(net, x, x[:, :1], **more).at(0.2)
    refused(lambda: now.first_order_width(x), message)


def test_more_training_points_than_memory_holds_are_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(width_order, "available_bytes", lambda: 2**30)
    width_order.check_size(32, 41)
    refused(lambda: width_order.check_size(200, 41), "GiB with n=200 training points and 1.0 GiB are there")


def test_coordinates_that_no_point_has_are_counted_and_not_drawn() -> None:
    rng = np.random.default_rng(0)
    x, y, others = rng.standard_normal((2, 6)), rng.standard_normal((2, 1)), rng.standard_normal((6, 6))
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(depth=2, activation="linear", initialization="lecun"), x, y)
    now = ensemble.at(0.8)
    alone = now.first_order_width(others[:2])  # in the span of four points
    np.testing.assert_allclose(alone, now.first_order_width(others)[:2], rtol=1e-9)  # in all six coordinates
    assert np.abs(alone).min() > 1e-2


def test_sobol_points_agree_with_exact_expectations_within_their_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(trained: object, dimension: int, neurons: int, seed: int) -> list:
        rng = np.random.default_rng(seed)
        return [neuron_nodes.sobol_nodes(dimension, 8, rng) for _ in range(width_order.SETS)]

    monkeypatch.setattr(width_order, "_neuron_sets", drawn)
    for time, truth in line_truth().items():
        c, error = line_ensemble().at(time).first_order_width(POINTS, return_error=True)
        assert (error > 0).all()
        assert (error < 0.05).all()
        assert (np.abs(c - truth) < 4 * error).all()


@pytest.mark.slow
def test_trained_networks_have_the_coefficient_and_not_a_tenth_more() -> None:
    path = Path(__file__).parents[1] / "benchmarks" / "first_order.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_the_first_order", path)
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    task = benchmark.make_task("erf", 8, 8, 4)
    times = benchmark.times_of(task)
    values = benchmark.measured(task, times, 256, 300, seed=1).mean(axis=2)
    error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    c = np.array([task.ensemble.at(t).first_order_width(task.x).mean() for t in times])
    assert (np.abs(values.mean(axis=0) - c) < 4 * error).all()
    assert abs(values.mean(axis=0)[0] - 1.1 * c[0]) > 4 * error[0]
