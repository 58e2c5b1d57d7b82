"""Gradient descent on ensembles: against plain numpy, against closed forms, and what is recorded when."""

import dataclasses
import math

import jax
import numpy as np
import pytest

import ntkrobust.finite.training.train as training
from ntkrobust import MLP, Initialization, InputError, measure, train
from ntkrobust.finite.training import prepared
from ntkrobust.finite.training.eigenvalues import largest_kernel_eigenvalue
from ntkrobust.finite.training.problem import check_training_data
from ntkrobust.finite.training.schedules import check_schedule, log_spaced
from ntkrobust.networks.derivatives import empirical_ntk
from ntkrobust.networks.parameters import Parameters
from ntkrobust.runtime.layout import Plan

N, D, OUT, SEEDS = 10, 3, 2, 4
RNG = np.random.default_rng(20261122)
X, Y = RNG.normal(size=(N, D)).astype(np.float32), RNG.normal(size=(N, OUT)).astype(np.float32)
ZERO_LOSS = 0.5 * np.sum(Y.astype(np.float64) ** 2)
# One shape throughout, so that programs are compiled once.
NET = MLP(depth=3, width=8, d_out=OUT, activation="tanh", bias_std=0.3)
RELU = dataclasses.replace(NET, activation="relu")
# float32: gradients carry some dozen roundings of 6e-8, and so do parameters after a few dozen small steps
FLOAT32 = 1e-5


def leaves(parameters: Parameters) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(parameters)]


def assert_equal(a: Parameters, b: Parameters) -> None:
    for one, other in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(one, other)


def kernels(net: MLP, parameters: Parameters, x=X) -> np.ndarray:
    """Θ (seed, n·o, n·o) in float64, of an ensemble; tests/test_parameters.py checks it against full Jacobians."""
    scales = net.layer_scales(x.shape[1])
    theta = jax.vmap(lambda one: empirical_ntk(net.phi, scales, one, x))(jax.tree.map(np.asarray, parameters))
    return np.asarray(theta, np.float64).reshape(len(theta), x.shape[0] * net.d_out, -1)


# --- gradient descent written out

PHI = {"tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2), "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0))}


