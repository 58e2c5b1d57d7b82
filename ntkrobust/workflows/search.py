"""``search``: the worst cell of a bound between and around those of its grid, confirmed on networks of its own."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from ntkrobust.bounds.claims import AtLeast, AtMost, Claim, Quantity
from ntkrobust.bounds.verdicts import CellSample, Verdict
from ntkrobust.bounds.verdicts.labelling import says_nothing
from ntkrobust.checks import MOST_SEEDS, check_text, or_none, takes, whole
from ntkrobust.data import Data, Dataset, load
from ntkrobust.errors import InputError
from ntkrobust.networks.initializations import NAMED, Initialization
from ntkrobust.runtime.seeds import THREEFRY
from ntkrobust.values import Value
from ntkrobust.workflows.resolving import resolve
from ntkrobust.workflows.verdicts import Verdicts
from ntkrobust.workflows.verify import SEEDS, verify

BUDGET = 32
"""Cells that a search tries."""

MOST_TRIED = 10_000
"""Cells that a search may be asked to try."""

ROUNDS = 3
"""The grid's own cells come first; what is left of the budget is spent around the worst found, in so many rounds."""

FRESH = 1
"""Key of the networks on which the worst cell is confirmed. The search itself draws from key 0."""

_WHOLE = ("depth", "width", "d_out", "n")
_NUMBERS = ("bias_std", "epsilon", "scale", "alpha")

Point = tuple[tuple[str, Any], ...]
"""A cell as axis → value pairs, in the order of the grid."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Search(Value):
    """What a search found.

    Attributes:
        claim: what was searched.
        at: the worst cell, axis → value.
        ratio: how far the bound was exceeded there in the search: measured/bound for an upper bound, bound/measured
            for a lower one; above 1 is a violation. The largest of many, so biased upwards: see ``verdict``.
        tried: the cells tried, each with its ratio.
        verdict: the claim at the worst cell alone, on fresh networks.
        command: what reproduces that verdict.
    """

    claim: Claim
    at: dict[str, Any]
    ratio: float
    tried: tuple[tuple[dict[str, Any], float], ...]
    verdict: Verdict
    command: str

    def __repr__(self) -> str:
        return (
            f"<search of {self.claim.id}: worst of {len(self.tried)} cells {self.ratio:.4g}; on fresh networks "
            f"{self.verdict.label}. {self.verdict.reason}>"
        )


@takes(origin=or_none(check_text), budget=whole(1, MOST_TRIED), seeds=or_none(whole(1, MOST_SEEDS)))
def search(
    claim: Claim | str,
    *,
    origin: str | None = None,
    data: Data = "digits",
    preset: str = "quick",
    budget: int = BUDGET,
    seeds: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Search:
    """Look for the cell where a bound does worst, in the hull of its grid.

    Between the smallest and the largest value of every numeric axis (width, depth, n, d_out, bias_std, epsilon, alpha,
    and the scale of the data) all values are tried; between initializations that set variances by fan-in (he, lecun,
    gains(…)) also each layer's gain by itself. First the grid's cells, then cells around the worst found so far. The
    worst is examined again on networks that the search has not seen, alone, so its verdict has the usual error level.

    Args:
        claim: an upper or a lower bound with its constant, or the id of one.
        origin: what names the claim on the command line (its id, or its file), for the command that reproduces.
        data, preset, seeds, progress: as of :func:`~ntkrobust.verify`.
        budget: cells to try.

    Raises:
        InputError: the claim is no such bound, or anything that :func:`~ntkrobust.verify` refuses.
    """
    ((found, named), *more) = resolve(claim, preset, everything=True)
    origin = origin or named
    if more:
        raise InputError(f"a search is for one claim, {claim!r} means {1 + len(more)}")
    if not isinstance(found.relation, AtMost | AtLeast) or isinstance(found.measure, Quantity):
        raise InputError(
            f"claim {found.id}: a search needs a bound with its constant on a measure, got {found.relation}"
        )
    seeds = SEEDS[preset] if seeds is None else seeds
    data = data if isinstance(data, str | Path) else load(data)
    rng = np.random.default_rng(0)
    tried: dict[Point, float] = {}
    waiting = _spread(list(_grid_cells(found.grid)), math.ceil(budget / 2))
    for left in range(ROUNDS, 0, -1):
        tried |= _ratios(found, waiting, data, seeds, progress)
        room = budget - len(tried)
        worst = max(tried, key=tried.__getitem__)
        if room <= 0:
            break
        waiting = _around(found.grid, worst, tried, math.ceil(room / left), 2.0 ** (left - ROUNDS), rng)
    tried |= _ratios(found, waiting[: max(0, budget - len(tried))], data, seeds, progress)
    worst = max(tried, key=tried.__getitem__)
    if tried[worst] == -math.inf:
        raise InputError(f"claim {found.id}: none of {len(tried)} cells could be used: {_why(found, data, seeds)}")
    at = dict(worst)
    of: dict[str, Any] = {"preset": preset, "seeds": seeds, "looks": 1, "key": jax.random.key(FRESH, impl=THREEFRY)}
    confirmed = verify(found if origin is None else origin, data=data, at=at, only=found.id, **of)
    verdict = cast(Verdict, confirmed[0] if isinstance(confirmed, Verdicts) else confirmed)
    listed = tuple((dict(point), ratio) for point, ratio in tried.items())
    return Search(found, at, tried[worst], listed, verdict, verdict.command)


def _grid_cells(grid: Mapping[str, Sequence[Any]]) -> list[Point]:
    return [tuple(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _spread(cells: list[Point], room: int) -> list[Point]:
    """So many of the cells, evenly over the grid, the corners first."""
    if len(cells) <= room:
        return cells
    return [cells[index] for index in dict.fromkeys(np.linspace(0, len(cells) - 1, room).round().astype(int))]


def _ratios(
    claim: Claim,
    points: Sequence[Point],
    data: str | Path | Dataset,
    seeds: int,
    progress: Callable[[str, int, int], None] | None,
) -> dict[Point, float]:
    """How far the bound is exceeded at each point; −∞ where the cell can't be used."""
    if not points:
        return {}
    single = [
        dataclasses.replace(claim, id=f"{claim.id}#{index}", grid={axis: (value,) for axis, value in point})
        for index, point in enumerate(points)
    ]
    verdicts = verify(single, data=data, seeds=seeds, progress=progress)
    return {point: _ratio(claim, verdict.cells[0]) for point, verdict in zip(points, verdicts, strict=True)}


