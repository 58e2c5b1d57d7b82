"""What a verification leaves behind: a labelled table of everything measured, and the verdicts as one JSON object."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from platform import python_version
from typing import Any

import jax
import numpy as np
import xarray as xr

from ntkrobust.bounds import statistics
from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.statistics.turning import TurningPoint
from ntkrobust.bounds.verdicts import LEVEL, CellSample, Effect, Verdict
from ntkrobust.data import Dataset
from ntkrobust.finite.measures.base import Measure
from ntkrobust.studies.cells import coordinates
from ntkrobust.studies.examining import Examination
from ntkrobust.studies.records import CellRecord

SCHEMA_VERSION = 1
PACKAGES = ("ntkrobust", "jax", "jaxlib", "numpy", "scipy", "xarray")
CELL_COORDINATES = (
    "architecture", "initialization", "depth", "width", "activation", "parameterization", "d_out", "n", "parameters",
    "alpha", "label_noise",
)  # fmt: skip


def _column(name: str, described: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A coordinate of all cells; what networks of one's own don't have is an empty text or NaN."""
    missing = "" if name in ("architecture", "initialization", "activation", "parameterization") else math.nan
    return [missing if row[name] is None else row[name] for row in described]


def environment() -> dict[str, str]:
    """Versions, devices and precision, as text."""
    devices = jax.devices()
    return {
        **{package: version(package) for package in PACKAGES},
        "python": python_version(),
        "devices": f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform})",
        "precision": "networks float32 with full-precision matrix products, law and statistics float64",
    }


def evidence_tree(examination: Examination, inputs: Mapping[str, Any]) -> xr.DataTree:
    """Everything measured and everything it is compared with, in plain xarray.

    Groups:
        measured: dims ``cell``, ``seed``; one variable per measure (averaged over test points), with the training
            state of each network. Coordinates along ``cell`` say which networks: ``initialization``, ``depth``,
            ``width``, …, ``time`` and ``time_value``. Cells with fewer networks are filled with NaN. ``seconds`` is
            the wall time of a cell, with others beside it.
        theory: dims ``claim``, ``cell``; the theory line that goes with a claim.
        bounds: dims ``claim``, ``cell``; the value or bound that a claim states.

    The grids of claims differ, so one row per cell says more than a cube that is mostly empty; ``set_index`` and
    ``unstack`` make a cube of any part.
    """
    along_cells = coordinates_of(examination.records, examination.data)
    tree = xr.DataTree.from_dict(
        {
            "measured": measured_table(examination.records, examination.measured, along_cells),
            "theory": _stated(examination, along_cells, "theory"),
            "bounds": _stated(examination, along_cells, "reference"),
        }
    )
    tree.attrs = {"schema_version": SCHEMA_VERSION, "inputs": json.dumps(inputs), **environment()}
    return tree


def coordinates_of(records: Sequence[CellRecord], data: Dataset) -> dict[str, Any]:
    """The coordinates along ``cell`` that say which networks a cell has."""
    cells = [record.cell for record in records]
    described = [coordinates(cell, data) for cell in cells]
    # Networks of one's own have names that others don't need.
    own = ["network"] * any(row["network"] for row in described)
    return {
        **{name: ("cell", _column(name, described)) for name in CELL_COORDINATES},
        **{name: ("cell", [row[name] or "" for row in described]) for name in own},
        **{
            name: ("cell", [math.nan if row[name] is None else row[name] for row in described])
            for name in ("bias_std", "epsilon", "scale", "strength")
        },
        "time": ("cell", [cell.time for cell in cells]),
        "optimizer": ("cell", [cell.optimizer for cell in cells]),
        "time_value": ("cell", [math.nan if cell.value is None else cell.value for cell in cells]),
    }


def measured_table(
    records: Sequence[CellRecord], measures: Mapping[str, Measure], along_cells: Mapping[str, Any]
) -> xr.Dataset:
    """The group ``measured`` of :func:`evidence_tree`.

    Args:
        records: the cells.
        measures: name → measure.
        along_cells: their coordinates.
    """
    networks = max(1, *(len(record.seeds) for record in records))

    def filled(of: Any) -> tuple[tuple[str, str], np.ndarray]:
        table = np.full((len(records), networks), np.nan)
        for row, record in enumerate(records):
            values = of(record)
            if values is not None:
                table[row, : len(values)] = values
        return ("cell", "seed"), table

    names = list(dict.fromkeys(name for record in records for name in record.values))
    measured = xr.Dataset(
        {
            **{name: filled(lambda record, name=name: record.values.get(name)) for name in names},
            **{
                state: filled(lambda record, state=state: getattr(record, state))
                for state in ("loss", "step", "gradient_flow_time", "learning_rate")
            },
            "diverged": filled(lambda record: (record.status == "diverged").astype(float)),
            "tolerance": ("cell", [record.tolerance for record in records]),
            "seconds": ("cell", [record.seconds for record in records], {"units": "s"}),
        },
        coords={**along_cells, "cell": np.arange(len(records)), "seed": np.arange(networks)},
    )
    for name in names:
        measure = measures[name]
        measured[name].attrs = {
            "definition": measure.stated,
            "side": measure.side,
            "source": measure.source,
        }
    return measured.assign_coords(plan=("cell", [record.plan for record in records]))


