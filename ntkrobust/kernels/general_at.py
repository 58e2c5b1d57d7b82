"""An infinite-width ensemble of any architecture at one time: moments of f_t and of its input gradients.

With M, N = MKM and v = My as in :mod:`ntkrobust.kernels.trained`, D_Θ = ∂_xΘ(X, x) and D_K = ∂_xK(X, x) (n, d),

    E ∇f = D_Θᵀ v,     tr Cov ∇f = tr ∂∂'K + tr D_ΘᵀN D_Θ − 2 tr D_ΘᵀM D_K.

Only first derivatives of the kernels at different points enter, and the mixed one of K at equal points.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import as_numeric
from ntkrobust.errors import InputError
from ntkrobust.kernels import coincident, trained
from ntkrobust.kernels.kernel_function import KernelFunction
from ntkrobust.kernels.spectrum import Conditioning
from ntkrobust.values import Value

Array = npt.NDArray[np.float64]

ASYMMETRY = 1e-9
"""Relative asymmetry of kernels up to which derivatives are taken. Closed forms have 1e-14. What integrates over two
variables in turn has about the error of its integrals, which derivatives multiply by 10³ and more."""


class GeneralFactorization(NamedTuple):
    """What the training points come to, for all times; float64, n training points.

    Attributes:
        x_train: (n, *input_shape).
        length: typical norm of a training point.
        eigenvalues: λ (n,) of Θ(X, X), ascending (of K for the NNGP).
        vectors: V (n, n), in columns.
        prior: K (n, n), with the noise that a ridge on the NNGP stands for.
        projected: Vᵀy (n, o).
        error: relative, of the kernels: rounding, or their asymmetry where they are integrated numerically.
    """

    x_train: Array
    length: float
    eigenvalues: Array
    vectors: Array
    prior: Array
    projected: Array
    error: float


class GeneralEnsembleAt(Value):
    """The ensemble at one time. Points are (n', *input shape) arrays, results numpy arrays in float64.

    Attributes:
        time: gradient-flow time.
        conditioning: of the training kernel.
    """

    def __init__(
        self,
        kernels: KernelFunction,
        factors: GeneralFactorization,
        response: Array,
        time: float,
        conditioning: Conditioning,
        point_shape: tuple[int, ...],
    ) -> None:
        self._kernels, self._factors, self._response = kernels, factors, response
        self._point_shape = point_shape
        self.time, self.conditioning = time, conditioning

    @functools.cached_property
    def _v(self) -> Array:
        """M y (n, o)."""
        return self._factors.vectors @ (self._response[:, None] * self._factors.projected)

    @functools.cached_property
    def _propagators(self) -> tuple[Array, Array]:
        """M and N (n, n)."""
        return trained.propagators(self._factors.vectors, self._response, self._factors.prior)

    def mean(self, x: npt.ArrayLike) -> Array:
        """E f_t(x) (n', o)."""
        return self._kernels.matrices(self._points(x), self._factors.x_train)[1] @ self._v

    def variance(self, x: npt.ArrayLike) -> Array:
        """Var f_t(x) (n',), of each output; zero where it is below its :meth:`resolution`.

        Raises:
            InputError: one is negative by more than rounding.
        """
        return trained.resolved(*self._variance_and_resolution(x))

    def resolution(self, x: npt.ArrayLike) -> Array:
        """Size (n',) of the rounding error of :meth:`variance`, below which that is not told from zero."""
        return self._variance_and_resolution(x)[1]

    def _variance_and_resolution(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        points = self._points(x)
        k, theta = self._kernels.matrices(points, self._factors.x_train)
        m, _ = self._propagators
        amplification = float(np.max(self._factors.eigenvalues) * np.max(self._response))
        at_point = self._kernels.nngp(points, points)
        found, resolution = trained.variance_and_resolution(
            theta, k, at_point, m, self._factors.prior, amplification, np.sqrt
        )
        # Kernels that are integrated numerically are off by more than rounding.
        return found, resolution * max(1.0, self._factors.error / trained.ROUNDING / trained.SUMMANDS)

    def gradient_mean(self, x: npt.ArrayLike) -> Array:
        """E ∇f_t(x) (n', o, *input shape).

        Raises:
            InputError: the kernels' rows have no gradient at a point, one that differentiation gets wrong, or errors of
                their own that derivatives would multiply.
        """
        points = self._points(x)
        found = [self._v.T @ by_theta for _, by_theta in self._rows(points)]
        return np.stack(found).reshape(len(points), -1, *self._point_shape)

    def gradient_mean_sq(self, x: npt.ArrayLike) -> Array:
        """Σ_k ‖E ∇f_k‖² (n',).

        Raises:
            InputError: as :meth:`gradient_mean`.
        """
        mean = self.gradient_mean(x)
        return np.sum(mean**2, axis=tuple(range(1, mean.ndim)))

    def gradient_variance(self, x: npt.ArrayLike) -> Array:
        """tr Cov ∇f (n',), of each output.

        Raises:
            InputError: as :meth:`gradient_mean`; or the variance at initialization can't be computed, or the networks
                themselves have no gradient at a point.
        """
        return self._gradient_moments(x)[:, 1]

    def gradient_second_moment(self, x: npt.ArrayLike) -> Array:
        """E‖J‖_F² = Σ_k ‖E ∇f_k‖² + o·tr Cov ∇f (n',).

        Raises:
            InputError: as :meth:`gradient_variance`.
        """
        return self._gradient_moments(x) @ np.array([1.0, self._v.shape[1]])

    def _gradient_moments(self, x: npt.ArrayLike) -> Array:
        """Σ_k ‖E ∇f_k‖² and tr Cov ∇f (n', 2)."""
        points = self._points(x)
        m, n = self._propagators
        found = []
        for point, length, (by_k, by_theta) in zip(points, self._lengths(points), self._rows(points), strict=True):
            untrained, _ = coincident.gradient_variance(self._kernels, point, length)
            trace = untrained + np.sum(by_theta * (n @ by_theta - 2 * m @ by_k))
            rounding = trained.gradient_rounding(
                np.abs(untrained), np.linalg.norm(by_theta), np.linalg.norm(by_k), m, self._factors.prior
            )
            found.append((np.sum((self._v.T @ by_theta) ** 2), trace, rounding))
        mean_sq, variance, resolution = np.array(found).T
        error = max(1.0, self._factors.error / trained.ROUNDING / trained.SUMMANDS)
        return np.stack([mean_sq, trained.not_negative(variance, error * resolution)], axis=1)

    def _rows(self, points: Array) -> list[tuple[Array, Array]]:
        """∂_x of K(x, X) and Θ(x, X), each (n, d), for every point.

        They are taken only where they exist, and compared with differences along one random direction: a layer of
        neural-tangents that can't be differentiated must not go unnoticed.
        """
        if self._factors.error > ASYMMETRY:
            raise InputError(
                f"the kernel is not symmetric, by {self._factors.error:.0e} of its size: its layers are integrated "
                "too coarsely for derivatives (ElementwiseNumerical and others without a closed form)"
            )
        around = coincident.neighbourhood(self._kernels, points, self._factors.x_train, self._lengths(points))
        kinks = np.argwhere(around.cones > coincident.CONE)
        if kinks.size:
            test, train = kinks[0]
            raise InputError(
                f"the kernel has a kink between test point {test} and training point {train} (from 0), so gradients "
                "don't exist there: with relu-like activations this happens where the two, or patches of them, are "
                "equal (to about 1e-3), multiples of each other without biases, or zero; move the test point"
            )
        found = []
        for point, u, slopes, tolerance in zip(
            points,
            around.directions,
            np.moveaxis(around.slopes, 1, 0),
            np.moveaxis(around.tolerance, 1, 0),
            strict=True,
        ):
            rows = self._kernels.gradients(point, self._factors.x_train)
            for name, row, slope, allowed in zip(("K", "Θ"), rows, slopes, tolerance, strict=True):
                off = np.abs(row @ u - slope).max()
                if not off <= allowed:
                    raise InputError(
                        f"automatic differentiation of {name} and its difference quotient disagree by {off:.1e} where "
                        f"{allowed:.1e} is allowed, so this network's gradients can't be trusted"
                    )
            found.append(rows)
        return found

    def _lengths(self, points: Array) -> Array:
        """The scale of each point: its norm, or that of a training point if it is zero."""
        norms = np.linalg.norm(points.reshape(len(points), -1), axis=1)
        return np.where(norms > 0, norms, self._factors.length)

    def _points(self, x: npt.ArrayLike) -> Array:
        points = as_inputs("x", x)
        if points.shape[1:] != self._point_shape:
            raise InputError(f"points must have shape {self._point_shape}, got {points.shape[1:]}")
        # Rows of flattened images, where a network says that they are images.
        return points.reshape(-1, *self._kernels.input_shape)

    def _facts(self) -> dict[str, Any]:
        return {"time": self.time, "training points": len(self._factors.x_train), "input shape": self._point_shape}

    def __repr__(self) -> str:
        return f"<GeneralEnsembleAt time={self.time:g}, n={len(self._factors.x_train)}>"


def as_inputs(name: str, value: npt.ArrayLike) -> Array:
    """``value`` (n, …, channels) in float64.

    Raises:
        InputError: it is not numeric, has fewer than two axes, is empty, or not finite.
    """
    array = as_numeric(name, value)
    if array.ndim < 2 or array.size == 0:
        raise InputError(
            f"{name} must have shape (rows, d) or (rows, ..., channels) with at least one of each, got {array.shape}"
        )
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        raise InputError(
            f"{name} must be finite, but its entry at {tuple(map(int, bad[0]))} (counting from 0) is "
            f"{array[tuple(bad[0])]}"
        )
    return np.array(array, np.float64)
