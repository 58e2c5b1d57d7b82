"""Measures by certificates: shares of points that surely keep their class, from below.

Attacks bound the same shares from above: what is between the two numbers is not known. The certificates hold for the
networks as float32 evaluates them (:mod:`ntkrobust.finite.certificates.bounds`).
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_choice
from ntkrobust.finite.attacks import classes
from ntkrobust.finite.certificates.bounds import METHODS, Method
from ntkrobust.finite.certificates.programs import Setting, certified
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
        margin = probe.once(_margins, self.epsilon, self.norm, self.method)
        return _share(margin, is_natural(probe) & (margin > 0))


class CertifiedStability(Certifying):
    """Share of points whose predicted class is kept everywhere in the ball."""

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return rf"\text{{share of points whose predicted class is kept everywhere in }} {self.ball}"

    def compute(self, probe: Probe) -> jax.Array:
        """The share for which it is certified."""
        margin = probe.once(_margins, self.epsilon, self.norm, self.method)
        return _share(margin, margin > 0)


def _margins(probe: Probe, epsilon: jax.Array, norm: Norm, method: Method) -> jax.Array:
    """Lower ends (n,) of the margins of the predicted classes."""
    radius = jnp.broadcast_to(epsilon, len(probe.x))
    label = classes.predicted(probe.outputs.T)[:, None]
    found = certified(
        Setting(norm, method, evaluated=True), probe.model, probe.scales, probe.parameters, probe.x, radius,
        probe.domain, label,
    )  # fmt: skip
    return found.margin[:, 0]


def _share(margin: jax.Array, holds: jax.Array) -> jax.Array:
    """The share of points for which something holds; NaN where a margin is no number."""
    return jnp.where(jnp.isnan(margin).any(), jnp.nan, jnp.mean(holds, dtype=TRAINING_DTYPE))
