"""Attacks as objects: what they are as values, names as their short forms, and attacks of one's own."""

import copy
import dataclasses
import hashlib
import importlib.util
import pickle
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.attacks.suite import Suite
from ntkrobust.networks.parameters import Parameters
from ntkrobust.runtime.compiling import PROGRAMS

HERE = Path(__file__).parent
D, N, F = 6, 10, 0.3


def of_file(path):
    """A module of a file that no package holds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Corners = of_file(HERE / "own" / "corners.py").Corners


def of_docs():
    """The attack of ``docs/attacks.md``."""
    section = (
        (HERE.parent / "docs" / "attacks.md").read_text(encoding="utf-8").partition("\n## An attack of one's own")[2]
    )
    (code,) = re.findall(r"```python\n(class .*?)```", section, flags=re.DOTALL)
    names = {"jax": jax, "jnp": jnp, "ntr": ntr, "__name__": "own"}
    exec(code, names)
    return names["Momentum"]


Momentum = of_docs()


class Nothing(ntr.attacks.Attack):
    """Looks nowhere."""

    def search(self, target, found):
        return found


class Misled(Nothing):
    """Says that an attack in another norm is stronger."""

    def stronger(self):
        return ntr.attacks.FGSM(norm="l2")


class Ordering(Nothing):
    """Puts its parameter in order after the base class has checked it."""

    among: object = ()

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "among", tuple(sorted(self.among)))


class Choosing(Nothing):
    """With a parameter that is no value."""

    among: object = frozenset()


@pytest.fixture(scope="module")
def linear():
    """A linear network of one output, points at which |f| is F, its gradient w (d,)."""
    rng = np.random.default_rng(5)
    run = ntr.train(
        ntr.MLP(2, 5, 1, "linear", "he"), rng.standard_normal((4, D)), np.array([0, 1, 0, 1]), seeds=1, steps=0
    )
    w1, w2 = (np.float64(one[0]) for one in run.parameters.weights)
    w = (w2 @ w1)[0]
    x = rng.standard_normal((N, D))
    f = np.where(np.arange(N) % 2, F, -F)
    return run, x + np.outer((f - x @ w) / (w @ w), w), w


def struck(linear, methods, **arguments):
    run, x, _ = linear
    return ntr.attack(run, x, methods=methods, **{"against": "predicted", "steps": 5, "queries": 5} | arguments)


# --- values

ALL = (
    ntr.attacks.FGSM(norm="l1"),
    ntr.attacks.PGD(steps=20, restarts=2),
    ntr.attacks.PGD(20, 2, norm="l2"),
    ntr.attacks.APGD("targeted-dlr", steps=30),
    ntr.attacks.Square(queries=10, image_shape=(2, 3)),
    ntr.attacks.RandomSearch(7),
    Corners(3),
    Momentum(3, decay=0.5),
)


@pytest.mark.fast
@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_attacks_are_values_and_print_as_the_code_that_makes_them(attack):
    again = eval(repr(attack), vars(ntr.attacks) | {"Corners": Corners, "Momentum": Momentum})
    assert again == attack
    assert hash(again) == hash(attack)
    assert copy.deepcopy(attack) == attack
    assert [one == attack for one in ALL].count(True) == 1
    assert again.static() is attack.static()
    if type(attack).__module__.startswith("ntkrobust"):
        assert pickle.loads(pickle.dumps(attack)) == attack
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.norm = "l2"


def test_what_attacks_are_made_of():
    assert repr(ntr.attacks.PGD(20)) == "PGD(steps=20, restarts=1, norm='linf')"
    assert type(ntr.attacks.PGD(np.int64(20)).steps) is int
    assert ntr.attacks.Square(image_shape=[2, 3]) == ntr.attacks.Square(image_shape=(2, 3))
    assert hash(Ordering((2, 1))) == hash(Ordering((1, 2)))
    assert ntr.attacks.named("apgd-ce", "l2", steps=3, queries=9) == ntr.attacks.APGD("ce", 3, norm="l2")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ntr.attacks.PGD(steps=0), "steps must be an integer of at least 1, got 0"),
        (lambda: ntr.attacks.PGD(restarts=2.0), "restarts must be an integer of at least 1, got 2.0"),
        (lambda: ntr.attacks.FGSM(norm="l3"), "norm must be one of 'linf', 'l2', 'l1', got 'l3'"),
        (lambda: ntr.attacks.APGD(norm="l1"), "APGD works in linf and l2, got norm='l1'"),
        (lambda: ntr.attacks.APGD("hinge"), "loss must be one of ce, dlr, targeted-dlr, got 'hinge'"),
        (lambda: ntr.attacks.Square(image_shape=8), r"image_shape must be \(rows, columns\[, channels\]\), got 8"),
        (lambda: Corners(norm="l2"), "Corners works in linf, got norm='l2'"),
        (lambda: Choosing({1, 2}), "the parameters of Choosing must have a hash: unhashable type: 'set'"),
        (lambda: Corners(True), "queries must be an integer of at least 1, got True"),
    ],
)
def test_parameters_are_checked_when_an_attack_is_made(make, sentence):
    with pytest.raises(ntr.InputError, match=f"^{sentence}$"):
        make()


# --- names and objects in one call


def test_names_are_short_forms_of_objects(linear):
    by_name = struck(linear, ("pgd", "square"), epsilon=0.1, restarts=2)
    objects = ntr.attacks.PGD(5, 2), ntr.attacks.Square(5)
    by_object = struck(linear, objects, epsilon=0.1, steps=50)
    mixed = struck(linear, ("pgd", objects[1]), epsilon=0.1, restarts=2)
    assert by_object.attack.to_numpy().tolist() == [repr(one) for one in objects]
    assert mixed.attack.to_numpy().tolist() == ["pgd", repr(objects[1])]
    for other in (by_object, mixed):
        for name in by_name.data_vars:
            np.testing.assert_array_equal(other[name], by_name[name], err_msg=name)
    # another number of queries is another attack
    few, more = (struck(linear, ntr.attacks.Square(queries), epsilon=0.1).margin for queries in (1, 5))
    assert not np.allclose(few, more)


def test_the_norm_of_a_call_is_that_of_its_objects():
    given = {"d_in": 6, "d_out": 1, "steps": 5, "restarts": 2, "queries": 7, "image_shape": (2, 3)}
    suite = Suite.of(("fgsm", "square", ntr.attacks.PGD(norm="l2")), None, **given)
    assert suite.norm == "l2"
    assert list(suite.attacks.values()) == [
        ntr.attacks.FGSM(norm="l2"), ntr.attacks.Square(7, (2, 3), norm="l2"), ntr.attacks.PGD(norm="l2")
    ]  # fmt: skip
    assert suite.stronger == (ntr.attacks.APGD("dlr", 100, norm="l2"),)
    assert suite.control == ntr.attacks.RandomSearch(7, norm="l2")
    assert Suite.of("random", None, **given).norm == "linf"
    assert Suite.of("fgsm", "l1", **given).stronger == (ntr.attacks.PGD(10, 2, norm="l1"),)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"methods": ntr.attacks.PGD(norm="l2"), "norm": "linf"},
            r"attacks of one call are in one norm, but PGD\(.*norm='l2'\) is not in 'linf'",
        ),
        (
            {"methods": (ntr.attacks.PGD(), ntr.attacks.Square(norm="l2"))},
            r"attacks of one call are in one norm, but Square\(.*norm='l2'\) is not in 'linf'",
        ),
        ({"methods": ("pgd", ntr.attacks.PGD(5))}, "methods must be different from each other, got 'pgd', PGD"),
        (
            {"methods": Misled()},
            r"stronger\(\) of Misled\(norm='linf'\) must give an attack in 'linf' or None, got FGSM\(norm='l2'\)",
        ),
        ({"methods": ntr.attacks.PGD}, "methods must be names out of fgsm, .*, or attacks, got <class"),
        (
            {"methods": ntr.attacks.Square(image_shape=(2, 2))},
            r"the method Square\(.*\) is for inputs of 4 numbers, the network's have 6",
        ),
        (
            {"methods": ntr.attacks.APGD("targeted-dlr")},
            r"the method APGD\(.*\) needs at least 4 outputs, the network has 1",
        ),
    ],
)
def test_attacks_that_do_not_go_together_are_refused(linear, arguments, sentence):
    with pytest.raises(ntr.InputError, match=f"^{sentence}"):
        struck(linear, epsilon=0.1, **arguments)


def test_other_counts_need_no_other_program(linear):
    def programs_of(attack):
        struck(linear, attack, epsilon=0.1)
        return len(PROGRAMS)

    before = programs_of(Momentum(4))
    assert programs_of(Momentum(9)) == before
    # the planted fault: what is no count is part of the program
    assert programs_of(Momentum(9, decay=0.1)) > before


# --- attacks of one's own


class Descending(ntr.attacks.Attack):
    """Planted: one step down the loss."""

    def search(self, target, found):
        seen = target.look(target.ball.centre, target.cross_entropy())
        return target.judge(found, target.climb(seen.x, -seen.gradient, target.ball.radius))


def test_an_attack_of_ones_own_finds_the_closed_form(linear):
    """|f|/‖w‖₁ is where linear networks lose their class: one part in a thousand above, and not below."""
    radius = F / np.abs(linear[2]).sum()
    radii = [0.999 * radius, 1.001 * radius]
    own = struck(linear, (Momentum(20), "pgd"), epsilon=radii)
    np.testing.assert_array_equal(own.is_robust_by_method[0].mean("point"), [[1, 1], [0, 0]])
    assert (own.outside == 0).all()
    wrong = struck(linear, Descending(), epsilon=radii)
    assert (wrong.is_robust_by_method == 1).all()


def test_it_is_used_inside_of_any_program(linear):
    _, x, w = linear
    radius = 1.001 * F / np.abs(w).sum()
    ball = Ball.around(jnp.float32(x), jnp.float32(radius), jnp.float32(-np.inf), jnp.float32(np.inf))
    label = jnp.int32(np.sign(x @ w))

    @jax.jit
    def search(w, key):
        return Momentum(20).against(lambda x: (w @ x)[None], label, ball, key)

    found = search(jnp.float32(w), jax.random.key(0))
    assert not found.is_kept.any()
    np.testing.assert_allclose(found.margin, label * (found.x.T @ w), atol=1e-5)


def test_its_strength_is_checked(linear):
    radius = 1.5 * F / np.abs(linear[2]).sum()
    own = struck(linear, Momentum(20), epsilon=radius)
    assert own.attrs["doubled_method"] == "Momentum(steps=40, decay=0.9, norm='linf'), apgd-dlr"
    assert own.doubling_gain == 0
    # what finds nothing is found out by what the package runs beside it
    weak = struck(linear, Nothing(), epsilon=radius)
    assert weak.prediction_stability == weak.doubling_gain == 1
    # and what takes too few steps by itself with twice as many
    assert Momentum(7).stronger() == Momentum(14)
    assert Corners().stronger() is None


def test_a_search_that_beats_gradients_says_that_they_are_masked():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, D)), rng.integers(0, 2, 40)
    run = ntr.train(ntr.MLP(3, 8, 1, "tanh", "lecun"), x, y, seeds=1, steps=0)
    saturated = dataclasses.replace(
        run, snapshots=(Parameters(tuple(1e4 * one for one in run.parameters.weights), run.parameters.biases),)
    )
    arguments = {"epsilon": 0.8, "against": "predicted", "steps": 5, "queries": 5}
    found = ntr.attack(saturated, x, methods=Corners(60), **arguments)
    assert found.square_gain > 0.05
    assert f"{Corners(60)!r} breaks" in found.masking_reasons.item()
    plain = ntr.attack(run, x, methods=Corners(60), **arguments)
    assert plain.masks_gradients == 0


def test_keys_are_those_of_the_printed_attack(linear):
    digest = hashlib.sha256(b"Corners(queries=None, norm='linf')").digest()
    expected = 2**16 + int.from_bytes(digest[:4], "big") % (2**32 - 2**16)
    assert Corners(5).key_index() == Corners(6).key_index() == expected
    assert Momentum().key_index() != expected
    assert [one.key_index() for one in ntr.attacks.NAMES.values()] == list(range(7))


# --- attacks that are wrong


class TooFar(ntr.attacks.Attack):
    """Twice the radius along the gradient: planted, it leaves its ball."""

    def search(self, target, found):
        gradient = target.look(target.ball.centre, target.cross_entropy()).gradient
        return target.judge(found, target.ball.centre + 2 * target.ball.radius * jnp.sign(gradient))


class NeverTraced(ntr.attacks.Attack):
    """Asks for numbers while it is compiled."""

    def search(self, target, found):
        return target.judge(found, target.ball.centre) if target.label.sum() > 0 else found


class InRows(ntr.attacks.Attack):
    """Takes points for rows."""

    def search(self, target, found):
        return target.judge(found, target.ball.centre.T)


class GivesPoints(ntr.attacks.Attack):
    """Gives points, not what was found."""

    def search(self, target, found):
        return target.ball.centre


class GivesNumbers(ntr.attacks.Attack):
    """Gives what can't be compared."""

    def search(self, target, found):
        return found._replace(margin=None)


