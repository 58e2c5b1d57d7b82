"""Steps along the steepest direction: FGSM (Goodfellow et al., arXiv 1412.6572) and PGD (Madry et al., 1706.06083)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from ntkrobust.finite.attacks.balls import Ball, climb
from ntkrobust.finite.attacks.found import Evaluation
from ntkrobust.norms import Norm

State = TypeVar("State")

Look = Callable[[jax.Array], Evaluation]
"""What is seen at points x (d, n)."""

Track = Callable[[State, Evaluation], State]
"""What is kept of what was seen before, and of what is seen now."""

STEP = 2.5
"""Steps of PGD are this times ε over their number, so that they reach the boundary from anywhere in the ball."""


def fgsm(norm: Norm, look: Look, ball: Ball, track: Track[State], state: State) -> State:
    """One step of length ε from the input."""
    return track(state, look(climb(norm, ball, ball.centre, look(ball.centre).gradient, ball.radius)))


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
