"""Files of stored cells: each holds what ended together, and appears whole or not at all.

A file ``.npz`` without pickles holds three arrays: ``header`` (UTF-8 of a JSON object, as bytes), ``numbers`` (float64)
and ``status`` (uint8). What is in the header is described in :mod:`ntkrobust.studies.store.segments`; everything that
is read is checked against :class:`_Header` first. A file of an older layout is brought up to date as it is read
(:data:`MIGRATIONS`); one that is damaged, foreign or of a newer layout is left where it is and passed over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ntkrobust.errors import one_line
from ntkrobust.files.archives import forms_of, load_arrays
from ntkrobust.files.atomic import write_whole
from ntkrobust.files.listing import files_named
from ntkrobust.studies.store.segments import STATUSES, Outline, Segment, outlined, packed, places, unpacked

SCHEMA_VERSION = 1
"""The layout of files of cells."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Layout → what makes a header of it one of the next layout."""

MOST_BYTES = 2**30
"""A file that is larger was not written by this package."""

MERGED_FROM = 16
"""So many small files are merged into one when a store is opened for writing."""

MERGED_AT = 64
"""So many small files that a run has written it merges while it goes on."""

SMALL = 2**22
"""Bytes below which a file is small."""

_ARRAYS = {"header": np.uint8, "numbers": np.float64, "status": np.uint8}
_NAME = re.compile(r"cells-[0-9a-f]{16}\.npz")


class DamagedError(Exception):
    """A file that can't be used; the sentence says why."""


def write(folder: Path, segments: Iterable[Segment]) -> Path:
    """Write a file of segments into a folder that is there.

    Raises:
        NotWrittenError: it can't be written; nothing of it is left.
    """
    headers, numbers, codes = packed(segments)
    text = json.dumps({"schema_version": SCHEMA_VERSION, "segments": headers}, allow_nan=False)
    content = io.BytesIO()
    np.savez(content, header=np.frombuffer(text.encode(), dtype=np.uint8), numbers=numbers, status=codes)
    path = folder / f"cells-{secrets.token_hex(8)}.npz"
    write_whole(path, lambda file: file.write(content.getbuffer()))
    return path


def paths_in(folder: Path) -> list[Path]:
    """The files of cells in a folder, by name."""
    return files_named(folder, _NAME)


def read(path: Path) -> list[Segment]:
    """The segments of a file.

    Raises:
        DamagedError: it is damaged, none of ours, or newer than this package.
        FileNotFoundError: another writer has merged it into another file.
    """
    with _damage_said():
        arrays = _arrays(path, _ARRAYS)
        return unpacked(_checked(arrays["header"]), arrays["numbers"], arrays["status"])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Stored(Outline):
    """A segment that is left where it is.

    Attributes:
        path: its file.
        at, at_status: where its numbers and its statuses begin, see :func:`numbers_in`.
    """

    path: Path
    at: int
    at_status: int


def outlines(path: Path) -> list[Stored]:
    """The segments of a file without their numbers, which are not read.

    Raises:
        DamagedError, FileNotFoundError: as for :func:`read`, but for damage among the numbers.
    """
    with _damage_said():
        headers = _checked(_arrays(path, ("header",))["header"])
        with path.open("rb") as file:
            forms = forms_of(file)
        sizes = [_length(name, forms.get(name)) for name in ("numbers", "status")]
        return [
            Stored(**outlined(header), path=path, at=at, at_status=at_status)
            for header, (at, at_status) in zip(headers, places(headers, *sizes), strict=True)
        ]


def numbers_in(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a file behind one another, and all statuses as positions in ``STATUSES``.

    Raises:
        DamagedError, FileNotFoundError: as for :func:`read`.
    """
    with _damage_said():
        arrays = _arrays(path, ("numbers", "status"))
        return arrays["numbers"], arrays["status"]


@contextlib.contextmanager
def _damage_said() -> Iterator[None]:
    """Whatever a damaged file raises inside is a DamagedError."""
    try:
        yield
    except (DamagedError, FileNotFoundError):
        raise
    except Exception as error:  # damaged bytes surface as whatever the zip, zlib or JSON parser meets first
        raise DamagedError(one_line(str(error), 200) or type(error).__name__) from None


def _arrays(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Some of the arrays of a file, as they should be."""
    if path.stat().st_size > MOST_BYTES:
        raise DamagedError(f"it has {path.stat().st_size} bytes, and files of cells have at most {MOST_BYTES}")
    with path.open("rb") as file:
        arrays = load_arrays(file, names)
    for name in names:
        one = arrays.get(name, np.empty(()))
        _length(name, (one.shape, one.dtype))
        if name == "status" and one.size and one.max() >= len(STATUSES):
            raise DamagedError("it holds a status that there is none of")
    return arrays


def _length(name: str, form: tuple[tuple[int, ...], np.dtype] | None) -> int:
    """Of an array of a file, by its shape and type, which must be what they should be."""
    if form is None or form[1] != _ARRAYS[name] or len(form[0]) != 1:
        raise DamagedError("it does not hold a header, numbers and statuses")
    return form[0][0]


def _checked(header: np.ndarray) -> list[Mapping[str, Any]]:
    """The headers of segments in a header of the file, of any layout that there was."""
    from pydantic_core import from_json  # faster than that of Python, and as strict

    from ntkrobust.studies.store.schema import headers_in

    document = from_json(header.tobytes(), allow_inf_nan=False)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int:
        raise DamagedError("it has no schema_version")
    if version > SCHEMA_VERSION:
        raise DamagedError(f"it has schema_version {version}, which is newer than {SCHEMA_VERSION}")
    for older in range(version, SCHEMA_VERSION):
        if older not in MIGRATIONS:
            raise DamagedError(f"it has schema_version {version}, which nothing brings up to {SCHEMA_VERSION}")
        document = MIGRATIONS[older](document)
    return headers_in(document)


def merge(folder: Path, files: Mapping[Path, list[Segment]]) -> Path | None:
    """Put the segments of small files into one, and remove those.

    A reader that sees both sees segments twice, which are the same. To be called by one writer at a time.

    Args:
        folder: the folder.
        files: with what was read of them, or written to them. Those that are large, or gone, are left.

    Returns:
        The file, where there are enough small ones.

    Raises:
        OSError: it can't be written; then nothing is removed.
    """
    small = [path for path in files if path.is_file() and path.stat().st_size < SMALL]
    if len(small) < MERGED_FROM:
        return None
    path = write(folder, [segment for one in small for segment in files[one]])
    for one in small:
        one.unlink(missing_ok=True)
    return path
