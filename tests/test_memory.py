"""Memory of training: estimated before, met, and refused where it does not fit."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.finite.training import memory
from ntkrobust.finite.training.optimizers import Optimizer
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.layout import Plan

COMPILES_ANEW = True
OPTIMIZED = True

X = np.linspace(-1, 1, 12).reshape(4, 3)
Y = np.sin(X[:, :1])

PEAK = """
import dataclasses
import sys
from pathlib import Path
import numpy as np
from ntkrobust import MLP, Adversary, train
from ntkrobust.finite.training.memory import TrainingArrays, training_memory
from ntkrobust.finite.training.objectives import Regularizer
from ntkrobust.finite.training.optimizers import Optimizer
from ntkrobust.networks.plans import choose_plan
seeds, depth, width, n, records, copies = map(int, sys.argv[1:7])
optimizer = sys.argv[7]
if "copying" in sys.argv:
    import ntkrobust.finite.training.attempts as attempts
    in_place = attempts.run_over_seeds
    attempts.run_over_seeds = lambda *given, **_: in_place(*given[:4])
rng = np.random.default_rng(0)
x, y = rng.standard_normal((n, 64)) / 8, rng.standard_normal((n, 1))
# What any first call brings with it is the process's, not the ensemble's.
train(MLP(2, 8), x[:8], y[:8], seeds=2, steps=1, learning_rate=1e-3)
net = MLP(depth, width, activation="gelu" if "gelu" in sys.argv else "relu")
how = {"steps": records, "record_steps": range(1, records + 1)}
repeats = 1
if optimizer in ("generalized", "trades", "jacobian"):
    how["adversary"] = Adversary(0.1, objective=optimizer)
    repeats, optimizer = Regularizer.of(how["adversary"]).repeats(1), "gd"
plan, limit = choose_plan(net, 64, n, copies, repeats), None
held = TrainingArrays(copies, Optimizer(optimizer).slopes, repeats)
estimate = training_memory(net, 64, n, seeds, records, plan, held)
if "recomputing" in sys.argv:
    # Halfway between both ways: one fits, the other does not.
    less = dataclasses.replace(plan, recomputed=net.layers_to_recompute)
    plain, estimate = estimate, training_memory(net, 64, n, seeds, records, less, held)
    limit = (plain.peak + estimate.peak) // 2
if optimizer == "gradient_flow":
    how = {"steps": 10, "record_times": [1e-7 * (1 + record) for record in range(records)]}
