"""Files of stored cells: each holds what ended together, and appears whole or not at all.

A file ``.npz`` without pickles holds three arrays: ``header`` (UTF-8 of a JSON object, as bytes), ``numbers`` (float64)
and ``status`` (uint8). What is in the header is described in :mod:`ntkrobust.studies.store.segments`; everything that
is read is checked against :class:`_Header` first. A file of an older layout is brought up to date as it is read
(:data:`MIGRATIONS`); one that is damaged, foreign or of a newer layout is left where it is and passed over.
"""

from __future__ import annotations

import io
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ntkrobust.errors import one_line
from ntkrobust.files.archives import load_arrays
from ntkrobust.files.atomic import write_whole
from ntkrobust.files.listing import files_named
from ntkrobust.studies.store.segments import STATUSES, Segment, packed, unpacked

SCHEMA_VERSION = 1
"""The layout of files of cells."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Layout → what makes a header of it one of the next layout."""

MOST_BYTES = 2**30
"""A file that is larger was not written by this package."""

MERGED_FROM = 16
"""So many small files are merged into one when a store is opened for writing."""

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
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DamagedError(f"it has {path.stat().st_size} bytes, and files of cells have at most {MOST_BYTES}")
        arrays = load_arrays(io.BytesIO(path.read_bytes()))
        header, numbers, codes = (arrays.get(name, np.empty(())) for name in _ARRAYS)
        if any(
            one.dtype != dtype or one.ndim != 1
            for one, dtype in zip((header, numbers, codes), _ARRAYS.values(), strict=True)
        ):
            raise DamagedError("it does not hold a header, numbers and statuses")
        if codes.size and codes.max() >= len(STATUSES):
            raise DamagedError("it holds a status that there is none of")
        return unpacked(_checked(json.loads(header.tobytes().decode())), numbers, codes)
    except (DamagedError, FileNotFoundError):
        raise
    except Exception as error:  # damaged bytes surface as whatever the zip, zlib or JSON parser meets first
        raise DamagedError(one_line(str(error), 200) or type(error).__name__) from None


def _checked(document: Any) -> list[Mapping[str, Any]]:
    """The headers of segments in a header of the file, of any layout that there was."""
    from ntkrobust.studies.store.schema import headers_in

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


def merge(folder: Path, read_already: Mapping[Path, list[Segment]]) -> None:
    """Put the segments of many small files into one, and remove those.

    A reader that sees both sees segments twice, which are the same. To be called by one writer at a time.

    Raises:
        OSError: the file can't be written; then nothing is removed.
    """
    small = [path for path in read_already if path.stat().st_size < SMALL]
    if len(small) < MERGED_FROM:
        return
    write(folder, [segment for path in small for segment in read_already[path]])
    for path in small:
        path.unlink(missing_ok=True)
