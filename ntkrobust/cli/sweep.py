"""The commands ``sweep``, ``resume``, ``retry-failed`` and ``status``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ntkrobust.cli.cache import use_compilation_cache
from ntkrobust.cli.engines import HERE, Where
from ntkrobust.cli.going_on import how_to_go_on
from ntkrobust.cli.output import console, print_json, progress_bar
from ntkrobust.cli.signals import leaving_with
from ntkrobust.errors import printable
from ntkrobust.files.atomic import named

if TYPE_CHECKING:
    import xarray as xr

MOST_SHOWN = 20
"""Cells that failed, which `status` shows without `--json`."""


_Flag = Annotated[bool, Parameter(negative="")]


def sweep(
    spec: str,
    *,
    out: str,
    fresh: _Flag = False,
    unchanged: _Flag = False,
    where: Where = HERE,
) -> None:
    """Draw, train and measure networks over grids, with no statement to judge.

    Parameters
    ----------
    spec
        A .toml file: networks, data, readings, measures, seeds.
    out
        Folder for cells/, where each cell is stored as it ends, and report.html. The same command again goes on.
    fresh
        Compute everything, also what is stored in cells/.
    unchanged
        Refuse to go on where the data, the networks, the measures, this package or JAX were changed since the last run
        in the folder. Without it, that is said.
    """
    from ntkrobust.workflows.sweep import swept_file

    _run(
        lambda client, progress: swept_file(
            spec, out=out, fresh=fresh, unchanged=unchanged, client=client, progress=progress
        ),
        out,
        where,
    )


def resume(folder: str, *, unchanged: _Flag = False, where: Where = HERE) -> None:
    """Go on with a sweep; cells that failed are left alone.

    Parameters
    ----------
    folder
        What `sweep --out` began.
    unchanged
        Refuse to go on where something was changed since the last run; see `sweep`.
    """
    from ntkrobust.workflows.sweep import resumed

    _run(lambda client, progress: resumed(folder, unchanged=unchanged, client=client, progress=progress),
         folder, where)  # fmt: skip


def retry_failed(folder: str, *, unchanged: _Flag = False, where: Where = HERE) -> None:
    """Go on with a sweep, and try cells again that failed.

    Parameters
    ----------
    folder
        What `sweep --out` began.
    unchanged
        Refuse to go on where something was changed since the last run; see `sweep`.
    """
    from ntkrobust.workflows.sweep import resumed

    _run(lambda client, progress: resumed(folder, retry=True, unchanged=unchanged, client=client,
                                          progress=progress), folder, where)  # fmt: skip


def status(folder: str, *, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """What has become of the cells of a folder: done, running, planned, interrupted, failed, or of another version.

    Parameters
    ----------
    folder
        What `sweep --out` or `verify --out` wrote.
    json
        Print one JSON object, with the tracebacks of all cells that failed.
    """
    from ntkrobust.workflows.sweep import status_of

    found = status_of(folder)
    if json:
        cells: list[dict[str, Any]] = [vars(one) for one in found.cells]
        print_json({"folder": folder}, {"counts": dict(found.counts), "cells": cells})
        return
    out = console()
    out.print(", ".join(f"{number} {name}" for name, number in found.counts.items()) or "no cells", markup=False)
    for one in found.failed[:MOST_SHOWN]:
        out.print(f"failed: {printable(one.label)}: {printable(one.reason)}", soft_wrap=True, markup=False)
    if len(found.failed) > MOST_SHOWN:
        out.print(f"… and {len(found.failed) - MOST_SHOWN} more: --json shows all", markup=False)


def _run(
    work: Callable[[Any, Callable[[str, int, int], None]], xr.DataTree],
    folder: str,
    where: Where,
) -> None:
    """Work somewhere with a progress bar, and what to say of it."""
    from ntkrobust.studies.store.store import FOLDER
    from ntkrobust.workflows.sweep import status_of

    use_compilation_cache()
    with leaving_with(lambda: how_to_go_on(folder)), contextlib.ExitStack() as bar:
        client = bar.enter_context(where.client(folder))
        work(client, bar.enter_context(progress_bar()))
    counts = status_of(folder).counts if (Path(folder) / FOLDER).is_dir() else {}
    print(", ".join(f"{number} {name}" for name, number in counts.items()) or "no cells")
    print(f"report: {named(folder)}/report.html   table: ntkrobust.open_study({printable(repr(folder))})")
