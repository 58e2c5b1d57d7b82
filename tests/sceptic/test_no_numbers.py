"""What is no number: gradients that are NaN end in ``diverged``, under every optimizer, and in no measure.

The activation is right and its gradient isn't: where(u > 0, √u, 0), of which the derivative of the branch not taken is
infinite or NaN, and 0 · NaN is NaN. Half of the units of a random network see it.
"""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntkrobust import MLP, Adversary, measure, train

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4))
Y = np.sign(X[:, :1])


def root(u):
    return jnp.where(u > 0, jnp.sqrt(u), 0)


def sound_root(u):
    """The same function with a gradient."""
    is_positive = u > 0
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, u, 1)), 0)


NET = MLP(2, 4, activation=root)
HOW = {
    "gd, automatic rate": {},
    "gd": {"learning_rate": 0.01},
    "gd, minibatches": {"learning_rate": 0.01, "batch_size": 3},
    "momentum": {"optimizer": "momentum", "learning_rate": 0.01},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "gradient flow": {"optimizer": "gradient_flow", "record_times": [1.0]},
    "an own one that drops what is no number": {"optimizer": optax.chain(optax.zero_nans(), optax.sgd(1.0)),
                                                "learning_rate": 0.01},
    "cross entropy": {"learning_rate": 0.01, "loss": "cross_entropy"},
    "an adversary": {"learning_rate": 0.01, "adversary": Adversary(0.1, steps=2)},
}  # fmt: skip


@pytest.mark.parametrize("how", HOW)
def test_networks_without_a_gradient_diverge(how, figure):
    run = train(NET, X, Y, seeds=2, steps=3, **HOW[how])
    figure(f"status without a gradient, {how}", ", ".join(sorted(set(run.status))), "diverged", "its gradient is NaN")
    assert set(run.status) == {"diverged"}


def test_the_same_function_with_a_gradient_trains():
    # What would be diverged whatever happens is no check.
    run = train(MLP(2, 4, activation=sound_root), X, Y, seeds=2, steps=3, learning_rate=0.01)
    assert set(run.status) == {"budget"}
    np.testing.assert_array_equal(run.loss[:, 0], train(NET, X, Y, seeds=2, steps=0).loss[:, 0])


def root_of_maximum(u):
    return jnp.sqrt(jnp.maximum(u, 0))


def test_measures_of_a_gradient_that_is_no_number_are_none(figure):
    """√max(u, 0) has the derivative ∞ · 0 for u < 0 in forward mode too, from which Jacobians are made."""
    names = ["jacobian_is_zero", "perturbation_stability", "jacobian_spectral", "linearisation_error"]
    run = train(MLP(2, 4, activation=root_of_maximum), X, Y, seeds=2, steps=0)
    found = measure(run, X, names)
    has_none = (np.einsum("nd,smd->snm", X, run.parameters.weights[0]) < 0).any(axis=-1)  # a unit that is off
    figure("1[J = 0] where J is NaN", float(found.jacobian_is_zero.max()), float("nan"), "NaN is neither zero nor not")
    for name in names:
        right = has_none if "point" in found[name].dims else has_none.any(axis=1)
        np.testing.assert_array_equal(np.isnan(found[name].isel(time=0)), right, name)
    # In forward mode the other has its gradient, and measures with it.
    names.pop()
    both = (measure(train(MLP(2, 4, activation=one), X, Y, seeds=2, steps=0), X, names) for one in (root, sound_root))
    for one, other in zip(*(found.data_vars.values() for found in both), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    # the planted fault: NaN compares with nothing, so "all entries are zero" comes out false, and the answer 0
    assert not np.all(np.full(3, np.nan) == 0)
