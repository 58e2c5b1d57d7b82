"""Uniform points of the ball: the control that every other attack has to beat."""

from __future__ import annotations

import jax

from ntkrobust.finite.attacks.balls import Ball, random_point
from ntkrobust.finite.attacks.found import Found, Function, worse_of
from ntkrobust.norms import Norm


def random_search(
    norm: Norm, f: Function, label: jax.Array, ball: Ball, key: jax.Array, queries: jax.Array, found: Found
) -> Found:
    """The worst of ``queries`` points around each input, and of what was found before."""

    def query(index: jax.Array, found: Found) -> Found:
        x = random_point(norm, ball, jax.random.fold_in(key, index))
        return worse_of(found, label, x, f(x))

    return jax.lax.fori_loop(0, queries, query, found)
