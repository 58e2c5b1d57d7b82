"""Attacks: closed forms of linear networks, a reference in float64, strength, checks of strength, identities."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrobust import MLP, InputError, Measure, attack, data, measure, train
from ntkrobust.domain import Domain
from ntkrobust.finite.attacks import attacking, classes, objectives, strength
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.attacks.fgsm import fgsm
from ntkrobust.finite.attacks.found import at_input, look, worse_of
from ntkrobust.finite.attacks.pgd import STEP, pgd
from ntkrobust.finite.measures.attacked import USUAL, points
from ntkrobust.networks.parameters import Parameters
from ntkrobust.runtime.compiling import PROGRAMS

RNG = np.random.default_rng(0)
DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
CHECKS = ("zero_gradient", "doubling_gain", "random_gain", "square_gain", "monotonicity")


def with_weights(run, weights, **changes):
    """The run with other weights (seed, …) at its last record."""
    weights = tuple(np.asarray(one, np.float32) for one in weights)
    return dataclasses.replace(
        run, snapshots=(*run.snapshots[:-1], Parameters(weights, run.parameters.biases)), **changes
    )


# --- linear networks: the smallest radius is |f|/‖w‖ in the dual norm

D_LINEAR, N_LINEAR, F_LINEAR = 8, 12, 0.3


@pytest.fixture(scope="module")
def linear():
    """A linear network of one output, points at which |f| is F_LINEAR, its gradient w (seed, d)."""
    net = MLP(2, 5, 1, "linear", "he")
    rng = np.random.default_rng(5)
    run = train(net, rng.standard_normal((4, D_LINEAR)), np.array([0, 1, 0, 1]), seeds=1, steps=0)
    w1, w2 = (np.float64(one[0]) for one in run.parameters.weights)
    w = (w2 @ w1)[0]
    x = rng.standard_normal((N_LINEAR, D_LINEAR))
    f = np.where(np.arange(N_LINEAR) % 2, F_LINEAR, -F_LINEAR)
    return run, x + np.outer((f - x @ w) / (w @ w), w), w


@pytest.mark.parametrize(
    ("norm", "methods"),
    [
        ("linf", ("fgsm", "pgd", "apgd-dlr")),
        ("l2", ("fgsm", "pgd", "apgd-dlr")),
        ("l1", ("fgsm", "pgd")),
    ],
)
def test_linear_networks_lose_their_class_at_the_radius_of_the_closed_form(linear, norm, methods):
    run, x, w = linear

    def robust_at(order):
        radius = F_LINEAR / np.linalg.norm(w, ord=order)
        # one part in a thousand: far above float32's rounding of f
        result = attack(
            run, x, epsilon=[0.999 * radius, 1.001 * radius], norm=norm, methods=methods, steps=20, queries=5,
            against="predicted", restarts=2,
        )  # fmt: skip
        assert (result.outside == 0).all()
        return result.is_robust_by_method[0].mean("point").to_numpy()

    below, above = robust_at(ORDER[DUAL[norm]])
    np.testing.assert_array_equal(below, 1)
    np.testing.assert_array_equal(above, 0)
    # the planted mistake: a norm that isn't the dual
    wrong = robust_at({"linf": 2, "l2": 1, "l1": 2}[norm])
    assert not (np.array_equal(wrong[0], np.ones(len(methods))) and np.array_equal(wrong[1], np.zeros(len(methods))))


def test_square_and_random_search_respect_the_closed_form(linear):
    run, x, w = linear
    for norm in ("linf", "l2"):
        radius = F_LINEAR / np.linalg.norm(w, ord=ORDER[DUAL[norm]])
        result = attack(
            run, x, epsilon=[0.999 * radius, 1.3 * radius], norm=norm, methods=("square", "random"), steps=20,
            queries=300, against="predicted",
        )  # fmt: skip
        robust = result.is_robust_by_method[0].mean("point").to_numpy()
        np.testing.assert_array_equal(robust[0], 1)
        assert robust[1, 0] < 0.2  # Square
        assert robust[1, 1] > robust[1, 0] + 0.2  # uniform points
        assert (result.outside == 0).all()


# --- FGSM and PGD against a reference in float64


def reference_gradient(w1, w2, x, label):
    """∂/∂x of the cross entropy of W_2 relu(W_1 x), in numpy."""
    z = x @ w1.T
    f = np.maximum(z, 0) @ w2.T
    p = np.exp(f - f.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), label] -= 1
    return ((p @ w2) * (z > 0)) @ w1


def reference_pgd(norm, gradient, centre, epsilon, start, steps, size, low, high):
    x = start
    for _ in range(steps):
        g = gradient(x)
        step = np.sign(g) if norm == "linf" else g / np.linalg.norm(g, axis=1, keepdims=True)
        change = x + size * step - centre
        if norm == "linf":
            change = np.clip(change, -epsilon, epsilon)
        else:
            change = change * np.minimum(1, epsilon / np.linalg.norm(change, axis=1, keepdims=True))
        x = np.clip(centre + change, low, high)
    return x


@pytest.mark.fast
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_and_pgd_against_numpy(norm):
    n, d, m, o, epsilon, steps = 30, 9, 14, 4, 0.3, 10
    w1, w2 = RNG.standard_normal((m, d)), RNG.standard_normal((o, m))
    centre, label = RNG.uniform(0, 1, (n, d)), RNG.integers(0, o, n)
    start = np.clip(centre + RNG.uniform(-0.05, 0.05, (n, d)), 0, 1)

    def gradient(x):
        return reference_gradient(w1, w2, x, label)

    with jax.enable_x64(True):
        ball = Ball.around(jnp.asarray(centre), jnp.float64(epsilon), jnp.float64(0), jnp.float64(1))

        def see(x):
            loss = lambda outputs: objectives.cross_entropy(outputs, jnp.asarray(label))  # noqa: E731
            return look(lambda x: w2 @ jax.nn.relu(w1 @ x), loss, x)

        def iterates(seen, new):
            return new.x

        found = pgd(norm, see, ball, jnp.asarray(start.T), steps, iterates, ball.centre)
        one_step = fgsm(norm, see, ball, iterates, ball.centre)
    size = STEP * epsilon / steps
    expected = reference_pgd(norm, gradient, centre, epsilon, start, steps, size, 0, 1)
    np.testing.assert_allclose(found.T, expected, atol=1e-12)
    np.testing.assert_allclose(
        one_step.T, reference_pgd(norm, gradient, centre, epsilon, centre, 1, epsilon, 0, 1), atol=1e-12
    )
    other = reference_pgd(norm, gradient, centre, epsilon, start, steps, 0.99 * size, 0, 1)
    assert not np.allclose(found.T, other, atol=1e-4)


# --- objectives


@pytest.mark.fast
def test_objectives_against_their_formulas():
    f = np.array([[3.0, 1.0, 2.5, -1.0, 0.0], [0.5, 2.0, 1.0, 0.0, -3.0]])
    label, target = np.array([0, 3]), np.array([2, 1])
    outputs = jnp.float32(f.T)
    np.testing.assert_allclose(classes.margin(outputs, label), [0.5, -2.0])
    np.testing.assert_allclose(objectives.dlr(outputs, label, None), [-0.5 / 2.0, 2.0 / 1.5], rtol=1e-6)
    np.testing.assert_allclose(
        objectives.targeted_dlr(outputs, label, target), [-0.5 / (3 - 0.5), 2 / (2 - 0.25)], rtol=1e-6
    )
    np.testing.assert_array_equal(objectives.ranked_targets(outputs, label, 3), [[2, 1], [1, 2], [4, 0]])
    own = f[[0, 1], label] - np.log(np.exp(f).sum(axis=1))
    np.testing.assert_allclose(objectives.cross_entropy(outputs, label), -own, rtol=1e-6)
    # the ratio does not see the scale of the outputs, the cross entropy does
    np.testing.assert_allclose(
        objectives.dlr(1e4 * outputs, label, None), objectives.dlr(outputs, label, None), rtol=1e-6
    )
    one, sign = jnp.float32([[0.3, -2.0, 0.0]]), np.array([1, 1, 0])
    np.testing.assert_allclose(classes.margin(one, sign), [0.3, -2.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(classes.is_kept(one, sign), [True, False, False])
    np.testing.assert_allclose(objectives.dlr(one, sign, jnp.float32([0.6, 4.0, 1.0])), [-0.5, 0.5, 0.0], rtol=1e-6)


@pytest.mark.fast
def test_ties_lose_the_class_as_accuracy_counts_them():
    # argmax takes the first of equals: class 1 is lost in a tie with class 0, class 0 is not
    outputs = jnp.float32([[1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(classes.is_kept(outputs, np.array([0, 1])), [True, False])
    found = at_input(lambda x: jnp.float32([[0.0], [0.0]]), jnp.int32([0]), jnp.zeros((1, 1)))
    tied = worse_of(found, jnp.int32([0]), jnp.ones((1, 1)), jnp.float32([[0.0], [0.0]]))
    assert tied.x[0, 0] == 0


# --- trained networks

N, QUERIES, STEPS, RADII = 40, 150, 20, (0.03, 0.08, 0.0)


@pytest.fixture(scope="module")
def digits():
    found = data.load("digits-classes:pixel")
    return found.x_train[:400], found.y_train[:400], found.x_test[:N], found.y_test[:N]


@pytest.fixture(scope="module")
def trained(digits):
    x, y, *_ = digits
    return train(MLP(3, 24, 10, "relu", "he"), x, y, seeds=3, steps=150, optimizer="adam", learning_rate=3e-3,
                 loss="cross_entropy")  # fmt: skip


def strike(run, digits, **arguments):
    _, _, x, y = digits
    given = {"epsilon": RADII, "bounds": (0, 1), "steps": STEPS, "queries": QUERIES} | arguments
    return attack(run, x, None if given.get("against") == "predicted" else y, **given)


@pytest.fixture(scope="module")
def struck(trained, digits):
    return strike(trained, digits, keep_examples=True)


def outputs_in_numpy(run, seed, x):
    h = np.float64(x)
    for layer, weight in enumerate(run.parameters.weights):
        h = h @ np.float64(weight[seed]).T
        if layer < run.net.depth - 1:
            h = np.maximum(h, 0)
    return h


def test_examples_are_what_the_result_says(trained, digits, struck):
    _, _, x, y = digits
    label = np.argmax(y, axis=1)
    assert struck.robust_accuracy.dims == ("seed", "epsilon")
    assert 0.1 < struck.robust_accuracy[:, 0].mean() < 0.9
    for seed in range(3):
        for index, epsilon in enumerate(RADII):
            example = struck.example[seed, index].to_numpy()
            assert ((example >= 0) & (example <= 1)).all()
            assert np.abs(np.float64(example) - np.float32(x)).max() <= epsilon + 2.0**-22
            f = outputs_in_numpy(trained, seed, example)
            others = np.where(np.eye(10, dtype=bool)[label], -np.inf, f).max(axis=1)
            margin = f[np.arange(N), label] - others
            np.testing.assert_allclose(struck.margin[seed, index], margin, atol=1e-4)
            clear = abs(margin) > 1e-4
            assert clear.mean() > 0.9
            np.testing.assert_array_equal(struck.is_robust[seed, index].to_numpy()[clear], (margin > 0)[clear])
    # radius 0 is the identity
    np.testing.assert_array_equal(struck.example[:, 2], np.broadcast_to(np.float32(x), (3, N, 64)))
    np.testing.assert_array_equal(struck.robust_accuracy[:, 2], struck.natural_accuracy)
    assert (struck.outside == 0).all()


def test_robustness_falls_with_the_radius_and_with_methods(struck):
    radius = struck.sortby("epsilon")
    assert (radius.is_robust.diff("epsilon") <= 0).all()
    assert (radius.margin.diff("epsilon") <= 0).all()
    assert (struck.is_robust <= struck.is_robust_by_method.min("attack")).all()
    assert (struck.is_robust_by_method.min("attack") - struck.is_robust).max() <= 1


def test_apgd_is_as_strong_as_pgd_with_as_many_gradients(struck):
    by_method = struck.is_robust_by_method.mean(("seed", "point"))
    apgd = struck.is_robust_by_method.sel(attack=["apgd-ce", "apgd-dlr"]).min("attack").mean(("seed", "point"))
    pgd_only = by_method.sel(attack="pgd")
    assert (apgd <= pgd_only).all()
    # one gradient is not as strong as twenty
    assert (by_method.sel(attack="fgsm") > pgd_only)[1]


def test_restarts_only_help(trained, digits, struck):
    methods = ["pgd", "apgd-ce", "apgd-dlr"]
    more = strike(trained, digits, methods=methods, restarts=3)
    one = struck.is_robust_by_method.sel(attack=methods)
    assert (more.is_robust_by_method <= one).all()
    assert (more.margin < struck.margin).any()


def test_square_beats_random_search(trained, digits):
    both = strike(trained, digits, methods=("square", "random"), epsilon=0.08)
    flat = both.is_robust_by_method.mean(("seed", "point")).to_numpy()
    images = strike(trained, digits, methods="square", epsilon=0.08, image_shape=(8, 8, 1))
    assert both.robust_accuracy.dims == ("seed",)
    assert both.epsilon == 0.08
    assert flat[0] < flat[1] - 0.1
    assert images.robust_accuracy.mean() < flat[1] - 0.1
    assert not np.array_equal(images.margin, both.margin)
    with pytest.raises(InputError, match=r"image_shape must be \(rows, columns\[, channels\]\) of 64 numbers"):
        strike(trained, digits, image_shape=(8, 9))


def test_l2_attacks_stay_in_their_balls(trained, digits, struck):
    result = strike(trained, digits, norm="l2", epsilon=[0.7], methods=("apgd-dlr", "square"),
                    image_shape=(8, 8), keep_examples=True)  # fmt: skip
    robust = result.is_robust_by_method.mean(("seed", "epsilon", "point"))
    assert (result.outside == 0).all()
    assert 0 < result.excess.max() < 2e-6
    away = np.linalg.norm(np.float64(result.example) - np.float32(digits[2]), axis=-1)
    assert (away <= 0.7 + 1e-6).all()
    # the whole radius is used where it helps
    assert np.median(away) > 0.69
    assert robust.sel(attack="square") < result.natural_accuracy.mean() - 0.1
    assert robust.sel(attack="apgd-dlr") <= robust.sel(attack="square")


def test_targeted_attacks(trained, digits, struck):
    result = strike(trained, digits, methods="apgd-t", epsilon=0.03)
    untargeted = struck.is_robust_by_method.sel(attack="fgsm", epsilon=0.03).mean()
    assert result.robust_accuracy.mean() < untargeted
    assert (result.outside == 0).all()


def test_other_seeds_and_layouts_do_not_change_a_network_s_outcome(trained, digits, struck, monkeypatch):
    monkeypatch.setattr(attacking, "BATCH_BYTES", 1)
    one_by_one = strike(trained, digits, methods=["fgsm", "square"])
    before = struck.sel(attack=["fgsm", "square"])
    # float32 rounds differently where seeds share no products: a point on the edge may fall to the other side
    assert (one_by_one.is_robust_by_method == before.is_robust_by_method).mean() > 0.99
    np.testing.assert_allclose(one_by_one.natural_accuracy, struck.natural_accuracy)
    last = tuple(jax.tree.map(lambda leaf: leaf[2:], one) for one in trained.snapshots)
    fewer = dataclasses.replace(trained, seeds=(2,), snapshots=last, status=trained.status[2:])
    alone = strike(fewer, digits, methods=["fgsm", "square"])
    np.testing.assert_array_equal(alone.margin, one_by_one.margin[2:])
    other = strike(fewer, digits, methods=["fgsm", "square"], key=jax.random.key(9))
    assert not np.array_equal(other.margin, alone.margin)
    np.testing.assert_array_equal(*(one.is_robust_by_method.sel(attack="fgsm") for one in (other, alone)))


def test_robust_is_natural_and_stable(trained, digits, struck):
    """The identity, for the same candidates: where the input has its class, both attacks are one."""
    stable = strike(trained, digits, against="predicted")
    natural = struck.is_robust.sel(epsilon=0.0)
    np.testing.assert_array_equal(struck.is_robust, stable.is_robust * natural)
    assert not np.array_equal(struck.is_robust, stable.is_robust)
    robust, stability, accuracy = struck.robust_accuracy, stable.prediction_stability, struck.natural_accuracy
    assert (robust <= np.minimum(stability, accuracy) + 1e-6).all()
    assert (robust >= accuracy + stability - 1 - 1e-6).all()


# --- checks of strength


def test_ordinary_networks_mask_nothing(struck):
    np.testing.assert_array_equal(struck.masks_gradients, 0)
    assert set(struck.masking_reasons.to_numpy()) == {""}
    for name in CHECKS:
        assert float(struck[name].max()) < 0.05, name
    assert struck.masks_gradients.dtype == np.int8


def test_saturated_units_are_noticed_and_square_beats_pgd(digits):
    x, y, *_ = digits
    run = train(MLP(3, 24, 10, "tanh", "lecun"), x, y, seeds=2, steps=100, optimizer="adam", learning_rate=3e-3,
                loss="cross_entropy")  # fmt: skip
    saturated = with_weights(run, [1e4 * one for one in run.parameters.weights])
    result = strike(saturated, digits, methods=("pgd", "square"), epsilon=[0.2], restarts=2)
    np.testing.assert_array_equal(result.masks_gradients, 1)
    assert (result.zero_gradient > 0.9).all()
    assert all("the gradient of the margin is zero" in reason for reason in result.masking_reasons.to_numpy())
    by_method = result.is_robust_by_method.isel(epsilon=0).mean("point")
    assert (by_method.sel(attack="square") < by_method.sel(attack="pgd") - 0.1).all()
    assert (result.square_gain > strength.GAIN).any()
    plain = strike(run, digits, methods=("pgd", "square"), epsilon=[0.2], restarts=2)
    np.testing.assert_array_equal(plain.masks_gradients, 0)
    assert (plain.zero_gradient < 0.01).all()


def test_saturated_softmax_is_noticed_and_the_ratio_sees_through_it(trained, digits, struck, monkeypatch):
    *below, last = trained.parameters.weights
    loud = with_weights(trained, [*below, 1e4 * last])
    # The classes are the same functions of x, and the loss of outputs of ordinary size is no worse for it.
    heard = strike(loud, digits, methods=("pgd", "apgd-dlr"))
    np.testing.assert_array_equal(heard.masks_gradients, 0)
    # the planted fault: the cross entropy of outputs of any size
    monkeypatch.setattr(objectives, "SMALLEST", 0.0)
    monkeypatch.setattr(objectives, "LARGEST", np.inf)
    PROGRAMS.clear()
    result = strike(loud, digits, methods=("pgd", "apgd-dlr"))
    PROGRAMS.clear()
    np.testing.assert_array_equal(result.masks_gradients, 1)
    assert (result.zero_gradient.sel(loss="cross_entropy") > 0.5).all()
    assert (result.zero_gradient.sel(loss="margin") == 0).all()
    assert all("cross entropy, not of the margin" in reason for reason in result.masking_reasons.to_numpy())
    # only methods that follow the cross entropy lose their strength
    by_method, after, before = (
        one.is_robust_by_method[:, 1].mean(("seed", "point")) for one in (result, heard, struck)
    )
    assert by_method.sel(attack="pgd") > before.sel(attack="pgd") + 0.1
    assert after.sel(attack="pgd") < before.sel(attack="pgd") + 0.03
    for found in (by_method, after):
        np.testing.assert_allclose(found.sel(attack="apgd-dlr"), before.sel(attack="apgd-dlr"), atol=0.03)


@pytest.mark.fast
def test_points_outside_are_counted():
    centre = np.float32(RNG.uniform(0, 1, (20, 7)))
    radii = np.array([0.1, 0.2])
    wide, unit = (Domain.of(7, ends).arrays() for ends in ((-9, 9), (0, 1)))
    for norm, order in ORDER.items():
        step = RNG.standard_normal((2, 20, 7))
        step *= (radii[:, None] / np.linalg.norm(step, ord=order, axis=-1))[..., None]
        x = np.float32(centre + step)
        arguments = (norm, x, centre, radii[:, None])
        inside = strength.containment(*arguments, wide)
        assert not inside.is_outside.any()
        assert np.abs(inside.excess).max() < 1e-6
        x[1, 4] = np.float32(centre[4] + 1.00001 * step[1, 4])
        assert strength.containment(*arguments, wide).is_outside.sum() == 1
        beyond = strength.containment(*arguments, unit).is_outside
        expected = ((x < 0) | (x > 1)).any(axis=-1)
        expected[1, 4] = True
        np.testing.assert_array_equal(beyond, expected)
        x[0, 3] = np.nan
        assert strength.containment(*arguments, wide).is_outside[0, 3]


@pytest.mark.fast
def test_radii_that_do_not_help_are_counted():
    kept = np.array([[[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0]]], dtype=bool)
    radii = np.array([0.2, 0.1, 0.3])
    before = strength.broken_at_smaller(kept, radii)
    np.testing.assert_array_equal(before[0], [[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]])
    np.testing.assert_allclose(
        strength.share(before & kept, np.array([[1, 1, 1, 0]], bool)[:, None]), [[1 / 3, 0, 2 / 3]]
    )
    checks = strength.Strength(np.zeros((1, 2)), *[np.zeros((1, 3))] * 3, np.array([[1 / 3, 0, 2 / 3]]))
    assert checks.reasons(0) == ["67% of the points were broken at a smaller radius only"]
    assert checks._replace(monotonicity=np.zeros((1, 3))).reasons(0) == []


# --- what is refused, and what is labelled


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epsilon": -0.1}, "epsilon must not be negative, got -0.1"),
        ({"epsilon": [0.1, math.nan]}, "epsilon must be a finite number, got nan"),
        ({"epsilon": []}, "epsilon must be a number or a sequence of numbers"),
        ({"norm": "l3"}, "norm must be one of"),
        ({"norm": "l1"}, "the method 'apgd-ce' works in linf and l2: for l1 take fgsm, pgd or random"),
        ({"norm": "l1", "methods": "square"}, "the method 'square' works in linf and l2"),
        ({"methods": "carlini"}, "unknown method 'carlini': expected one of fgsm"),
        ({"methods": ()}, "at least one method is needed"),
        ({"methods": ("pgd", "pgd")}, "methods must be different"),
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"restarts": 1.5}, "restarts must be an integer"),
        ({"queries": 0}, "queries must be an integer of at least 1"),
        ({"against": "both"}, "against must be 'true' or 'predicted'"),
        ({"bounds": (0.5, 1)}, "x must lie within bounds, but row 0, column 0"),
        ({"bounds": (1, 0)}, "the lower of the bounds must not be above the upper"),
        ({"bounds": (0, [1, 1])}, "each of bounds must be a number, or 64 of them"),
        ({"record": 9}, "record must be one of the run's 9 records"),
        ({"keep_examples": True, "memory_limit": 1}, "leave keep_examples out"),
        ({"image_shape": (8, 8, 2)}, "image_shape must be"),
    ],
)
def test_bad_arguments(trained, digits, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        strike(trained, digits, **changes)


def test_bad_labels_and_points(trained, linear, digits):
    _, _, x, y = digits
    for bad, sentence in (
        (None, "attacks against true classes need y"),
        (y[:3], r"y must have shape \(40,\) or \(40, 10\), got \(3, 10\)"),
        (np.full(N, 10), "y must hold labels integers from 0 to 9, but row 0"),
        (np.full(N, 0.5), "y must hold labels integers from 0 to 9"),
        (2 * y, "y must hold one-hot rows or integer labels, but row 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            attack(trained, x, bad, epsilon=0.1)
    with pytest.raises(InputError, match=r"x must have shape \(n, 64\)"):
        attack(trained, x[:, :5], y, epsilon=0.1)
    with pytest.raises(InputError, match="x must be finite, but row 1"):
        attack(trained, np.where(np.arange(N)[:, None] == 1, np.nan, x), y, epsilon=0.1)
    run, points, _ = linear
    with pytest.raises(InputError, match=r"labels that occur in training, 0, 1, but row 0 .* is 2"):
        attack(run, points, np.full(N_LINEAR, 2), epsilon=0.1)
    with pytest.raises(InputError, match="'apgd-t' needs at least 4 outputs, the network has 1"):
        attack(run, points, np.ones(N_LINEAR), epsilon=0.1, methods="apgd-t")


def test_networks_that_diverged_or_have_broken_weights_are_labelled(trained, digits, struck):
    first, *others = trained.parameters.weights
    broken = first.copy()
    broken[1, 0, 0] = np.nan
    run = with_weights(trained, [broken, *others])
    assert run.status.tolist() == ["budget", "diverged", "budget"]
    result = strike(run, digits, methods=("fgsm", "square"))
    assert result.robust_accuracy.isnull().all("epsilon").to_numpy().tolist() == [False, True, False]
    np.testing.assert_array_equal(result.masks_gradients, [0, -1, 0])
    alike = struck.is_robust_by_method.sel(attack=["fgsm", "square"])
    np.testing.assert_array_equal(result.is_robust_by_method.sel(attack=alike.attack)[::2], alike[::2])
    assert (result.outside == 0).all()
    with pytest.raises(InputError, match="every network of the run has diverged"):
        strike(dataclasses.replace(trained, status=np.array(["diverged"] * 3)), digits)


def test_results_are_stored_and_read(struck, tmp_path):
    import xarray as xr

    path = tmp_path / "attack.nc"
    struck.to_netcdf(path, engine="h5netcdf")
    with xr.open_dataset(path, engine="h5netcdf") as back:
        xr.testing.assert_equal(back.load().drop_vars("masking_reasons"), struck.drop_vars("masking_reasons"))
        assert back.attrs == struck.attrs


# --- measures


def of_points(name, compute):
    return Measure(name, "", compute, dims=("point",), needs=("y_test", "epsilon"))


def test_measured_shares_obey_the_identity_point_by_point(trained, digits):
    _, _, x, y = digits

    def point_by_point(field, norm, probe):
        return getattr(points(probe, dataclasses.replace(USUAL, norm=norm), probe.epsilon), field) * 1.0

    pairs = (("", "linf"), ("_l2", "l2"))
    per_point = [
        of_points(f"{field}{suffix}", partial(point_by_point, field, norm))
        for suffix, norm in pairs
        for field in ("is_natural", "is_stable", "is_robust")
    ]
    names = (
        "natural_accuracy",
        "robust_accuracy",
        "prediction_stability",
        "robust_accuracy_l2",
        "prediction_stability_l2",
        "stability_given_correct",
        "robust_accuracy_by_pgd",
        "prediction_stability_by_pgd",
        "stability_given_correct_by_pgd",
    )
    found = measure(trained, x, [*names, *per_point], y_test=y, epsilon=0.04)
    for suffix, _ in pairs:
        natural, stable, robust = (found[f"{field}{suffix}"] for field in ("is_natural", "is_stable", "is_robust"))
        np.testing.assert_array_equal(robust, natural * stable)
        assert not np.array_equal(robust, stable)
        assert not np.array_equal(robust, natural)
        np.testing.assert_allclose(found.natural_accuracy, natural.mean("point"), atol=1e-6)
        shares = found[f"robust_accuracy{suffix}"], found[f"prediction_stability{suffix}"]
        np.testing.assert_allclose(shares, [robust.mean("point"), stable.mean("point")], atol=1e-6)
        assert (shares[0] <= np.minimum(shares[1], found.natural_accuracy) + 1e-6).all()
        assert (shares[0] >= found.natural_accuracy + shares[1] - 1 - 1e-6).all()
    np.testing.assert_allclose(found.stability_given_correct, found.robust_accuracy / found.natural_accuracy, rtol=1e-5)
    for name in names[-3:]:
        bound = found[name.removesuffix("_by_pgd")]
        np.testing.assert_array_equal(found[name], bound)
        assert (found[name].side, bound.side) == ("exact", "upper")
    # the same quantity by the whole set of attacks: not higher, up to the points that one run misses
    whole = strike(trained, digits, epsilon=0.04, bounds=None)
    gap = found.robust_accuracy[:, -1].to_numpy() - whole.robust_accuracy.to_numpy()
    assert (abs(gap) < 0.1).all()


def test_measures_of_a_linear_network_against_closed_forms(linear):
    run, _, w = linear
    x = RNG.standard_normal((200, D_LINEAR))
    f, epsilon = x @ w, 0.2
    reach = epsilon * np.abs(w).sum()
    names = ("prediction_stability", "prediction_stability_l2", "local_lipschitz", "kl_gradient")
    found = measure(run, x, names, epsilon=epsilon).isel(seed=0, time=-1)
    assert not (abs(abs(f) - reach) < 1e-5).any()
    assert not (abs(abs(f) - epsilon * np.linalg.norm(w)) < 1e-5).any()
    np.testing.assert_allclose(found.prediction_stability, np.mean(abs(f) > reach), rtol=1e-6)
    np.testing.assert_allclose(found.prediction_stability_l2, np.mean(abs(f) > epsilon * np.linalg.norm(w)), rtol=1e-6)
    assert found.prediction_stability != found.prediction_stability_l2
    # |⟨w, δ⟩|/‖δ‖_∞ is at most ‖w‖₁
    np.testing.assert_allclose(found.local_lipschitz, np.abs(w).sum(), rtol=1e-4)
    assert not np.allclose(found.local_lipschitz, np.linalg.norm(w), rtol=1e-1)
    # ∇_{x'} KL = (σ(f') − σ(f)) w for logistic probabilities, and f' ends at f ± ε‖w‖₁
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    ends = np.abs(sigmoid(f + np.array([[1], [-1]]) * reach) - sigmoid(f)) * np.abs(w).sum()
    assert (found.kl_gradient <= ends.max(axis=0) * (1 + 1e-4)).all()
    assert (found.kl_gradient >= ends.min(axis=0) * (1 - 1e-4)).all()
    assert np.isclose(found.kl_gradient, ends.max(axis=0), rtol=1e-4).mean() > 0.5


def test_local_lipschitz_is_found_where_sampling_does_not(trained, digits):
    _, _, x, _ = digits
    found = measure(trained, x, ["local_lipschitz"], epsilon=0.05).local_lipschitz[:, -1].to_numpy()
    for seed in range(3):
        f = outputs_in_numpy(trained, seed, x)
        sampled = np.zeros(N)
        for _ in range(20):
            step = RNG.uniform(-0.05, 0.05, x.shape)
            change = np.abs(outputs_in_numpy(trained, seed, x + step) - f).sum(axis=1)
            sampled = np.maximum(sampled, change / np.abs(step).max(axis=1))
        product = np.prod([np.abs(np.float64(one[seed])).sum(axis=1).max() for one in trained.parameters.weights[:-1]])
        product *= np.abs(np.float64(trained.parameters.weights[-1][seed])).sum(axis=0).max() * 24
        assert (found[seed] > sampled).all()
        assert (found[seed] <= product).all()
