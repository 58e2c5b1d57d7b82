"""The file of a sweep: TOML, checked by pydantic, with the line that is wrong named.

::

    data = "digits"                   # a name or a file, or a list of them
    seeds = 16
    measures = ["jacobian_frobenius", {name = "robust_accuracy", epsilon = 0.1, attack = {name = "pgd", steps = 40}}]

    [[networks]]                      # axis = value, or a list of values: all combinations
    depth = [2, 3, 4]
    width = [16, 64]
    initialization = ["he", "lecun"]

    [[readings]]                      # when networks are looked at; by default as they are drawn
    time = "fixed steps"
    value = 100
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ntkrobust.bounds.claims.reading import Reading
from ntkrobust.checks import MOST_SEEDS
from ntkrobust.errors import InputError, one_line
from ntkrobust.files.atomic import named
from ntkrobust.files.texts import text_of
from ntkrobust.finite.attacks import catalogue as attacks
from ntkrobust.finite.measures import catalogue as measures
from ntkrobust.finite.measures.base import Measure
from ntkrobust.studies.sweeping import Sweep

MOST_BYTES = 2**18
"""Bytes that a file of a sweep may have."""

_Scalar = bool | int | float | str
_Text = Annotated[str, Field(min_length=1, max_length=4000)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Open(BaseModel):
    """Parameters are those of the object that ``name`` stands for, which knows and checks them."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    name: _Text


_ONE_OR_MORE = BeforeValidator(lambda given: given if isinstance(given, list) else [given])
_NAMED = BeforeValidator(lambda given: {"name": given} if isinstance(given, str) else given)


class Spec(_Strict):
    """What a file of a sweep holds.

    Attributes:
        networks: grids, axis → value or values, as of a claim.
        data: names or files.
        seeds: networks per cell.
        points: test points that measures are averaged over.
        key: the number that the random key is made of.
        measures: names, or tables of a name and parameters.
        readings: the fields of :class:`~ntkrobust.Reading`.
    """

    networks: Annotated[list[dict[str, Annotated[list[_Scalar], _ONE_OR_MORE]]], Field(min_length=1, max_length=1000)]
    data: Annotated[list[_Text], _ONE_OR_MORE, Field(min_length=1, max_length=100)] = ["digits"]
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 16
    points: Annotated[int, Field(ge=1)] = 64
    key: Annotated[int, Field(ge=0, lt=2**32)] = 0
    measures: Annotated[list[Annotated[_Open, _NAMED]], Field(min_length=1, max_length=100)] = [
        _Open(name="perturbation_stability")
    ]
    readings: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100)] = [{}]

    @property
    def data_sets(self) -> list[str]:
        """The names of the data, once each."""
        return list(dict.fromkeys(self.data))


@dataclasses.dataclass(frozen=True)
class Located:
    """A sweep as a file says it.

    Attributes:
        path: the file.
        text: what is in it.
        spec: the same, checked.
        sweep: its objects.
    """

    path: Path
    text: str
    spec: Spec
    sweep: Sweep

    def blamed(self, error: InputError) -> InputError:
        """An error about a part of the sweep, with the line of that part."""
        place = re.match(r"(networks|measures|readings) (\d+): ", str(error))
        if place is None:
            return InputError(f"{named(self.path)}: {error}")
        within = str(error)[place.end() :]
        entry = (place[1], int(place[2]) - 1)
        table = getattr(self.spec, place[1])[entry[1]]
        keys = table if isinstance(table, dict) else getattr(table, "model_extra", None) or {}
        key = _key_meant(list(keys), within)
        at = entry if key is None else (*entry, key)
        return InputError(f"{named(self.path)}, {line_of(self.text, at)}: {within}")


def read_spec(path: str | Path) -> Located:
    """Read the file of a sweep.

    Raises:
        InputError: it can't be read, is not TOML, or something in it is not what it should be; with the line.
    """
    path = Path(path)
    return parsed(path, text_of(path, MOST_BYTES))


