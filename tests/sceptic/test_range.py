"""The range of the data: attacks, measures that attack, adversarial training and claims stay inside it.

The right values are closed forms of an affine network f(x) = ⟨w, x⟩ + b. Inside a box, with room_j the way to the end
of coordinate j that −c·w_j points to (0 where it may not move), the most that a perturbation takes from c·f is

- ℓ∞: Σ_j |w_j|·min(ε, room_j);
- ℓ2: Σ_j |w_j|·min(λ|w_j|, room_j), with λ such that these moves have length ε, or ∞;
- ℓ1: what is left of ε is spent on the coordinate with the largest |w_j| that still has room.
"""

import dataclasses
import json

import numpy as np
import pytest

from ntkrobust import MLP, InputError, Run, attack, measure, train
from ntkrobust.data import Dataset, from_file, load
from ntkrobust.domain import Domain
from ntkrobust.finite.parameters import Parameters

D, N = 12, 60
EPSILON = {"linf": 0.15, "l2": 0.45, "l1": 0.9}
RNG = np.random.default_rng(20261130)
W = np.float32(RNG.choice([-1.0, 1.0], D) * RNG.uniform(0.2, 1.0, D))
LOWER, UPPER = np.zeros(D), np.ones(D)
LOWER[0], UPPER[1] = -0.5, 2.0  # ranges of their own
LOWER[2] = UPPER[2] = 0.25  # a coordinate whose ends are the same
MOVABLE = ~np.isin(np.arange(D), (3, 4))  # and two that may not move, whatever their value
FREE = MOVABLE & (LOWER < UPPER)
# half of the entries at an end, as most pixels are
X = np.float32(LOWER + (UPPER - LOWER) * np.clip(RNG.uniform(-0.5, 1.5, (N, D)), 0, 1))
B = np.float32(0.02 - np.median(X @ W))
Y = np.where(X @ W + B > 0, 1, -1)


@pytest.fixture(scope="module")
def run() -> Run:
    """One network f(x) = ⟨w, x⟩ + b, trained (not at all) on data with the range above."""
    net = MLP(2, 2, 1, "linear", "he", bias_std=0.0)
    drawn = train(net, X[:4], np.array([-1, 1, -1, 1]), seeds=1, steps=0, bounds=(LOWER, UPPER), movable=MOVABLE)
    (w1, w2), (b1, b2) = drawn.parameters
    w1, w2, b1, b2 = (np.zeros_like(leaf) for leaf in (w1, w2, b1, b2))
    w1[0, 0], w2[0, 0, 0], b2[0, 0] = W, 1.0, B
    return dataclasses.replace(drawn, snapshots=(Parameters((w1, w2), (b1, b2)),))


def largest_loss(norm: str, free: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Most that an allowed perturbation takes from c·f, (n,), in float64."""
    falling = -Y[:, None] * np.float64(W)
    size = np.abs(np.float64(W))
    room = np.where(falling > 0, upper - np.float64(X), np.float64(X) - lower) * free
    epsilon = EPSILON[norm]
    if norm == "linf":
        return np.minimum(epsilon, room) @ size
    if norm == "l1":
        order = np.argsort(-size)
        before = np.cumsum(room[:, order], axis=1) - room[:, order]
        return np.clip(epsilon - before, 0, room[:, order]) @ size[order]
    low, high = np.zeros(len(X)), np.full(len(X), 1e6)
    for _ in range(200):
        middle = (low + high) / 2
        is_short = np.linalg.norm(np.minimum(middle[:, None] * size, room), axis=1) < epsilon
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return np.minimum(low[:, None] * size, room) @ size


def stable(norm: str, free=FREE, lower=LOWER, upper=UPPER) -> float:
    """Share of points that keep their class."""
    margin = np.abs(X @ np.float64(W) + B) - largest_loss(norm, free, lower, upper)
    assert np.min(np.abs(margin)) > 1e-5  # or rounding would decide
    return float(np.mean(margin > 0))


EVERYWHERE = {"free": np.ones(D), "lower": np.full(D, -1e9), "upper": np.full(D, 1e9)}


def without_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: what programs are given allows everything."""
    ends = {"lower": np.full(D, -np.inf, np.float32), "upper": np.full(D, np.inf, np.float32)}
    monkeypatch.setattr(Domain, "arrays", lambda self: ends | {"movable": np.ones(D, bool)})


@pytest.mark.parametrize(("name", "norm"), [("prediction_stability", "linf"), ("prediction_stability_l2", "l2")])
def test_measures_stay_inside(run, figure, monkeypatch, name, norm):
    right, outside = stable(norm), stable(norm, **EVERYWHERE)
    assert right - outside > 0.1
    seen = float(measure(run, X, [name], epsilon=EPSILON[norm])[name][0, 0])
    figure(f"{name} in a box", seen, right, "closed form of an affine network")
    # what PGD finds is at least what there is to find; in ℓ2 with a range it may miss a point at the border
    assert right - 1e-6 <= seen <= right + (1e-6 if norm == "linf" else 1.5 / N)
    without_range(monkeypatch)
    planted = float(measure(run, X, [name], epsilon=EPSILON[norm])[name][0, 0])
    assert planted == pytest.approx(outside, abs=1e-6)


METHODS = {"linf": ("apgd-dlr", "square"), "l2": ("apgd-dlr",), "l1": ("pgd",)}


@pytest.mark.parametrize("norm", METHODS)
def test_attacks_stay_inside(run, figure, monkeypatch, norm):
    given = {
        "epsilon": EPSILON[norm],
        "norm": norm,
        "methods": METHODS[norm],
        "queries": 100,
        "steps": 30,
    }
    found, right = attack(run, X, Y, keep_examples=True, **given), stable(norm)
    figure(
        f"robust accuracy in a box, {norm}", float(found.robust_accuracy[0]), right, "closed form of an affine network"
    )
    by_method = found.is_robust_by_method[0].mean("point").to_numpy()
    assert (by_method >= right - 1e-6).all()
    np.testing.assert_allclose(by_method[0], right, atol=1.5 / N)
    worst = found.example[0].to_numpy()
    assert ((worst >= np.float32(LOWER)) & (worst <= np.float32(UPPER))).all()
    np.testing.assert_array_equal(worst[:, ~FREE], X[:, ~FREE])
    assert int(found.outside[0]) == 0
    assert found.attrs["domain"].startswith("inputs in ranges of their own within [−0.5, 2], 3 of 12 coordinates")
    without_range(monkeypatch)
    outside = attack(run, X, Y, **given)
    assert float(outside.robust_accuracy[0]) < right - 0.1


# --- data sets that know their range, and those that have none


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("digits:pixel", (0, 1)), ("digits-classes:raw", (0, 16)), ("digits", None), ("sphere", None), ("gaussian", None)],
)
def test_what_data_sets_know_of_their_range(name, bounds):
    data = load(name)
    for kept in (data, data.subset(5, 4)):
        if bounds is None:
            assert kept.bounds is None
            continue
        lower, upper = kept.bounds
        assert lower.shape == upper.shape == (64,)
        assert (lower.dtype, lower.flags.writeable, upper.flags.writeable) == (np.float64, False, False)
        assert (lower == bounds[0]).all()
        assert (upper == bounds[1]).all()
    words = "inputs without a range" if bounds is None else f"inputs in [{bounds[0]}, {bounds[1]}]"
    assert data.domain.in_words() == words
    assert (words in repr(data)) == (bounds is not None)