class PlainNetwork:
    """One network and its gradient descent on ½Σ‖f − y‖² in float64, layer by layer."""

    def __init__(self, net: MLP, parameters: Parameters, seed: int) -> None:
        first, hidden, last, alpha = net.scales(D)
        ntk = net.parameterization == "ntk"
        self.gains = [first, *[hidden] * (net.depth - 2), last] if ntk else [1.0] * net.depth
        self.gains[-1] /= alpha
        self.bias_gain = net.bias_std if ntk else 1.0
        self.phi, self.slope = PHI[str(net.activation)]
        self.w = [np.asarray(w[seed], np.float64) for w in parameters.weights]
        self.b = [np.asarray(b[seed], np.float64) for b in parameters.biases]

    def run(self, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        inputs, z = [x], []
        for gain, w, b in zip(self.gains, self.w, self.b, strict=True):
            z.append(gain * inputs[-1] @ w.T + self.bias_gain * b)
            inputs.append(self.phi(z[-1]))
        return inputs, z

    def loss(self) -> float:
        return 0.5 * np.sum((self.run(np.float64(X))[1][-1] - Y) ** 2)

    def step(self, rate: float) -> None:
        inputs, z = self.run(np.float64(X))
        delta = z[-1] - Y  # ∂loss/∂z_L
        for layer in reversed(range(len(self.w))):
            back = self.gains[layer] * delta @ self.w[layer]
            self.w[layer] -= rate * self.gains[layer] * delta.T @ inputs[layer]
            self.b[layer] -= rate * self.bias_gain * delta.sum(axis=0)
            if layer:
                delta = back * self.slope(z[layer - 1])


RECORDS = (0, 1, 2, 5, 20)
ALPHA = Initialization(0.8, 0.5, 1.1, alpha=1.7)


def distances(net: MLP, run, wrong: float = 1.0) -> np.ndarray:
    """‖θ_t − plain θ_t‖/‖θ_0‖ (seed, time), the plain learning rate multiplied by ``wrong``."""
    found = np.empty((SEEDS, len(RECORDS)))
    start = run.initial_parameters()
    size = math.sqrt(sum(np.sum(leaf[0] ** 2) for leaf in leaves(start)))
    for seed in range(SEEDS):
        plain, step = PlainNetwork(net, start, seed), 0
        for time, record in enumerate(RECORDS):
            while step < record:
                plain.step(wrong * run.learning_rate[seed])
                step += 1
            snapshot = run.snapshots[time]
            squares = [
                np.sum((array[seed] - exact) ** 2)
                for array, exact in zip((*snapshot.weights, *snapshot.biases), (*plain.w, *plain.b), strict=True)
            ]
            found[seed, time] = math.sqrt(sum(squares)) / size
            if wrong == 1.0:
                assert run.loss[seed, time] == pytest.approx(plain.loss(), rel=FLOAT32)
    return found


@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_steps_are_those_of_plain_gradient_descent(activation, parameterization):
    net = MLP(3, 8, OUT, activation, ALPHA, parameterization, bias_std=0.3)
    run = train(net, X, Y, seeds=SEEDS, learning_rate=0.005, steps=20, record_steps=RECORDS)
    np.testing.assert_array_equal(run.step, np.tile(RECORDS, (SEEDS, 1)))
    assert np.all(distances(net, run) < FLOAT32)
    # a learning rate 1 % off shows from the first step on
    assert np.all(distances(net, run, wrong=1.01)[:, 1:] > 2 * FLOAT32)
    assert set(run.status) == {"budget"}
    np.testing.assert_array_equal(run.learning_rate, 0.005)


# --- against the closed form of the linearised dynamics


@pytest.fixture(scope="module")
def untrained():
    return train(NET, X, Y, seeds=SEEDS, steps=0)


@pytest.fixture(scope="module")
def nearly_fitted(untrained):
    """Targets so close to f_0 of seed 0 that its parameters hardly move; and its residuals and kernel at the start."""
    residual = 3e-3 * RNG.normal(size=(N, OUT))
    outputs = PlainNetwork(NET, untrained.parameters, 0).run(np.float64(X))[1][-1]
    # what is left of the residual once the target is in float32
    y = (outputs - residual).astype(np.float32)
    return y, (outputs - y).ravel(), kernels(NET, untrained.parameters)[0]


# Linearisation: the kernel changes by about as much as the residual, 0.003 of the outputs
LINEAR = 0.01


def test_steps_of_the_linearised_dynamics(nearly_fitted):
    y, residual, theta = nearly_fitted
    run = train(NET, X, y, seeds=SEEDS, steps=50, record_steps=(0, 1, 3, 10, 50))
    eigenvalues, vectors = np.linalg.eigh(theta)
    coefficients = (vectors.T @ residual) ** 2

    def losses(kernel_factor):
        return [
            0.5 * np.sum((1 - run.learning_rate[0] * kernel_factor * eigenvalues) ** (2 * k) * coefficients)
            for k in run.step[0]
        ]

    assert run.loss[0] == pytest.approx(losses(1.0), rel=LINEAR)
    # half of it is a mean over outputs; 5 % more, a kernel without one of its parts
    for wrong in (0.5, 0.95, 1.05):
        assert run.loss[0, 1:] != pytest.approx(losses(wrong)[1:], rel=LINEAR)


def test_time_is_gradient_flow_time_of_half_the_sum_of_squares(nearly_fitted):
    y, residual, theta = nearly_fitted
    eigenvalues, vectors = np.linalg.eigh(theta)
    coefficients = (vectors.T @ residual) ** 2
    # 1/2000 of the stability limit: e^{−λt} and (1 − ηλ)^k differ by ηλ·λt/2 < 1e-3 in the exponent
    rate = 1e-3 / eigenvalues[-1]
    times = np.array([0.0, 0.3, 1.0, 3.0]) / eigenvalues[-1]
    run = train(NET, X, y, seeds=SEEDS, steps=4000, learning_rate=rate, record_times=times)
    np.testing.assert_allclose(run.time[0], times, atol=rate / 2)

    def losses(unit):
        return [0.5 * np.sum(np.exp(-2 * unit * eigenvalues * t) * coefficients) for t in run.time[0]]

    assert run.loss[0] == pytest.approx(losses(1.0), rel=LINEAR)
    for wrong in (2 / N, 0.5, 0.9, 1.1):
        assert run.loss[0, 1:] != pytest.approx(losses(wrong)[1:], rel=LINEAR)


# --- the learning rate, and when to record


@pytest.fixture(scope="module")
def largest(untrained):
    """λ_max (seed,) of the empirical NTK at initialization, exact."""
    return np.linalg.eigvalsh(kernels(NET, untrained.parameters))[:, -1]


def test_the_automatic_learning_rate_is_one_over_the_largest_eigenvalue(largest):
    run = train(NET, X, Y, seeds=SEEDS, steps=8)
    # power iteration comes from below, and near enough for a step size
    assert np.all(run.learning_rate * largest > 1 - FLOAT32)
    assert np.all(run.learning_rate * largest < 1.05)
    assert len(set(run.learning_rate)) == SEEDS
    np.testing.assert_allclose(1 / run.learning_rate, largest_kernel_eigenvalue(NET, X, seeds=SEEDS), rtol=FLOAT32)
    np.testing.assert_array_equal(run.step[0], log_spaced(8))
    np.testing.assert_array_equal(run.time, run.learning_rate[:, None] * run.step)


def test_recording_by_time_under_auto(largest):
    times = (0.0, 0.1, 0.25, 0.7)
    run = train(NET, X, Y, seeds=SEEDS, steps=1000, record_times=times)
    # the last time is met, by a rate that is lowered, and by less than the one step more that it takes
    np.testing.assert_allclose(run.time[:, -1], 0.7, rtol=1e-12)
    assert np.all(run.learning_rate * largest < 1.05)
    steps_before = 0.7 * largest
    assert np.all(run.step[:, -1] <= np.ceil(steps_before))
    assert np.all(run.step[:, -1] >= np.floor(0.95 * steps_before))
    # the others at the nearest step
    assert np.all(abs(run.time - np.array(times)) <= run.learning_rate[:, None] / 2 * (1 + FLOAT32))
    assert np.all(run.step[:, 0] == 0)
    assert set(run.status) == {"budget"}


def test_recording_by_kernel_time(largest):
    times = (0.5, 3.0, 10.5)
    run = train(NET, X, Y, seeds=SEEDS, steps=1000, record_kernel_times=times)
    # in units of the eigenvalue that power iteration finds, within 5 % of λ_max
    found = largest_kernel_eigenvalue(NET, X, seeds=SEEDS)
    np.testing.assert_allclose(run.time[:, -1] * found, 10.5, rtol=FLOAT32)
    np.testing.assert_allclose(run.time[:, -1] * largest, 10.5, rtol=0.05)
    np.testing.assert_array_equal(run.step, np.tile([1, 3, 11], (SEEDS, 1)))


def test_an_explicit_rate_stays_as_it_is():
    run = train(NET, X, Y, seeds=SEEDS, steps=1000, learning_rate=0.01, record_times=[0.0, 0.104, 0.296])
    np.testing.assert_array_equal(run.learning_rate, 0.01)
    np.testing.assert_array_equal(run.step, np.tile([0, 10, 30], (SEEDS, 1)))
    single = train(NET, X, Y, seeds=SEEDS, steps=30, learning_rate=np.float32(0.01), record_steps=[0, 10, 30])
    assert_equal(run.parameters, single.parameters)


def test_time_zero_alone():
    run = train(NET, X, Y, seeds=SEEDS, steps=5, record_times=[0.0])
    assert not run.step.any()
    assert np.all(np.isfinite(run.learning_rate))
    assert_equal(run.parameters, run.initial_parameters())


def test_a_budget_too_small_for_the_times():
    run = train(NET, X, Y, seeds=SEEDS, steps=7, learning_rate=0.01, record_times=[0.02, 0.05, 0.2])
    np.testing.assert_array_equal(run.step, np.tile([2, 5, 7], (SEEDS, 1)))
    np.testing.assert_allclose(run.time[:, -1], 0.07, rtol=1e-12)
    assert set(run.status) == {"budget"}


def test_recording_by_loss_stops_at_the_first_step_at_or_below():
    levels, steps = (1.1, 0.5, 0.25), 60
    curve = train(NET, X, Y, seeds=SEEDS, steps=steps, learning_rate=0.01, record_steps=range(steps + 1))
    run = train(NET, X, Y, seeds=SEEDS, steps=steps, learning_rate=0.01, record_losses=levels)
    for seed in range(SEEDS):
        for time, level in enumerate(levels):
            below = np.flatnonzero(curve.loss[seed] <= level * ZERO_LOSS)
            first = below[0] if below.size else steps
            assert run.step[seed, time] == first
            assert run.loss[seed, time] == curve.loss[seed, first]
            for a, b in zip(leaves(run.snapshots[time]), leaves(curve.snapshots[first]), strict=True):
                np.testing.assert_array_equal(a[seed], b[seed])
        assert run.status[seed] == ("converged" if below.size else "budget")
    # both outcomes occur, and the levels are no trivial ones
    assert set(run.status) == {"converged", "budget"}
    assert len(set(run.step.ravel())) > SEEDS
    assert run.net == NET
    # of ½Σ‖y‖², not of the loss at the start
    assert not np.allclose(curve.loss[:, 0], ZERO_LOSS, rtol=0.1)


def test_a_rate_that_is_too_large_is_labelled():
    run = train(NET, X, Y, seeds=SEEDS, steps=500, learning_rate=1.0)
    assert set(run.status) == {"diverged"}
    # it stops as soon as it has diverged, at 1e4 times the larger of the loss at the start and that of f = 0
    assert np.all(run.step[:, -1] < 50)
    assert np.all(~(run.loss[:, -1] <= 1e4 * np.maximum(run.loss[:, 0], ZERO_LOSS)))
    # one that is large from the start is not taken for diverged
    fine = train(NET, X, 1e-6 * Y, seeds=SEEDS, steps=5, learning_rate=1e-3)
    assert np.all(fine.loss[:, -1] > 1e4 * 0.5 * np.sum((1e-6 * Y) ** 2))
    assert set(fine.status) == {"budget"}


def test_the_automatic_rate_is_halved_where_the_loss_rises():
    # targets far from what the network was drawn for: its kernel grows as it is trained
    y, every_step = 20 * Y, range(51)
    run = train(RELU, X, y, seeds=SEEDS, steps=50, record_steps=every_step)
    found = largest_kernel_eigenvalue(RELU, X, seeds=SEEDS)
    ceiling = prepared.AUTO_CEILING * np.maximum(run.loss[:, 0], 400 * ZERO_LOSS)
    halvings = -np.log2(run.learning_rate * found)
    np.testing.assert_allclose(halvings, np.rint(halvings), atol=FLOAT32)
    assert len(set(np.rint(halvings))) > 2
    assert np.rint(halvings).min() == 0
    assert set(run.status) == {"budget"}
    assert np.all(run.loss.max(axis=1) <= ceiling)
    # a halved seed is as if it had that rate from the start, and at twice the rate its loss rises too far
    for seed in np.flatnonzero(halvings > 0.5)[:2]:
        half, whole = (
            train(
                RELU,
                X,
                y,
                seeds=SEEDS,
                steps=50,
                record_steps=every_step,
                learning_rate=factor * run.learning_rate[seed],
            )
            for factor in (1, 2)
        )
        # retried seeds are batched otherwise, and rounding grows at the edge of stability
        np.testing.assert_allclose(run.loss[seed], half.loss[seed], rtol=1e-3)
        assert not np.nanmax(whole.loss[seed]) <= ceiling[seed]
    # what rises at every rate tried is labelled
    hopeless = train(RELU, X, 1e4 * Y, seeds=SEEDS, steps=50)
    lost = hopeless.status == "diverged"
    assert lost.any()
    np.testing.assert_allclose(hopeless.learning_rate[lost] * found[lost], 2.0**-training.RETRIES, rtol=FLOAT32)


def test_dead_networks_stay_finite_and_never_move():
    net, x, y = MLP(depth=2, width=1), np.array([[0.5], [1.0]]), np.array([1.0, 2.0])
    for schedule in ({}, {"record_kernel_times": [1.0, 4.0]}, {"record_losses": [0.5, 0.01]}, {"record_times": [2.0]}):
        run = train(net, x, y, seeds=8, steps=20, **schedule)
        start = run.initial_parameters()
        dead = np.asarray(start.weights[0])[:, 0, 0] <= 0
        assert 0 < dead.sum() < 8
        assert np.all(np.isfinite(run.loss))
        assert np.all(np.isfinite(run.learning_rate))
        assert set(run.status[dead]) == {"budget"}
        np.testing.assert_allclose(run.loss[dead], 2.5, rtol=1e-6)  # of f = 0
        for a, b in zip(leaves(run.parameters), leaves(start), strict=True):
            np.testing.assert_array_equal(a[dead], b[dead])
            if not schedule:
                assert np.all(a[~dead] != b[~dead])
    largest = largest_kernel_eigenvalue(net, x, seeds=8)
    np.testing.assert_array_equal(largest == 0, dead)


# --- seeds, precision, labels


@pytest.mark.parametrize("group", [1, 4])
def test_more_seeds_never_change_earlier_ones(group, monkeypatch):
    monkeypatch.setattr(prepared, "choose_plan", lambda *_: Plan(group, 16))
    # 18 seeds: more than a chunk
    few, many = (train(NET, X, Y, seeds=n, steps=20, learning_rate=0.01, record_steps=[20]) for n in (SEEDS, 18))
    assert few.plan.startswith(f"{group} seed(s) per product")
    chosen = train(NET, X, Y, seeds=[5, 0, 3, 2], steps=20, learning_rate=0.01, record_steps=[20])
    for a, b, c in zip(leaves(few.parameters), leaves(many.parameters), leaves(chosen.parameters), strict=True):
        if group == 1 and jax.default_backend() == "cpu":
            np.testing.assert_array_equal(a, b[:SEEDS])
            np.testing.assert_array_equal(c, b[[5, 0, 3, 2]])
        # matrix products of another batch size may add in another order
        np.testing.assert_allclose(a, b[:SEEDS], atol=FLOAT32)
        np.testing.assert_allclose(c, b[[5, 0, 3, 2]], atol=FLOAT32)
        assert not np.allclose(b[0], b[1], atol=FLOAT32)


def test_another_key_gives_other_networks(untrained):
    other = train(NET, X, Y, seeds=SEEDS, steps=0, key=jax.random.key(1))
    for a, b in zip(leaves(untrained.parameters), leaves(other.parameters), strict=True):
        assert not np.any(a == b)


def test_the_double_precision_flag_changes_nothing():
    def everything():
        run = train(NET, X, Y, seeds=SEEDS, steps=8)
        return run, measure(run, X, ["perturbation_stability", "finite_perturbation_stability"], epsilon=0.1)

    run, measured = everything()
    with jax.enable_x64(True):
        assert jax.numpy.zeros(1).dtype == np.float64
        again, measured_again = everything()
    assert_equal(run.parameters, again.parameters)
    np.testing.assert_array_equal(run.loss, again.loss)
    np.testing.assert_array_equal(run.learning_rate, again.learning_rate)
    for name in measured.data_vars:
        assert measured_again[name].dtype == np.float32
        np.testing.assert_array_equal(measured[name], measured_again[name])


def test_an_untrained_run(untrained):
    assert untrained.step.tolist() == [[0]] * SEEDS
    assert untrained.time.tolist() == [[0.0]] * SEEDS
    assert set(untrained.status) == {"budget"}
    assert_equal(untrained.parameters, untrained.initial_parameters())
    plain = [PlainNetwork(NET, untrained.parameters, seed).loss() for seed in range(SEEDS)]
    np.testing.assert_allclose(untrained.loss[:, 0], plain, rtol=FLOAT32)


def test_integer_labels_become_targets():
    _, two = check_training_data(MLP(2, 8, d_out=1), X, np.arange(N) % 2)
    np.testing.assert_array_equal(two[:, 0], np.tile([-1, 1], N // 2))
    _, three = check_training_data(MLP(2, 8, d_out=3), X, np.arange(N) % 3)
    np.testing.assert_array_equal(three, np.eye(3)[np.arange(N) % 3])
    # and train uses them
    run = train(NET, X, np.tile([[0, 3], [1, 2]], (N // 2, 1)), seeds=SEEDS, steps=0)
    np.testing.assert_array_equal(run.y_train, np.tile([[0, 3], [1, 2]], (N // 2, 1)))


def test_log_spaced():
    assert log_spaced(0) == (0,)
    assert log_spaced(1) == (0, 1)
    assert log_spaced(128) == (0, 1, 2, 4, 8, 16, 32, 64, 128)
    assert log_spaced(1000)[-1] == 1000
    assert len(log_spaced(10**6)) == 9


# --- bad input


def with_nan(array, row):
    array = np.array(array)
    array[row, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x_train": with_nan(X, 4)}, "x_train must be finite, but row 4, column 1 .* is nan"),
        ({"y_train": with_nan(Y, 7)}, "y_train must be finite, but row 7, column 1 .* is nan"),
        ({"x_train": X[0]}, r"x_train must have shape \(rows, columns\).* got shape \(3,\)"),
        ({"x_train": X[:0]}, "x_train must have shape"),
        ({"x_train": X[:9]}, "x_train and y_train must have as many rows, got 9 and 10"),
        ({"x_train": [["a"]] * N}, "x_train must hold real numbers"),
        ({"x_train": 1e300 * np.ones((N, D))}, "x_train must fit into single precision, got a number of size 1e.300"),
        ({"y_train": Y[:, :1]}, r"y_train has 1 output column\(s\) and the network has d_out=2"),
        ({"y_train": np.arange(N) % 3}, r"y_train has 3 output column\(s\) and the network has d_out=2"),
        ({"y_train": np.zeros(N, int)}, "y_train must hold labels of at least two classes"),
        ({"net": MLP(3, d_out=2)}, "needs a width"),
        ({"seeds": 0}, "at least one seed"),
        ({"steps": -1}, "steps must be an integer of at least 0, got -1"),
        ({"steps": 2.5}, "steps must be an integer of at least 0, got 2.5"),
        ({"learning_rate": 0.0}, "'auto' or a positive number, got 0.0"),
        ({"learning_rate": -1}, "'auto' or a positive number, got -1"),
        ({"learning_rate": math.inf}, "'auto' or a positive number, got inf"),
        ({"learning_rate": math.nan}, "'auto' or a positive number, got nan"),
        ({"learning_rate": "fast"}, "'auto' or a positive number, got 'fast'"),
        ({"learning_rate": [0.1]}, r"'auto' or a positive number, got \[0.1\]"),
        ({"key": jax.random.PRNGKey(0)}, "key must be one typed key"),
        ({"record_steps": [1, 200]}, "record_steps goes to 200, past the budget of 100 steps"),
        ({"record_steps": [2, 2]}, r"record_steps must be increasing integers.* got \[2, 2\]"),
        ({"record_steps": [1.5]}, r"record_steps must be increasing integers.* got \[1.5\]"),
        ({"record_steps": []}, "record_steps must be increasing integers"),
        ({"record_steps": 5}, "record_steps must be increasing integers.* got 5"),
        ({"record_times": [-1.0]}, "record_times must be increasing numbers that are not negative"),
        ({"record_times": [1.0, math.inf]}, "record_times must be increasing numbers"),
        ({"record_times": ["1"]}, "record_times must be increasing numbers"),
        ({"record_kernel_times": [2.0, 1.0]}, "record_kernel_times must be increasing numbers"),
        ({"record_losses": [0.1, 0.2]}, "record_losses must be decreasing numbers"),
        ({"record_losses": [0.1], "record_times": [1.0]}, "give one of .* got record_times and record_losses"),
    ],
)
def test_bad_input(changes, sentence):
    arguments = {"net": NET, "x_train": X, "y_train": Y, "seeds": SEEDS, "steps": 100} | changes
    with pytest.raises(InputError, match=sentence):
        train(arguments.pop("net"), arguments.pop("x_train"), arguments.pop("y_train"), **arguments)


def test_schedules():
    assert check_schedule(100, record_steps=None).steps == log_spaced(100)
    assert check_schedule(100, record_losses=np.array([0.5, 0.1])).losses == (0.5, 0.1)
    assert check_schedule(100, record_steps=range(0, 101, 50)).steps == (0, 50, 100)
