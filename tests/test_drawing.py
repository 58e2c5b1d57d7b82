"""How ensembles are drawn: which bits, how many programs, how much at a time."""

import dataclasses
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

import ntkrobust as ntr
from ntkrobust import MLP
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.programs import abstract_values
from ntkrobust.finite.training.eigenvalues import largest_kernel_eigenvalue
from ntkrobust.networks.convolutional import ConvNet
from ntkrobust.networks.drawing import run_over_draws
from ntkrobust.runtime.accelerated import THREEFRY_FROM
from ntkrobust.runtime.compiling import PROGRAMS
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.random_normals import BLOCK, _block, _from_positions, normals
from ntkrobust.runtime.seeds import seed_keys, typed_keys

D = 5
KEYS = seed_keys(jax.random.key(7), (0, 3, 4))


@pytest.mark.parametrize("shape", [(1,), (7, 3), (BLOCK,), (BLOCK + 1,), (2, 1000), (2**20 + 3,)])
def test_normals_are_those_of_jax(shape: tuple[int, ...]) -> None:
    wanted = jax.vmap(lambda key: jax.random.normal(key, shape))(typed_keys(KEYS))
    np.testing.assert_array_equal(normals(KEYS, *shape), wanted)
    assert (normals(KEYS[::-1], *shape) != wanted).any()


def test_normals_are_partitionable_ones_whatever_the_flag() -> None:
    wanted = normals(KEYS, 700)
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(normals(KEYS, 700), wanted)
        assert (jax.random.normal(typed_keys(KEYS)[0], (700,)) != wanted[0]).any()


def test_runs_with_keys_of_other_generators_are_refused(tmp_path: Path) -> None:
    """Earlier versions took them: such a run loads, but nothing can be drawn from its key."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, D)), rng.normal(size=(6, 1))
    run = ntr.train(MLP(2, 8), x, y, seeds=2, steps=3)
    dataclasses.replace(run, key=jax.random.key(0, impl="rbg")).save(tmp_path / "run.npz")
    loaded = ntr.Run.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(loaded.loss, run.loss)
    for call in (loaded.initial_parameters, lambda: ntr.measure(loaded, x, ["lazy_ratio"])):
        with pytest.raises(ntr.InputError, match="got one of rbg"):
            call()


def test_positions_beyond_32_bits() -> None:
    """No array of this size fits: by the hash that JAX's partitionable bits are made of."""
    key, position = np.array([5, 9], dtype=np.uint32), 2**33 + 3 * BLOCK
    keys = typed_keys(_from_positions(key[None], np.array([position, position % 2**32]), THREEFRY_FROM.found()))
    there, low_word_alone = (jax.random.bits(one, (4,)) for one in keys)
    hashed = threefry_2x32(key, np.array([2] * 4 + list(range(3 * BLOCK, 3 * BLOCK + 4)), dtype=np.uint32))
    np.testing.assert_array_equal(there, hashed[:4] ^ hashed[4:])
    assert (there != low_word_alone).all()


@pytest.mark.parametrize("net", [MLP(2, 6), MLP(5, 7, d_out=2, bias_std=0.3), MLP(11, 4, initialization="ntk")])
def test_a_network_is_drawn_from_its_key_and_shape(net: MLP) -> None:
    """Written down once more, array by array: committed results rest on these numbers."""
    shapes, scales = net.layer_shapes(D), net.layer_scales(D)
    drawn = net.initialize(D, KEYS)
    for seed, key in enumerate(typed_keys(KEYS)):
        own = jax.random.fold_in(key, zlib.crc32(repr(shapes).encode()))
        first, hidden, last = (
            jax.random.normal(jax.random.fold_in(own, index), shape)
            for index, shape in enumerate([shapes[0], (net.depth - 2, *shapes[-2 if net.depth > 2 else 0]), shapes[-1]])
        )
        wanted = [first, *hidden, last]
        for std, weight, array in zip(scales.weight_std, wanted, drawn.weights, strict=True):
            np.testing.assert_allclose(array[seed], std * weight, rtol=1e-6, atol=1e-7)
        if net.bias_std is not None:
            biases = jax.random.normal(jax.random.fold_in(own, 3), (sum(m for m, _ in shapes),))
            together = np.concatenate([bias[seed] for bias in drawn.biases])
            np.testing.assert_allclose(together, scales.bias_std * biases, rtol=1e-6, atol=1e-7)


def test_layers_of_other_shapes_are_drawn_one_by_one() -> None:
    net = ConvNet(3, 4, d_out=2, image_shape=(4, 4, 1))
    shapes, scales = net.layer_shapes(16), net.layer_scales(16)
    drawn = net.initialize(16, KEYS)
    own = jax.random.fold_in(typed_keys(KEYS)[1], zlib.crc32(repr(shapes).encode()))
    for layer, (shape, array) in enumerate(zip(shapes, drawn.weights, strict=True)):
        wanted = scales.weight_std[layer] * jax.random.normal(jax.random.fold_in(own, 8 + layer), shape)
        np.testing.assert_allclose(array[1], wanted, rtol=1e-6, atol=1e-7)


