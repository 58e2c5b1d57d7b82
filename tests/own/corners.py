"""An attack of one's own in a file of its own: random corners of the ℓ∞ ball, from outputs alone."""

import jax
import jax.numpy as jnp

import ntkrobust as ntr


class Corners(ntr.attacks.Attack):
    """Random corners; where the range of the data cuts them off, what is left of them."""

    queries: int = ntr.attacks.count(default=100)

    norms = ("linf",)
    uses_gradients = False

    def search(self, target, found):
        def query(index, found):
            key = jax.random.fold_in(target.key, index)
            signs = jax.random.rademacher(key, target.ball.centre.shape, jnp.float32)
            return target.judge(found, target.project(target.ball.centre + target.ball.radius * signs))

        return jax.lax.fori_loop(0, self.queries, query, found)
