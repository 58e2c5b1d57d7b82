"""The first order in 1/m as theory in claims, and as what decides statements on width without networks."""

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.kernels import kept_moments, width_order


@pytest.fixture(scope="module")
def few():
    """Four points in three dimensions, and two to look at."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((4, 3)), rng.standard_normal((4, 1)), rng.standard_normal((2, 3))


NET = ntr.MLP(depth=2, activation="erf", initialization="lecun", parameterization="ntk")


def test_expectations_over_neurons_are_made_once_for_all_times_and_targets(few, monkeypatch) -> None:
    x, y, others = few
    made = []
    right = width_order.neuron_moments
    monkeypatch.setattr(width_order, "neuron_moments", lambda *args: (made.append(1), right(*args))[1])
    asked = {"neurons": 64}
    first = ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, **asked)
    kept = [
        ntr.InfiniteEnsemble(NET, x, s * y).at(t).first_order_width(others, **asked) for s, t in ((1, 2.0), (3, 0.5))
    ]
    assert len(made) == width_order.SETS
    kept_moments._kept.clear()
    for found, (s, t) in zip(kept, ((1, 2.0), (3, 0.5)), strict=True):
        fresh = ntr.InfiniteEnsemble(NET, x, s * y).at(t).first_order_width(others, **asked)
        assert (found == fresh).all()
        assert np.abs(found / first - 1).min() > 1e-2
    before = len(made)
    ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, **asked, seed=1)
    ntr.InfiniteEnsemble(NET, x[:3], y[:3]).at(0.5).first_order_width(others, **asked)
    assert len(made) == before + 2 * width_order.SETS


def test_what_is_kept_stays_below_its_bound(few, monkeypatch) -> None:
    x, y, others = few
    monkeypatch.setattr(kept_moments, "KEPT_BYTES", 200_000)
    kept_moments._kept.clear()
    for seed in range(4):
        ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, neurons=64, seed=seed)
        assert sum(map(kept_moments._size, kept_moments._kept.values())) <= 200_000
    assert len(kept_moments._kept) >= 1
    monkeypatch.setattr(kept_moments, "KEPT_BYTES", 100)
    kept_moments._kept.clear()
    ntr.InfiniteEnsemble(NET, x, y).at(0.5).first_order_width(others, neurons=64)
    assert not kept_moments._kept


def test_the_coefficient_by_sets_has_the_mean_and_error_of_the_coefficient(few) -> None:
    x, y, others = few
    now = ntr.InfiniteEnsemble(NET, x, y).at(0.5)
    c, error = now.first_order_width(others, neurons=64, return_error=True)
    sets = now.first_order_width_sets(others, neurons=64)
    assert sets.shape == (width_order.SETS, 2)
    np.testing.assert_allclose(sets.mean(axis=0), c, rtol=1e-12)
    np.testing.assert_allclose(sets.std(axis=0, ddof=1) / np.sqrt(width_order.SETS), error, rtol=1e-12)
