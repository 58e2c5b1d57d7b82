"""The figures of a run as files of their own, for papers and slides: ``figures/`` in its folder, one per claim."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Literal

from ntkrobust.files.atomic import reserved, write_bytes
from ntkrobust.files.listing import distinct
from ntkrobust.reports.figures import draw_verdict
from ntkrobust.reports.stored import NAMES, read_folder
from ntkrobust.reports.styles import plotting
from ntkrobust.reports.undrawn import cause, tell

Format = Literal["pdf", "svg", "png"]

FIGURES = "figures"


def write_figures(folder: str | Path, kind: Format = "pdf") -> list[Path]:
    """Write the figure of every verdict of a folder that ``verify`` left, in the order of the verdicts.

    What can't be drawn is left out, and a :class:`~ntkrobust.errors.UndrawnWarning` says so. Figures of other claims
    that are in ``figures/`` stay there.

    Args:
        folder: the folder.
        kind: ``pdf`` with letters as letters, ``svg``, or ``png`` of 300 dots per inch.

    Raises:
        InputError: the folder does not hold a run, or another run is writing to it.
        NotWrittenError: a file can't be written.
    """
    place = Path(folder)
    written: list[Path] = []
    undrawn: dict[str, str] = {}
    with reserved(place, NAMES):
        stored = read_folder(place)
        verdicts = stored.document["values"]["verdicts"]
        (place / FIGURES).mkdir(exist_ok=True)
        run = stored.document.get("run") or {"id": ""}
        for verdict, name in zip(verdicts, file_names([one["claim"] for one in verdicts]), strict=True):
            try:
                with plotting() as style:
                    figure = style.fitted(draw_verdict(verdict, stored.evidence))
                    content = _content(figure, kind, f"{verdict['claim']}, run {run['id']}")
            except Exception as error:  # whatever it is, it must not take the others with it
                undrawn[verdict["claim"]] = cause(error)
                continue
            written.append(place / FIGURES / f"{name}.{kind}")
            write_bytes(written[-1], content)
    tell(undrawn, place / FIGURES)
    return written


def file_names(claims: list[str]) -> list[str]:
    """Names of files for ids of claims, all different whatever capital letters a disk tells apart."""
    return distinct(
        re.sub(r"[^A-Za-z0-9@=+_-]+", "-", claim.replace("/", "-")).strip("-")[:100] or "claim" for claim in claims
    )


def _content(figure: object, kind: Format, title: str) -> bytes:
    """The bytes of a figure: the same ones every time."""
    buffer = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None, "Title": title}, "svg": {"Date": None, "Title": title}}.get(
        kind, {"Title": title}
    )
    figure.savefig(buffer, format=kind, dpi=300, metadata=metadata)  # type: ignore[attr-defined]
    return buffer.getvalue()
