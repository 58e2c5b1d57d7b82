"""Auto-PGD: PGD that chooses its own steps (Croce & Hein, arXiv 2003.01690, algorithm 1)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_choice
from ntkrobust.finite.attacks import objectives
from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.balls import Ball, climb, project
from ntkrobust.finite.attacks.base import Attack, count, twice
from ntkrobust.finite.attacks.found import Evaluation, Found, Loss
from ntkrobust.finite.attacks.gradient import Look, State, Track, restarted
from ntkrobust.norms import Norm

MOMENTUM = 0.75
"""α: weight of the new step; the rest is the last move."""

RISING = 0.75
"""ρ: a step is halved when fewer than this share of the steps since the last checkpoint raised the loss."""

FIRST_CHECKPOINT = 0.22
"""p_1, as a share of the steps; then p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06)."""

MAX_TARGETS = 9
"""Targets of the targeted ratio at most: the classes with the largest outputs."""

ApgdLoss = Literal["ce", "dlr", "targeted-dlr"]


class APGD(Attack):
    """Auto-PGD on the cross entropy, the difference of logits ratio, or its targeted form with each target in turn.

    Attributes:
        loss: ``"ce"``, ``"dlr"`` or ``"targeted-dlr"`` (at least four outputs).
        steps: gradients in each run.
        restarts: runs, the first from the input, others from random points; so many for each target.
    """

    loss: ApgdLoss = "ce"
    steps: int = count(default=50)
    restarts: int = count(default=1)

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        """Check the loss too."""
        super().__post_init__()
        check_choice("loss", self.loss, get_args(ApgdLoss))

    def search(self, target: AttackedNetwork, found: Found) -> Found:
        """The worst of what was found and of all iterates."""
        targets = self._targets(target)

        def run(start: jax.Array, which: jax.Array, found: Found) -> Found:
            loss = self._loss(target, targets[which])
            return apgd(
                self.norm, lambda x: target.look(x, loss), target.ball, start, self.steps, target.judge_seen, found
            )

        return restarted(target, self.restarts, run, found, len(targets))

    def stronger(self) -> APGD:
        """On the ratio, with twice the steps.

        Networks trained on squared loss have nearly equal class probabilities, and the cross entropy then climbs the
        mean of the other outputs: Square beats it on networks that mask nothing. The ratio climbs the largest.
        """
        return APGD("dlr", twice(self.steps), self.restarts, norm=self.norm)

    def lacks(self, d_in: int, d_out: int) -> str:
        """Outputs, for targets."""
        if self.loss == "targeted-dlr" and d_out < objectives.TARGETED_OUTPUTS:
            return f"needs at least {objectives.TARGETED_OUTPUTS} outputs, the network has {d_out}"
        return ""

    def key_index(self) -> int:
        """Of this package."""
        return 2 + get_args(ApgdLoss).index(self.loss)

    def _targets(self, target: AttackedNetwork) -> jax.Array:
        """(targets, n): a run each; a row of no meaning for losses without targets."""
        if self.loss != "targeted-dlr":
            return target.label[None]
        outputs = target.f(target.ball.centre)
        return objectives.ranked_targets(outputs, target.label, min(len(outputs) - 1, MAX_TARGETS))

    def _loss(self, target: AttackedNetwork, aim: jax.Array) -> Loss:
        if self.loss == "targeted-dlr":
            return lambda outputs: objectives.targeted_dlr(outputs, target.label, aim)
        return target.ratio() if self.loss == "dlr" else target.cross_entropy()


class Progress(NamedTuple):
    """Where the iteration stands.

    Attributes:
        now, before: the iterate as seen, and x of the one before (d, n).
        best: what was seen where the loss was largest.
        size: η (n,).
        rises: (n,) steps since the last checkpoint that raised the loss.
        best_loss, was_halved: (n,) the largest loss at the last checkpoint, and whether η was halved there.
        checkpoint, last: (), steps after which the next is due, and after which the last was.
        share, gap: (), p_j and p_j − p_{j−1}.
    """

    now: Evaluation
    before: jax.Array
    best: Evaluation
    size: jax.Array
    rises: jax.Array
    best_loss: jax.Array
    was_halved: jax.Array
    checkpoint: jax.Array
    last: jax.Array
    share: jax.Array
    gap: jax.Array


def choose(condition: jax.Array, this: Any, that: Any) -> Any:
    """``this`` for the points where the condition (n,) holds, ``that`` for the others; arrays whose last axis is n."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), this, that)


