"""Full-batch gradient descent on ½Σ‖f − y‖² for an ensemble of networks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntkrobust.activations import Activation
from ntkrobust.checks import check_integer
from ntkrobust.data.checks import check_same_rows
from ntkrobust.data.encoding import encode
from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import single_precision
from ntkrobust.finite.derivatives import ntk_largest_eigenvalue
from ntkrobust.finite.parameters import Parameters, forward, initialize, layer_scales
from ntkrobust.finite.plan import Plan, choose_plan, run_over_seeds
from ntkrobust.finite.run import Run
from ntkrobust.finite.seeds import check_key, check_seeds, seed_keys
from ntkrobust.networks import MLP
from ntkrobust.precision import TRAINING_DTYPE

AUTO_FRACTION = 0.5
"""``learning_rate="auto"`` takes this fraction of 2/λ_max(Θ), the stability limit of the linearised dynamics."""

DIVERGED = 1e4
"""A loss that exceeds the larger of its initial value and that of f = 0 by this factor has diverged."""

AUTO_CEILING = 1.2
"""Under ``"auto"`` a loss may rise by this factor at most: along gradient flow it never rises, so more means that λ_max
has grown past the stability limit of the step."""

RETRIES = 6
"""How often ``"auto"`` halves the learning rate of a seed whose loss rose."""


class Schedule(NamedTuple):
    """When to record: exactly one of the four is given, increasing.

    Attributes:
        steps: numbers of gradient-descent steps.
        times: gradient-flow times ηk of the loss ½Σ.
        kernel_times: the same in units of 1/λ_max of each network's own empirical NTK at initialization.
        losses: losses as fractions of ½Σ‖y‖² (the loss of f = 0), decreasing.
    """

    steps: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    kernel_times: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()


def log_spaced(steps: int, records: int = 8) -> tuple[int, ...]:
    """0, then up to ``records`` step counts spaced evenly in logarithm from 1 to ``steps``."""
    if steps == 0:
        return (0,)
    return (0, *sorted({round(float(step)) for step in np.geomspace(1, steps, records)}))


def train(
    net: MLP,
    x_train: np.ndarray,
    y_train: np.ndarray,
    *,
    seeds: int | Sequence[int] = 32,
    steps: int = 1000,
    learning_rate: float | Literal["auto"] = "auto",
    record_steps: Sequence[int] | None = None,
    record_times: Sequence[float] | None = None,
    record_kernel_times: Sequence[float] | None = None,
    record_losses: Sequence[float] | None = None,
    key: jax.Array | None = None,
) -> Run:
    """Train an ensemble by full-batch gradient descent and keep its parameters at the recorded times.

    Args:
        net: the network.
        x_train: (n, d) inputs.
        y_train: (n, o) or (n,) targets; integer labels become one-hot (two classes: ±1).
        seeds: a number n for the seeds 0 … n−1, or the seeds themselves; seed i uses ``fold_in(key, i)``.
        steps: budget of gradient-descent steps per network; 0 gives the untrained ensemble.
        learning_rate: η on the loss ½Σ over samples and outputs, or ``"auto"``: each network's own 1/λ_max, with λ_max
            the largest eigenvalue of its empirical NTK on ``x_train`` at initialization, half of the stability limit.
            A network whose loss rises above 1.2 times its initial value under ``"auto"`` is trained again from the
            start with half the rate, up to six times.
        record_steps: step counts to record at (default: 0 and eight log-spaced ones up to ``steps``).
        record_times: gradient-flow times ηk to record at instead, each at the nearest step; under ``"auto"`` η is
            lowered so that the last one falls on a step.
        record_kernel_times: the same in units of 1/λ_max of each network's own empirical NTK on ``x_train`` at
            initialization.
        record_losses: losses to record at instead, as fractions of ½Σ‖y‖²; each network stops at the first step at or
            below each.
        key: a typed key, by default ``jax.random.key(0)``.

    Returns:
        A :class:`Run`. ``status`` says for each seed whether it reached the last loss asked for (``converged``), spent
        its steps or time (``budget``) or ``diverged``.

    Raises:
        InputError: arrays of the wrong shape or with NaN, no seeds, a learning rate that is not positive, or records
            that are not increasing.
    """
    x, y = check_training_data(net, x_train, y_train)
    seeds = check_seeds(seeds)
    key = check_key(key)
    schedule = check_schedule(
        check_integer("steps", steps, 0),
        record_steps=record_steps,
        record_times=record_times,
        record_kernel_times=record_kernel_times,
        record_losses=record_losses,
    )
    auto = isinstance(learning_rate, str) and learning_rate == "auto"
    if not auto and not (isinstance(learning_rate, Real) and 0 < learning_rate < np.inf):
        raise InputError(f"learning_rate must be 'auto' or a positive number, got {learning_rate!r}")

    plan = choose_plan(net, x.shape[1], x.shape[0])
    scales = layer_scales(net, x.shape[1])
    shared = {"scales": scales, "x": x, "y": y, "tolerated_rise": np.float32(AUTO_CEILING if auto else DIVERGED)}
    keys = seed_keys(key, seeds)
    initial = initialize(net, x.shape[1], keys)
    if not steps:
        return _untrained(net, plan, shared, initial, seeds, key)
    largest = np.ones(len(seeds))
    if auto or schedule.kernel_times:
        largest = run_over_seeds(_LargestEigenvalue(net.phi), plan, shared, {"parameters": initial, "key": keys})
        # A network whose every gate is closed on every point has λ_max = 0 and never moves: any rate will do.
        largest = np.where(largest > 0, largest, 1.0).astype(np.float64)
    rate = AUTO_FRACTION * 2 / largest if auto else np.full(len(seeds), float(learning_rate))
    if schedule.kernel_times:
        times = np.array(schedule.kernel_times) / largest[:, None]
    else:
        times = np.tile(np.array(schedule.times), (len(seeds), 1))
    if auto:
        rate = _rate_that_meets(times, rate)
    history = _descend(net, plan, shared, initial, rate, times, schedule, steps)
    if auto:
        for _ in range(RETRIES):
            lost = np.flatnonzero(history["diverged"])
            if not lost.size:
                break
            rate[lost] = _rate_that_meets(times[lost], rate[lost] / 2)
            again = jax.tree.map(lambda leaf, lost=lost: leaf[lost], initial)
            retried = _descend(net, plan, shared, again, rate[lost], times[lost], schedule, steps)
            history = jax.tree.map(lambda old, new, lost=lost: _with_rows(old, lost, new), history, retried)

    loss = history["loss"]
    reached = np.zeros(len(seeds), dtype=bool)
    if schedule.losses:
        reached = loss[:, -1] <= np.float32(schedule.losses[-1] * _zero_loss(y))
    return Run(
        net=net,
        seeds=seeds,
        key=key,
        x_train=x,
        y_train=y,
        learning_rate=history["rate"],
        step=history["step"],
        loss=loss,
        status=np.where(history["diverged"], "diverged", np.where(reached, "converged", "budget")),
        snapshots=tuple(history["snapshots"]),
        plan=str(plan),
    )


def _zero_loss(y: np.ndarray) -> float:
    """½Σ‖y‖², the loss of f = 0."""
    return 0.5 * float(np.sum(np.square(y, dtype=np.float64)))


def _untrained(net: MLP, plan: Plan, shared: dict, initial: Parameters, seeds: tuple[int, ...], key: jax.Array) -> Run:
    """The ensemble as it was drawn, at step 0."""
    return Run(
        net=net,
        seeds=seeds,
        key=key,
        x_train=shared["x"],
        y_train=shared["y"],
        # No step is taken, so any rate describes it.
        learning_rate=np.ones(len(seeds)),
        step=np.zeros((len(seeds), 1), dtype=np.int32),
        loss=run_over_seeds(_Loss(net.phi), plan, shared, initial)[:, None],
        status=np.full(len(seeds), "budget", dtype="U9"),
        snapshots=(initial,),
        plan=str(plan),
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


def _descend(
    net: MLP,
    plan: Plan,
    shared: dict,
    initial: Parameters,
    rate: np.ndarray,
    times: np.ndarray,
    schedule: Schedule,
    steps: int,
) -> dict[str, Any]:
    """Run gradient descent from record to record (times: (seed, record), empty if not asked for by time)."""
    n_seeds = len(rate)
    if times.size:
        # The step nearest to each time; if the budget is too small, the run stops short.
        stops = [np.rint(time / rate) for time in times.T]
    elif schedule.steps:
        stops = [np.full(n_seeds, step) for step in schedule.steps]
    else:
        stops = [np.full(n_seeds, steps)] * len(schedule.losses)
    zero_loss = _zero_loss(shared["y"])
    levels = [level * zero_loss for level in schedule.losses] or [-np.inf] * len(stops)

    segment = _Segment(net.phi)
    state: dict[str, Any] = {
        "parameters": initial,
        "step": np.zeros(n_seeds, np.int32),
        "ceiling": np.full(n_seeds, np.inf),
    }
    snapshots, losses, taken = [], [], []
    for stop, level in zip(stops, levels, strict=True):
        state = run_over_seeds(
            segment,
            plan,
            {**shared, "level": np.float32(level), "zero_loss": np.float32(zero_loss)},
            {
                **{name: state[name] for name in ("parameters", "step")},
                "ceiling": np.float32(state["ceiling"]),
                "rate": np.float32(rate),
                "stop": np.minimum(stop, steps).astype(np.int32),
            },
        )
        snapshots.append(state["parameters"])
        losses.append(state["loss"])
        taken.append(state["step"])
    loss = np.stack(losses, axis=1)
    return {
        "rate": rate,
        "step": np.stack(taken, axis=1),
        "loss": loss,
        "diverged": ~(loss[:, -1] <= state["ceiling"]),
        "snapshots": snapshots,
    }


@dataclasses.dataclass(frozen=True)
class _LargestEigenvalue:
    """λ_max of the empirical NTK of one network on the training inputs."""

    phi: Activation

    def __call__(self, shared: dict, one: dict) -> jax.Array:
        def outputs(parameters: Parameters) -> jax.Array:
            return forward(self.phi, shared["scales"], parameters, shared["x"])

        start = jax.random.normal(one["key"], shared["y"].shape, dtype=TRAINING_DTYPE)
        return ntk_largest_eigenvalue(outputs, one["parameters"], start)


@dataclasses.dataclass(frozen=True)
class _Loss:
    """½Σ‖f − y‖² of one network on the training set."""

    phi: Activation

    def __call__(self, shared: dict, parameters: Parameters) -> jax.Array:
        residual = forward(self.phi, shared["scales"], parameters, shared["x"]) - shared["y"]
        return 0.5 * jnp.sum(residual**2)


@dataclasses.dataclass(frozen=True)
class _Segment:
    """Gradient descent of one network until a step count or a loss is reached, or it diverges."""

    phi: Activation

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array]:
        value_and_gradient = jax.value_and_grad(lambda parameters: _Loss(self.phi)(shared, parameters))

        def look_and_step(carry: tuple) -> tuple:
            parameters, step, _, ceiling, _ = carry
            loss, gradient = value_and_gradient(parameters)
            # What counts as diverged is set by the network as it was drawn (or by f = 0, should that be worse).
            ceiling = jnp.where(step == 0, shared["tolerated_rise"] * jnp.maximum(loss, shared["zero_loss"]), ceiling)
            done = (step >= one["stop"]) | (loss <= shared["level"]) | ~(loss <= ceiling)
            # Loss and gradient appear once in the program: the last pass through the loop looks and takes no step.
            optimizer = optax.sgd(jnp.where(done, 0.0, one["rate"]))
            updates, _ = optimizer.update(gradient, optimizer.init(parameters), parameters)
            return optax.apply_updates(parameters, updates), step + ~done, loss, ceiling, done

        start = (one["parameters"], one["step"], jnp.zeros((), jnp.float32), one["ceiling"], jnp.zeros((), bool))
        parameters, step, loss, ceiling, _ = jax.lax.while_loop(lambda carry: ~carry[-1], look_and_step, start)
        return {"parameters": parameters, "step": step, "loss": loss, "ceiling": ceiling}


def largest_kernel_eigenvalue(
    net: MLP, x: np.ndarray, *, seeds: int | Sequence[int] = 8, key: jax.Array | None = None
) -> np.ndarray:
    """λ_max (seed,) of each network's empirical NTK on x (n, d) at initialization."""
    x = single_precision("x", x)
    keys = seed_keys(check_key(key), check_seeds(seeds))
    plan = choose_plan(net, x.shape[1], len(x))
    shared = {"scales": layer_scales(net, x.shape[1]), "x": x, "y": np.zeros((len(x), net.d_out), np.float32)}
    drawn = initialize(net, x.shape[1], keys)
    return run_over_seeds(_LargestEigenvalue(net.phi), plan, shared, {"parameters": drawn, "key": keys})


