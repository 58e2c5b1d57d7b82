"""Readings after steps of an optimizer and at t = ∞; wrong labels, adversaries, test points of a claim's own."""

from pathlib import Path

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.toml_file import claims_in_toml
from ntkrobust.errors import InputError
from ntkrobust.finite.training.train import train
from ntkrobust.workflows.verify import POINTS

NET = {"initialization": ("he",), "depth": (2,), "n": (48,)}
ADAM = {"optimizer": "adam", "learning_rate": 0.01}
STABILITY = Quantity("infinite_stability", lambda infinite_width: infinite_width, "P")


def claim(relation, measure, grid, reading, **more):
    return ntr.Claim("test/readings", "", relation, measure, NET | grid, reading=reading, **more)


@pytest.fixture(scope="module")
def digits():
    return ntr.data.load("digits")


def measured(verdict_of, **how):
    return ntr.verify([verdict_of], **how).evidence["measured"].to_dataset()


def test_after_fixed_steps_of_an_optimizer_networks_are_those_that_train_gives(digits):
    reading = ntr.Reading("fixed steps", 20, **ADAM)
    found = measured(
        claim(ntr.AtLeast(lambda: 0.0), "train_loss", {"width": (16,), "label_noise": (0.0, 0.25)}, reading), seeds=3
    )
    assert (found.step == 20).all()
    assert set(found.optimizer.values) == {"adam"}
    for index, share in enumerate(found.label_noise.values):
        y = digits.noisy_targets(48, share)
        run = train(
            ntr.MLP(depth=2, width=16), digits.x_train[:48], y, seeds=3, steps=20, record_steps=[20],
            optimizer="adam", learning_rate=0.01,
        )  # fmt: skip
        np.testing.assert_allclose(found.train_loss[index], run.loss[:, -1], rtol=1e-5)
    # A quarter of the labels wrong is another training set.
    assert (abs(found.train_loss[0] / found.train_loss[1] - 1) > 1e-2).any()


def test_at_convergence_closed_forms_are_read_at_infinite_time_with_the_labels_of_the_cell(digits):
    shares = (0.0, 0.1, 0.25)
    stated = claim(
        ntr.IncreasesIn("label_noise"), STABILITY, {"width": (64,), "label_noise": shares}, ntr.Reading("converged")
    )
    verdict = ntr.verify(stated)
    found = [cell.values.item() for cell in verdict.cells]
    x = digits.x_test[:POINTS]
    for share, value in zip(shares, found, strict=True):
        y = digits.noisy_targets(48, share)
        ensemble = ntr.InfiniteEnsemble(ntr.MLP(depth=2, width=64), digits.x_train[:48], y)
        assert value == pytest.approx(float(np.mean(ensemble.at(np.inf).perturbation_stability(x))), rel=1e-10)
        assert value != pytest.approx(float(np.mean(ensemble.at(1.0).perturbation_stability(x))), rel=1e-2)
    assert verdict.label == "supported"
    assert found[2] > 1.05 * found[0]


def test_networks_are_not_read_at_infinite_time():
    with pytest.raises(InputError, match="never reach t = ∞"):
        ntr.verify(claim(ntr.AtLeast(lambda: 0.0), "perturbation_stability", {"width": (8,)}, ntr.Reading("converged")))


def test_a_peak_at_interpolation_is_found_and_a_trend_across_it_refuted():
    reading = ntr.Reading("fixed steps", 1500, **ADAM)
    grid = {"width": (1, 2, 4, 12, 32), "n": (64,), "label_noise": (0.2,)}
    turn = ntr.Claim("test/turn", "", ntr.RisesThenFalls("width", 0.1), "perturbation_stability", NET | grid,
                     reading=reading)  # fmt: skip
    trend = ntr.Claim("test/trend", "", ntr.DecreasesIn("width"), "perturbation_stability", NET | grid, reading=reading)
    peak, falls = ntr.verify([turn, trend], seeds=24)
    assert peak.turning_point is not None
    assert 1 < peak.turning_point.estimate < 32
    assert peak.label != "refuted"
    assert falls.label == "refuted"


ATTACKED = ntr.Reading(
    "fixed steps", 30, **ADAM, loss="cross_entropy", adversary=ntr.Adversary(0.03, objective="trades", steps=3)
)


