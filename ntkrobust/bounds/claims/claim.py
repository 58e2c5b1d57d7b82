"""A claim: one statement of a theorem in one reading, in a form that can be checked."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ntkrobust.bounds.claims.relations import AtMost, Equals, Formula, Relation, Trend
from ntkrobust.errors import InputError

Provenance = Literal["abstract", "paper text seen", "secondary", "recollection", "derived here"]
PROVENANCES: tuple[Provenance, ...] = ("abstract", "paper text seen", "secondary", "recollection", "derived here")

TIMES = ("initialization", "equal scaled time", "equal time", "equal loss")
FUNCTIONALS = ("mean", "geometric mean")
AXES = ("initialization", "depth", "width", "activation", "parameterization", "bias_std", "d_out", "n")
"""What a grid can range over: the fields of a network, and n, the number of training points."""

COORDINATES = ("d_in", "d_out", "n", "depth", "width", "initialization", "activation", "parameterization", "bias_std",
               "parameters", "net")  # fmt: skip
"""What a formula or an assumption can ask for by name."""


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


@dataclasses.dataclass(frozen=True)
class Claim:
    r"""One statement in one reading.

    Attributes:
        id: ``source/subject[/kind][@reading]``, for instance ``zhu2022/depth-he/measured@initialization``.
        statement: what is said, as text with LaTeX between dollar signs.
        relation: :class:`Equals`, :class:`AtMost`, :func:`IncreasesIn` or :func:`DecreasesIn`.
        measure: the name of the measure it speaks of.
        grid: axis → values. Axes: ``initialization``, ``depth``, ``width``, ``activation``, ``parameterization``,
            ``bias_std``, ``d_out``, ``n`` (training points). All combinations are cells.
        reading: when networks are compared.
        source: paper and place.
        provenance: how the statement is known: ``abstract``, ``paper text seen``, ``secondary``, ``recollection``
            or ``derived here``.
        assumptions: conditions, checked on every cell.
        theory: a formula for the measure on the same cells, drawn as a line; not judged.
        theory_label: what that line is.
        draws: networks per seed asked for; statements at initialization can afford many.

    Raises:
        InputError: an unknown axis, an empty one, a relation along an axis that isn't on the grid or has fewer than
            three values (two for width and depth don't make a trend), or a formula that asks for an unknown
            coordinate.
    """

    id: str
    statement: str
    relation: Relation
    measure: str
    grid: Mapping[str, Sequence[Any]]
    reading: Reading = Reading()
    source: str = ""
    provenance: Provenance = "derived here"
    assumptions: tuple[Assumption, ...] = ()
    theory: Formula | None = None
    theory_label: str = ""
    draws: int = 1

    def __post_init__(self) -> None:
        if not self.id or any(character.isspace() for character in self.id):
            raise InputError(f"the id of a claim is a text without spaces, got {self.id!r}")
        if self.provenance not in PROVENANCES:
            raise InputError(f"claim {self.id}: provenance is one of {', '.join(PROVENANCES)}, got {self.provenance!r}")
        grid = {axis: tuple(values) for axis, values in self.grid.items()}
        for axis, values in grid.items():
            if axis not in AXES:
                raise InputError(f"claim {self.id}: unknown grid axis {axis!r}, expected some of {', '.join(AXES)}")
            if not values:
                raise InputError(f"claim {self.id}: the grid axis {axis!r} has no values")
        for axis in ("depth", "width"):
            if axis not in grid:
                raise InputError(f"claim {self.id}: the grid needs values for {axis!r}")
        object.__setattr__(self, "grid", grid)
        if isinstance(self.relation, Trend):
            values = grid.get(self.relation.axis, ())
            if self.relation.axis not in ("depth", "width", "n"):
                raise InputError(f"claim {self.id}: a trend runs along depth, width or n, got {self.relation.axis!r}")
            if len(values) < 3 or any(a >= b for a, b in itertools.pairwise(values)):
                raise InputError(
                    f"claim {self.id}: a trend in {self.relation.axis} needs at least three increasing values, "
                    f"got {list(values)}"
                )
        for what, formula, extra in (
            ("value", getattr(self.relation, "value", None), ()),
            ("bound", getattr(self.relation, "bound", None), ()),
            ("theory", self.theory, ()),
            *((f"assumption {one.text!r}", one.holds, one.measures) for one in self.assumptions),
        ):
            if formula is not None:
                _check_arguments(self.id, what, formula, (*COORDINATES, *extra))

    @property
    def base_id(self) -> str:
        """The id without its reading."""
        return self.id.partition("@")[0]

    @property
    def paper(self) -> str:
        """The first part of the id."""
        return self.id.partition("/")[0]

    def describe(self) -> dict[str, Any]:
        """The claim as plain data: what of it JSON can hold."""
        relation = self.relation
        kind = {Equals: "equals", AtMost: "at_most", Trend: "trend"}[type(relation)]
        return {
            "claim": self.id,
            "statement": self.statement,
            "relation": {
                "kind": kind,
                "text": str(relation),
                "axis": getattr(relation, "axis", None),
                "margin": getattr(relation, "margin", None),
            },
            "measure": self.measure,
            "grid": {
                axis: [value if isinstance(value, _PLAIN) else repr(value) for value in values]
                for axis, values in self.grid.items()
            },
            "reading": {
                "text": str(self.reading),
                "time": self.reading.time,
                "value": self.reading.value,
                "functional": self.reading.functional,
                "budget": self.reading.budget,
            },
            "source": self.source,
            "provenance": self.provenance,
            "assumptions": [one.text for one in self.assumptions],
            "theory_label": self.theory_label,
        }

    @property
    def formula(self) -> Formula | None:
        """The value or bound that the relation states, if it states one."""
        match self.relation:
            case Equals(value=value):
                return value
            case AtMost(bound=bound):
                return bound
        return None


_PLAIN = (str, int, float, type(None))


def evaluate(formula: Callable[..., Any], coordinates: Mapping[str, Any]) -> Any:
    """Call ``formula`` with the coordinates that it names."""
    return formula(**{name: coordinates[name] for name in inspect.signature(formula).parameters})


def _check_arguments(claim_id: str, what: str, formula: Callable[..., Any], known: Sequence[str]) -> None:
    if not callable(formula):
        raise InputError(f"claim {claim_id}: its {what} must be a function of named coordinates, got {formula!r}")
    for name in inspect.signature(formula).parameters:
        if name not in known:
            raise InputError(f"claim {claim_id}: its {what} asks for {name!r}; a cell knows {', '.join(known)}")
