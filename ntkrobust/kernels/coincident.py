"""Kernels of two points that come together, where those of networks with kinked activations aren't smooth.

Along x' = x + hδ with h → 0, the kernels of relu-like activations expand in all powers of |h|: the NNGP kernel K from a
term |h|³ on, the NTK from a cone |h| on. So

    tr Cov(∇f) = tr ∂∂'K = lim_{h → 0} Σ_j E|f(x + h e_j) − f(x)|²/h²,
    E|f(x') − f(x)|² = K(x', x') + K(x, x) − 2K(x', x),

exists and Σ_j ∂_j∂'_jΘ doesn't. Differentiating neural-tangents' K twice at coincident points is right only where
rounding leaves a root at exactly zero (off by 1e-12 to 1e-2 for relu) and wrong for layers that integrate numerically.
So the limit is extrapolated from steps on one side, from values of K alone, and comes with an estimate of its error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.kernels.extrapolation import limit_at_zero, nodes
from ntkrobust.kernels.kernel_function import KernelFunction

Array = npt.NDArray[np.float64]

LARGEST_STEPS = (0.5, 2.0, 0.125)
"""Largest steps tried, in units of the root mean square of the point's coordinates. The first mostly serves; the second
where a network hardly notices one coordinate; the third where a part of an input (a patch) is far smaller than the
rest."""

GOOD, REFUSED = 1e-9, 1e-6
"""Relative error at which no further step is tried, and above which the number isn't returned."""

PROBE = 1e-5
"""Step, relative to the norm of a point, at which the rows of kernels are examined. Smaller ones lose digits, larger
ones take close points for equal."""

CONE = 1e-6
"""A relative cone above this is one; rounding leaves 1e-10."""


class Neighbourhood(NamedTuple):
    """What rows of the kernels do around test points (a, …) in one random direction u, n training points.

    Attributes:
        cones: lim_{h → 0} (Θ(x + hu, x_i) + Θ(x − hu, x_i) − 2Θ(x, x_i))/h, times ‖x‖, relative to the row's largest
            entry; of Θ or K, the larger (a, n). Zero where a gradient by x exists.
        slopes: (K, Θ)(x + hu, x_i) differentiated by h at 0, the average of both sides, (2, a, n).
        directions: u (a, d), of norm one.
        tolerance: what ``slopes`` may differ from true ones if nothing is wrong (2, a).
    """

    cones: Array
    slopes: Array
    directions: Array
    tolerance: Array


