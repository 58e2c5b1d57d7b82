"""Spectral norms: both ends against float64 on matrices of every kind, and what would make them wrong shows."""

import math
from fractions import Fraction

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrobust import MLP, InputError, measure, train
from ntkrobust.finite.measures.lipschitz import LAYER_ERROR
from ntkrobust.finite.measures.measuring import measure_untrained
from ntkrobust.numerics import spectral
from ntkrobust.numerics.spectral import DIRECT_SIZE, TOLERANCE, product_upper, spectral_norm, spectral_norms
from ntkrobust.numerics.wide import widened
from ntkrobust.runtime.seeds import seed_keys

RNG = np.random.default_rng(0)
# A few units of float64, times what the condition of the top singular value (1) makes of them: numpy's own error
EXACT = 1e-12


def exact_norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(matrix, np.float64), 2))


def encloses(lower: float, upper: float, exact: float) -> bool:
    return float(lower) <= exact * (1 + EXACT) and exact * (1 - EXACT) <= float(upper)


def with_singular_values(values: np.ndarray, a: int, b: int) -> np.ndarray:
    left = np.linalg.qr(RNG.standard_normal((a, len(values))))[0]
    right = np.linalg.qr(RNG.standard_normal((b, len(values))))[0]
    return ((left * values) @ right.T).astype(np.float32)


def gaussian(a: int, b: int) -> np.ndarray:
    return RNG.standard_normal((a, b)).astype(np.float32)


