"""Projected gradient descent on the margin: by it measures judge robustness."""

from __future__ import annotations

import jax

from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.base import Attack, count
from ntkrobust.finite.attacks.found import Found
from ntkrobust.finite.attacks.pgd import pgd
from ntkrobust.norms import NORMS


class MarginPGD(Attack):
    """Steps of length 2.5 ε/``steps`` along the steepest direction down the margin, whatever the network's loss was.

    Attributes:
        steps: gradients in each run.
        restarts: runs, the first from the input, others from random points, independent in each norm.
    """

    steps: int = count(default=50)
    restarts: int = count(default=1)

    def search(self, target: AttackedNetwork, found: Found) -> Found:
        """The worst of what was found and of all iterates."""

        def run(index: jax.Array, found: Found) -> Found:
            start = jax.lax.cond(
                index == 0,
                lambda: target.ball.centre,
                lambda: target.random_point(jax.random.fold_in(target.key, index + NORMS.index(self.norm))),
            )
            return pgd(
                self.norm,
                lambda x: target.look(x, lambda outputs: -target.margin(outputs)),
                target.ball,
                start,
                self.steps,
                target.judge_seen,
                found,
            )

        return jax.lax.fori_loop(0, self.restarts, run, found)
