"""Dual activations by the Hermite series: against closed forms, mpmath, two-dimensional quadrature and differences."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special, stats

from ntkrobust import Activation, InputError
from ntkrobust.kernels import series

VARIANCES = np.array([1e-3, 0.05, 1.0, 4.0])
CORRELATIONS = np.array([-1.0, -0.999, -0.4, 0.0, 0.7, 0.9999, 1.0])
# (j, i): the derivatives of φ in E φ^(j)(u)φ^(i)(v), and the factor before it, for J, D, ∂J/∂K₁₁, ∂D/∂K₁₁, ∂D/∂K₁₂
SUMS = ((0, 0, 1.0), (1, 1, 1.0), (2, 0, 0.5), (3, 1, 0.5), (2, 2, 1.0))
evaluate = jax.jit(series.dual_with_derivatives, static_argnums=(0, 4))
evaluate_dual = jax.jit(series.dual, static_argnums=(0, 4))


def swish(u):
    return u * jax.nn.sigmoid(u)


def gaussian(u):
    return jnp.exp(-((u - 0.3) ** 2))


def five(phi, k11, k22, k12, terms):
    """J, D, ∂J/∂K₁₁, ∂D/∂K₁₁ and ∂D/∂K₁₂, as numpy arrays."""
    with jax.enable_x64(True):
        given = [jnp.asarray(k, jnp.float64) for k in (k11, k22, k12)]
        value, derivatives = evaluate(phi, *given, terms)
        return [np.asarray(array) for array in (*value, *derivatives)]


def grid(k11, k22):
    """K₁₁ of shape (1, 1) and K₂₂, K₁₂ of shape (1, 7), one column per correlation."""
    return np.full((1, 1), k11), np.full((1, 7), k22), CORRELATIONS[None] * math.sqrt(k11 * k22)


def scales(seconds_11, seconds_22):
    """The natural scales of the five sums, given E φ², …, E φ'''² at both points."""
    return [factor * np.sqrt(seconds_11[j] * seconds_22[i]) for j, i, factor in SUMS]


def worst(found, expected, scale):
    return max(np.max(np.abs(f - e) / s) for f, e, s in zip(found, expected, scale, strict=True))


# --- values


def erf_closed(k11, k22, k12):
    """J = (2/π) asin(2K₁₂/√((1+2K₁₁)(1+2K₂₂))) and what differentiating it gives."""
    a, b = 1 + 2 * k11, 1 + 2 * k22
    q = a * b - 4 * k12**2
    c = 4 / np.pi
    value = 2 / np.pi * np.arctan2(2 * k12, np.sqrt(q))
    return [value, c / np.sqrt(q), -c * k12 / (a * np.sqrt(q)), -c * b * q**-1.5, 4 * c * k12 * q**-1.5]


def erf_seconds(k):
    value, slope, _, _, second = erf_closed(k, k, k)
    q = 1 + 4 * k
    return [value, slope, second, 16 / np.pi * (q**-1.5 + 12 * k**2 * q**-2.5)]


@pytest.mark.parametrize("k11", [1e-8, *VARIANCES, 20.0])
def test_erf_is_its_closed_form(k11):
    phi = Activation("erf")
    for k22 in (1e-8, *VARIANCES, 20.0):
        terms, error = series.terms_needed(phi, max(k11, k22), min(k11, k22), 1e-10)
        assert error <= 1e-10
        points = grid(k11, k22)
        found, exact = five(phi, *points, terms), erf_closed(*points)
        scale = scales(erf_seconds(k11), erf_seconds(k22))
        assert worst(found, exact, scale) <= error
    # a wrong constant shows, in every formula that is not small by itself (at small K, φ'' hardly correlates with φ)
    points = grid(k11, k11)
    found, exact, scale = five(phi, *points, terms), erf_closed(*points), scales(erf_seconds(k11), erf_seconds(k11))
    assert worst(found, exact, scale) <= error
    for place in range(5):
        if np.max(np.abs(exact[place]) / scale[place]) > 0.03:
            wrong = [(1 + 1e-8 * (i == place)) * values for i, values in enumerate(exact)]
            assert worst(found, wrong, scale) > error


def tanh_derivatives(u):
    t = np.tanh(u)
    return [t, 1 - t**2, -2 * t * (1 - t**2), (1 - t**2) * (6 * t**2 - 2)]


def gelu_derivatives(u):
    density = stats.norm.pdf(u)
    return [u * special.ndtr(u), special.ndtr(u) + u * density, (2 - u**2) * density, (u**3 - 4 * u) * density]


def swish_derivatives(u):
    s = special.expit(u)
    t = s * (1 - s)
    first, second = t * (1 - 2 * s), t * (1 - 6 * t)
    return [u * s, s + u * t, 2 * t + u * first, 3 * first + u * second]


BY_QUADRATURE = {
    Activation("tanh"): tanh_derivatives,
    Activation("gelu"): gelu_derivatives,
    swish: swish_derivatives,
}


def by_quadrature(derivatives, k11, k22):
    """The five sums at all correlations by the trapezoidal rule in the plane, and their scales."""
    line = np.arange(-9, 9 + 1e-9, 1 / 16)
    density = stats.norm.pdf(line) / 16
    u = derivatives(math.sqrt(k11) * line)
    columns = []
    for rho in CORRELATIONS:
        rotated = rho * line[:, None] + math.sqrt(1 - rho**2) * line
        v = derivatives(math.sqrt(k22) * rotated)
        columns.append([factor * (density * u[j]) @ v[i] @ density for j, i, factor in SUMS])
    v = derivatives(math.sqrt(k22) * line)
    scale = scales([density @ f**2 for f in u], [density @ f**2 for f in v])
    return list(np.array(columns).T[:, None]), scale


@pytest.mark.parametrize("phi", BY_QUADRATURE, ids=lambda phi: getattr(phi, "__name__", str(phi)))
def test_sums_are_gaussian_expectations(phi):
    derivatives = BY_QUADRATURE[phi]
    for k11, k22 in ((1e-3, 1e-3), (1e-3, 4.0), (4.0, 0.05), (1.0, 1.0), (20.0, 20.0)):
        # tanh at K = 20 is as hard as it gets: all the terms there are leave 2e-6
        terms, error = series.terms_needed(phi, max(k11, k22), min(k11, k22), 1e-10)
        found = five(phi, *grid(k11, k22), terms)
        expected, scale = by_quadrature(derivatives, k11, k22)
        assert worst(found, expected, scale) <= error < 3e-6
        if k11 == k22:  # where every sum has the size of its scale
            for place in range(5):
                wrong = [(1 + 2 * error * (i == place) / 0.1) * values for i, values in enumerate(expected)]
                if np.max(np.abs(expected[place]) / scale[place]) > 0.1:
                    assert worst(found, wrong, scale) > error


def test_partial_derivatives_are_differences():
    phi, terms, step = swish, 128, 1e-4
    k11, k22, k12 = np.array([[0.5], [1.2]]), np.array([[0.8, 1.5, 0.3]]), 0.5 * np.array([[1, -1, 0.1], [0.4, 1, 0]])
    value, slope, value_11, slope_11, slope_12 = five(phi, k11, k22, k12, terms)
    up, down = five(phi, k11 + step, k22, k12, terms), five(phi, k11 - step, k22, k12, terms)
    right, left = five(phi, k11, k22, k12 + step, terms), five(phi, k11, k22, k12 - step, terms)
    difference_11 = [(u - d) / (2 * step) for u, d in zip(up, down, strict=True)]
    difference_12 = [(r - d) / (2 * step) for r, d in zip(right, left, strict=True)]
    # central differences of step h are off by about h²; a wrong factor by much more
    for exact, difference in (
        (value_11, difference_11[0]),
        (slope, difference_12[0]),
        (slope_11, difference_11[1]),
        (slope_12, difference_12[1]),
    ):
        np.testing.assert_allclose(exact, difference, atol=1e-7)
        assert not np.allclose(1.001 * exact, difference, atol=1e-7)
    # K₂₂ by exchanging the points
    other = five(phi, k22.T, k11.T, k12.T, terms)
    np.testing.assert_allclose(other[0].T, value, rtol=1e-13)


@pytest.mark.fast
@pytest.mark.parametrize("k", [1e-3, 1.0, 20.0])
def test_coefficients_of_high_order(k):
    """Of erf: c_k² is the coefficient of ρ^k in (2/π) asin(sρ), s = 2K/(1 + 2K)."""
    with jax.enable_x64(True):
        found = np.asarray(series._coefficients(Activation("erf"), jnp.float64(k), 603)[0])
    n = np.arange(301)
    log_binomial = special.gammaln(2 * n + 1) - 2 * special.gammaln(n + 1) - n * math.log(4)
    exact = np.sqrt(2 / np.pi * np.exp(log_binomial) / (2 * n + 1) * (2 * k / (1 + 2 * k)) ** (2 * n + 1.0))
    tolerance = 1e-14 * math.sqrt(erf_seconds(k)[0])
    np.testing.assert_allclose(found[1:602:2], (-1.0) ** n * exact, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found[::2], 0, atol=tolerance)
    assert not np.allclose(found[1:602:2], (-1.0) ** n * (1 + 1e-11) * exact, rtol=0, atol=tolerance)


# --- moments


def mpmath_moments(phi, k):
    """V, dV/dK = E φφ'u/K, E φ'², E φ'²u²/K by their definitions."""
    root = mpmath.sqrt(k)

    def expectation(f):
        points = [-14, -7, -3, -1, 0, 1, 3, 7, 14]
        return float(mpmath.quad(lambda a: f(root * a, a) * mpmath.npdf(a), points))

    def slope(u):
        return mpmath.diff(phi, u)

    return [
        expectation(lambda u, a: phi(u) ** 2),
        expectation(lambda u, a: phi(u) * slope(u) * u / k),
        expectation(lambda u, a: slope(u) ** 2),
        expectation(lambda u, a: slope(u) ** 2 * a**2),
    ]


@pytest.mark.parametrize(
    ("phi", "formula"),
    [(Activation("tanh"), mpmath.tanh), (gaussian, lambda u: mpmath.exp(-((u - mpmath.mpf("0.3")) ** 2)))],
    ids=["tanh", "gaussian"],
)
def test_moments(phi, formula):
    variances = np.array([1e-3, 1.0, 20.0])
    with jax.enable_x64(True):
        found = np.array(jax.jit(series.moments, static_argnums=0)(phi, jnp.asarray(variances)))
    for k, column in zip(variances, found.T, strict=True):
        exact = mpmath_moments(formula, k)
        np.testing.assert_allclose(column, exact, rtol=1e-12)
        for place in range(4):
            wrong = np.array(exact) * np.where(np.arange(4) == place, 1 + 1e-11, 1)
            assert not np.allclose(column, wrong, rtol=1e-12, atol=0)


def test_moments_keep_the_shape():
    with jax.enable_x64(True):
        assert {m.shape for m in series.moments(jnp.tanh, jnp.ones((2, 3)))} == {(2, 3)}
        assert {m.shape for m in series.moments(jnp.tanh, jnp.float64(1.0))} == {()}


# --- edges


def test_at_variance_zero_everything_is_its_limit():
    def phi(u):
        return jnp.sin(u + 0.3)

    values = [math.sin(0.3), math.cos(0.3), -math.sin(0.3), -math.cos(0.3)]
    zero = np.zeros((1, 1))
    found = np.ravel(five(phi, zero, zero, zero, 16))
    limits = [factor * values[j] * values[i] for j, i, factor in SUMS]
    np.testing.assert_allclose(found, limits, rtol=1e-14)
    np.testing.assert_allclose(found, np.ravel(five(phi, zero + 1e-12, zero + 1e-12, zero, 16)), rtol=1e-11)
    # one point at 0 and one elsewhere: E φ(0)φ(v)
    mixed = np.ravel(five(phi, zero, zero + 1.0, zero, 64))
    np.testing.assert_allclose(mixed[0], math.sin(0.3) ** 2 * math.exp(-0.5), rtol=1e-14)
    with jax.enable_x64(True):
        at_zero = [float(m) for m in series.moments(phi, jnp.float64(0.0))]
    # V = (1 − cos(0.6) e^{−2K})/2
    expected = [values[0] ** 2, math.cos(0.6), values[1] ** 2, values[1] ** 2]
    np.testing.assert_allclose(at_zero, expected, rtol=1e-14)


def test_correlations_beyond_one_count_as_one():
    k = np.ones((1, 1))
    beyond, at_one = (five(jnp.tanh, k, k, factor * k, 64) for factor in (1 + 1e-12, 1.0))
    np.testing.assert_array_equal(beyond, at_one)
    assert not np.array_equal(five(jnp.tanh, k, k, (1 - 1e-12) * k, 64), at_one)


def test_dual_alone_agrees():
    with jax.enable_x64(True):
        args = [jnp.asarray(array) for array in grid(0.7, 1.2)]
        alone, (both, _) = evaluate_dual(jnp.tanh, *args, 64), evaluate(jnp.tanh, *args, 64)
    for a, b in zip(alone, both, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("flag", [False, True])
def test_works_within_the_context_whatever_the_global_flag(flag):
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", flag)
    try:
        terms, error = series.terms_needed(jnp.tanh, 1.0, 0.5, 1e-9)
        found = five(jnp.tanh, *grid(1.0, 1.0), terms)
        assert jax.config.jax_enable_x64 == flag
    finally:
        jax.config.update("jax_enable_x64", before)
    assert all(array.dtype == np.float64 for array in found)
    expected, scale = by_quadrature(tanh_derivatives, 1.0, 1.0)
    assert worst(found, expected, scale) <= error <= 1e-9


def test_single_precision_is_refused():
    def single(u):
        return jnp.tanh(u.astype(jnp.float32))

    with pytest.raises(InputError, match="computed in float64, but single returns float32"):
        series.terms_needed(Activation("single", function=single), 1.0, 1.0, 1e-3)


# --- how many terms


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("phi", BY_QUADRATURE, ids=lambda phi: getattr(phi, "__name__", str(phi)))
def test_the_stated_error_bounds_the_error(phi, tolerance):
    terms, error = series.terms_needed(phi, 2.0, 0.5, tolerance)
    assert error <= tolerance
    actual, actual_of_half = 0.0, 0.0
    for k11, k22 in ((2.0, 2.0), (0.5, 2.0), (2.0, 0.5), (1.1, 1.1)):
        expected, scale = by_quadrature(BY_QUADRATURE[phi], k11, k22)
        actual = max(actual, worst(five(phi, *grid(k11, k22), terms), expected, scale))
        actual_of_half = max(actual_of_half, worst(five(phi, *grid(k11, k22), terms // 2), expected, scale))
    assert error / 2 < actual <= error  # equality at ρ = 1, except that ∂D/∂K₁₁ is bounded by Cauchy-Schwarz
    assert actual_of_half > error


def test_more_accuracy_and_larger_variances_take_more_terms():
    terms = [series.terms_needed(jnp.tanh, k, k, 1e-8)[0] for k in (0.1, 1.0, 2.0, 4.0)]
    assert terms == sorted(set(terms))
    # the larger variances decide; those far below change nothing
    wide, narrow = (series.terms_needed(jnp.tanh, 4.0, k_min, 1e-8) for k_min in (0.01, 4.0))
    assert wide == pytest.approx(narrow)
    assert series.terms_needed(jnp.tanh, 4.0, 0.01, 1e-8) == pytest.approx(
        series.terms_needed(jnp.tanh, 4.0, 4.0, 1e-8)
    )
    assert series.terms_needed(jnp.tanh, 4.0, 0.0, 1e-8) == series.terms_needed(jnp.tanh, 4.0, 1e-9, 1e-8)
    hard, error = series.terms_needed(jnp.tanh, 100.0, 100.0, 1e-8)
    assert hard == series.MAX_TERMS
    assert 1e-3 < error < 1


@pytest.mark.fast
@pytest.mark.parametrize(
    ("phi", "accepted"),
    [
        (jnp.abs, False),
        (jax.nn.relu, False),
        (jax.nn.elu, False),
        (jax.nn.relu6, False),
        (lambda u: u * jnp.abs(u), False),
        (lambda u: jnp.abs(u) ** 3, False),
        (lambda u: jnp.sign(u), False),
        (lambda u: jnp.sin(200 * u), False),  # too fast for the quadrature, which sees a slow sine
        (lambda u: jnp.tanh(100 * u), False),
        (lambda u: 1 / u, False),
        (jnp.sin, True),
        (jax.nn.softplus, True),
        (lambda u: jnp.tanh(2 * u) + u, True),
        (lambda u: u, True),
        (lambda u: jnp.log(jnp.exp(u)), True),  # linear, with derivatives of rounding errors
        (lambda u: u**9, True),
        (jnp.ones_like, True),
        (jnp.exp, True),
    ],
)
def test_kinks_are_flagged(phi, accepted):
    terms, error = series.terms_needed(phi, 1.5, 0.1, 1e-9)
    if accepted:
        assert error <= 1e-9
    else:
        assert terms == series.MAX_TERMS
        assert error > 1e-4
