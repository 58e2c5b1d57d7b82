"""Training against intervals: the loss against certificates and a second formula, and what it does to the gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust import InputError
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.training.intervals import worst_loss

RNG = np.random.default_rng(8)
X = RNG.uniform(0, 1, (12, 5)).astype(np.float32)
SIGNS = np.where(X[:, :1] > 0.5, 1.0, -1.0)
ONE_HOT = np.eye(3)[RNG.integers(0, 3, 12)]
PHI = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}


@pytest.mark.parametrize("norm", ["l2", "l1", pytest.param("linf", marks=pytest.mark.slow)])
def test_the_worst_loss_of_one_output_is_that_of_the_interval_certificate(norm: str) -> None:
    """Σ log(1 + e^{−m}), m the margins of ``certify``, which come from another code in float64."""
    net = ntr.MLP(3, 8, 1, bias_std=0.3, parameterization="ntk")
    run = ntr.train(net, X, SIGNS, seeds=2, steps=0, loss="cross_entropy", bounds=(0, 1), movable=[True] * 4 + [False])
    adversary = ntr.Adversary(0.2, norm=norm, objective="interval")
    found = ntr.objective_parts(run, X, SIGNS, adversary=adversary)

    def expected(epsilon: float) -> np.ndarray:
        at = ntr.certify(run, X, SIGNS, epsilon=epsilon, norm=norm, method="interval", evaluation="real")
        return np.logaddexp(0, -at.margin.values).mean(axis=1)

    worst = (found.natural + found.regularization)[:, 0]
    np.testing.assert_allclose(worst, expected(0.2), rtol=2e-5)
    assert (np.abs(worst / expected(0.19) - 1) > 1e-3).all()


@pytest.mark.fast
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("activation", PHI)
def test_the_worst_loss_of_several_outputs(activation: str, loss: str) -> None:
    """Ends as sums of the smaller and the larger products, sample by sample; and points of the ball are below."""
    net = ntr.MLP(3, 6, 3, activation=activation)
    radius, scales = 0.15, net.layer_scales(5)
    weights = [RNG.normal(0, 0.7, shape) for shape in net.layer_shapes(5)]
    parameters = ntr.networks.parameters.Parameters(tuple(jnp.float32(weight) for weight in weights), ())
    ball = Ball.around(jnp.asarray(X), jnp.float32(radius), jnp.float32(0), jnp.float32(1))
    found = float(worst_loss(loss, "linf", net.model(), scales, parameters, ball, jnp.float32(ONE_HOT)))
    wide = [np.float64(gain) * np.float32(weight) for gain, weight in zip(scales.weight_gain, weights, strict=True)]

    def passed(weight: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        products = np.stack([weight * low, weight * high])
        return products.min(axis=0).sum(axis=1), products.max(axis=0).sum(axis=1)

    def loss_of(f: np.ndarray, y: np.ndarray) -> float:
        return 0.5 * np.sum((f - y) ** 2) if loss == "squared" else -y @ (f - np.log(np.exp(f).sum()))

    total, seen = 0.0, 0.0
    for x, y in zip(np.float64(X), ONE_HOT, strict=True):
        low, high = np.maximum(x - radius, 0), np.minimum(x + radius, 1)
        points = RNG.uniform(low, high, (50, 5))
        for weight in wide[:-1]:
            low, high = (PHI[activation](end) for end in passed(weight, low, high))
            points = PHI[activation](points @ weight.T)
        seen += max(loss_of(f, y) for f in points @ wide[-1].T)
        if loss == "squared":
            ends = np.stack(passed(wide[-1], low, high))
            total += 0.5 * np.sum(np.max((ends - y) ** 2, axis=0))
        else:
            k = int(np.argmax(y))
            total += np.log(sum(np.exp(passed((row - wide[-1][k])[None], low, high)[1][0]) for row in wide[-1]))
    assert found == pytest.approx(total, rel=1e-5)
    assert seen < found


def test_it_closes_the_gap_that_attacks_leave() -> None:
    """Digits: of interval-trained networks all is certified that attacks leave, and more than of others."""
    data = ntr.data.load("digits-3-vs-rest").subset(200, 60)
    found = {}
    for objective, strength in (("generalized", 1.0), ("interval", 0.3)):
        run = ntr.train(
            ntr.MLP(3, 24, data.o), data.x_train, data.y_train, seeds=2, steps=400, optimizer="adam",
            learning_rate=0.01, loss="cross_entropy", bounds=data.bounds,
            adversary=ntr.Adversary(0.03, strength, objective=objective),
        )  # fmt: skip
        shares = [ntr.measures.CertifiedAccuracy(0.03).rename("certified"), "robust_accuracy_by_pgd"]
        measured = ntr.measure(run, data.x_test, shares, y_test=data.y_test, epsilon=0.03).isel(time=-1).mean("seed")
        found[objective] = float(measured.certified), float(measured.robust_accuracy_by_pgd)
    gaps = {name: attacked - certified for name, (certified, attacked) in found.items()}
    assert gaps["interval"] < 0.02
    assert gaps["generalized"] > 0.05
    assert found["interval"][0] > found["generalized"][0] + 0.05


def test_networks_without_intervals_are_refused() -> None:
    adversary = ntr.Adversary(0.1, objective="interval")
    run = ntr.train(ntr.MLP(2, 4, activation="gelu"), X, SIGNS, seeds=1, steps=0)
    for asked in (
        lambda: ntr.train(ntr.MLP(2, 4, activation="gelu"), X, SIGNS, seeds=1, steps=1, adversary=adversary),
        lambda: ntr.train(ntr.MLP(2, 4, activation=jnp.sin), X, SIGNS, seeds=1, steps=1, adversary=adversary),
        lambda: ntr.train(ntr.ConvNet(2, 2, (5, 1, 1)), X, SIGNS, seeds=1, steps=1, adversary=adversary),
        lambda: ntr.objective_parts(run, X, SIGNS, adversary=adversary),
    ):
        with pytest.raises(InputError, match="fully connected networks whose activation rises") as caught:
            asked()
        assert "\n" not in str(caught.value)


def test_words_and_json() -> None:
    adversary = ntr.Adversary(0.1, norm="l2", objective="interval")
    assert adversary.in_words() == "intervals of ℓ2 balls to 0.1"
    assert ntr.Adversary.from_json(adversary.as_json()) == adversary
    assert jax.tree.leaves(adversary.numbers(ntr.domain.Domain(3)))
