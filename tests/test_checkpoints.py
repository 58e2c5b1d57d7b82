"""Checkpoints: training that was ended at any moment comes to the same run, to the last bit."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest

import ntkrobust.finite.training.train as training
from ntkrobust import MLP, InputError, Run, train
from ntkrobust.finite.training.checkpoints import Checkpoint

RNG = np.random.default_rng(20261122)
X, Y = RNG.normal(size=(10, 3)).astype(np.float32), RNG.normal(size=(10, 2)).astype(np.float32)
NET = MLP(depth=2, width=8, d_out=2, activation="tanh", bias_std=0.3)
RELU = dataclasses.replace(NET, activation="relu")
DEEP = dataclasses.replace(NET, depth=10)


class Ended(Exception):
    pass


def assert_same(a: Run, b: Run) -> None:
    for name in ("step", "loss", "status", "learning_rate", "time"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for one, other in zip(jax.tree.leaves(a.snapshots), jax.tree.leaves(b.snapshots), strict=True):
        np.testing.assert_array_equal(one, other)


CASES = {
    "gd": {"steps": 20, "record_steps": [0, 3, 20]},
    "losses": {"steps": 200, "record_losses": [0.9, 0.2], "learning_rate": 0.005},
    "retried": {"net": RELU, "y": 20 * Y, "steps": 20, "record_steps": [0, 20], "checkpoint_every": 7},
    "adam-batches": {"steps": 20, "optimizer": "adam", "learning_rate": 0.01, "batch_size": 3, "record_steps": [2, 20]},
    "own": {"steps": 20, "optimizer": optax.lion(1.0), "learning_rate": 0.01, "record_steps": [20]},
    "schedule": {"steps": 20, "learning_rate": optax.cosine_decay_schedule(0.01, 20), "record_steps": [20]},
    "deep": {"net": DEEP, "steps": 20, "optimizer": "momentum", "learning_rate": 0.003, "record_steps": [3, 20]},
    "deep-own": {"net": DEEP, "steps": 20, "optimizer": optax.lion(1.0), "learning_rate": 0.003, "record_steps": [20]},
    "deep-flow": {
        "net": DEEP,
        "steps": 100,
        "optimizer": "gradient_flow",
        "record_kernel_times": [1.0, 4.0],
        "checkpoint_every": 3,
    },
    "deep-retried": {
        "net": dataclasses.replace(RELU, depth=10),
        "y": 20 * Y,
        "steps": 20,
        "record_steps": [0, 20],
        "checkpoint_every": 7,
    },
    "flow": {"steps": 100, "optimizer": "gradient_flow", "record_kernel_times": [1.0, 4.0], "checkpoint_every": 3},
}


def go(case: str, path=None, **changes) -> Run:
    asked = {"net": NET, "y": Y, "seeds": 3, "checkpoint_every": 5} | CASES[case] | changes
    if path is None:
        del asked["checkpoint_every"]
    return train(asked.pop("net"), X, asked.pop("y"), checkpoint=path, **asked)


@pytest.mark.parametrize("case", CASES)
def test_ended_after_any_write(case, tmp_path, monkeypatch):
    whole, path = go(case), tmp_path / "run.npz"
    write = Checkpoint.write
    allowed = [0]

    def writes_once(self, progress, held):
        write(self, progress, held)
        allowed[0] -= 1
        if not allowed[0]:
            raise Ended

    monkeypatch.setattr(Checkpoint, "write", writes_once)
    # The first is ended at its first write, each one that goes on at its second, until one has no second.
    ended = 0
    for _ in range(60):
        allowed[0] = 2 if ended else 1
        try:
            resumed = go(case, path)
        except Ended:
            ended += 1
        else:
            break
    assert ended > 1
    assert_same(resumed, whole)
    if case.endswith("retried"):
        assert len(set(np.round(np.log2(whole.learning_rate / go(case, steps=1, record_steps=[1]).learning_rate)))) > 1


def test_a_finished_run_is_read_and_not_trained_again(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    first = go("gd", path)
    assert path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]
    monkeypatch.setattr(training.TrainingTask, "_segment", None)
    assert_same(go("gd", path, checkpoint_every=11), first)


def test_the_comparison_can_fail(tmp_path):
    path = tmp_path / "run.npz"
    first = go("gd", path)
    with np.load(path) as file:
        stored = {name: file[name] for name in file.files}
    assert not any(array.dtype.hasobject for array in stored.values())
    name = next(name for name, array in stored.items() if array.shape == (3, 8, 3))
    stored[name] = stored[name] + np.float32(1e-6)
    np.savez(path, **stored)
    with pytest.raises(AssertionError):
        assert_same(go("gd", path), first)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"steps": 21}, "steps"),
        ({"learning_rate": 0.01}, "learning_rate"),
        ({"y": 2 * Y}, "y_train"),
        ({"seeds": 4}, "seeds"),
        ({"net": RELU}, "network"),
        ({"net": dataclasses.replace(NET, initialization="lecun")}, "initialization"),
        ({"key": jax.random.key(1)}, "key"),
        ({"record_steps": [0, 4, 20]}, "record_steps"),
        ({"batch_size": 5, "weight_decay": 0.5}, "batch_size, weight_decay"),
        ({"optimizer": optax.sgd(1.0), "learning_rate": 0.01}, "learning_rate, optimizer"),
    ],
    ids=lambda value: value.replace(", ", "-") if isinstance(value, str) else "",
)
def test_other_arguments_are_refused(changes, names, finished):
    with pytest.raises(InputError, match=rf"is a checkpoint of other arguments \({names}\): remove it"):
        go("gd", finished, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "run.npz"
    go("gd", path)
    return path


def test_own_transformations_and_schedules_are_told_apart(tmp_path):
    path = tmp_path / "run.npz"
    go("own", path)
    go("own", path, optimizer=optax.lion(1.0))
    with pytest.raises(InputError, match="optimizer"):
        go("own", path, optimizer=optax.lion(1.0, b1=0.8))
    path.unlink()
    go("schedule", path)
    with pytest.raises(InputError, match="learning_rate"):
        go("schedule", path, learning_rate=optax.cosine_decay_schedule(0.01, 21))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_damaged_files(share, finished, tmp_path):
    path = tmp_path / "cut.npz"
    path.write_bytes(finished.read_bytes()[: int(share * finished.stat().st_size)])
    with pytest.raises(InputError, match="is not a checkpoint written by ntkrobust"):
        go("gd", path)


@pytest.mark.fast
def test_places(tmp_path):
    (tmp_path / "file").write_text("")
    for path, sentence in (
        (tmp_path, "must be the path of a file, got the folder"),
        (tmp_path / "file" / "run.npz", "cannot write to"),
        (3, "checkpoint must be the path of a file or folder, got 3"),
    ):
        with pytest.raises(InputError, match=sentence):
            go("gd", path)
    with pytest.raises(InputError, match="checkpoint_every must be an integer of at least 1, got 0"):
        go("gd", tmp_path / "run.npz", checkpoint_every=0)
    with pytest.raises(InputError, match="checkpoint_every needs a path"):
        train(NET, X, Y, seeds=3, checkpoint_every=5)


LONG = """
import sys
import numpy as np
from ntkrobust import MLP, train

def run(path):
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(10, 3)), generator.normal(size=(10, 2))
    return train(
        MLP(2, 8, 2, "tanh"), x, y, seeds=3, steps=12_000, record_steps=[0, 11_000, 12_000], optimizer="adam",
        learning_rate=1e-4, batch_size=3, checkpoint=path, checkpoint_every=200,
    )

if __name__ == "__main__":
    run(sys.argv[1])
"""


def test_a_killed_process(tmp_path):
    path, script = tmp_path / "run.npz", tmp_path / "long_training.py"
    script.write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, script, path], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        deadline = time.monotonic() + 120
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert path.exists()
    with np.load(path) as file:
        steps = [array for array in (file[name] for name in file.files) if array.dtype == np.int32]
    assert 0 < max(array.max() for array in steps) < 12_000
    namespace: dict = {"__name__": "long"}
    exec(LONG, namespace)
    assert_same(namespace["run"](path), namespace["run"](tmp_path / "other.npz"))
