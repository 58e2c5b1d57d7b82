"""The range of the data: attacks, measures that attack, adversarial training and claims stay inside it.

The right values are closed forms of an affine network f(x) = ⟨w, x⟩ + b. Inside a box, with room_j the way to the end
of coordinate j that −c·w_j points to (0 where it may not move), the most that a perturbation takes from c·f is

- ℓ∞: Σ_j |w_j|·min(ε, room_j);
- ℓ2: Σ_j |w_j|·min(λ|w_j|, room_j), with λ such that these moves have length ε, or ∞;
- ℓ1: what is left of ε is spent on the coordinate with the largest |w_j| that still has room.
"""

import dataclasses
import json
import pickle

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust import MLP, Adversary, InputError, Run, attack, measure, train
from ntkrobust.data import Dataset, from_file, load
from ntkrobust.domain import Domain
from ntkrobust.networks.parameters import Parameters
from ntkrobust.reports.terminal import data_line

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


# --- the way through training, runs and claims

PIXELS = load("digits:pixel").subset(150, 100)
SHARP = Adversary(0.1, 6.0, objective="trades", steps=3)
HOW = {"seeds": 2, "steps": 60, "record_steps": [60], "optimizer": "adam", "learning_rate": 3e-3}


def stability_in_numpy(run: Run, x: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Share of points that 60 steps of PGD leave in their class, for each two-layer ReLU network, in float64."""
    shares = []
    for w1, w2 in zip(*(np.float64(one) for one in run.parameters.weights), strict=True):
        c = np.sign(np.maximum(x @ w1.T, 0) @ w2.T)
        kept = np.ones(len(x), dtype=bool)
        for start in (x, x + np.random.default_rng(0).uniform(-0.1, 0.1, x.shape)):
            at = np.clip(start, lower, upper)
            for _ in range(60):
                hidden = at @ w1.T
                kept &= (c * (np.maximum(hidden, 0) @ w2.T) > 0)[:, 0]
                gradient = c * (((hidden > 0) * w2) @ w1)
                at = np.clip(np.clip(at - 0.01 * np.sign(gradient), x - 0.1, x + 0.1), lower, upper)
        shares.append(kept.mean())
    return np.array(shares)


def test_claims_are_about_what_happens_inside(figure, monkeypatch):
    """TRADES with β = 6 on pixels: training, measure and verdict stay in [0, 1]."""
    grid = {"depth": (2,), "width": (16,), "n": (150,), "epsilon": (0.1,)}
    reading = ntr.Reading("fixed steps", 60, optimizer="adam", learning_rate=3e-3, adversary=SHARP)
    claim = ntr.Claim("test/inside", "", ntr.AtMost(lambda n: 1.0), "prediction_stability_by_pgd", grid, reading)

    def seen() -> float:
        found = ntr.verify([claim], data=PIXELS, seeds=2, points=100)
        inputs = found.document["inputs"]["data"]
        assert (inputs["bounds"], inputs["immovable"], inputs["range"]) == ([0.0, 1.0], [], "inputs in [0, 1]")
        assert json.loads(found.evidence.attrs["inputs"])["data"] == inputs
        assert data_line(found.document).endswith("; inputs in [0, 1]")
        return float(np.mean(found[0].cells[0].values))

    run = train(MLP(2, 16, 1, "relu"), PIXELS, adversary=SHARP, **HOW)
    inside = stability_in_numpy(run, PIXELS.x_test, 0, 1).mean()
    outside = stability_in_numpy(run, PIXELS.x_test, -np.inf, np.inf).mean()
    assert inside > outside + 0.05
    value = seen()
    figure("a claim's stability, TRADES, pixels", value, inside, "PGD in numpy, float64, inside [0, 1]")
    assert value == pytest.approx(inside, abs=0.02)
    # planted: measures don't hear of the range
    with monkeypatch.context() as patch:
        patch.setattr(Run, "domain", property(lambda self: Domain(self.d_in)))
        assert seen() < inside - 0.04


def test_runs_keep_what_the_data_say(tmp_path):
    data = made(bounds=(LOWER, UPPER), movable=MOVABLE)
    net = MLP(2, 4, 1)
    run = train(net, data, seeds=1, steps=0)
    run.save(tmp_path / "run.npz")
    for one in (run, Run.load(tmp_path / "run.npz"), pickle.loads(pickle.dumps(run))):
        np.testing.assert_array_equal(one.bounds, (LOWER, UPPER))
        np.testing.assert_array_equal(one.movable, MOVABLE)
    arrays_alone = train(net, data.x_train, data.y_train, seeds=1, steps=0)
    assert (arrays_alone.bounds, arrays_alone.movable) == (None, None)
    # data without a range take that of the adversary, and are trained and measured in it
    bounded = Adversary(0.1, bounds=(-0.5, 2.0))
    assert train(net, data.x_train, data.y_train, seeds=1, steps=0, adversary=bounded).domain.in_words() == (
        "inputs in [−0.5, 2]"
    )
    own = Adversary(0.1, bounds=(tuple(LOWER), tuple(UPPER)))
    assert Adversary.from_json(json.loads(json.dumps(own.as_json()))) == own
    assert train(net, data, seeds=1, steps=0, adversary=own).adversary == own


def test_what_contradicts_the_range_is_refused():
    data = made(bounds=(LOWER, UPPER), movable=MOVABLE)
    net = MLP(2, 4, 1)
    run = train(net, data, seeds=1, steps=0)
    beyond = np.where(np.arange(D) == 5, 1.2, X)
    narrow = {"bounds": (LOWER, np.where(np.arange(D) == 5, 0.5, UPPER))}
    for call, sentence in (
        (
            lambda: measure(run, beyond),
            r"x_test must lie within the range .* row 0, column 5 .* is 1.2, outside \[0, 1\]",
        ),
        (lambda: attack(run, beyond, Y, epsilon=0.1), "x must lie within the range of the data, but row 0, column 5"),
        (lambda: attack(run, X, Y, epsilon=0.1, **narrow), "x must lie within bounds, but row"),
        (
            lambda: measure(run, X, bounds=(-1, 2)),
            r"must lie inside the range .* coordinate 0 .* \[-1, 2\] reaches",
        ),
        (lambda: measure(run, X, movable=np.ones(D, bool)), r"may not move, but it moves 3 \(from 0\)"),
        (lambda: measure(run, X, bounds=(0, [1, 1])), "each of bounds must be a number, or 12 of them"),
        (
            lambda: train(net, beyond, Y, bounds=(LOWER, UPPER)),
            "x_train must lie within the range of the data",
        ),
        (
            lambda: train(net, data, seeds=1, steps=1, validation=(beyond, Y)),
            "x_validation must lie within the range of the data",
        ),
        (
            lambda: train(net, data, seeds=1, steps=1, adversary=Adversary(0.1, bounds=(-1.0, 2.0))),
            r"the adversary's bounds must lie inside the range of the data, but for coordinate 0 .* \[-1, 2\] reaches",
        ),
        (
            lambda: ntr.objective_parts(run, beyond, Y, adversary=Adversary(0.1)),
            "x_held_out must lie within the range of the data",
        ),
        (lambda: train(net, data, data.y_train), "a data set brings its own targets"),
        (lambda: train(net, X), "training needs targets"),
    ):
        with pytest.raises(InputError, match=sentence):
            call()


def test_finite_perturbations_inside_and_everywhere(run):
    """f is affine: |f(x̂) − f(x)| = |⟨w, δ⟩| for δ drawn in numpy, whatever x is."""
    names = ["finite_perturbation_stability", "allowed_perturbation_stability"]
    found = measure(run, X, names, epsilon=0.4, samples=2000).isel(seed=0, time=0)

    def drawn(free: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        rng, k = np.random.default_rng(1), int(free.sum())
        direction = np.zeros((4000, 1, D))
        direction[..., free] = rng.standard_normal((4000, 1, k))
        direction *= rng.uniform(size=(4000, 1, 1)) ** (1 / k) / np.linalg.norm(direction, axis=-1, keepdims=True)
        moved = np.clip(np.float64(X) + 0.4 * direction, lower, upper) - np.float64(X)
        return np.abs(moved @ np.float64(W)).mean(axis=0) / 0.4

    # means of 2000 and of 4000 draws, each of relative deviation below 0.8: five standard errors
    right = drawn(np.ones(D, bool), np.full(D, -1e9), np.full(D, 1e9)), drawn(FREE, LOWER, UPPER)
    for name, value in zip(names, right, strict=True):
        np.testing.assert_allclose(found[name], value, rtol=0.12)
    assert np.abs(right[1] / right[0] - 1).max() > 0.3
