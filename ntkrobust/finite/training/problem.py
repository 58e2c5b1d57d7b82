"""What training is asked for, checked before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from ntkrobust.adversary import Adversary, check_adversary
from ntkrobust.checks import check_integer
from ntkrobust.data.given import training_points
from ntkrobust.data.labels import Classes
from ntkrobust.domain import Domain
from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import check_data, check_size, training_data
from ntkrobust.finite.training.checkpoints import check_place
from ntkrobust.finite.training.flow import check_tolerance
from ntkrobust.finite.training.intervals import check_objective
from ntkrobust.finite.training.losses import check_loss
from ntkrobust.finite.training.objectives import Regularizer
from ntkrobust.finite.training.optimizers import (
    Optimizer,
    check_optimizer,
    check_transformation,
    check_weight_decay,
    scheduled_rates,
)
from ntkrobust.finite.training.schedules import Schedule, check_schedule
from ntkrobust.networks.network import Network
from ntkrobust.runtime.seeds import check_key, check_seeds


@dataclasses.dataclass(frozen=True)
class TrainingProblem:
    """Arguments of :func:`ntkrobust.train`, as training works on them.

    Attributes:
        net: the network.
        x, y: (n, d) inputs and (n, o) targets, float32.
        classes: of the labels; None for targets.
        of_data: the domain of the data; ``domain`` is that within the adversary's bounds.
        seeds, key, steps, loss, weight_decay, tolerance, adversary: as there.
        optimizer: how parameters move.
        rate: η; None for the automatic one.
        batch: samples per step; None for all.
        held_out: held-out inputs and targets; None without.
        schedule: when to record.
        place: path of the checkpoint and steps between two; None without.
        like: shapes and types of one network's parameters.
        rates: (steps,) of a schedule of learning rates; None without.
    """

    net: Network
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    classes: Classes | None
    of_data: Domain
    domain: Domain
    seeds: tuple[int, ...]
    key: jax.Array
    steps: int
    optimizer: Optimizer
    rate: float | None
    loss: str
    weight_decay: float
    tolerance: float
    batch: int | None
    adversary: Adversary | None
    held_out: tuple[np.ndarray, np.ndarray] | None
    schedule: Schedule
    place: tuple[Path, int] | None
    like: Any
    rates: np.ndarray | None

    @property
    def is_auto(self) -> bool:
        """Whether each network has a learning rate of its own."""
        return self.rate is None

    @property
    def is_flow(self) -> bool:
        """Whether time is integrated."""
        return self.optimizer.name == "gradient_flow"

    @cached_property
    def regularizer(self) -> Regularizer | None:
        """What the adversary adds to the loss, as a program has it."""
        return Regularizer.of(self.adversary)


def check_problem(net: Network, x_train: Any, y_train: Any, given: Mapping[str, Any]) -> TrainingProblem:
    """The problem, from the arguments of :func:`ntkrobust.train`.

    Raises:
        InputError: as there.
    """
    points = training_points(x_train, y_train, given["classes"])
    x, y, known = training_data(net, points.x, points.y, points.classes)
    # What the adversary adds to it is told by the adversary.
    of_data = domain = (points.domain or Domain(x.shape[1])).narrowed(given["bounds"], given["movable"])
    domain.check_points("x_train", x)
    seeds, key = check_seeds(given["seeds"]), check_key(given["key"])
    steps = check_integer("steps", given["steps"], 0)
    optimizer, rate = check_optimizer(given["optimizer"], given["learning_rate"])
    loss = check_loss(given["loss"], y)
    _check_sizes("train", x, y, loss)
    if optimizer.name == "adam":
        _check_sizes_for_adam(x, y, loss)
    weight_decay = check_weight_decay(given["weight_decay"], optimizer)
    tolerance = check_tolerance(given["tolerance"])
    batch = _check_batch_size(given["batch_size"], len(x), optimizer)
    adversary = check_adversary(given["adversary"])
    if adversary is not None:
        _check_training_against(adversary, optimizer, batch, given["record_losses"] is not None)
        check_objective(adversary, net)
        domain = adversary.check_inputs("x_train", x, domain)
    held_out = given["validation"]
    if held_out is not None:
        held_out = _check_validation(net, held_out, y, known, of_data, loss, adversary)
    schedule = check_schedule(steps, **{name: given[name] for name in RECORDS})
    if steps:
        _check_records(schedule, optimizer)
    place = check_place(given["checkpoint"], given["checkpoint_every"])
    like = net.parameter_shapes(x.shape[1])
    check_transformation(optimizer, like)
    rates = None if optimizer.rates is None else scheduled_rates(optimizer.rates, steps)
    return TrainingProblem(
        net, x, y, known, of_data, domain, seeds, key, steps, optimizer, rate, loss, weight_decay, tolerance, batch,
        adversary, held_out, schedule, place, like, rates,
    )  # fmt: skip


RECORDS = ("record_steps", "record_times", "record_kernel_times", "record_losses")
"""The ways to say when to record."""


def _check_batch_size(batch_size: object, n: int, optimizer: Optimizer) -> int | None:
    """Samples per step, None for all.

    Raises:
        InputError: it is no integer from 1 to n, or the optimizer follows the full loss.
    """
    if batch_size is None:
        return None
    size = check_integer("batch_size", batch_size, 1)
    if size > n:
        raise InputError(f"batch_size must be at most the {n} training points, got {size}")
    if optimizer.name == "gradient_flow":
        raise InputError("gradient flow is that of the full loss: batch_size must be None")
    return size


def _check_training_against(adversary: Adversary, optimizer: Optimizer, batch: int | None, by_losses: bool) -> None:
    """Raise InputError unless an adversary goes with the optimizer and the records."""
    if optimizer.name == "gradient_flow":
        raise InputError("gradient flow is that of the loss alone: adversary must be None, or the optimizer another")
    if batch is not None and by_losses:
        raise InputError("on minibatches the adversary's objective is not followed: record_losses must be None")


def _check_validation(
    net: Network,
    validation: object,
    y_train: np.ndarray,
    classes: Classes | None,
    domain: Domain,
    loss: str,
    adversary: Adversary | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Held-out inputs (n', d) and targets (n', o) as float32 arrays.

    Raises:
        InputError: it is no pair of arrays that fit each other, the network, the loss, the range of the data and the
            adversary's bounds.
    """
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise InputError(f"validation must be a pair (x, y), got {type(validation).__name__}")
    inputs, targets = validation
    x, y = check_data(net, inputs, targets, "validation", y_train, classes, domain.d)
    check_loss(loss, y, "y_validation")
    _check_sizes("validation", x, y, loss)
    if adversary is None:
        domain.check_points("x_validation", x)
    else:
        adversary.check_inputs("x_validation", x, domain)
    return x, y


