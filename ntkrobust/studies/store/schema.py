"""What headers of stored cells must be, and journals: checked by pydantic before anything is made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ntkrobust.checks import MOST_SEEDS

MOST_DRAWN = 1000 * MOST_SEEDS
"""Networks of a cell, at most."""

_Digest = Annotated[str, Field(pattern=re.compile(r"^[0-9a-f]{64}$").pattern)]
_Text = Annotated[str, Field(max_length=10_000)]
_Seed = Annotated[int, Field(ge=0, le=MOST_DRAWN)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


_Plain = Annotated[str | int | float | bool | None, Field(union_mode="left_to_right")]
"""A coordinate: what JSON has, but for lists and objects."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Segment(_Strict):
    cell: _Digest
    start: _Seed
    stop: _Seed
    measures: list[Annotated[list[_Text], Field(min_length=2, max_length=2)]]
    seconds: _NotNegative
    plan: _Text
    steps: _Seed
    tolerance: _NotNegative | None
    time_error: dict[_Digest, _NotNegative | None]
    data: _Digest
    numerics: _Digest
    generation: Annotated[int, Field(ge=0, le=2**53)]
    label: _Text
    coordinates: dict[_Text, _Plain]


class _Header(_Strict):
    schema_version: int
    segments: list[_Segment]


class MadeOf(_Strict):
    """What the last run in a folder was made of; see :mod:`ntkrobust.studies.store.former`."""

    schema_version: Literal[1] = 1
    number: Annotated[int, Field(ge=0, le=2**53)] = 0
    package: _Text = ""
    sources: _Text = ""
    numerics: dict[_Text, str | int | bool] = {}
    data: dict[_Text, _Digest] = {}
    code: dict[_Text, list[_Digest]] = {}


class _Event(BaseModel):
    """A line of a journal; see :mod:`ntkrobust.studies.store.journal`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    event: Literal["opened", "planned", "running", "done", "failed", "closed"]
    cells: list[Annotated[list[JsonValue], Field(min_length=3, max_length=3)]] = []
    cell: _Digest | None = None
    reason: _Text = ""
    traceback: Annotated[str, Field(max_length=200_000)] = ""


def headers_in(document: Any) -> list[Mapping[str, Any]]:
    """The headers of segments in a file's header.

    Raises:
        ValueError: it is not what it should be, in one line.
    """
    try:
        found = _Header.model_validate(document).segments
    except ValidationError as error:
        raise ValueError(_line(error)) from None
    for one in found:
        names = {name for name, _ in one.measures}
        if one.start >= one.stop or len(names) < len(one.measures) or not one.time_error.keys() <= names:
            raise ValueError("a segment contradicts itself")
    return [vars(one) for one in found]


def event_in(document: Any) -> _Event | None:
    """A line of a journal; None if it is none."""
    try:
        return _Event.model_validate(document)
    except ValidationError:
        return None


def _line(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"at {'.'.join(map(str, first['loc']))}: {first['msg']}"
