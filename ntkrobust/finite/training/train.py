"""Training of an ensemble of networks: what can be asked for, and how the parts are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import numpy.typing as npt
import optax

from ntkrobust.adversary import Adversary, check_adversary
from ntkrobust.checks import MOST_BYTES, MOST_STEPS, check_integer, check_path, or_none, takes, whole
from ntkrobust.data import Dataset
from ntkrobust.data.labels import Classes
from ntkrobust.domain import Domain
from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import check_data, check_size, single_precision, training_data
from ntkrobust.finite.representable import check_representable
from ntkrobust.finite.training.attempts import Program, TrainingTask
from ntkrobust.finite.training.checkpoints import Checkpoint, check_place, describe
from ntkrobust.finite.training.flow import GradientFlow, check_tolerance
from ntkrobust.finite.training.held_out import held_out_loss
from ntkrobust.finite.training.losses import check_loss, zero_loss
from ntkrobust.finite.training.memory import TrainingArrays, plan_that_fits
from ntkrobust.finite.training.objectives import Objective, Regularizer
from ntkrobust.finite.training.optimizers import (
    Optimizer,
    Rates,
    check_optimizer,
    check_transformation,
    check_weight_decay,
    scheduled_rates,
)
from ntkrobust.finite.training.run import Run
from ntkrobust.finite.training.schedules import Schedule, check_schedule, log_spaced
from ntkrobust.finite.training.segments import FullBatch, GradientDescent, MiniBatches
from ntkrobust.networks.derivatives import ntk_largest_eigenvalue
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import Network, a_network
from ntkrobust.networks.parameters import Parameters, Stacked, packed, unpacked
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.random_normals import normals
from ntkrobust.runtime.seeds import RawKeys, attack_keys, check_key, check_seeds, order_keys, seed_keys

__all__ = ["check_schedule", "check_training_data", "largest_kernel_eigenvalue", "log_spaced", "train"]

AUTO_FRACTION = 0.5
"""``learning_rate="auto"`` takes this fraction of 2/λ_max(Θ), the stability limit of the linearised dynamics."""

DIVERGED = 1e4
"""A loss that exceeds the larger of its initial value and that of f = 0 by this factor has diverged."""

AUTO_CEILING = 1.2
"""Under ``"auto"`` a loss may rise by this factor at most: along gradient flow it never rises, so more means that λ_max
has grown past the stability limit of the step."""

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
        x_train: (n, d) inputs; or a :class:`~ntkrobust.data.Dataset`, of which the training points, their targets and
            classes, and what it says of its inputs are taken.
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
    stated = None
    if isinstance(x_train, Dataset):
        x_train, y_train, classes, stated = _of_data_set(x_train, y_train, classes)
    elif y_train is None:
        raise InputError("training needs targets: give y_train beside x_train, or a data set alone")
    x, y, known = training_data(net, x_train, y_train, classes)
    # What the adversary adds to it is told by the adversary.
    of_data = domain = (stated or Domain(x.shape[1])).narrowed(bounds, movable)
    domain.check_points("x_train", x)
    seeds = check_seeds(seeds)
    key = check_key(key)
    steps = check_integer("steps", steps, 0)
    moves, number = check_optimizer(optimizer, learning_rate)
    loss = check_loss(loss, y)
    _check_sizes("train", x, y, loss)
    if moves.name == "adam":
        _check_sizes_for_adam(x, y, loss)
    weight_decay = check_weight_decay(weight_decay, moves)
    tolerance = check_tolerance(tolerance)
    batch = _check_batch_size(batch_size, len(x), moves)
    adversary = check_adversary(adversary)
    if adversary is not None:
        _check_training_against(adversary, moves, batch, record_losses is not None)
        domain = adversary.check_inputs("x_train", x, domain)
    held_out = None if validation is None else _check_validation(net, validation, y, known, of_data, loss, adversary)
    given = {
        "record_steps": record_steps,
        "record_times": record_times,
        "record_kernel_times": record_kernel_times,
        "record_losses": record_losses,
    }
    schedule = check_schedule(steps, **given)
    if steps:
        _check_records(schedule, moves)
    place = check_place(checkpoint, checkpoint_every)
    like: Any = net.parameter_shapes(x.shape[1])
    check_transformation(moves, like)
    rates = None if moves.rates is None else scheduled_rates(moves.rates, steps)

    auto = number is None
    is_flow = moves.name == "gradient_flow"
    copies = moves.copies(like)
    regularizer = Regularizer.of(adversary)
    repeats = 1 if regularizer is None else regularizer.repeats(net.d_out)
    plan = choose_plan(net, x.shape[1], x.shape[0], copies, repeats)
    if memory_limit is not None:
        memory_limit = check_integer("memory_limit", memory_limit, 1, "in bytes", maximum=MOST_BYTES)
    records = schedule.records if steps else 0
    held = TrainingArrays(copies, moves.slopes, repeats)
    most = max(len(seeds), 1 if room is None else check_integer("room", room, 1))
    plan = plan_that_fits(net, x.shape[1], len(x), most, records, plan, memory_limit, held)
    # Those that are tried again are fewer: they run in the program that all ran in.
    plan = plan.with_room_for(most)
    model = net.model(plan.recomputed)
    scales = net.layer_scales(x.shape[1])
    if steps:
        check_representable(net, scales, x, squared=auto or bool(schedule.kernel_times))
    tolerated = np.float32(AUTO_CEILING if auto or is_flow else DIVERGED)
    shared: dict[str, Any] = {"scales": scales, "x": x, "y": y, "tolerated_rise": tolerated}
    keys = seed_keys(key, seeds)
    random_keys = {}
    if batch is not None:
        random_keys["order"] = order_keys(keys, net.shapes(x.shape[1]))
    if adversary is not None and regularizer is not None:
        random_keys["attack"] = attack_keys(keys, net.shapes(x.shape[1]))
        shared["adversary"] = adversary.numbers(adversary.domain(domain))
    initial: Any = net.initialize(x.shape[1], keys)
    if moves.is_elementwise:
        # Deep networks go through training as programs work on them: these take and give three arrays instead of L, and
        # have as many updates to compile. The run's snapshots are views of them, layer by layer.
        initial, like = packed(initial, axis=1), jax.eval_shape(packed, like)
    made_of: dict[str, Any] = {
        "net": net, "seeds": seeds, "key": key, "x_train": x, "y_train": y, "plan": str(plan), "optimizer": moves.name,
        "objective": loss, "batch_size": batch, "weight_decay": weight_decay, "tolerance": tolerance,
        "adversary": adversary, "classes": known, "bounds": domain.bounds, "movable": domain.movable,
    }  # fmt: skip

    def finished(run: Run) -> Run:
        return run if held_out is None else dataclasses.replace(run, validation_loss=held_out_loss(run, *held_out))

    if not steps:
        one = {"parameters": initial, **random_keys}
        run = Run(
            # No step is taken, so any rate describes it.
            learning_rate=np.ones(len(seeds)),
            step=np.zeros((len(seeds), 1), dtype=np.int32),
            loss=run_over_seeds(Objective(model, loss, regularizer), plan, shared, one)[:, None],
            status=np.full(len(seeds), "budget", dtype="U9"),
            snapshots=(unpacked(initial, axis=1),),
            **made_of,
        )
        return finished(run)

    work = TrainingTask(
        _program(model, loss, regularizer, moves, batch, weight_decay),
        moves,
        plan,
        shared,
        schedule,
        steps,
        zero_loss(loss, y),
        None if place is None else place[1],
    )
    if work.has_memory:
        shared["weight_decay"] = np.float32(weight_decay)
    if is_flow:
        shared["tolerance"] = np.float32(tolerance)
    file = None
    if place is not None:
        described = describe(
            net, x, y, seeds, key, schedule, moves, like, rates, steps=steps, loss=loss, batch_size=batch,
            learning_rate="auto" if auto else number, weight_decay=weight_decay, tolerance=tolerance,
            adversary=None if adversary is None else adversary.as_json(),
            # What nothing is attacked in decides nothing.
            domain=None if adversary is None or of_data.is_whole else of_data.as_json(),
        )  # fmt: skip
        file = Checkpoint(*place, described)

    def rates_and_times() -> tuple[np.ndarray, np.ndarray]:
        largest = np.ones(len(seeds))
        if auto or schedule.kernel_times:
            largest = _largest_eigenvalues(model, plan, scales, x, net.d_out, initial, keys)
            # A network whose every gate is closed on every point has λ_max = 0 and never moves: any rate will do.
            # One that is no number gives none: the network's derivatives are not finite, and it can't be trained.
            largest = np.where(np.isfinite(largest), np.where(largest > 0, largest, 1.0), np.nan).astype(np.float64)
        rate = AUTO_FRACTION * 2 / largest if number is None else np.full(len(seeds), number)
        if schedule.kernel_times:
            times = np.array(schedule.kernel_times) / largest[:, None]
        else:
            times = np.tile(np.array(schedule.times), (len(seeds), 1))
        return _rate_that_meets(times, rate) if auto and not is_flow else rate, times

    retries = RETRIES if auto and not is_flow else 0
    history = _attempts(work, initial, like, random_keys, rates_and_times, retries, file)

    losses = history["loss"]
    reached = np.zeros(len(seeds), dtype=bool)
    if schedule.losses:
        reached = losses[:, -1] <= np.float32(schedule.losses[-1] * work.zero_loss)
    flow_time = history.get("clock")
    if rates is not None and moves.name == "gd":
        flow_time = np.concatenate([[0.0], np.cumsum(rates)])[history["step"]]
    run = Run(
        learning_rate=history["rate"],
        step=history["step"],
        loss=losses,
        status=np.where(history["diverged"], "diverged", np.where(reached, "converged", "budget")),
        snapshots=tuple(unpacked(snapshot, axis=1) for snapshot in history["snapshots"]),
        flow_time=flow_time,
        **made_of,
    )
    return finished(run)


def _program(
    model: Model,
    loss: str,
    regularizer: Regularizer | None,
    optimizer: Optimizer,
    batch: int | None,
    weight_decay: float,
) -> Program:
    """The program that does what is asked for and carries no more than that takes."""
    if optimizer.name == "gradient_flow":
        return GradientFlow(model, loss)
    if batch is not None:
        return MiniBatches(model, loss, optimizer, batch, regularizer)
    if optimizer == Optimizer("gd") and not weight_decay:
        return GradientDescent(model, loss, regularizer)
    return FullBatch(model, loss, optimizer, regularizer)


def _attempts(
    work: TrainingTask,
    initial: Parameters | Stacked,
    like: Parameters | Stacked,
    keys: dict[str, RawKeys],
    rates_and_times: Callable[[], tuple[np.ndarray, np.ndarray]],
    retries: int,
    file: Checkpoint | None,
) -> dict[str, Any]:
    """The history of an ensemble: where networks diverge, they are tried again at half the rate.

    Args:
        work: what to do.
        initial: parameters as they were drawn.
        like: shapes and types of those of one network.
        keys: by name, keys (seed,) of what is random in training: orders of minibatches, attacks.
        rates_and_times: gives η (seed,) and times (seed, record); not called on resuming.
        retries: how often.
        file: where to save, and to resume from.
    """

    def outline(progress: dict[str, int]) -> dict[str, Any]:
        course = work.outline(like, progress["records"])
        held: dict[str, Any] = {"rows": 0, "rate": 0, "times": 0, "course": course, "history": None}
        if progress["attempt"]:
            held["history"] = {
                "rate": 0,
                "step": 0,
                "loss": 0,
                "diverged": 0,
                "snapshots": [like] * work.schedule.records,
            }
        return held

    held: dict[str, Any]
    found = None if file is None else file.read(outline)
    if found is None:
        rate, times = rates_and_times()
        attempt = 0
        held = {"rows": np.arange(len(rate)), "rate": rate, "times": times, "history": None}
        held["course"] = work.begin(initial, rate)
    else:
        attempt, held = found[0]["attempt"], found[1]
        rate, times = held["rate"], held["times"]

    def save() -> None:
        if file is not None:
            file.write({"attempt": attempt, "records": len(held["course"]["records"])}, held)

    while True:
        rows = held["rows"]
        some = {name: of_all[rows] for name, of_all in keys.items()}
        begun = initial if len(rows) == len(rate) else jax.tree.map(lambda leaf, rows=rows: leaf[rows], initial)
        history = work.follow(held["course"], begun, rate[rows], times[rows], some, save)
        if held["history"] is not None:
            history = jax.tree.map(lambda old, new, rows=rows: _with_rows(old, rows, new), held["history"], history)
        lost = np.flatnonzero(history["diverged"] & (~np.isnan(history["rate"]) | (work.optimizer.rates is not None)))
        if attempt == retries or not lost.size:
            return history
        attempt += 1
        rate[lost] = _rate_that_meets(times[lost], rate[lost] / 2)
        begun = jax.tree.map(lambda leaf, lost=lost: leaf[lost], initial)
        held |= {"rows": lost, "history": history, "course": work.begin(begun, rate[lost])}


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


def _with_rows(array: np.ndarray, rows: np.ndarray, new: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[rows] = new
    return array


def _rate_that_meets(times: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """η (seed,), lowered so that the last of the times (seed, record) asked for, if any, is a whole number of steps."""
    if not times.size:
        return rate
    last = times[:, -1]
    # A rate that already meets it stays as it is, whatever the rounding.
    steps = np.maximum(np.ceil(last / rate * (1 - 1e-6)), 1)
    return np.where(last > 0, last / steps, rate)


@dataclasses.dataclass(frozen=True)
class _LargestEigenvalue:
    """λ_max of the empirical NTK of one network on the training inputs."""

    model: Model

    def __call__(self, shared: dict, one: dict) -> jax.Array:
        def outputs(parameters: Parameters | Stacked) -> jax.Array:
            return self.model.outputs(shared["scales"], parameters, shared["x"])

        return ntk_largest_eigenvalue(outputs, one["parameters"], one["start"])


def _largest_eigenvalues(
    model: Model, plan: Plan, scales: Any, x: np.ndarray, outputs: int, parameters: Any, keys: RawKeys
) -> np.ndarray:
    """λ_max (seed,) of networks of these parameters and so many outputs on x (n, d)."""
    one = {"parameters": parameters, "start": normals(keys, len(x), outputs)}
    largest: np.ndarray = run_over_seeds(_LargestEigenvalue(model), plan, {"scales": scales, "x": x}, one)
    return largest


def largest_kernel_eigenvalue(
    net: Network, x: np.ndarray, *, seeds: int | Sequence[int] = 8, key: jax.Array | None = None
) -> np.ndarray:
    """λ_max (seed,) of each network's empirical NTK on x (n, d) at initialization."""
    x = single_precision("x", x)
    keys = seed_keys(key, check_seeds(seeds))
    plan, scales = choose_plan(net, x.shape[1], len(x)), net.layer_scales(x.shape[1])
    drawn = packed(net.initialize(x.shape[1], keys), axis=1)
    return _largest_eigenvalues(net.model(), plan, scales, x, net.d_out, drawn, keys)


def _of_data_set(
    data: Dataset, y_train: npt.ArrayLike | None, classes: Sequence[object] | None
) -> tuple[npt.ArrayLike, npt.ArrayLike, Classes | None, Domain]:
    """Inputs, targets and classes to train on, and what the data set says of all inputs.

    Raises:
        InputError: targets or classes are given beside those of the data set.
    """
    if y_train is not None or classes is not None:
        raise InputError("a data set brings its own targets and classes: leave y_train and classes out")
    return data.x_train, data.y_train, data.classes, data.domain


def check_training_data(net: Network, x_train: np.ndarray, y_train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, d) and targets (n, o) as float32 arrays; InputError as for :func:`training_data`."""
    x, y, _ = training_data(net, x_train, y_train)
    return x, y