KINDS = {
    "gaussian": gaussian,
    "low rank": lambda a, b: (gaussian(a, 2) @ gaussian(2, b)).astype(np.float32),
    "clustered": lambda a, b: with_singular_values(np.where(np.arange(min(a, b)) < 9, 1 - 1e-5, 0.7), a, b),
    "linear": lambda a, b: with_singular_values(np.linspace(1, 0, min(a, b)), a, b),
    "ill-conditioned": lambda a, b: with_singular_values(10.0 ** -np.arange(min(a, b)), a, b),
    "slowly falling": lambda a, b: with_singular_values(1 / np.sqrt(1 + np.arange(min(a, b))), a, b),
    "orthogonal": lambda a, b: with_singular_values(np.ones(min(a, b)), a, b),
    "all entries equal": lambda a, b: np.full((a, b), 0.3, np.float32),
    "one entry": lambda a, b: np.pad(np.float32([[-3.0]]), ((0, a - 1), (0, b - 1))),
    "tiny": lambda a, b: gaussian(a, b) * np.float32(1e-36),  # some entries are subnormal
    "huge": lambda a, b: gaussian(a, b) * np.float32(1e36),
    "positive": lambda a, b: abs(gaussian(a, b)),
    "uneven rows": lambda a, b: (gaussian(a, b) * 10.0 ** -np.arange(a)[:, None].clip(max=30)).astype(np.float32),
}
SHAPES = [(1, 1), (1, 9), (40, 30), (150, 200), (260, 140)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ends_hold_and_are_close(kind, shape):
    for _ in range(3):
        matrix = KINDS[kind](*shape)
        exact = exact_norm(matrix)
        lower, upper = (float(end) for end in spectral_norm(matrix))
        tolerance = TOLERANCE if min(shape) > DIRECT_SIZE else 1e-6
        assert encloses(lower, upper, exact)
        assert upper - lower <= tolerance * exact
        # a constant that is wrong by the tolerance shows, on either side
        assert not encloses(lower, (1 - tolerance) * upper, exact)
        assert not encloses((1 + tolerance) * lower, upper, exact)


@pytest.mark.parametrize("tolerance", [1e-6, 1e-4, 0.05])
def test_any_tolerance(tolerance):
    matrix = gaussian(140, 150)
    lower, upper = (float(end) for end in spectral_norm(matrix, tolerance))
    assert encloses(lower, upper, exact_norm(matrix))
    assert upper - lower <= tolerance * exact_norm(matrix)
    assert tolerance < 1e-5 or upper - lower > 0.1 * tolerance * lower


@hypothesis.settings(deadline=None, max_examples=20, derandomize=True)
@hypothesis.given(
    st.sampled_from([(1, 1), (2, 2), (3, 5)]).flatmap(
        lambda shape: arrays.arrays(
            np.float32, (12, *shape), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
        )
    )
)
def test_ends_hold_for_any_finite_entries(matrices):
    matrices = matrices.astype(np.float64)
    scale = np.maximum(abs(matrices).max(axis=(1, 2)), 1e-45)
    exact = np.linalg.norm(matrices / scale[:, None, None], 2, axis=(1, 2)) * scale
    for lower, upper, norm in zip(*spectral_norms(matrices.astype(np.float32)), exact, strict=True):
        assert encloses(lower, upper, norm)
        assert norm < 2e-38 or upper - lower <= 1e-6 * norm or upper == np.inf


@pytest.mark.fast
def test_degenerate_matrices():
    for shape in SHAPES:
        assert spectral_norm(np.zeros(shape, np.float32)) == (0.0, 0.0)
        for bad in (np.nan, np.inf, -np.inf):
            matrix = gaussian(*shape)
            matrix[-1, 0] = bad
            assert np.all(np.isnan(spectral_norm(matrix)))
    least = np.float32([[1e-45]])
    lower, upper = spectral_norm(least)
    assert lower <= 0 < np.float64(1e-45) < upper.item() < 2e-38
    lower, upper = spectral_norm(np.full((3, 3), np.finfo(np.float32).max))  # the norm is beyond float32
    assert np.isfinite(lower)
    assert np.isinf(upper)


def three(a: int, b: int) -> np.ndarray:
    return np.stack([gaussian(a, b), KINDS["linear"](a, b), np.zeros((a, b), np.float32)])


TRANSFORMED = {
    "mapped": jax.vmap(spectral_norm),
    "compiled": jax.jit(jax.vmap(spectral_norm)),
    "mapped after compiling": jax.vmap(jax.jit(lambda matrix: jax.jit(spectral_norm)(matrix))),
    "mapped twice": lambda matrices: jax.tree.map(jnp.ravel, jax.vmap(jax.vmap(spectral_norm))(matrices[None])),
    "stacks mapped": lambda matrices: jax.tree.map(jnp.ravel, jax.vmap(jax.jit(spectral_norms))(matrices[:, None])),
    "in a loop": lambda matrices: jax.lax.map(lambda pair: spectral_norm(pair[0]), (matrices, matrices)),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformations_agree(name):
    matrices = three(11, 16)
    found = TRANSFORMED[name](matrices)
    assert found.lower.dtype == found.upper.dtype == jnp.float32
    # the last bits depend on the order of sums
    np.testing.assert_allclose(found, np.array([spectral_norm(matrix) for matrix in matrices]).T, rtol=1e-6)


def test_transformations_of_large_matrices_agree():
    matrices = three(140, 133)
    found = jax.jit(jax.vmap(spectral_norm))(matrices)
    np.testing.assert_allclose(found, spectral_norms(jnp.asarray(matrices)), rtol=1e-5)


def test_nothing_depends_on_the_flag_for_float64():
    matrix = gaussian(11, 16)
    with jax.enable_x64(True):
        found = spectral_norm(matrix)
    assert found.upper.dtype == jnp.float32
    np.testing.assert_allclose(found, spectral_norm(matrix), rtol=1e-6)


def test_the_ends_hold_whatever_lanczos_finds(monkeypatch):
    matrix = KINDS["linear"](150, 140)
    exact = exact_norm(matrix)
    smallest = np.linalg.svd(matrix.astype(np.float64))[2][-1]
    for vector in (np.zeros(140), smallest, np.full(140, np.nan)):
        monkeypatch.setattr(spectral, "_leading_vector", lambda gram, enough, vector=vector: jnp.asarray(vector))
        lower, upper = (float(end) for end in spectral._ends(matrix, TOLERANCE))
        assert encloses(lower, upper, exact)
        assert upper - lower <= TOLERANCE * exact


def test_a_start_without_the_leading_direction():
    start = np.random.default_rng(0).standard_normal(200)
    right = RNG.standard_normal((200, 3))
    right[:, 0] -= start * (start @ right[:, 0]) / (start @ start)
    right = np.linalg.qr(right)[0]
    # float32 brings a little of it back
    matrix = ((np.linalg.qr(RNG.standard_normal((210, 3)))[0] * [1.02, 1, 0.5]) @ right.T).astype(np.float32)
    lower, upper = (float(end) for end in spectral_norm(matrix))
    assert encloses(lower, upper, exact_norm(matrix))
    assert upper - lower <= TOLERANCE * exact_norm(matrix)


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_certificate_that_is_always_the_same_shows(monkeypatch, succeeds):
    """Negative control: the ends rest on what the factorization says."""
    matrix = KINDS["linear"](150, 140)
    factor = 1.0 if succeeds else np.nan
    monkeypatch.setattr(spectral, "_leading_vector", lambda gram, enough: jnp.ones(140))
    monkeypatch.setattr(jax.lax.linalg, "cholesky", lambda a, symmetrize_input: jnp.full_like(a, factor))
    lower, upper = spectral._ends(matrix, TOLERANCE)
    assert not encloses(lower, upper, exact_norm(matrix))


def test_what_rounding_may_do_is_within_what_is_allowed_for_it():
    """Forming G, against exact arithmetic on integers that need all of float32."""
    matrix = RNG.integers(-(2**24), 2**24, (12, 20)).astype(np.float32)
    exact = np.array(matrix.astype(np.int64).tolist(), dtype=object)
    exact = (exact @ exact.T).tolist()
    with jax.enable_x64(True):
        wide = widened(jnp.asarray(matrix))
        gram = np.asarray(wide @ wide.T)
    error = max(abs(Fraction(gram[i, j]) - exact[i][j]) for i in range(12) for j in range(12))
    allowed = spectral._gram_error(12, 20) * sum(exact[i][i] for i in range(12))
    assert error <= allowed
    single = np.asarray(jnp.dot(matrix, matrix.T, precision="highest"))
    error = max(abs(Fraction(float(single[i, j])) - exact[i][j]) for i in range(12) for j in range(12))
    assert error > allowed


@pytest.mark.fast
def test_products_are_rounded_upwards():
    below = 0
    for _ in range(50):
        factors = np.exp(RNG.standard_normal(6)).astype(np.float32)
        exact = math.prod(Fraction(float(factor)) for factor in factors)
        found = product_upper(jnp.asarray(factors))
        assert found.dtype == jnp.float32
        assert exact <= Fraction(float(found)) <= exact * Fraction(1 + 3e-7)
        below += Fraction(float(np.prod(factors))) < exact
    assert below > 5  # plain float32 falls below often
    factors = jnp.float32([[1e-30, 1e-30, 1e30, 1e30], [1.1, 1.1, 1.1, 1.1]])
    found = jax.vmap(jax.jit(product_upper))(factors)
    np.testing.assert_allclose(found, [1, 1.1**4], rtol=1e-6)
    assert product_upper(jnp.float32([2.0, 0.0])) == 0
    assert np.isnan(product_upper(jnp.float32([2.0, np.nan])))


@pytest.mark.parametrize(
    ("matrix", "tolerance", "sentence"),
    [
        (np.zeros((2, 2)), 1e-3, r"matrix must be \(a, b\) in float32, got float64 of shape \(2, 2\)"),
        (np.zeros(2, np.float32), 1e-3, r"got float32 of shape \(2,\)"),
        (np.zeros((0, 2), np.float32), 1e-3, r"got float32 of shape \(0, 2\)"),
        (np.zeros((2, 2), np.float32), 1e-9, r"tolerance must be in \[1e-06, 1\), got 1e-09"),
        (np.zeros((2, 2), np.float32), math.nan, "tolerance must be in"),
    ],
)
def test_bad_input(matrix, tolerance, sentence):
    with jax.enable_x64(True), pytest.raises(InputError, match=sentence):
        spectral_norm(matrix, tolerance)


# --- the measures made of them

NAMES = ["layer_spectral_norms", "lipschitz_upper"]


@pytest.mark.parametrize(
    "net",
    [
        MLP(4, 140, 2, "relu", "he", bias_std=0.1),
        MLP(2, 9, 1, "relu", "lecun", parameterization="ntk"),
        MLP(3, 20, 3, "tanh", "xavier"),
    ],
    ids=str,
)
def test_measures_of_layers(net):
    seeds, d = 3, 6
    found = measure_untrained(net, RNG.standard_normal((2, d)), NAMES, seeds=seeds)
    weights = net.initialize(d, seed_keys(jax.random.key(0), tuple(range(seeds)))).weights
    gains = net.layer_scales(d).weight_gain
    exact = np.array([[g * exact_norm(w[i]) for g, w in zip(gains, weights, strict=True)] for i in range(seeds)])
    assert found.layer_spectral_norms.dims == ("seed", "layer")
    np.testing.assert_allclose(found.layer_spectral_norms, exact, rtol=LAYER_ERROR + 1e-6)
    assert not np.allclose(found.layer_spectral_norms, exact * (1 + 2.1 * LAYER_ERROR), rtol=LAYER_ERROR, atol=0)
    product, upper = exact.prod(axis=1), found.lipschitz_upper.to_numpy()
    assert found.lipschitz_upper.attrs["side"] == "upper"
    assert np.all(upper >= product * (1 - EXACT))
    assert np.all(upper <= product * (1 + TOLERANCE) ** net.depth)
    # an upper end that is too small by the tolerance shows
    assert not np.any(upper * (1 - TOLERANCE) ** net.depth >= product)


def test_the_upper_end_bounds_every_slope():
    x, y = RNG.standard_normal((30, 4)), RNG.choice([-1.0, 1.0], 30)
    run = train(MLP(2, 12, 1, "relu", "he"), x, y, seeds=2, steps=30, record_steps=(0, 30))
    found = measure(run, RNG.standard_normal((400, 4)), [*NAMES, "jacobian_spectral"])
    assert np.all(found.jacobian_spectral <= found.lipschitz_upper)
    # and is not far above the largest: two layers of a narrow network
    assert np.all(found.lipschitz_upper < 4 * found.jacobian_spectral.max("point"))
