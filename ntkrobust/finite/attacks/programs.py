"""One attack against one network, at one radius, as a compiled program; and what gradients there are to follow."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ntkrobust.finite.attacks import classes, objectives
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.finite.attacks.found import Function, Loss, look
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import LayerScales


@dataclasses.dataclass(frozen=True)
class AttackProgram:
    """One attack, for :func:`~ntkrobust.runtime.executor.run_over_seeds`.

    Shared arrays: ``scales``; ``x`` (n, d); ``epsilon``; ``lower``, ``upper`` and perhaps ``movable`` (d,); ``counts``,
    those of the attack.
    Of each network: ``parameters``; ``key``; ``label`` (n,), the classes to be lost.

    Results: ``x`` (n, d), ``margin`` and ``is_kept`` (n,): the worst points, their margins, and whether every candidate
    had the class.

    Attributes:
        model: the network's function.
        attack: without its counts, see :meth:`~ntkrobust.finite.attacks.base.Attack.static`.
    """

    model: Model
    attack: Attack

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array]:
        """The attack on one network."""
        ball = Ball.within(shared["x"], shared["epsilon"], shared)
        key = jax.random.fold_in(one["key"], self.attack.key_index())
        attack = self.attack.with_counts(shared["counts"])
        found = attack.against(network(self.model, shared, one), one["label"], ball, key)
        return found._replace(x=found.x.T)._asdict()


@dataclasses.dataclass(frozen=True)
class Inputs:
    """One network at the inputs: which classes are to be lost, whether it gives them, and what gradients there are.

    Shared arrays: ``scales``; ``x`` (n, d); ``label`` (n,), the true classes, or none for those that the network
    predicts; and perhaps ``movable`` (d,).

    The cross entropy is that which attacks climb, see :func:`~ntkrobust.finite.attacks.objectives.temperature`.

    Results: ``label``, ``is_kept`` (n,); and for the cross entropy and the margin whether the input gradient is zero in
    every coordinate that may move, or not finite: ``zero_cross_entropy``, ``zero_margin`` (n,).
    """

    model: Model

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array]:
        """What one network is like at the inputs."""
        f, x = network(self.model, shared, one), shared["x"].T
        outputs = f(x)
        label = shared["label"] if "label" in shared else classes.predicted(outputs)

        temperature = objectives.temperature(outputs)

        def is_zero(loss: Loss) -> jax.Array:
            is_zero = look(f, loss, x).gradient == 0
            return jnp.all(is_zero if "movable" not in shared else is_zero | ~shared["movable"][:, None], axis=0)

        return {
            "label": label,
            "is_kept": classes.is_kept(outputs, label),
            "zero_cross_entropy": is_zero(lambda out: objectives.cross_entropy(out, label, temperature)),
            "zero_margin": is_zero(lambda outputs: classes.margin(outputs, label)),
        }


def network(model: Model, shared: dict, one: dict) -> Function:
    """f of one network, points in columns."""
    scales: LayerScales = shared["scales"]
    return lambda x: model.outputs_in_columns(scales, one["parameters"], x)
