"""What attacks along gradients share: how they look, what they keep, and their restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax

from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.found import Evaluation, Found

State = TypeVar("State")

Look = Callable[[jax.Array], Evaluation]
"""What is seen at points x (d, n)."""

Track = Callable[[State, Evaluation], State]
"""What is kept of what was seen before, and of what is seen now."""

Run = Callable[[jax.Array, jax.Array, Found], Found]
"""One run: from a start (d, n), climbing the loss of this number (), the worst of what was found and is seen."""


def restarted(target: AttackedNetwork, restarts: int | jax.Array, run: Run, found: Found, losses: int = 1) -> Found:
    """So many runs with each of ``losses`` losses: the first of each from the inputs, the others from random points."""

    def once(index: jax.Array, found: Found) -> Found:
        restart, which = index // losses, index % losses
        # The first run starts at the input, so that one run alone is free of chance.
        start = jax.lax.cond(
            restart == 0,
            lambda: target.ball.centre,
            lambda: target.random_point(jax.random.fold_in(target.key, index)),
        )
        return run(start, which, found)

    return jax.lax.fori_loop(0, restarts * losses, once, found)
