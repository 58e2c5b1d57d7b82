"""Objects that travel: pickled, copied and sent to another process, they are equal in value, hash and repr."""

import copy
import dataclasses
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.papers.catalogue import catalogue
from ntkrobust.kernels._neural_tangents import load
from ntkrobust.kernels.factorization import Factorization
from ntkrobust.kernels.general import GeneralEnsemble
from ntkrobust.values import Value, same
from ntkrobust.workflows.search import Search

RNG = np.random.default_rng(0)
X, X_TEST = RNG.standard_normal((12, 4)), RNG.standard_normal((5, 4))
Y = np.sign(X[:, :1])

IN_ANOTHER_PROCESS = """
import pickle, sys
objects = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps((objects, [repr(one) for one in objects])))
"""

WAYS = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "cloudpickle": lambda one: cloudpickle.loads(cloudpickle.dumps(one)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def hidden_scale(d: int, m: int, o: int) -> float:
    return 1.3 / m**0.5


def scaled_tanh(u: jax.Array) -> jax.Array:
    return 1.1 * jnp.tanh(u)


@functools.cache
def objects() -> dict[str, object]:
    """One of every public kind, and all claims and measures of the package."""
    mine = ntr.Initialization(hidden_scale, lambda d, m, o: 1.2 / m**0.5, 0.3, alpha=2.0)
    net = ntr.MLP(depth=3, width=8)
    found: dict[str, object] = {
        f"MLP, {name}": ntr.MLP(depth=3, width=8, initialization=name) for name in ("lecun", "ntk", "xavier", mine)
    }
    found["MLP, mean field"] = ntr.MLP(depth=2, width=8, initialization="mean_field")
    found["MLP, own activation"] = ntr.MLP(depth=3, width=8, activation=scaled_tanh)
    found["MLP, lambda"] = ntr.MLP(depth=3, width=8, activation=lambda u: jnp.sin(u))
    found["ConvNet"] = ntr.ConvNet(depth=3, width=4, image_shape=(2, 2, 1), initialization="lecun")
    found["WideResNet"] = ntr.WideResNet(depth=16, width=4, image_shape=(4, 4, 1))
    found["Initialization"], found["alpha"] = mine, ntr.MLP(depth=2, width=4, initialization=mine).drawn_from
    found["ExactLaw"] = ntr.exact_law(net, 4)
    found["InfiniteEnsemble"] = ntr.InfiniteEnsemble(ntr.MLP(depth=3), X, Y)
    found["InfiniteEnsemble, nngp"] = ntr.InfiniteEnsemble(ntr.MLP(depth=3), X, Y, kernel="nngp")
    found["EnsembleAt"] = now = found["InfiniteEnsemble"].at(np.inf)
    found["moments"], found["law"] = now.gradient_moments(X_TEST), now.gradient_law(X_TEST)
    stax = load().stax
    kernel_fn = stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(1))[2]
    found["GeneralEnsemble"] = GeneralEnsemble(kernel_fn, X, Y)
    found["GeneralEnsembleAt"] = found["GeneralEnsemble"].at(2.0)
    run = ntr.train(net, X, Y, seeds=2, steps=0)
    found["Run"] = dataclasses.replace(run, adversary=ntr.Adversary(0.1, bounds=(-9.0, 9.0)), flow_time=run.loss * 0)
    found["parts"] = ntr.ObjectiveParts(run.loss, run.loss)
    found["attack"] = ntr.attack(run, X, Y, epsilon=0.1, steps=2, queries=2, methods=("random",), norm="l1")
    found["Dataset"] = ntr.data.Dataset(X, Y, X, Y, "mine", "classification")
    offset = 2.0
    claim = ntr.Claim(
        "mine/bound",
        "text",
        ntr.AtMost(lambda width: offset / width),
        lambda jacobian: jnp.sum(jacobian**2),
        {"depth": [2], "width": [4, 8, 16], "initialization": [mine], "activation": [scaled_tanh]},
        assumptions=(ntr.Assumption("wide", lambda width: width > 2),),
        theory=lambda width: 1 / width,
    )
    found["Claim"], found["Quantity"] = claim, ntr.Quantity("half", lambda width: width / 2)
    found["Reading"] = ntr.Reading("fixed steps", 3, adversary=ntr.Adversary(0.1))
    for relation in (ntr.Equals, ntr.AtLeast, ntr.OrderAtMost, ntr.OrderAtLeast):
        found[relation.__name__] = relation(lambda width: width)
    found["Turns"], found["Trend"] = ntr.RisesThenFalls("width", at=lambda depth: depth), ntr.IncreasesIn("width")
    found["ScalesAs"] = ntr.ScalesAs("width", 1.0)
    arithmetic = dataclasses.replace(
        claim, measure=found["Quantity"], relation=ntr.IncreasesIn("width"), assumptions=()
    )
    verdicts = ntr.verify([arithmetic], data=found["Dataset"], seeds=4)
    found["Verdicts"], found["Verdict"] = verdicts, verdicts[0]
    found["Search"] = Search(claim, {"width": 4}, 1.0, (({"width": 4}, 1.0),), verdicts[0], "")
    found |= {f"claim {one.id}": one for one in catalogue()}
    return found | {f"measure {name}": one for name, one in ntr.measures.MEASURES.items()}