def check_training_data(net: MLP, x_train: np.ndarray, y_train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, d) and targets (n, o) as float32 arrays.

    Raises:
        InputError: a shape is wrong, something is no finite number, or the targets do not have ``net.d_out`` columns.
    """
    x = single_precision("x_train", x_train)
    y = single_precision("y_train", encode([("y_train", y_train)])[0])
    check_same_rows("x_train", x, "y_train", y)
    if y.shape[1] != net.d_out:
        raise InputError(f"y_train has {y.shape[1]} output column(s) and the network has d_out={net.d_out}")
    return x, y


def check_schedule(steps: int, **given: Sequence[float] | None) -> Schedule:
    """The records asked for, by default log-spaced steps.

    Raises:
        InputError: more than one kind is given, or the records are not increasing (losses: decreasing).
    """
    named = {name: values for name, values in given.items() if values is not None}
    if not named:
        return Schedule(steps=log_spaced(steps))
    if len(named) > 1:
        raise InputError(f"give one of {', '.join(given)}, got {' and '.join(named)}")
    ((name, given_values),) = named.items()
    kind, plural = (Integral, "integers") if name == "record_steps" else (Real, "numbers")
    values = tuple(given_values) if isinstance(given_values, Iterable) else ()
    ordered = values[::-1] if name == "record_losses" else values
    if (
        not values
        or not all(isinstance(value, kind) and 0 <= value < np.inf for value in values)
        or not all(a < b for a, b in itertools.pairwise(ordered))
    ):
        direction = "decreasing" if name == "record_losses" else "increasing"
        raise InputError(f"{name} must be {direction} {plural} that are not negative, got {given_values!r}")
    if name == "record_steps" and values[-1] > steps:
        raise InputError(f"record_steps goes to {values[-1]}, past the budget of {steps} steps")
    return Schedule(**{name.removeprefix("record_"): values})  # type: ignore[arg-type]
