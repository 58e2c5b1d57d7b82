"""The last look of a segment: in the loop, or in a forward pass of its own."""

import jax
import numpy as np
import pytest

import ntkrobust.finite.training.prepared
from ntkrobust import MLP, Run, train
from ntkrobust.finite.training import segments
from ntkrobust.runtime.compiling import PROGRAMS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
Y = np.sin(X[:, :1])
CASES = {
    "steps": {"steps": 7, "learning_rate": 0.01, "record_steps": [0, 3, 7]},
    "losses": {"steps": 200, "learning_rate": 0.05, "record_losses": [0.5, 0.3]},
    "diverges": {"steps": 30, "learning_rate": 30.0, "record_steps": [30]},
    "auto": {"steps": 9, "record_times": [0.0, 0.5]},
    "adam": {"steps": 5, "learning_rate": 0.01, "optimizer": "adam", "record_steps": [2, 5]},
    "decay": {"steps": 5, "learning_rate": 0.01, "weight_decay": 0.1, "record_steps": [2, 5]},
}


def trained(monkeypatch: pytest.MonkeyPatch, looks_apart: bool, case: str) -> Run:
    monkeypatch.setattr(ntkrobust.finite.training.prepared, "is_large", lambda *_: looks_apart)
    return train(MLP(3, 8), X, Y, seeds=3, **CASES[case])


def assert_same(one: Run, other: Run) -> None:
    for name in ("loss", "step", "status", "learning_rate"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, one.snapshots, other.snapshots)


@pytest.mark.parametrize("case", CASES)
def test_a_look_of_its_own_changes_nothing(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    within, apart = (trained(monkeypatch, looks_apart, case) for looks_apart in (False, True))
    assert_same(apart, within)
    if case == "diverges":
        assert (apart.status == "diverged").all()
    if case == "losses":
        assert (apart.status == "converged").all()


def test_a_look_that_is_left_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    within = trained(monkeypatch, False, "steps")
    monkeypatch.setattr(segments, "_last_look", lambda look, shared, step, loss, ceiling, done: (step, loss, ceiling))
    PROGRAMS.clear()
    apart = trained(monkeypatch, True, "steps")
    PROGRAMS.clear()
    with pytest.raises(AssertionError, match="loss"):
        assert_same(apart, within)
