"""What adversarial training is asked to do: the adversary, as a description that nothing has to be computed for."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import (
    MOST_STEPS,
    check_choice,
    check_flag,
    check_integer,
    check_not_negative,
    check_number,
    check_positive,
    shown,
)
from ntkrobust.domain import Domain, check_bounds
from ntkrobust.errors import InputError
from ntkrobust.norms import Norm, check_norm
from ntkrobust.values import Shown

RegularizerKind = Literal["generalized", "trades", "jacobian", "interval"]

OBJECTIVES = ("generalized", "trades", "jacobian", "interval")

End = float | tuple[float, ...]
"""One end of a range: a number for all coordinates, or one for each."""

REACH = 2.5
"""By default the steps of the attack add up to this many radii, so that it can cross the ball (Madry et al. 2018)."""


@dataclasses.dataclass(frozen=True)
class Adversary(Shown):
    """An adversary to train against, and how much it counts.

    With x' the last iterate of projected gradient ascent in the ball ‖x' − x‖ ≤ ε, and all sums over samples, training
    minimizes

    - ``"generalized"``: L_nat + λ·(L(f(x'), y) − L_nat), where x' ascends the loss. λ = 0 is natural training, λ = 1
      adversarial training (Madry et al., arXiv 1706.06083), other λ generalized adversarial training (Wu et al., arXiv
      2010.01279).
    - ``"trades"``: L_nat + λ·KL(f(x) ‖ f(x')), where x' ascends the divergence (Zhang et al., arXiv 1901.08573, their
      1/λ). For the squared loss ½‖f(x) − f(x')‖², the divergence of Gaussians of variance 1 about the outputs, of
      which ½‖f − y‖² is the likelihood.
    - ``"jacobian"``: L_nat + λ·Σ‖J(x)‖_F² (Drucker and Le Cun 1992; Hoffman et al., arXiv 1908.02729). No point is
      attacked: norm, radius and steps are not used.
    - ``"interval"``: L_nat + λ·(L_int − L_nat), L_int the loss at the worst outputs that interval bounds allow in the
      ball (Gowal et al., arXiv 1810.12715). It is not below the loss of any attack: what is trained for is what
      :func:`ntkrobust.certify` can show. For fully connected networks with relu, leaky_relu, linear, tanh or erf. No
      point is attacked: steps are not used.

    Attributes:
        epsilon: radius ε ≥ 0 in the units of x.
        strength: λ ≥ 0.
        norm: ``"linf"``, ``"l2"`` or ``"l1"``.
        objective: one of the four.
        steps: of projected ascent, at least 1.
        step_size: length of each, in the norm; None for 2.5·ε/steps.
        random_start: whether ascent begins at a uniform point of the ball, or at x.
        bounds: smallest and largest value that an entry of an input may have, numbers or one for each coordinate; None
            for those of the data. They can narrow the range of the data and never widen it.

    Raises:
        InputError: a number is out of its range, a name is unknown, or ``"trades"`` is to start at x, where the
            divergence has no gradient.
    """

    epsilon: float
    strength: float = 1.0
    norm: Norm = "linf"
    objective: RegularizerKind = "generalized"
    steps: int = 7
    step_size: float | None = None
    random_start: bool = True
    bounds: tuple[End, End] | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "epsilon": check_not_negative("epsilon", self.epsilon),
            "strength": check_not_negative("strength", self.strength),
            "norm": check_norm(self.norm),
            "steps": check_integer("steps of an adversary", self.steps, 1, maximum=MOST_STEPS),
            "bounds": _check_bounds(self.bounds),
        }
        if self.step_size is not None:
            checked["step_size"] = check_positive("step_size", self.step_size)
        check_choice("objective of an adversary", self.objective, OBJECTIVES)
        checked["random_start"] = check_flag("random_start", self.random_start)
        if self.objective == "trades" and not self.random_start:
            raise InputError("'trades' needs random_start=True: at x itself its divergence has no gradient")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def length_of_step(self) -> float:
        """``step_size``, or its default."""
        return REACH * self.epsilon / self.steps if self.step_size is None else self.step_size

    def numbers(self, domain: Domain) -> dict[str, Any]:
        """What enters programs at run time: another value needs no other program.

        Args:
            domain: where it searches, see :meth:`domain`.
        """
        found = {"strength": self.strength, "epsilon": self.epsilon, "step_size": self.length_of_step}
        return {name: np.float32(value) for name, value in found.items()} | domain.arrays()

    def domain(self, data: Domain) -> Domain:
        """Where it searches, on data of this domain.

        Raises:
            InputError: its bounds are of another dimension, or reach beyond the range of the data.
        """
        if self.bounds is None or self.objective == "jacobian":
            return data
        return data.narrowed(self.bounds, what="the adversary's bounds")

    def check_inputs(self, name: str, x: npt.NDArray[np.floating[Any]], data: Domain) -> Domain:
        """The domain of the inputs x (n, d): that of the data, or of the adversary where these have no range.

        Raises:
            InputError: as for :meth:`domain`, or an input is outside of either.
        """
        data.check_points(name, x)
        own = self.domain(data)
        own.check_points(name, x, "the adversary's bounds")
        return own if data.bounds is None else data

    def in_words(self) -> str:
        """The adversary without its strength, for sentences."""
        if self.objective == "jacobian":
            return "the gradient norm"
        norm = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}[self.norm]
        if self.objective == "interval":
            return f"intervals of {norm} balls to {self.epsilon:g}"
        return f"{self.steps} steps of {norm} ascent to {self.epsilon:g}" + (
            " of TRADES" if self.objective == "trades" else ""
        )

    def as_json(self) -> dict[str, Any]:
        """Its fields, as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Adversary:
        """What :meth:`as_json` gave."""
        known = {field.name for field in dataclasses.fields(cls)}
        stray = [name for name in fields if name not in known]
        if stray:
            raise InputError(f"an adversary has no field {shown(stray[0])}, only {', '.join(sorted(known))}")
        if "epsilon" not in fields:
            raise InputError("an adversary needs its radius, epsilon")
        return cls(**fields)


def check_adversary(adversary: object) -> Adversary | None:
    """An adversary, or None.

    Raises:
        InputError: it is something else.
    """
    if adversary is None or isinstance(adversary, Adversary):
        return adversary
    raise InputError(f"adversary must be None or an ntkrobust.Adversary, got {shown(adversary)}")


def _check_bounds(bounds: Any) -> tuple[End, End] | None:
    """As numbers and tuples of numbers, by which adversaries are compared and hashed."""
    if check_bounds(bounds) is None:
        return None
    lower, upper = (_as_end(end) for end in bounds)
    return lower, upper


def _as_end(end: Any) -> End:
    if np.ndim(end):
        return tuple(check_number("each of the bounds", one) for one in np.asarray(end).tolist())
    return check_number("each of the bounds", np.asarray(end).item())
