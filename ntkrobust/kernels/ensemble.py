"""``InfiniteEnsemble``: an ensemble of infinitely wide trained networks, at any time of training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ntkrobust.checks import MOST_BYTES, check_integer, check_not_negative, check_positive, check_sequence, shown
from ntkrobust.data.checks import as_choice, as_inputs, check_same_index, check_same_rows
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.encoding import encode
from ntkrobust.data.given import training_points
from ntkrobust.errors import InputError
from ntkrobust.kernels import memory
from ntkrobust.kernels.accuracy import series_terms
from ntkrobust.kernels.ensemble_at import EnsembleAt
from ntkrobust.kernels.factorization import Factorization
from ntkrobust.kernels.layers import check_variances, layers_of, resolve_parameterization
from ntkrobust.kernels.spectrum import diagnose, eigh, response
from ntkrobust.kernels.tiles import kernel_matrices
from ntkrobust.kernels.trained import Model
from ntkrobust.networks.layered import Parameterization
from ntkrobust.networks.mlp import MLP
from ntkrobust.values import Value

Array = npt.NDArray[np.float64]


class InfiniteEnsemble(Value):
    """Infinitely wide networks trained on ½Σ(f − y)² from random initialization, in the kernel regime.

    Attributes:
        net: the network.
        parameterization: ``"ntk"`` or ``"standard"``, as it was resolved.
        kernel: ``"ntk"`` or ``"nngp"``.
        learning_rate: η, or None for gradient flow.
        ridge: added to the eigenvalues of the training kernel.
        conditioning: eigenvalues and condition number of the training kernel.
        memory: the estimate made before anything was allocated.
    """

    def __init__(
        self,
        net: MLP,
        x_train: npt.ArrayLike | Dataset,
        y_train: npt.ArrayLike | None = None,
        *,
        parameterization: Parameterization | None = None,
        kernel: Literal["ntk", "nngp"] = "ntk",
        learning_rate: float | None = None,
        ridge: float = 0.0,
        frozen: Sequence[int] = (),
        memory_limit: int | None = None,
        announce: Callable[[memory.MemoryEstimate], None] | None = None,
        devices: Sequence[Any] | None = None,
    ) -> None:
        """Compute and factorize the kernels of the training points: O(n²) memory, O(n³) time, once for all times.

        Args:
            net: the network. Without a width, its initialization has to have a limit of its own.
            x_train: (n, d) training inputs, n ≥ 2, images, or what :func:`ntkrobust.train` takes in place of both.
            y_train: (n, o) or (n,) targets; integer labels become one-hot (two classes: ±1).
            parameterization: by default the network's own; ``"ntk"`` if it has no width. ``"standard"`` weights the
                layers as gradient descent on the finite network of that width does, and requires one.
            kernel: ``"ntk"`` trains all layers. ``"nngp"`` replaces Θ by K: t = ∞ is the posterior of the Gaussian
                process with kernel K, and earlier times are those of training only the last layer in the NTK
                parameterization.
            learning_rate: η of gradient descent on ½Σ; times are then multiples of it. None is gradient flow.
            ridge: added to the eigenvalues of the training kernel. For ``"ntk"`` it penalizes the distance from the
                initial parameters, ½·ridge·‖θ − θ_0‖²; for ``"nngp"`` it is the variance of noise in the targets.
            frozen: layers l (from 1) that are not trained.
            memory_limit: bytes the process may take; by default the machine's memory.
            announce: called with the memory estimate once the input is found good, before anything is allocated.
            devices: that compute the kernels; by default all local ones.

        Raises:
            InputError: arrays of the wrong shape or with NaN, fewer than two points, a point of zero norm in a network
                without initial biases, equal rows with different targets (unless there is a ridge), outputs that don't
                match the network, a learning rate that diverges, a kernel that isn't positive semi-definite, or too
                little memory.
        """
        self.net = net
        self.parameterization: Parameterization = resolve_parameterization(net, parameterization)
        self.kernel = as_choice("kernel", kernel, ("ntk", "nngp"))
        self.ridge = check_not_negative("ridge", ridge)
        if devices is not None and not all(
            isinstance(one, jax.Device) for one in check_sequence(devices, "devices") or (None,)
        ):
            raise InputError(f"devices must be JAX devices, as jax.local_devices() lists them, got {shown(devices)}")
        if memory_limit is not None:
            memory_limit = check_integer("memory_limit", memory_limit, 1, "in bytes", maximum=MOST_BYTES)
        self.learning_rate = _check_learning_rate(learning_rate)
        points = training_points(x_train, y_train)
        x = as_inputs("x_train", points.x)
        (y,), _ = encode([("y_train", points.y)], points.classes)
        check_same_index("x_train", points.x, "y_train", points.y)
        check_same_rows("x_train", x, "y_train", y)
        if len(x) < 2:
            raise InputError("an ensemble needs at least 2 training points, got 1")
        if y.shape[1] != net.d_out:
            raise InputError(
                f"the network has d_out={net.d_out} but the targets have {y.shape[1]} columns (integer labels become "
                "one-hot: for regression, give floating-point targets)"
            )
        if self.kernel == "nngp" and tuple(frozen):
            raise InputError("kernel='nngp' trains the last layer only, so there is nothing to freeze")
        self._layers = layers_of(net, x.shape[1], self.parameterization, frozen)
        check_variances("x_train", x, self._layers)
        if self.ridge == 0:
            refuse_contradictions(x, y)
        terms, error = series_terms(net, self._layers, x)
        self._model = Model(net.phi, terms, x.shape[1], self.kernel == "nngp")
        self.memory = memory.estimate_memory(*x.shape)
        memory.check_memory(self.memory, memory_limit)
        if announce is not None:
            announce(self.memory)

        k, theta = kernel_matrices(net.phi, terms, self._layers, x, devices=devices)
        self._factors = _factorize(k if self._model.bayesian else theta, k, x, y)
        self.conditioning = diagnose(self._factors.eigenvalues, self.ridge, self.learning_rate, terms, error)

    def with_learning_rate(self, learning_rate: float | None) -> InfiniteEnsemble:
        """The same ensemble trained by gradient descent with this η, or by gradient flow if it is None.

        Only the response along the eigenvectors depends on η, so kernels and factorization are shared. This is how η
        can be chosen by the :attr:`conditioning`, in units of 1/λ_max(Θ).

        Raises:
            InputError: the learning rate is not positive, or diverges.
        """
        c = self.conditioning
        other = copy.copy(self)
        other.learning_rate = _check_learning_rate(learning_rate)
        other.conditioning = diagnose(
            self._factors.eigenvalues, self.ridge, other.learning_rate, c.series_terms, c.series_error
        )
        return other

    def at(self, time: float) -> EnsembleAt:
        """The ensemble at ``time`` ≥ 0, gradient-flow time for the loss ½Σ over samples and outputs; inf is allowed.

        With a learning rate η, the ensemble after time/η steps of gradient descent.

        Raises:
            InputError: the time is negative, NaN, or not a multiple of the learning rate; or the training kernel is too
                nearly singular for it.
        """
        error = self.conditioning.series_error
        found = response(self._factors.eigenvalues, self.conditioning, time, self.learning_rate, error)
        return EnsembleAt(self.net, self._model, self._layers, self._factors, found, float(time), self.ridge, error,
                          self.learning_rate)  # fmt: skip

    def _facts(self) -> dict[str, Any]:
        n, d = self._factors.x_train.shape
        training = "gradient flow" if self.learning_rate is None else f"gradient descent at {self.learning_rate:g}"
        return {
            "network": self.net,
            "training points": f"{n} in {d} dimensions",
            "kernel": f"{self.kernel}, {self.parameterization} parameterization",
            "training": training,
            "condition number": self.conditioning.condition_number,
            "1/λ_max": 1 / self.conditioning.largest,
            "ridge": self.ridge,
        }

    def __repr__(self) -> str:
        n, d = self._factors.x_train.shape
        parts = [repr(self.net), f"n={n}", f"d={d}", f"parameterization={self.parameterization!r}"]
        if self.kernel != "ntk":
            parts.append(f"kernel={self.kernel!r}")
        if self.ridge:
            parts.append(f"ridge={self.ridge:g}")
        if self.learning_rate is not None:
            parts.append(f"learning_rate={self.learning_rate:g}")
        return f"<InfiniteEnsemble {', '.join(parts)}, condition number {self.conditioning.condition_number:.2g}>"


def refuse_contradictions(x: Array, y: Array) -> None:
    """Raise InputError if equal rows of ``x`` (n, d) have different rows in ``y`` (n, o)."""
    _, first, inverse = np.unique(x, axis=0, return_index=True, return_inverse=True)
    original = first[inverse.reshape(-1)]
    rows = np.flatnonzero((y != y[original]).any(axis=1))
    if rows.size:
        raise InputError(
            f"training rows {original[rows[0]]} and {rows[0]} (from 0) are equal and have different targets, which no "
            "function fits: remove one of them or give a ridge"
        )


def _check_learning_rate(learning_rate: float | None) -> float | None:
    return None if learning_rate is None else check_positive("learning_rate", learning_rate)


def _factorize(theta: Array, k: Array, x: Array, y: Array) -> Factorization:
    with jax.enable_x64(True):
        eigenvalues, vectors = eigh(jnp.asarray(theta))
        x_train = jnp.asarray(x)
        return Factorization(
            np.asarray(eigenvalues), vectors, jnp.asarray(k), x_train, x_train @ x_train.T, vectors.T @ y
        )
