"""Points and weights for expectations over the first-layer weights w ~ N(0, I) of one neuron; numpy, float64.

Polynomials up to degree 5 are integrated exactly by a cubature: Mysovskikh's rule for the sphere (vertices of a regular
simplex, the midpoints of its edges on the sphere, and their opposites) times a Gauss rule for ‖w‖². Everything else
gets scrambled Sobol points, each set of which is an independent unbiased estimate (Owen 1995).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.stats import norm, qmc

Array = npt.NDArray[np.float64]

RADII = 3
"""Nodes of the Gauss rule for ‖w‖²: exact up to degree 5 in it, where degree 2 is what the cubature needs."""


def sobol_nodes(dimension: int, exponent: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """2**exponent scrambled Sobol points (N, R) in ``dimension`` R, carried to N(0, I), and equal weights (N,)."""
    uniform = qmc.Sobol(dimension, seed=rng).random_base2(exponent)
    tiny = np.finfo(np.float64).tiny
    return norm.ppf(np.clip(uniform, tiny, 1 - 2.0**-53)), np.full(2**exponent, 2.0**-exponent)


def cubature_nodes(dimension: int) -> tuple[Array, Array]:
    """Points (N, R) and weights (N,), of either sign, of a rule of degree 5 for N(0, I) in ``dimension`` R.

    N = 3(R + 1)(R + 2), six for R = 1. Mysovskikh's weights on the sphere are R(7−R)/(2(R+1)²(R+2)) for the 2(R+1)
    vertices and 2(R−1)²/(R(R+1)²(R+2)) for the R(R+1) midpoints; ‖w‖²/2 has the density t^{R/2−1}e^{−t}/Γ(R/2).
    """
    r = dimension
    if r == 1:
        directions, weights = np.array([[1.0], [-1.0]]), np.full(2, 0.5)
    else:
        centred = np.eye(r + 1) - 1 / (r + 1)
        vertices = _unit(centred @ np.linalg.svd(centred)[0][:, :r])
        first, second = np.triu_indices(r + 1, 1)
        midpoints = _unit(vertices[first] + vertices[second])
        directions = np.concatenate([vertices, -vertices, midpoints, -midpoints])
        scale = (r + 1) ** 2 * (r + 2)
        sizes = [2 * len(vertices), 2 * len(midpoints)]
        weights = np.repeat([r * (7 - r) / (2 * scale), 2 * (r - 1) ** 2 / (r * scale)], sizes)
    half_squares, radial = special.roots_genlaguerre(RADII, r / 2 - 1)
    points = np.sqrt(2 * half_squares)[:, None, None] * directions
    return points.reshape(-1, r), np.outer(radial / radial.sum(), weights).ravel()


def _unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
