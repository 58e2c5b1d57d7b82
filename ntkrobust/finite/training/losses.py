"""What training minimizes: a sum over samples (and outputs), never a mean, so that rates mean the same for any n."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.errors import InputError
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import Parameters, Stacked

LOSSES = ("squared", "cross_entropy")

ROW_SUM = 1e-4
"""By how much a row of class probabilities may miss 1: a thousand classes rounded to float32 miss it by less."""


def total_loss(loss: str, outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss of f(X) (n, o) on the targets (n, o).

    - ``"squared"``: ½Σ‖f − y‖² over samples and outputs.
    - ``"cross_entropy"``, o ≥ 2: −Σ_i Σ_k y_ik log softmax(f(x_i))_k, for rows y_i of class probabilities.
    - ``"cross_entropy"``, o = 1: Σ_i log(1 + exp(−y_i f(x_i))), for y_i = ±1.
    """
    if loss == "squared":
        residual = outputs - targets
        return 0.5 * jnp.sum(residual**2)
    if outputs.shape[-1] == 1:
        return jnp.sum(jax.nn.softplus(-targets * outputs))
    return -jnp.sum(targets * jax.nn.log_softmax(outputs, axis=-1))


def zero_loss(loss: str, y: np.ndarray) -> float:
    """The loss of f = 0 on the targets (n, o): ½Σ‖y‖², n log o, or n log 2 for one output."""
    if loss == "squared":
        return 0.5 * float(np.sum(np.square(y, dtype=np.float64)))
    if y.shape[1] == 1:
        return len(y) * float(np.log(2))
    return float(np.sum(y, dtype=np.float64) * np.log(y.shape[1]))


def check_loss(loss: object, y: np.ndarray, name: str = "y_train") -> str:
    """The name of a loss that the targets (n, o) of this name are fit for.

    Raises:
        InputError: there is no such loss; or targets of the cross entropy that are neither ±1 in one column nor rows
            of probabilities.
    """
    if not isinstance(loss, str) or loss not in LOSSES:
        raise InputError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {loss!r}")
    if loss == "cross_entropy":
        if y.shape[1] == 1:
            if not np.isin(y, (-1.0, 1.0)).all():
                strange = y[~np.isin(y, (-1.0, 1.0))][0]
                raise InputError(f"cross_entropy with one output takes targets ±1, got {strange:g}")
        elif (y < 0).any() or (abs(y.sum(axis=1) - 1) > ROW_SUM).any():
            row = int(np.argmax((y < 0).any(axis=1) | (abs(y.sum(axis=1) - 1) > ROW_SUM)))
            raise InputError(f"cross_entropy takes rows of class probabilities, but row {row} of {name} is {y[row]}")
    return loss


@dataclasses.dataclass(frozen=True)
class TrainingLoss:
    """The loss of one network on the training set, as a program of its scales, data and parameters."""

    model: Model
    loss: str = "squared"

    def __call__(self, shared: dict, parameters: Parameters | Stacked) -> jax.Array:
        """The loss on all samples."""
        return self.on(shared, parameters, shared["x"], shared["y"])

    def on(self, shared: dict, parameters: Parameters | Stacked, x: jax.Array, y: jax.Array) -> jax.Array:
        """The loss on some samples."""
        return total_loss(self.loss, self.model.outputs(shared["scales"], parameters, x), y)
