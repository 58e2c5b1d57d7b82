"""Gradient flow: against the closed form of the linearised dynamics, small steps, and the order of its scheme."""

import dataclasses

import jax
import numpy as np
import pytest

import ntkrobust.finite.training.flow as flow
import ntkrobust.networks.parameters as of
from ntkrobust import MLP, Run, data, measure, train
from ntkrobust.networks.derivatives import empirical_ntk
from ntkrobust.networks.parameters import Parameters, forward
from ntkrobust.runtime import compiling
from ntkrobust.runtime.programs import Programs

N, D, OUT = 10, 3, 2
RNG = np.random.default_rng(20261122)
X, Y = RNG.normal(size=(N, D)).astype(np.float32), RNG.normal(size=(N, OUT)).astype(np.float32)
NET = MLP(depth=3, width=8, d_out=OUT, activation="tanh", bias_std=0.3)
FLOAT32 = 1e-5


def go(net=NET, y=Y, **changes) -> Run:
    asked = {"seeds": 2, "steps": 3000, "optimizer": "gradient_flow"} | changes
    return train(net, X, y, **asked)


def outputs(run: Run, snapshot: Parameters, seed: int) -> np.ndarray:
    one = jax.tree.map(lambda leaf: np.asarray(leaf[seed]), snapshot)
    return np.asarray(forward(run.net.phi, run.net.layer_scales(D), one, X), np.float64)


# --- against the closed form of the linearised dynamics


# The kernel changes by about as much as the residual, 0.003 of the outputs, and the tolerance adds 0.001.
LINEAR = 0.01


@pytest.fixture(scope="module")
def lazy():
    """Targets close to f_0 of seed 0, so that its parameters hardly move; its residual; its kernel, decomposed."""
    start = train(NET, X, Y, seeds=2, steps=0)
    residual = 3e-3 * np.random.default_rng(1).normal(size=(N, OUT))
    f = outputs(start, start.parameters, 0)
    y = (f - residual).astype(np.float32)
    one = jax.tree.map(lambda leaf: leaf[0], start.parameters)
    theta = np.asarray(empirical_ntk(NET.phi, NET.layer_scales(D), one, X), np.float64).reshape(N * OUT, -1)
    return y, (f - y).ravel(), *np.linalg.eigh(theta)


def test_a_lazy_network_follows_its_linearisation(lazy):
    y, residual, eigenvalues, vectors = lazy
    times = np.array([0.0, 0.1, 0.5, 2.0, 20.0, 200.0]) / eigenvalues[-1]
    run = go(y=y, record_times=times)
    np.testing.assert_array_equal(run.time, np.tile(times, (2, 1)))
    found = np.array([(outputs(run, snapshot, 0) - y).ravel() for snapshot in run.snapshots])

    def exact(factor: float = 1.0) -> np.ndarray:
        return np.array([vectors @ (np.exp(-factor * eigenvalues * t) * (vectors.T @ residual)) for t in times])

    def error(expected: np.ndarray) -> float:
        return np.max(np.linalg.norm(found - expected, axis=1)) / np.linalg.norm(residual)

    assert error(exact()) < LINEAR
    for wrong in (0.9, 1.1, 0.5):
        assert error(exact(wrong)) > 2 * LINEAR
    # few steps: the stability limit asks for 200/2.5, and each has three gradients
    assert run.step[0, -1] < 200


# --- of deep networks


def test_a_deep_network_is_carried_stacked_and_flows_the_same(monkeypatch):
    net = dataclasses.replace(NET, depth=11)
    times = [0.01, 0.1, 1.0]
    stacked = go(net, record_times=times)
    monkeypatch.setattr(of, "SHALLOW", net.depth)
    monkeypatch.setattr(compiling, "PROGRAMS", Programs())
    written_out = go(net, record_times=times)
    np.testing.assert_array_equal(stacked.time, written_out.time)

    def change(run: Run, record: int) -> np.ndarray:
        return np.concatenate([outputs(run, run.snapshots[record], seed) - Y for seed in (0, 1)])

    # rounding moves steps, and each may err by the tolerance
    for record in range(len(times)):
        np.testing.assert_allclose(change(stacked, record), change(written_out, record), atol=1e-3)
    # a tenth of the way earlier would be seen
    earlier = go(net, record_times=[0.9 * time for time in times])
    assert not np.allclose(change(earlier, -1), change(written_out, -1), atol=1e-3)


# --- against small steps of gradient descent


def test_a_mean_field_network_follows_small_steps():
    digits = data.load("digits")
    x, y, test = digits.x_train[:24], digits.y_train[:24], digits.x_test[:16]
    net = MLP(depth=2, width=512, initialization="mean_field")
    asked = {"seeds": 2, "steps": 100_000, "record_kernel_times": [60.0]}

    def stability(**changes) -> float:
        run = train(net, x, y, **(asked | changes))
        assert set(run.status) == {"budget"}
        return float(measure(run, test)["perturbation_stability"].mean())

    small = stability(learning_rate=0.5)
    # the tolerance leaves an error of some tenths of a percent, rate 0.5 less
    assert stability(optimizer="gradient_flow") == pytest.approx(small, rel=0.01)
    assert stability(optimizer="gradient_flow", tolerance=1e-4) == pytest.approx(small, rel=0.001)
    # steps of 1/λ_max of the kernel at initialization do not follow the flow here
    assert stability() < 0.95 * small


