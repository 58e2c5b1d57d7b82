"""Gaussian expectations in closed form, against two-dimensional quadrature, differences and limits."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from ntkrobust.kernels import closed_duals
from ntkrobust.kernels.dual import Dual, DualDerivatives, Moments
from ntkrobust.kernels.duals import dual, dual_with_derivatives, is_kinked, moments
from ntkrobust.networks.activations import Activation, as_activation

NAMES = ["relu", "leaky_relu(0.3)", "linear", "erf", "gelu"]
# (K11, K22, K12): unequal and equal variances, weak and strong correlation of both signs, small and large scale
TRIPLES = [(1.0, 1.0, 0.3), (0.5, 2.0, -0.9), (4.0, 0.3, 1.0), (1e-3, 2e-3, 5e-4), (20.0, 11.0, 14.0), (1.0, 1.2, 0.0)]

PHI: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda u: np.maximum(u, 0),
    "leaky_relu(0.3)": lambda u: np.where(u > 0, u, 0.3 * u),
    "linear": lambda u: u,
    "erf": special.erf,
    "gelu": lambda u: u * special.ndtr(u),
}
SLOPE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda u: (u > 0).astype(float),
    "leaky_relu(0.3)": lambda u: np.where(u > 0, 1.0, 0.3),
    "linear": np.ones_like,
    "erf": lambda u: 2 / math.sqrt(math.pi) * np.exp(-(u**2)),
    "gelu": lambda u: special.ndtr(u) + u * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi),
}


def expectation(f: Callable, k11: float, k22: float, k12: float) -> float:
    """E f(u)f(v) in polar coordinates, by Gauss-Legendre rules between the rays on which f has kinks."""
    # u = √K11 r cos(t), v = √K22 r cos(t − θ): kinks of f at 0 lie on four rays
    theta = math.acos(k12 / math.sqrt(k11 * k22))
    kinks = np.sort(np.mod([math.pi / 2, -math.pi / 2, math.pi / 2 + theta, theta - math.pi / 2], 2 * math.pi))
    nodes, weights = (array / 2 for array in np.polynomial.legendre.leggauss(80))
    nodes = nodes + 0.5  # on (0, 1)
    total = 0.0
    for start, end in zip(kinks, np.append(kinks[1:], kinks[0] + 2 * math.pi), strict=True):
        t = start + nodes * (end - start)
        # panels of the radius, so that the steep part near 0 of large variances is resolved
        for low, high in ((0, 0.5), (0.5, 2), (2, 5), (5, 12)):
            r = (low + nodes * (high - low))[:, None]
            u, v = math.sqrt(k11) * r * np.cos(t), math.sqrt(k22) * r * np.cos(t - theta)
            density = r * np.exp(-(r**2) / 2) / (2 * math.pi)
            area = np.outer(weights * (high - low), weights * (end - start))
            total += float((area * f(u) * f(v) * density).sum())
    return total


def evaluate(phi: Activation, triple: tuple[float, float, float]) -> tuple[Dual, DualDerivatives]:
    with jax.enable_x64(True):
        found = dual_with_derivatives(phi, *(jnp.full((1, 1), value) for value in triple))
        return jax.tree.map(lambda a: float(np.asarray(a).reshape(())), found)


def differences(phi: Activation, triple: tuple[float, float, float]) -> DualDerivatives:
    """The same derivatives by central differences of J and D."""

    def central(field: str, axis: int) -> float:
        # fourth order; the step is a fraction of the distance to the edge |K12| = √(K11 K22)
        size = 1e-3 * min(triple[0], triple[1]) * (1 - triple[2] ** 2 / (triple[0] * triple[1]))
        values = []
        for multiple in (-2, -1, 1, 2):
            moved = list(triple)
            moved[axis] += multiple * size
            values.append(getattr(evaluate(phi, tuple(moved))[0], field))
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * size)

    return DualDerivatives(central("value", 0), central("slope", 0), central("slope", 2))


def check(name: str, triple: tuple[float, float, float], change: Callable = lambda found: found) -> None:
    phi = as_activation(name)
    found, derivatives = change(evaluate(phi, triple))
    np.testing.assert_allclose(found.value, expectation(PHI[name], *triple), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.slope, expectation(SLOPE[name], *triple), rtol=1e-10, atol=1e-14)
    expected = differences(phi, triple)
    for field in DualDerivatives._fields:
        scale = max(abs(getattr(expected, field)), 1e-6 * abs(found.slope))
        assert abs(getattr(derivatives, field) - getattr(expected, field)) < 1e-6 * scale + 1e-10, field


@pytest.mark.parametrize("triple", TRIPLES)
@pytest.mark.parametrize("name", NAMES)
def test_closed_forms_agree_with_quadrature_and_differences(name: str, triple: tuple[float, float, float]) -> None:
    check(name, triple)


@pytest.mark.parametrize("field", [*Dual._fields, *DualDerivatives._fields])
@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.3)", "erf", "gelu"])
def test_a_wrong_constant_anywhere_is_noticed(name: str, field: str) -> None:
    def change(found: tuple[Dual, DualDerivatives]) -> tuple[Dual, DualDerivatives]:
        values, derivatives = found
        if field in Dual._fields:
            return values._replace(**{field: 1.001 * getattr(values, field)}), derivatives
        return values, derivatives._replace(**{field: 1.001 * getattr(derivatives, field)})

    with pytest.raises(AssertionError):
        check(name, (0.5, 2.0, -0.7), change)


def moments_by_quadrature(name: str, k: float) -> Moments:
    nodes, weights = np.polynomial.legendre.leggauss(400)
    total = np.zeros(4)
    for low, high in ((-12.0, 0.0), (0.0, 12.0)):
        a = low + (nodes + 1) / 2 * (high - low)
        w = weights * (high - low) / 2 * np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
        u = math.sqrt(k) * a
        phi, slope = PHI[name](u), SLOPE[name](u)
        total += [(w * f).sum() for f in (phi**2, phi * slope * u / k, slope**2, slope**2 * u**2 / k)]
    return Moments(*total)


@pytest.mark.parametrize("k", [1e-3, 0.7, 30.0])
@pytest.mark.parametrize("name", NAMES)
def test_moments_agree_with_quadrature(name: str, k: float) -> None:
    with jax.enable_x64(True):
        found = np.asarray(moments(as_activation(name), jnp.array([k]))).ravel()
    expected = np.array(moments_by_quadrature(name, k))
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    for wrong in range(4):
        planted = found.copy()
        planted[wrong] *= 1.0001
        assert not np.allclose(planted, expected, rtol=1e-11)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [1e-8, 1.0, 50.0])
def test_limits_at_coincident_and_opposite_points(name: str, k: float) -> None:
    phi = as_activation(name)
    same, _ = evaluate(phi, (k, k, k))
    at_point = moments_by_quadrature(name, k)
    assert same.value == pytest.approx(at_point.value, rel=1e-10)
    assert same.slope == pytest.approx(at_point.slope, rel=1e-10)
    opposite, derivatives = evaluate(phi, (k, k, -k))
    nodes, weights = np.polynomial.legendre.leggauss(400)
    a = 6 + 6 * nodes  # φ(u)φ(−u) is even
    w = 2 * 6 * weights * np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
    u = math.sqrt(k) * a
    scale = max(abs(at_point.value), 1e-300)
    assert abs(opposite.value - (w * PHI[name](u) * PHI[name](-u)).sum()) < 1e-10 * scale
    assert opposite.slope == pytest.approx((w * SLOPE[name](u) * SLOPE[name](-u)).sum(), rel=1e-10, abs=1e-12)
    assert all(math.isfinite(value) for value in derivatives)


def test_the_cone_is_left_out_at_coincident_points_only() -> None:
    relu = as_activation("relu")
    assert evaluate(relu, (1.0, 1.0, 1.0))[1] == DualDerivatives(0.0, 0.0, 0.0)
    # ∂D/∂K12 = 1/(2π sin θ) close by
    cosine = math.cos(1e-3)
    assert evaluate(relu, (1.0, 1.0, cosine))[1].slope_12 == pytest.approx(1e3 / (2 * math.pi), rel=1e-5)
    assert is_kinked(relu)
    assert not any(is_kinked(as_activation(name)) for name in ("linear", "erf", "gelu", "tanh"))


def test_nothing_is_lost_at_tiny_variances() -> None:
    relu = as_activation("relu")
    tiny = 1e-200  # its square is zero in float64
    assert evaluate(relu, (tiny, tiny, 0.3 * tiny))[0].value == pytest.approx(
        tiny * evaluate(relu, (1.0, 1.0, 0.3))[0].value, rel=1e-14
    )
    zero, derivatives = evaluate(relu, (0.0, 1.0, 0.0))
    assert zero.value == 0.0
    assert all(math.isfinite(value) for value in derivatives)


def test_dual_is_the_first_half_of_dual_with_derivatives() -> None:
    with jax.enable_x64(True):
        triple = [jnp.full((1, 1), value) for value in (0.7, 1.3, 0.4)]
        for name in NAMES:
            phi = as_activation(name)
            assert dual(phi, *triple) == dual_with_derivatives(phi, *triple)[0]
    assert closed_duals.COINCIDENT < 1e-14