def differences(one: object, other: object) -> list[str]:
    """In what two objects differ."""
    found = [] if type(one) is type(other) else ["type"]
    if repr(one) != repr(other):
        found.append("repr")
    if hasattr(one, "identical") and not isinstance(one, Value):
        return found + ([] if one.identical(other) else ["value"])
    return found + ([] if one == other else ["value"]) + ([] if hash(one) == hash(other) else ["hash"])


@pytest.mark.parametrize("way", WAYS)
def test_copies_are_equal_in_value_hash_and_repr(way, figure):
    wrong = {name: found for name, one in objects().items() if (found := differences(one, WAYS[way](one)))}
    assert not wrong
    figure(f"objects that survive {way}", len(objects()), len(objects()), "==, hash and repr of each")


def test_another_process_gives_them_back_equal(figure):
    program = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    sent = list(objects().values())
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": paths}  # functions of this file travel by its name
    done = subprocess.run(program, input=pickle.dumps(sent), capture_output=True, env=environment)
    assert not done.returncode, done.stderr.decode()[-2000:]
    returned, shown = pickle.loads(done.stdout)
    assert shown == [repr(one) for one in sent]
    assert not [name for name, one, back in zip(objects(), sent, returned, strict=True) if differences(one, back)]
    figure("objects that survive another process", len(returned), len(sent), "==, hash and repr of each")


@pytest.mark.parametrize("kind", ["InfiniteEnsemble", "EnsembleAt"])
@pytest.mark.parametrize("way", WAYS)
def test_a_copied_ensemble_gives_the_same_numbers_in_float64(kind, way, figure):
    original = objects()[kind]
    copied = WAYS[way](original)
    now, then = (one.at(np.inf) if kind == "InfiniteEnsemble" else one for one in (original, copied))
    apart = float(np.abs(now.variance(X_TEST) - then.variance(X_TEST)).max())
    assert apart == 0
    assert then._factors.vectors.dtype == np.float64
    figure(f"variance after {way} of {kind}, off by", apart, 0.0, "the original")


def test_planted_float32_factors_are_noticed():
    ensemble = objects()["InfiniteEnsemble"]
    single = Factorization(*(np.float32(part) for part in ensemble._factors))
    planted = copy.copy(ensemble)
    planted._factors = single
    assert planted != ensemble


def test_functions_are_compared_by_what_they_do():
    def makes(factor, base=2.0):
        return lambda width: factor * width**base

    assert ntr.AtMost(makes(1.0)) == ntr.AtMost(makes(1.0))
    assert ntr.AtMost(makes(1.0)) != ntr.AtMost(makes(2.0))  # what it closes over
    assert ntr.AtMost(lambda width: width) != ntr.AtMost(lambda width: width + 1)  # its code
    assert ntr.AtMost(lambda width, c=1: c) != ntr.AtMost(lambda width, c=2: c)  # its defaults
    assert hash(ntr.AtMost(makes(1.0))) == hash(ntr.AtMost(makes(1.0)))


def test_arrays_are_compared_entry_by_entry():
    assert same(np.array([1.0, np.nan]), np.array([1.0, np.nan]))
    assert not same(np.array([1.0]), np.array([1.0], np.float32))
    assert not same(np.array([1.0]), np.array([2.0]))
    data = objects()["Dataset"]
    assert data != ntr.data.Dataset(X + 1e-12, Y, X, Y, "mine", "classification")
    assert same(jax.random.key(3), jax.random.key(3))
    assert not same(jax.random.key(3), jax.random.key(4))
