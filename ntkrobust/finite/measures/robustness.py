"""Measures by attacks of fixed strength: shares of points that keep their class.

Robust accuracy and prediction stability (Wu et al., arXiv 2010.01279) share their candidates: the iterates of PGD that
climbs minus the margin of the *predicted* class, from the input and from a random point. A point is stable if no
candidate has another class than the input; it is robust if no candidate, the input included, has another class than the
true one. Where the input has the true class the two are one condition, and where it hasn't the point is not robust, so

    {robust} = {natural} ∩ {stable},    Nat + Stab − 1 ≤ Rob ≤ min(Nat, Stab),

exactly and for every network. Attacks find some points and not all: both shares are upper bounds.
"""

from __future__ import annotations

import dataclasses

import jax

from ntkrobust.finite.measures import attacked
from ntkrobust.finite.measures.attacked import Attacking, Points
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.sources import WU
from ntkrobust.norms import Norm, check_norm


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Share(Attacking):
    """A share of test points, by an attack in a ball of the norm."""

    norm: Norm = "linf"
    dims = ()
    bounds_from = "upper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm)

    @property
    def name(self) -> str:
        """With the norm, where it is another than ℓ∞."""
        return self.named("" if self.norm == "linf" else f"_{self.norm}")

    @property
    def _ball(self) -> str:
        """The ball, in LaTeX."""
        return f"B_{_IN_LATEX[self.norm]}" r"(x,\varepsilon)"

    def points(self, probe: Probe, has_labels: bool = True) -> Points:
        """What the attack says of each test point."""
        return attacked.points(probe, self.norm, has_labels)


_IN_LATEX = {"linf": r"\infty", "l2": "2", "l1": "1"}


class RobustAccuracy(_Share):
    """Share of points that no candidate takes from the true class."""

    needs = ("y_test", "epsilon")
    of_classes = True

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return (
            rf"\text{{share of points whose true class is predicted, and kept at every PGD iterate in }} {self._ball}"
        )

    def compute(self, probe: Probe) -> jax.Array:
        """The share."""
        points = self.points(probe)
        return points.share(points.is_robust)


class StabilityGivenCorrect(_Share):
    """Share, among the points with the true class, of those that no candidate takes from it: Rob/Nat."""

    needs = ("y_test", "epsilon")
    of_classes = True

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return (
            r"\mathrm{Rob}/\mathrm{Nat} \text{: of the points whose true class is predicted, the share that keeps it "
            rf"at every PGD iterate in }} {self._ball}"
        )

    def compute(self, probe: Probe) -> jax.Array:
        """The ratio of two shares."""
        points = self.points(probe)
        assert points.is_natural is not None
        return points.share(points.is_robust) / points.share(points.is_natural)


class PredictionStability(_Share):
    """Share of points that no candidate takes from the predicted class."""

    origin = WU

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return rf"\text{{share of points whose predicted class is kept at every PGD iterate in }} {self._ball}"

    def compute(self, probe: Probe) -> jax.Array:
        """The share."""
        points = self.points(probe, has_labels=False)
        return points.share(points.is_stable)