def _ratio(claim: Claim, cell: CellSample) -> float:
    if cell.problem or not cell.in_scope or cell.reference is None:
        return -math.inf
    geometric = claim.reading.functional == "geometric mean"
    mean = float(np.exp(np.mean(np.log(cell.values))) if geometric else np.mean(cell.values))
    assert isinstance(claim.relation, AtMost | AtLeast)
    if says_nothing(claim, cell):
        return 0.0
    if isinstance(claim.relation, AtMost):
        return mean / cell.reference
    return cell.reference / mean if mean > 0 else math.inf


def _why(claim: Claim, data: str | Path | Dataset, seeds: int) -> str:
    verdict = verify(claim, data=data, seeds=seeds)
    assert isinstance(verdict, Verdict)
    return verdict.reason


def _around(
    grid: Mapping[str, Sequence[Any]],
    centre: Point,
    tried: Mapping[Point, float],
    room: int,
    reach: float,
    rng: np.random.Generator,
) -> list[Point]:
    """New points near the worst one: each axis moved by a share of its range, or left where it is."""
    found: dict[Point, None] = {}
    for _ in range(50 * room):
        if len(found) == room:
            break
        moved = [(axis, _moved(axis, value, grid[axis], reach, rng)) for axis, value in centre]
        point = tuple(moved)
        if point not in tried:
            found[point] = None
    return list(found)


def _moved(axis: str, value: Any, values: Sequence[Any], reach: float, rng: np.random.Generator) -> Any:
    if len(values) == 1 or rng.random() < 0.4:
        return value
    if axis == "initialization":
        return _other_gains(value, values, reach, rng)
    if axis not in (*_WHOLE, *_NUMBERS) or value is None or None in values:
        return values[int(rng.integers(len(values)))]
    low, high = min(values), max(values)
    # Sizes are explored in factors, as grids list them.
    log = low > 0
    ends = (math.log(low), math.log(high)) if log else (low, high)
    at = (math.log(value) if log else value) + reach * (ends[1] - ends[0]) * rng.uniform(-1, 1)
    at = min(max(at, ends[0]), ends[1])
    number = math.exp(at) if log else at
    # Printed commands carry six digits.
    return min(max(round(number), low), high) if axis in _WHOLE else min(max(float(f"{number:.6g}"), low), high)


def _other_gains(value: Any, values: Sequence[Any], reach: float, rng: np.random.Generator) -> Any:
    """Another initialization: one of the list, or gains between those of the list, each layer's by itself."""
    known = [gains for one in values if (gains := _gains(one)) is not None]
    here = _gains(value)
    if len(known) < 2 or here is None:
        return values[int(rng.integers(len(values)))]
    moved = []
    for gain, options in zip(here, zip(*known, strict=True), strict=True):
        low, high = min(options), max(options)
        at = gain * (high / low) ** (reach * rng.uniform(-1, 1))
        moved.append(f"{min(max(at, low), high):.4g}")
    return f"gains({', '.join(moved)})"


def _gains(value: Any) -> tuple[float, float, float] | None:
    """σ_1², σ² and σ_L² of an initialization that is made of gains."""
    if isinstance(value, str) and value.startswith("gains("):
        first, hidden, last = (float(number) for number in value[6:-1].split(","))
        return first, hidden, last
    named = NAMED.get(value) if isinstance(value, str) else value
    return named.gains if isinstance(named, Initialization) else None
