"""Networks f(x̂) ≈ f(x) + J(x̂ − x) drawn from the joint Gaussian law of value and Jacobian, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def joint_draws(mean: Array, covariance: Array, samples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """For each point, draws of f (samples, o) and J (samples, o, d); all points share their normals.

    Args:
        mean: (n', o, 1 + d) of f and ∇f.
        covariance: (n', 1 + d, 1 + d), the same for every output.
        samples: number of draws.
        seed: of the draws.
    """
    noise = np.random.default_rng(seed).standard_normal((samples, *mean.shape[1:]))
    for centre, joint in zip(mean, covariance, strict=True):
        values, vectors = np.linalg.eigh(joint)
        drawn = centre + noise @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
        yield drawn[:, :, 0], drawn[:, :, 1:]


def dual_norm(g: Array, norm: str) -> Array:
    """‖g‖ along the last axis in the norm dual to that of the ball."""
    return np.abs(g).sum(axis=-1) if norm == "linf" else np.sqrt(np.sum(g * g, axis=-1))


def survives(f: Array, g: Array, epsilon: float, norm: str) -> npt.NDArray[np.bool_]:
    """For each draw, whether the predicted class survives; f (samples, o), g (samples, o, d)."""
    if f.shape[1] == 1:
        return np.abs(f[:, 0]) > epsilon * dual_norm(g[:, 0], norm)
    draw, predicted = np.arange(len(f)), f.argmax(axis=1)
    margin = f[draw, predicted][:, None] - f - epsilon * dual_norm(g[draw, predicted][:, None] - g, norm)
    margin[draw, predicted] = np.inf
    return (margin > 0).all(axis=1)
