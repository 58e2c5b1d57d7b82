"""Certificates against exact values, sampled and attacked points, and other summations."""

import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import ntkrobust as ntr
from ntkrobust import InputError
from ntkrobust.finite.certificates import enumeration, programs, relaxations
from ntkrobust.finite.certificates.bounds import Bounds
from ntkrobust.finite.certificates.graph import graph_of
from ntkrobust.finite.certificates.regions import Region
from ntkrobust.networks.activations import as_activation
from ntkrobust.networks.parameters import Parameters
from ntkrobust.runtime.compiling import PROGRAMS

RNG = np.random.default_rng(0)
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
VALUES = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu(0.2)": lambda z: np.where(z >= 0, z, 0.2 * z),
    "linear": lambda z: z,
    "tanh": np.tanh,
    "erf": scipy.special.erf,
    "gelu": lambda z: z * scipy.special.ndtr(z),
}


def untrained(net: ntr.Network, d: int, n: int = 6, seeds: int = 2, **keywords) -> ntr.Run:
    """Networks as they are drawn, as a run."""
    x = RNG.uniform(0, 1, (n, d)).astype(np.float32)
    y = RNG.choice([-1.0, 1.0], (n, 1)) if net.d_out == 1 else np.eye(net.d_out)[np.arange(n) % net.d_out]
    return ntr.train(net, x, y, seeds=seeds, steps=0, **keywords)


