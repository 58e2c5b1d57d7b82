"""Descriptions of networks: names, numbers, printing, and the sentences for what can't be built."""

import dataclasses
import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import ntkrobust.networks.activations
import ntkrobust.networks.initializations
from ntkrobust import MLP, Activation, Initialization, InputError, kernels
from ntkrobust.checks import check_number
from ntkrobust.networks.activations import as_activation
from ntkrobust.networks.derivatives import empirical_ntk, input_jacobian
from ntkrobust.networks.initializations import as_initialization
from ntkrobust.networks.parameters import forward
from ntkrobust.runtime.seeds import seed_keys

REFERENCE = json.loads((Path(__file__).parent / "reference_values.json").read_text())["values"]

# --- activations

FORMULAS = {
    "relu": lambda u: np.maximum(u, 0),
    "leaky_relu": lambda u: np.where(u >= 0, u, 0.01 * u),
    "leaky_relu(0.2)": lambda u: np.where(u >= 0, u, 0.2 * u),
    "linear": lambda u: u,
    "erf": special.erf,
    "gelu": lambda u: u * stats.norm.cdf(u),
    "tanh": np.tanh,
}
# each is the right formula with one constant changed by little
WRONG_FORMULAS = {
    "relu": lambda u: np.maximum(u, 0.001 * u),
    "leaky_relu": lambda u: np.where(u >= 0, u, 0.0101 * u),
    "leaky_relu(0.2)": lambda u: np.where(u >= 0, u, 0.201 * u),
    "linear": lambda u: 1.0001 * u,
    "erf": lambda u: special.erf(1.001 * u),
    "gelu": lambda u: u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))) / 2,  # the approximate one
    "tanh": lambda u: np.tanh(1.001 * u),
}
# a few units in the last place of float32, relative to values of size 1
FLOAT32 = 1e-6


def test_every_activation_has_a_formula_here():
    assert set(ntkrobust.networks.activations.NAMES) == {name.split("(")[0] for name in FORMULAS}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_are_their_formulas(name):
    u = np.linspace(-3, 3, 61)
    phi = as_activation(name)
    values = phi(jnp.asarray(u, jnp.float32))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, FORMULAS[name](u), atol=FLOAT32, rtol=FLOAT32)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(values, WRONG_FORMULAS[name](u), atol=FLOAT32, rtol=FLOAT32)


@pytest.mark.parametrize(
    ("name", "slopes"),
    [("relu", (0.0, 0.0, 1.0)), ("leaky_relu(0.2)", (0.2, 1.0, 1.0)), ("linear", (1.0, 1.0, 1.0)), ("tanh", None)],
)
def test_slopes_of_homogeneous_activations(name, slopes):
    phi = as_activation(name)
    if slopes is None:
        assert phi.negative_slope is None
        return
    measured = [float(jax.grad(phi)(jnp.float32(u))) for u in (-2.0, 0.0, 2.0)]
    assert measured == pytest.approx(slopes, rel=FLOAT32)
    assert phi.negative_slope == slopes[0]


def test_activations_by_name_and_as_objects():
    assert as_activation("relu") == Activation("relu")
    assert as_activation("leaky_relu") == Activation("leaky_relu", 0.01) == Activation("leaky_relu")
    assert as_activation("leaky_relu(0.2)") == Activation("leaky_relu", 0.2)
    assert as_activation("leaky_relu(1e-7)") == Activation("leaky_relu", 1e-7)
    assert as_activation("leaky_relu(0.2)") != Activation("leaky_relu", 0.3)
    assert as_activation(Activation("erf")) == Activation("erf")
    assert len({Activation("relu"), Activation("relu"), Activation("erf")}) == 2
    phi = Activation("leaky_relu", 1 / 3)
    assert eval(repr(phi)) == phi == as_activation(str(phi))


def swish(u):
    return u * jax.nn.sigmoid(u)


def test_activations_as_functions():
    phi = as_activation(swish)
    assert phi == Activation("swish", function=swish) == MLP(2, 8, activation=swish).phi
    assert hash(phi) == hash(Activation("swish", function=swish))
    assert phi != as_activation(lambda u: swish(u))
    assert str(phi) == "swish"
    assert eval(repr(phi)) == phi
    assert phi.negative_slope is None
    # a name of the package stays its own
    assert as_activation(jnp.tanh).name == "custom_tanh"
    assert as_activation(jnp.tanh) != as_activation("tanh")
    assert str(as_activation(partial(jax.nn.gelu, approximate=True))) == "partial"
    net = MLP(2, 8, activation=swish)
    assert "activation=Activation(name='swish', function=swish)," in repr(net)
    assert eval(repr(net)) == net
    assert len({net, MLP(2, 8, activation=swish), MLP(2, 8, activation="relu")}) == 2


