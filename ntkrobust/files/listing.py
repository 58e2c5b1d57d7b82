"""Names of files: which of a kind lie in a folder, and new ones that no disk takes for one another."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path


def files_named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """The files in a folder whose names match, by name; links and everything else are left alone."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(
            Path(entry.path)
            for entry in entries
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        )
    return []


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with ``-2``, ``-3``, … behind those that were there, whatever capital letters a disk tells apart."""
    found: list[str] = []
    taken: set[str] = set()
    for plain in names:
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        found.append(name)
    return found
