"""A claim: one statement of a theorem in one reading, in a form that can be checked."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, cast

import numpy as np

from ntkrobust.bounds.claims.coordinates import (
    AXES,
    COORDINATES,
    NUMERIC_AXES,
    OF_TRAINING,
    asked_for,
    check_arguments,
    check_coordinate,
    family_name,
)
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import AT_INITIALIZATION, CHOSEN_TIMES, Assumption, Reading, name_of
from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    Equals,
    Formula,
    Order,
    OrderAtLeast,
    OrderAtMost,
    Relation,
    ScalesAs,
    Trend,
    Turns,
    flat_margin,
)
from ntkrobust.checks import LARGEST, check_choice, check_positive, check_sequence, shown
from ntkrobust.errors import InputError
from ntkrobust.values import Value

Provenance = Literal["abstract", "paper text seen", "secondary", "recollection", "derived here"]
PROVENANCES: tuple[Provenance, ...] = ("abstract", "paper text seen", "secondary", "recollection", "derived here")

KINDS: dict[type, str] = {
    Equals: "equals",
    AtMost: "at_most",
    AtLeast: "at_least",
    OrderAtMost: "order_at_most",
    OrderAtLeast: "order_at_least",
    ScalesAs: "scales_as",
    Trend: "trend",
    Turns: "turns",
}
"""The names of the relations in stored verdicts."""

MOST_VALUES, MOST_CELLS = 10_000, 100_000
"""Values of an axis, and cells of a grid, at most."""

_ENOUGH = {Trend: 3, ScalesAs: 3, OrderAtMost: 3, OrderAtLeast: 3, Turns: 5}
"""Values along the axis without which a relation that speaks of one says nothing."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Claim(Value):
    r"""One statement in one reading.

    Attributes:
        id: ``source/subject[/kind][@reading]``, for instance ``zhu2022/depth-he/measured@initialization``.
        statement: what is said, as text with LaTeX between dollar signs.
        relation: :class:`Equals`, :class:`AtMost`, :class:`AtLeast`, :class:`OrderAtMost`,
            :class:`OrderAtLeast`, :class:`ScalesAs`, :func:`IncreasesIn`, :func:`DecreasesIn`,
            :func:`RisesThenFalls` or :func:`FallsThenRises`.
        measure: the name of the measure it speaks of; a function of a network and of points, as
            :func:`~ntkrobust.finite.measures.functions.measure_of` takes it (``def norm(jacobian)``,
            ``def change(apply, parameters, x)``); a :class:`~ntkrobust.Measure`, as those of ``ntkrobust.measures``
            with parameters of their own; or a :class:`Quantity`, for a
            statement about a formula that needs no networks.
        grid: axis → values. Axes: ``initialization``, ``depth``, ``width``, ``activation``, ``parameterization``,
            ``bias_std``, ``d_out``, ``n`` (training points), ``epsilon`` (a radius, for measures that need one),
            ``scale`` (a factor on all inputs), ``alpha`` (a factor on the output scale α), ``label_noise``,
            ``architecture`` (``fully_connected``, ``convolutional``, ``wide_resnet``). All combinations are cells.
        reading: when networks are compared.
        source: paper and place.
        provenance: how the statement is known: ``abstract``, ``paper text seen``, ``secondary``, ``recollection``
            or ``derived here``.
        assumptions: conditions, checked on every cell.
        theory: a formula for the measure on the same cells, drawn as a line; not judged.
        theory_label: what that line is.
        draws: networks per seed asked for; statements at initialization can afford many.
        points: test points that each network is measured on, as far as there are so many; None for as many as the
            verification takes. Shares of points want more of them than gradients do.
        alternatives: other values of its reading. Of the reading's own and these a pilot takes the longest time, or the
            first loss, at which networks get there and the assumptions hold (:mod:`ntkrobust.studies.pilot`).
        design: how the numbers of the grid come from the data, in words.

    Raises:
        InputError: an unknown axis, an empty one, a relation along an axis that isn't on the grid, has no order, or
            has too few values (three for a trend, an exponent or an unspecified constant, five for a turning point),
            or a formula that asks for an unknown coordinate.
    """

    id: str
    statement: str
    relation: Relation
    measure: str | Callable[..., Any] | Any
    grid: Mapping[str, Sequence[Any]]
    reading: Reading = AT_INITIALIZATION
    source: str = ""
    provenance: Provenance = "derived here"
    assumptions: tuple[Assumption, ...] = ()
    theory: Formula | None = None
    theory_label: str = ""
    draws: int = 1
    points: int | None = None
    alternatives: tuple[float, ...] = ()
    design: str = ""

    def __post_init__(self) -> None:
        is_text = isinstance(self.id, str) and self.id.isprintable()
        if not is_text or not self.id or any(character.isspace() for character in self.id):
            raise InputError(f"the id of a claim is a text without spaces, got {shown(self.id)}")
        for name in ("statement", "source", "theory_label", "design"):
            if not isinstance(getattr(self, name), str):
                raise self._error(f"its {name} is a text, got {shown(getattr(self, name))}")
        if not _is_count(self.draws):
            raise self._error(f"draws is an integer of at least 1, got {shown(self.draws)}")
        if self.points is not None and not _is_count(self.points):
            raise self._error(f"points is None or an integer of at least 1, got {shown(self.points)}")
        check_choice(f"claim {self.id}: provenance", self.provenance, PROVENANCES)
        if type(self.relation) not in KINDS:
            raise self._error(f"a relation is one of {', '.join(KINDS.values())}, got {shown(self.relation)}")
        if not isinstance(self.grid, Mapping):
            raise self._error(f"a grid is a mapping of axis to values, got {shown(self.grid)}")
        if not isinstance(self.reading, Reading):
            raise self._error(
                f"its reading must be a Reading, such as Reading('equal loss', 0.3), got {shown(self.reading)}"
            )
        assumptions = self.assumptions
        if not isinstance(assumptions, Sequence) or not all(isinstance(one, Assumption) for one in assumptions):
            raise self._error(f"its assumptions must be a sequence of Assumption objects, got {shown(assumptions)}")
        object.__setattr__(self, "grid", {axis: _values(values) for axis, values in self.grid.items()})
        object.__setattr__(self, "assumptions", tuple(self.assumptions))
        self._check_alternatives()
        self._check_grid()
        self._check_axis()
        for what, formula, extra in (
            (self.formula_name, self.formula, ()),
            ("theory", self.theory, ()),
            ("quantity", self.measure.formula if isinstance(self.measure, Quantity) else None, ()),
            *((f"assumption {one.text!r}", one.holds, one.names) for one in self.assumptions),
        ):
            if formula is not None:
                check_arguments(f"claim {self.id}: its {what}", formula, (*COORDINATES, *extra))

    def _error(self, sentence: str) -> InputError:
        return InputError(f"claim {self.id}: {sentence}")

    def _check_grid(self) -> None:
        for axis, values in self.grid.items():
            if axis not in AXES:
                raise self._error(f"unknown grid axis {shown(axis)}, expected some of {', '.join(AXES)}")
            if not values:
                raise self._error(f"the grid axis {axis!r} has no values")
            if len(values) > MOST_VALUES:
                raise self._error(f"the grid axis {axis!r} has more than {MOST_VALUES} values")
            for value in values:
                try:
                    check_coordinate(axis, value)
                except InputError as error:
                    raise self._error(str(error)) from None
        if math.prod(map(len, self.grid.values())) > MOST_CELLS:
            raise self._error(f"a grid has at most {MOST_CELLS} cells")
        for axis in () if "network" in self.grid else ("depth", "width"):
            if axis not in self.grid:
                raise self._error(f"the grid needs values for {axis!r}")

    def _check_alternatives(self) -> None:
        what = f"claim {self.id}: its alternatives"
        others = tuple(check_positive(f"{what} are", one) for one in check_sequence(self.alternatives, what))
        if others and self.reading.time not in CHOSEN_TIMES:
            raise self._error(f"alternatives are for a reading of {' or '.join(CHOSEN_TIMES)}")
        object.__setattr__(self, "alternatives", others)

    def read_at(self, value: float, design: str = "") -> Claim:
        """The claim with another value of its reading, and no alternatives to it."""
        reading = dataclasses.replace(self.reading, value=value)
        joined = "; ".join(filter(None, (self.design, design)))
        return dataclasses.replace(self, reading=reading, alternatives=(), design=joined)

    def _check_axis(self) -> None:
        """A relation along an axis needs enough of it; one that leaves a constant open, of any."""
        enough = _ENOUGH.get(type(self.relation))
        if enough is None:
            return
        if isinstance(self.relation, Order):
            if not any(axis in NUMERIC_AXES and _grows(values, enough) for axis, values in self.grid.items()):
                raise self._error(
                    f"a bound with an unspecified constant needs at least {_COUNTS[enough]} increasing values along "
                    f"one of {', '.join(NUMERIC_AXES)}"
                )
            return
        axis = self.relation.axis  # type: ignore[union-attr]
        what = _SPOKEN[type(self.relation)]
        if axis not in NUMERIC_AXES:
            raise self._error(f"{what} runs along one of {', '.join(NUMERIC_AXES)}, got {axis!r}")
        values = self.grid.get(axis, ())
        if not _grows(values, enough):
            raise self._error(
                f"{what} in {axis} needs at least {_COUNTS[enough]} increasing values, got {list(values)}"
            )
        if isinstance(self.relation, ScalesAs) and values[0] <= 0:
            raise self._error(f"{what} in {axis} needs positive values, got {list(values)}")

    @property
    def base_id(self) -> str:
        """The id without its reading."""
        return self.id.partition("@")[0]

    @property
    def paper(self) -> str:
        """The first part of the id."""
        return self.id.partition("/")[0]

    @property
    def measure_name(self) -> str:
        """The measure's name: its own, or its function's; one without a name is named after the claim."""
        name = name_of(self.measure)
        if isinstance(self.measure, str) or name.isidentifier():
            return name
        return re.sub(r"\W+", "_", f"measure of {self.base_id}")

    def _facts(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "statement": self.statement,
            "says": f"{self.measure_name} {self.relation}",
            "grid": "; ".join(f"{axis}: {', '.join(map(str, values))}" for axis, values in self.grid.items()),
            "reading": str(self.reading),
            "assumptions": "; ".join(one.text for one in self.assumptions) or "none",
            "known from": ", ".join(filter(None, (self.provenance, self.source))),
        }

    def __repr__(self) -> str:
        return f"<Claim {self.id}: {self.measure_name} {self.relation}; {self.reading}>"

    def describe(self) -> dict[str, Any]:
        """The claim as plain data: what of it JSON can hold."""
        relation = self.relation
        return {
            "claim": self.id,
            "statement": self.statement,
            "relation": {
                "kind": KINDS[type(relation)],
                "text": str(relation),
                **{
                    name: getattr(relation, name, None)
                    for name in ("axis", "margin", "sign", "power", "growth", "over")
                },
                "flat": flat_margin(relation),
            },
            "measure": self.measure_name,
            "grid": {
                axis: [value if isinstance(value, _PLAIN) else _name_of(axis, value) for value in values]
                for axis, values in self.grid.items()
            },
            "reading": {"text": str(self.reading), **dataclasses.asdict(self.reading)}
            | ({"text": "arithmetic", "time": "arithmetic"} if self.is_timeless else {}),
            "source": self.source,
            "provenance": self.provenance,
            "assumptions": [one.text for one in self.assumptions],
            "theory_label": self.theory_label,
            "draws": self.draws,
            "design": self.design,
        }

    @property
    def is_timeless(self) -> bool:
        """Whether it speaks of a formula that knows no time of training."""
        return isinstance(self.measure, Quantity) and not set(OF_TRAINING) & set(asked_for(self.measure.formula))

    @property
    def formula(self) -> Formula | None:
        """The value, bound or turning point that the relation states, if it states one."""
        match self.relation:
            case Equals(value=stated) | AtMost(bound=stated) | AtLeast(bound=stated) | Order(bound=stated):
                return cast(Formula, stated)
            case Turns(at=stated):
                return cast(Formula | None, stated)
        return None

    @property
    def formula_name(self) -> str:
        """What :attr:`formula` is."""
        return {Equals: "value", Turns: "turning point"}.get(type(self.relation), "bound")


_PLAIN = (str, int, float, type(None))
_COUNTS = {3: "three", 5: "five"}
_SPOKEN = {Trend: "a trend", ScalesAs: "an exponent", Turns: "a turning point"}


def _name_of(axis: str, value: Any) -> str:
    return family_name(value) if axis == "network" else repr(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def _values(values: Any) -> tuple[Any, ...]:
    """The values of an axis; a single one may stand for itself, and numpy's numbers for Python's."""
    is_one = not isinstance(values, Iterable) or isinstance(values, str | bytes) or getattr(values, "shape", None) == ()
    # What doesn't end is seen to be too long.
    listed = (values,) if is_one else tuple(itertools.islice(values, MOST_VALUES + 1))
    return tuple(value.item() if isinstance(value, np.generic) else value for value in listed)


def _grows(values: Sequence[Any], enough: int) -> bool:
    return (
        len(values) >= enough
        and all(isinstance(value, Real) for value in values)
        and all(before < after for before, after in itertools.pairwise(values))
    )
