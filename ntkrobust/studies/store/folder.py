"""What is in a folder of cells, over all its files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from ntkrobust.errors import InputError
from ntkrobust.files.locks import held
from ntkrobust.studies.store import buckets
from ntkrobust.studies.store.buckets import Stored
from ntkrobust.studies.store.segments import Outline, Segment

_LOCK = ".merging.lock"

_One = TypeVar("_One", bound=Outline)


class _Folder(Generic[_One]):
    """What is in a folder of cells, as it is when it is read.

    Attributes:
        segments: name of a cell → what there is of it.
        damaged: files that can't be used, each with why.
    """

    def __init__(self, folder: Path, read: Callable[[Path], list[_One]]) -> None:
        self._files, self.damaged = _read_all(folder, read)
        self.segments: dict[str, list[_One]] = {}
        seen = set()
        for one in (one for found in self._files.values() for one in found):
            identity = one.identity
            if identity not in seen:  # two files hold it while they are merged
                seen.add(identity)
                self.segments.setdefault(one.cell, []).append(one)

    def __iter__(self) -> Iterator[_One]:
        return (one for found in self.segments.values() for one in found)


class Contents(_Folder[Segment]):
    """The segments in a folder of cells."""

    def __init__(self, folder: Path, *, merging: bool = False) -> None:
        """Read a folder; ``merging`` puts many small files into one while nobody else does."""
        super().__init__(folder, buckets.read)
        if merging:
            merged(folder, self._files)


class Outlines(_Folder[Stored]):
    """The segments in a folder of cells without their numbers, which are left where they are."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, buckets.outlines)


def merged(folder: Path, files: Mapping[Path, list[Segment]]) -> None:
    """Merge files of a folder, if they are many and small and nobody else does.

    Another one that merges, or a disk that is full, is no reason not to go on.
    """
    if len(files) >= buckets.MERGED_FROM:
        with contextlib.suppress(InputError, OSError), held(folder / _LOCK, "another process merges"):
            buckets.merge(folder, files)


def _read_all(folder: Path, read: Callable[[Path], list[_One]]) -> tuple[dict[Path, list[_One]], dict[Path, str]]:
    files: dict[Path, list[_One]] = {}
    damaged: dict[Path, str] = {}
    left: list[Path] | None = None
    while left is None or left:
        for path in buckets.paths_in(folder) if left is None else left:
            try:
                files[path] = read(path)
            except buckets.DamagedError as error:
                damaged[path] = str(error)
            except FileNotFoundError:  # merged into another file since the folder was listed
                continue
            except OSError as error:
                damaged[path] = error.strerror or str(error)
        left = [path for path in buckets.paths_in(folder) if path not in files and path not in damaged]
    return files, damaged
