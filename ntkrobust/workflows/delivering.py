"""Results on their way out: first their folder, then the work, what is told of it, and last the files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import jax

from ntkrobust.errors import NotWrittenError
from ntkrobust.files.atomic import reserved

_Found = TypeVar("_Found")


def delivered(
    work: Callable[[], _Found],
    *,
    out: str | os.PathLike[str] | None,
    names: Sequence[str],
    announce: Callable[[_Found], None] | None,
    store: Callable[[_Found, Path], None],
) -> _Found:
    """What some work finds, announced and stored.

    Args:
        work: is begun once the folder is reserved.
        out: the folder; None stores nothing. Of several processes only the first one reserves it and writes.
        names: of the files that ``store`` writes.
        announce: called with what was found before anything is written; files are written also where it fails.
        store: writes it into the folder.

    Raises:
        InputError: the folder can't be written to, or another run writes to it; before any work.
        NotWrittenError: the files can't be written; its ``found`` is what was found.
    """
    folder = None if out is None or jax.process_index() else out
    with contextlib.nullcontext() if folder is None else reserved(folder, names) as place:
        found = work()
        try:
            if announce is not None:
                announce(found)
        finally:
            if place is not None:
                try:
                    store(found, place)
                except NotWrittenError as error:
                    error.found = found
                    raise
    return found
