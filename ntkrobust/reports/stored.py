"""Reading back what a verification left in a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import xarray as xr

from ntkrobust.errors import InputError, one_line
from ntkrobust.files.atomic import named, place_of

_Content = TypeVar("_Content")

SCHEMA_VERSION = 1
"""The layout of ``verdicts.json`` and of the evidence that this package can show."""

VERDICTS, EVIDENCE, REPORT = "verdicts.json", "evidence/evidence.nc", "report.html"
NAMES = (EVIDENCE, VERDICTS, REPORT)
"""The files of one run."""

_LARGEST = 2**32
"""Bytes that evidence may come to once unpacked."""

_TRIES = 20
_PAUSE = 0.05
"""Seconds between two tries to read a folder that a run is writing to."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a folder holds.

    Attributes:
        document: the content of ``verdicts.json``.
        evidence: everything measured, in memory; its groups are ``measured``, ``theory`` and ``bounds``.
    """

    document: dict[str, Any]
    evidence: xr.DataTree


def check_folder(folder: Path) -> None:
    """See that the folder is there and may hold a run.

    Raises:
        InputError: it isn't, or has no ``verdicts.json``.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {named(folder)}")
    if not place_of(folder, VERDICTS).is_file():
        raise InputError(f"{named(folder)} holds no {VERDICTS}: give the folder that `verify --out` wrote")


def read_folder(folder: str | Path) -> Stored:
    """Read ``verdicts.json`` and ``evidence/evidence.nc``. No file stays open.

    A run that was killed while its files were moved into place is read from where they wait. A folder that is being
    written to is read again.

    Raises:
        InputError: the folder or a file is missing, is not what its name says, or the two files are not of one run.
    """
    folder = Path(folder)
    check_folder(folder)
    return read_settled(folder, (VERDICTS, EVIDENCE), _read)


def read_settled(folder: Path, names: Sequence[str], read: Callable[[Path], _Content]) -> _Content:
    """What ``read`` makes of a folder; tried again where files of these names are being replaced.

    Raises:
        InputError: ``read`` refuses what stays.
    """
    for _ in range(_TRIES):
        seen = _state(folder, names)
        try:
            return read(folder)
        except InputError:
            if _state(folder, names) == seen:
                raise
            time.sleep(_PAUSE)
    return read(folder)


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of what ``verdicts.json`` says, however it is laid out, without the digest of the evidence in it."""
    run = {name: value for name, value in document["run"].items() if name != "evidence_sha256"}
    text = json.dumps(_canonical({**document, "run": run}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """With whole numbers as floats: JSON doesn't tell them apart."""
    if isinstance(value, Mapping):
        return {name: _canonical(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


def _state(folder: Path, names: Sequence[str]) -> list[tuple[Path, int, int]]:
    """Which files there are to be read."""
    found = []
    for name in names:
        place = place_of(folder, name)
        try:
            status = place.stat()
        except OSError:
            continue
        found.append((place, status.st_ino, status.st_mtime_ns))
    return found


def _read(folder: Path) -> Stored:
    document = _read_verdicts(place_of(folder, VERDICTS))
    path = place_of(folder, EVIDENCE)
    content = bytes_of(path)
    foreign = InputError(
        f"{VERDICTS} and {EVIDENCE} in {named(folder)} are not from one run, or one was changed since: run it again"
    )
    run = document.get("run")
    # Before HDF5 sees a byte of it.
    if run is not None and hashlib.sha256(content).hexdigest() != run["evidence_sha256"]:
        raise foreign
    evidence = _opened(path, content)
    stated = evidence.attrs.get("run"), evidence.attrs.get("verdicts_sha256")
    if stated != ((None, None) if run is None else (run["id"], digest(document))):
        raise foreign
    measured = evidence["measured"]
    cells = [cell for verdict in document["values"]["verdicts"] for cell in verdict["cells"]]
    if any(cell["evidence_cell"] >= measured.sizes["cell"] for cell in cells) or any(
        cell["networks"] > measured.sizes["seed"] for cell in cells
    ):
        raise foreign
    try:
        same = json.loads(evidence.attrs["inputs"]) == document["inputs"]
    except (KeyError, TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise foreign
    return Stored(document, evidence)


def _read_verdicts(path: Path) -> dict[str, Any]:
    # A third of a second, which only reading costs.
    from ntkrobust.reports.schema import problem_of

    document = read_json(path)
    problem = problem_of(document)
    if problem is not None:
        raise InputError(f"{named(path)} {problem}")
    return document


def read_json(path: Path) -> dict[str, Any]:
    """A document of this layout.

    Raises:
        InputError: it can't be read, or is none.
    """
    try:
        document = json.loads(bytes_of(path).decode(), parse_constant=_refused)
    except RecursionError:
        raise InputError(f"{named(path)} could not be read as JSON: it is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{named(path)} could not be read as JSON: {_line(error)}") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(f"{named(path)} must have schema_version {SCHEMA_VERSION}, got {version!r:.60}")
    return dict(document)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def bytes_of(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: it is missing, too large, or can't be read.
    """
    try:
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise InputError(f"{named(path)} must have at most {_LARGEST >> 30} GiB, got {path.stat().st_size} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file: {named(path)}; give the folder that a run wrote with --out") from None
    except OSError as error:
        raise InputError(f"{named(path)} could not be read: {error.strerror or error}") from None


def _opened(path: Path, content: bytes) -> xr.DataTree:
    try:
        # h5netcdf complains once more of what can't be opened, on stderr, as its object is collected.
        h5py.File(io.BytesIO(content), "r").close()
        with xr.open_datatree(io.BytesIO(content), engine="h5netcdf") as stored:
            size = sum(group.nbytes for group in stored.subtree)
            if size > _LARGEST:
                raise InputError(f"{named(path)} must unpack to at most {_LARGEST >> 30} GiB, not {size} bytes")
            evidence = stored.load()
            for group in evidence.subtree:
                # The tree's own load passes over a variable with the name of its group.
                for variable in group.variables.values():
                    variable.load()
    except InputError:
        raise
    except Exception as error:  # a damaged HDF5 file fails in as many ways as it has parts
        raise InputError(f"{named(path)} could not be read as netCDF: {_line(error)}") from None
    measured = evidence.children.get("measured")
    if measured is None or not {"cell", "seed"} <= set(measured.sizes):
        raise InputError(f"{named(path)} must have a group `measured` with dimensions `cell` and `seed`")
    for name, values in measured.data_vars.items():
        if not np.issubdtype(values.dtype, np.number) or tuple(values.dims) not in (("cell", "seed"), ("cell",)):
            raise InputError(
                f"{named(path)}: {str(name)!r} must be numbers along cell and seed, got {values.dtype} along "
                f"{', '.join(map(str, values.dims)) or 'nothing'}"
            )
    return evidence


def _line(error: Exception) -> str:
    """What an error says, in one line."""
    return one_line(str(error), 200) or type(error).__name__
