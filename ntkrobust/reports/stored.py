"""Reading back what a verification left in a folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from ntkrobust.errors import InputError

SCHEMA_VERSION = 1
"""The layout of ``verdicts.json`` and of the evidence that this package can show."""

LABELS = ("supported", "refuted", "inconclusive", "out of scope")

_ENTRIES = ("inputs", "values", "environment", "timing")
_VERDICT_ENTRIES = (
    "claim", "label", "reason", "statement", "relation", "measure", "reading", "source", "provenance", "assumptions",
    "effect", "p_value", "level", "seeds", "seeds_needed", "tightness", "constant", "exponent", "turning_point",
    "range", "counterexample", "command", "theory_label", "cells",
)  # fmt: skip
_CELL_ENTRIES = (
    "coordinates", "networks", "mean", "interval", "reference", "theory", "in_scope", "problem", "checked",
    "evidence_cell",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a folder holds.

    Attributes:
        document: the content of ``verdicts.json``.
        evidence: everything measured, in memory; its groups are ``measured``, ``theory`` and ``bounds``.
    """

    document: dict[str, Any]
    evidence: xr.DataTree


def read_folder(folder: str | Path) -> Stored:
    """Read ``verdicts.json`` and ``evidence/evidence.nc``. No file stays open.

    Raises:
        InputError: the folder or a file is missing, is not what its name says, or the two files are not of one run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    document = _read_verdicts(folder / "verdicts.json")
    evidence = _read_evidence(folder / "evidence" / "evidence.nc")
    cells = evidence["measured"].sizes["cell"]
    beyond = [cell for cell in _cells(document) if not 0 <= cell["evidence_cell"] < cells]
    if beyond or json.loads(evidence.attrs.get("inputs", "{}")) != document["inputs"]:
        raise InputError(f"verdicts.json and evidence/evidence.nc in {folder} are not from one run: run it again")
    return Stored(document, evidence)


def _read_verdicts(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path.parent} holds no verdicts.json: give the folder that `verify --out` wrote") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} could not be read as JSON: {error}") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"{path} must have schema_version {SCHEMA_VERSION}, got {version!r}")
    _check_entries(path, "the document", document, _ENTRIES)
    _check_entries(path, "`values`", document["values"], ("verdicts", "networks"))
    if not document["values"]["verdicts"]:
        raise InputError(f"{path} holds no verdicts")
    for verdict in document["values"]["verdicts"]:
        _check_entries(path, "a verdict", verdict, _VERDICT_ENTRIES)
        if verdict["label"] not in LABELS:
            raise InputError(f"{path}: a label must be one of {', '.join(LABELS)}, got {verdict['label']!r}")
    for cell in _cells(document):
        _check_entries(path, "a cell", cell, _CELL_ENTRIES)
    return document


def _check_entries(path: Path, what: str, found: Any, expected: Sequence[str]) -> None:
    missing = [name for name in expected if not isinstance(found, Mapping) or name not in found]
    if missing:
        raise InputError(f"{path} is not complete: {what} lacks {', '.join(missing)}")


def _read_evidence(path: Path) -> xr.DataTree:
    if not path.is_file():
        raise InputError(f"no such file: {path}; give the folder that `verify --out` wrote")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as stored:
            evidence = stored.load()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} could not be read as netCDF: {str(error).partition(chr(10))[0]}") from None
    if "measured" not in evidence.children or "cell" not in evidence["measured"].sizes:
        raise InputError(f"{path} must have a group `measured` with a dimension `cell`")
    return evidence


def _cells(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [cell for verdict in document["values"]["verdicts"] for cell in verdict["cells"]]
