"""What a statement can say about a measure on a grid of cells. Only the form; how it is judged is in ``verdict.py``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from numbers import Real
from typing import Literal

from ntkrobust.bounds.claims.expressions import Expression
from ntkrobust.checks import check_number, check_text, shown
from ntkrobust.errors import InputError
from ntkrobust.values import Value

Formula = Callable[..., float]
"""A plain function of named coordinates of a cell (``depth``, ``width``, ``d_in``, …): it names those it needs."""

Stated = Formula | float | str
"""What a relation takes for one: a number stands for itself, and a text is an :class:`Expression`."""

FLAT = 0.05
"""A relative change over the whole range up to which a power law counts as flat, unless it says otherwise."""

OVER = ("range", "neighbours")
"""What an exponent is read over."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Equals(Value):
    """E[measure] = value, to within a relative margin.

    Attributes:
        value: the value stated for a cell: a function of its coordinates, a number, or a text.
        margin: the statement counts as true where |E[measure]/value − 1| ≤ margin.
    """

    value: Stated
    margin: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", as_formula("the value", self.value))
        _check_margin(self.margin)

    def __str__(self) -> str:
        return f"equals, to within {self.margin:.0%}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AtMost(Value):
    """E[measure] ≤ bound in every cell, with an explicit constant.

    Attributes:
        bound: the bound stated for a cell: a function of its coordinates, a number, or a text.
    """

    bound: Stated

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", as_formula("the bound", self.bound))

    def __str__(self) -> str:
        return "at most"

    @staticmethod
    def says_nothing(bound: float) -> bool:
        """Whether every number meets this bound."""
        return bound == math.inf


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AtLeast(Value):
    """E[measure] ≥ bound in every cell, with an explicit constant.

    Attributes:
        bound: the bound stated for a cell: a function of its coordinates, a number, or a text.
    """

    bound: Stated

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", as_formula("the bound", self.bound))

    def __str__(self) -> str:
        return "at least"

    @staticmethod
    def says_nothing(bound: float) -> bool:
        """Whether every number that is not negative, as measures are, meets this bound."""
        return bound <= 0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Order(Value):
    """A bound on E[measure] up to a constant C that the statement leaves open: OrderAtMost or OrderAtLeast.

    No finite range can prove or disprove that; what can be seen is whether measured/bound still grows (falls, for a
    lower bound) at the far end of an axis, which no constant survives if it goes on.

    Attributes:
        bound: the form of the bound, without its constant.
        growth: measured/bound counts as growing along an axis where it rises by more than this factor per doubling over
            the last three doublings (the last four values, if they are fewer doublings apart), and as falling where it
            falls by more.
    """

    bound: Stated
    growth: float = 1.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", as_formula("the bound", self.bound))
        if check_number("a growth per doubling", self.growth) <= 1:
            raise InputError(f"a growth per doubling is a factor above 1, got {self.growth!r}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class OrderAtMost(Order):
    """E[measure] ≤ C·bound for some constant C; see :class:`Order`."""

    def __str__(self) -> str:
        return "at most a constant times"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class OrderAtLeast(Order):
    """E[measure] ≥ C·bound for some constant C > 0; see :class:`Order`."""

    def __str__(self) -> str:
        return "at least a constant times"


@dataclasses.dataclass(frozen=True)
class ScalesAs:
    """E[measure] ∝ axis^power.

    Attributes:
        axis: a numeric grid axis.
        power: the exponent p.
        margin: the statement counts as true where the exponent is p ± margin.
        over: what the exponent is read over. ``"range"``: it is the slope of log E[measure] on log axis over the whole
            range, all values weighing the same. ``"neighbours"``: it has to be p ± margin between any two consecutive
            values, so that a curve that bends is not taken for a power.
        flat: where neither is shown, the measure is ``flat`` if it is shown to change by less than this, as a relative
            change: along the slope over the whole range, or between any two values.
    """

    axis: str
    power: float
    margin: float = 0.1
    over: Literal["range", "neighbours"] = "range"
    flat: float = FLAT

    def __post_init__(self) -> None:
        _check_margin(self.margin)
        check_text("the axis of a relation", self.axis)
        check_number("an exponent", self.power)
        _check_margin(self.flat)
        if not isinstance(self.over, str) or self.over not in OVER:
            raise InputError(f"an exponent is read over {' or '.join(map(repr, OVER))}, got {shown(self.over)}")

    def __str__(self) -> str:
        between = "" if self.over == "range" else ", between any two consecutive values"
        return f"scales as {self.axis}^{self.power:g}, exponent to within {self.margin:g}{between}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Turns(Value):
    """E[measure] first changes in one direction along an axis, then in the other; see :func:`RisesThenFalls`.

    Attributes:
        axis: a numeric grid axis.
        sign: +1 for a rise and then a fall, −1 for a fall and then a rise.
        margin: relative change against the stated direction that is still put up with on either side.
        at: where the statement says that it turns, if it does: a formula of a cell's coordinates, to be compared with
            the estimated turning point.
        flat: where nothing else is shown, the measure is ``flat`` if it is shown to change by less than this between
            any two cells, as a relative change; the margin, if None.
    """

    axis: str
    sign: int
    margin: float = 0.05
    at: Stated | None = None
    flat: float | None = None

    def __post_init__(self) -> None:
        _check_margin(self.margin)
        check_text("the axis of a relation", self.axis)
        if self.at is not None:
            object.__setattr__(self, "at", as_formula("the turning point", self.at))
        if self.flat is not None:
            _check_margin(self.flat)

    def __str__(self) -> str:
        first, then = ("increases", "decreases") if self.sign > 0 else ("decreases", "increases")
        return f"{first}, then {then} in {self.axis}"


@dataclasses.dataclass(frozen=True)
class Trend:
    """E[measure] changes in one direction along an axis; see :func:`IncreasesIn` and :func:`DecreasesIn`.

    Attributes:
        axis: the grid axis, ``width`` or ``depth``.
        sign: +1 for increasing, −1 for decreasing.
        margin: relative change against the stated direction, between any two cells, that is still put up with; the
            change over the whole range has to go the stated way whatever the margin.
        flat: where nothing else is shown, the measure is ``flat`` if it is shown to change by less than this between
            any two cells, as a relative change; the margin, if None.
    """

    axis: str
    sign: int
    margin: float = 0.05
    flat: float | None = None

    def __post_init__(self) -> None:
        _check_margin(self.margin)
        if self.flat is not None:
            _check_margin(self.flat)

    def __str__(self) -> str:
        return f"{'increases' if self.sign > 0 else 'decreases'} in {self.axis}"


def IncreasesIn(axis: str, margin: float = 0.05, flat: float | None = None) -> Trend:
    """E[measure] increases along ``axis``.

    Args:
        axis: the grid axis: ``width``, ``depth`` or another one that is numeric.
        margin: see :class:`~ntkrobust.bounds.claims.relations.Trend`.
        flat: the same.

    Raises:
        InputError: a margin that is not between 0 and 1.
    """
    return Trend(axis, +1, margin, flat)


def DecreasesIn(axis: str, margin: float = 0.05, flat: float | None = None) -> Trend:
    """E[measure] decreases along ``axis``.

    Args:
        axis: the grid axis: ``width``, ``depth`` or another one that is numeric.
        margin: see :class:`~ntkrobust.bounds.claims.relations.Trend`.
        flat: the same.

    Raises:
        InputError: a margin that is not between 0 and 1.
    """
    return Trend(axis, -1, margin, flat)


def RisesThenFalls(axis: str, margin: float = 0.05, at: Stated | None = None, flat: float | None = None) -> Turns:
    """E[measure] rises along ``axis`` to a turning point, and falls from there.

    Args:
        axis: a numeric grid axis.
        margin: see :class:`~ntkrobust.bounds.claims.relations.Turns`.
        at: the same.
        flat: the same.

    Raises:
        InputError: a margin that is not between 0 and 1, or a turning point that is no formula.
    """
    return Turns(axis, +1, margin, at, flat)


def FallsThenRises(axis: str, margin: float = 0.05, at: Stated | None = None, flat: float | None = None) -> Turns:
    """E[measure] falls along ``axis`` to a turning point, and rises from there.

    Args:
        axis: a numeric grid axis.
        margin: see :class:`~ntkrobust.bounds.claims.relations.Turns`.
        at: the same.
        flat: the same.

    Raises:
        InputError: a margin that is not between 0 and 1, or a turning point that is no formula.
    """
    return Turns(axis, -1, margin, at, flat)


def flat_margin(relation: Relation) -> float | None:
    """The relative change below which a measure counts as flat; None for what says nothing along an axis."""
    match relation:
        case Trend() | Turns():
            return relation.margin if relation.flat is None else relation.flat
        case ScalesAs():
            return relation.flat
    return None


Relation = Equals | AtMost | AtLeast | OrderAtMost | OrderAtLeast | ScalesAs | Trend | Turns


def as_formula(what: str, stated: object) -> Formula:
    """A formula from what a relation was given.

    Raises:
        InputError: it is no number, text or function of named coordinates.
    """
    if isinstance(stated, str):
        return Expression(stated)
    if isinstance(stated, Real) and not isinstance(stated, bool):
        # As long as it takes to read the same number again.
        return Expression(repr(check_number(what, stated)))
    if not callable(stated) or isinstance(stated, type):
        raise InputError(
            f"{what} of a relation must be a number, a text such as '2 * width', or a function of named coordinates "
            f"such as lambda depth, width: ..., got {shown(stated)}"
        )
    return stated


def _check_margin(margin: float) -> None:
    if not 0 < check_number("a margin", margin) < 1:
        raise InputError(f"a margin is a relative change strictly between 0 and 1, got {margin!r}")
