"""Optimizers: the direction of a step, which an optax transformation gives, apart from its size, a run-time number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntkrobust.checks import check_not_negative, check_positive, shown
from ntkrobust.errors import InputError, failed
from ntkrobust.networks.parameters import Parameters, Stacked

MOMENTUM = 0.9
"""Heavy ball: v ← 0.9·v + ∇L, θ ← θ − η·v (Polyak 1964)."""

NAMES = ("gd", "momentum", "adam", "gradient_flow")

FLOW_COPIES, FLOW_SLOPES = 1, 3
"""Gradient flow carries the parameters it began with, and holds the slopes of four stages where others have one."""

Rates = Callable[[Any], Any]
"""An optax schedule: step → learning rate."""


def _named(name: str) -> optax.GradientTransformation:
    """The transformation with learning rate 1: what is added to the parameters, before it is scaled."""
    return {
        "gd": lambda: optax.sgd(1.0),
        "momentum": lambda: optax.sgd(1.0, momentum=MOMENTUM),
        # β₁ = 0.9, β₂ = 0.999, 1e-8 outside the root (Kingma and Ba 2015)
        "adam": lambda: optax.adam(1.0),
    }[name]()


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How parameters move. Hashable: static in compiled programs, which its rate and its weight decay are not.

    Attributes:
        name: ``"gd"``, ``"momentum"``, ``"adam"``, ``"gradient_flow"``, or ``"own"``.
        own: an optax transformation that is not one of these.
        rates: an optax schedule instead of one learning rate.
    """

    name: str
    own: optax.GradientTransformation | None = None
    rates: Rates | None = None

    @property
    def transformation(self) -> optax.GradientTransformation:
        """The optax transformation behind it, with learning rate 1."""
        return _named(self.name) if self.own is None else self.own

    @property
    def has_flow_time(self) -> bool:
        """Whether its steps follow gradient flow, so that they have a time."""
        return self.name in ("gd", "gradient_flow")

    @property
    def is_elementwise(self) -> bool:
        """Whether a step of one number depends on no other, so that layers may be laid out in any way."""
        return self.own is None

    def start(self, parameters: Parameters | Stacked) -> Any:
        """The memory of the optimizer before the first step."""
        return self.transformation.init(parameters)

    @property
    def slopes(self) -> int:
        """Arrays of the size of the parameters that a step holds beside one gradient."""
        return FLOW_SLOPES if self.name == "gradient_flow" else 0

    def copies(self, parameters: Parameters | Stacked) -> int:
        """Arrays of the size of the parameters that are kept from step to step, from the shapes of one network's."""
        if self.name == "gradient_flow":
            return FLOW_COPIES
        size = sum(leaf.size for leaf in jax.tree.leaves(parameters))
        return round(sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.start, parameters))) / size)

    def move(
        self,
        gradient: Parameters | Stacked,
        memory: Any,
        parameters: Parameters | Stacked,
        step: jax.Array,
        rate: jax.Array,
        decay: Any,
    ) -> tuple[Parameters | Stacked, Any]:
        """One step of one network.

        Args:
            gradient: ∇L at the parameters.
            memory: of the optimizer.
            parameters: of one network.
            step: steps taken so far; the schedule, if there is one, is read here.
            rate: η; not used if there is a schedule.
            decay: λ of the weight decay. Adam: θ ← θ − η·(direction + λθ), decoupled (Loshchilov and Hutter 2019).
                Gradient descent and heavy ball: ∇L + λθ takes the place of ∇L.

        Returns:
            Parameters and memory after the step.
        """
        if self.rates is not None:
            rate = jnp.asarray(self.rates(step), jnp.float32)
        if self.own is None and self.name != "adam":
            gradient = jax.tree.map(lambda g, p: g + decay * p, gradient, parameters)
        updates, after = self.transformation.update(gradient, memory, parameters)
        if self.name == "adam":
            updates = jax.tree.map(lambda u, p: u - decay * p, updates, parameters)
        if self.own is not None:
            # It may drop what is no number, and go on as if nothing had been.
            finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]))
            updates = jax.tree.map(lambda u: jnp.where(finite, u, jnp.nan), updates)
        # The loop carries one type: an own transformation may widen numbers where 64 bits are switched on.
        after = jax.tree.map(lambda new, old: jnp.asarray(new).astype(jnp.asarray(old).dtype), after, memory)
        return jax.tree.map(lambda p, u: (p + rate * u).astype(p.dtype), parameters, updates), after


