"""Numbers of any size: measures, attacks and training of networks and data multiplied by 10^k, k from −30 to 30.

The right values are those of the network itself times 10^k to the measure's degree, and float64; the planted fault is
the norm that squares its entries as they are. ``benchmarks/scales.py`` holds the campaign over all measures, attacks
and architectures, of which a sample runs here.
"""

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrobust import MLP, InputError, attack, measure, train
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
FEW = settings(max_examples=5, deadline=None)


@pytest.fixture(scope="module")
def scales() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "scales.py"
    spec = importlib.util.spec_from_file_location("scales", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scales"] = module
    spec.loader.exec_module(module)
    return module


SAMPLE = {
    "shallow": tuple(MEASURES),
    "convolutional": ("perturbation_stability", "jacobian_frobenius_fourth", "lipschitz_upper", "train_loss"),
}


@pytest.mark.parametrize("name", SAMPLE)
def test_measures_are_equal_after_rescaling_or_refused(scales, figure, name):
    seen, ways = Counter(), scales.ways_of(scales.ARCHITECTURES[name])

    @FEW
    @given(POWERS, st.sampled_from(ways), st.booleans())
    def check(k, way, is_exact):
        found = scales.outcomes_of_measures(name, scales.Multiplied(k, way, is_exact), SAMPLE[name])
        assert not [one for one, outcome in found.items() if outcome == scales.WRONG], (k, way)
        # Refusing is for the ends of what float32 holds.
        assert abs(k) > 25 or scales.REFUSED not in found.values()
        seen.update(found.values())

    check()
    found = scales.outcomes_of_measures(name, scales.Multiplied(-25.0), SAMPLE[name])
    figure(f"measures at 10^-25, {name}", Counter(found.values())["equal"], len(found), "degrees of homogeneity")
    assert set(found.values()) == {"equal"}


@pytest.mark.parametrize("k", [-25.0, 25.0])
def test_a_norm_that_squares_its_entries_as_they_are_is_caught(scales, monkeypatch, k):
    monkeypatch.setattr(scaling, "unit", lambda x, axis=None: jnp.ones_like(jnp.max(x, axis, keepdims=True)))
    names = ("jacobian_frobenius", "output_rms")  # a program of their own
    found = scales.outcomes_of_measures("shallow", scales.Multiplied(k), names)
    assert set(found.values()) == {"wrong"}


def test_attacks_find_the_same(scales, figure):
    methods = ("pgd", "apgd-dlr")
    for k in (-28.0, -9.0, 0.0, 12.0, 28.0):
        found = scales.outcomes_of_attacks("shallow", "linf", scales.Multiplied(k), methods)
        assert set(found.values()) == {"equal"}, (k, found)
    figure("attacks at 10^28", Counter(found.values())["equal"], len(found), "the network itself")


def ratios_of_cross_entropies() -> tuple[np.ndarray, np.ndarray]:
    """Losses and derivatives of outputs times 2^26 over those of outputs times 2^-90, as attacks climb them."""
    outputs = np.float32(RNG.standard_normal((2, 4, 200)))
    label = jnp.argmax(jnp.asarray(outputs[0]), 0)

    def climbed(c: float) -> tuple[np.ndarray, np.ndarray]:
        clean, moved = (jnp.asarray(one * np.float32(c)) for one in outputs)
        temperature = objectives.temperature(clean)
        loss, pull = jax.vjp(lambda out: objectives.cross_entropy(out, label, temperature), moved)
        return np.float64(loss), np.float64(pull(jnp.ones_like(loss))[0])

    (large, large_slope), (small, small_slope) = climbed(2.0**26), climbed(2.0**-90)
    assert np.array_equal(large == 0, small == 0)
    assert np.array_equal(large_slope == 0, small_slope == 0)
    there = (large != 0) & (large_slope != 0).all(axis=0)
    assert there.mean() > 0.8
    return large[there] / small[there], large_slope[:, there] / small_slope[:, there]


def test_a_multiple_by_a_power_of_two_is_climbed_to_the_bit(figure, monkeypatch):
    """Else one comparison of losses that rounding decides leads the search to another point."""
    losses, slopes = ratios_of_cross_entropies()
    assert np.all(np.log2(losses) % 1 == 0)
    # exact arithmetic: a slope is that of the loss divided by what the outputs were multiplied by
    assert np.array_equal(slopes, np.broadcast_to(losses / 2.0**116, slopes.shape))
    figure("powers of two among ratios of cross entropies", np.mean(np.log2(losses) % 1 == 0), 1.0, "exact arithmetic")
    monkeypatch.setattr(objectives, "weight", lambda temperature: jnp.maximum(temperature, 1))
    losses, _ = ratios_of_cross_entropies()
    assert np.mean(np.log2(losses) % 1 == 0) < 0.5  # planted: T itself as the factor


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shallow", "one output", "deep", "tanh", "biases", "convolutional", "residual"])
def test_every_measure_and_attack(scales, name):
    table, wrong = scales.campaign([name], 16, 1)
    assert not wrong
    net = scales.ARCHITECTURES[name]
    # Multiplied in their last layer, networks began elsewhere: what compares with the beginning says nothing there.
    is_seen = {
        one for one in scales.names_for(net) if "alpha" in scales.ways_of(net) or not MEASURES[one].needs_initial
    }
    assert is_seen <= set(table)


def test_the_campaign_knows_every_measure(scales):
    assert set(MEASURES) == {*scales.DEGREE, *scales.OF_ITS_OWN}


def test_gradients_of_divergences_of_small_networks(figure):
    """KL(p‖p') → ½Var(f' − f) for f → 0, with equal weights: its gradient is Jᵀ(Δ − mean Δ)/o, large in corners."""
    net = MLP(2, 12, 4, initialization=MLP(2, 12).drawn_from.with_alpha_times(1e12))
    x, epsilon = X[:3, :8] / 2, 0.1
    run = train(net, x, np.eye(4)[:3], seeds=1, steps=0)
    found = np.float64(measure(run, x, ["kl_gradient"], epsilon=epsilon).kl_gradient)[0, 0]
    w1, w2 = (np.float64(one[0]) for one in run.parameters.weights)
    corners = np.array(np.meshgrid(*[[-epsilon, epsilon]] * 8)).reshape(8, -1)
    largest = []
    for point in x:
        moved = w1 @ (point[:, None] + corners)
        change = 1e-12 * (w2 @ np.maximum(moved, 0) - (w2 @ np.maximum(w1 @ point, 0))[:, None])
        slope = 1e-12 * np.einsum("oc,om,mc,md->cd", change - change.mean(axis=0), w2, moved > 0, w1) / 4
        largest.append(np.abs(slope).sum(axis=1).max())
    figure("gradient of KL at 1e-12, over 1e-24", float(found[0] * 1e24), float(largest[0] * 1e24), "all 256 corners")
    # The search may end in another corner, and gates may be open elsewhere that are closed in all of them.
    np.testing.assert_allclose(found, largest, rtol=0.3)
    # the planted fault: p' − p as a difference of probabilities
    p = np.exp(change) / np.exp(change).sum(axis=0)
    assert np.abs((p - 0.25) / ((change - change.mean(axis=0)) / 4) - 1).max() > 1e-6


def test_a_network_with_a_nan_has_no_measures(scales):
    run = scales.trained("shallow")
    weights = [np.array(one) for one in run.parameters.weights]
    weights[1][0, 0, 3] = np.nan
    broken = scales.dataclasses.replace(run, snapshots=(run.parameters._replace(weights=tuple(weights)),))
    assert broken.status.tolist() == ["diverged", run.status[1]]
    found, sound = (scales.measured(one, tuple(MEASURES), 1.0) for one in (broken, run))
    for name in MEASURES:
        np.testing.assert_array_equal(found[name][1], sound[name][1])
        # Of the two layers one is as it was.
        assert np.isnan(found[name][0]).sum() == (1 if "layer" in MEASURES[name].dims else found[name][0].size), name


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


def test_what_single_precision_cannot_hold_is_refused(scales):
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
    small, large, larger = (scales.Multiplied(k).run(run) for k in (-36, 20, 37))
    with pytest.raises(InputError, match=r"a typical input gradient of MLP.* is about 1e-36"):
        measure(small, X)
    with pytest.raises(InputError, match="single precision"):
        attack(larger, X, epsilon=0.1, against="predicted")
    with pytest.raises(InputError, match="the square of"):
        empirical_ntk(large, X)
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
