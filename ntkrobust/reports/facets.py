"""Which cells of a grid are drawn together: the axes that vary, and the groups they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Cell = Mapping[str, Any]
"""A cell as ``verdicts.json`` describes it."""


@dataclasses.dataclass(frozen=True)
class Facet:
    """Cells that differ along one axis only.

    Attributes:
        fixed: axis → value of the other axes that vary over the grid.
        cells: in the order of the remaining axis.
    """

    fixed: dict[str, Any]
    cells: tuple[Cell, ...]


def interval_of(cell: Cell) -> list[float] | None:
    """The interval of a cell's mean, where both of its ends are known."""
    interval = cell["interval"]
    return None if interval is None or None in interval else interval


def values_of(cells: Sequence[Cell], axis: str) -> list[Any]:
    """The values that an axis takes, in the order of the grid."""
    return list(dict.fromkeys(cell["coordinates"][axis] for cell in cells))


def varying(cells: Sequence[Cell]) -> list[str]:
    """Axes with more than one value."""
    return [axis for axis in cells[0]["coordinates"] if len(values_of(cells, axis)) > 1]


def facets(cells: Sequence[Cell], axis: str) -> list[Facet]:
    """Cells grouped by everything that varies besides ``axis``."""
    fixed = [name for name in varying(cells) if name != axis]
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell["coordinates"][name] for name in fixed), []).append(cell)
    order = values_of(cells, axis)
    return [
        Facet(
            dict(zip(fixed, key, strict=True)),
            tuple(sorted(group, key=lambda cell: order.index(cell["coordinates"][axis]))),
        )
        for key, group in groups.items()
    ]


def main_axis(cells: Sequence[Cell]) -> str:
    """The axis to draw along where the statement names none: width before depth, numbers before names."""
    candidates = varying(cells) or list(cells[0]["coordinates"])
    numeric = [axis for axis in candidates if not isinstance(cells[0]["coordinates"][axis], str)]
    return next((axis for axis in ("width", "depth") if axis in numeric), (numeric or candidates)[0])


def panel_axis(cells: Sequence[Cell], axis: str) -> str | None:
    """The axis to give a panel to each value of, where more than one varies besides ``axis``: names before numbers."""
    rest = [name for name in varying(cells) if name != axis]
    if len(rest) < 2:
        return None
    return next((name for name in rest if isinstance(cells[0]["coordinates"][name], str)), rest[0])