def parsed(path: Path, text: str) -> Located:
    """The same of a text.

    Raises:
        InputError: it is not TOML, or something in it is not what it should be; with the line.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{named(path)} is nested too deeply") from None
    except ValueError as error:  # says the line itself
        raise InputError(f"{named(path)} is not TOML: {error}") from None
    try:
        spec = Spec.model_validate(document)
    except ValidationError as error:
        place, sentence = _complaint(error)
        raise InputError(f"{named(path)}, {line_of(text, place)}: {sentence}") from None
    located = Located(path, text, spec, Sweep(spec.networks, (), (), spec.seeds, spec.points))
    try:
        readings = [_named("readings", index, _reading, one) for index, one in enumerate(spec.readings, 1)]
        chosen = [_named("measures", index, _measure, one) for index, one in enumerate(spec.measures, 1)]
    except InputError as error:
        raise located.blamed(error) from None
    return dataclasses.replace(located, sweep=dataclasses.replace(located.sweep, readings=readings, measures=chosen))


def _named(what: str, index: int, make: Any, given: Any) -> Any:
    try:
        return make(given)
    except (InputError, TypeError) as error:
        raise InputError(f"{what} {index}: {error}") from None


def _reading(fields: dict[str, Any]) -> Reading:
    known = {field.name for field in dataclasses.fields(Reading)} - {"functional"}
    _check_known("a reading", fields, known)
    return Reading(**fields)


def _measure(given: _Open) -> Measure:
    found = measures.get(given.name)
    parameters = dict(given.model_extra or {})
    _check_known(f"the measure {given.name!r}", parameters, {one.name for one in dataclasses.fields(found)})  # type: ignore[arg-type]
    if isinstance(parameters.get("attack"), dict):
        parameters["attack"] = _attack(parameters["attack"])
    return dataclasses.replace(found, **parameters)  # type: ignore[type-var]


def _attack(fields: dict[str, Any]) -> Any:
    fields = dict(fields)
    attack = attacks.named(fields.pop("name", ""), fields.pop("norm", "linf"))
    _check_known("the attack", fields, {one.name for one in dataclasses.fields(attack)})
    return dataclasses.replace(attack, **fields)


def _check_known(what: str, fields: dict[str, Any], known: set[str]) -> None:
    stray = [name for name in fields if name not in known]
    if stray:
        raise InputError(f"{what} has no {one_line(stray[0], 60)!r}, only {', '.join(sorted(known)) or 'its name'}")


def _complaint(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Where the first thing is that is wrong, and what it is."""
    first = error.errors()[0]
    # Behind the place, pydantic names the alternatives of a value.
    place = tuple(one for one in first["loc"] if isinstance(one, int) or one not in ("str", "int", "float", "bool"))
    where = ".".join(str(one + 1 if isinstance(one, int) else one) for one in place)
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "extra_forbidden":
        message = f"there is no such entry, only {', '.join(Spec.model_fields)}"
    return place, one_line(
        f"{where}: {message}" + ("" if first["type"] == "missing" else f", got {first['input']!r}"), 500
    )


def _key_meant(keys: Sequence[str], sentence: str) -> str | None:
    """Which key of a table a sentence speaks of: one that it quotes, or the one that it names last."""
    quoted = [key for key in keys if repr(key) in sentence]
    if quoted:
        return quoted[0]
    places = {key: [one.start() for one in re.finditer(rf"\b{re.escape(key)}\b", sentence)] for key in keys}
    found = [key for key in keys if places[key]]
    return max(found, key=lambda key: places[key][-1]) if found else None


def line_of(text: str, place: Sequence[str | int]) -> str:
    """``line 3``: where a place of a TOML document is said, as far as it is in it.

    The first lines of a document are one too, except where they end within a value. So the entry ends in the line with
    which it first appears, and begins after the last one that made a document before.
    """
    lines = text.splitlines()
    for shorter in range(len(place), 0, -1):
        for first, last, document in _documents(lines):
            if _has(document, place[:shorter]):
                while first < last and not lines[first - 1].partition("#")[0].strip():
                    first += 1
                return f"line {last}" if first == last else f"lines {first} to {last}"
    return "line 1" if len(lines) <= 1 else f"lines 1 to {len(lines)}"


def _documents(lines: list[str]) -> Iterator[tuple[int, int, Any]]:
    """Documents made of the first lines, each with the lines that the one before does not have."""
    first = 1
    for last in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:last]))
        except ValueError:
            continue
        yield first, last, document
        first = last + 1


def _has(document: Any, place: Sequence[str | int]) -> bool:
    for part in place:
        if isinstance(document, dict) and part in document:
            document = document[str(part)]
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            return False
    return True
