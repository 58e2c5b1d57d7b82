"""Measures by certificates: shares of points that surely keep their class, from below, and slopes from above.

Attacks bound the same shares from above: what is between the two numbers is not known. The certificates hold for the
networks as float32 evaluates them (:mod:`ntkrobust.finite.certificates.bounds`).
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_choice
from ntkrobust.finite.attacks import classes
from ntkrobust.finite.certificates import eclipse
from ntkrobust.finite.certificates.bounds import METHODS, Method
from ntkrobust.finite.certificates.programs import Certified, Setting, certified
from ntkrobust.finite.measures.attacked import is_natural
from ntkrobust.finite.measures.base import Measure, Side, number
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.robustness import BALLS
from ntkrobust.norms import Norm, check_norm
from ntkrobust.numerics.precision import TRAINING_DTYPE

SOURCE = (
    "linear bounds backward through all layers (CROWN, Zhang et al., arXiv 1811.00866), or intervals; rounding of "
    "float32 included"
)


class Certifying(Measure):
    """What is measured by a certificate, within the range of the data.

    Attributes:
        epsilon: radius, in the units of x; None for that of the call.
        norm: ``"linf"``, ``"l2"`` or ``"l1"``.
        method: ``"crown"``, ``"crown-interval"`` or ``"interval"``, see :func:`ntkrobust.certify`.
    """

    epsilon: float | None = number(default=None)
    norm: Norm = "linf"
    method: Method = "crown"

    needs: ClassVar[tuple[str, ...]] = ("epsilon",)
    side: ClassVar[Side] = "lower"
    source = SOURCE

    def __post_init__(self) -> None:
        """Check the norm and the method too."""
        super().__post_init__()
        check_norm(self.norm)
        check_choice(f"method of {type(self).__name__}", self.method, METHODS)

    @property
    def dims(self) -> tuple[str, ...]:
        """A number for each network."""
        return ()

    def _margin(self, probe: Probe) -> jax.Array:
        """Lower ends (n',) of the margins of the predicted classes."""
        return probe.once(_found, self.epsilon, Setting(self.norm, self.method, evaluated=True)).margin[:, 0]

    @property
    def ball(self) -> str:
        """In LaTeX."""
        return BALLS[self.norm]


class CertifiedAccuracy(Certifying):
    """Share of points whose true class is predicted, and kept everywhere in the ball."""

    needs = ("y_test", "epsilon")
    of_classes = True

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return rf"\text{{share of points whose true class is predicted everywhere in }} {self.ball}"

    def compute(self, probe: Probe) -> jax.Array:
        """The share for which it is certified."""
        margin = self._margin(probe)
        return _share(margin, is_natural(probe) & (margin > 0))


class CertifiedStability(Certifying):
    """Share of points whose predicted class is kept everywhere in the ball."""

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return rf"\text{{share of points whose predicted class is kept everywhere in }} {self.ball}"

    def compute(self, probe: Probe) -> jax.Array:
        """The share for which it is certified."""
        margin = self._margin(probe)
        return _share(margin, margin > 0)


def _found(probe: Probe, epsilon: jax.Array, setting: Setting) -> Certified:
    """Certificates in balls of one radius, with margins (n, 1) of the predicted classes."""
    radius = jnp.broadcast_to(epsilon, len(probe.x))
    label = classes.predicted(probe.outputs.T)[:, None]
    return certified(setting, probe.model, probe.scales, probe.parameters, probe.x, radius, probe.domain, label)


def _share(margin: jax.Array, holds: jax.Array) -> jax.Array:
    """The share of points for which something holds; NaN where a margin is no number."""
    return jnp.where(jnp.isnan(margin).any(), jnp.nan, jnp.mean(holds, dtype=TRAINING_DTYPE))


class _SlopeCertifying(Measure):
    """What bounds of Jacobians say of each point, within the range of the data.

    Attributes:
        epsilon, method: see :class:`Certifying`.
    """

    epsilon: float | None = number(default=None)
    method: Method = "crown"

    needs: ClassVar[tuple[str, ...]] = ("epsilon",)
    side: ClassVar[Side] = "upper"
    dims = ("point",)
    source = "intervals of all entries of the Jacobian in the ball, from linear bounds of the pre-activations"

    def __post_init__(self) -> None:
        """Check the method too."""
        super().__post_init__()
        check_choice(f"method of {type(self).__name__}", self.method, METHODS)

    def found(self, probe: Probe) -> Certified:
        """The certificates, in exact arithmetic."""
        return probe.once(_found, self.epsilon, Setting("linf", self.method, evaluated=False, slopes=True))


class LocalLipschitzUpper(_SlopeCertifying):
    """How much a network changes between two points near each other, at most."""

    definition = r"\max_{x' \in B_\infty(x,\varepsilon)} \|f(x) - f(x')\|_1/\|x - x'\|_\infty"

    def compute(self, probe: Probe) -> jax.Array:
        """Σ_{k,i} of the largest sizes of J_ki in the ball, (n',)."""
        found = self.found(probe).lipschitz
        assert found is not None
        return found


class KlGradientUpper(_SlopeCertifying):
    """The steepest that the divergence of predictions is anywhere near a point, at most; see :class:`KlGradient`."""

    definition = r"\max_{x' \in B_\infty(x,\varepsilon)} \|\nabla_{x'} \mathrm{KL}(p(x)\,\|\,p(x'))\|_1"

    def compute(self, probe: Probe) -> jax.Array:
        """From bounds on p(x') − p(x) and on J, (n',)."""
        found = self.found(probe).kl_gradient
        assert found is not None
        return found


class LipschitzUpperEclipse(Measure):
    """The global constant in ℓ2, below the product of norms."""

    definition = r"\sup_{x \ne x'} \|f(x) - f(x')\|_2/\|x - x'\|_2"
    dims = ()
    side = "upper"
    fully_connected = True
    source = "ECLipsE-Fast (Xu and Sivaranjani, arXiv 2404.04375), rounded up; slopes in [0, c], so not for gelu"

    def compute(self, probe: Probe) -> jax.Array:
        """The bound."""
        return eclipse.lipschitz_upper(probe.model, probe.scales, probe.parameters)