def _check_sizes(part: str, x: np.ndarray, y: np.ndarray, loss: str) -> None:
    """Raise InputError unless single precision holds what training makes of inputs and targets of this size."""
    check_size(f"x_{part}", x)
    if loss == "squared":
        check_size(f"y_{part}", y)


def _check_sizes_for_adam(x: np.ndarray, y: np.ndarray, loss: str) -> None:
    """Raise InputError if gradients, which are of the size of x·y, are lost beside Adam's 1e-8 or have no squares."""
    product = float(np.max(np.abs(x))) * (float(np.max(np.abs(y))) if loss == "squared" else 1.0)
    if product and not 1e-6 <= product <= 1e12:
        raise InputError(
            "adam adds 1e-8 to the root of squared gradients, so the largest entries of x_train and y_train must "
            f"have a product between 1e-06 and 1e+12, got {product:g}: rescale them"
        )


def _check_records(schedule: Schedule, optimizer: Optimizer) -> None:
    """Raise InputError unless the optimizer has what the records are asked for by."""
    if schedule.steps and optimizer.name == "gradient_flow":
        raise InputError("gradient flow is recorded by record_times, record_kernel_times or record_losses")
    if (schedule.times or schedule.kernel_times) and not (optimizer.has_flow_time and optimizer.rates is None):
        has_none = "a schedule of learning rates" if optimizer.has_flow_time else "this optimizer"
        raise InputError(
            f"{schedule.kind} asks for gradient-flow times, by which {has_none} is not recorded: "
            "give record_steps or record_losses"
        )


def check_training_data(net: Network, x_train: np.ndarray, y_train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, d) and targets (n, o) as float32 arrays; InputError as for :func:`training_data`."""
    x, y, _ = training_data(net, x_train, y_train)
    return x, y
