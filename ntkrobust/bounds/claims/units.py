"""Numbers of a claim in units of the data: ``"0.5 thresholds"`` as a width, ``"0.16 distances"`` as a radius."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ntkrobust.bounds.claims.facts import Facts
from ntkrobust.errors import InputError

_IN_UNITS = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?) +(thresholds?|distances?)")
_AXES = {"threshold": "width", "distance": "epsilon"}


def in_numbers(table: Mapping[str, Any], facts: Facts | None) -> tuple[dict[str, Any], str]:
    """A claim's table with numbers in place of units, and how they came about, in words.

    Widths in *thresholds* are multiples of the interpolation threshold n·o/(d + o), to whole neurons that increase;
    radii in *distances* are shares of the median ℓ∞ distance to the nearest point of another class, to two digits.

    Args:
        table: of a claim, as TOML has it.
        facts: of the data set; None where none is known.

    Raises:
        InputError: a unit stands where it means nothing, or the data don't have it.
    """
    found, designs = dict(table), []
    grid = table.get("grid")
    if isinstance(grid, dict):
        found["grid"] = dict(grid)
        for axis, values in grid.items():
            numbers, design = _axis(axis, values, grid, facts)
            found["grid"][axis] = numbers
            designs.append(design)
    reading = table.get("reading")
    adversary = reading.get("adversary") if isinstance(reading, dict) else None
    if isinstance(reading, dict) and isinstance(adversary, dict) and "epsilon" in adversary:
        (radius,), design = _axis("epsilon", [adversary["epsilon"]], {}, facts)
        found["reading"] = {**reading, "adversary": {**adversary, "epsilon": radius}}
        designs.append(design)
    return found, "; ".join(dict.fromkeys(filter(None, designs)))


def _axis(axis: str, values: Any, grid: Mapping[str, Any], facts: Facts | None) -> tuple[Any, str]:
    """The values of an axis as numbers, and how they came about."""
    listed = values if isinstance(values, list) else [values]
    matches = [_IN_UNITS.fullmatch(value) if isinstance(value, str) else None for value in listed]
    if not any(matches):
        return values, ""
    units = {match[2].rstrip("s") if match else None for match in matches}
    if len(units) > 1:
        raise InputError(f"{axis}: give all values in one unit, got {listed}")
    (unit,) = units
    assert unit is not None
    if _AXES[unit] != axis:
        raise InputError(f"{axis} has no values in {unit}s: they are for {_AXES[unit]}")
    if facts is None:
        raise InputError(f"{axis} is in {unit}s, which are known with a data set only")
    shares = tuple(float(match[1]) for match in matches if match)
    if unit == "threshold":
        n = grid.get("n", facts.n)
        if isinstance(n, list):
            if len(n) != 1:
                raise InputError("width is in thresholds, which depend on n: give the grid one n")
            (n,) = n
        return list(facts.widths(shares, n)), f"interpolation threshold {facts.threshold(n):.3g} neurons at n = {n}"
    if facts.class_distance is None:
        raise InputError("epsilon is in distances between classes, and these data have no classes")
    return [facts.radius(share) for share in shares], f"distance between classes {facts.class_distance:.3g} in ℓ∞"