def test_networks_of_a_reading_with_an_adversary_are_those_that_train_gives(digits):
    grid = {"width": (16,), "epsilon": (0.03,), "strength": (0.5, 8.0)}
    stated = claim(ntr.AtLeast(lambda: 0.0), "prediction_stability_by_pgd", grid, ATTACKED, points=128)
    verdicts = ntr.verify([stated], seeds=4)
    found = verdicts.evidence["measured"].to_dataset()
    assert verdicts[0].points == 128
    for index, strength in enumerate(found.strength.values):
        run = train(
            ntr.MLP(depth=2, width=16), digits.x_train[:48], digits.y_train[:48], seeds=4, steps=30, record_steps=[30],
            optimizer="adam", learning_rate=0.01, loss="cross_entropy",
            adversary=ntr.Adversary(0.03, strength=strength, objective="trades", steps=3),
        )  # fmt: skip
        shares = ntr.measure(run, digits.x_test[:128], ["prediction_stability"], epsilon=0.03).prediction_stability
        np.testing.assert_allclose(found.prediction_stability_by_pgd[index], shares.isel(time=-1), atol=1 / 128 + 1e-6)
    assert abs(found.prediction_stability_by_pgd.mean("seed").diff("cell")).item() > 0.02


def test_trends_in_what_bounds_something_are_not_decided_and_trends_in_what_the_attack_finds_are():
    grid = {"width": (16,), "epsilon": (0.03,), "strength": (0.0, 0.2, 2.0)}
    reading = ntr.Reading(
        "fixed steps", 150, **ADAM, loss="cross_entropy", adversary=ntr.Adversary(0.03, objective="trades", steps=3)
    )
    pair = [
        ntr.Claim(f"test/{name}", "", ntr.IncreasesIn("strength", 0.02), name, NET | grid, reading=reading, points=200)
        for name in ("prediction_stability", "prediction_stability_by_pgd")
    ]
    bound, seen = ntr.verify(pair, seeds=12)
    assert bound.label == "inconclusive"
    assert seen.label == "supported"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ntr.Reading("equal loss", 0.1, adversary=ntr.Adversary(0.1)), "read after fixed steps"),
        (lambda: ntr.Reading("fixed steps", 5, **ADAM, adversary=3), "must be an Adversary or None"),
        (lambda: ntr.Reading("fixed steps", 5, **ADAM, adversary={"epsilon": -1.0}), "epsilon"),
        (lambda: ntr.Reading("fixed steps", 5, **ADAM, loss="hinge"), "the loss of a reading"),
        (lambda: ntr.Reading("fixed steps", 5, **ADAM, batch_size=0), "the batch size of a reading"),
        (
            lambda: ntr.verify(
                claim(ntr.AtLeast(lambda: 0.0), "train_loss", {"width": (8,), "strength": (1.0,)},
                      ntr.Reading("fixed steps", 5, **ADAM))
            ),
            "needs a reading with an adversary",
        ),
        (
            lambda: ntr.verify(
                claim(ntr.AtLeast(lambda: 0.0), "train_loss", {"width": (8,), "strength": (-1.0,)}, ATTACKED)
            ),
            "strength",
        ),
        (lambda: claim(ntr.AtLeast(lambda: 0.0), "train_loss", {"width": (8,)}, ATTACKED, points=0), "points is None"),
    ],
)  # fmt: skip
def test_bad_readings_get_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_toml_claim_may_name_an_adversary(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        id = "mine/stability"
        relation = "increases in"
        axis = "strength"
        measure = "prediction_stability_by_pgd"
        points = 64
        grid = { depth = [2], width = [8], n = [32], epsilon = [0.05], strength = [0.0, 1.0, 2.0] }
        [reading]
        time = "fixed steps"
        value = 5
        optimizer = "adam"
        learning_rate = 0.01
        loss = "cross_entropy"
        adversary = { epsilon = 0.05, norm = "l2", steps = 2, bounds = [-1.0, 1.0] }
        """
    )
    (stated,) = claims_in_toml(path)
    assert stated.points == 64
    assert stated.reading.adversary == ntr.Adversary(0.05, norm="l2", steps=2, bounds=(-1.0, 1.0))
    assert "ℓ2" in str(stated.reading)
