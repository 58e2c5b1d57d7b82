"""A measure of one's own in a file of its own: by how much outputs exceed a limit, on average."""

import jax.numpy as jnp

import ntkrobust as ntr


class Excess(ntr.Measure):
    r"""$\mathrm{mean}_x \max(\|f(x)\|_2 - s, 0)$."""

    limit: float = ntr.measures.number(default=1.0)

    dims = ()
    side = "exact"
    source = "tests"

    def compute(self, probe):
        """The mean over the test points."""
        return jnp.mean(jnp.maximum(jnp.linalg.norm(probe.outputs, axis=-1) - self.limit, 0))
