"""The files of a comparison: written together, of one run, and read back only where they are.

``comparison.json`` holds the id of the run; ``comparison.svg`` holds it too (``data-run``), and the SHA-256 of what
``comparison.json`` says (``data-comparison-sha256``). Readers refuse files of two runs, and files that were changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntkrobust.errors import InputError
from ntkrobust.files.atomic import named, place_of, reserved, write_text, write_together
from ntkrobust.reports.figures import comparison_figure
from ntkrobust.reports.stored import bytes_of, digest, read_json, read_settled
from ntkrobust.reports.undrawn import Drawings, cause, sentence_svg, tell

COMPARISON, FIGURE = "comparison.json", "comparison.svg"
NAMES = (COMPARISON, FIGURE)
"""What a comparison leaves in a folder."""

_ID = re.compile("[0-9a-f]{8,64}")
_SEAL = re.compile(r'<svg data-run="([0-9a-f]+)" data-comparison-sha256="([0-9a-f]{64})"')


def store_comparison(document: Mapping[str, Any], folder: Path) -> None:
    """Write both files; to be called inside :func:`~ntkrobust.files.atomic.reserved`.

    The numbers come first, with a sentence for the figure; then that is drawn. Where it can't be, a sentence says so in
    its place, and a :class:`~ntkrobust.errors.UndrawnWarning` does.

    Args:
        document: what ``comparison.json`` is to hold, with the id of its run.
        folder: the folder.

    Raises:
        NotWrittenError: they can't be written, and what was there still is.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    waiting = _sealed(sentence_svg("This figure is not drawn yet: `ntkrobust report DIR` draws it."), document)
    write_together(folder, {COMPARISON: f"{text}\n".encode(), FIGURE: waiting.encode()})
    drawings = Drawings()
    figure = drawings.draw("the gaps", lambda: comparison_figure(document), element="svg")
    write_text(folder / FIGURE, _sealed(figure, document))
    tell(drawings.undrawn, folder / FIGURE)


def read_comparison(folder: str | Path) -> dict[str, Any]:
    """What ``comparison.json`` holds.

    Raises:
        InputError: the folder or a file is missing, is not what its name says, or the two files are not of one run.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"no such folder: {named(place)}")
    return read_settled(place, NAMES, _read)


def write_figure(folder: str | Path) -> Path:
    """Draw ``comparison.svg`` again, from what is stored beside it, and return its path.

    Raises:
        InputError: as for :func:`read_comparison`; it can't be drawn, or another run is writing to the folder.
        NotWrittenError: it can't be written.
    """
    place = Path(folder)
    with reserved(place, NAMES):
        document = read_comparison(place)
        try:
            figure = comparison_figure(document)
        except Exception as error:  # what a file can hold that nobody thought of
            raise InputError(f"{named(place)} holds what can't be drawn ({cause(error)})") from error
        write_text(place / FIGURE, _sealed(figure, document))
    return place / FIGURE


def _sealed(figure: str, document: Mapping[str, Any]) -> str:
    seal = f'data-run="{document["run"]["id"]}" data-comparison-sha256="{digest(document)}"'
    return figure.replace("<svg", f"<svg {seal}", 1) + "\n"


def _read(folder: Path) -> dict[str, Any]:
    path = place_of(folder, COMPARISON)
    document = read_json(path)
    run = document.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("id"), str) or not _ID.fullmatch(run["id"]):
        raise InputError(f"{named(path)} must hold the id of its run")
    for part in ("inputs", "values"):
        if not isinstance(document.get(part), dict):
            raise InputError(f"{named(path)} is not what `compare` wrote: it lacks {part}")
    seal = _SEAL.match(bytes_of(place_of(folder, FIGURE)).decode(errors="replace"))
    if seal is None or seal.groups() != (run["id"], digest(document)):
        raise InputError(
            f"{COMPARISON} and {FIGURE} in {named(folder)} are not from one run, or one was changed since: run it again"
        )
    return document