def neighbourhood(kernels: KernelFunction, x: Array, x_train: Array, lengths: Array) -> Neighbourhood:
    """Rows of K and Θ at x ± hu and x ± hu/2.

    Args:
        kernels: of the network.
        x: (a, *input_shape).
        x_train: (n, *input_shape).
        lengths: the scale of each test point (a,), its norm.
    """
    a, d = len(x), int(np.prod(x.shape[1:]))
    u = np.random.default_rng(0).standard_normal((a, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    h = PROBE * lengths
    moves = np.array([0.0, 1.0, -1.0, 0.5, -0.5])
    moved = x.reshape(a, 1, d) + moves[:, None] * (h[:, None] * u)[:, None, :]
    rows = np.stack(kernels.matrices(moved.reshape(-1, *x.shape[1:]), x_train)).reshape(2, a, len(moves), -1)
    at, far_up, far_down, near_up, near_down = (rows[:, :, i] for i in range(len(moves)))
    step = h[:, None]
    # Both weights remove what a smooth function has at order h² beside the cone, or beside the slope.
    bends = 4 * (near_up + near_down - 2 * at) - (far_up + far_down - 2 * at)
    slopes = (8 * (near_up - near_down) - (far_up - far_down)) / (6 * step)
    largest = np.abs(at).max(axis=2, keepdims=True)
    floor = np.where(largest > 0, largest, 1.0)
    cones = np.abs(bends * lengths[:, None] / (step * floor)).max(axis=0)
    tolerance = REFUSED * (np.abs(slopes).max(axis=2) + largest[:, :, 0] / lengths)
    return Neighbourhood(cones, slopes, u, tolerance)


def gradient_variance(kernels: KernelFunction, x: Array, length: float) -> tuple[float, float]:
    """tr Cov ∇f of the untrained network at one point, Σ_j ∂_j∂'_jK, and an estimate of its relative error.

    Args:
        kernels: of the network.
        x: (*input_shape,).
        length: the scale of the point, its norm.

    Raises:
        InputError: the limit can't be computed to a relative error of 1e-6, or the networks have no gradient there.
    """
    rms = length / np.sqrt(x.size)
    best, smallest, bend, blur = 0.0, np.inf, 0.0, 0.0
    for largest in LARGEST_STEPS:
        steps = nodes(largest * rms)
        (value, bent), (error, bent_error) = limit_at_zero(steps, _quotients(kernels, x, steps))
        relative = float(error / abs(value)) if value else float(error > 0)
        if relative < smallest:
            best, smallest, bend, blur = float(value), relative, float(bent), float(bent_error)
        if smallest <= GOOD:
            break
    if not smallest <= REFUSED:
        raise InputError(
            f"tr Cov ∇f at initialization can't be computed here to better than {smallest:.0e}: the kernel isn't "
            "smooth at the scale of the point, which happens where an input, or a patch of it, is nearly zero and "
            "there are no biases"
        )
    # Near a small patch the kernel bends sharply without a kink: that is not told from zero.
    if bend > 1e-5 * abs(best) and bend > 10 * blur:
        raise InputError(
            "the networks have no gradient at this point: activations sit at a kink with probability one, as those of "
            "relu do where an input, or a patch of it, is zero and there are no biases"
        )
    return best, smallest


def diagonal(kernels: KernelFunction, x: Array, lengths: Array) -> Array:
    """Θ(x, x) (n,), as the limit of Θ(x, x + hδ) for h → 0.

    At equal points neural-tangents computes the angle between them from a rounded root, which left relative
    errors of 1e-9 in convolutional networks; along h it is accurate.

    Args:
        kernels: of the network.
        x: (n, *input_shape).
        lengths: the scale of each point (n,), its norm.
    """
    shape = (-1, *[1] * (x.ndim - 1))
    rms = (lengths / np.sqrt(x[0].size)).reshape(shape)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], x.shape)
    steps = nodes(0.1)
    limit, error = limit_at_zero(steps, np.stack([kernels.ntk(x, x + h * rms * signs) for h in steps]))
    found = kernels.ntk(x, x)
    # Where the limit is no better than what it is to correct, nothing is corrected.
    return np.where(error <= 1e-10 * np.abs(found), limit, found)


def _quotients(kernels: KernelFunction, x: Array, steps: Array) -> Array:
    """For each step h, Σ_j E|f(x + h e_j) − f(x)|²/h² and, with random signs s, E|f(x + hs) + f(x − hs) − 2f(x)|²/h²
    (k, 2)."""
    h = steps.reshape(-1, *[1] * x.ndim)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], x.shape)
    moved = (x + h[:, None] * np.eye(x.size).reshape(-1, *x.shape)).reshape(-1, *x.shape)
    up, down, at = x + h * signs, x - h * signs, np.broadcast_to(x, (len(steps), *x.shape))
    pairs = [
        (moved, moved), (moved, np.broadcast_to(x, moved.shape)),
        (at, at), (up, up), (down, down), (up, down), (up, at), (down, at),
    ]  # fmt: skip
    # In one call, so that all of them are blocks of one compiled shape.
    found = kernels.nngp(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    parts = np.split(found, np.cumsum([len(first) for first, _ in pairs])[:-1])
    mm, mx = (part.reshape(len(steps), -1) for part in parts[:2])
    xx, uu, dd, ud, ux, dx = parts[2:]
    differences = (mm + xx[:, None] - 2 * mx).sum(axis=1)
    bends = uu + dd + 4 * xx + 2 * ud - 4 * ux - 4 * dx
    return np.stack([differences, bends], axis=1) / steps[:, None] ** 2