run = train(net, x, y, seeds=seeds, learning_rate=1e-7, optimizer=optimizer, memory_limit=limit, **how)
assert ("computed again" in run.plan) == (limit is not None)
# What getrusage says may be the peak of the process that started this one.
(line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
peak = 1024 * int(line.split()[1])
print(estimate.peak, peak, estimate.process)
"""


def estimate_and_peak(ensemble: str) -> tuple[int, int, int]:
    """Estimated and real peak of a process that trains, and what it held before, in bytes."""
    done = subprocess.run([sys.executable, "-c", PEAK, *ensemble.split()], check=True, capture_output=True, text=True)
    estimate, peak, process = map(int, done.stdout.split())
    return estimate, peak, process


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux's /proc")


@on_linux
@pytest.mark.parametrize(
    "ensemble",
    [
        "8 4 1024 256 3 0 gd",
        pytest.param("64 4 512 512 2 0 gd", marks=pytest.mark.slow),
        "8 4 1024 256 2 2 adam",
        "2 4 512 12288 1 0 generalized",
        pytest.param("2 4 512 12288 1 0 trades", marks=pytest.mark.slow),
        pytest.param("2 4 512 12288 1 0 jacobian", marks=pytest.mark.slow),
        pytest.param("16 4 512 256 2 2 adam", marks=pytest.mark.slow),
        pytest.param("16 4 1024 256 2 2 adam", marks=pytest.mark.slow),
        pytest.param("6 4 1024 256 2 1 momentum", marks=pytest.mark.slow),
        pytest.param("16 4 512 256 2 1 momentum", marks=pytest.mark.slow),
        pytest.param("16 4 512 256 2 1 gradient_flow", marks=pytest.mark.slow),
        pytest.param("1 4 4096 256 1 1 gradient_flow", marks=pytest.mark.slow),
        pytest.param("4 4 4096 1437 1 0 gd", marks=pytest.mark.slow),
        pytest.param("2 20 1024 1437 1 0 gd", marks=pytest.mark.slow),
        "1 30 512 4000 1 0 gd recomputing",
        pytest.param("1 30 512 4000 1 0 gd", marks=pytest.mark.slow),
        pytest.param("1 30 512 4000 1 0 gd gelu", marks=pytest.mark.slow),
        pytest.param("1 30 512 4000 1 2 adam", marks=pytest.mark.slow),
        pytest.param("4 30 512 1437 1 0 gd recomputing", marks=pytest.mark.slow),
    ],
)
def test_the_peak_is_within_a_fifth_of_the_estimate(ensemble: str) -> None:
    estimate, peak, process = estimate_and_peak(ensemble)
    # Too much costs room, too little a run. For attacks JAX 0.12 needs less than 0.10: the estimate is 23 % above it.
    assert -0.2 < estimate / peak - 1 < (0.25 if "generalized" in ensemble else 0.2), estimate / peak
    # the networks themselves are a good part of it
    assert peak > 1.4 * process


@on_linux
def test_copies_that_programs_do_not_make_would_be_seen() -> None:
    estimate, peak, _ = estimate_and_peak("12 4 1024 256 2 2 adam copying")
    _, in_place, _ = estimate_and_peak("12 4 1024 256 2 2 adam")
    # Two copies more of each of the two arrays that Adam keeps, for 12 networks: one as it comes out, at least.
    more = 2 * 12 * 4 * ntr.MLP(4, 1024).count_parameters(64)
    assert peak - in_place > 0.8 * more
    # and the test above would be red
    assert estimate / peak < 0.8


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="gd"),
        pytest.param({"optimizer": "adam"}, id="adam"),
        pytest.param({"optimizer": "gradient_flow"}, id="flow", marks=pytest.mark.slow),
        pytest.param({"batch_size": 4}, id="minibatches", marks=pytest.mark.slow),
    ],
)
def test_activations_are_computed_again_where_only_that_fits(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 3)), rng.standard_normal((64, 1))
    net = ntr.MLP(30, 12, activation="tanh", initialization="lecun", bias_std=0.1)
    steps = {"record_times": [0.01]} if changes.get("optimizer") == "gradient_flow" else {"record_steps": [20]}

    def train(limit: int | None, net: ntr.MLP = net) -> ntr.Run:
        return ntr.train(net, x, y, seeds=2, steps=20, learning_rate=1e-3, memory_limit=limit, **steps, **changes)

    def peaks(net: ntr.MLP) -> tuple[int, int]:
        optimizer = changes.get("optimizer", "")
        held = {
            "adam": memory.TrainingArrays(2),
            "gradient_flow": memory.TrainingArrays(1, Optimizer("gradient_flow").slopes),
        }.get(optimizer, memory.NOTHING)
        plan = choose_plan(net, 3, 64, held.copies)
        less = dataclasses.replace(plan, recomputed=net.layers_to_recompute)
        plain, again = (memory.training_memory(net, 3, 64, 2, 1, which, held).peak for which in (plan, less))
        return plain, again

    plain, again = peaks(net)
    assert again < plain
    kept, recomputed, other = train(plain), train(plain - 1), train(plain, ntr.MLP(**{**vars(net), "depth": 29}))
    assert "computed again" not in kept.plan
    assert "activations of 4 layer(s) at a time computed again" in recomputed.plan
    # Roundings of 6e-8, in 20 small steps.
    np.testing.assert_allclose(recomputed.loss, kept.loss, rtol=1e-5)
    for one, same in zip(recomputed.parameters.weights, kept.parameters.weights, strict=True):
        np.testing.assert_allclose(one, same, atol=1e-5)
    # A layer less, or a network that has not moved, would be seen.
    assert not np.allclose(other.loss, kept.loss, rtol=1e-4)
    assert abs(kept.parameters.weights[5] - ntr.train(net, x, y, seeds=2, steps=0).parameters.weights[5]).max() > 1e-4
    with pytest.raises(ntr.InputError, match=r"a single network would not fit|they would fit"):
        train(again - 1)
    # Programs of few layers have no such way.
    shallow = ntr.MLP(8, 12)
    with pytest.raises(ntr.InputError, match="needs about"):
        train(peaks(shallow)[0] - 1, shallow)


@pytest.mark.fast
def test_the_layers_computed_again_at_once_take_the_least_memory() -> None:
    assert [ntr.MLP(depth, 8).layers_to_recompute for depth in (2, 8, 9, 20, 30, 31, 50)] == [0, 0, 1, 3, 4, 1, 6]


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    def train(limit: int, **changes: object) -> ntr.Run:
        arguments: dict = {"seeds": 64, "steps": 40, "record_steps": [10, 20, 30, 40], "learning_rate": 0.1} | changes
        return ntr.train(ntr.MLP(3, 64), X, Y, memory_limit=limit, **arguments)

    needed = memory.training_memory(ntr.MLP(3, 64), 3, 4, 64, 4, Plan(1, 64)).peak
    assert len(train(2 * needed).seeds) == 64
    with pytest.raises(ntr.InputError, match=r"needs about .* GiB and .* GiB are there: they would fit|single network"):
        train(1000)
    with pytest.raises(ntr.InputError, match="memory_limit must be an integer of at least 1"):
        train(0)


@pytest.mark.fast
def test_the_sentence_says_how_many_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    net, plan = ntr.MLP(4, 512), Plan(1, 4, exact=True)

    def peak(seeds: int, records: int) -> int:
        return memory.training_memory(net, 64, 256, seeds, records, plan).peak

    limit = peak(20, 8)
    with pytest.raises(ntr.InputError) as caught:
        memory.check_training_memory(net, 64, 256, 32, 8, plan, limit)
    sentence = str(caught.value)
    assert "\n" not in sentence
    (times,) = (number for number in range(1, 8) if peak(32, number) <= limit < peak(32, number + 1))
    assert f"recorded {times} times instead of 8, or 20 seeds at a time" in sentence
    with pytest.raises(ntr.InputError, match="a single network would not fit"):
        memory.check_training_memory(net, 64, 256, 2, 1, plan, 10**6)
    assert memory.check_training_memory(net, 64, 256, 20, 8, plan, limit).peak == limit
