"""A time is that of gradient flow: numbers of verdicts beside flows that scipy integrates in float64."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import erf
from scipy.stats import t as student

import ntkrobust as ntr
from ntkrobust.bounds.statistics.comparisons import Change, Level
from ntkrobust.bounds.statistics.limits import confidence_interval
from ntkrobust.bounds.statistics.samples import Sample
from ntkrobust.errors import InputError
from ntkrobust.finite.training.train import train
from ntkrobust.studies import cell_work, time_error
from ntkrobust.studies.cell_work import CellWork
from ntkrobust.studies.cells import cells_of
from ntkrobust.studies.time_error import TOLERANCES, Trained, halved_until_still

DIGITS = ntr.data.load("digits")
N, POINTS, SEEDS = 8, 16, 4
STEPS = 60
"""Of the scheme with fixed steps, in one unit 1/λ_max of time: twice as many change means by 1e-4."""
X, Y = np.float64(DIGITS.x_train[:N]), np.float64(DIGITS.y_train[:N, 0])
TEST = np.float64(DIGITS.x_test[:POINTS])
SLACK = 2e-3
"""What float32 and the reference may add to the stated time error, relative to the mean."""

PHI = {
    "relu": (lambda u: np.maximum(u, 0), lambda u: np.float64(u > 0)),
    "erf": (erf, lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2))),
}


@dataclasses.dataclass(frozen=True)
class Reference:
    """Networks f(x) = W_L φ(… φ(W_1 x)), from where the package draws them, in float64 numpy."""

    net: ntr.MLP
    phi: str

    def passes(self, weights, x):
        """f (n,), what each layer is given, and ∂f/∂(pre-activations) of each hidden layer."""
        value, slope = PHI[self.phi]
        given, inner = [x], []
        for layer in weights[:-1]:
            inner.append(given[-1] @ layer.T)
            given.append(value(inner[-1]))
        back = [weights[-1] * slope(inner[-1])]
        for layer, u in zip(weights[-2:0:-1], inner[-2::-1], strict=True):
            back.insert(0, back[0] @ layer * slope(u))
        return given[-1] @ weights[-1][0], given, back

    def by_weights(self, weights):
        """(n, p) the outputs at the training points, differentiated by all weights."""
        _, given, back = self.passes(weights, X)
        pairs = zip([*back, np.ones((N, 1))], given, strict=True)
        return np.concatenate([np.einsum("ni,nj->nij", b, h).reshape(N, -1) for b, h in pairs], axis=1)

    def drawn(self, seeds=SEEDS):
        layers = train(self.net, X, Y[:, None], seeds=seeds, steps=0).parameters.weights
        return [[np.float64(layer[seed]) for layer in layers] for seed in range(seeds)]

    def largest(self, weights):
        by = self.by_weights(weights)
        return np.linalg.eigvalsh(by @ by.T)[-1]

    def gradient_norm(self, *, until=None, level=None):
        """The mean of ‖∂f/∂x‖ over networks and test points, after t = until/λ_max of each, or at a relative loss."""
        found = []
        for start in self.drawn():
            cuts = np.cumsum([layer.size for layer in start])[:-1]
            shapes = [layer.shape for layer in start]

            def apart(theta, cuts=cuts, shapes=shapes):
                return [part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes, strict=True)]

            def velocity(theta, apart=apart):
                weights = apart(theta)
                return -self.by_weights(weights).T @ (self.passes(weights, X)[0] - Y)

            def loss(theta, apart=apart):
                return np.sum((self.passes(apart(theta), X)[0] - Y) ** 2) / np.sum(Y**2)

            theta, unit = np.concatenate([layer.ravel() for layer in start]), 1 / self.largest(start)
            if level is not None:
                theta = to_level(velocity, loss, theta, unit / STEPS, level)
            elif self.phi == "relu":
                for _ in range(round(until * STEPS)):
                    theta = runge_kutta(velocity, theta, unit / STEPS)
            else:
                flow = solve_ivp(
                    lambda t, theta, of=velocity: of(theta), (0, until * unit), theta, rtol=1e-6, atol=1e-9
                )
                theta = flow.y[:, -1]
            weights = apart(theta)
            found.append(np.mean(np.linalg.norm(self.passes(weights, TEST)[2][0] @ weights[0], axis=1)))
        return float(np.mean(found))


def runge_kutta(velocity, theta, h):
    """One step of the classical scheme of order four. Where the flow slides along a kink, solve_ivp would not end."""
    first = velocity(theta)
    second = velocity(theta + h / 2 * first)
    third = velocity(theta + h / 2 * second)
    return theta + h / 6 * (first + 2 * second + 2 * third + velocity(theta + h * third))


def to_level(velocity, loss, theta, h, level):
    """The flow where the loss is at a level: steps, the last of which is shortened."""
    while loss(after := runge_kutta(velocity, theta, h)) > level:
        theta = after
    last = brentq(lambda size: loss(runge_kutta(velocity, theta, size)) - level, 0, h, rtol=1e-6)
    return runge_kutta(velocity, theta, last)


RELU = Reference(ntr.MLP(depth=3, width=12, initialization="he"), "relu")
ERF = Reference(ntr.MLP(depth=3, width=12, initialization="he", activation="erf"), "erf")

CASES = {
    "relu at t·λ = 4": (RELU, ("equal scaled time", 4.0), {"until": 4.0}),
    "relu at loss 0.6": (RELU, ("equal loss", 0.6), {"level": 0.6}),
    "erf at t·λ = 4": (ERF, ("equal scaled time", 4.0), {"until": 4.0}),
}


def verdict_on(reference: Reference, reading: ntr.Reading):
    """A verdict whose one cell holds the networks of the reference."""
    grid = {"initialization": ("he",), "activation": (reference.phi,), "depth": (reference.net.depth,),
            "width": (reference.net.width,), "n": (N,)}  # fmt: skip
    claim = ntr.Claim("test/time", "", ntr.AtLeast(lambda: 0.0), "jacobian_frobenius", grid, reading)
    return ntr.verify(claim, seeds=SEEDS, points=POINTS)


def off(verdict, right: float) -> float:
    """By how much more than the stated time error a cell's mean is off, relative to what is right."""
    (cell,) = verdict.cells
    assert not cell.problem
    return (abs(float(np.mean(cell.values)) - right) - cell.time_error) / right


