"""What a command that stores cells says when a signal ends it."""

from __future__ import annotations

from pathlib import Path

from ntkrobust.files.atomic import named


def how_to_go_on(out: str) -> str:
    """What to say where a run was interrupted that has stored cells; else nothing."""
    folder = Path(out)
    if any(folder.glob("cells/cells-*.npz")) or any(folder.glob("cells/pilot/cells-*.npz")):
        return f"ntkrobust: stopped; the same command goes on from what is stored in {named(folder / 'cells')}"
    if any(folder.glob("*/cells/cells-*.npz")):  # a folder for each of several data sets
        return f"ntkrobust: stopped; the same command goes on from what is stored in {named(folder)}/*/cells"
    return ""
