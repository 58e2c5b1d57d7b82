"""What an attack is given: one network, the classes to be lost, and the ball to look in."""

from __future__ import annotations

import dataclasses

import jax

from ntkrobust.finite.attacks import balls, classes, objectives
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.attacks.found import Evaluation, Found, Function, Loss, at_input, look, worse_of
from ntkrobust.norms import Norm


@dataclasses.dataclass(frozen=True)
class AttackedNetwork:
    """One network, attacked at n inputs and one radius.

    Points lie along the last axis, as they do in networks: inputs are columns (d, n), outputs (o, n), and what there is
    one of per point (n,). Everything is traced by JAX.

    Attributes:
        f: the network, x (d, n) to outputs (o, n).
        label: (n,) classes to be lost: ±1 for one output, 0 … o−1 for several.
        ball: where points may be: ``ball.centre`` (d, n), ``ball.radius``, and the range of the data.
        norm: of the ball.
        key: a typed key of this attack and network, the same at every radius.
    """

    f: Function
    label: jax.Array
    ball: Ball
    norm: Norm
    key: jax.Array

    def at_inputs(self) -> Found:
        """The inputs themselves: the first candidates of every attack."""
        return at_input(self.f, self.label, self.ball.centre)

    def judge(self, found: Found, x: jax.Array) -> Found:
        """The worse of what was found and new points (d, n): one forward pass."""
        return self.judge_outputs(found, x, self.f(x))

    def judge_outputs(self, found: Found, x: jax.Array, outputs: jax.Array) -> Found:
        """The worse of what was found and new points (d, n) whose outputs (o, n) are known."""
        return worse_of(found, self.label, x, outputs)

    def judge_seen(self, found: Found, seen: Evaluation) -> Found:
        """The worse of what was found and points that were looked at."""
        return worse_of(found, self.label, seen.x, seen.outputs)

    def look(self, x: jax.Array, loss: Loss) -> Evaluation:
        """Outputs, loss and its gradient ∂loss/∂x at points (d, n): one forward and one backward pass.

        ``loss`` takes outputs (o, n) to one number per point (n,).
        """
        return look(self.f, loss, x)

    def margin(self, outputs: jax.Array) -> jax.Array:
        """How far outputs (o, n) are from losing the class, (n,): negative where it is lost."""
        return classes.margin(outputs, self.label)

    def cross_entropy(self) -> Loss:
        """The cross entropy, as attacks climb it: see :func:`~ntkrobust.finite.attacks.objectives.temperature`."""
        temperature = objectives.temperature(self.f(self.ball.centre))
        return lambda outputs: objectives.cross_entropy(outputs, self.label, temperature)

    def ratio(self) -> Loss:
        """The difference of logits ratio: see :func:`~ntkrobust.finite.attacks.objectives.dlr`."""
        clean = classes.margin(self.f(self.ball.centre), self.label)
        return lambda outputs: objectives.dlr(outputs, self.label, clean)

    def project(self, x: jax.Array) -> jax.Array:
        """Points (d, n) brought into the ball and the range of the data."""
        return balls.project(self.norm, self.ball, x)

    def climb(self, x: jax.Array, gradient: jax.Array, size: jax.Array) -> jax.Array:
        """A step of length ``size`` along the steepest direction from points (d, n) of the ball, projected."""
        return balls.climb(self.norm, self.ball, x, gradient, size)

    def random_point(self, key: jax.Array) -> jax.Array:
        """Uniform points of the balls (d, n)."""
        return balls.random_point(self.norm, self.ball, key)