@pytest.mark.parametrize(("slope", "agrees"), [(0.2, True), (0.2001, False)])
def test_finite_networks_of_functions(slope, agrees):
    """Values, Jacobians and kernels are those of the same activation by name, and no longer those of a similar one."""
    found = []
    for activation in ("leaky_relu(0.2)", lambda u: jnp.where(u >= 0, u, slope * u)):
        net = MLP(depth=3, width=8, d_out=2, activation=activation)
        parameters = jax.tree.map(lambda leaf: leaf[0], net.initialize(5, seed_keys(jax.random.key(1), (0,))))
        args = (net.phi, net.layer_scales(5), parameters, jnp.linspace(-1, 1, 15).reshape(3, 5))
        found.append(jax.tree.leaves((forward(*args), input_jacobian(*args), empirical_ntk(*args))))
    for named, given in zip(*found, strict=True):
        assert given.dtype == jnp.float32
        assert np.allclose(named, given, rtol=FLOAT32, atol=FLOAT32) == agrees


def test_what_needs_a_named_activation_refuses_functions():
    with pytest.raises(InputError, match=r"exact law needs relu, leaky_relu or linear .* got swish"):
        ntkrobust.exact_law(MLP(3, 8, activation=swish), d_in=5)
    with pytest.raises(InputError, match="no closed form for the activation 'custom_relu'"):
        kernels.stax(MLP(3, 8, activation=jax.nn.relu), d_in=5)


