"""What adversarial training minimizes, as a program: the loss of one network, and the regularization beside it.

Names, norm and number of steps are static; λ, ε, the length of steps and the range of the data are run-time numbers.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ntkrobust.adversary import Adversary, RegularizerKind
from ntkrobust.finite.attacks.balls import Ball, climb, random_point
from ntkrobust.finite.training.intervals import worst_loss
from ntkrobust.finite.training.losses import TrainingLoss, total_loss
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import Parameters, Stacked
from ntkrobust.norms import Norm


@dataclasses.dataclass(frozen=True)
class Regularizer:
    """The static half of an :class:`~ntkrobust.adversary.Adversary`."""

    kind: RegularizerKind
    norm: Norm = "linf"
    steps: int = 1
    random_start: bool = True

    @classmethod
    def of(cls, adversary: Adversary | None) -> Regularizer | None:
        """That of an adversary; None where none counts, so that λ = 0 is natural training at its own price."""
        return None if adversary is None or not adversary.strength else cls.evaluating(adversary)

    @classmethod
    def evaluating(cls, adversary: Adversary) -> Regularizer:
        """That of an adversary, whatever its λ."""
        if adversary.objective == "jacobian":  # other norms and steps are no other program
            return cls("jacobian")
        if adversary.objective == "interval":
            return cls("interval", adversary.norm)
        return cls(adversary.objective, adversary.norm, adversary.steps, adversary.random_start)

    def repeats(self, outputs: int) -> int:
        """As how many samples each counts in the network, at most: for plans and estimates of memory."""
        # ‖J‖² keeps what one way forward and one back per output have left, to go back through both. Otherwise it is
        # the sample, its attacked twin, and what is held besides while one becomes the other (measured).
        return 3 if self.kind != "jacobian" else 1 + outputs


def divergence(loss: str, outputs: jax.Array, others: jax.Array) -> jax.Array:
    """Σ_i KL(p_i ‖ q_i) of what the outputs (n, o) and others (n, o) stand for, over samples.

    - ``"squared"``: N(f, 1) and N(f', 1): ½Σ‖f − f'‖².
    - ``"cross_entropy"``, o ≥ 2: softmax(f) and softmax(f').
    - ``"cross_entropy"``, o = 1: coins that fall on +1 with probability 1/(1 + e^{−f}) and 1/(1 + e^{−f'}).
    """
    if loss == "squared":
        return total_loss(loss, others, outputs)
    if outputs.shape[-1] == 1:
        outputs, others = (jnp.concatenate([f, jnp.zeros_like(f)], axis=-1) for f in (outputs, others))
    log_p, log_q = jax.nn.log_softmax(outputs, axis=-1), jax.nn.log_softmax(others, axis=-1)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q))


@dataclasses.dataclass(frozen=True)
class Objective:
    """L_nat + λ·(regularization) of one network, or L_nat alone.

    What it reads of ``shared``: the data, ``scales`` and, with a regularizer, ``adversary``, the numbers of
    :meth:`~ntkrobust.adversary.Adversary.numbers`.
    """

    model: Model
    loss: str = "squared"
    regularizer: Regularizer | None = None

    def __call__(self, shared: dict, one: dict) -> jax.Array:
        """The value on all samples before any step."""
        return self.at_step(shared, one, one["parameters"], jnp.zeros((), jnp.int32))

    def at_step(self, shared: dict, one: dict, parameters: Parameters | Stacked, step: jax.Array) -> jax.Array:
        """The value on all samples after so many steps."""
        return self.on(shared, one, parameters, step, shared["x"], shared["y"])

    def on(
        self, shared: dict, one: dict, parameters: Parameters | Stacked, step: jax.Array, x: jax.Array, y: jax.Array
    ) -> jax.Array:
        """The value on some samples x (n, d), y (n, o), under the attack that belongs to this step.

        Random starts are drawn from ``one["attack"]``, the network's own key, and the number of steps taken: how
        training is cut into segments, chunks and plans does not enter. Derivatives hold the attack fixed: by Danskin's
        theorem that is the derivative of the maximum, where it is attained at one point.
        """
        if self.regularizer is None:
            return TrainingLoss(self.model, self.loss).on(shared, parameters, x, y)
        natural, regularization = self.parts(shared, parameters, x, y, jax.random.fold_in(one["attack"], step))
        return natural + shared["adversary"]["strength"] * regularization

    def parts(
        self, shared: dict, parameters: Parameters | Stacked, x: jax.Array, y: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """L_nat and what λ multiplies, sums over samples; the attack is held fixed in derivatives."""
        assert self.regularizer is not None
        if self.regularizer.kind == "jacobian":
            jacobian = self.model.jacobian(shared["scales"], parameters, x)
            return TrainingLoss(self.model, self.loss).on(shared, parameters, x, y), jnp.sum(jacobian**2)
        if self.regularizer.kind == "interval":
            natural = TrainingLoss(self.model, self.loss).on(shared, parameters, x, y)
            ball = Ball.within(x, shared["adversary"]["epsilon"], shared["adversary"])
            worst = worst_loss(self.loss, self.regularizer.norm, self.model, shared["scales"], parameters, ball, y)
            return natural, worst - natural
        attacked = self.attacked(shared, parameters, x, y, key)
        # Both halves together: one way forward and one back.
        both = jnp.concatenate([x.T, attacked], axis=1)
        clean, worst = jnp.split(self.model.outputs_in_columns(shared["scales"], parameters, both).T, 2)
        natural = total_loss(self.loss, clean, y)
        if self.regularizer.kind == "trades":
            return natural, divergence(self.loss, clean, worst)
        return natural, total_loss(self.loss, worst, y) - natural

    def attacked(
        self, shared: dict, parameters: Parameters | Stacked, x: jax.Array, y: jax.Array, key: jax.Array
    ) -> jax.Array:
        """The last iterate x' (d, n) of projected ascent; no derivative goes through it."""
        regularizer, numbers = self.regularizer, shared["adversary"]
        assert regularizer is not None
        # Cut off here and not behind: what is not followed forward need not be dropped on the way back.
        parameters = jax.lax.stop_gradient(parameters)
        ball = Ball.within(x, numbers["epsilon"], numbers)

        def outputs(points: jax.Array) -> jax.Array:
            return self.model.outputs_in_columns(shared["scales"], parameters, points).T

        if regularizer.kind == "trades":
            clean = outputs(ball.centre)
            ascended = jax.grad(lambda points: divergence(self.loss, clean, outputs(points)))
        else:
            ascended = jax.grad(lambda points: total_loss(self.loss, outputs(points), y))

        def ascend(_: int, points: jax.Array) -> jax.Array:
            return climb(regularizer.norm, ball, points, ascended(points), numbers["step_size"])

        start = random_point(regularizer.norm, ball, key) if regularizer.random_start else ball.centre
        return jax.lax.fori_loop(0, regularizer.steps, ascend, start)