def three_steps(monkeypatch) -> None:
    """The planted fault: gradient descent at the automatic rate, η λ_max ≤ 1, in place of gradient flow."""

    def descend(net, x, y, *, tolerance, optimizer, **how):
        return train(net, x, y, **how)

    monkeypatch.setattr(cell_work, "train", descend)


@pytest.mark.parametrize("case", CASES)
def test_networks_are_read_where_gradient_flow_is(case, figure, monkeypatch):
    reference, reading, asked = CASES[case]
    right = reference.gradient_norm(**asked)
    verdict = verdict_on(reference, ntr.Reading(*reading))
    figure(f"time: ‖J‖, {case}", float(np.mean(verdict.cells[0].values)), right, "solve_ivp in float64")
    assert off(verdict, right) < SLACK
    # half a percent of the mean, or half a standard error, is what may be left
    assert verdict.cells[0].relative_time_error < 0.1

    three_steps(monkeypatch)
    assert off(verdict_on(reference, ntr.Reading(*reading)), right) > 4 * SLACK


def test_a_time_error_that_is_stated_is_at_least_the_one_that_is_made(monkeypatch):
    """At tolerances that are far too large, which are accepted whatever the pilot says."""
    for module in (cell_work, time_error):
        monkeypatch.setattr(module, "TOLERANCES", (0.5, 0.0625, 0.0078))
    monkeypatch.setattr(cell_work, "PILOT", SEEDS)
    monkeypatch.setattr(time_error, "SMALLEST", 1.0)
    right = RELU.gradient_norm(until=4.0)
    verdict = verdict_on(RELU, ntr.Reading("equal scaled time", 4.0))
    (cell,) = verdict.cells
    made = abs(float(np.mean(cell.values)) / right - 1)
    assert SLACK < made < cell.relative_time_error