def _steps_until(share: jax.Array, steps: jax.Array) -> jax.Array:
    """w = ⌈p N⌉; products that are whole numbers up to rounding stay."""
    return jnp.ceil(share * steps - 1e-3).astype(jnp.int32)


def _start(ball: Ball, seen: Evaluation, steps: jax.Array) -> Progress:
    none = jnp.zeros(seen.loss.shape, bool)
    share = jnp.float32(FIRST_CHECKPOINT)
    return Progress(
        now=seen,
        before=seen.x,
        best=seen,
        size=jnp.broadcast_to(2 * ball.radius, seen.loss.shape),
        rises=none.astype(jnp.int32),
        best_loss=seen.loss,
        was_halved=none,
        checkpoint=_steps_until(share, steps),
        last=jnp.int32(0),
        share=share,
        gap=share,
    )


def _at_checkpoint(progress: Progress, steps: jax.Array) -> Progress:
    """Halve η where it is too long (conditions 1 and 2), go on from the best point there, and set the next date."""
    taken = progress.checkpoint - progress.last
    rises_seldom = progress.rises < RISING * taken
    is_stuck = ~progress.was_halved & (progress.best.loss == progress.best_loss)
    is_halved = rises_seldom | is_stuck
    gap = jnp.maximum(progress.gap - 0.03, 0.06)
    share = progress.share + gap
    return progress._replace(
        now=choose(is_halved, progress.best, progress.now),
        size=jnp.where(is_halved, progress.size / 2, progress.size),
        rises=jnp.zeros_like(progress.rises),
        best_loss=progress.best.loss,
        was_halved=is_halved,
        checkpoint=jnp.maximum(_steps_until(share, steps), progress.checkpoint + 1),
        last=progress.checkpoint,
        share=share,
        gap=gap,
    )


def apgd(
    norm: Norm, look: Look, ball: Ball, start: jax.Array, steps: int | jax.Array, track: Track[State], state: State
) -> State:
    """``steps`` steps from ``start`` (d, n), the first of them 2ε long, every iterate tracked."""
    number = jnp.asarray(steps, jnp.int32)

    def step(index: jax.Array, carry: tuple[Progress, State]) -> tuple[Progress, State]:
        progress, state = carry
        x = progress.now.x
        # z = Π(x + η v), x' = Π(x + α(z − x) + (1 − α)(x − x_before)); the first step has no move before it.
        weight = jnp.where(index == 0, 1.0, MOMENTUM).astype(x.dtype)
        z = climb(norm, ball, x, progress.now.gradient, progress.size)
        new = look(project(norm, ball, x + weight * (z - x) + (1 - weight) * (x - progress.before)))
        progress = progress._replace(
            now=new,
            before=x,
            best=choose(new.loss > progress.best.loss, new, progress.best),
            rises=progress.rises + (new.loss > progress.now.loss).astype(jnp.int32),
        )
        is_due = index + 1 == progress.checkpoint
        checked = _at_checkpoint(progress, number)
        progress = jax.tree.map(lambda a, b: jnp.where(is_due, a, b), checked, progress)
        return progress, track(state, new)

    seen = look(start)
    return jax.lax.fori_loop(jnp.int32(0), number, step, (_start(ball, seen, number), track(state, seen)))[1]
