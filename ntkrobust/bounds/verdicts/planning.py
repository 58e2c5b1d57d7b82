"""What a number of networks can show, before any is drawn: power by simulating the very tests that judge."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    Equals,
    Order,
    OrderAtLeast,
    Relation,
    ScalesAs,
    Trend,
    Turns,
)
from ntkrobust.bounds.statistics import MINIMUM_SEEDS
from ntkrobust.bounds.verdicts import LEVEL, POWER, CellSample, statement
from ntkrobust.errors import InputError

Outcome = Literal["supported", "refuted"]
Law = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""Draws values of mean 1."""

REPETITIONS = 2000
FIRST_WIDTH = 32
FIRST_DEPTH = 2
LARGEST_EFFECT = 1e6
LARGEST_NORMAL_CV = 0.3
LARGEST_SIMULATED = 128
"""More networks than this are not simulated: the smallest effect they show is smaller like n^(−1/2)."""


def lognormal(cv: float) -> Law:
    """Skewed to the right, by 3 cv + cv³."""
    sigma = math.sqrt(math.log1p(cv**2))
    return lambda rng, shape: rng.lognormal(-(sigma**2) / 2, sigma, shape)


def normal(cv: float) -> Law:
    """Symmetric. Measures are positive, so this is a law of theirs only where ``cv`` is small."""
    return lambda rng, shape: 1 + cv * rng.standard_normal(shape)


def gamma(cv: float) -> Law:
    """Skewed to the right, by 2 cv."""
    return lambda rng, shape: rng.gamma(cv**-2, cv**2, shape)


def ground_truth(relation: Relation, effect: float, outcome: Outcome, cells: int) -> tuple[Relation, list[float]]:
    """A world in which a statement is true (or false) by a factor.

    Args:
        relation: the form of the statement; widths double from cell to cell, and what is stated is 1.
        effect: how far from the boundary of the statement the truth is, a factor above 1: the largest mean of a bound
            that fails and 1/all means of one that holds; the change over the range of a trend, and of each leg of a
            turn; the change per doubling against that tolerated by ``OrderAtMost`` or
            ``OrderAtLeast`` and, where it fails, ``ScalesAs``. An equality or a power is supported within its margin:
            there the effect *is* the margin, 1 + margin for an equality and 2^margin for a power.
        outcome: whether the statement is to be true (``supported``) or false.
        cells: number of cells.

    Returns:
        The relation, with its margin where that is the effect, and the means of the cells.
    """
    steps = np.arange(cells)
    holds = outcome == "supported"
    logs: np.ndarray = np.zeros(cells)
    size = math.log(effect)
    match relation:
        case Equals():
            if holds:
                relation = dataclasses.replace(relation, margin=min(effect - 1, 1 - 1e-9))
            else:
                logs[-1] = math.log1p(relation.margin) + size
        case AtMost() | AtLeast():
            logs[:] = -size
            if not holds:
                logs[-1] = size
            if isinstance(relation, AtLeast):
                logs = -logs
        case Order():
            logs = steps * (math.log(relation.growth) + (-size if holds else size))
            if isinstance(relation, OrderAtLeast):
                logs = -logs
        case ScalesAs():
            power = relation.power
            if holds:
                relation = dataclasses.replace(relation, margin=min(size / math.log(2), 1 - 1e-9))
            else:
                power += relation.margin + size / math.log(2)
            logs = steps * power * math.log(2)
        case Trend():
            logs = (1 if holds else -1) * relation.sign * size * steps / (cells - 1)
        case Turns():
            middle = (cells - 1) // 2
            shape = np.where(steps <= middle, steps / middle, (cells - 1 - steps) / (cells - 1 - middle))
            logs = (1 if holds else -1) * relation.sign * size * shape
    return relation, [float(mean) for mean in np.exp(logs)]


def simulated_cells(
    means: Sequence[float], law: Law, shape: tuple[int, int], rng: np.random.Generator, facets: int = 1
) -> list[CellSample]:
    """Cells with these means in each facet, of which each holds ``shape`` = (batch, n) values."""
    return [
        CellSample({"depth": FIRST_DEPTH + facet, "width": FIRST_WIDTH * 2**k}, mean * law(rng, shape), reference=1.0)
        for facet in range(facets)
        for k, mean in enumerate(means)
    ]


def simulated_claim(relation: Relation, cells: int, facets: int = 1) -> Claim:
    """A claim about such cells: what is said along an axis is said of the width."""
    grid = {
        "depth": tuple(FIRST_DEPTH + facet for facet in range(facets)),
        "width": tuple(FIRST_WIDTH * 2**k for k in range(cells)),
    }
    if isinstance(relation, Trend | Turns | ScalesAs):
        relation = dataclasses.replace(relation, axis="width")
    return Claim("simulated/truth", "", relation, "jacobian_frobenius", grid)


