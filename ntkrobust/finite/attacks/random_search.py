"""Uniform points of the ball: the control that every other attack has to beat."""

from __future__ import annotations

import jax

from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.base import Attack, count
from ntkrobust.finite.attacks.found import Found


class RandomSearch(Attack):
    """Uniform points of the ball.

    Attributes:
        queries: points around each input.
    """

    queries: int = count(default=500)

    uses_gradients = False

    def search(self, target: AttackedNetwork, found: Found) -> Found:
        """The worst of what was found and of all points."""

        def query(index: jax.Array, found: Found) -> Found:
            return target.judge(found, target.random_point(jax.random.fold_in(target.key, index)))

        return jax.lax.fori_loop(0, self.queries, query, found)

    def key_index(self) -> int:
        """Of this package."""
        return 6
