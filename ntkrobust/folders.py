"""Writing results: into folders that were seen to be writable, and never half a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ntkrobust.errors import InputError


def prepare_folder(out: str | Path, *below: str) -> Path:
    """Make the folder, and folders of these names in it, and see that it can be written to.

    Raises:
        InputError: it can't.
    """
    folder = Path(out)
    try:
        for path in (folder, *(folder / name for name in below)):
            path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return folder


def replace(target: Path, writer: Callable[[Path], Any]) -> None:
    """Write beside the target, then move into place, so that an interrupted run never leaves half a file."""
    partial = target.with_name(f".{target.name}.partial")
    writer(partial)
    partial.replace(target)


def replace_text(target: Path, text: str) -> None:
    """The same for a text, in UTF-8."""
    replace(target, lambda path: path.write_text(text, encoding="utf-8"))
