"""What ``verdicts.json`` must hold for its figures and pages to be drawn: types, ranges, and what must agree.

Entries that are not named here are allowed: readers pass over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ntkrobust.reports.words import LABELS

Count = Annotated[int, Field(ge=0)]
Interval = Annotated[list[float | None], Field(min_length=2, max_length=2)]
Plain = str | int | float | bool | None


class _Entry(BaseModel):
    # Strict: a text is no number and 1.0 no integer, as what wrote the file tells them apart.
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Effect(_Entry):
    name: str
    estimate: float | None
    interval: Interval
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95

    @field_validator("interval")
    @classmethod
    def _is_ordered(cls, interval: list[float | None]) -> list[float | None]:
        return _ordered(interval)


class _Relation(_Entry):
    kind: Literal[
        "equals", "at_most", "at_least", "order_at_most", "order_at_least", "trend", "scales_as", "turns"
    ]  # fmt: skip
    text: str
    axis: str | None
    margin: float | None
    sign: int | None = None
    power: float | None = None
    growth: float | None = None
    over: str | None = None
    flat: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> _Relation:
        needed = {
            "equals": ("margin",), "order_at_most": ("growth",), "order_at_least": ("growth",),
            "trend": ("axis", "margin"), "scales_as": ("axis", "power", "margin"), "turns": ("axis", "sign", "margin"),
        }.get(self.kind, ())  # fmt: skip
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"needs its {name}")
        return self


class _Measure(_Entry):
    name: str
    definition: str
    side: str
    arithmetic: bool = False


class _Adversary(_Entry):
    objective: Literal["generalized", "trades", "jacobian", "interval"]
    strength: float


class _Reading(_Entry):
    text: str
    time: str
    value: float | None = None
    functional: str
    optimizer: str = "gd"
    adversary: _Adversary | None = None


class _TurningPoint(_Entry):
    axis: str
    estimate: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    predicted: float | None
    agrees: bool | None


class _Cell(_Entry):
    coordinates: Annotated[dict[str, Plain], Field(min_length=1)]
    networks: Count
    mean: float | None
    interval: Interval | None
    reference: float | None
    theory: float | None
    in_scope: bool
    problem: str
    checked: dict[str, float | None]
    variance_left: Annotated[float, Field(ge=0)] | None = 1.0
    evidence_cell: Count

    @field_validator("interval")
    @classmethod
    def _is_ordered(cls, interval: list[float | None] | None) -> list[float | None] | None:
        return None if interval is None else _ordered(interval)


class _Verdict(_Entry):
    claim: Annotated[str, Field(min_length=1)]
    label: str
    reason: str
    statement: str
    relation: _Relation
    measure: _Measure
    grid: dict[str, list[Plain]] = {}
    reading: _Reading
    source: str
    provenance: str
    assumptions: list[str]
    design: str = ""
    effect: _Effect | None
    p_value: Annotated[float, Field(ge=0, le=1)] | None
    level: Annotated[float, Field(gt=0, lt=1)]
    draws: Annotated[int, Field(ge=1)] = 1
    seeds: Count
    points: Count
    seeds_needed: Count | None
    tightness: Interval | None
    vacuous: bool | None = None
    constant: _Effect | None
    exponent: _Effect | None
    turning_point: _TurningPoint | None
    range: dict[str, list[Plain]]
    counterexample: dict[str, Plain] | None
    command: str
    theory_label: str
    cells: Annotated[list[_Cell], Field(min_length=1)]

    @field_validator("label")
    @classmethod
    def _is_known(cls, label: str) -> str:
        if label not in LABELS:
            raise ValueError(f"must be one of {', '.join(LABELS)}")
        return label

    @model_validator(mode="after")
    def _agrees(self) -> _Verdict:
        if self.label == "flat" and self.relation.flat is None:
            raise ValueError("must say what counts as flat where it is")
        axes = list(self.cells[0].coordinates)
        for cell in self.cells:
            if list(cell.coordinates) != axes:
                raise ValueError("must have the same axes in all its cells")
        turning = [] if self.turning_point is None else [self.turning_point.axis]
        for axis in (*self.range, *turning, *([] if self.relation.axis is None else [self.relation.axis])):
            if axis not in axes:
                raise ValueError(f"speaks of an axis {axis!r} that its cells don't have")
        places = [cell.coordinates for cell in self.cells]
        if any(places.count(place) > 1 for place in places):
            raise ValueError("must have each cell once")
        if self.counterexample is not None and self.counterexample not in places:
            raise ValueError("must have its counterexample among its cells")
        return self


class _Networks(_Entry):
    drawn: Count
    trained: Count


class _AllNetworks(_Entry):
    used: _Networks
    planned: _Networks


class _Values(_Entry):
    verdicts: list[_Verdict]
    networks: _AllNetworks

    @field_validator("verdicts")
    @classmethod
    def _are_distinct(cls, verdicts: list[_Verdict]) -> list[_Verdict]:
        names = [verdict.claim for verdict in verdicts]
        if not names:
            raise ValueError("holds no verdicts")
        if len(set(names)) < len(names):
            raise ValueError("must have each claim once")
        return verdicts


class _Data(_Entry):
    name: str
    n: Count
    d: Count
    o: Count
    n_test: Count


class _Inputs(_Entry):
    claims: list[str]
    data: _Data
    preset: str
    seeds: Count
    looks: Annotated[list[Count], Field(min_length=1)]
    points: Count
    key: list[Count]


class _Environment(_Entry):
    ntkrobust: str
    devices: str
    __pydantic_extra__: dict[str, str]


class _Timing(_Entry):
    started: str
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    cells: Count

    @field_validator("started")
    @classmethod
    def _is_a_date(cls, started: str) -> str:
        datetime.fromisoformat(started)
        return started


class _Run(_Entry):
    id: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]
    evidence_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Document(_Entry):
    run: _Run | None = None
    inputs: _Inputs
    values: _Values
    environment: _Environment
    timing: _Timing

    @model_validator(mode="after")
    def _agrees(self) -> _Document:
        if self.inputs.claims != [verdict.claim for verdict in self.values.verdicts]:
            raise ValueError("`inputs` must list the claims that `values` has verdicts on")
        return self


def problem_of(document: Any) -> str | None:
    """What keeps a document from being drawn, as one clause; None if nothing does."""
    try:
        _Document.model_validate(document)
    except ValidationError as error:
        return _in_words(error.errors(include_url=False)[0])
    return None


def _in_words(first: Any) -> str:
    where = _place(first["loc"])
    if first["type"] == "missing":
        return f"is not complete: {_place(first['loc'][:-1]) or 'the document'} lacks {first['loc'][-1]}"
    reason = first["msg"].removeprefix("Value error, ")
    got = first["input"]
    shown = f", got {_short(got)}" if got is None or isinstance(got, str | int | float | bool) else ""
    return f"is not what `verify` wrote: {where + ': ' if where else ''}{reason}{shown}"


def _place(steps: Sequence[str | int]) -> str:
    """``values.verdicts[0].cells[3].mean``; without the steps that only tell types apart."""
    text = ""
    for step in steps:
        if step in ("str", "int", "float", "bool"):
            continue
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{step}" if text else step
    return text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _ordered(interval: list[float | None]) -> list[float | None]:
    low, high = interval
    if low is not None and high is not None and low > high:
        raise ValueError("must be an interval, its lower end first")
    return interval