def p_values(claim: Claim, cells: Sequence[CellSample], outcome: Outcome) -> np.ndarray:
    """(batch,) p-values of the test that would give this outcome."""
    stated = statement(claim, cells)
    if outcome == "supported":
        return stated.p_support(np.array([part.p_holds() for part in stated.parts]))
    return stated.p_refute(np.array([part.p_fails() for part in stated.parts]))


def power(
    relation: Relation,
    *,
    cv: float,
    effect: float,
    n: int,
    outcome: Outcome = "supported",
    cells: int = 4,
    facets: int = 1,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
) -> float:
    """The probability that networks show what is true.

    Args:
        relation: what is stated.
        cv: standard deviation over mean, as a pilot shows it.
        effect: how plainly the statement is true or false, see :func:`ground_truth`.
        n: networks per cell.
        outcome: what should be shown.
        cells: cells of each facet of the grid.
        facets: groups of cells that the statement speaks of one by one (the other axes of a trend).
        level: the level; divide by the number of claims judged together.
        repetitions: simulated experiments.

    Returns:
        The smallest of what lognormal, gamma and (up to a spread of 0.3) normal values give, with a
        standard error of at most 0.5/√repetitions.

    Raises:
        InputError: too few networks, a spread or an effect that is none.
    """
    if n < MINIMUM_SEEDS:
        raise InputError(f"a verdict needs {MINIMUM_SEEDS} networks per cell, got {n}")
    if not cv > 0:
        raise InputError(f"a coefficient of variation is positive, got {cv!r}")
    if not effect > 1:
        raise InputError(f"an effect is a factor above 1, got {effect!r}")
    relation, means = ground_truth(relation, effect, outcome, cells)
    claim = simulated_claim(relation, cells, facets)
    laws = [lognormal(cv), gamma(cv), *([normal(cv)] if cv <= LARGEST_NORMAL_CV else [])]
    shown = []
    for law in laws:
        sample = simulated_cells(means, law, (repetitions, n), np.random.default_rng(0), facets)
        shown.append(float(np.mean(p_values(claim, sample, outcome) <= level)))
    return min(shown)


def detectable_effect(
    relation: Relation,
    *,
    cv: float,
    n: int,
    outcome: Outcome = "supported",
    cells: int = 4,
    facets: int = 1,
    level: float = LEVEL,
    wanted: float = POWER,
    repetitions: int = REPETITIONS,
) -> float:
    """The smallest effect that ``n`` networks per cell show with probability ``wanted``; infinite if none is.

    Arguments as for :func:`power`. The power aimed at is two standard errors of the simulation above ``wanted``.
    """
    aim = wanted + 2 * math.sqrt(wanted * (1 - wanted) / repetitions)
    simulated = min(n, LARGEST_SIMULATED)

    def enough(log_effect: float) -> bool:
        shown = power(
            relation, cv=cv, effect=math.exp(log_effect), n=simulated, outcome=outcome, cells=cells, facets=facets,
            level=level, repetitions=repetitions,
        )  # fmt: skip
        return shown >= aim

    found = _smallest(enough, 0.0, 2 * cv / math.sqrt(simulated), math.log(LARGEST_EFFECT))
    return math.inf if found is None else math.exp(found * math.sqrt(simulated / n))


def networks_needed(
    relation: Relation,
    *,
    cv: float,
    effect: float,
    outcome: Outcome = "supported",
    cells: int = 4,
    level: float = LEVEL,
    wanted: float = POWER,
    largest: int = 4096,
) -> int | None:
    """Networks per cell that show an effect with probability ``wanted``; None if ``largest`` are not enough."""

    def enough(n: int) -> bool:
        return power(relation, cv=cv, effect=effect, n=n, outcome=outcome, cells=cells, level=level) >= wanted

    if enough(MINIMUM_SEEDS):
        return MINIMUM_SEEDS
    found = _smallest(lambda n: enough(math.floor(n)), MINIMUM_SEEDS, 2 * MINIMUM_SEEDS, largest, step=1)
    return None if found is None else math.floor(found)


def _smallest(
    enough: Callable[[float], bool], low: float, high: float, largest: float, step: float = 0.0
) -> float | None:
    """Where a size becomes ``enough``, to 2 % or ``step``; above ``low``, from ``high`` on by doubling; or None."""
    high = min(high, largest)
    while not enough(high):
        low, high = high, 2 * high
        if high > largest:
            return None
    while high - low > max(step, 0.02 * high):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
