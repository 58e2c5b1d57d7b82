"""Designs: numbers of grids from the data, values of readings from a pilot, and the exact law as a control variate."""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np
import pytest
from scipy import stats

import ntkrobust as ntr
from ntkrobust.bounds.claims import Assumption, Claim, DecreasesIn, IncreasesIn, Reading
from ntkrobust.bounds.claims.facts import Facts
from ntkrobust.bounds.papers.catalogue import catalogue, load
from ntkrobust.bounds.papers.sizes import PRESETS, SIZES, sizes_for
from ntkrobust.data import Dataset
from ntkrobust.data import load as load_data
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.studies import pilot
from ntkrobust.studies.control import controlled
from ntkrobust.studies.facts import facts_of
from ntkrobust.studies.formulas import Known
from ntkrobust.workflows.resolving import claim_at

MNIST = Facts(n=8000, d=784, o=1, scale=1.0, class_distance=0.1064)


def _sphere(n: int = 64, d: int = 8) -> Dataset:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.sign(x[:, :1])
    half = n // 2
    return Dataset(x[:half], y[:half], x[half:], y[half:], name="points of the tests", task="classification")


def test_the_digits_have_the_numbers_of_the_presets() -> None:
    facts = facts_of(load_data("digits"))
    for preset in PRESETS:
        designed = dataclasses.asdict(sizes_for(preset, facts))
        stated = dataclasses.asdict(SIZES[preset])
        for field in ("radius_in_words", "threshold_in_words"):
            assert designed.pop(field)
            stated.pop(field)
        assert designed == stated, preset


def test_widths_are_counted_in_interpolation_thresholds() -> None:
    # m (d + o) = n o, by hand: 785 parameters a neuron, 3140 points for four of them.
    sizes = sizes_for("quick", MNIST)
    assert sizes.n_under == 4 * 785
    assert sizes.under_widths == (1, 2, 4)
    assert all(width * 785 <= 3140 for width in sizes.under_widths)
    ten = sizes_for("quick", dataclasses.replace(MNIST, d=64, o=10))
    # 128·10/74 = 17.3 neurons; 8 times as many, to a power of two
    assert ten.over_widths == (128, 256, 512, 1024)
    assert ten.under_widths == tuple(round(share * 512 * 10 / 74) for share in (0.25, 0.5, 0.9))


def test_radii_are_shares_of_the_distance_between_classes() -> None:
    claim = next(one for one in catalogue("quick", MNIST) if one.id == "wu2021/stability/measured@trades-2")
    assert claim.grid["epsilon"] == (0.017,)
    assert claim.reading.adversary is not None
    assert claim.reading.adversary.epsilon == 0.017
    assert math.isclose(0.017, 0.1565 * 0.1064, rel_tol=0.03)
    assert "0.106" in claim.design
    # without classes, of the length of an input
    assert sizes_for("quick", dataclasses.replace(MNIST, class_distance=None, scale=2.0)).radius == 0.31


def test_measures_before_training_are_those_of_untrained_networks() -> None:
    data, net = _sphere(), ntr.MLP(depth=3, width=16)
    run = ntr.train(net, data.x_train, data.y_train, seeds=3, steps=5)
    before = ntr.measures.Untrained(ntr.measures.PerturbationStability())
    both = ntr.measure(run, data.x_test, [before, "perturbation_stability"]).isel(time=-1)
    expected = measure_untrained(net, data.x_test, seeds=3).perturbation_stability
    np.testing.assert_allclose(both.untrained_perturbation_stability, expected, rtol=1e-5)
    assert not np.allclose(both.perturbation_stability, expected, rtol=1e-3)
    assert before.name == "untrained_perturbation_stability"
    assert "before training" in before.definition
    with pytest.raises(InputError, match="must be a measure"):
        ntr.measures.Untrained("perturbation_stability")