def function(run: ntr.Run, seed: int):
    """x (n, d) to f(x) (n, o), in float64."""

    def evaluate(x: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            wide = jax.tree.map(
                lambda one: jnp.asarray(one, jnp.float64),
                (run.net.layer_scales(run.d_in), jax.tree.map(lambda leaf: leaf[seed], run.parameters)),
            )
            return np.asarray(run.net.model().outputs(*wide, jnp.asarray(x, jnp.float64)))

    return evaluate


def points_of_ball(norm: str, x: np.ndarray, radius: float, count: int) -> np.ndarray:
    """(count, n, d) points of balls around x (n, d), most of them on the surface, many of them corners."""
    shape = (count, *x.shape)
    spread = RNG.normal(size=shape)
    corners = np.sign(spread) if norm != "l1" else np.sign(spread) * (spread == spread.max(axis=-1, keepdims=True))
    step = np.where(np.arange(count)[:, None, None] % 2, spread, corners)
    step /= np.linalg.norm(step, ord=ORDERS[norm], axis=-1, keepdims=True)
    return x + radius * step * np.where(np.arange(count) % 5 == 4, 0.5, 1.0)[:, None, None]


@pytest.mark.fast
@pytest.mark.parametrize("name", VALUES)
def test_lines_enclose_activations(name: str) -> None:
    """Against numpy and scipy, at 400 places of each of 500 intervals from 1e-6 to 20 wide."""
    lower = RNG.normal(0, 2, 500)
    upper = lower + 10.0 ** RNG.uniform(-6, 1.3, 500)
    with jax.enable_x64(True):
        phi, at = as_activation(name), (jnp.asarray(lower), jnp.asarray(upper))
        found = relaxations.Lines(*map(np.asarray, jax.jit(lambda *at: relaxations.lines(phi, *at))(*at)))
        ends = jax.jit(lambda *at: relaxations.value_range(phi, *at))(*at)
    z = lower[:, None] + (upper - lower)[:, None] * np.linspace(0, 1, 400)
    value = VALUES[name](z)
    rounding = 4e-16 * (1 + np.abs(z))

    def is_enclosed(lower_slope, lower_shift, upper_slope, upper_shift) -> np.ndarray:
        below, above = (np.asarray(a)[:, None] * z + np.asarray(b)[:, None]
                        for a, b in ((lower_slope, lower_shift), (upper_slope, upper_shift)))  # fmt: skip
        return ((below <= value + rounding) & (value <= above + rounding)).all(axis=1)

    assert is_enclosed(*found).all()
    assert (np.asarray(ends[0])[:, None] <= value + rounding).all()
    assert (np.asarray(ends[1])[:, None] >= value - rounding).all()
    # They touch: what is between a line and φ comes to nothing somewhere.
    above = np.asarray(found.upper_slope)[:, None] * z + np.asarray(found.upper_shift)[:, None] - value
    assert np.median(above.min(axis=1)) < 1e-3
    # A slope that is off by 1e-4, away from the place where the line is tight.
    tilted = found._replace(upper_slope=found.upper_slope - 1e-4 * np.sign(lower + upper))
    assert not is_enclosed(*tilted).all()


@pytest.mark.parametrize("norm", ["l2", *(pytest.param(one, marks=pytest.mark.slow) for one in ("l1", "linf"))])
def test_a_linear_network_is_certified_as_it_is(norm: str) -> None:
    """f(x) = Ax + b in numpy: least and largest values in a ball are f(x) ∓ r‖A_k‖ in the dual norm."""
    scaled = ntr.Initialization(0.5, 0.4, 0.6, alpha=2.0)
    net = ntr.MLP(3, 8, 3, activation="linear", bias_std=0.5, parameterization="ntk", initialization=scaled)
    run = untrained(net, 5)
    x = run.x_train
    found = ntr.certify(run, x, epsilon=0.3, norm=norm, evaluation="real")
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    for seed in range(2):
        f = function(run, seed)
        matrix = (f(np.eye(5)) - f(np.zeros((1, 5)))).T
        reach = 0.3 * np.linalg.norm(matrix, ord=dual, axis=1)
        np.testing.assert_allclose(found.lower[seed], f(x) - reach, rtol=1e-6, atol=2e-7)
        np.testing.assert_allclose(found.upper[seed], f(x) + reach, rtol=1e-6, atol=2e-7)
        label = np.argmax(f(x), axis=1)
        rows = np.arange(len(x))
        margins = np.stack([
            f(x)[rows, label] - f(x)[:, k]
            - 0.3 * np.linalg.norm(matrix[label] - matrix[k], ord=dual, axis=1) + np.where(label == k, np.inf, 0)
            for k in range(3)
        ])  # fmt: skip
        np.testing.assert_allclose(found.stability_margin[seed], margins.min(axis=0), rtol=1e-6, atol=3e-7)


def violations(run: ntr.Run, norm: str, radius: float, found, x: np.ndarray, ends=(-np.inf, np.inf)) -> int:
    """Outputs at points of the ball and range that are outside of what is certified."""
    count = 0
    for seed in range(len(run.seeds)):
        f = function(run, seed)
        for at in np.clip(points_of_ball(norm, x.astype(np.float64), radius, 60), *ends):
            value = f(at)
            count += np.sum((value < found.lower[seed].values) | (value > found.upper[seed].values))
    return int(count)


NETWORKS = {
    "relu": ntr.MLP(3, 12, 2, bias_std=0.3),
    "leaky": ntr.MLP(3, 8, 1, activation="leaky_relu(0.3)", parameterization="ntk"),
    "tanh": ntr.MLP(2, 10, 2, activation="tanh", bias_std=0.1),
    "erf": ntr.MLP(2, 10, 1, activation="erf"),
    "gelu": ntr.MLP(2, 8, 1, activation="gelu", initialization=ntr.Initialization.from_gains(4.0, 4.0, 1.0)),
    "convolutional": ntr.ConvNet(3, 3, (4, 4, 1), 2, bias_std=0.2),
    "residual": ntr.WideResNet(4, 2, (4, 4, 1), 2),
}


@pytest.mark.parametrize(("name", "norm"), [
    ("relu", "l2"),
    *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("leaky", "l1"), ("tanh", "linf"), ("erf", "l2"),
      ("gelu", "linf"), ("convolutional", "l2"), ("residual", "linf"))),
])  # fmt: skip
def test_nothing_in_the_ball_is_outside(name: str, norm: str) -> None:
    net = NETWORKS[name]
    run = untrained(net, 16 if net.architecture != "fully_connected" else 5)
    x, radius = run.x_train, 0.2
    found = ntr.certify(run, x, epsilon=radius, norm=norm, evaluation="real")
    assert violations(run, norm, radius, found, x) == 0
    # No more than some times what is really there.
    seen = np.ptp([function(run, 0)(at) for at in points_of_ball(norm, x, radius, 60)], axis=0)
    assert ((found.upper - found.lower)[0].values < 60 * seen).all()


