"""What the words of a statement leave open, when networks are compared, and what it assumes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ntkrobust.errors import InputError

TIMES = ("initialization", "equal scaled time", "equal time", "equal loss")
FUNCTIONALS = ("mean", "geometric mean")


@dataclasses.dataclass(frozen=True)
class Reading:
    """When networks are compared, and what is averaged over them: a statement's words leave both open.

    Trained networks follow gradient descent with η ≤ 1/λ_max, λ_max at initialization; outside the lazy regime that is
    not gradient flow at the same t.

    Attributes:
        time: ``initialization``; ``equal scaled time``: after t with t·λ_max = value, λ_max being the largest
            eigenvalue of that network's own empirical NTK at initialization; ``equal time``: at one gradient-flow
            time for all, given as a multiple of 1/λ_max of the first cell of the grid; ``equal loss``: when the
            training loss first reaches this fraction of ½Σ‖y‖².
        value: the number that goes with the time.
        functional: over initializations, the ``mean`` or the ``geometric mean``. Depth moves them differently.
        budget: gradient-descent steps that a network may take to get there.

    Raises:
        InputError: an unknown time or functional, or a value that is missing or not positive.
    """

    time: str = "initialization"
    value: float | None = None
    functional: str = "mean"
    budget: int = 2000

    def __post_init__(self) -> None:
        if self.time not in TIMES:
            raise InputError(f"the time of a reading is one of {', '.join(TIMES)}, got {self.time!r}")
        if self.functional not in FUNCTIONALS:
            raise InputError(f"the functional of a reading is one of {', '.join(FUNCTIONALS)}, got {self.functional!r}")
        if (self.time == "initialization") != (self.value is None):
            raise InputError(f"the reading {self.time!r} {'takes no' if self.value is not None else 'needs a'} value")
        if self.value is not None and not self.value > 0:
            raise InputError(f"the value of the reading {self.time!r} must be positive, got {self.value!r}")

    def __str__(self) -> str:
        when = {
            "initialization": "at initialization",
            "equal scaled time": f"after t = {self.value:g}/λ_max of each network" if self.value else "",
            "equal time": f"after one t for all, {self.value:g}/λ_max of the first cell" if self.value else "",
            "equal loss": f"at training loss {self.value:g}·½Σ‖y‖²" if self.value else "",
        }[self.time]
        return when if self.functional == "mean" else f"{when}, {self.functional}"


AT_INITIALIZATION = Reading()


@dataclasses.dataclass(frozen=True)
class Assumption:
    """A condition of a statement, checked on every cell; cells where it fails don't count.

    Attributes:
        text: what is assumed.
        holds: a function of named coordinates of a cell, or of cell averages of measures by their names.
        measures: those measures.
    """

    text: str
    holds: Callable[..., bool]
    measures: tuple[str, ...] = ()
