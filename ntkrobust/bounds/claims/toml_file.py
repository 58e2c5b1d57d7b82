"""Claims from a TOML file: data only, nothing in it is executed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.coordinates import COORDINATES
from ntkrobust.bounds.claims.expressions import Expression
from ntkrobust.bounds.claims.facts import Facts
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption, Reading
from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    DecreasesIn,
    Equals,
    FallsThenRises,
    IncreasesIn,
    OrderAtLeast,
    OrderAtMost,
    Relation,
    RisesThenFalls,
    ScalesAs,
)
from ntkrobust.bounds.claims.units import in_numbers
from ntkrobust.errors import InputError
from ntkrobust.files.texts import text_of

LONGEST = 2**20
"""Bytes that a file of claims may have."""

DEEPEST = 8
"""Parts of a dotted key."""

_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_DEEP = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{DEEPEST},}}")

_RELATIONS: dict[str, tuple[Callable[..., Relation], tuple[str, ...], tuple[str, ...]]] = {
    "equals": (Equals, ("value",), ("margin",)),
    "at most": (AtMost, ("bound",), ()),
    "at least": (AtLeast, ("bound",), ()),
    "order at most": (OrderAtMost, ("bound",), ("growth",)),
    "order at least": (OrderAtLeast, ("bound",), ("growth",)),
    "scales as": (ScalesAs, ("axis", "power"), ("margin", "over", "flat")),
    "increases in": (IncreasesIn, ("axis",), ("margin", "flat")),
    "decreases in": (DecreasesIn, ("axis",), ("margin", "flat")),
    "rises then falls": (RisesThenFalls, ("axis",), ("margin", "at", "flat")),
    "falls then rises": (FallsThenRises, ("axis",), ("margin", "at", "flat")),
}
"""Name → what makes the relation, the entries that it needs, and those that it may have."""

_OF_RELATIONS = tuple(dict.fromkeys(name for _, needs, may in _RELATIONS.values() for name in (*needs, *may)))
_REQUIRED = ("id", "relation", "measure", "grid")
_OPTIONAL = ("statement", "reading", "source", "provenance", "assumptions", "theory", "theory_label", "draws",
             "points", "quantity")  # fmt: skip


def claims_in_toml(path: str | Path, facts: Facts | None = None) -> list[Claim]:
    """The claims of a file, in order: one at the top level, or several as ``[[claim]]``.

    ``relation`` is ``equals``, ``at most``, ``at least``, ``order at most``, ``order at least``, ``scales as``,
    ``increases in``, ``decreases in``, ``rises then falls`` or ``falls then rises``; ``value``, ``bound``, ``at`` and
    ``theory`` are formulas, ``assumptions`` conditions (:class:`Expression`); ``axis``, ``power``, ``margin``,
    ``flat``, ``over``, ``growth`` go with the relation; ``measure`` is a name, ``quantity`` a formula that the
    statement is about in place of what networks have (:class:`Quantity`), ``grid`` a table axis → values, ``reading``
    a table of the fields of :class:`Reading`. The rest are the fields of :class:`Claim`. Widths and radii
    may be in units of the data (:mod:`ntkrobust.bounds.claims.units`), of which ``facts`` know.

    Raises:
        InputError: there is no such file, it is not TOML, or something in it is not a claim.
    """
    path = Path(path)
    document = _parsed(path, text_of(path, LONGEST))
    tables = [document] if "id" in document else document.get("claim", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path} defines no claims: give an `id` at the top level, or tables [[claim]]")
    stray = [] if "id" in document else [name for name in document if name != "claim"]
    if stray:
        raise InputError(f"{path} has entries outside its claims: {', '.join(stray)}")
    try:
        return [_claim(table, facts) for table in tables]
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    # Of a dotted key the parser makes a table for each part, and walks through all of them: n parts cost n².
    deep = _DEEP.search(_STRING.sub("_", text))
    if deep is not None:
        raise InputError(f"{path} has a key of more than {DEEPEST} parts, {deep[0]:.60}: a claim has keys of two")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply") from None
    except ValueError as error:  # also of integers of thousands of digits
        raise InputError(f"{path} is not TOML: {error}") from None


def _claim(table: Mapping[str, Any], facts: Facts | None) -> Claim:
    missing = [name for name in _REQUIRED if name not in table]
    if missing:
        raise InputError(f"claim {table.get('id', '(without id)')}: it needs {', '.join(missing)}")
    said = f"claim {table['id']}"
    known = (*_REQUIRED, *_OPTIONAL, *_OF_RELATIONS)
    for name in table:
        if name not in known:
            raise InputError(f"{said}: unknown entry {name!r}, expected some of {', '.join(known)}")
    for name, kind in (
        ("grid", dict), ("reading", dict), ("assumptions", list), ("measure", str), ("draws", int), ("points", int),
    ):  # fmt: skip
        if name in table and not isinstance(table[name], kind):
            raise InputError(f"{said}: {name} must be {_KINDS[kind]}, got {table[name]!r}")
    fields: dict[str, Any] = {
        name: table[name] for name in ("source", "provenance", "theory_label", "draws", "points") if name in table
    }
    try:
        table, fields["design"] = in_numbers(table, facts)
        if "reading" in table:
            fields["reading"] = Reading(**table["reading"])
        if "theory" in table:
            fields["theory"] = Expression(table["theory"])
        measure = table["measure"]
        if "quantity" in table:
            measure = Quantity(measure, Expression(table["quantity"]))
        fields["assumptions"] = tuple(_assumption(text) for text in table.get("assumptions", ()))
        relation = _relation(table)
    except (InputError, TypeError) as error:
        raise InputError(f"{said}: {error}") from None
    return Claim(table["id"], table.get("statement", ""), relation, measure, table["grid"], **fields)


_KINDS = {dict: "a table", list: "a list", str: "a text", int: "an integer"}


def _relation(table: Mapping[str, Any]) -> Relation:
    name = str(table["relation"]).replace("_", " ").replace("-", " ")
    if name not in _RELATIONS:
        raise InputError(f"a relation is one of {', '.join(_RELATIONS)}, got {table['relation']!r}")
    make, needs, may = _RELATIONS[name]
    missing = [entry for entry in needs if entry not in table]
    if missing:
        raise InputError(f"the relation {name!r} needs {' and '.join(missing)}")
    idle = [entry for entry in _OF_RELATIONS if entry in table and entry not in (*needs, *may)]
    if idle:
        raise InputError(f"the relation {name!r} takes no {' and no '.join(idle)}")
    given = {entry: table[entry] for entry in (*needs, *may) if entry in table}
    return make(**given)


def _assumption(text: Any) -> Assumption:
    condition = Expression(text, condition=True)
    # What is no coordinate of a cell has to be a measure of its networks.
    return Assumption(text, condition, tuple(name for name in condition.names if name not in COORDINATES))
