"""Training of an ensemble of networks: what can be asked for, and how the parts are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import numpy.typing as npt
import optax

from ntkrobust.adversary import Adversary
from ntkrobust.checks import MOST_STEPS, check_path, or_none, takes, whole
from ntkrobust.data import Dataset
from ntkrobust.finite.training.attempts import TrainingTask
from ntkrobust.finite.training.checkpoints import Checkpoint, describe
from ntkrobust.finite.training.eigenvalues import largest_eigenvalues
from ntkrobust.finite.training.held_out import held_out_loss
from ntkrobust.finite.training.histories import history_of, rate_that_meets
from ntkrobust.finite.training.losses import zero_loss
from ntkrobust.finite.training.objectives import Objective
from ntkrobust.finite.training.optimizers import Rates
from ntkrobust.finite.training.prepared import PreparedTraining, prepare, program_of
from ntkrobust.finite.training.problem import TrainingProblem, check_problem
from ntkrobust.finite.training.run import Run
from ntkrobust.networks.network import Network, a_network
from ntkrobust.networks.parameters import unpacked
from ntkrobust.runtime.executor import run_over_seeds

AUTO_FRACTION = 0.5
"""``learning_rate="auto"`` takes this fraction of 2/λ_max(Θ), the stability limit of the linearised dynamics."""

RETRIES = 6
"""How often ``"auto"`` halves the learning rate of a seed whose loss rose."""


@takes(
    net=a_network,
    steps=whole(0, MOST_STEPS),
    checkpoint=or_none(check_path),
)
def train(
    net: Network,
    x_train: npt.ArrayLike | Dataset,
    y_train: npt.ArrayLike | None = None,
    *,
    classes: Sequence[object] | None = None,
    seeds: int | Sequence[int] = 32,
    steps: int = 1000,
    learning_rate: float | Literal["auto"] | Rates = "auto",
    record_steps: Sequence[int] | None = None,
    record_times: Sequence[float] | None = None,
    record_kernel_times: Sequence[float] | None = None,
    record_losses: Sequence[float] | None = None,
    key: jax.Array | None = None,
    optimizer: str | optax.GradientTransformation = "gd",
    loss: str = "squared",
    batch_size: int | None = None,
    weight_decay: float = 0.0,
    tolerance: float = 1e-3,
    adversary: Adversary | None = None,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    memory_limit: int | None = None,
    room: int | None = None,
) -> Run:
    """Train an ensemble, by full-batch gradient descent unless asked otherwise, and keep its parameters at records.

    Args:
        net: the network.
        x_train: (n, d) inputs, or images (n, height, width[, channels]). In place of both this and ``y_train``: a
            :class:`~ntkrobust.data.Dataset`, its name or its file, of which the training points, their targets and
            classes, and what it says of its inputs are taken; or arrays (x, y), or (x_train, y_train, x_test, y_test).
        y_train: (n, o) or (n,) targets; labels (integers, booleans or text) become one-hot (two classes: ±1). Left out
            with a data set.
        classes: the labels, in the order of the targets' columns, as ``Dataset.classes`` has them; of two in one
            column, the first is −1. By default the sorted labels of ``y_train``, or None for targets. The run keeps
            them, so that labels mean the same in ``validation``, ``measure`` and ``attack``.
        seeds: a number n for the seeds 0 … n−1, or the seeds themselves; seed i uses ``fold_in(key, i)``.
        steps: budget of steps per network; 0 gives the untrained ensemble. Gradient flow spends it on the steps it
            tries, taken or not.
        learning_rate: η on the loss, a sum over samples and outputs, or ``"auto"`` (gradient descent and gradient flow
            only): each network's own 1/λ_max, with λ_max the largest eigenvalue of its empirical NTK on ``x_train`` at
            initialization, half of the stability limit. A network whose loss rises above 1.2 times its initial value
            under ``"auto"`` is trained again from the start with half the rate, up to six times. Or an optax schedule,
            a traceable function of the step: pass the same object again to share its compiled program. For gradient
            flow, the length of the first step it tries.
        record_steps: step counts to record at (default: 0 and eight log-spaced ones up to ``steps``); not for gradient
            flow.
        record_times: gradient-flow times to record at instead. Gradient descent records at the step k with ηk nearest
            to each; under ``"auto"`` η is lowered so that the last one falls on a step. Gradient flow meets each.
            Other optimizers, and schedules, have no such time.
        record_kernel_times: the same in units of 1/λ_max of each network's own empirical NTK on ``x_train`` at
            initialization.
        record_losses: losses to record at instead, as fractions of the loss of f = 0 (½Σ‖y‖² for the squared loss);
            each network stops at the first step at or below each, under gradient flow less than ``tolerance`` below.
            Under an adversary, values of its objective, which for f = 0 is the loss alone; not on minibatches then.
        key: a typed key, by default ``jax.random.key(0)``.
        optimizer: ``"gd"``, ``"momentum"`` (heavy ball, 0.9), ``"adam"``, ``"gradient_flow"``, or an
            ``optax.GradientTransformation``, whose updates are multiplied by ``learning_rate`` and added: one made by
            ``optax.lion(1.0)`` takes the learning rate given here.
        loss: ``"squared"``, ½Σ‖f − y‖², or ``"cross_entropy"``, summed over samples: of softmax for o ≥ 2, with rows of
            class probabilities as targets, and logistic for o = 1, with targets ±1.
        batch_size: samples per step, drawn without replacement in each epoch, in an order of each network's own; what
            does not fill a batch is left out of that epoch. The gradient is scaled by n/batch_size. Loss levels and
            divergence are looked at once per epoch. None for all samples.
        weight_decay: λ, decoupled for Adam (AdamW), λθ added to the gradient for gradient descent and heavy ball. It
            acts on all parameters; recorded losses leave it out.
        tolerance: of gradient flow, largest estimated error of a step relative to the distance from initialization.
        adversary: what to train against; None for the loss alone. Then ``run.loss`` is the adversary's objective under
            the attack of the step at which it is recorded, on all samples. ``"auto"`` takes λ_max of the natural loss
            all the same, and halves where the objective rises. Not for gradient flow.
        bounds: range of the inputs, a pair (lower, upper) of numbers or of (d,) arrays; None for no range, or that of
            the data set, or else of the adversary. It goes into ``run.bounds``: the adversary, measures and attacks
            stay inside.
        movable: (d,) booleans, False for coordinates that they leave alone (``run.movable``); None for all, or those of
            the data set.
        validation: held-out (x, y). After training the objective on them is evaluated at each record
            (``run.validation_loss``, a sum over samples, all records under the same random starts), so that
            ``run.best`` and ``run.at_best()`` stop each network where it was lowest. Training does not see them.
        checkpoint: a file to keep the state of training in. A call with the same arguments resumes from it and gives
            the same run, to the last bit on the same machine and versions. It stays when training is over.
        checkpoint_every: steps between two writes, 1000 by default.
        memory_limit: bytes the process may take; by default the machine's memory. Where networks deeper than eight
            layers fit only if backward passes compute activations again, they do (``run.plan`` says so).
        room: networks of the largest call that shares its compiled programs with this one; by default there is none.

    Returns:
        A :class:`Run`. ``status`` says for each seed whether it reached the last loss asked for (``converged``), spent
        its steps or time (``budget``) or ``diverged``: its loss rose out of bounds, or a loss, a parameter, a gradient
        that was followed or λ_max is no finite number.

    Raises:
        InputError: arrays of the wrong shape or with NaN, labels of validation that training lacks, targets that the
            loss does not take, no seeds, a learning rate that is not positive, records that are not increasing,
            arguments that do not go together, a checkpoint of other arguments, inputs outside of their range or of the
            adversary's bounds, an adversary that reaches beyond the range, data or networks of a size whose squares
            single precision can't hold, or more than fits into memory: the sentence says what would.
    """
    given = dict(locals())
    problem = check_problem(given.pop("net"), given.pop("x_train"), given.pop("y_train"), given)
    prepared = prepare(problem, memory_limit, room)
    run = _trained(problem, prepared) if problem.steps else _untrained(problem, prepared)
    if problem.held_out is None:
        return run
    return dataclasses.replace(run, validation_loss=held_out_loss(run, *problem.held_out))


def _made_of(problem: TrainingProblem, prepared: PreparedTraining) -> dict[str, Any]:
    """What a run is made from, by the names of its fields."""
    return {
        "net": problem.net, "seeds": problem.seeds, "key": problem.key, "x_train": problem.x, "y_train": problem.y,
        "plan": str(prepared.plan), "optimizer": problem.optimizer.name, "objective": problem.loss,
        "batch_size": problem.batch, "weight_decay": problem.weight_decay, "tolerance": problem.tolerance,
        "adversary": problem.adversary, "classes": problem.classes, "bounds": problem.domain.bounds,
        "movable": problem.domain.movable,
    }  # fmt: skip


def _untrained(problem: TrainingProblem, prepared: PreparedTraining) -> Run:
    """The run of networks as they are drawn."""
    number = len(problem.seeds)
    objective = Objective(prepared.model, problem.loss, problem.regularizer)
    one = {"parameters": prepared.initial, **prepared.random_keys}
    return Run(
        # No step is taken, so any rate describes it.
        learning_rate=np.ones(number),
        step=np.zeros((number, 1), dtype=np.int32),
        loss=run_over_seeds(objective, prepared.plan, prepared.shared, one)[:, None],
        status=np.full(number, "budget", dtype="U9"),
        snapshots=(unpacked(prepared.initial, axis=1),),
        **_made_of(problem, prepared),
    )


def _trained(problem: TrainingProblem, prepared: PreparedTraining) -> Run:
    """The run of networks that take steps."""
    shared = prepared.shared
    task = TrainingTask(
        program_of(problem, prepared.model),
        problem.optimizer,
        prepared.plan,
        shared,
        problem.schedule,
        problem.steps,
        zero_loss(problem.loss, problem.y),
        None if problem.place is None else problem.place[1],
    )
    if task.has_memory:
        shared["weight_decay"] = np.float32(problem.weight_decay)
    if problem.is_flow:
        shared["tolerance"] = np.float32(problem.tolerance)
    history = history_of(
        task,
        prepared.initial,
        prepared.like,
        prepared.random_keys,
        lambda: _rates_and_times(problem, prepared),
        RETRIES if problem.is_auto and not problem.is_flow else 0,
        _checkpoint(problem, prepared),
    )
    losses = history["loss"]
    reached = np.zeros(len(problem.seeds), dtype=bool)
    if problem.schedule.losses:
        reached = losses[:, -1] <= np.float32(problem.schedule.losses[-1] * task.zero_loss)
    flow_time = history.get("clock")
    if problem.rates is not None and problem.optimizer.name == "gd":
        flow_time = np.concatenate([[0.0], np.cumsum(problem.rates)])[history["step"]]
    return Run(
        learning_rate=history["rate"],
        step=history["step"],
        loss=losses,
        status=np.where(history["diverged"], "diverged", np.where(reached, "converged", "budget")),
        snapshots=tuple(unpacked(snapshot, axis=1) for snapshot in history["snapshots"]),
        flow_time=flow_time,
        **_made_of(problem, prepared),
    )


def _rates_and_times(problem: TrainingProblem, prepared: PreparedTraining) -> tuple[np.ndarray, np.ndarray]:
    """η (seed,), and gradient-flow times (seed, record) to record at."""
    number, schedule = len(problem.seeds), problem.schedule
    largest = np.ones(number)
    if problem.is_auto or schedule.kernel_times:
        largest = largest_eigenvalues(
            prepared.model, prepared.plan, prepared.shared["scales"], problem.x, problem.net.d_out, prepared.initial,
            prepared.keys,
        )  # fmt: skip
        # A network whose every gate is closed on every point has λ_max = 0 and never moves: any rate will do.
        # One that is no number gives none: the network's derivatives are not finite, and it can't be trained.
        largest = np.where(np.isfinite(largest), np.where(largest > 0, largest, 1.0), np.nan).astype(np.float64)
    rate = AUTO_FRACTION * 2 / largest if problem.rate is None else np.full(number, problem.rate)
    if schedule.kernel_times:
        times = np.array(schedule.kernel_times) / largest[:, None]
    else:
        times = np.tile(np.array(schedule.times), (number, 1))
    return rate_that_meets(times, rate) if problem.is_auto and not problem.is_flow else rate, times


def _checkpoint(problem: TrainingProblem, prepared: PreparedTraining) -> Checkpoint | None:
    """Where to save, and to resume from; None if nowhere."""
    if problem.place is None:
        return None
    described = describe(
        problem.net, problem.x, problem.y, problem.seeds, problem.key, problem.schedule, problem.optimizer,
        prepared.like, problem.rates, steps=problem.steps, loss=problem.loss, batch_size=problem.batch,
        learning_rate="auto" if problem.is_auto else problem.rate, weight_decay=problem.weight_decay,
        tolerance=problem.tolerance, adversary=None if problem.adversary is None else problem.adversary.as_json(),
        # What nothing is attacked in decides nothing.
        domain=None if problem.adversary is None or problem.of_data.is_whole else problem.of_data.as_json(),
    )  # fmt: skip
    return Checkpoint(*problem.place, described)