def test_errors_fall_with_the_tolerance():
    times = [0.05, 0.3]
    fine = go(record_times=times, learning_rate=1e-3, tolerance=1e-5)

    def error(tolerance: float) -> float:
        run = go(record_times=times, tolerance=tolerance)
        pairs = zip(jax.tree.leaves(run.parameters), jax.tree.leaves(fine.parameters), strict=True)
        start = jax.tree.leaves(fine.initial_parameters())
        moved = sum(np.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(fine.parameters), start, strict=True))
        return float(np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs) / moved))

    errors = [error(tolerance) for tolerance in (1e-1, 1e-2, 1e-3)]
    assert errors[2] < 1e-3
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.fast
def test_the_scheme_has_orders_three_and_two():
    """e^{−z} on y' = −y: the error of a step is that of the Taylor series, and so is that of its twin."""

    def step(z: float, weights: np.ndarray, stages: np.ndarray) -> float:
        slopes = [-1.0]
        for i in range(1, 4):
            slopes.append(-(1.0 + z * np.dot(stages[i][:i], slopes)))
        return 1.0 + z * np.dot(weights, slopes)

    def rate(weights: np.ndarray, stages: np.ndarray) -> float:
        errors = [abs(step(z, weights, stages) - np.exp(-z)) for z in (0.1, 0.05)]
        return float(np.log2(errors[0] / errors[1]))

    third = np.float64(flow.STAGES[3])
    second = third - np.float64(flow.ERROR)
    assert rate(third, np.float64(flow.STAGES)) == pytest.approx(4, abs=0.1)
    assert rate(second, np.float64(flow.STAGES)) == pytest.approx(3, abs=0.1)
    wrong = np.float64(flow.STAGES).copy()
    wrong[2, 1] = 0.7
    assert rate(third, wrong) == pytest.approx(2, abs=0.1)


# --- records, budget, status


def test_recording_by_loss_stops_within_the_tolerance():
    zero = 0.5 * np.sum(Y.astype(np.float64) ** 2)
    levels = np.array([0.8, 0.5, 0.2])
    for tolerance in (1e-3, 1e-2):
        run = go(record_losses=levels, tolerance=tolerance)
        assert set(run.status) == {"converged"}
        assert np.all(run.loss <= np.float32(levels * zero))
        assert np.all(run.loss >= levels * zero * (1 - 2 * tolerance))
        assert np.all(np.diff(run.time) > 0)
    # the same networks at the times that it says
    again = go(record_times=[run.time[0, 1]])
    assert again.loss[0, 0] == pytest.approx(run.loss[0, 1], rel=0.01)


def test_the_budget_counts_every_step_that_is_tried():
    run = go(record_kernel_times=[0.0, 1.0, 50.0], steps=12)
    np.testing.assert_array_equal(run.step[:, 0], 0)
    np.testing.assert_array_equal(run.step[:, -1], 12)
    assert set(run.status) == {"budget"}
    assert np.all(run.time[:, 2] < 50 * run.learning_rate)
    # a first step that is far too long is tried, refused, and counted
    long = go(record_times=[0.01], learning_rate=1e3)
    short = go(record_times=[0.01], learning_rate=1e-3)
    np.testing.assert_allclose(long.loss, short.loss, rtol=1e-3)
    np.testing.assert_array_equal(long.time, 0.01)


def test_a_tolerance_that_is_no_tolerance_is_labelled():
    run = go(NET, 50 * Y, record_kernel_times=[100.0], tolerance=0.99)
    exact = go(NET, 50 * Y, record_kernel_times=[100.0])
    assert set(exact.status) == {"budget"}
    assert np.all(exact.loss[:, -1] < 0.1 * run.loss[:, -1]) or "diverged" in run.status


def test_dead_networks_wait():
    net, x, y = MLP(depth=2, width=1), np.array([[0.5], [1.0]]), np.array([1.0, 2.0])
    for schedule in ({"record_kernel_times": [1.0, 40.0]}, {"record_losses": [0.5]}):
        run = train(net, x, y, seeds=8, steps=200, optimizer="gradient_flow", **schedule)
        assert np.all(np.isfinite(run.loss))
        dead = np.asarray(run.initial_parameters().weights[0])[:, 0, 0] <= 0
        assert 0 < dead.sum() < 8
        np.testing.assert_allclose(run.loss[dead], 2.5, rtol=1e-6)
        assert set(run.status[dead]) == {"budget"}


def test_cross_entropy_flows_too(tmp_path):
    one_hot = np.eye(OUT, dtype=np.float32)[np.arange(N) % OUT]
    run = go(y=one_hot, loss="cross_entropy", record_times=[0.2, 1.0])
    steps = go(y=one_hot, loss="cross_entropy", record_times=[0.2, 1.0], optimizer="gd", learning_rate=5e-4)
    np.testing.assert_allclose(run.loss, steps.loss, rtol=2e-3)
    assert not np.allclose(run.loss, go(record_times=[0.2, 1.0]).loss, rtol=2e-3)
    run.save(tmp_path / "run.npz")
    loaded = Run.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(loaded.time, run.time)
    assert loaded.tolerance == 1e-3
    assert dataclasses.replace(loaded, flow_time=None).time[0, 0] != run.time[0, 0]
