import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.kernels.arctan import arctan2

EPSILON = np.finfo(np.float64).eps


def relative_errors(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(arctan2)(jnp.asarray(y), jnp.asarray(x)))
    expected = np.arctan2(y, x)
    return np.abs(found - expected) / np.maximum(np.abs(expected), np.finfo(float).tiny)


def test_angles_all_around_at_all_sizes() -> None:
    rng = np.random.default_rng(0)
    angle, size = rng.uniform(-np.pi, np.pi, 400_000), 10.0 ** rng.uniform(-100, 100, 400_000)
    assert relative_errors(size * np.sin(angle), size * np.cos(angle)).max() < 4 * EPSILON


def test_near_the_axes_and_the_seams() -> None:
    near = 10.0 ** np.linspace(-300, 0, 5000)
    for x in (1.0, -1.0):
        assert relative_errors(near, np.full_like(near, x)).max() < 4 * EPSILON
        assert relative_errors(np.full_like(near, x), near).max() < 4 * EPSILON
    seam = np.tan(np.pi / 8) * (1 + np.linspace(-1e-12, 1e-12, 1001))
    assert relative_errors(seam, np.ones_like(seam)).max() < 4 * EPSILON


def test_axes_are_exact() -> None:
    y, x = np.array([0.0, 0.0, 1.0, -1.0, 0.0, 2.0]), np.array([1.0, -1.0, 0.0, 0.0, 0.0, 2.0])
    with jax.enable_x64(True):
        found = np.asarray(arctan2(jnp.asarray(y), jnp.asarray(x)))
    np.testing.assert_array_equal(found, [0.0, np.pi, np.pi / 2, -np.pi / 2, 0.0, np.pi / 4])
