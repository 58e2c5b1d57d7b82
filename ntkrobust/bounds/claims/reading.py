"""What the words of a statement leave open, when networks are compared, and what it assumes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ntkrobust.adversary import Adversary
from ntkrobust.checks import MOST_STEPS, check_choice, check_integer, check_positive, check_sequence, check_text, shown
from ntkrobust.errors import InputError
from ntkrobust.values import Shown, Value

TIMES = ("initialization", "equal scaled time", "equal time", "equal loss", "fixed steps", "converged")
WITHOUT_VALUE = ("initialization", "converged")
OPTIMIZERS = ("gd", "momentum", "adam", "gradient_flow")
FLOW_TIMES = ("equal scaled time", "equal time")
"""Readings at a time, which is that of gradient flow whatever the size of its steps."""
CHOSEN_TIMES = ("equal scaled time", "equal time", "equal loss")
"""Readings whose value a pilot may choose among alternatives."""
AUTOMATIC = ("gd", "gradient_flow")
"""The optimizers for which ``"auto"`` finds a learning rate."""
FUNCTIONALS = ("mean", "geometric mean")
LOSSES = ("squared", "cross_entropy")


@dataclasses.dataclass(frozen=True)
class Reading(Shown):
    """When networks are compared, and what is averaged over them: a statement's words leave both open.

    A time, and a loss unless steps of an optimizer are asked for, is that of gradient flow: its steps are halved until
    the measures of a few networks stand still, and what they still moved by goes into the interval
    (:mod:`ntkrobust.studies.time_error`). Outside the lazy regime gradient descent with η = 1/λ_max is elsewhere at
    the same t, and in another place at the same loss.

    Attributes:
        time: ``initialization``; ``equal scaled time``: after t with t·λ_max = value, λ_max being the largest
            eigenvalue of that network's own empirical NTK at initialization; ``equal time``: at one gradient-flow
            time for all, given as a multiple of 1/λ_max of the first cell of the grid (for a trend, of the first along
            its axis); ``equal loss``: when the training loss first reaches this fraction of ½Σ‖y‖²; ``fixed steps``:
            after so many steps of the optimizer, whatever the loss; ``converged``: t = ∞, which closed forms know and
            networks do not.
        value: the number that goes with the time.
        functional: over initializations, the ``mean`` or the ``geometric mean``. Depth moves them differently.
        budget: steps that a network may take to get there; under gradient flow those it tries, and twice as many each
            time its steps are halved.
        optimizer: ``"gd"``, ``"momentum"``, ``"adam"`` or ``"gradient_flow"``; see :func:`ntkrobust.train`. By default
            ``"gradient_flow"`` at a time and at a loss, and ``"gd"`` after steps, and at a loss where a learning rate
            or a batch size is given.
        learning_rate: of that optimizer, on a loss that is a sum over samples; ``"auto"`` for ``"gd"`` and
            ``"gradient_flow"``, for which a number is the first step tried.
        loss: ``"squared"`` or ``"cross_entropy"``.
        batch_size: samples per step; None for all.
        adversary: what networks are trained against, if they are: an :class:`~ntkrobust.Adversary`, or its fields. An
            axis ``strength`` of the grid takes the place of its strength.

    Raises:
        InputError: an unknown time, functional, optimizer or loss, a value that is missing or not positive, a rate or
            time that the optimizer does not know, batches under gradient flow, or an adversary without a number of
            steps at which to look.
    """

    time: str = "initialization"
    value: float | None = None
    functional: str = "mean"
    budget: int = 2000
    optimizer: str | None = None
    learning_rate: float | str = "auto"
    loss: str = "squared"
    batch_size: int | None = None
    adversary: Adversary | None = None

    def __post_init__(self) -> None:
        check_choice("the time of a reading", self.time, TIMES)
        check_choice("the functional of a reading", self.functional, FUNCTIONALS)
        check_integer("the budget of a reading", self.budget, 1, maximum=MOST_STEPS)
        if (self.time in WITHOUT_VALUE) != (self.value is None):
            raise InputError(f"the reading {self.time!r} {'takes no' if self.value is not None else 'needs a'} value")
        if self.value is not None:
            check_positive(f"the value of the reading {self.time!r}", self.value)
        if self.time == "fixed steps":
            object.__setattr__(self, "value", _whole_steps(self.value))
            object.__setattr__(self, "budget", self.value)
        self._check_optimizer()
        check_choice("the loss of a reading", self.loss, LOSSES)
        if self.batch_size is not None:
            check_integer("the batch size of a reading", self.batch_size, 1)
        self._check_adversary()

    def _check_adversary(self) -> None:
        if self.adversary is None:
            return
        if isinstance(self.adversary, Mapping):
            object.__setattr__(self, "adversary", Adversary.from_json(dict(self.adversary)))
        if not isinstance(self.adversary, Adversary):
            raise InputError(f"the adversary of a reading must be an Adversary or None, got {shown(self.adversary)}")
        if self.time != "fixed steps":
            raise InputError("networks trained against an adversary are read after fixed steps")

    def _check_optimizer(self) -> None:
        automatic = isinstance(self.learning_rate, str) and self.learning_rate == "auto"
        if self.optimizer is None:
            in_steps = not automatic or self.batch_size is not None
            follows_flow = self.time in FLOW_TIMES or (self.time == "equal loss" and not in_steps)
            object.__setattr__(self, "optimizer", "gradient_flow" if follows_flow else "gd")
        check_choice("the optimizer of a reading", self.optimizer, OPTIMIZERS)
        if self.time in FLOW_TIMES and self.optimizer != "gradient_flow":
            raise InputError(
                f"the reading {self.time!r} is at a time of gradient flow, which steps of {self.optimizer!r} only come "
                "near: leave the optimizer out, or read it after fixed steps"
            )
        if automatic and self.optimizer not in AUTOMATIC:
            raise InputError(f"a reading with the optimizer {self.optimizer!r} needs a learning rate")
        if self.optimizer == "gradient_flow":
            if self.time == "fixed steps":
                raise InputError("gradient flow chooses its own steps: read it at a time or at a loss")
            if self.batch_size is not None:
                raise InputError("gradient flow is that of the full loss: a reading of it takes no batch size")
        if not automatic:
            object.__setattr__(
                self, "learning_rate", check_positive("the learning rate of a reading", self.learning_rate)
            )

    def __str__(self) -> str:
        when = {
            "initialization": "at initialization",
            "equal scaled time": f"after t = {self.value:g}/λ_max of each network" if self.value else "",
            "equal time": f"after one t for all, {self.value:g}/λ_max of the first cell" if self.value else "",
            "equal loss": f"at training loss {self.value:g}·½Σ‖y‖²" if self.value else "",
            "fixed steps": f"after {self.value} steps",
            "converged": "at t = ∞",
        }[self.time]
        # A time and a loss are those of gradient flow where nothing else is said.
        if self.optimizer != "gradient_flow" and self.time not in WITHOUT_VALUE:
            when += f" of {'gradient descent' if self.optimizer == 'gd' else self.optimizer}"
        if self.learning_rate != "auto":
            when += f" at rate {self.learning_rate:g}"
        if self.loss != "squared":
            when += f" on the {self.loss.replace('_', ' ')}"
        if self.batch_size is not None:
            when += f" in batches of {self.batch_size}"
        if self.adversary is not None:
            when += f" against {self.adversary.in_words()}"
        return when if self.functional == "mean" else f"{when}, {self.functional}"


def _whole_steps(value: object) -> int:
    return check_integer("the value of the reading 'fixed steps'", value, 1, maximum=MOST_STEPS)


AT_INITIALIZATION = Reading()


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Assumption(Value):
    """A condition of a statement, checked on every cell; cells where it fails don't count.

    Attributes:
        text: what is assumed.
        holds: a function of named coordinates of a cell, or of cell averages of measures by their names.
        measures: those measures: names, objects, or functions, as a claim takes them.
    """

    text: str
    holds: Callable[..., bool]
    measures: tuple[str | Callable[..., Any] | Any, ...] = ()

    def __post_init__(self) -> None:
        check_text("the text of an assumption", self.text)
        if not callable(self.holds):
            raise InputError(f"an assumption holds where a function says so, got {shown(self.holds)}")
        if isinstance(self.measures, str) or not all(
            isinstance(one, str) or name_of(one).isidentifier()
            for one in check_sequence(self.measures, "the measures of an assumption")
        ):
            raise InputError(
                f"the measures of an assumption must be names of measures, or measures with names, got "
                f"{shown(self.measures)}"
            )
        object.__setattr__(self, "measures", tuple(self.measures))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its measures, which are those of the arguments of ``holds``."""
        return tuple(map(name_of, self.measures))


def name_of(measure: Any) -> str:
    """The name of a measure: itself, its own or its function's; where it has none, "", or one that no variable has."""
    if isinstance(measure, str):
        return measure
    return str(getattr(measure, "name", "") or getattr(measure, "__name__", ""))
