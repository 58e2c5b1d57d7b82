"""The Gaussian law of the input Jacobian at test points, and the expected norms that follow from it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_integer
from ntkrobust.kernels import gaussian
from ntkrobust.values import equal_tuples, hash_of_tuple

Array = npt.NDArray[np.float64]

SAMPLES = 4096
"""Draws behind a number that has no closed form, by default."""


class GradientMoments(NamedTuple):
    """Moments of the input gradients at test points, (n',) each.

    Attributes:
        mean_sq: Σ_k ‖E ∇f_k‖².
        variance: tr Cov ∇f, of each output.
        second_moment: E‖J‖_F² = Σ_k ‖E ∇f_k‖² + o·tr Cov ∇f.
    """

    mean_sq: Array
    variance: Array
    second_moment: Array

    def __eq__(self, other: object) -> bool:
        return equal_tuples(self, other)

    def __hash__(self) -> int:
        return hash_of_tuple(self)


class GradientLaw(NamedTuple):
    """J(x) of shape (o, d), its rows independent Gaussians with one covariance C and means of their own.

    Attributes:
        d_in: d.
        eigenvalues: c (n', k) of C on the span of x and the training points, not negative.
        means: E ∇f_k along the eigenvectors (n', o, k); there is nothing off that span.
        isotropic: variance (n',) in each of the other d − k directions.
    """

    d_in: int
    eigenvalues: Array
    means: Array
    isotropic: Array

    def __eq__(self, other: object) -> bool:
        return equal_tuples(self, other)

    def __hash__(self) -> int:
        return hash_of_tuple(self)

    def norm(self) -> Array:
        """E‖J‖_F (n',), exact."""
        o, k = self.means.shape[1:]
        return gaussian.mean_norm(
            np.concatenate([self.eigenvalues, self.isotropic[:, None]], axis=1),
            np.pad(np.sum(self.means**2, axis=1), ((0, 0), (0, 1))),
            o * np.array([*[1] * k, self.d_in - k]),
        )

    def perturbation_stability(self, samples: int = SAMPLES, seed: int = 0) -> tuple[Array, Array]:
        """P/ε and its standard error, each (n',).

        One output: c_d E‖∇f‖, exact. Several: (d/(d+1)) E‖Ju‖ over ``samples`` directions u, where Ju given u is an
        isotropic Gaussian, E‖Ju‖ of which has a closed form.

        Raises:
            InputError: fewer than two samples.
        """
        samples, seed = check_integer("samples", samples, 2), check_integer("seed", seed, 0, maximum=LARGEST_SEED)
        o = self.means.shape[1]
        if o == 1:
            exact = gaussian.ball_constant(self.d_in) * self.norm()
            return exact, np.zeros_like(exact)
        u, rest = self._directions(samples, seed)
        variance = np.square(u) @ self.eigenvalues.T + np.outer(rest, self.isotropic)
        mean_square = np.sum([np.square(u @ self.means[:, k].T) for k in range(o)], axis=0)
        found = self.d_in / (self.d_in + 1) * gaussian.mean_norm_isotropic(mean_square, variance, o)
        return found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(samples)

    def _directions(self, samples: int, seed: int) -> tuple[Array, Array]:
        """Uniform unit vectors of R^d: their first k coordinates (samples, k), and the squared length of the others."""
        rng, k = np.random.default_rng(seed), self.eigenvalues.shape[1]
        z = rng.standard_normal((samples, k))
        rest = rng.chisquare(self.d_in - k, samples) if self.d_in > k else np.zeros(samples)
        length = np.sum(z * z, axis=1) + rest
        return z / np.sqrt(length)[:, None], rest / length
