"""Measures by attacks of fixed strength: shares of points that keep their class.

Robust accuracy and prediction stability (Wu et al., arXiv 2010.01279) share their candidates: the points that an attack
on the *predicted* class tries, by default the iterates of PGD that climbs minus its margin, from the input and from a
random point. A point is stable if no candidate has another class than the input; it is robust if no candidate, the
input included, has another class than the true one. Where the input has the true class the two are one condition, and
where it hasn't the point is not robust, so

    {robust} = {natural} ∩ {stable},    Nat + Stab − 1 ≤ Rob ≤ min(Nat, Stab),

exactly and for every network. Attacks find some points and not all: both shares are upper bounds.
"""

from __future__ import annotations

import jax

from ntkrobust.checks import shown
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.finite.attacks.margin_pgd import MarginPGD
from ntkrobust.finite.measures.attacked import INSIDE, USUAL, Attacking, Points, points
from ntkrobust.finite.measures.naming import attack_in_name, in_small_letters
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.sources import WU

BALLS = {"linf": r"B_\infty(x,\varepsilon)", "l2": r"B_2(x,\varepsilon)", "l1": r"B_1(x,\varepsilon)"}


class ShareKept(Attacking):
    """A share of test points, by an attack on the predicted class.

    Attributes:
        attack: which, an object of :mod:`ntkrobust.attacks` or of one's own; its norm is that of the ball.
        epsilon, by_attack: see :class:`~ntkrobust.finite.measures.attacked.Attacking`.
    """

    attack: Attack = USUAL
    dims = ()

    def __post_init__(self) -> None:
        """Check the attack too."""
        super().__post_init__()
        if not isinstance(self.attack, Attack):
            raise InputError(
                f"attack of {type(self).__name__} must be an attack, such as ntkrobust.attacks.PGD(steps=20), "
                f"got {shown(self.attack)}"
            )

    def _class_name(self) -> str:
        what = "_by_pgd" if self.by_attack else ""
        return in_small_letters(type(self).__name__) + attack_in_name(self.attack, USUAL, what)

    @property
    def candidates(self) -> str:
        """What the attack tries, as the end of a text in LaTeX."""
        attack, ball = self.attack, BALLS[self.attack.norm]
        if isinstance(attack, MarginPGD):
            return rf"at every PGD iterate in }} {ball}"
        name = type(attack).__name__.replace("_", r"\_")
        return rf"at every point that {name} tries in }} {ball}"

    @property
    def attacked(self) -> str:
        """The attack in words."""
        attack = self.attack
        said = f"{attack!r} against the predicted class"
        if isinstance(attack, MarginPGD):
            runs = {1: "one run", 2: "two runs"}.get(attack.restarts, f"{attack.restarts} runs")
            said = f"{runs} of PGD against the predicted class, {attack.steps} steps each"
        return f"{said}, the same candidates for both, {INSIDE}"

    @property
    def source(self) -> str:
        """The attack, and what the number is meant as."""
        return self.meant(self.attacked)

    def points(self, probe: Probe, has_labels: bool = True) -> Points:
        """What the attack says of each test point."""
        return points(probe, self.attack, self.epsilon, has_labels)


class RobustAccuracy(ShareKept):
    """Share of points that no candidate takes from the true class."""

    needs = ("y_test", "epsilon")
    of_classes = True

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return r"\text{share of points whose true class is predicted, and kept " + self.candidates

    def compute(self, probe: Probe) -> jax.Array:
        """The share."""
        points = self.points(probe)
        return points.share(points.is_robust)


class StabilityGivenCorrect(ShareKept):
    """Share, among the points with the true class, of those that no candidate takes from it: Rob/Nat."""

    needs = ("y_test", "epsilon")
    of_classes = True

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return (
            r"\mathrm{Rob}/\mathrm{Nat} \text{: of the points whose true class is predicted, the share that keeps it "
            + self.candidates
        )

    def compute(self, probe: Probe) -> jax.Array:
        """The ratio of two shares."""
        points = self.points(probe)
        assert points.is_natural is not None
        return points.share(points.is_robust) / points.share(points.is_natural)


class PredictionStability(ShareKept):
    """Share of points that no candidate takes from the predicted class."""

    @property
    def definition(self) -> str:
        """In LaTeX."""
        return r"\text{share of points whose predicted class is kept " + self.candidates

    @property
    def source(self) -> str:
        """The paper, the attack, and what the number is meant as."""
        return self.meant(f"{WU}; {self.attacked}")

    def compute(self, probe: Probe) -> jax.Array:
        """The share."""
        points = self.points(probe, has_labels=False)
        return points.share(points.is_stable)
