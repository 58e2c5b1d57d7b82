"""``GeneralEnsemble``: infinitely wide trained networks of any architecture that neural-tangents can describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_integer, check_not_negative, check_positive
from ntkrobust.data.checks import as_choice, check_same_index, check_same_rows
from ntkrobust.data.encoding import encode
from ntkrobust.errors import InputError
from ntkrobust.kernels import coincident
from ntkrobust.kernels.architectures import kernel_of
from ntkrobust.kernels.ensemble import refuse_contradictions
from ntkrobust.kernels.general_at import GeneralEnsembleAt, GeneralFactorization, as_inputs
from ntkrobust.kernels.kernel_function import KernelFunction
from ntkrobust.kernels.spectrum import diagnose, eigh, response
from ntkrobust.networks.network import Network
from ntkrobust.values import Value

Array = npt.NDArray[np.float64]

ROUNDING = 1e-13
"""Relative error of the entries of a kernel in closed form: float64 through a few layers, limits on the diagonal."""


class GeneralEnsemble(Value):
    """Infinitely wide networks trained on ½Σ(f − y)² from random initialization, in the kernel regime.

    For fully connected networks :class:`~ntkrobust.InfiniteEnsemble` is far cheaper and knows more.

    Attributes:
        kernel: ``"ntk"`` or ``"nngp"``.
        learning_rate: η, or None for gradient flow.
        ridge: added to the eigenvalues of the training kernel.
        conditioning: eigenvalues and condition number of the training kernel; ``series_error`` is the relative error
            its entries are taken to have.
    """

    def __init__(
        self,
        network: Network | Callable[..., Any],
        x_train: npt.ArrayLike,
        y_train: npt.ArrayLike,
        *,
        kernel: Literal["ntk", "nngp"] = "ntk",
        learning_rate: float | None = None,
        ridge: float = 0.0,
        pairs: int | None = None,
    ) -> None:
        """Compute and factorize the kernels of the training points, once for all times.

        Args:
            network: a network of ntkrobust with a width, a :class:`~ntkrobust.ConvNet` for instance; or a kernel
                function of neural-tangents, the third of what ``stax.serial(...)`` returns, which has to return one
                number per pair of points.
            x_train: (n, d), or for a kernel function (n, …, channels), training inputs, n ≥ 2.
            y_train: (n, o) or (n,) targets; integer labels become one-hot (two classes: ±1).
            kernel: ``"ntk"`` trains all layers. ``"nngp"`` trains only the last one: t = ∞ is the posterior of the
                Gaussian process with kernel K.
            learning_rate: η of gradient descent on ½Σ; times are then multiples of it. None is gradient flow.
            ridge: added to the eigenvalues of the training kernel, as for :class:`~ntkrobust.InfiniteEnsemble`.
            pairs: of points whose kernel is computed at once. By default a rough estimate of memory decides: 256 MiB
                for networks with pooling, whose kernels hold every pair of positions.

        Raises:
            InputError: the network takes other inputs, arrays of the wrong shape or with NaN, fewer than two points,
                equal points with different targets (unless there is a ridge), a kernel that isn't finite, isn't
                positive semi-definite or has no number per pair of points, or a learning rate that diverges.
        """
        self.kernel = as_choice("kernel", kernel, ("ntk", "nngp"))
        self.ridge = check_not_negative("ridge", ridge)
        self.learning_rate = None if learning_rate is None else check_positive("learning_rate", learning_rate)
        if pairs is not None:
            check_integer("pairs", pairs, 1)
        x = as_inputs("x_train", x_train)
        (y,), _ = encode([("y_train", y_train)])
        check_same_index("x_train", x_train, "y_train", y_train)
        check_same_rows("x_train", x, "y_train", y)
        if len(x) < 2:
            raise InputError("an ensemble needs at least 2 training points, got 1")
        if self.ridge == 0:
            refuse_contradictions(x.reshape(len(x), -1), y)
        bayesian = self.kernel == "nngp"
        self._point_shape = x.shape[1:]
        if isinstance(network, Network):
            if x.ndim != 2:
                raise InputError(f"x_train of a network must have shape (n, d), got {x.shape}")
            kernel_fn = kernel_of(network, x.shape[1])
            if network.input_shape is not None:
                x = x.reshape(-1, *network.input_shape)
        else:
            kernel_fn = network
        self._kernels = KernelFunction(kernel_fn, x.shape[1:], bayesian, pairs)
        self._factors = _factorize(self._kernels, x, y, self.ridge if bayesian else 0.0)
        self.conditioning = diagnose(
            self._factors.eigenvalues, self.ridge, self.learning_rate, series_error=self._factors.error
        )

    def at(self, time: float) -> GeneralEnsembleAt:
        """The ensemble at ``time`` ≥ 0, gradient-flow time for the loss ½Σ over samples and outputs; inf is allowed.

        With a learning rate η, the ensemble after time/η steps of gradient descent.

        Raises:
            InputError: the time is negative, NaN, or not a multiple of the learning rate; or it is infinite and the
                training kernel is singular to working precision.
        """
        found = response(self._factors.eigenvalues, self.conditioning, time, self.learning_rate, self._factors.error)
        return GeneralEnsembleAt(self._kernels, self._factors, found, float(time), self.conditioning, self._point_shape)

    def __repr__(self) -> str:
        parts = [
            f"n={len(self._factors.x_train)}",
            f"input_shape={self._point_shape}",
            f"kernel={self.kernel!r}",
        ]
        if self.ridge:
            parts.append(f"ridge={self.ridge:g}")
        if self.learning_rate is not None:
            parts.append(f"learning_rate={self.learning_rate:g}")
        return f"<GeneralEnsemble {', '.join(parts)}, condition number {self.conditioning.condition_number:.2g}>"


def _factorize(kernels: KernelFunction, x: Array, y: Array, noise: float) -> GeneralFactorization:
    norms = np.linalg.norm(x.reshape(len(x), -1), axis=1)
    typical = float(norms.mean()) or 1.0
    k, theta = kernels.matrices(x)
    for name, matrix in (("NNGP", k), ("NTK", theta)):
        if not np.isfinite(matrix).all():
            raise InputError(f"the {name} of this network is not finite between the training points")
    if not kernels.bayesian:
        np.fill_diagonal(theta, coincident.diagonal(kernels, x, np.where(norms > 0, norms, typical)))
    with jax.enable_x64(True):
        eigenvalues, vectors = (np.asarray(part) for part in eigh(jnp.asarray(theta)))
    prior = k + noise * np.eye(len(k))
    return GeneralFactorization(
        x, typical, eigenvalues, vectors, prior, vectors.T @ y, max(ROUNDING, kernels.asymmetry(x))
    )
