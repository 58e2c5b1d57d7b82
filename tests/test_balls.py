"""Balls: projections against what characterizes them, uniform points, steepest directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkrobust import InputError
from ntkrobust.finite.attacks.balls import Ball, project, random_point, steepest
from ntkrobust.norms import NORMS, check_norm

RNG = np.random.default_rng(0)
DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
INFINITE = (jnp.float32(-np.inf), jnp.float32(np.inf))
RADIUS = 0.7
N, D = 300, 6


def sizes(norm, rows):
    return np.linalg.norm(np.asarray(rows, np.float64), ord=ORDER[norm], axis=-1)


def is_nearest(norm, x, p):
    """p is the nearest point of the ball of radius RADIUS around 0 if and only if ⟨x − p, z − p⟩ ≤ 0 for all z in it;
    the largest ⟨x − p, z⟩ is RADIUS times the dual norm of x − p.
    """
    # rounding of coordinates of size 10
    inside = sizes(norm, p) <= RADIUS * (1 + 1e-5)
    gap = RADIUS * sizes(DUAL[norm], x - p) - np.sum((x - p) * p, axis=-1)
    return inside & (gap <= 1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_projections_are_the_nearest_points(norm):
    x = np.float32(RNG.standard_normal((N, D)) * RNG.choice([0.1, 1.0, 10.0], (N, 1)))
    x[0] = 0
    centre = np.float32(RNG.standard_normal((N, D)))
    ball = Ball.around(jnp.asarray(centre), jnp.float32(RADIUS), *INFINITE)
    p = np.asarray(project(norm, ball, jnp.asarray((centre + x).T)).T, np.float64) - centre
    assert is_nearest(norm, np.float64(centre + x) - centre, p).all()
    moved = sizes("l2", x - p) > 1e-3
    assert 50 < moved.sum() < N - 50
    assert not is_nearest(norm, x[moved], 0.99 * p[moved]).any()
    other = project("linf" if norm != "linf" else "l1", ball, jnp.asarray((centre + x).T)).T
    assert not is_nearest(norm, x, np.asarray(other, np.float64) - centre).all()


@pytest.mark.parametrize("norm", NORMS)
def test_projections_against_a_grid(norm):
    axis = np.linspace(-1, 1, 401)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    grid = grid[sizes(norm, grid) <= RADIUS]
    x = np.float32(RNG.uniform(-1.5, 1.5, (40, 2)))
    ball = Ball(jnp.zeros((2, 40), jnp.float32), jnp.float32(RADIUS), *INFINITE)
    p = np.asarray(project(norm, ball, jnp.asarray(x.T))).T
    best = np.min(np.linalg.norm(x[:, None] - grid, axis=-1), axis=1)
    found = np.linalg.norm(x - p, axis=-1)
    # the grid's spacing is 0.005: its best point is at most a diagonal farther than the nearest of the ball
    assert (found <= best + 1e-6).all()
    assert (best <= found + 0.005 * np.sqrt(2)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_ranges_cut_and_leave_points_in_the_ball(norm):
    centre = np.float32(RNG.uniform(0, 1, (N, D)))
    ball = Ball.around(jnp.asarray(centre), jnp.full(N, RADIUS, jnp.float32), jnp.float32(0), jnp.ones(D, jnp.float32))
    p = np.asarray(project(norm, ball, jnp.asarray(np.float32(3 * RNG.standard_normal((N, D))).T))).T
    assert ((p >= 0) & (p <= 1)).all()
    assert (sizes(norm, np.float64(p) - centre) <= RADIUS * (1 + 1e-6)).all()
    still = ball._replace(radius=jnp.float32(0))
    np.testing.assert_array_equal(project(norm, still, jnp.asarray(p.T)), centre.T)


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_are_uniform(norm):
    n = 4000
    ball = Ball(jnp.zeros((D, n), jnp.float32), jnp.float32(RADIUS), *INFINITE)
    points = np.asarray(random_point(norm, ball, jax.random.key(3)), np.float64).T
    radius = sizes(norm, points) / RADIUS
    assert radius.max() <= 1 + 1e-6
    # P(‖δ‖ ≤ r) = r^d, so E‖δ‖ = d/(d + 1); each coordinate has mean 0
    standard_error = np.sqrt(D / ((D + 2) * (D + 1) ** 2) / n)
    assert abs(radius.mean() - D / (D + 1)) < 4.5 * standard_error
    assert abs(radius.mean() - (D - 1) / D) > 4.5 * standard_error
    assert (abs(points.mean(axis=0)) < 4.5 * points.std(axis=0) / np.sqrt(n)).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_steepest_directions_reach_the_dual_norm(norm, scale):
    gradient = np.float32(RNG.standard_normal((N, D)) * scale)
    v = np.asarray(steepest(norm, jnp.asarray(gradient.T)), np.float64).T
    np.testing.assert_allclose(sizes(norm, v), 1, rtol=1e-6)
    np.testing.assert_allclose(np.sum(v * gradient, axis=1), sizes(DUAL[norm], gradient), rtol=1e-5)
    np.testing.assert_array_equal(steepest(norm, jnp.zeros((D, 2), jnp.float32)), 0)


def test_unknown_norms_are_refused():
    with pytest.raises(InputError, match="norm must be one of 'linf', 'l2', 'l1', got 'l7'"):
        check_norm("l7")
