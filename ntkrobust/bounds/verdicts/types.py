"""What is known of a claim's cells, and what is said of the claim."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.statistics.turning import TurningPoint
from ntkrobust.errors import InputError
from ntkrobust.values import Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Label = Literal["supported", "refuted", "flat", "inconclusive", "out of scope"]
LABELS: tuple[Label, ...] = ("supported", "refuted", "flat", "inconclusive", "out of scope")

LEVEL = 0.05
"""Level of the tests, over all statements judged together."""

POWER = 0.9
"""What numbers of networks are counted for."""

VACUOUS = 100.0
"""An explicit bound says nothing of a cell from which it is farther than this factor."""

SHOWN = 0.95
"""Level of the intervals that are shown, as far as they agree with the label."""


@dataclasses.dataclass(frozen=True, eq=False)
class CellSample(Value):
    """What one cell of a claim's grid gave.

    Attributes:
        coordinates: the values of the grid's axes, for display.
        values: (n,) the measure, one value per network (averaged over points); for simulations (batch, n).
        reference: the value, bound or turning point stated for this cell, or None.
        theory: the theory line at this cell, or None.
        problem: why the cell can't be used (networks diverged, the loss was not reached), or "".
        in_scope: whether all assumptions hold here.
        checked: averages of the measures that the assumptions looked at.
        outside: why there can be no such networks, or "".
        failed: whether it has a problem because it could not be computed: nothing is known of it then.
        time_error: what the mean may be off by because steps were not gradient flow itself, in units of the measure
            (:mod:`ntkrobust.studies.time_error`).
        variance_left: variance of the values over that of the measure itself; below 1 where they are controlled by
            what the networks were before training (:mod:`ntkrobust.studies.control`).
    """

    coordinates: Mapping[str, Any]
    values: np.ndarray
    reference: float | None = None
    theory: float | None = None
    problem: str = ""
    failed: bool = False
    in_scope: bool = True
    checked: Mapping[str, float] = dataclasses.field(default_factory=dict)
    outside: str = ""
    time_error: float = 0.0
    variance_left: float = 1.0

    @property
    def relative_time_error(self) -> float:
        """The time error over the mean of the values; 0 where there is none."""
        return self.time_error / abs(float(np.mean(self.values))) if self.time_error else 0.0

    def __str__(self) -> str:
        return ", ".join(f"{axis}={value}" for axis, value in self.coordinates.items())


@dataclasses.dataclass(frozen=True, eq=False)
class Effect(Value):
    """The size of what was seen: a name, an estimate and its interval.

    A factor (1 is no effect), or for ``ScalesAs`` an exponent.

    Attributes:
        name: of what.
        estimate: the estimate.
        low, high: the ends of its interval.
        level: of the interval, both ends together: 0.95, or where that would contradict the label, the level at which
            the label was decided.
    """

    name: str
    estimate: float
    low: float
    high: float
    level: float = SHOWN

    def __str__(self) -> str:
        return f"{self.name} ×{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Verdict(Value):
    """What the evidence says about a claim.

    Attributes:
        claim: the claim.
        label: ``supported``, ``refuted``, ``flat``, ``inconclusive`` or ``out of scope``.
        reason: one sentence.
        effect: the size of what was seen, or None if nothing could be estimated.
        p_value: adjusted p-value of the test behind the label (for ``inconclusive``, the smallest of them).
        cells: what each cell gave.
        seeds: networks per cell (the smallest number over cells).
        points: test points that each network was averaged over.
        counterexample: the cell that refutes, or None.
        command: what reproduces the verdict.
        tightness: for an explicit bound, bound/measured (measured/bound for a lower one), which is 1 or more where the
            bound holds: smallest and largest over cells.
        seeds_needed: for ``inconclusive``, what to ask for as ``seeds`` so that it is likely settled: networks per
            cell, over the claim's ``draws``. None where no number would, as far as can be seen.
        constant: for a bound up to a constant, the smallest constant with which it holds on these cells.
        exponent: for a power, the exponent over all cells, in the facet that speaks least for the statement.
        turning_point: for a turn, where it is, in that facet.
        vacuous: for an explicit bound, whether it says nothing in any of the cells: it is infinite (not positive, for
            a lower one), or farther from the measure than a factor :data:`VACUOUS`; None for other relations, and
            where no cell could be judged.
        time_error: of readings at a time or a loss of gradient flow, the largest time error of its cells, relative to
            their means; the interval of the effect and the p-value allow for it. None for other readings.
        data: what the data set is called that the networks saw.
    """

    claim: Claim
    label: Label
    reason: str
    effect: Effect | None
    p_value: float | None
    cells: tuple[CellSample, ...]
    seeds: int
    points: int
    counterexample: CellSample | None = None
    command: str = ""
    tightness: tuple[float, float] | None = None
    seeds_needed: int | None = None
    constant: Effect | None = None
    exponent: Effect | None = None
    turning_point: TurningPoint | None = None
    vacuous: bool | None = None
    time_error: float | None = None
    data: str = ""

    # What draws verdicts lies above what reaches them: it says here that it can. Without it a notebook shows text.
    as_html: ClassVar[Callable[[Verdict], str] | None] = None
    as_figure: ClassVar[Callable[[Verdict], Figure] | None] = None

    @property
    def range(self) -> dict[str, list]:
        """The values of each axis on which the verdict was reached (cells in scope)."""
        used = [cell for cell in self.cells if cell.in_scope and not cell.problem]
        return {axis: list(dict.fromkeys(cell.coordinates[axis] for cell in used)) for axis in self.claim.grid}

    def __repr__(self) -> str:
        return f"<{self.claim.id}: {self.label}{', vacuous' if self.vacuous else ''}. {self.reason}>"

    def figure(self) -> Figure:
        """The figure of the report, of matplotlib: ``verdict.figure().savefig("figure.pdf")``.

        In the style that :func:`ntkrobust.plots.style` sets.

        Raises:
            InputError: nothing is there to draw it: ``ntkrobust.verify`` was not used in this process.
        """
        if Verdict.as_figure is None:
            raise InputError("a verdict draws its figure once ntkrobust.verify was named in this process")
        return Verdict.as_figure(self)

    def _repr_html_(self) -> str | None:
        return None if Verdict.as_html is None else Verdict.as_html(self)


Examined = tuple[Claim, tuple[CellSample, ...], str]
"""A claim with what its cells gave and the side of its measure."""