@pytest.fixture
def programs_of_their_own():
    """So that what is compiled is what is there by then, and not found again afterwards."""
    programs._certified.cache_clear()
    PROGRAMS.clear()
    yield
    programs._certified.cache_clear()
    PROGRAMS.clear()


@pytest.mark.usefixtures("programs_of_their_own")
def test_slopes_that_are_off_by_a_ten_thousandth_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small balls, where hardly a gate changes: there corners reach what is certified."""
    run = untrained(NETWORKS["relu"], 5)
    x, radius = run.x_train, 0.003
    right = ntr.certify(run, x, epsilon=radius, evaluation="real")
    assert violations(run, "linf", radius, right, x) == 0
    exact = relaxations.lines
    monkeypatch.setattr(
        relaxations, "lines", lambda *of: (lines := exact(*of))._replace(upper_slope=lines.upper_slope - 1e-4)
    )
    programs._certified.cache_clear()
    PROGRAMS.clear()
    planted = ntr.certify(run, x, epsilon=radius, evaluation="real")
    assert violations(run, "linf", radius, planted, x) > 10


def test_the_range_and_what_may_not_move_are_used() -> None:
    """A linear network in two coordinates: the one at the end of its range can only move one way, the other not."""
    net = ntr.MLP(2, 4, 1, activation="linear")
    run = untrained(net, 3)
    x = np.array([[0.0, 0.5, 0.5]], np.float32)
    a = function(run, 0)(np.eye(3))[:, 0]
    for norm in ("l2",):
        found = ntr.certify(run, x, epsilon=0.25, norm=norm, bounds=(0, 1), movable=[True, False, False],
                            evaluation="real", method="crown-interval")  # fmt: skip
        at = a @ x[0]
        np.testing.assert_allclose(found.lower[0, 0, 0], at + min(0, 0.25 * a[0]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.upper[0, 0, 0], at + max(0, 0.25 * a[0]), rtol=1e-5, atol=1e-6)


def test_rounding_is_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a point, in exact arithmetic on fractions; without charges the ends cross the truth."""
    weights = [RNG.normal(size=shape).astype(np.float32) for shape in ((40, 7), (40, 40), (1, 40))]
    x = RNG.normal(size=7).astype(np.float32)
    h = [Fraction(float(one)) for one in x]
    for index, weight in enumerate(weights):
        h = [sum(Fraction(float(a)) * b for a, b in zip(row, h, strict=True)) for row in weight]
        if index < 2:
            h = [max(one, Fraction(0)) for one in h]
    net = ntr.MLP(3, 40)

    def ends(evaluated: bool) -> tuple[float, float]:
        with jax.enable_x64(True):
            free = {"lower": np.full(7, -np.inf, np.float32), "upper": np.full(7, np.inf, np.float32)}
            region = Region.around("linf", jnp.asarray(x), jnp.float32(0), free, evaluated)
            region = region._replace(lower=region.centre, upper=region.centre)

            def least(weights):
                graph = graph_of(net.model(), net.layer_scales(7), Parameters(weights, ()))
                return Bounds(graph, region, "crown", evaluated).least(jnp.asarray([[1.0], [-1.0]]))

            lower, minus_upper = jax.jit(least)(tuple(map(jnp.asarray, weights)))
        return float(lower), -float(minus_upper)

    lower, upper = ends(False)
    size = abs(float(h[0]))
    assert lower < h[0] < upper
    assert upper - lower < 1e-9 * size
    # What float32 makes of it, added up in three orders.
    low, high = ends(True)
    for order in (np.arange(40), np.arange(40)[::-1], RNG.permutation(40)):
        value = x
        for index, weight in enumerate(weights):
            some = order if index else np.arange(7)
            total = np.zeros(len(weight), np.float32)
            for j in some:
                total = total + weight[:, j] * value[j]
            value = np.maximum(total, 0) if index < 2 else total
        assert low < value[0] < high
    assert high - low < 1e-3 * size
    monkeypatch.setattr(Bounds, "unit", 0.0)
    crossed = ends(False)
    assert not crossed[0] < h[0] < crossed[1]


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.2)", "tanh", "erf", "gelu"])
def test_float32_evaluates_activations_as_well_as_it_is_trusted_to(name: str) -> None:
    phi = as_activation(name)
    z = np.concatenate([np.linspace(-9, 9, 200_001), np.geomspace(1e-20, 1, 1000)]).astype(np.float32)
    error = np.abs(np.asarray(phi(jnp.asarray(z)), np.float64) - VALUES[name](z.astype(np.float64)))
    assert (error <= relaxations.evaluated_within(phi) * np.abs(z)).all()


