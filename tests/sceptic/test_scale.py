"""Numbers of any size: measures, attacks and training of networks and data multiplied by 10^k, k from −30 to 30.

The right values are those of the network itself times 10^k to the measure's degree, and float64; the planted fault is
the norm that squares its entries as they are.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrobust import MLP, ConvNet, InputError, WideResNet, attack, measure, train
from ntkrobust.finite.attacks import objectives
from ntkrobust.finite.attacks.found import look
from ntkrobust.finite.measures import stability
from ntkrobust.finite.measures.catalogue import MEASURES
from ntkrobust.finite.measures.empirical_kernel import empirical_ntk
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.numerics import scaling

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 16))
X /= np.linalg.norm(X, axis=1, keepdims=True)
Y = np.eye(3)[RNG.integers(0, 3, 6)]
POWERS = st.floats(-30, 30)
FEW = settings(max_examples=5, deadline=None, derandomize=True)

NETWORKS = {
    "shallow": MLP(2, 12, 3),
    "deep": MLP(12, 12, 3, initialization="lecun"),
    "tanh": MLP(3, 12, 3, "tanh"),
    "convolutional": ConvNet(3, 3, (4, 4, 1), d_out=3),
    "residual": WideResNet(4, 2, (4, 4, 1), d_out=3),
}

DEGREE = {
    "perturbation_stability": 1, "normalized_perturbation_stability": 0, "jacobian_frobenius": 1,
    "jacobian_frobenius_max": 1, "jacobian_frobenius_sq": 2, "jacobian_frobenius_fourth": 4, "jacobian_spectral": 1,
    "lipschitz_upper": 1, "jacobian_is_zero": 0, "output_rms": 1, "lazy_ratio": 0, "kernel_change": 0,
    "linearisation_error": 0, "train_loss": 2, "test_mse": 2, "natural_accuracy": 0, "train_accuracy": 0,
    "robust_accuracy": 0, "prediction_stability_l2": 0,
}  # fmt: skip
"""Measures of a network times c are theirs times c to this power, where targets are multiplied too."""


BY_ATTACK = ("robust_accuracy", "prediction_stability_l2")


def multiplied(run, power):
    """The run of networks times 10^power, through α, and of targets times as much."""
    net = dataclasses.replace(run.net, initialization=run.net.drawn_from.with_alpha_times(10.0**-power))
    return dataclasses.replace(run, net=net, y_train=run.y_train * np.float32(10.0**power))


DEFAULT = ("shallow", "convolutional")
"""Those of every run of the tests; the others compile for longer."""


@pytest.fixture(
    scope="module",
    params=[name if name in DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def trained(request):
    return train(NETWORKS[request.param], X, Y, seeds=2, steps=8, record_steps=[8])


def measured(run, power):
    # attacks compile for long, and see a network's outputs only
    names = [name for name in DEGREE if name not in BY_ATTACK or len(run.parameters.weights) == 2]
    return measure(run, X, names, y_test=np.float64(10.0**power * Y), epsilon=0.1, samples=2)


def test_measures_have_their_degree(trained, figure):
    before = measured(trained, 0)

    @FEW
    @given(POWERS)
    def check(power):
        found = measured(multiplied(trained, power), power)
        for name in found:
            right = np.float64(before[name]) * 10.0 ** (DEGREE[name] * power)
            np.testing.assert_allclose(np.float64(found[name]), right, rtol=2e-5, err_msg=f"{name} at 10^{power}")

    check()
    found = measured(multiplied(trained, -25.0), -25.0)
    right = float(before.jacobian_frobenius_sq.mean()) * 1e-50
    figure("‖J‖² of a network times 1e-25", float(found.jacobian_frobenius_sq.mean()), right, "degree 2")


@FEW
@given(POWERS, st.integers(0, 2**31))
def test_norms_are_those_of_float64(power, seed):
    x = np.float32(10.0**power * np.random.default_rng(seed).standard_normal((3, 4, 20)))
    wide = np.float64(x)
    np.testing.assert_allclose(scaling.norm(x, (-2, -1)), np.linalg.norm(wide, axis=(-2, -1)), rtol=1e-6)
    singular = np.linalg.svd(wide, compute_uv=False)[:, 0]
    np.testing.assert_allclose(stability.largest_singular_value(jnp.asarray(x)), singular, rtol=1e-5)
    # a power of two out and in again changes no bit of what fits anyway
    ordinary = np.float32(x / 10.0**power)
    np.testing.assert_array_equal(scaling.norm(ordinary, 2), np.sqrt(np.asarray(jnp.sum(ordinary**2, 2))))


def test_the_plain_norm_is_caught(figure):
    tiny = np.float32(1e-25) * np.ones(16, np.float32)
    figure("norm of 16 numbers 1e-25", float(scaling.norm(tiny)), 4e-25, "float64")
    assert scaling.norm(tiny) == pytest.approx(4e-25, rel=1e-6, abs=0)
    with np.errstate(over="ignore", under="ignore"):
        assert jnp.linalg.norm(tiny) == 0
    assert jnp.linalg.norm(1e25 * np.ones(16, np.float32)) == np.inf


def test_gradients_of_ratios_keep_their_digits():
    w = RNG.standard_normal((3, 5))

    def gradient(scale):
        scaled = jnp.asarray(scale * w, jnp.float32)
        label = jnp.argmax(scaled @ jnp.ones((5, 1), jnp.float32), axis=0)
        ratio = look(lambda x: scaled @ x, lambda f: objectives.dlr(f, label, None), jnp.ones((5, 1), jnp.float32))
        return np.asarray(ratio.gradient)

    for scale in (1e-30, 1e-20, 1e20, 1e30):
        np.testing.assert_allclose(gradient(scale), gradient(1.0), rtol=1e-4, atol=1e-6)
    # the planted fault: outputs as they are, whose squares vanish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "_of_ordinary_size", lambda outputs: outputs)
        assert not gradient(1e-20).any()


def test_attacks_find_the_same(figure):
    run = train(MLP(3, 16, 3), X, Y, seeds=2, steps=20, record_steps=[20])

    def struck(power):
        given = {"epsilon": [0.05, 0.3], "steps": 10, "queries": 20, "methods": ("pgd", "apgd-dlr")}
        return attack(multiplied(run, power), X, against="predicted", **given)

    before = struck(0)
    for power in (-28, -9, 12, 28):
        found = struck(power)
        sizes = np.mean(np.float64(found.margin) / 10.0**power)
        np.testing.assert_array_equal(found.is_robust, before.is_robust)
        np.testing.assert_array_equal(found.masks_gradients, 0)
        # the cross entropy is another loss at another size of outputs
        np.testing.assert_allclose(sizes, before.margin.mean(), rtol=0.05)
    figure("robust at 10^28", float(found.is_robust.mean()), float(before.is_robust.mean()), "the network itself")


def test_training_commutes_with_units(figure):
    net = MLP(3, 16, 3)
    before = train(net, X, Y, seeds=2, steps=20)
    for power in (-14, -10, 9, 14):
        c = 10.0**power
        found = train(net, c * X, c * Y, seeds=2, steps=20)
        np.testing.assert_allclose(found.learning_rate * c**2, before.learning_rate, rtol=1e-4)
        np.testing.assert_allclose(np.float64(found.loss) / c**2, before.loss, rtol=1e-2)
        assert (found.status == before.status).all()
    figure(
        "rate of x·1e14, times 1e28", float(found.learning_rate[0] * c**2), float(before.learning_rate[0]), "x itself"
    )
    flow = {"optimizer": "gradient_flow", "steps": 1000, "record_kernel_times": [1.0]}
    losses = [np.float64(train(net, c * X, c * Y, seeds=2, **flow).loss) / c**2 for c in (1.0, 1e-12)]
    np.testing.assert_allclose(*losses, rtol=1e-2)


def test_what_single_precision_cannot_hold_is_refused():
    net = MLP(3, 16, 3)
    for x, y in ((1e-30 * X, Y), (1e30 * X, Y), (X, 1e20 * Y), (X, 1e-20 * Y)):
        with pytest.raises(InputError, match="rescale it"):
            train(net, x, y, seeds=1, steps=2)
    with pytest.raises(InputError, match="adam adds 1e-8"):
        train(net, 1e-10 * X, 1e-10 * Y, seeds=1, steps=2, optimizer="adam", learning_rate=1e-3)
    for x in (1e-60 * X, 1e60 * X):
        with pytest.raises(InputError, match="must fit into single precision"):
            measure_untrained(net, x, seeds=1)
    with pytest.raises(InputError, match=r"a typical input gradient of MLP.* is about 1e-45"):
        measure_untrained(MLP(300, 64, initialization="lecun"), X, seeds=1)
    run = train(net, X, Y, seeds=1, steps=0)
    with pytest.raises(InputError, match=r"a typical input gradient of MLP.* is about 1e-36"):
        measure(multiplied(run, -36), X)
    with pytest.raises(InputError, match="single precision"):
        attack(multiplied(run, 37), X, epsilon=0.1, against="predicted")
    with pytest.raises(InputError, match="the square of"):
        empirical_ntk(multiplied(run, 20), X)
    # dead networks of ordinary size are none of these
    narrow = measure_untrained(MLP(40, 2), X, ["jacobian_is_zero"], seeds=20)
    assert narrow.jacobian_is_zero.mean() > 0.9


def test_depth_122(figure):
    """‖J‖² has the mean 2^−(L−1) for lecun weights and one output; float32 squares of it are zero."""
    found = measure_untrained(MLP(122, 64, initialization="lecun"), X[:1], ["jacobian_frobenius"], seeds=64)
    log2 = float(np.mean(np.log2(np.float64(found.jacobian_frobenius))))
    # E log ‖J‖ is below half the logarithm of the mean square by half the variance 5/4·(L − 1)/m
    right = -121 / 2 - 0.5 * 1.25 * 121 / 64 / np.log(2) * 2
    figure("log₂ ‖J‖ at depth 122, width 64", log2, right, "log-normal law")
    assert abs(log2 - right) < 1.5
    assert set(DEGREE) <= set(MEASURES)
