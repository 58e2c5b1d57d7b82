"""Plans: how seeds are laid out on the machine changes no outcome."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import ntkrobust.finite.measures
import ntkrobust.finite.training
from ntkrobust import MLP, Run, measure, train
from ntkrobust.finite.plan import MAX_CHUNK, Plan, choose_plan, run_over_seeds

X = np.linspace(-1.2, 1.4, 24).reshape(8, 3)
Y = np.sin(3 * X[:, :2])
# No biases, two layers, a given rate: the least to compile.
NET = MLP(2, 12, 2, "tanh", "he")
# Products of matrices add in an order that depends on the batch: some dozen roundings of 6e-8 in each of 15 small steps
ROUNDING = 1e-5


def train_and_measure(seeds: int) -> tuple[Run, np.ndarray]:
    run = train(NET, X, Y, seeds=seeds, steps=15, learning_rate=0.02, record_steps=[0, 15])
    return run, measure(run, X, ["jacobian_frobenius"]).jacobian_frobenius.to_numpy()


def use_plan(monkeypatch, plan: Plan) -> None:
    for module in (ntkrobust.finite.training, ntkrobust.finite.measures):
        monkeypatch.setattr(module, "choose_plan", lambda *_: plan)


@pytest.fixture(scope="module")
def reference() -> tuple[Run, np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        use_plan(patch, Plan("vmap", chunk=64, devices=1))
        return train_and_measure(5)


def assert_same_outcome(found: tuple[Run, np.ndarray], expected: tuple[Run, np.ndarray]) -> None:
    for one, other in zip(jax.tree.leaves(found[0].snapshots), jax.tree.leaves(expected[0].snapshots), strict=True):
        np.testing.assert_allclose(one, other, atol=ROUNDING)
    np.testing.assert_allclose(found[0].loss, expected[0].loss, rtol=ROUNDING)
    np.testing.assert_allclose(found[1], expected[1], rtol=ROUNDING)


def test_the_comparison_can_fail(reference):
    run, measured = reference
    order = [1, 0, 2, 3, 4]
    for wrong in (measured[order], measured * (1 + 3 * ROUNDING)):
        with pytest.raises(AssertionError):
            assert_same_outcome((run, wrong), reference)
    # seeds differ, and training moves them
    assert not np.allclose(run.snapshots[0].weights[0][0], run.snapshots[0].weights[0][1], atol=0.01)
    assert not np.allclose(run.snapshots[0].weights[0], run.snapshots[1].weights[0], atol=0.01)


@pytest.mark.parametrize(
    "plan", [Plan("vmap", 4, 1), Plan("map", 64, 1), Plan("map", 4, 1), Plan("map", 1, 1)], ids=str
)
def test_the_outcome_does_not_depend_on_batching_or_chunks(plan, reference, monkeypatch):
    use_plan(monkeypatch, plan)
    found = train_and_measure(5)
    assert found[0].plan == str(plan)
    assert_same_outcome(found, reference)


PROGRAM = """
import sys

import jax
import numpy as np

sys.path.insert(0, sys.argv[1])
from test_plan import check_every_seed, train_and_measure

from ntkrobust.finite.plan import Plan

assert jax.local_device_count() == 2
run, measured = train_and_measure(5)  # does not divide by 2
assert "2 device(s)" in run.plan, run.plan
for n_seeds in (1, 4, 5):
    check_every_seed(n_seeds, Plan("map", 4, 2))
np.savez(sys.argv[2], *jax.tree.leaves(run.snapshots), loss=run.loss, measured=measured)
"""


def test_two_devices_give_the_same_numbers(reference, tmp_path):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path / "found.npz")],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=300,
    )
    run, measured = reference
    with np.load(tmp_path / "found.npz") as found:
        for index, expected in enumerate(jax.tree.leaves(run.snapshots)):
            np.testing.assert_allclose(found[f"arr_{index}"], expected, atol=ROUNDING)
        np.testing.assert_allclose(found["loss"], run.loss, rtol=ROUNDING)
        np.testing.assert_allclose(found["measured"], measured, rtol=ROUNDING)


# --- any function of a seed


def affine(shared, one):
    return {"sum": shared["add"] + one["a"] * one["b"].sum(), "key": jax.random.bits(one["key"])}


def check_every_seed(n_seeds: int, plan: Plan) -> None:
    a, b = np.arange(n_seeds, dtype=np.float32), np.arange(2 * n_seeds, dtype=np.float32).reshape(n_seeds, 2)
    keys = jax.random.split(jax.random.key(0), n_seeds)
    per_seed = {"a": a, "b": b, "key": keys}
    found = run_over_seeds(affine, plan, {"add": np.float32(1000)}, per_seed)
    # whole numbers below 2^24: exact
    np.testing.assert_array_equal(found["sum"], 1000 + a * b.sum(axis=1))
    assert isinstance(found["sum"], np.ndarray)
    np.testing.assert_array_equal(found["key"], np.asarray(jax.vmap(jax.random.bits)(keys)))


@pytest.mark.parametrize("batching", ["vmap", "map"])
@pytest.mark.parametrize("chunk", [1, 4, 16])
def test_every_seed_once_and_in_order(chunk, batching):
    for n_seeds in (1, 4, 5, 11):
        check_every_seed(n_seeds, Plan(batching, chunk, 1))


# --- how a plan is chosen


def test_plans():
    small, large = MLP(2, 16), MLP(2, 4096)
    on_cpu = jax.default_backend() == "cpu"
    assert choose_plan(small, 10, 100).batching == "vmap"
    assert choose_plan(large, 10, 100).batching == ("map" if on_cpu else "vmap")
    devices = jax.local_device_count()
    for net in (small, large, MLP(8, 1024), MLP(3, 30_000)):
        for points in (10, 100_000):
            plan = choose_plan(net, 784, points)
            assert plan.devices == devices
            assert plan.chunk >= 1
            assert plan.chunk % devices == 0
            assert plan.chunk <= MAX_CHUNK[plan.batching] * devices
    # what does not fit shrinks the chunk
    assert choose_plan(MLP(3, 30_000), 784, 10).chunk == devices
    assert choose_plan(small, 784, 100_000).chunk < choose_plan(small, 784, 10).chunk
