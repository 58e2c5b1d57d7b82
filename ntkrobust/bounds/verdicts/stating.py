"""What a claim says about its cells, as parts that can be tested."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    Equals,
    Order,
    OrderAtLeast,
    ScalesAs,
    Trend,
    Turns,
    flat_margin,
)
from ntkrobust.bounds.statistics import exponents, orders, trends, turning
from ntkrobust.bounds.statistics.bounds import bounded
from ntkrobust.bounds.statistics.equivalence import equals, flat
from ntkrobust.bounds.statistics.parts import All, Every, Statement
from ntkrobust.bounds.statistics.samples import Sample
from ntkrobust.bounds.verdicts.types import CellSample

PAIRED_AXES = ("n", "epsilon", "alpha")
"""Along these the networks of a seed are the same: trained on more data, looked at over a larger radius, or with the
output divided by another number."""

NEEDED_VALUES = 3
"""Cells along an axis, in each facet, without which a relation along it isn't judged."""


def axes_of(claim: Claim) -> list[str]:
    """The axes along which a claim says something."""
    if isinstance(claim.relation, Trend | Turns | ScalesAs):
        return [claim.relation.axis]
    if isinstance(claim.relation, Order):
        return [axis for axis, values in claim.grid.items() if len(values) >= NEEDED_VALUES and _is_numeric(values)]
    return []


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and value > 0 for value in values)


def facets_along(axis: str, cells: Sequence[CellSample]) -> list[list[int]]:
    """Positions of cells, grouped so that within a group only one axis changes, in the order of that axis."""
    groups: dict[tuple, list[int]] = {}
    for position, cell in enumerate(cells):
        rest = tuple(value for name, value in cell.coordinates.items() if name != axis)
        groups.setdefault(rest, []).append(position)
    return [sorted(group, key=lambda position: cells[position].coordinates[axis]) for group in groups.values()]


def statement(claim: Claim, cells: Sequence[CellSample]) -> Statement:
    """What a claim says about its usable cells, as parts that can be tested.

    Corrections count all cells of the grid, since which are usable is decided on the same networks. Values may be
    (batch, n): that is how error rates are simulated.
    """
    relation = claim.relation
    n_cells = math.prod(len(values) for values in claim.grid.values())
    samples = [sample_of(claim, cell) for cell in cells]
    match relation:
        case Equals():
            return equals(samples, relation.margin, n_cells)
        case AtMost() | AtLeast():
            return bounded(samples, isinstance(relation, AtLeast), n_cells)

    def along(axis: str, facet: list[Sample], values: list[float]) -> Statement:
        length, paired = len(claim.grid[axis]), axis in PAIRED_AXES
        match relation:
            case Order():
                lower = isinstance(relation, OrderAtLeast)
                return All([orders.no_growth(facet, values, relation.growth, paired, lower)], 1)
            case ScalesAs(over="range"):
                return All(exponents.over_range(facet, values, relation.power, relation.margin, paired), 2)
            case ScalesAs():
                parts = exponents.between_neighbours(facet, values, relation.power, relation.margin, paired)
                return All(parts, 2 * (length - 1))
            case Trend():
                return All(trends.monotone(facet, relation.sign, relation.margin, paired), math.comb(length, 2))
            case Turns():
                return turning.turns(facet, relation.sign, relation.margin, paired, length)
        raise AssertionError(relation)

    return _in_facets(claim, cells, samples, along)


def flatness(claim: Claim, cells: Sequence[CellSample]) -> Every | None:
    """ "The measure is flat", as a statement about the same cells; None for what says nothing along an axis.

    Flat is what changes between no two cells of a facet by more than the margin of the relation; for an exponent read
    over the whole range, what changes by no more than that along its slope.
    """
    relation, margin = claim.relation, flat_margin(claim.relation)
    if margin is None:
        return None

    def along(axis: str, facet: list[Sample], values: list[float]) -> Statement:
        paired = axis in PAIRED_AXES
        if isinstance(relation, ScalesAs) and relation.over == "range":
            slope = math.log1p(margin) / math.log(values[-1] / values[0])
            return All(exponents.over_range(facet, values, 0.0, slope, paired), 2)
        return flat(facet, margin, paired)

    return _in_facets(claim, cells, [sample_of(claim, cell) for cell in cells], along)


def _in_facets(
    claim: Claim,
    cells: Sequence[CellSample],
    samples: Sequence[Sample],
    along: Callable[[str, list[Sample], list[float]], Statement],
) -> Every:
    """The same along each axis, in each facet."""
    n_cells = math.prod(len(values) for values in claim.grid.values())
    facets: list[Statement] = []
    count = 0
    for axis in axes_of(claim):
        count += n_cells // len(claim.grid[axis])
        for facet in facets_along(axis, cells):
            values = [float(cells[position].coordinates[axis]) for position in facet]
            facets.append(along(axis, [samples[position] for position in facet], values).located(facet))
    return Every(facets, count)


def sample_of(claim: Claim, cell: CellSample) -> Sample:
    """The measure of a cell, over the bound or value stated for it if there is one."""
    values, time_error = np.atleast_2d(cell.values), cell.time_error
    if isinstance(claim.relation, Equals | AtMost | AtLeast | Order):
        assert cell.reference is not None
        values, time_error = values / cell.reference, time_error / abs(cell.reference)
    return Sample(values, claim.reading.functional == "geometric mean", time_error)
