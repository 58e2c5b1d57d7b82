"""What a statement can say about a measure on a grid of cells. Only the form; how it is judged is in ``verdict.py``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from ntkrobust.errors import InputError

Formula = Callable[..., float]
"""A plain function of named coordinates of a cell (``depth``, ``width``, ``d_in``, …): it names those it needs."""


@dataclasses.dataclass(frozen=True)
class Equals:
    """E[measure] = value, to within a relative margin.

    Attributes:
        value: the value stated for a cell.
        margin: the statement counts as true where |E[measure]/value − 1| ≤ margin.
    """

    value: Formula
    margin: float = 0.05

    def __post_init__(self) -> None:
        _check_margin(self.margin)

    def __str__(self) -> str:
        return f"equals, to within {self.margin:.0%}"


@dataclasses.dataclass(frozen=True)
class AtMost:
    """E[measure] ≤ bound in every cell, with an explicit constant.

    Attributes:
        bound: the bound stated for a cell.
    """

    bound: Formula

    def __str__(self) -> str:
        return "at most"


@dataclasses.dataclass(frozen=True)
class Trend:
    """E[measure] changes in one direction along an axis; see :func:`IncreasesIn` and :func:`DecreasesIn`.

    Attributes:
        axis: the grid axis, ``width`` or ``depth``.
        sign: +1 for increasing, −1 for decreasing.
        margin: relative change against the stated direction, between any two cells, that is still put up with; the
            change over the whole range has to go the stated way whatever the margin.
    """

    axis: str
    sign: int
    margin: float = 0.05

    def __post_init__(self) -> None:
        _check_margin(self.margin)

    def __str__(self) -> str:
        return f"{'increases' if self.sign > 0 else 'decreases'} in {self.axis}"


def IncreasesIn(axis: str, margin: float = 0.05) -> Trend:
    """E[measure] increases along ``axis``."""
    return Trend(axis, +1, margin)


def DecreasesIn(axis: str, margin: float = 0.05) -> Trend:
    """E[measure] decreases along ``axis``."""
    return Trend(axis, -1, margin)


Relation = Equals | AtMost | Trend


def _check_margin(margin: float) -> None:
    if not (isinstance(margin, int | float) and math.isfinite(margin) and 0 < margin < 1):
        raise InputError(f"a margin is a relative change strictly between 0 and 1, got {margin!r}")
