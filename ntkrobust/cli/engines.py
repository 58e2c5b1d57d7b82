"""Where a command computes: here, in workers of dask, or in batch jobs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from ntkrobust.errors import InputError, printable


def client_of(
    out: str, *, dask: str | None, slurm: bool, job: Sequence[str], workers: int | None
) -> contextlib.AbstractContextManager[Any]:
    """What the options of a command mean, as ``client`` of :func:`ntkrobust.verify`; a context.

    Args:
        out: the folder of the results.
        dask, slurm, job, workers: the options.

    Raises:
        InputError: they contradict one another, or nothing answers there.
    """
    if dask is None and not (slurm or job or workers):
        return contextlib.nullcontext()
    from ntkrobust.runtime.accelerated import PREALLOCATE
    from ntkrobust.studies.engines.choosing import client_for

    # This process computes little, and leaves the memory of accelerators to its workers.
    os.environ.setdefault(PREALLOCATE, "false")
    return client_for(dask, slurm, out, dict(map(_parameter, job)), workers)


def _parameter(text: str) -> tuple[str, Any]:
    """``timeout_min=60`` as a name and a number, or a text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"--job takes NAME=VALUE, got {printable(repr(text))}")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, value