def test_describing_a_network_touches_no_device():
    code = (
        "import jax, ntkrobust\n"
        "net = ntkrobust.MLP(2, 8, activation=lambda u: u * jax.nn.sigmoid(u))\n"
        "from jax._src import xla_bridge\n"
        "print(net.phi, bool(xla_bridge._backends))\n"
        "net.phi(jax.numpy.ones(1))\n"
        "print(bool(xla_bridge._backends))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["<lambda>", "False", "True"]


# --- initializations

BETAS_SQ = {
    "lecun": lambda d, m, o: (1 / d, 1 / m, 1 / m, 1),
    "he": lambda d, m, o: (2 / d, 2 / m, 2 / m, 1),
    "ntk": lambda d, m, o: (2 / m, 2 / m, 1, 1),
    "xavier": lambda d, m, o: (2 / (d + m), 1 / m, 2 / (m + o), 1),
    "mean_field": lambda d, m, o: (1, 1, 1, m),  # two layers: β is never used
}
# squares and roots of numbers of size 1 in float64
FLOAT64 = 1e-14


def squares(initialization, d, m, o):
    scales = as_initialization(initialization).scales(d, m, o)
    return (*(beta**2 for beta in scales[:3]), scales.alpha)


@pytest.mark.parametrize("name", BETAS_SQ)
def test_named_initializations(name):
    assert set(BETAS_SQ) == set(ntkrobust.networks.initializations.NAMED)
    assert as_initialization(name).name == name
    for sizes in ((5, 8, 3), (6, 8, 3), (5, 9, 3), (5, 8, 4)):
        assert squares(name, *sizes) == pytest.approx(BETAS_SQ[name](*sizes), rel=FLOAT64, abs=0)
    # the same comparison tells it from all others, and a constant that is hardly off
    for other in set(BETAS_SQ) - {name}:
        assert squares(name, 5, 8, 3) != pytest.approx(BETAS_SQ[other](5, 8, 3), rel=FLOAT64, abs=0)
    for place in range(4):
        wrong = np.array(BETAS_SQ[name](5, 8, 3)) * np.where(np.arange(4) == place, 1 + 1e-12, 1)
        assert squares(name, 5, 8, 3) != pytest.approx(wrong, rel=FLOAT64, abs=0)


@pytest.mark.parametrize("entry", [entry for entry in REFERENCE if "b1_sq" in entry["inputs"]], ids=lambda e: e["id"])
def test_scales_of_the_reference_values(entry):
    given = entry["inputs"]
    expected = [given[name] for name in ("b1_sq", "b_sq", "bL_sq", "alpha")]
    found = squares(given["init"], given["d"], given["m"], given["o"])
    if given["L"] == 2:
        expected[1] = found[1]  # unused
    assert found == pytest.approx(expected, rel=FLOAT64, abs=0)


def test_gains():
    assert Initialization.from_gains(2, 2, 2).scales(5, 8, 3) == as_initialization("he").scales(5, 8, 3)
    assert Initialization.from_gains(1, 1, 1).scales(5, 8, 3) == as_initialization("lecun").scales(5, 8, 3)
    assert squares(Initialization.from_gains(first=3, hidden=5, last=7), 5, 8, 3) == pytest.approx(
        (3 / 5, 5 / 8, 7 / 8, 1), rel=FLOAT64
    )
    assert squares(Initialization.from_gains(), 5, 8, 3) == pytest.approx((2 / 5, 2 / 8, 1 / 8, 1), rel=FLOAT64, abs=0)
    assert Initialization.from_gains(3, 2, 1) == Initialization.from_gains(3, 2, 1)
    assert Initialization.from_gains(3, 2, 1) != Initialization.from_gains(1, 2, 3)


def test_scales_are_functions_of_d_m_and_o_in_this_order():
    initialization = Initialization(lambda d, m, o: d, lambda d, m, o: m, lambda d, m, o: o, lambda d, m, o: d * m)
    assert initialization.scales(5, 8, 3) == (5.0, 8.0, 3.0, 40.0)
    assert MLP(depth=3, width=8, d_out=3, initialization=initialization).scales(5) == (5.0, 8.0, 3.0, 40.0)


# --- networks


NETWORKS = [
    MLP(depth=4, width=256),
    MLP(depth=2, width=None, activation="tanh"),
    MLP(depth=3, width=7, d_out=3, activation="gelu", initialization="xavier", parameterization="ntk"),
    MLP(depth=2, width=7, initialization="mean_field", bias_std=0.0),
    MLP(depth=3, width=7, activation="leaky_relu", bias_std=0.1),
    MLP(depth=3, width=7, activation=Activation("leaky_relu", 1 / 3), initialization="ntk", bias_std=1 / 3),
    MLP(depth=3, width=7, initialization=Initialization(1 / 3, 0.2, np.float32(0.3), alpha=3)),
    MLP(depth=3, width=7, initialization=Initialization.from_gains(2 / 3, 1, 0.7)),
    MLP(depth=3, width=7, initialization=Initialization(1, 1, 1, name="mine")),
    # not the package's own, whatever it is called
    MLP(depth=3, width=7, initialization=Initialization(1, 1, 1, name="he")),
]


@pytest.mark.parametrize("net", NETWORKS, ids=repr)
def test_a_network_prints_as_the_code_that_makes_it(net):
    again = eval(repr(net))
    assert again == net
    assert hash(again) == hash(net)
    assert repr(again) == repr(net)
    # and whatever is changed shows
    for change in ({"depth": net.depth + 1}, {"width": 99}, {"activation": "erf"}, {"bias_std": 7.0}):
        if "mean_field" not in repr(net) or "depth" not in change:
            other = dataclasses.replace(net, **change)
            assert other != net
            assert repr(other) != repr(net)


def test_an_alpha_beside_gains_shows():
    gains = Initialization.from_gains(2, 2, 2)
    assert repr(dataclasses.replace(gains, alpha=3.0)) != repr(gains)
    assert "3.0" in repr(dataclasses.replace(gains, alpha=3.0))


def test_networks_are_values():
    first, second = MLP(3, 8, initialization="he"), MLP(3, 8, activation=Activation("relu"))
    assert first == second
    assert len({first, second, MLP(3, 8, initialization="lecun")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.depth = 4
    assert isinstance(MLP(np.int64(3), np.int32(8)).depth, int)


def test_equal_networks_share_a_compiled_program():
    traced = []

    def function(net, u):
        traced.append(net)
        return net.phi(u) * net.depth

    compiled = jax.jit(function, static_argnums=0)
    for net in (MLP(3, 8), MLP(3, 8), MLP(3, 8, initialization="he"), MLP(4, 8)):
        compiled(net, jnp.ones(2))
    assert [net.depth for net in traced] == [3, 4]


def test_shapes_and_numbers_of_parameters():
    net = MLP(depth=4, width=8, d_out=3)
    assert net.layer_shapes(5) == ((8, 5), (8, 8), (8, 8), (3, 8))
    assert net.count_parameters(5) == 8 * 5 + 2 * 8 * 8 + 3 * 8
    assert dataclasses.replace(net, bias_std=0.0).count_parameters(5) == 8 * 5 + 2 * 8 * 8 + 3 * 8 + 3 * 8 + 3
    assert MLP(depth=2, width=8).layer_shapes(5) == ((8, 5), (1, 8))


# --- bad input


class Unhashable:
    __hash__ = None

    def __call__(self, u):
        return u


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: MLP(1, 8), r"depth must be an integer of at least 2 \(it counts weight matrices\), got 1"),
        (lambda: MLP(2.0, 8), "depth must be an integer.* got 2.0"),
        (lambda: MLP(True, 8), "depth must be an integer.* got True"),
        (lambda: MLP(2, 0), "width must be an integer of at least 1, got 0"),
        (lambda: MLP(2, True), "width must be an integer of at least 1, got True"),
        (lambda: MLP(2, "8"), "width must be an integer of at least 1, got '8'"),
        (lambda: MLP(2, 8, d_out=0), "d_out must be an integer of at least 1, got 0"),
        (lambda: MLP(2, 8, activation="swish"), "unknown activation 'swish': expected one of relu, .*tanh"),
        (lambda: MLP(2, 8, activation=3), "an activation is one of relu.*got 3"),
        (lambda: MLP(2, 8, activation="leaky_relu(a)"), "slope in .* is not a number"),
        (lambda: MLP(2, 8, activation="leaky_relu(0.2)x"), "an activation is one of"),
        (lambda: MLP(2, 8, activation="relu(0.2)"), "only leaky_relu takes a slope, got slope=0.2 for 'relu'"),
        (lambda: Activation("leaky_relu", 0.0), "strictly between 0 and 1, got 0"),
        (lambda: Activation("leaky_relu", 1.0), "strictly between 0 and 1, got 1"),
        (lambda: Activation("leaky_relu", math.nan), "slope of leaky_relu must be a finite number, got nan"),
        (lambda: Activation("leaky_relu", "0.2"), "slope of leaky_relu must be a finite number, got '0.2'"),
        (lambda: MLP(2, 8, activation=np.tanh), r"'custom_tanh' must map a float32 JAX array .* it raised Tracer"),
        (
            lambda: MLP(2, 8, activation=jax.nn.softmax),
            r"'softmax' must map .* on shape \(\) it raised ValueError: axis",
        ),
        (lambda: MLP(2, 8, activation=lambda u: u.sum()), r"same shape and dtype; from shape \(2, 3\) it made .*\(\)"),
        (lambda: MLP(2, 8, activation=lambda u: u > 0), "same shape and dtype; .* it made .*bool"),
        (lambda: MLP(2, 8, activation=lambda u: u.astype(jnp.bfloat16)), "same shape and dtype; .* it made .*bfloat16"),
        (lambda: MLP(2, 8, activation=lambda u: None), "same shape and dtype; .* it made None"),
        (lambda: MLP(2, 8, activation=lambda: 1), "it raised TypeError: .* takes 0 positional arguments"),
        (lambda: MLP(2, 8, activation=Unhashable()), "the activation 'Unhashable' must be hashable"),
        (lambda: Activation("relu", function=jnp.sin), "'relu' is the package's own activation: give your function an"),
        (lambda: Activation("f", 0.1, jnp.sin), "given as a function takes no slope, got slope=0.1 for 'f'"),
        (lambda: MLP(2, 8, initialization="glorot"), "unknown initialization 'glorot': expected one of lecun, he, ntk"),
        (lambda: MLP(2, 8, initialization=["he"]), r"unknown initialization \['he'\]"),
        (lambda: MLP(2, 8, parameterization="mup"), "must be 'standard' or 'ntk', got 'mup'"),
        (lambda: MLP(2, 8, bias_std=math.nan), "bias_std must be a finite number, got nan"),
        (lambda: MLP(2, 8, bias_std=math.inf), "bias_std must be a finite number, got inf"),
        (lambda: MLP(2, 8, bias_std="1"), "bias_std must be a finite number, got '1'"),
        (lambda: MLP(2, 8, bias_std=True), "bias_std must be a finite number, got True"),
        (lambda: MLP(2, 8, bias_std=-0.1), "None or a number that is not negative, got -0.1"),
        (lambda: MLP(3, 8, initialization="mean_field"), "defined for depth 2 only, got depth 3"),
        (lambda: MLP(3).finite_width, "needs a width, got MLP"),
        (lambda: MLP(3).count_parameters(5), "needs a width"),
        (lambda: MLP(3, 8).scales(0), "d_in must be an integer of at least 1, got 0"),
        (lambda: Initialization(0, 1, 1), "beta_first of an Initialization must be positive and finite, got 0"),
        (lambda: Initialization(1, -1, 1), "beta of an Initialization must be positive and finite, got -1"),
        (lambda: Initialization(1, 1, math.nan), "beta_last of an Initialization must be positive and finite, got nan"),
        (lambda: Initialization(1, 1, 1, alpha=math.inf), "alpha of an Initialization must be positive and finite"),
        (lambda: Initialization(1, 1, "x"), "beta_last of an Initialization must be a positive number, got 'x'"),
        (lambda: Initialization.from_gains(2, 0, 2), "gain 'hidden' must be positive and finite, got 0"),
        (
            lambda: MLP(2, 8, initialization=Initialization(lambda d, m, o: -d, 1, 1)).scales(5),
            r"beta_first at \(d, m, o\) = \(5, 8, 1\) must be positive and finite, got -5",
        ),
        (
            lambda: MLP(2, 8, initialization=Initialization(1, 1, lambda d, m, o: None)).scales(5),
            "beta_last at .* must be a positive number, got None",
        ),
        (lambda: check_number("it", None), "it must be a finite number, got None"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