def arrays(**more):
    return {"x_train": X, "y_train": np.float64(Y), "x_test": X[:9], "y_test": np.float64(Y[:9])} | more


def made(**more) -> Dataset:
    columns = arrays(y_train=np.float64(Y)[:, None], y_test=np.float64(Y)[:9, None])
    return Dataset(**columns, name="made", task="classification", **more)


def test_files_state_their_range(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays(bounds=np.stack([LOWER, UPPER]), movable=MOVABLE))
    data = from_file(path)
    np.testing.assert_array_equal(data.bounds, (LOWER, UPPER))
    np.testing.assert_array_equal(data.movable, MOVABLE)
    np.savez(path, **arrays(bounds=np.array([-0.5, 2.0])))
    assert load(path).domain.in_words() == "inputs in [−0.5, 2]"
    np.savez(path, **arrays())
    assert load(path).bounds is None
    assert from_file(path, bounds=(-1, 2)).domain.in_words() == "inputs in [−1, 2]"
    for bounds, sentence in (
        (np.array([0.0, 1.0]), r"x_train must lie within bounds, but row .* outside \[0, 1\]"),
        (np.zeros((3, D)), r"bounds must be None or a pair \(lower, upper\)"),
        (np.zeros((2, D + 1)), f"each of bounds must be a number, or {D} of them"),
        (np.array([1.0, 0.0]), "the lower of the bounds must not be above the upper, got 1 and 0"),
        (np.array([np.nan, 0.0]), "each of bounds must be a number"),
        (np.array(["a", "b"]), "each of bounds must be a number"),
    ):
        np.savez(path, **arrays(bounds=bounds))
        with pytest.raises(InputError, match=sentence):
            from_file(path)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"bounds": 1.0}, r"bounds must be None or a pair \(lower, upper\), got 1.0"),
        ({"bounds": (0, "1")}, "each of bounds must be a number"),
        ({"bounds": (LOWER, UPPER[:5])}, "each of bounds must be a number, or 12 of them"),
        ({"bounds": ([[0]], 1)}, "each of bounds must be a number"),
        ({"bounds": (UPPER, LOWER)}, "must not be above the upper, got 1 and -0.5 for coordinate 0"),
        ({"bounds": (LOWER, 1.0)}, r"x_train must lie within bounds, but row \d+, column 1 .* outside \[0, 1\]"),
        ({"movable": [1] * D}, "movable must be None or 12 booleans"),
        ({"movable": [True]}, "movable must be None or 12 booleans"),
    ],
)
def test_ranges_that_are_none(more, sentence):
    with pytest.raises(InputError, match=sentence):
        made(**more)


def test_an_end_may_be_open():
    data = made(bounds=(-0.5, np.inf))
    assert data.domain.in_words() == "inputs in [−0.5, ∞]"
    assert json.loads(json.dumps(data.as_json(), allow_nan=False))["bounds"] == [-0.5, None]