@pytest.fixture(scope="module")
def digits():
    data = ntr.data.load("digits-3-vs-rest").subset(60, 30)
    net = ntr.MLP(3, 16, data.o)
    return ntr.train(net, data.x_train, data.y_train, seeds=3, steps=100, bounds=data.bounds), data


def test_certified_is_never_more_than_what_attacks_leave(digits) -> None:
    """Measures and ``certify`` agree, and stand below what attacks leave, point by point."""
    run, data = digits
    for norm, epsilon in (("l2", 0.15),):
        found = ntr.certify(run, data.x_test, data.y_test, epsilon=[epsilon, 2 * epsilon], norm=norm)
        attacked = ntr.attack(run, data.x_test, data.y_test, epsilon=[epsilon, 2 * epsilon],
                              methods=ntr.attacks.PGD(steps=30, restarts=2, norm=norm))  # fmt: skip
        assert (found.is_certified <= attacked.is_robust).all()
        assert (found.margin <= attacked.margin).all()
        assert (found.certified_accuracy <= attacked.robust_accuracy).all()
        assert float(found.certified_accuracy[:, 0].mean()) > 0.2
        assert (found.certified_accuracy <= found.natural_accuracy).all()
        assert {found[name].attrs["side"] for name in ("certified_accuracy", "margin", "lower")} == {"lower"}
        accuracy = ntr.measures.CertifiedAccuracy(epsilon, norm)
        stability = ntr.measures.CertifiedStability(epsilon, norm, "interval")
        measured = ntr.measure(run, data.x_test, [accuracy, stability], y_test=data.y_test).isel(time=-1)
        np.testing.assert_allclose(measured[accuracy.name], found.certified_accuracy[:, 0], atol=1e-6)
        loose = ntr.certify(run, data.x_test, epsilon=epsilon, norm=norm, method="interval")
        np.testing.assert_allclose(measured[stability.name], loose.certified_stability, atol=1e-6)
        assert (loose.stability_margin <= found.stability_margin[:, 0] + 1e-6).all()
        assert measured[accuracy.name].attrs["side"] == "lower"


@pytest.mark.parametrize("norm", [pytest.param("linf", marks=pytest.mark.slow), "l1"])
def test_between_attacks_and_certificates_lies_what_is_exact(norm: str) -> None:
    """Two outputs of a tiny network: corners and random points from inside, linear bounds from outside; and equal to
    the bounds where no gate changes."""
    run = untrained(ntr.MLP(2, 5, 1, bias_std=0.3), 3, n=2)
    x = run.x_train
    for radius in (0.002, 0.4):
        exact = ntr.certify(run, x, epsilon=radius, norm=norm, method="exact")
        bounded = ntr.certify(run, x, epsilon=radius, norm=norm, evaluation="real")
        assert exact.lower.attrs["side"] == exact.upper.attrs["side"] == "exact"
        assert (bounded.lower <= exact.lower + 1e-6).all()
        assert (bounded.upper >= exact.upper - 1e-6).all()
        seen = np.stack([[function(run, seed)(at) for at in points_of_ball(norm, x, radius, 400)] for seed in (0, 1)])
        assert (exact.lower.values <= seen.min(axis=1) + 1e-6).all()
        assert (exact.upper.values >= seen.max(axis=1) - 1e-6).all()
        gap = np.max(exact.lower.values - bounded.lower.values)
        assert gap < 1e-6 if radius < 0.01 else gap > 1e-3


