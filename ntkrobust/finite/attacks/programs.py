"""One method against one network, at every radius, as a compiled program; and what gradients there are to follow."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.finite.attacks import classes, objectives
from ntkrobust.finite.attacks.apgd import apgd
from ntkrobust.finite.attacks.balls import Ball, random_point
from ntkrobust.finite.attacks.found import Evaluation, Found, Function, Loss, at_input, look, worse_of
from ntkrobust.finite.attacks.gradient import fgsm, pgd
from ntkrobust.finite.attacks.random_search import random_search
from ntkrobust.finite.attacks.square import ImageShape, square
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import LayerScales
from ntkrobust.norms import Norm

Method = Literal["fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t", "square", "random"]

METHODS: tuple[Method, ...] = ("fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t", "square", "random")
"""In this order each has randomness of its own: new ones go to the end."""

SCORE_BASED: tuple[Method, ...] = ("square", "random")
"""Methods that look at outputs only."""

MAX_TARGETS = 9
"""Targets of ``apgd-t`` at most: the classes with the largest outputs."""


class AttackedNetwork(NamedTuple):
    """One network to be attacked at one radius.

    Attributes:
        f: the network.
        label: (n,) classes to be lost.
        ball: around each input.
        key: of this method and network, the same at every radius.
    """

    f: Function
    label: jax.Array
    ball: Ball
    key: jax.Array


@dataclasses.dataclass(frozen=True)
class Attack:
    """One method, for :func:`~ntkrobust.runtime.layout.run_over_seeds`.

    Shared arrays: ``scales``; ``x`` (n, d); ``epsilon``; ``lower``, ``upper`` and perhaps ``movable`` (d,); ``steps``,
    ``restarts``, ``queries``.
    Of each network: ``parameters``; ``key``; ``label`` (n,), the classes to be lost.

    Results: ``x`` (n, d), ``margin`` and ``is_kept`` (n,): the worst points, their margins, and whether every candidate
    had the class.

    Attributes:
        model: the network's function.
        norm: of the ball.
        method: which.
        image_shape: of the windows of the Square attack; () for vectors.
    """

    model: Model
    norm: Norm
    method: Method
    image_shape: ImageShape = ()

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array]:
        """The attack on one network."""
        ball = Ball.within(shared["x"], shared["epsilon"], shared)
        key = jax.random.fold_in(one["key"], METHODS.index(self.method))
        victim = AttackedNetwork(network(self.model, shared, one), one["label"], ball, key)
        found = self._found(victim, shared)
        return found._replace(x=found.x.T)._asdict()

    def _found(self, victim: AttackedNetwork, counts: dict) -> Found:
        f, label, ball, key = victim
        found = at_input(f, label, ball.centre)
        if self.method == "random":
            return random_search(self.norm, f, label, ball, key, counts["queries"], found)
        if self.method == "square":
            return square(self.norm, self.image_shape, f, label, ball, key, counts["queries"], found)

        def track(found: Found, seen: Evaluation) -> Found:
            return worse_of(found, label, seen.x, seen.outputs)

        if self.method == "fgsm":
            return fgsm(self.norm, lambda x: look(f, self._loss(victim), x), ball, track, found)
        climb = pgd if self.method == "pgd" else apgd
        targets = self._targets(victim)
        runs = counts["restarts"] * len(targets)

        def run(index: jax.Array, found: Found) -> Found:
            restart, target = index // len(targets), index % len(targets)
            loss = self._loss(victim, targets[target])
            # The first run starts at the input, so that one run alone is free of chance.
            start = jax.lax.cond(
                restart == 0,
                lambda: ball.centre,
                lambda: random_point(self.norm, ball, jax.random.fold_in(key, index)),
            )
            return climb(self.norm, lambda x: look(f, loss, x), ball, start, counts["steps"], track, found)

        return jax.lax.fori_loop(0, runs, run, found)

    def _targets(self, victim: AttackedNetwork) -> jax.Array:
        """(targets, n): a run each; a row of no meaning for methods without targets."""
        if self.method != "apgd-t":
            return victim.label[None]
        outputs = victim.f(victim.ball.centre)
        count = min(len(outputs) - 1, MAX_TARGETS)
        return objectives.ranked_targets(outputs, victim.label, count)

    def _loss(self, victim: AttackedNetwork, target: jax.Array | None = None) -> Loss:
        label = victim.label
        if self.method == "apgd-t":
            assert target is not None
            return lambda outputs: objectives.targeted_dlr(outputs, label, target)
        if self.method == "apgd-dlr":
            clean = classes.margin(victim.f(victim.ball.centre), label)
            return lambda outputs: objectives.dlr(outputs, label, clean)
        temperature = objectives.temperature(victim.f(victim.ball.centre))
        return lambda outputs: objectives.cross_entropy(outputs, label, temperature)


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
