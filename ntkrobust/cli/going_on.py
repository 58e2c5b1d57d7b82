"""What a command that stores cells says when a signal ends it."""

from __future__ import annotations

from pathlib import Path

from ntkrobust.files.atomic import named


def how_to_go_on(out: str) -> str:
    """What to say where a run was interrupted that has stored cells; else nothing."""
    cells = Path(out) / "cells"
    if not any(cells.glob("cells-*.npz")):
        return ""
    return f"ntkrobust: stopped; the same command goes on from what is stored in {named(cells)}"
