"""Runs on disk: what comes back is what was saved, and files that are something else are refused."""

import dataclasses
import io
import json
import math

import jax
import numpy as np
import pytest

from ntkrobust import MLP, Activation, Initialization, InputError, Run, measure, train

RNG = np.random.default_rng(20261122)
X, Y = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 2))
NET = MLP(3, 6, 2, Activation("leaky_relu", 1 / 3), "he", "ntk", bias_std=1 / 3)
FIELDS = [field.name for field in dataclasses.fields(Run)]


@pytest.fixture(scope="module")
def run() -> Run:
    return train(NET, X, Y, seeds=[5, 0, 2**32 - 1], steps=6, record_steps=[0, 2, 6], key=jax.random.key(11))


@pytest.fixture
def path(run, tmp_path):
    path = tmp_path / "run.npz"
    run.save(path)
    return path


def assert_same(a: Run, b: Run, but: tuple[str, ...] = ()) -> None:
    for name in set(FIELDS) - {*but, "snapshots", "key"}:
        one, other = getattr(a, name), getattr(b, name)
        assert type(one) is type(other)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other
    assert a.key == b.key
    assert a.key.dtype == b.key.dtype
    assert jax.tree.structure(a.snapshots) == jax.tree.structure(b.snapshots)
    for one, other in zip(jax.tree.leaves(a.snapshots), jax.tree.leaves(b.snapshots), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_array_equal(one, other)


def assert_draws_again(run: Run) -> None:
    for one, other in zip(jax.tree.leaves(run.initial_parameters()), jax.tree.leaves(run.snapshots[0]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_survives_the_disk(run, path):
    loaded = Run.load(path)
    assert_same(run, loaded)
    assert loaded.seeds == (5, 0, 2**32 - 1)
    assert len(loaded.snapshots) == 3
    np.testing.assert_array_equal(loaded.time, run.time)
    # snapshot 0 is at step 0
    assert_draws_again(loaded)
    before, after = (measure(one, X, "jacobian_frobenius") for one in (run, loaded))
    assert before.identical(after)
    # the comparison sees one number in one array
    other = jax.tree.map(np.array, run.snapshots)
    other[1].weights[2][0, 0, 0] += 1e-6
    with pytest.raises(AssertionError):
        assert_same(run, dataclasses.replace(run, snapshots=other))
    with pytest.raises(AssertionError):
        assert_same(run, dataclasses.replace(run, key=jax.random.key(12)))


def test_the_file_is_plain_arrays_and_one_json_text(run, path):
    with np.load(path, allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    assert not any(array.dtype.hasobject for array in stored.values())
    described = json.loads(str(stored["description"]))
    assert described["depth"] == 3
    assert described["initialization"] == "he"
    np.testing.assert_array_equal(stored["weights_2_1"], run.parameters.weights[1])
    np.testing.assert_array_equal(stored["loss"], run.loss)


def functions() -> Initialization:
    return Initialization(lambda d, m, o: math.sqrt(2 / d), lambda d, m, o: 1 / m, 0.3, lambda d, m, o: m / 3)


@pytest.mark.parametrize(
    "initialization",
    [functions(), Initialization.from_gains(2 / 3, 1.7, 0.3), Initialization(1, 0.5, 1, name="mine")],
    ids=["functions", "gains", "named"],
)
def test_an_initialization_that_is_not_ours_is_stored_as_numbers(initialization, tmp_path):
    net = dataclasses.replace(NET, initialization=initialization)
    run = train(net, X, Y, seeds=[5, 0, 2**32 - 1], steps=0)
    run.save(tmp_path / "run.npz")
    loaded = Run.load(tmp_path / "run.npz")
    assert_same(run, loaded, but=("net",))
    assert dataclasses.replace(loaded.net, initialization=initialization) == net
    assert loaded.net.scales(3) == net.scales(3)
    assert loaded.net.initialization.name == initialization.name
    assert_draws_again(loaded)


def test_a_name_that_is_ours_for_numbers_that_are_not(tmp_path):
    net = dataclasses.replace(NET, initialization=Initialization(0.7, 0.5, 0.3, name="he"))
    run = train(net, X, Y, seeds=[5, 0, 2**32 - 1], steps=0)
    run.save(tmp_path / "run.npz")
    assert Run.load(tmp_path / "run.npz").net == net


@pytest.mark.parametrize("changes", [{"bias_std": None}, {"initialization": "xavier", "activation": "relu"}])
def test_other_networks(changes, tmp_path):
    run = train(dataclasses.replace(NET, **changes), X, Y, seeds=[5, 0, 2**32 - 1], steps=0)
    run.save(tmp_path / "run.npz")
    assert_same(run, Run.load(tmp_path / "run.npz"))


# --- files that are something else


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        Run.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_no_file(tmp_path):
    assert "no such file" in refused(tmp_path / "nothing.npz")
    refused(tmp_path)  # a folder


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "is not a run saved by ntkrobust" in refused(path)


def test_damaged_files_are_refused_or_unharmed(run, path):
    """Bytes changed anywhere: arrays carry checksums, so a file either loads as it was or is refused."""
    whole, generator, refusals = path.read_bytes(), np.random.default_rng(1), 0
    for _ in range(150):
        damaged = bytearray(whole)
        for position in generator.integers(len(whole), size=3):
            damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            loaded = Run.load(path)
        except InputError:
            refusals += 1
        else:
            assert_same(run, loaded)
    assert refusals > 75


def _as_npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def others():
    return {
        "text.npz": lambda path: path.write_text("weights"),
        "array.npz": lambda path: path.write_bytes(_as_npy(X)),
        "data.npz": lambda path: np.savez(path, x_train=X, y_train=Y),
        "list.npz": lambda path: np.savez(path, description="[1]"),
        "number.npz": lambda path: np.savez(path, description="3"),
        "pickled.npz": lambda path: np.savez(path, description=np.array([{"depth": 3}], dtype=object)),
    }


@pytest.mark.parametrize("name", others())
def test_other_files(name, tmp_path):
    others()[name](tmp_path / name)
    assert "is not a run saved by ntkrobust" in refused(tmp_path / name)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights_1_2": None},
        {"biases_0_0": None},
        {"loss": None},
        {"depth": 1},
        {"activation": "swish"},
        {"initialization": "glorot"},
        {"initialization": {"beta_first": -1.0, "beta": 1.0, "beta_last": 1.0}},
        {"key_implementation": "none"},
        # arrays that do not fit the network, or one another
        {"depth": 2},
        {"width": 7},
        {"d_out": 1},
        {"seeds": np.arange(2, dtype=np.uint32)},
        {"weights_1_2": np.zeros((3, 2, 5), np.float32)},
        {"x_train": np.zeros((8, 4), np.float32)},
        {"loss": np.zeros((3, 2), np.float32)},
        {"status": np.array(["budget"] * 2)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_files_that_do_not_hold_together(path, changes):
    with np.load(path) as file:
        stored = {name: file[name] for name in file.files}
    described = json.loads(str(stored["description"]))
    for name, value in changes.items():
        (described if name in described else stored)[name] = value
    stored["description"] = np.array(json.dumps(described))
    np.savez(path, **{name: array for name, array in stored.items() if array is not None})
    assert "is not a run saved by ntkrobust" in refused(path)
