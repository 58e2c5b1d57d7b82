"""An infinite-width ensemble at one time: what its networks and their input gradients do at test points."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_flag, check_integer, check_not_negative, takes, whole
from ntkrobust.data.checks import as_choice, as_inputs
from ntkrobust.errors import InputError
from ntkrobust.kernels import ensemble_programs as programs
from ntkrobust.kernels import gaussian, trained
from ntkrobust.kernels.accuracy import series_terms
from ntkrobust.kernels.factorization import Factorization
from ntkrobust.kernels.first_order_at import FirstOrderAt
from ntkrobust.kernels.gradient_law import SAMPLES, GradientLaw, GradientMoments
from ntkrobust.kernels.layers import Layers, check_variances
from ntkrobust.kernels.linearised_draws import dual_norm, joint_draws, survives
from ntkrobust.kernels.memory import batch_rows, few_rows
from ntkrobust.kernels.tiles import blocks, padded_blocks
from ntkrobust.kernels.trained import Model, Training
from ntkrobust.kernels.width_order import Trained
from ntkrobust.networks.mlp import MLP
from ntkrobust.values import Value

Array = npt.NDArray[np.float64]

Norm = Literal["l2", "linf"]


MOST_SAMPLES = 1_000_000
"""Draws of a Jacobian per point."""


class EnsembleAt(FirstOrderAt, Value):
    """The ensemble at one time. Points are (n', d) arrays, results numpy arrays in float64.

    At a test point off the training points f and ∇f are jointly Gaussian over the randomness of initialization, with
    equal covariance for every output. *At* a training point the NTK of relu and leaky relu has a cone; there the
    gradient's mean over all directions is meant, to which the cone contributes nothing.

    Attributes:
        time: gradient-flow time.
    """

    def __init__(
        self,
        net: MLP,
        model: Model,
        layers: Layers[Any],
        factors: Factorization,
        response: Array,
        time: float,
        ridge: float,
        kernel_error: float = 0.0,
        learning_rate: float | None = None,
    ) -> None:
        self._kernel_error, self._learning_rate = kernel_error, learning_rate
        self._net, self._model, self._layers, self._factors = net, model, layers, factors
        self._response, self._ridge = response, ridge
        self.time = time

    @functools.cached_property
    def _mean_only(self) -> Training:
        """What means need: v, O(n²)."""
        with jax.enable_x64(True):
            v = self._factors.vectors @ (self._response[:, None] * self._factors.projected)
            nothing = jnp.zeros((0, 0))
            x, gram = self._factors.x_train, self._factors.gram
            return Training(x, gram, v, nothing, nothing, nothing, nothing, nothing, 0.0)

    @functools.cached_property
    def _training(self) -> Training:
        """What everything needs: M, N and their products with Γ too, O(n³)."""
        factors = self._factors
        with jax.enable_x64(True):
            noisy = self._model.bayesian and self._ridge > 0
            prior = factors.nngp + self._ridge * jnp.eye(len(factors.nngp)) if noisy else factors.nngp
            m, n, m_gram, n_gram = programs.propagators(factors.vectors, self._response, prior, factors.gram)
        amplification = float(np.max(factors.eigenvalues) * np.max(self._response))
        return self._mean_only._replace(
            m=m, n=n, m_gram=m_gram, n_gram=n_gram, prior=prior, amplification=amplification
        )

    def mean(self, x: npt.ArrayLike) -> Array:
        """E f_t(x) (n', o)."""
        return self._evaluate(programs.mean, self._points(x), self._mean_only)

    @property
    def _beyond_rounding(self) -> float:
        """How many times the error of the kernels is that of their rounding: more than once for a series."""
        return max(1.0, self._kernel_error / trained.ROUNDING / trained.SUMMANDS)

    def variance(self, x: npt.ArrayLike) -> Array:
        """Var f_t(x) (n',), of each output; zero where it is below its :meth:`resolution`.

        Raises:
            InputError: one is negative by more than rounding.
        """
        return trained.resolved(*self._variance_and_resolution(x))

    def resolution(self, x: npt.ArrayLike) -> Array:
        """Size (n',) of the rounding error of :meth:`variance`, below which that is not told from zero.

        At training points of a converged ensemble the variance is the difference of numbers of size K(x, x).
        """
        return self._variance_and_resolution(x)[1]

    def _variance_and_resolution(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        found, resolution = self._evaluate(programs.variance, self._points(x), self._training).T
        return found, resolution * self._beyond_rounding

    def covariance(self, x: npt.ArrayLike) -> Array:
        """Cov(f_t(x), f_t(x')) (n', n') of each output, between all points; needs memory for all of them at once."""
        points = self._points(x)
        with jax.enable_x64(True):
            found = np.array(
                programs.covariance(self._model_for(points), self._layers, jnp.asarray(points), self._training)
            )
        np.fill_diagonal(found, self.variance(points))
        return found

    def squared_difference(self, x: npt.ArrayLike, moved: npt.ArrayLike) -> Array:
        """E‖f_t(x̂) − f_t(x)‖² (n',) for points x̂ = ``moved``, (n', d) like ``x``: finite steps, nothing linearised.

        It is a difference of kernels, and zero where it is below its :meth:`squared_difference_resolution`, as for
        steps below about 1e-7‖x‖: there, linearise.

        Raises:
            InputError: points of two shapes, or one is negative by more than rounding.
        """
        return trained.resolved(*self._squared_difference(x, moved), "squared difference")

    def squared_difference_resolution(self, x: npt.ArrayLike, moved: npt.ArrayLike) -> Array:
        """Size (n',) of the rounding error of :meth:`squared_difference`, below which that is not told from zero."""
        return self._squared_difference(x, moved)[1]

    def _squared_difference(self, x: npt.ArrayLike, moved: npt.ArrayLike) -> tuple[Array, Array]:
        points, others = self._points(x), self._points(moved)
        if points.shape != others.shape:
            raise InputError(f"x and moved must have one shape, got {points.shape} and {others.shape}")
        found = self._evaluate(programs.squared_difference, np.stack([points, others], axis=1), self._training)
        return found[:, 0], found[:, 1] * self._beyond_rounding

    def gradient_mean(self, x: npt.ArrayLike) -> Array:
        """E ∇f_t(x) (n', o, d)."""
        return self._evaluate(programs.gradient_mean, self._points(x), self._mean_only)

    def gradient_mean_sq(self, x: npt.ArrayLike) -> Array:
        """Σ_k ‖E ∇f_k‖² (n',)."""
        return self._evaluate(programs.gradient_mean_sq, self._points(x), self._mean_only)

    def gradient_variance(self, x: npt.ArrayLike) -> Array:
        """tr Cov ∇f (n',), of each output; zero where rounding took it below.

        Raises:
            InputError: it is farther below zero than its :meth:`gradient_resolution`.
        """
        return self.gradient_moments(x).variance

    def gradient_second_moment(self, x: npt.ArrayLike) -> Array:
        """E‖J‖_F² = Σ_k ‖E ∇f_k‖² + o·tr Cov ∇f (n',)."""
        return self.gradient_moments(x).second_moment

    def gradient_moments(self, x: npt.ArrayLike) -> GradientMoments:
        """:meth:`gradient_mean_sq`, :meth:`gradient_variance` and :meth:`gradient_second_moment` in one pass."""
        mean_sq, found, resolution = self._gradients(x)
        variance = trained.not_negative(found, resolution)
        return GradientMoments(mean_sq, variance, mean_sq + self._net.d_out * variance)

    def gradient_resolution(self, x: npt.ArrayLike) -> Array:
        """The rounding error (n',) of :meth:`gradient_variance`, at most: a bound from norms, mostly far above it."""
        return self._gradients(x)[2]

    def _gradients(self, x: npt.ArrayLike) -> tuple[Array, Array, Array]:
        """Σ_k ‖E ∇f_k‖², tr Cov ∇f as it comes out, and its rounding error, (n',) each."""
        mean_sq, found, resolution = self._evaluate(programs.gradient_moments, self._points(x), self._training).T
        return mean_sq, found, resolution * self._beyond_rounding

    def gradient_covariance(self, x: npt.ArrayLike) -> Array:
        """Cov ∇f (n', d, d), of each output: O(d n²) per point."""
        return self._evaluate(
            programs.gradient_covariance, self._points(x), self._training, row_size=self._model.d_in**2
        )

    def gradient_value_covariance(self, x: npt.ArrayLike) -> Array:
        """Cov(∇f, f) (n', d), of each output."""
        return self._evaluate(programs.gradient_value_covariance, self._points(x), self._training)

    def gradient_law(self, x: npt.ArrayLike) -> GradientLaw:
        """The law of the Jacobian, from which E‖J‖_F and P/ε follow: O(min(n, d)·n²) per point."""
        reduced, basis = self._reduced
        width, o = reduced.x.shape[1], self._net.d_out
        found = self._evaluate(programs.spectrum, self._points(x), reduced, basis, row_size=width**2)
        c, m, isotropic = np.split(found, [width, width + o * width], axis=1)
        return GradientLaw(self._model.d_in, np.maximum(c, 0.0), m.reshape(-1, o, width), isotropic[:, 0])

    def gradient_norm(self, x: npt.ArrayLike) -> Array:
        """E‖J‖_F (n',), for one output E‖∇f‖; exact."""
        return self.gradient_law(x).norm()

    @takes(samples=whole(2, MOST_SAMPLES), return_error=check_flag)
    def perturbation_stability(
        self, x: npt.ArrayLike, *, samples: int = SAMPLES, seed: int = 0, return_error: bool = False
    ) -> Array | tuple[Array, Array]:
        """P/ε = E‖J(x̂ − x)‖/ε (n',), x̂ uniform in the ball around x; larger is less robust.

        Exact for one output; for several, the mean over ``samples`` directions (see
        :meth:`GradientLaw.perturbation_stability`).

        Args:
            x: (n', d).
            samples: directions, for several outputs.
            seed: of their draw.
            return_error: also return the standard error (n',), zero for one output.
        """
        value, error = self.gradient_law(x).perturbation_stability(samples, seed)
        return (value, error) if return_error else value

    @property
    def _trained(self) -> Trained:
        return Trained(self._net, self._model, self._layers, self._factors, self.time, self._ridge, self._learning_rate)

    @takes(samples=whole(2, MOST_SAMPLES), return_error=check_flag)
    def worst_case(
        self,
        x: npt.ArrayLike,
        norm: Norm = "l2",
        *,
        samples: int = SAMPLES,
        seed: int = 0,
        return_error: bool = False,
    ) -> Array | tuple[Array, Array]:
        """E of the largest linearised change of an output per unit radius, E max_k max_{‖δ‖≤1} |∇f_k·δ| (n',).

        One output: E‖∇f‖₂ for the ℓ2 ball, Σ_j E|∂_j f| for the ℓ∞ ball, both exact. Several: sampled.

        Args:
            x: (n', d).
            norm: of the ball, ``"l2"`` or ``"linf"``.
            samples: draws of the Jacobian, for several outputs.
            seed: of the draws.
            return_error: also return the standard error (n',), zero for one output.
        """
        as_choice("norm", norm, ("l2", "linf"))
        if self._net.d_out == 1:
            if norm == "l2":
                exact = self.gradient_norm(x)
            else:
                exact = np.concatenate([self._mean_l1_norm(block) for block in self._blocks(x)])
            return (exact, np.zeros_like(exact)) if return_error else exact
        draws = np.stack([dual_norm(g, norm).max(axis=1) for _, g in self._draws(x, samples, seed)])
        value, error = draws.mean(axis=1), draws.std(axis=1, ddof=1) / math.sqrt(samples)
        return (value, error) if return_error else value

    @takes(samples=whole(2, MOST_SAMPLES), return_error=check_flag, epsilon=check_not_negative)
    def survival_probability(
        self,
        x: npt.ArrayLike,
        epsilon: float,
        norm: Norm = "l2",
        *,
        samples: int = SAMPLES,
        seed: int = 0,
        return_error: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Probability (n',) that no perturbation of radius ε changes the predicted class of the linearised network.

        The predicted class is the sign of f for one output, the largest output k for several; it survives if
        |f| > ε‖∇f‖_*, or f_k − f_j > ε‖∇f_k − ∇f_j‖_* for all j, with the dual norm: ℓ2 of ℓ2, ℓ1 of ℓ∞. Values and
        gradients are drawn from their joint Gaussian law.

        Args:
            x: (n', d).
            epsilon: radius ε ≥ 0, in the units of the inputs.
            norm: of the ball, ``"l2"`` or ``"linf"``.
            samples: draws.
            seed: of the draws.
            return_error: also return the standard error (n',).
        """
        as_choice("norm", norm, ("l2", "linf"))
        share = np.array([np.mean(survives(f, g, epsilon, norm)) for f, g in self._draws(x, samples, seed)])
        return (share, np.sqrt(share * (1 - share) / samples)) if return_error else share

    def _draws(self, x: npt.ArrayLike, samples: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """For each point, draws of f (samples, o) and J (samples, o, d)."""
        rng_seed = check_integer("seed", seed, 0, maximum=LARGEST_SEED)
        for block in self._blocks(x):
            yield from self._draws_of(block, samples, rng_seed)

    def _blocks(self, x: npt.ArrayLike) -> Iterator[Array]:
        """The points, few enough at a time for a d × d matrix each."""
        points = self._points(x)
        for part in blocks(len(points), few_rows((self._model.d_in + 1) ** 2)):
            yield points[part]

    def _mean_l1_norm(self, x: Array) -> Array:
        """E‖∇f‖₁ (n',) of the first output."""
        spread = np.diagonal(self.gradient_covariance(x), axis1=1, axis2=2)
        return gaussian.mean_abs(self.gradient_mean(x)[:, 0], spread).sum(axis=1)

    def _draws_of(self, x: Array, samples: int, seed: int) -> Iterator[tuple[Array, Array]]:
        d = self._model.d_in
        centre = np.concatenate([self.mean(x)[:, :, None], self.gradient_mean(x)], axis=2)
        joint = np.empty((len(centre), d + 1, d + 1))
        joint[:, 0, 0] = self.variance(x)
        joint[:, 0, 1:] = joint[:, 1:, 0] = self.gradient_value_covariance(x)
        joint[:, 1:, 1:] = self.gradient_covariance(x)
        return joint_draws(centre, joint, samples, seed)

    @functools.cached_property
    def _reduced(self) -> tuple[Training, jax.Array | None]:
        """Training points in coordinates of their span, with one more for what a test point adds; and its basis."""
        n, d = self._factors.x_train.shape
        if d <= n + 1:
            return self._training, None
        with jax.enable_x64(True):
            basis, _ = jnp.linalg.qr(self._factors.x_train.T)
            return self._training._replace(x=jnp.pad(self._factors.x_train @ basis, ((0, 0), (0, 1)))), basis

    def _evaluate(
        self, quantity: Callable[..., Any], points: Array, train: Training, *others: Any, row_size: int = 0
    ) -> Array:
        """A jitted function of points, in batches, along the first axis; ``row_size`` numbers come with each point."""
        size = min(batch_rows(len(self._factors.x_train)), few_rows(row_size))
        model = self._model_for(points)
        with jax.enable_x64(True):
            return np.concatenate(
                [
                    np.asarray(quantity(model, self._layers, jnp.asarray(block), train, *others))[
                        : part.stop - part.start
                    ]
                    for part, block in padded_blocks(points, size)
                ]
            )

    def _model_for(self, points: Array) -> Model:
        """With as many terms of the activation's series as these points need, if they are longer than those of the
        training set.

        Raises:
            InputError: no number of terms is enough.
        """
        if not self._model.terms:
            return self._model
        terms, _ = series_terms(self._net, self._layers, points.reshape(-1, self._model.d_in))
        return self._model._replace(terms=max(terms, self._model.terms))

    def _points(self, x: npt.ArrayLike) -> Array:
        points = as_inputs("x", x)
        if points.shape[1] != self._model.d_in:
            raise InputError(f"x must have {self._model.d_in} coordinates per point, got {points.shape[1]}")
        check_variances("x", points, self._layers)
        return points

    def _facts(self) -> dict[str, Any]:
        return {"network": self._net, "time": self.time, "training points": len(self._factors.x_train)}

    def __repr__(self) -> str:
        return f"<EnsembleAt time={self.time:g} of {self._net!r}>"
