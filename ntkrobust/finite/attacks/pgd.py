"""Projected gradient descent (Madry et al., arXiv 1706.06083)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ntkrobust.finite.attacks.apgd import APGD
from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.balls import Ball, climb
from ntkrobust.finite.attacks.base import Attack, count, twice
from ntkrobust.finite.attacks.found import Found
from ntkrobust.finite.attacks.gradient import Look, State, Track, restarted
from ntkrobust.norms import Norm

STEP = 2.5
"""Steps of PGD are this times ε over their number, so that they reach the boundary from anywhere in the ball."""


class PGD(Attack):
    """Steps of length 2.5 ε/``steps`` along the steepest direction of the cross entropy.

    Attributes:
        steps: gradients in each run.
        restarts: runs, the first from the input, others from random points.
    """

    steps: int = count(default=50)
    restarts: int = count(default=1)

    def search(self, target: AttackedNetwork, found: Found) -> Found:
        """The worst of what was found and of all iterates."""

        def run(start: jax.Array, _: jax.Array, found: Found) -> Found:
            loss = target.cross_entropy()
            return pgd(
                self.norm, lambda x: target.look(x, loss), target.ball, start, self.steps, target.judge_seen, found
            )

        return restarted(target, self.restarts, run, found)

    def stronger(self) -> Attack:
        """APGD on the ratio with twice the steps; in ℓ1, for which there is none, PGD."""
        if self.norm not in APGD.norms:
            return PGD(twice(self.steps), self.restarts, norm=self.norm)
        return APGD("dlr", self.steps, self.restarts, norm=self.norm).stronger()

    def key_index(self) -> int:
        """Of this package."""
        return 1


def pgd(
    norm: Norm,
    look: Look,
    ball: Ball,
    start: jax.Array,
    steps: int | jax.Array,
    track: Track[State],
    state: State,
) -> State:
    """``steps`` steps of length 2.5 ε/``steps`` from ``start`` (d, n), every iterate tracked, the last one too."""
    size = STEP * ball.radius / jnp.asarray(steps, ball.radius.dtype)

    def step(_: jax.Array, carry: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        seen = look(carry[0])
        return climb(norm, ball, seen.x, seen.gradient, size), track(carry[1], seen)

    x, state = jax.lax.fori_loop(0, steps, step, (start, state))
    return track(state, look(x))
