"""Measures as objects: what they are as values, how they are called, what a call makes of them, and one's own."""

import copy
import dataclasses
import importlib.util
import json
import pickle
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.runtime.compiling import PROGRAMS

HERE = Path(__file__).parent
RNG = np.random.default_rng(20261130)
D, N = 3, 10
X, X_TEST = RNG.uniform(-1, 1, (8, D)), RNG.uniform(-1, 1, (N, D))
Y, Y_TEST = np.arange(8) % 2, np.arange(N) % 2
Robust, Stable, Local = ntr.measures.RobustAccuracy, ntr.measures.PredictionStability, ntr.measures.LocalLipschitz
PGD = ntr.attacks.PGD


def of_file(path):
    """A module of a file that no package holds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Excess = of_file(HERE / "own" / "excess.py").Excess


def of_docs():
    """The class and the function of ``docs/measures.md``."""
    page = (HERE.parent / "docs" / "measures.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page.partition("\n## A measure of one's own")[2], flags=re.DOTALL)
    return blocks[0], blocks[1]


@pytest.fixture(scope="module")
def run():
    return ntr.train(ntr.MLP(2, 6, 1, "relu", "he", bias_std=0.2), X, Y, seeds=2, steps=3, record_steps=(0, 3))


def plain(run, seed, time, x):
    """f(x) (n,) and J(x) (n, d) of a two-layer ReLU network of one output, in float64."""
    (w1, w2), (b1, b2) = ([np.float64(leaf[seed]) for leaf in group] for group in run.snapshots[time])
    z = x @ w1.T + b1
    return (np.maximum(z, 0) @ w2.T + b2)[:, 0], ((z > 0) * w2[0]) @ w1


# --- values

ALL = (
    Robust(epsilon=0.1, attack=PGD(steps=20, restarts=2)),
    Stable(epsilon=0.1, attack=ntr.attacks.MarginPGD(20, 2, norm="l2")),
    Local(epsilon=0.5, steps=5),
    ntr.measures.FinitePerturbationStability(epsilon=0.2, samples=9),
    ntr.measures.KernelChange(points=4),
    Robust(by_attack=True).rename("what_pgd_finds"),
    Excess(limit=2),
)


@pytest.mark.fast
@pytest.mark.parametrize("measure", [*ntr.measures.MEASURES.values(), *ALL], ids=lambda one: one.name)
def test_measures_are_values_and_print_as_the_code_that_makes_them(measure):
    names = vars(ntr.measures) | vars(ntr.attacks) | {"Excess": Excess}
    for same in (copy.deepcopy(measure), pickle.loads(pickle.dumps(measure)), eval(repr(measure), names)):
        assert same == measure
        assert hash(same) == hash(measure)
        assert same.name == measure.name
    assert measure != measure.rename("other")
    assert measure.rename("other").name == "other"
    assert measure.name.isidentifier()
    with pytest.raises(dataclasses.FrozenInstanceError):
        measure.epsilon = 3.0


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        (Robust(), "robust_accuracy"),
        (Robust(epsilon=0.1), "robust_accuracy_epsilon_0_1"),
        (Robust(epsilon=1e-5), "robust_accuracy_epsilon_1em05"),
        (Robust(attack=ntr.attacks.MarginPGD(20, 2, norm="l2")), "robust_accuracy_l2"),
        (Robust(by_attack=True), "robust_accuracy_by_pgd"),
        (Robust(by_attack=True, attack=PGD(7, norm="l2")), "robust_accuracy_by_pgd_l2_steps_7"),
        (Robust(epsilon=2, attack=ntr.attacks.Square(9)), "robust_accuracy_square_queries_9_epsilon_2"),
        (Local(steps=5, by_attack=True), "local_lipschitz_by_pgd_steps_5"),
        (ntr.measures.KernelChange(points=16), "kernel_change_points_16"),
        (Excess(limit=-0.5), "excess_limit_m0_5"),
    ],
)
def test_a_name_says_what_differs_from_the_defaults(measure, name):
    assert measure.name == name


def test_a_replaced_measure_has_the_name_of_its_own_parameters():
    assert dataclasses.replace(Robust(epsilon=0.1), epsilon=0.2).name == "robust_accuracy_epsilon_0_2"


@pytest.mark.fast
def test_names_are_short_forms():
    assert ntr.measures.get("robust_accuracy") == Robust()
    assert ntr.measures.get("kernel_change") == ntr.measures.KernelChange(points=64)
    assert ntr.measures.get("local_lipschitz") == Local(steps=20)


# --- a call


def test_each_radius_has_its_variable_and_its_number(run):
    radii = (0.05, 0.2, 0.8)
    found = ntr.measure(run, X_TEST, [*(Stable(epsilon=radius) for radius in radii), Local(epsilon=0.2), "output_rms"])
    for radius in radii:
        name = f"prediction_stability_epsilon_{radius}".replace(".", "_")
        alone = ntr.measure(run, X_TEST, ["prediction_stability"], epsilon=radius).prediction_stability
        np.testing.assert_array_equal(found[name], alone)
        assert rf"\varepsilon = {radius:g}" in found[name].attrs["definition"]
        assert found[name].attrs["side"] == "upper"
    alone = ntr.measure(run, X_TEST, ["local_lipschitz"], epsilon=0.2).local_lipschitz
    np.testing.assert_allclose(found.local_lipschitz_epsilon_0_2, alone, rtol=1e-6)
    # The planted fault: a radius taken for another.
    shares = [found[f"prediction_stability_epsilon_{radius}".replace(".", "_")] for radius in radii]
    assert not np.array_equal(shares[0], shares[2])


def test_an_attack_of_a_measure_is_that_of_attack(run):
    """Square has no steps to be rounded differently: the same keys would be the same points, so shares are alike."""
    attack = ntr.attacks.PGD(steps=20)
    found = ntr.measure(run, X_TEST, [Stable(epsilon=0.3, attack=attack).rename("kept")]).kept.isel(time=-1)
    theirs = ntr.attack(run, X_TEST, epsilon=0.3, methods=[attack], against="predicted").is_robust_by_method
    # One run of PGD starts at the input and has no chance in it.
    np.testing.assert_allclose(found, theirs.mean("point").squeeze(), atol=1e-6)
    weaker = ntr.measure(run, X_TEST, [Stable(epsilon=1e-3, attack=attack).rename("kept")]).kept.isel(time=-1)
    assert not np.array_equal(found, weaker)


def test_attacks_that_differ_in_norm_are_measured_in_theirs(run):
    names = ["prediction_stability_l2", Stable(attack=ntr.attacks.MarginPGD(20, 2, norm="l2"), epsilon=0.4)]
    found = ntr.measure(run, X_TEST, names, epsilon=0.4)
    np.testing.assert_array_equal(found.prediction_stability_l2, found.prediction_stability_l2_epsilon_0_4)


def test_other_radii_and_steps_need_no_other_program(run):
    def measured(radius, steps):
        return ntr.measure(run, X_TEST, [Local(epsilon=radius, steps=steps), Robust(epsilon=2 * radius)], y_test=Y_TEST)

    measured(0.1, 3)
    before = len(PROGRAMS)
    found = measured(0.3, 6)
    assert len(PROGRAMS) == before
    assert "local_lipschitz_epsilon_0_3_steps_6" in found
    # Shapes do.
    ntr.measure(run, X_TEST, [ntr.measures.FinitePerturbationStability(epsilon=0.1, samples=3)])
    before = len(PROGRAMS)
    ntr.measure(run, X_TEST, [ntr.measures.FinitePerturbationStability(epsilon=0.1, samples=4)])
    assert len(PROGRAMS) == before + 1


def test_measures_of_one_attack_share_it(run):
    searches = []

    class Counting(ntr.attacks.Attack):
        steps: int = ntr.attacks.count(default=2)

        def search(self, target, found):
            searches.append(1)
            return jax.lax.fori_loop(0, self.steps, lambda _, found: target.judge(found, target.ball.centre), found)

    def times(*radii):
        searches.clear()
        chosen = [kind(epsilon=radius, attack=Counting()) for radius in radii for kind in (Robust, Stable)]
        ntr.measure(run, X_TEST, chosen, y_test=Y_TEST)
        return len(searches)

    assert 2 * times(0.1) == times(0.2, 0.3) > 0


def test_samples_of_its_own(run):
    own = ntr.measures.FinitePerturbationStability(epsilon=0.1, samples=5).rename("own")
    found = ntr.measure(run, X_TEST, [own, "finite_perturbation_stability"], epsilon=0.1, samples=7)
    for name, samples in (("own", 5), ("finite_perturbation_stability", 7)):
        alone = ntr.measure(run, X_TEST, "finite_perturbation_stability", epsilon=0.1, samples=samples)
        np.testing.assert_allclose(found[name], alone.finite_perturbation_stability, rtol=1e-6)
    assert not np.allclose(found.own, found.finite_perturbation_stability, rtol=1e-3)


class Outside(ntr.attacks.Attack):
    """Far outside, where every class changes."""

    def search(self, target, found):
        return target.judge(target.judge(found, target.ball.centre + 1e3), target.ball.centre - 1e3)


def test_points_outside_of_the_ball_count_for_nothing(run):
    found = ntr.measure(run, X_TEST, [Stable(epsilon=0.1, attack=Outside())])
    assert (found["prediction_stability_outside_epsilon_0_1"] == 1).all()

    class Inside(Outside):
        """The same within a ball that holds them."""

    found = ntr.measure(run, X_TEST, [Stable(epsilon=1e4, attack=Inside())])
    assert (found["prediction_stability_inside_epsilon_10000"] < 1).any()


@pytest.mark.parametrize(
    ("measures", "more", "sentence"),
    [
        ([Robust(epsilon=0.1)], {"epsilon": 0.2, "y_test": Y_TEST}, r"epsilon=0.2 contradicts RobustAccuracy\("),
        ([Robust(epsilon=0.1)], {}, "'robust_accuracy_epsilon_0_1' needs y_test"),
        ([Robust()], {"y_test": Y_TEST}, "'robust_accuracy' needs epsilon"),
        ([Stable(epsilon=1e-30)], {}, "epsilon must be a radius in single precision"),
        ([Excess(limit=1), Excess(limit=2).rename("excess")], {}, "two measures of a call have the name 'excess'"),
        ([Excess().rename("step")], {}, "'step' is that of a coordinate"),
        ([Excess], {}, r"a measure is an object, such as Excess\(\)"),
        ([lambda outputs: outputs[0, 0]], {}, "needs a name"),
        ([], {}, "measures must be names"),
        ([3], {}, "a measure is a name, a function or a Measure, got 3"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_in_one_sentence(run, measures, more, sentence):
    with pytest.raises(ntr.InputError, match=sentence) as caught:
        ntr.measure(run, X_TEST, measures, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Robust(epsilon=0.0), "epsilon of RobustAccuracy must be positive, got 0"),
        (lambda: Robust(epsilon="far"), "epsilon of RobustAccuracy must be a finite number"),
        (lambda: Robust(attack="pgd"), r"attack of RobustAccuracy must be an attack, .* got 'pgd'"),
        (lambda: Robust(by_attack=1), "by_attack of RobustAccuracy must be True or False"),
        (lambda: Local(steps=0), "steps of LocalLipschitz must be an integer of at least 1, got 0"),
        (lambda: ntr.measures.KernelChange(points=0), "points of KernelChange must be an integer of at least 1"),
        (lambda: ntr.measures.FinitePerturbationStability(samples=1), "samples of .* must be an integer of at least 2"),
        (lambda: Excess(limit=np.nan), "limit of Excess must be a finite number, got nan"),
        (lambda: Excess().rename("two words"), "made of letters, digits and _, got 'two words'"),
    ],
)
def test_parameters_are_checked(make, sentence):
    with pytest.raises(ntr.InputError, match=sentence):
        make()


# --- one's own


def expected_excess(run, limit, seed, time):
    f, _ = plain(run, seed, time, X_TEST)
    return np.mean(np.maximum(np.abs(f) - limit, 0))


def test_a_class_in_a_file_of_its_own(run, tmp_path, monkeypatch):
    found = ntr.measure(run, X_TEST, [Excess(limit=0.25), "lazy_ratio"]).excess_limit_0_25
    right = [[expected_excess(run, 0.25, seed, time) for time in range(2)] for seed in range(2)]
    assert np.min(right) > 0.01
    np.testing.assert_allclose(found, right, rtol=1e-5)
    assert found.attrs == {
        "definition": r"\mathrm{mean}_x \max(\|f(x)\|_2 - s, 0)", "side": "exact", "source": "tests"
    }  # fmt: skip
    untrained = measure_untrained(run.net, X_TEST, Excess(limit=0.25), seeds=2).excess_limit_0_25
    np.testing.assert_allclose(untrained, np.array(right)[:, 0], rtol=1e-5)
    # The planted fault: a wrong constant in the file.
    wrong = tmp_path / "excess.py"
    wrong.write_text((HERE / "own" / "excess.py").read_text().replace("- self.limit", "- 1.01 * self.limit"))
    monkeypatch.setitem(sys.modules, "excess", None)
    planted = ntr.measure(run, X_TEST, [of_file(wrong).Excess(limit=0.25)]).excess_limit_0_25
    assert not np.allclose(planted, right, rtol=1e-4)


def test_it_is_what_a_claim_is_about(tmp_path):
    grid = {"initialization": ["he"], "depth": [2], "width": [4, 8], "n": [8]}
    excess = Excess(limit=0.25)
    about = [
        ntr.Claim("mine/low", "", ntr.AtMost(lambda: 1e3), excess, grid, assumptions=(
            ntr.Assumption("some", lambda excess_limit_0_5: excess_limit_0_5 >= 0, (Excess(limit=0.5),)),
        )),
        ntr.Claim("mine/high", "", ntr.AtLeast(lambda: 1e3), excess, grid),
    ]  # fmt: skip
    verdicts = ntr.verify(about, seeds=64, out=tmp_path)
    assert [one.label for one in verdicts] == ["supported", "refuted"]
    measured = verdicts.evidence["measured"].to_dataset()
    assert measured.excess_limit_0_25.attrs["definition"] == excess.definition
    for cell, width in enumerate(measured.width.values):
        data = ntr.data.load("digits")
        alone = measure_untrained(
            ntr.MLP(2, int(width)), data.x_test[:64], excess, seeds=64, key=jax.random.key(0),
            bounds=data.domain.bounds, movable=data.domain.movable,
        )  # fmt: skip
        np.testing.assert_allclose(measured.excess_limit_0_25[cell], alone.excess_limit_0_25, rtol=1e-5)
    stored = json.loads((tmp_path / "verdicts.json").read_text())["values"]["verdicts"]
    assert stored[0]["measure"]["name"] == "excess_limit_0_25"
    assert stored[0]["measure"]["definition"] == excess.definition
    assert "excess_limit_0_25" in (tmp_path / "report.html").read_text()


def test_a_claim_takes_a_measure_with_a_radius_of_its_own():
    grid = {"initialization": ["he"], "depth": [2], "width": [4]}
    near = Stable(epsilon=0.01, by_attack=True)
    (verdict,) = ntr.verify([ntr.Claim("mine/near", "", ntr.AtLeast(lambda: 0.1), near, grid)], seeds=64)
    assert verdict.label == "supported"
    with pytest.raises(ntr.InputError, match="the grid's epsilon contradicts PredictionStability"):
        ntr.verify(ntr.Claim("mine/near", "", ntr.AtMost(lambda: 1.0), near, grid | {"epsilon": [0.01, 0.02]}))


def test_the_measures_of_the_docs(run):
    names = {"jnp": jnp, "ntr": ntr, "run": run, "x_test": X_TEST, "__name__": "own"}
    a_class, a_function = of_docs()
    exec(a_class, names)
    exec(a_function, names)
    found = ntr.measure(run, X_TEST, [names["Overshoot"](limit=0.5), "lazy_ratio"]).overshoot_limit_0_5
    for seed in range(2):
        f, jacobian = plain(run, seed, 1, X_TEST)
        right = max(np.linalg.norm(jacobian, axis=1).max() - 0.5, 0)
        np.testing.assert_allclose(found[seed, 1], right, rtol=1e-5)
        assert right > 0.01
        np.testing.assert_allclose(names["found"].spread[seed, 1], f.max() - f.min(), rtol=1e-5)
    assert found.attrs["definition"] == r"\max_x \max(\|J(x)\|_F - s, 0)"
    page = (HERE.parent / "docs" / "measures.md").read_text(encoding="utf-8")
    exec(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0], names)
    assert list(names["found"].data_vars) == [
        "jacobian_frobenius", "prediction_stability_epsilon_0_05", "prediction_stability_epsilon_0_1",
        "prediction_stability_epsilon_0_2", "l2", "kernel_change_points_16",
    ]  # fmt: skip


def test_a_function_keeps_its_points(run):
    def size(jacobian, x):
        return jnp.linalg.norm(jacobian[:, 0], axis=-1) * jnp.linalg.norm(x, axis=-1)

    found = ntr.measure(run, X_TEST, [size, lambda_free]).isel(time=-1)
    assert found["size"].dims == ("seed", "point")
    assert found.lambda_free.dims == ("seed",)
    _, jacobian = plain(run, 0, 1, X_TEST)
    right = np.linalg.norm(jacobian, axis=1) * np.linalg.norm(X_TEST, axis=1)
    np.testing.assert_allclose(found["size"][0], right, rtol=1e-5)


def lambda_free(probe):
    """Of a probe."""
    return jnp.max(probe.outputs)


@pytest.mark.parametrize(
    ("compute", "dims", "sentence"),
    [
        (lambda self, probe: probe.outputs, None, r"'bad' must give one number, or one per .* got shape \(10, 1\)"),
        (lambda self, probe: probe.outputs[:, 0], (), r"'bad' must have the axes \(\), got shape \(10,\)"),
        (lambda self, probe: probe.outputs[:2, 0], ("point",), "'bad' must give one number per test point, 10, got"),
        (lambda self, probe: float(probe.outputs[0, 0]), (), "the measure 'bad' fails: ConcretizationTypeError"),
        (lambda self, probe: jnp.sum(probe.labels), (), r"'bad': reads test targets, so .* needs=\('y_test',\)"),
        (lambda self, probe: jnp.sum(probe.x_train), (), "'bad': reads training data, so .* needs_training_data=True"),
    ],
)  # fmt: skip
def test_what_gives_something_else_is_refused(run, compute, dims, sentence):
    bad = type("Bad", (ntr.Measure,), {"compute": compute, "dims": dims, "__module__": "own", "__doc__": "Bad."})
    with pytest.raises(ntr.InputError, match=sentence) as caught:
        ntr.measure(run, X_TEST, bad())
    assert "\n" not in str(caught.value)


def test_a_measure_without_compute_says_so(run):
    class Empty(ntr.Measure):
        pass

    with pytest.raises(ntr.InputError, match=r"Empty has no compute\(probe\)"):
        ntr.measure(run, X_TEST, Empty())


def test_an_attack_that_moves_what_may_not_move_counts_for_nothing(run):
    class First(ntr.attacks.Attack):
        """Moves the first coordinate."""

        def search(self, target, found):
            ball: Ball = target.ball
            return target.judge(found, ball.centre.at[0].add(ball.radius).at[0].add(0.0))

    first = Stable(epsilon=50.0, attack=First()).rename("kept")
    free = ntr.measure(run, X_TEST, first).kept
    assert (free < 1).any()
    held = ntr.measure(run, X_TEST, first, movable=np.array([False, True, True])).kept
    assert (held == 1).all()
