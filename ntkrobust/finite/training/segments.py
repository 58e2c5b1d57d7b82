"""Programs that take one network from one record to the next by steps of an optimizer.

All of them look (loss, and whether to go on) before each step, so that cutting training into segments changes nothing:
the steps between two records are the same in one segment or in many. They take parameters and memory as they come,
stacked or one array per layer, and give them back likewise.

The last look comes after the last step and needs no gradient. In most programs loss and gradient appear once, and the
last pass through the loop looks and takes no step: that compiles faster. Where a pass is long, ``looks_apart`` has that
look in a forward pass of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ntkrobust.finite.training.losses import TrainingLoss
from ntkrobust.finite.training.objectives import Objective, Regularizer
from ntkrobust.finite.training.optimizers import Optimizer
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import Parameters, Stacked


@dataclasses.dataclass(frozen=True)
class GradientDescent:
    """Full-batch gradient descent until a step count or a loss is reached, or it diverges."""

    model: Model
    loss: str = "squared"
    regularizer: Regularizer | None = None
    looks_apart: bool = False

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array]:
        """Take one network to where ``one`` says; see :class:`~ntkrobust.finite.training.attempts.TrainingTask`."""
        objective = Objective(self.model, self.loss, self.regularizer)
        value_and_gradient = jax.value_and_grad(partial(objective.at_step, shared, one))

        def look_and_step(carry: tuple) -> tuple:
            parameters, step, _, ceiling, _ = carry
            loss, gradient = value_and_gradient(parameters, step)
            ceiling = _ceiling(shared, step, loss, ceiling)
            done = (step >= one["stop"]) | (loss <= shared["level"]) | ~(loss <= ceiling)
            optimizer = optax.sgd(jnp.where(done, 0.0, one["rate"]))
            updates, _ = optimizer.update(gradient, optimizer.init(parameters), parameters)
            return optax.apply_updates(parameters, updates), step + ~done, loss, ceiling, done

        zero = jnp.zeros((), jnp.float32)
        start = (one["parameters"], one["step"], zero, one["ceiling"], jnp.zeros((), bool))
        parameters, *looked = jax.lax.while_loop(_goes_on(one, self.looks_apart, 1), look_and_step, start)
        look = partial(objective.at_step, shared, one, parameters) if self.looks_apart else None
        step, loss, ceiling = _last_look(look, shared, *looked)
        return {"parameters": parameters, "step": step, "loss": loss, "ceiling": ceiling}


@dataclasses.dataclass(frozen=True)
class FullBatch:
    """Full-batch steps of an optimizer with memory, or with weight decay, until the same."""

    model: Model
    loss: str
    optimizer: Optimizer
    regularizer: Regularizer | None = None
    looks_apart: bool = False

    def __call__(self, shared: dict, one: dict) -> dict[str, Any]:
        """Take one network to where ``one`` says; see :class:`~ntkrobust.finite.training.attempts.TrainingTask`."""
        objective = Objective(self.model, self.loss, self.regularizer)
        value_and_gradient = jax.value_and_grad(partial(objective.at_step, shared, one))

        def look_and_step(carry: tuple) -> tuple:
            parameters, memory, step, _, ceiling, _ = carry
            loss, gradient = value_and_gradient(parameters, step)
            ceiling = _ceiling(shared, step, loss, ceiling)
            done = (step >= one["stop"]) | (loss <= shared["level"]) | ~(loss <= ceiling)
            moved = self.optimizer.move(gradient, memory, parameters, step, one["rate"], shared["weight_decay"])
            parameters, memory = jax.tree.map(lambda new, old: jnp.where(done, old, new), moved, (parameters, memory))
            return parameters, memory, step + ~done, loss, ceiling, done

        zero = jnp.zeros((), jnp.float32)
        start = (one["parameters"], one["memory"], one["step"], zero, one["ceiling"], jnp.zeros((), bool))
        parameters, memory, *looked = jax.lax.while_loop(_goes_on(one, self.looks_apart, 2), look_and_step, start)
        look = partial(objective.at_step, shared, one, parameters) if self.looks_apart else None
        step, loss, ceiling = _last_look(look, shared, *looked)
        return {"parameters": parameters, "memory": memory, "step": step, "loss": loss, "ceiling": ceiling}


@dataclasses.dataclass(frozen=True)
class MiniBatches:
    """Steps of an optimizer on minibatches; it looks at the full loss where an epoch begins.

    An epoch is n // batch_size steps on as many batches of a fresh order of the samples, so that the samples of an
    incomplete batch, others in each epoch, are left out. The gradient of a batch is multiplied by n / batch_size: it
    estimates that of the full loss, and learning rates mean the same for every batch size.

    With a regularizer it looks at the loss alone, since an attack on all samples would cost as much as the epoch; what
    is recorded is the whole objective, attacked once where a segment ends.
    """

    model: Model
    loss: str
    optimizer: Optimizer
    batch_size: int
    regularizer: Regularizer | None = None

    def __call__(self, shared: dict, one: dict) -> dict[str, Any]:
        """Take one network to where ``one`` says; see :class:`~ntkrobust.finite.training.attempts.TrainingTask`."""
        training_loss = TrainingLoss(self.model, self.loss)
        objective = Objective(self.model, self.loss, self.regularizer)
        n = shared["x"].shape[0]
        per_epoch = n // self.batch_size

        def of_batch(parameters: Parameters | Stacked, step: jax.Array, rows: jax.Array) -> jax.Array:
            whole = objective.on(shared, one, parameters, step, shared["x"][rows], shared["y"][rows])
            return n / self.batch_size * whole

        def look_and_walk(carry: tuple) -> tuple:
            parameters, memory, step, _, ceiling, _ = carry
            loss = training_loss(shared, parameters)
            ceiling = _ceiling(shared, step, loss, ceiling)
            # A segment that begins within an epoch must do what one that went through would have done.
            stopped = (step % per_epoch == 0) & ((loss <= shared["level"]) | ~(loss <= ceiling))
            done = (step >= one["stop"]) | stopped
            epoch = step // per_epoch
            batches = epoch_order(one["order"], epoch, n)[: per_epoch * self.batch_size].reshape(per_epoch, -1)
            end = jnp.where(done, step, jnp.minimum(one["stop"], (epoch + 1) * per_epoch))

            def walk(inner: tuple) -> tuple:
                parameters, memory, step = inner
                gradient = jax.grad(of_batch)(parameters, step, batches[step % per_epoch])
                moved = self.optimizer.move(gradient, memory, parameters, step, one["rate"], shared["weight_decay"])
                return *moved, step + 1

            walked = jax.lax.while_loop(lambda inner: inner[2] < end, walk, (parameters, memory, step))
            return *walked, loss, ceiling, done

        zero = jnp.zeros((), jnp.float32)
        start = (one["parameters"], one["memory"], one["step"], zero, one["ceiling"], jnp.zeros((), bool))
        parameters, memory, step, loss, ceiling, _ = jax.lax.while_loop(lambda carry: ~carry[-1], look_and_walk, start)
        if self.regularizer is not None:
            # Where the loss alone has stopped a network, it is what tells why.
            loss = jnp.where(loss <= ceiling, objective.at_step(shared, one, parameters, step), loss)
        return {"parameters": parameters, "memory": memory, "step": step, "loss": loss, "ceiling": ceiling}


def _ceiling(shared: dict, step: jax.Array, loss: jax.Array, ceiling: jax.Array) -> jax.Array:
    """The loss from which a network has diverged, set by itself as it was drawn (or by f = 0, should that be worse)."""
    return jnp.where(step == 0, shared["tolerated_rise"] * jnp.maximum(loss, shared["zero_loss"]), ceiling)


def _goes_on(one: dict, looks_apart: bool, step_at: int) -> Callable[[tuple], jax.Array]:
    """Whether to look and step once more, from what is carried: the last of it is ``done``."""
    if looks_apart:
        return lambda carry: ~carry[-1] & (carry[step_at] < one["stop"])
    return lambda carry: ~carry[-1]


def _last_look(
    look: Callable[[jax.Array], jax.Array] | None,
    shared: dict,
    step: jax.Array,
    loss: jax.Array,
    ceiling: jax.Array,
    done: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Step count, loss and ceiling at the end; ``look`` gives the loss there unless it is known."""
    if look is None:
        return step, loss, ceiling
    loss = jax.lax.cond(done, lambda: loss, lambda: look(step))
    return step, loss, _ceiling(shared, step, loss, ceiling)


def epoch_order(key: jax.Array, epoch: jax.Array | int, n: int) -> jax.Array:
    """The order (n,) in which one network sees the samples of an epoch, from its :func:`order_keys` key."""
    return jax.random.permutation(jax.random.fold_in(key, epoch), jnp.arange(n, dtype=jnp.int32))
