"""A network of one's own in a file of its own: random Fourier features whose frequencies are trained."""

import dataclasses

import jax
import jax.numpy as jnp

import ntkrobust as ntr


@dataclasses.dataclass(frozen=True)
class RandomFeatures(ntr.Network):
    r"""$f(x) = \sqrt{2/m}\sum_k v_k\cos(w_k^T x + b_k)$ with v, w ~ N(0, 1) and b uniform on [0, 2π)."""

    width: int = 32
    d_out: int = 1

    def draw(self, key, d_in):
        """v (o, m), w (m, d), b (m,)."""
        last, frequencies, phases = jax.random.split(key, 3)
        return {
            "v": jax.random.normal(last, (self.d_out, self.width)),
            "w": jax.random.normal(frequencies, (self.width, d_in)),
            "b": jax.random.uniform(phases, (self.width,), maxval=2 * jnp.pi),
        }

    def apply(self, parameters, x):
        """f(x) (n, o)."""
        features = jnp.cos(x @ parameters["w"].T + parameters["b"])
        return jnp.sqrt(2 / self.width) * features @ parameters["v"].T
