"""Measures of the input Jacobian J(x) = ∂f/∂x."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ntkrobust.finite.measures import stability
from ntkrobust.finite.measures.accuracy import output_rms
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.sources import ZHU
from ntkrobust.numerics import scaling
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.scaling import Scaled


class PerturbationStability(Measure):
    """How much a network changes under random perturbations, to first order."""

    dims = ("point",)
    definition = (
        r"P(f,\varepsilon)/\varepsilon = E_{\hat x}\,\|J(x)(\hat x - x)\|_2/\varepsilon,\ "
        r"\hat x \sim \mathrm{Unif}(B_2(x,\varepsilon))"
    )
    source = ZHU

    def compute(self, probe: Probe) -> jax.Array:
        """P/ε (n',)."""
        return probe.stability


class NormalizedPerturbationStability(Measure):
    r"""$P(f,\varepsilon)/(\varepsilon\,\mathrm{rms}_x\|f(x)\|_2)$."""

    dims = ("point",)
    source = f"{ZHU}, with the scale of the output divided out"

    def compute(self, probe: Probe) -> jax.Array:
        """P/ε over the size of the output, (n',)."""
        return probe.stability / output_rms(probe)


class JacobianFrobenius(Measure):
    r"""$\|J(x)\|_F$."""

    dims = ("point",)

    def compute(self, probe: Probe) -> jax.Array:
        """‖J(x)‖_F (n',)."""
        return _squares(probe).root


class JacobianFrobeniusMax(Measure):
    r"""$\max_x \|J(x)\|_F$."""

    dims = ()

    def compute(self, probe: Probe) -> jax.Array:
        """The largest ‖J(x)‖_F over the test points."""
        return jnp.max(_squares(probe).root)


class JacobianFrobeniusSq(Measure):
    r"""$\|J(x)\|_F^2$."""

    dims = ("point",)

    def compute(self, probe: Probe) -> Scaled:
        """‖J(x)‖_F² (n',)."""
        return _squares(probe).scaled()


class JacobianFrobeniusFourth(Measure):
    r"""$\|J(x)\|_F^4$."""

    dims = ("point",)

    def compute(self, probe: Probe) -> Scaled:
        """‖J(x)‖_F⁴ (n',)."""
        return _squares(probe).scaled(2)


class JacobianSpectral(Measure):
    r"""$\|J(x)\|_2$."""

    dims = ("point",)

    def compute(self, probe: Probe) -> jax.Array:
        """‖J(x)‖₂ (n',)."""
        return stability.largest_singular_value(probe.jacobian)


class JacobianIsZero(Measure):
    r"""$1[J(x) = 0]$."""

    dims = ("point",)

    def compute(self, probe: Probe) -> jax.Array:
        """1 where every entry of J(x) is zero, (n',); NaN where one is no number."""
        jacobian = probe.jacobian
        is_zero = jnp.all(jacobian == 0, axis=(-2, -1)).astype(TRAINING_DTYPE)
        return jnp.where(jnp.isnan(jacobian).any(axis=(-2, -1)), jnp.nan, is_zero)


def _squares(probe: Probe) -> scaling.SumOfSquares:
    """‖J(x)‖_F² (n',)."""
    return scaling.sum_of_squares(probe.jacobian, (-2, -1))