class OnePoint(ntr.attacks.Attack):
    """Gives what was found of one point."""

    def search(self, target, found):
        return jax.tree.map(lambda leaf: leaf[..., :1], found)


def test_points_outside_are_counted_and_count_for_nothing(linear):
    radius = F / np.abs(linear[2]).sum()
    wrong = struck(linear, (TooFar(), "pgd"), epsilon=[0.4 * radius, 0.9 * radius, 1.001 * radius], keep_examples=True)
    # 0.8 of the radius still keeps every class; beyond it, the points would all be lost
    np.testing.assert_array_equal(wrong.outside, [[N, N, N]])
    np.testing.assert_allclose(wrong.excess[0], wrong.epsilon, rtol=1e-3)
    np.testing.assert_array_equal(wrong.is_robust_by_method[0].mean("point"), [[1, 1], [1, 1], [1, 0]])
    away = np.abs(wrong.example[0].to_numpy() - np.float32(linear[1])).max(axis=(1, 2))
    assert (away <= wrong.epsilon.to_numpy() + 1e-6).all()
    alone = struck(linear, TooFar(), epsilon=[1.001 * radius])
    assert (alone.prediction_stability == 1).all()
    np.testing.assert_allclose(alone.margin, F, rtol=1e-4)


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (NeverTraced(), "the attack NeverTraced fails: TracerBoolConversionError: "),
        (InRows(), "the attack InRows fails: "),
        (GivesPoints(), r"the search of GivesPoints must give .*: Found of float32\[6, 10\], .*, got "),
        (GivesNumbers(), r"the search of GivesNumbers must give .*, got Found of float32\[6, 10\], NoneType\[\], "),
        (OnePoint(), r"the search of OnePoint must give .*, got Found of float32\[6, 1\], float32\[1\], bool\[1\]"),
    ],
)
def test_attacks_that_fail_are_refused_in_a_sentence(linear, attack, sentence):
    before = len(PROGRAMS)
    with pytest.raises(ntr.InputError, match=f"^{sentence}") as refused:
        struck(linear, ("pgd", attack), epsilon=0.123)
    assert "\n" not in str(refused.value)
    # nothing but the inputs was looked at before
    assert len(PROGRAMS) <= before + 1