@pytest.mark.parametrize("name", ["relu", pytest.param("gelu", marks=pytest.mark.slow)])
def test_slopes_in_a_ball_are_below_what_is_certified(name: str) -> None:
    """Jacobians at random points by automatic differentiation, in float64, and what attacks find."""
    measures = ntr.measures
    run = untrained(NETWORKS[name], 5)
    x, radius = run.x_train, 0.1
    found = ntr.measure(run, x, [measures.LocalLipschitzUpper(radius).rename("most"), measures.LocalLipschitz(radius)
                                 .rename("found"), measures.KlGradientUpper(radius).rename("steepest"),
                                 measures.KlGradient(radius).rename("steep")]).isel(time=-1)  # fmt: skip
    assert found.most.attrs["side"] == "upper"
    assert (found.found <= found.most).all()
    assert (found.steep <= found.steepest).all()
    assert (found.most < 8 * found.found).all()
    assert found.steepest.mean() < 10 * found.steep.mean()
    for seed in range(2):
        f = function(run, seed)
        for at in points_of_ball("linf", x.astype(np.float64), radius, 40):
            slopes = np.stack([(f(at + 1e-6 * e) - f(at - 1e-6 * e)) / 2e-6 for e in np.eye(5)], axis=-1)
            assert (np.abs(slopes).sum(axis=(1, 2)) <= found.most[seed].values + 1e-6).all()
    # Where no gate changes, it is the slope at the point; and so are certificates of ``certify``, of its own norm.
    tiny = ntr.certify(run, x, epsilon=1e-5, norm="l2", method="crown-interval", evaluation="real")
    exact = np.linalg.norm(jacobian_at(run, 0, x), axis=2).sum(axis=1)
    np.testing.assert_allclose(tiny.local_lipschitz_upper[0], exact, rtol=1e-3)


def jacobian_at(run: ntr.Run, seed: int, x: np.ndarray) -> np.ndarray:
    """(n, o, d) by differences."""
    f = function(run, seed)
    return np.stack([(f(x + 1e-7 * e) - f(x - 1e-7 * e)) / 2e-7 for e in np.eye(x.shape[1])], axis=-1)


def test_the_global_constant_lies_between_slopes_and_the_product_of_norms() -> None:
    """The recursion of ECLipsE-Fast, in numpy; and for a linear network of one hidden layer no less than ‖W₂W₁‖."""
    net = ntr.MLP(4, 12, 3, activation="erf", initialization=ntr.Initialization(0.5, 0.3, 0.4, alpha=2.0))
    run = untrained(net, 6)
    measures = [ntr.measures.LipschitzUpperEclipse().rename("bound"), ntr.measures.LipschitzUpper()]
    found = ntr.measure(run, run.x_train, measures).isel(time=-1)
    for seed in range(2):
        gains = np.float64(net.layer_scales(6).weight_gain)
        weights = [g * np.float64(w[seed]) for g, w in zip(gains, run.parameters.weights, strict=True)]
        weights[1:] = [2 / np.sqrt(np.pi) * w for w in weights[1:]]
        m = np.eye(6)
        for w in weights[:-1]:
            q = w @ np.linalg.inv(m) @ w.T
            scale = 2 / np.linalg.eigvalsh(q)[-1]
            m = scale * np.eye(len(q)) - scale**2 / 4 * q
        expected = np.sqrt(np.linalg.eigvalsh(weights[-1] @ np.linalg.inv(m) @ weights[-1].T)[-1])
        np.testing.assert_allclose(found.bound[seed], expected, rtol=1e-6)
        assert found.bound[seed] > expected
        product = np.prod([np.linalg.norm(w, 2) for w in weights])
        assert 0.1 * product < found.bound[seed] < 0.9 * product
        largest = np.linalg.norm(jacobian_at(run, seed, run.x_train), ord=2, axis=(1, 2)).max()
        assert largest < found.bound[seed]