@dataclasses.dataclass(frozen=True)
class Start:
    """The memory of the optimizer of one network, as a program."""

    optimizer: Optimizer

    def __call__(self, shared: dict, parameters: Parameters | Stacked) -> dict[str, Any]:
        """The memory; nothing is shared."""
        return {"memory": self.optimizer.start(parameters)}


def check_optimizer(optimizer: object, learning_rate: object) -> tuple[Optimizer, float | None]:
    """The optimizer, and its learning rate as a number: None for ``"auto"``, NaN where a schedule sets it.

    Raises:
        InputError: no such optimizer; a learning rate that is none of ``"auto"``, a positive number and a schedule; or
            one that does not go with the optimizer.
    """
    own = optimizer if isinstance(optimizer, optax.GradientTransformation) else None
    if own is None and not (isinstance(optimizer, str) and optimizer in NAMES):
        names = ", ".join(map(repr, NAMES))
        raise InputError(f"optimizer must be one of {names} or an optax.GradientTransformation, got {optimizer!r}")
    name = "own" if own is not None else str(optimizer)
    asked = "an optax transformation" if own is not None else f"optimizer={name!r}"
    rates = learning_rate if callable(learning_rate) else None
    if rates is not None:
        if name == "gradient_flow":
            raise InputError("gradient flow has no steps of its own to schedule: give 'auto' or a positive number")
        return Optimizer(name, own, rates), np.nan
    if isinstance(learning_rate, str) and learning_rate == "auto":
        if name not in ("gd", "gradient_flow"):
            raise InputError(
                f"learning_rate='auto' is for gradient descent and gradient flow: give {asked} a number or a schedule"
            )
        return Optimizer(name, own), None
    try:
        return Optimizer(name, own), check_positive("learning_rate", learning_rate)
    except InputError:
        words = f"learning_rate must be an optax schedule, 'auto' or a positive number, got {shown(learning_rate)}"
        raise InputError(words) from None


def check_weight_decay(weight_decay: object, optimizer: Optimizer) -> float:
    """λ as a number that is not negative.

    Raises:
        InputError: it is something else, or the optimizer takes none.
    """
    decay = check_not_negative("weight_decay", weight_decay)
    if decay and optimizer.own is not None:
        raise InputError("put weight decay into the transformation (optax.add_decayed_weights) and leave it 0 here")
    if decay and optimizer.name == "gradient_flow":
        raise InputError("gradient flow is that of the loss alone: weight_decay must be 0")
    return decay


def check_transformation(optimizer: Optimizer, arrays: Parameters | Stacked) -> None:
    """See that an own transformation runs inside a program, without computing anything.

    Args:
        optimizer: it.
        arrays: shapes and types of the parameters of one network.

    Raises:
        InputError: it fails, or its memory holds something else than plain arrays.
    """
    if optimizer.own is None:
        return
    try:
        memory = jax.eval_shape(optimizer.own.init, arrays)
        updates, after = jax.eval_shape(optimizer.own.update, arrays, memory, arrays)
    except Exception as error:  # a user's own code
        raise failed("the optax transformation", error) from error
    if any(jnp.issubdtype(leaf.dtype, jax.dtypes.extended) for leaf in jax.tree.leaves(memory)):
        raise InputError("the optax transformation keeps a typed random key, which runs and checkpoints cannot hold")
    before: Any = jax.tree.structure((arrays, memory))
    if before != jax.tree.structure((updates, after)):
        raise InputError("the optax transformation changes the structure of its memory or of the parameters")


def scheduled_rates(rates: Rates, steps: int) -> np.ndarray:
    """The learning rates (steps,) of steps 0 … steps − 1.

    Raises:
        InputError: the schedule fails, or gives something else than finite numbers that are not negative.
    """
    try:
        values = np.asarray(jax.vmap(rates)(jnp.arange(max(steps, 1), dtype=jnp.int32)))
    except Exception as error:  # a user's own code
        raise failed("the schedule of learning rates", error) from error
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.number):
        raise InputError(f"a schedule gives one learning rate per step, got shape {values.shape[1:]}")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        raise InputError(f"a schedule gives finite rates that are not negative, got {values[wrong[0]]} at {wrong[0]}")
    return values.astype(np.float64)[:steps]