def test_steps_are_halved_until_what_they_change_does_not_matter():
    """Errors that are proportional to the tolerance: at the one that serves, the stated error is at least the true."""
    rng = np.random.default_rng(0)
    right = 1 + 0.02 * rng.standard_normal(4)
    levels = []

    def of_error(largest: float):
        def at(level: int) -> Trained[None]:
            levels.append(level)
            values = {"m": right + largest * TOLERANCES[level] / TOLERANCES[0]}
            return Trained(level, values, arrived=True, diverged=False, state=None)

        return at

    for largest, level, asked in ((0.001, 0, [0, 1]), (0.03, 1, [0, 1, 2]), (0.9, 2, [0, 1, 2])):
        levels.clear()
        served, error = halved_until_still(of_error(largest), networks=400)
        assert (served.level, levels) == (level, asked)
        true = float(np.mean(served.values["m"] - right))
        assert 0.8 * true <= error["m"]
        assert error["m"] <= 8 * true + 1e-12


def test_intervals_and_tests_allow_for_the_time_error(figure):
    values = 1.05 + 0.01 * np.random.default_rng(1).standard_normal((1, 200))
    mean, half = values.mean(), student.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    exact, allowing = Level(Sample(values)), Level(Sample(values, time_error=0.06))
    low, high = confidence_interval(allowing)
    figure("time: interval ± 0.06", f"[{low:.4f}, {high:.4f}]", f"[{mean - half - 0.06:.4f}, {mean + half + 0.06:.4f}]",
           "t interval by hand")  # fmt: skip
    assert (low, high) == pytest.approx((mean - half - 0.06, mean + half + 0.06), rel=1e-3)
    assert allowing.p_above(1.0).item() > 0.5 > 1e-6 > exact.p_above(1.0).item()
    # of a ratio: (1 ± 0.02)/(1 ∓ 0.03) in the worst case
    later, earlier = Sample(2 * values, time_error=0.02 * 2 * mean), Sample(values[:, ::-1], time_error=0.03 * mean)
    inner = confidence_interval(Change(Sample(later.values), Sample(earlier.values)))
    outer = confidence_interval(Change(later, earlier))
    assert outer == pytest.approx((inner[0] * 0.98 / 1.03, inner[1] * 1.02 / 0.97), rel=1e-5)


def test_one_time_for_all_is_one_time_along_training_points_too(figure, monkeypatch):
    grid = {"initialization": ("he",), "activation": ("erf",), "depth": (3,), "width": (12,), "n": (4, 6, 8)}
    claim = ntr.Claim("test/n", "", ntr.IncreasesIn("n"), "jacobian_frobenius", grid, ntr.Reading("equal time", 1.0))
    units = {cell.unit for _, cell in cells_of(claim, DIGITS)}
    assert {unit.n for unit in units} == {4}
    times = [CellWork(DIGITS, jax.random.key(0), POINTS)._schedule(cell)["record_times"][0]
             for _, cell in cells_of(claim, DIGITS)]  # fmt: skip
    figure("time: t along n", f"×{max(times) / min(times):.6g}", "×1", "one time for all")
    assert max(times) == min(times)
    # The planted fault: the unit of each cell is of its own training points.
    own = [
        dataclasses.replace(cell, unit=dataclasses.replace(cell.unit, n=cell.n)) for _, cell in cells_of(claim, DIGITS)
    ]
    wrong = [CellWork(DIGITS, jax.random.key(0), POINTS)._schedule(cell)["record_times"][0] for cell in own]
    assert max(wrong) > 1.2 * min(wrong)


@pytest.mark.parametrize("optimizer", ["gd", "adam", "momentum"])
@pytest.mark.parametrize("time", ["equal time", "equal scaled time"])
def test_steps_of_an_optimizer_have_no_time(optimizer, time):
    with pytest.raises(InputError, match="a time of gradient flow") as caught:
        ntr.Reading(time, 4.0, optimizer=optimizer, learning_rate=0.01)
    assert "\n" not in str(caught.value)


def test_a_reading_in_steps_says_steps():
    assert str(ntr.Reading("equal time", 4.0)) == "after one t for all, 4/λ_max of the first cell"
    assert str(ntr.Reading("equal loss", 0.2)) == "at training loss 0.2·½Σ‖y‖²"
    assert ntr.Reading("equal loss", 0.2).optimizer == "gradient_flow"
    in_steps = ntr.Reading("equal loss", 0.2, learning_rate=0.01)
    assert str(in_steps) == "at training loss 0.2·½Σ‖y‖² of gradient descent at rate 0.01"
    assert str(ntr.Reading("fixed steps", 30)) == "after 30 steps of gradient descent"
