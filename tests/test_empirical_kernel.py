"""Empirical kernels of a run: against the full Jacobian in float64, labels, layout, bad input."""

import jax
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust import MLP, InputError
from ntkrobust.finite.measures import empirical_kernel
from ntkrobust.networks.parameters import Parameters, forward

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), np.arange(12) % 3
NET = MLP(3, 8, 3, "tanh", "he", bias_std=0.2, parameterization="ntk")


@pytest.fixture(scope="module")
def run() -> ntr.Run:
    return ntr.train(NET, X, Y, seeds=[4, 0, 9], steps=5, record_steps=(0, 5))


def by_full_jacobian(run: ntr.Run, seed: int, time: int, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        one = jax.tree.map(lambda leaf: np.asarray(leaf[seed], np.float64), run.snapshots[time])
        scales = jax.tree.map(lambda number: np.asarray(number, np.float64), run.net.layer_scales(run.d_in))
        jacobian = jax.jacobian(lambda parameters: forward(run.net.phi, scales, Parameters(*parameters), x))(one)
        rows = np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(jacobian)], -1)
    return np.einsum("iap,jbp->iajb", rows, rows)


def test_kernels_of_every_seed_and_time(run):
    x = X[:5]
    found = ntr.empirical_ntk(run, x)
    assert found.shape == (3, 2, 5, 3, 5, 3)
    assert found.dtype == np.float32
    for seed in range(3):
        for time in range(2):
            expected = by_full_jacobian(run, seed, time, x)
            size = np.abs(expected).max()
            np.testing.assert_allclose(found[seed, time], expected, atol=1e-5 * size)  # float32
            assert not np.allclose(found[seed, time], 1.001 * expected, rtol=0, atol=1e-5 * size)
    assert not np.allclose(found[:, 0], found[:, 1], rtol=1e-3)
    # seeds, times and outputs are in their places
    np.testing.assert_array_equal(found.seed, [4, 0, 9])
    np.testing.assert_array_equal(found.step, run.step)
    np.testing.assert_array_equal(found.gradient_flow_time, run.time)
    np.testing.assert_allclose(
        found, found.transpose("seed", "time", "other_point", "other_output", "point", "output"), rtol=1e-5, atol=1e-6
    )


def test_its_change_is_the_measure(run):
    kernels = ntr.empirical_ntk(run, X)
    over = ("point", "output", "other_point", "other_output")
    initial = kernels.isel(time=0)
    change = np.sqrt(((kernels - initial) ** 2).sum(over) / (initial**2).sum(over))
    measured = ntr.measure(run, X, ["kernel_change"]).kernel_change
    np.testing.assert_allclose(change, measured, rtol=1e-4, atol=1e-6)


def test_small_chunks_change_nothing(run, monkeypatch):
    whole = ntr.empirical_ntk(run, X)
    monkeypatch.setattr(empirical_kernel, "CHUNK_BYTES", 1)
    one_by_one = ntr.empirical_ntk(run, X)
    assert one_by_one.attrs["plan"].startswith("1 seed(s) per product, 1 per chunk")
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (X[:, :2], r"x must have shape \(n, 3\), got \(12, 2\)"),
        (X[0], "x must have shape"),
        (np.full((2, 3), np.nan), "x must be finite"),
    ],
)
def test_bad_input(run, x, sentence):
    with pytest.raises(InputError, match=sentence):
        ntr.empirical_ntk(run, x)


def test_kernels_that_do_not_fit_are_refused_before_they_are_made(run, monkeypatch):
    monkeypatch.setattr(empirical_kernel, "available_bytes", lambda: 1000)
    with pytest.raises(
        InputError, match=r"kernels of shape \(3, 2, 12, 3, 12, 3\) need 0\.0 GiB and 0\.0 GiB are there"
    ):
        ntr.empirical_ntk(run, X)
    ntr.empirical_ntk(run, X[:1])
