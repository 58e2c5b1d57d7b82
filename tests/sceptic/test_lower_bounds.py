"""A lower bound is below, and a difference is no quotient of rounding errors: affine networks have known constants.

‖W(x − x')‖₁/‖x − x'‖_∞ is at most ‖W‖ = Σ_k Σ_j |W_kj| on cubes, and reaches it for one output.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.finite import differences
from ntkrobust.finite.differences import Change
from ntkrobust.finite.measures.lipschitz import LocalLipschitz
from ntkrobust.finite.measures.measuring import measure
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.networks.parameters import Parameters

D, POINTS, SEEDS = 6, 5, 3
RNG = np.random.default_rng(0)
RADII = [10.0, 1e-2, 1e-5, 1e-6, 1e-7]


def affine_run(size: float = 1.0) -> tuple[ntr.Run, np.ndarray, np.ndarray]:
    """Linear networks with biases at inputs of one size, and their matrices (seed, 1, d) in float64."""
    rng = np.random.default_rng(1)
    net = ntr.MLP(2, 16, activation="linear", bias_std=0.5)
    x, y = size * rng.standard_normal((8, D)), rng.standard_normal(8)
    run = ntr.train(net, x, y, seeds=SEEDS, steps=0)
    run = dataclasses.replace(run, snapshots=(Parameters(*(tuple(map(np.asarray, p)) for p in run.parameters)),))
    return run, size * rng.standard_normal((POINTS, D)), matrices_of(run)


def matrices_of(run: ntr.Run) -> np.ndarray:
    """W = g_2 W_2 g_1 W_1 (seed, 1, d) in float64."""
    gains = np.asarray(run.net.layer_scales(D).weight_gain, np.float64)
    first, last = (np.asarray(w, np.float64) for w in run.parameters.weights)
    return gains[0] * gains[1] * (last @ first)


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_local_lipschitz_constants_are_below_those_of_affine_networks(size, figure):
    run, x, matrices = affine_run(size)
    truth = np.abs(matrices).sum(axis=(1, 2))
    for epsilon in RADII:
        found = measure(run, x, ["local_lipschitz"], epsilon=epsilon * size).local_lipschitz.to_numpy()[:, -1]
        ratio = found / truth[:, None]
        assert np.all(ratio <= 1)
        # Below some 1e-4 rounding leads the search astray, but it doesn't make the number.
        assert np.all(ratio >= (0.99 if epsilon > 1e-4 else 0))
        figure(f"local Lipschitz constant/truth, ε = {epsilon:g}·{size:g}", ratio.max(), "at most 1", "Σ|W|, float64")


def test_quotients_of_rounding_errors_would_be_noticed(monkeypatch):
    def in_float32(model, scales, parameters, x, delta):
        value = model.outputs_in_columns(scales, parameters, x + delta)
        value -= model.outputs_in_columns(scales, parameters, x)
        return Change(value, jnp.zeros(x.shape[1]))

    monkeypatch.setattr(differences, "change", in_float32)
    run, x, matrices = affine_run()
    truth = np.abs(matrices).sum(axis=(1, 2))
    probe_of = measure_of_one(run, x, 1e-6)
    assert np.max(probe_of(LocalLipschitz()) / truth[0]) > 1


def measure_of_one(run: ntr.Run, x: np.ndarray, epsilon: float):
    """``compute`` of the first network, outside of the programs that others have compiled."""
    parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), run.parameters)
    data = {"x": jnp.asarray(x, jnp.float32), "epsilon": jnp.float32(epsilon)}
    data |= run.domain.arrays()
    probe = Probe(run.net.model(), run.net.layer_scales(D), parameters, None, data, jax.random.key(0), 32)
    return lambda compute: np.asarray(compute(probe))


def test_finite_perturbations_of_affine_networks_have_no_floor(figure):
    run, x, _ = affine_run(100.0)
    one = ["finite_perturbation_stability", "allowed_perturbation_stability"]
    wide, narrow = (measure(run, x, one, epsilon=epsilon, samples=64) for epsilon in (1.0, 1e-6))
    for name in one[:1]:
        # The same directions and radii: of an affine network the quotients are the same numbers.
        np.testing.assert_allclose(narrow[name], wide[name], rtol=1e-4)
        figure(f"{name}, ε = 1e-6 / ε = 1", float((narrow[name] / wide[name]).max()), 1, "affine: one number")


@pytest.mark.parametrize("epsilon", [1e-9, 1e-50, 1e39])
def test_radii_that_single_precision_does_not_have_are_refused(epsilon):
    run, _, _ = affine_run()
    x = np.ones((2, D))
    with pytest.raises(ntr.InputError, match="epsilon must be a radius in single precision"):
        measure(run, x, ["local_lipschitz"], epsilon=epsilon)
    with pytest.raises(ntr.InputError, match="epsilon must be a radius in single precision"):
        ntr.attack(run, x, np.array([1, -1]), epsilon=epsilon)


def test_accuracies_of_outputs_that_are_no_numbers_are_none():
    net = ntr.MLP(2, 4, activation="relu")
    run = ntr.train(net, RNG.standard_normal((6, D)), np.array([1, -1] * 3), seeds=2, steps=0)
    # Finite weights whose outputs are not: 1e30 squared is beyond float32.
    weights = tuple(np.full_like(w, 1e30) for w in run.parameters.weights)
    broken = dataclasses.replace(run, snapshots=(Parameters(weights, ()),))
    x, y = np.ones((4, D)), np.array([1, -1, 1, -1])
    names = ["natural_accuracy", "robust_accuracy", "prediction_stability"]
    try:
        found = measure(broken, x, names, y_test=y, epsilon=0.1)
    except ntr.InputError:
        return
    for name in names:
        assert np.isnan(found[name]).all()