def _experiments(count: int, n: int, correlation: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(count, n) skewed values of mean 1, and as skewed values of mean 1 of the same networks before training."""
    before = rng.normal(size=(count, n))
    after = correlation * before + math.sqrt(1 - correlation**2) * rng.normal(size=(count, n))
    spread = 0.2
    return tuple(np.exp(spread * one - spread**2 / 2) for one in (after, before))  # type: ignore[return-value]


@pytest.mark.parametrize("correlation", [0.0, 0.7, 0.95])
def test_the_law_controls_without_moving_the_mean(correlation: float) -> None:
    count, n = 3000, 16
    after, before = _experiments(count, n, correlation, np.random.default_rng(0))
    adjusted = np.array([controlled(one, other, 1.0) for one, other in zip(after, before, strict=True)])
    means = adjusted.mean(axis=1)
    assert abs(means.mean() - 1) < 4 * means.std() / math.sqrt(count)
    left = means.var() / after.mean(axis=1).var()
    # an estimated slope costs about 1/n
    assert left < 1.25 * (1 - correlation**2) + 0.02
    t = (means - 1) / (adjusted.std(axis=1, ddof=1) / math.sqrt(n))
    for level in (0.05, 0.01):
        wrong = np.mean(np.abs(t) > stats.t.ppf(1 - level / 2, n - 1))
        plain = (after.mean(axis=1) - 1) / (after.std(axis=1, ddof=1) / math.sqrt(n))
        asked = max(level, np.mean(np.abs(plain) > stats.t.ppf(1 - level / 2, n - 1)))
        assert wrong < asked + 4 * math.sqrt(asked / count), (level, wrong)
    # A law that is wrong by 5 % is noticed where it matters.
    planted = np.array([controlled(one, other, 1.05) for one, other in zip(after, before, strict=True)]).mean(axis=1)
    if correlation:
        assert abs(planted.mean() - 1) > 8 * planted.std() / math.sqrt(count)


def test_slopes_leave_out_the_network_they_correct() -> None:
    after, before = _experiments(1, 14, 0.5, np.random.default_rng(3))
    found = controlled(after[0], before[0], 1.0)
    for index in range(14):
        others = np.arange(14) != index
        slope = np.polyfit(before[0][others], after[0][others], 1)[0]
        assert math.isclose(found[index], after[0][index] - slope * (before[0][index] - 1.0), rel_tol=1e-9)
    # too few networks, or nothing to regress on
    assert controlled(after[0][:6], before[0][:6], 1.0) is not None
    np.testing.assert_array_equal(controlled(after[0][:6], before[0][:6], 1.0), after[0][:6])
    np.testing.assert_array_equal(controlled(after[0], np.ones(14), 1.0), after[0])


def test_trained_cells_are_controlled_by_the_exact_law() -> None:
    claim = Claim(
        "own/lazy", "grows", IncreasesIn("depth"), "perturbation_stability",
        {"initialization": ("he",), "depth": (2, 3, 4), "width": (32,)},
        reading=Reading("equal scaled time", 0.2),
    )  # fmt: skip
    verdicts = ntr.verify([claim], data=_sphere(), seeds=16)
    (verdict,) = verdicts
    assert all(cell.variance_left < 0.2 for cell in verdict.cells)
    measured = verdicts.evidence["measured"]
    for cell, position in zip(verdict.cells, range(3), strict=True):
        raw = measured.perturbation_stability.values[position]
        assert abs(cell.values.mean() - raw.mean()) < 4 * raw.std() / math.sqrt(16)
        assert np.isfinite(measured.untrained_perturbation_stability.values[position]).all()


def _piloted(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> Claim:
    monkeypatch.setattr(pilot, "NETWORKS", 2)
    data = _sphere()
    drawn = pilot.pilot_networks(data, jax.random.key(0), 8)
    known = Known.of(data, 8)
    (found,) = pilot.settled([claim], known, drawn=drawn, seeds=2, progress=lambda text, done, total: None)
    return found


def test_a_pilot_finds_the_time_at_which_networks_are_lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = Assumption("κ_t < 0.02", lambda lazy_ratio: lazy_ratio < 0.02, ("lazy_ratio",))
    claim = Claim(
        "own/lazy", "grows", IncreasesIn("width"), "perturbation_stability",
        {"initialization": ("he",), "depth": (2,), "width": (16, 24, 32)},
        reading=Reading("equal scaled time", 20.0), assumptions=(lazy,), alternatives=(4.0, 0.05),
    )  # fmt: skip
    found = _piloted(claim, monkeypatch)
    assert found.reading.value == 0.05
    assert not found.alternatives
    assert "read at 0.05, not 20" in found.design
    assert "lazy_ratio" in found.design
    never = dataclasses.replace(claim, assumptions=(dataclasses.replace(lazy, holds=lambda lazy_ratio: False),))
    kept = _piloted(never, monkeypatch)
    assert kept.reading.value == 20.0
    assert "of 20, 4, 0.05 no value serves" in kept.design


def test_a_pilot_finds_a_loss_that_networks_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim(
        "own/loss", "falls", DecreasesIn("width"), "perturbation_stability",
        {"initialization": ("he",), "depth": (2,), "width": (8, 16, 32)},
        reading=Reading("equal loss", 1e-9, budget=4), alternatives=(3.0,),
    )  # fmt: skip
    found = _piloted(claim, monkeypatch)
    assert found.reading.value == 3.0
    assert "networks reached loss 1e-09" in found.design


def test_alternatives_are_checked() -> None:
    claim = load("zhu2022/depth-lecun/measured@equal-scaled-time")
    assert claim.alternatives
    assert claim.read_at(1.0).alternatives == ()
    for bad in ((0.0,), ("a",), (-1.0,)):
        with pytest.raises(InputError, match="alternatives"):
            dataclasses.replace(claim, alternatives=bad)
    with pytest.raises(InputError, match="alternatives are for a reading"):
        dataclasses.replace(load("law/second-moment"), alternatives=(1.0,))


def test_a_cell_is_read_at_the_time_that_is_asked_for() -> None:
    claim = load("limit/lazy-stability@equal-scaled-time")
    one = claim_at(claim, {"initialization": "he", "depth": 2, "time": 0.5})
    assert one.reading.value == 0.5
    with pytest.raises(InputError, match="has no value to be set by time"):
        claim_at(load("limit/untrained-stability"), {"depth": 2, "time": 1.0, "activation": "relu"})