def test_one_program_draws_every_network_and_any_number_of_seeds() -> None:
    PROGRAMS.clear()
    for net in (MLP(4, 16), MLP(2, 16), MLP(2, 40), MLP(3, 20), MLP(30, 40), MLP(4, 13, bias_std=0.1)):
        for seeds in (1, 5, 70):
            net.initialize(D, seed_keys(jax.random.key(0), tuple(range(seeds))))
    assert [signature[0] for signature in PROGRAMS] == [_block]


def total(shared: np.ndarray, one: dict) -> jax.Array:
    return shared * sum(weight.sum() for weight in one["drawn"].weights)


@pytest.mark.parametrize("plan", [Plan(1, 1), Plan(2, 4), Plan(4, 4, streams=2), Plan(8, 64)])
def test_draws_come_so_many_at_a_time(plan: Plan) -> None:
    net, keys = MLP(3, 8), seed_keys(jax.random.key(1), tuple(range(13)))
    found = run_over_draws(total, plan, np.float32(2), net, D, {"key": keys}, "drawn")
    wanted = 2 * sum(weight.sum(axis=(1, 2)) for weight in net.initialize(D, keys).weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_networks_tried_again_run_in_the_program_of_all() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, D)), rng.normal(size=(20, 1))
    # From small weights λ_max grows, and some networks have to be tried at smaller rates.
    net = MLP(3, 16, initialization=ntr.Initialization.from_gains(0.5, 1.0, 0.5))
    PROGRAMS.clear()
    run = ntr.train(net, x, y, seeds=12, steps=300, record_steps=[300])
    programs = [signature for signature in PROGRAMS if type(signature[0]).__name__ == "GradientDescent"]
    halved = -np.log2(run.learning_rate * largest_kernel_eigenvalue(net, x, seeds=12))
    assert 0 < np.sum(np.round(halved) > 0) < 12
    assert len(programs) == 1


def test_room_for_more_changes_no_result() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, D)), rng.normal(size=(20, 1))
    one = ntr.train(MLP(3, 16), x, y, seeds=[2], steps=15)
    many = ntr.train(MLP(3, 16), x, y, seeds=7, steps=15)
    for a, b in zip(one.parameters.weights, many.parameters.weights, strict=True):
        np.testing.assert_allclose(a[0], b[2], rtol=1e-4, atol=1e-6)


def test_a_measure_says_that_it_looks_at_the_draw() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, D)), rng.normal(size=(6, 1))
    run = ntr.train(MLP(2, 8), x, y, seeds=2, steps=3)
    moved = Measure(
        "moved", "", lambda probe: abs(probe.parameters.weights[0] - probe.initial.weights[0]).sum(), dims=(),
        needs_initial=True,
    )  # fmt: skip
    found = ntr.measure(run, x, [moved])["moved"]
    start = run.initial_parameters().weights[0]
    wanted = [[np.abs(snapshot.weights[0][seed] - start[seed]).sum() for snapshot in run.snapshots] for seed in (0, 1)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert (found[:, -1] > 0).all()
    with pytest.raises(ntr.InputError, match="needs_initial=True"):
        ntr.measure(run, x, [dataclasses.replace(moved, needs_initial=False)])


def test_a_measure_says_that_it_looks_at_training_data() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, D)), rng.normal(size=(6, 1))
    run = ntr.train(MLP(2, 8), x, y, seeds=2, steps=3)
    spread = Measure("spread", "", lambda probe: abs(probe.y_train).sum(), dims=(), needs_training_data=True)
    np.testing.assert_allclose(ntr.measure(run, x, [spread])["spread"], np.abs(y).sum(), rtol=1e-6)
    undeclared = dataclasses.replace(spread, needs_training_data=False)
    with pytest.raises(ntr.InputError, match="needs_training_data=True"):
        ntr.measure(run, x, [undeclared])
    # and that is noticed before any network is trained
    with pytest.raises(ntr.InputError, match="needs_training_data=True"):
        abstract_values(undeclared, MLP(2, 8), (4, D), 6)


@pytest.mark.parametrize(("name", "argument"), [("labels", "y_test"), ("epsilon", "epsilon")])
def test_a_measure_says_what_has_to_be_given_for_it(name: str, argument: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, D)), rng.normal(size=(6, 1))
    run = ntr.train(MLP(2, 8), x, y, seeds=2, steps=0)
    given = {"y_test": y, "epsilon": 0.1}
    needy = Measure("needy", "", lambda probe: jnp.sum(getattr(probe, name)), dims=(), needs=(argument,))
    found = ntr.measure(run, x, [needy], **given)["needy"]
    np.testing.assert_allclose(found, np.sum(given[argument]), rtol=1e-5)
    del given[argument]
    with pytest.raises(ntr.InputError, match=f"the measure 'needy' needs {argument}"):
        ntr.measure(run, x, [needy], **given)
    with pytest.raises(ntr.InputError, match=rf"needs=\('{argument}',\)"):
        ntr.measure(run, x, [dataclasses.replace(needy, needs=())], **given)