def test_radii_are_certified(digits) -> None:
    run, data = digits
    x = data.x_test
    found = ntr.certify(run, x, epsilon=0.15, norm="l2", largest_radius=0.8)
    radii = found.certified_radius.values
    assert (radii[found.is_stable.values == 1] >= 0.15 - 0.8 / 2**11).all()
    assert (radii[found.is_stable.values == 0] <= 0.15).all()
    assert 0.1 < radii.mean() < 0.7
    # All points at the radius of one, which then is as it was; and a little beyond.
    for factor, is_stable in ((1.0, 1), (1.002, 0)):
        at = factor * float(radii[0, 0]) + (factor - 1)
        assert ntr.certify(run, x, epsilon=at, norm="l2").is_stable[0, 0] == is_stable


def test_what_cannot_be_certified_is_refused(digits, monkeypatch: pytest.MonkeyPatch) -> None:
    run, data = digits
    monkeypatch.setattr(enumeration, "MOST_PROGRAMS", 20)
    gelu = ntr.train(ntr.MLP(2, 4, activation="gelu"), data.x_train, data.y_train, seeds=1, steps=0)
    x = data.x_test[:2]
    own = ntr.from_function(lambda key, x: {"w": jnp.ones((data.d, 1))}, lambda p, x: x @ p["w"])
    theirs = ntr.train(own, data.x_train, data.y_train, seeds=1, steps=0)
    custom = ntr.train(ntr.MLP(2, 4, activation=jnp.sin), data.x_train, data.y_train, seeds=1, steps=0)
    for asked, words in [
        (lambda: ntr.certify(theirs, x, epsilon=0.1), "layers of a network"),
        (lambda: ntr.certify(custom, x, epsilon=0.1), "not the function 'sin'"),
        (lambda: ntr.certify(run, x, epsilon=0.1, method="magic"), "method"),
        (lambda: ntr.certify(run, x, epsilon=-1), "epsilon"),
        (lambda: ntr.certify(run, x, epsilon=0.1, norm="l2", method="exact"), "'crown' gives bounds"),
        (lambda: ntr.certify(run, x, epsilon=1, method="exact"), "fewer units"),
        (lambda: ntr.measure(gelu, x, ntr.measures.LipschitzUpperEclipse()), "slopes between 0"),
        (lambda: ntr.certify(run, x, epsilon=0.1, norm="l7"), "norm"),
        (lambda: ntr.certify(run, x[:, 1:], epsilon=0.1), "shape"),
        (lambda: ntr.measures.CertifiedAccuracy(0.1, "l7"), "norm"),
        (lambda: ntr.measure(theirs, x, ntr.measures.CertifiedStability(0.1)), "layers of a network"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            asked()
        assert "\n" not in str(caught.value)


def test_command(digits, tmp_path, capsys) -> None:
    from ntkrobust.cli import run as run_command

    run, data = digits
    run.save(tmp_path / "run.npz")
    np.savez(tmp_path / "data.npz", x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    words = ["certify", "--run", str(tmp_path / "run.npz"), "--data", str(tmp_path / "data.npz"), "--epsilon", "0.15",
             "--norm", "l2"]  # fmt: skip
    assert run_command([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["values"]["networks"]
    expected = ntr.certify(run, data.x_test, data.y_test, epsilon=0.15, norm="l2")
    assert [one["certified"] for one in rows] == expected.certified_accuracy.values.tolist()
    assert all(one["certified"] <= one["attacked"] <= one["natural_accuracy"] for one in rows)
    assert run_command(words) == 0
    assert "certified" in capsys.readouterr().out
    assert run_command([*words[:-1], "l7"]) == 2