def _stated(examination: Examination, along_cells: Mapping[str, Any], attribute: str) -> xr.Dataset:
    """What claims state for their cells: an attribute of :class:`~ntkrobust.bounds.verdicts.CellSample`."""
    index = {record.cell: position for position, record in enumerate(examination.records)}
    table = np.full((len(examination.verdicts), len(index)), np.nan)
    for row, (verdict, of_claim) in enumerate(zip(examination.verdicts, examination.cells, strict=True)):
        for sample, cell in zip(verdict.cells, of_claim, strict=True):
            value = getattr(sample, attribute)
            if value is not None:
                table[row, index[cell]] = value
    return xr.Dataset(
        {attribute: (("claim", "cell"), table)},
        coords={
            **along_cells,
            "claim": [verdict.claim.id for verdict in examination.verdicts],
            "measure": ("claim", [verdict.claim.measure_name for verdict in examination.verdicts]),
            "cell": np.arange(len(index)),
        },
    )


def verdicts_document(examination: Examination, inputs: Mapping[str, Any], timing: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``verdicts.json``: ``schema_version``, ``inputs``, ``values`` (the verdicts, and the networks used
    and planned), ``environment`` and ``timing``. No NaN: what is missing is null.
    """
    index = {record.cell: position for position, record in enumerate(examination.records)}
    return {
        "schema_version": SCHEMA_VERSION,
        "inputs": dict(inputs),
        "values": {
            "verdicts": [
                describe(verdict, examination.measures[verdict.claim.id], [index[cell] for cell in of_claim])
                for verdict, of_claim in zip(examination.verdicts, examination.cells, strict=True)
            ],
            "networks": {
                "used": dataclasses.asdict(examination.used),
                "planned": dataclasses.asdict(examination.planned),
            },
        },
        "environment": environment(),
        "timing": dict(timing),
    }


def describe(verdict: Verdict, measure: Measure, positions: Sequence[int]) -> dict[str, Any]:
    """One verdict as ``verdicts.json`` holds it.

    Args:
        verdict: the verdict.
        measure: what it speaks of.
        positions: of its cells, along ``cell`` of the evidence.
    """
    claim = verdict.claim
    return {
        **claim.describe(),
        "label": verdict.label,
        "reason": verdict.reason,
        "measure": {
            "name": measure.name,
            "definition": measure.stated,
            "side": measure.side,
            "arithmetic": isinstance(claim.measure, Quantity),
        },
        "effect": _effect(verdict.effect),
        "p_value": _number(verdict.p_value),
        "level": LEVEL,
        "seeds": verdict.seeds,
        "points": verdict.points,
        "seeds_needed": verdict.seeds_needed,
        "tightness": None if verdict.tightness is None else [_number(end) for end in verdict.tightness],
        "vacuous": verdict.vacuous,
        "time_error": _number(verdict.time_error),
        "constant": _effect(verdict.constant),
        "exponent": _effect(verdict.exponent),
        "turning_point": None if verdict.turning_point is None else _turning_point(verdict.turning_point),
        "range": verdict.range,
        "counterexample": None if verdict.counterexample is None else dict(verdict.counterexample.coordinates),
        "command": verdict.command,
        "cells": [
            _describe_cell(claim, sample, position) for sample, position in zip(verdict.cells, positions, strict=True)
        ],
    }


def _describe_cell(claim: Claim, sample: CellSample, position: int) -> dict[str, Any]:
    mean = low = high = None
    values = sample.values
    networks = len(values)
    if isinstance(claim.measure, Quantity):
        networks = 0
        if len(values):
            mean = low = high = float(values.mean())
        if len(values) > 1:  # by independent sets of neurons
            low, high = statistics.mean(values).interval()
    elif not sample.problem and len(values) > 1 and np.isfinite(values).all():
        if claim.reading.functional == "geometric mean":
            estimate = statistics.log_mean(values, claim.reading.functional)
            estimate = dataclasses.replace(estimate, time_error=sample.relative_time_error)
            mean, low, high = (float(np.exp(end)) for end in (estimate.value, *estimate.interval()))
        else:
            estimate = dataclasses.replace(statistics.mean(values), time_error=sample.time_error)
            mean, (low, high) = estimate.value, estimate.interval()
    return {
        "coordinates": dict(sample.coordinates),
        "networks": networks,
        "mean": _number(mean),
        "interval": None if _number(low) is None or _number(high) is None else [_number(low), _number(high)],
        "time_error": _number(sample.time_error),
        "variance_left": _number(sample.variance_left),
        "reference": _number(sample.reference),
        "theory": _number(sample.theory),
        "in_scope": sample.in_scope,
        "problem": sample.problem,
        "checked": {name: _number(value) for name, value in sample.checked.items()},
        "evidence_cell": position,
    }


def _turning_point(place: TurningPoint) -> dict[str, Any]:
    return {
        "axis": place.axis,
        "estimate": place.estimate,
        "interval": [place.low, place.high],
        "predicted": _number(place.predicted),
        "agrees": place.agrees,
    }


def _effect(effect: Effect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    return {
        "name": effect.name,
        "estimate": _number(effect.estimate),
        "interval": [_number(effect.low), _number(effect.high)],
        "level": effect.level,
    }


def _number(value: float | None) -> float | None:
    """A float that JSON can hold, or None."""
    return None if value is None or not math.isfinite(value) else float(value)
