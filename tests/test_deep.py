"""Networks whose programs loop over their layers: the same numbers as layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntkrobust.finite.training.train import train
from ntkrobust.networks import parameters as of
from ntkrobust.networks.derivatives import empirical_ntk, input_jacobian
from ntkrobust.networks.mlp import MLP
from ntkrobust.runtime import compiling
from ntkrobust.runtime.core_clients import StreamProgram
from ntkrobust.runtime.programs import Program, Programs
from ntkrobust.runtime.seeds import seed_keys

N, D = 5, 3
X = np.random.default_rng(3).standard_normal((N, D)).astype(np.float32)
# tens of layers of float32 products, gradients of order one
ROUNDING = 2e-5


def network(depth: int, outputs: int, bias_std: float | None, parameterization: str) -> tuple:
    net = MLP(depth, 6, outputs, "tanh", "he", parameterization, bias_std)  # type: ignore[arg-type]
    drawn = net.initialize(D, seed_keys(jax.random.key(1), (0,)))
    return net.phi, net.layer_scales(D), jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), drawn)


def layer_by_layer(phi, scales, parameters, x):
    return of.pre_activations(phi, scales, parameters, x.T)[0][-1].T


CASES = [
    (2, 1, None, "standard"), (2, 3, 0.4, "ntk"), (3, 2, 0.4, "standard"), (8, 1, 0.3, "ntk"), (9, 1, None, "ntk"),
    (9, 3, 0.3, "standard"), (14, 2, 0.2, "ntk"),
]  # fmt: skip


@pytest.mark.parametrize(("depth", "outputs", "bias_std", "parameterization"), CASES)
def test_outputs_and_derivatives_are_those_of_the_layers(depth, outputs, bias_std, parameterization):
    phi, scales, parameters = network(depth, outputs, bias_std, parameterization)
    expected = layer_by_layer(phi, scales, parameters, X)
    for held in (parameters, of.stack(parameters)):
        np.testing.assert_allclose(of.forward(phi, scales, held, X), expected, atol=ROUNDING)
        jacobian = jax.vmap(jax.jacrev(lambda x: layer_by_layer(phi, scales, parameters, x[None])[0]))(X)
        found = input_jacobian(phi, scales, held, X)
        assert found.shape == (N, outputs, D)
        np.testing.assert_allclose(found, jacobian, atol=ROUNDING)
        slopes = jax.jacrev(lambda all_of: layer_by_layer(phi, scales, all_of, X))(parameters)
        rows = jnp.concatenate([leaf.reshape(N, outputs, -1) for leaf in jax.tree.leaves(slopes)], axis=-1)
        kernel = jnp.einsum("iap,jbp->iajb", rows, rows)
        theta = empirical_ntk(phi, scales, held, X)
        np.testing.assert_allclose(theta, kernel, atol=ROUNDING * float(jnp.max(kernel)))
        # One layer too strong by a hundredth would be seen.
        wrong = scales._replace(weight_gain=scales.weight_gain * np.where(np.arange(depth) == depth - 2, 1.01, 1))
        assert not np.allclose(of.forward(phi, wrong, held, X), expected, atol=ROUNDING)
        assert not np.allclose(empirical_ntk(phi, wrong, held, X), kernel, atol=ROUNDING * float(jnp.max(kernel)))


@pytest.mark.parametrize("bias_std", [None, 0.3])
def test_packing_goes_there_and_back(bias_std):
    for depth in (2, 8, 9, 12):
        _, _, parameters = network(depth, 2, bias_std, "standard")
        assert isinstance(of.packed(parameters), of.Stacked if depth > of.SHALLOW else of.Parameters)
        for back in (of.unpacked(of.packed(parameters)), of.unpacked(of.stack(parameters))):
            assert jax.tree.structure(back) == jax.tree.structure(parameters)
            for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(parameters), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bias_std", [None, 0.3])
def test_ensembles_are_packed_on_the_host(bias_std):
    net = MLP(12, 6, 2, bias_std=bias_std)
    drawn = net.initialize(D, seed_keys(jax.random.key(1), (0, 1, 2)))
    stacked = of.packed(drawn, axis=1)
    assert isinstance(stacked, of.Stacked)
    assert all(isinstance(leaf, np.ndarray) and len(leaf) == 3 for leaf in jax.tree.leaves(stacked))
    for seed in range(3):
        one, expected = (jax.tree.map(lambda leaf, seed=seed: leaf[seed], tree) for tree in (stacked, drawn))
        jax.tree.map(np.testing.assert_array_equal, one, of.packed(expected))
    jax.tree.map(np.testing.assert_array_equal, of.unpacked(stacked, axis=1), drawn)
    without = MLP(2, 6, 2, bias_std=bias_std).initialize(D, seed_keys(jax.random.key(1), (0, 1, 2)))
    assert of.stack(without, axis=1).weights[1].shape == (3, 0, 6, 6)
    jax.tree.map(np.testing.assert_array_equal, of.unpacked(of.stack(without, axis=1), axis=1), without)


def _text(program: Program) -> str:
    return (program._on[0] if isinstance(program, StreamProgram) else program).as_text()


def compiled_instructions(depth: int, optimizer: object) -> int:
    """Instructions of the largest program that training compiles."""
    compiling.PROGRAMS.clear()
    how = {"record_times": [1e-9]} if optimizer == "gradient_flow" else {"record_steps": [1]}
    train(MLP(depth, 6), X, X[:, :1], seeds=4, steps=1, learning_rate=1e-3, optimizer=optimizer, **how)
    texts = [_text(program) for _, program in compiling.PROGRAMS.items()]
    return max(text.count(" = ") for text in texts)


@pytest.mark.parametrize("optimizer", ["gd", "momentum", "adam", "gradient_flow"])
def test_what_is_compiled_does_not_grow_with_depth(optimizer, monkeypatch):
    monkeypatch.setattr(compiling, "PROGRAMS", Programs())
    assert compiled_instructions(24, optimizer) == compiled_instructions(12, optimizer)


def test_a_transformation_of_ones_own_is_given_every_layer(monkeypatch):
    # So its programs grow: that shows what the test before would see.
    monkeypatch.setattr(compiling, "PROGRAMS", Programs())
    own = optax.chain(optax.clip_by_block_rms(1.0), optax.sgd(1.0))
    assert compiled_instructions(24, own) > 1.3 * compiled_instructions(12, own)
