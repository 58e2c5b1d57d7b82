"""Where a command computes: here, in workers of dask, or in batch jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Annotated, Any

from cyclopts import Parameter

from ntkrobust.cli.arguments import WholeIfAny
from ntkrobust.errors import InputError, printable


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class Where:
    """The options that say where cells are computed.

    Parameters
    ----------
    dask
        Compute cells in worker processes: `local` starts some here; or the address of a dask scheduler, tcp://HOST:PORT.
    workers
        How many processes `--dask local` starts.
    slurm
        Compute cells in jobs of Slurm, which find their files in jobs/ of the folder.
    job
        NAME=VALUE of such a job (give it once for each): timeout_min=60, gpus_per_node=1, slurm_partition=gpu, as
        submitit has them.
    """

    dask: str | None = None
    workers: WholeIfAny = None
    slurm: Annotated[bool, Parameter(negative="")] = False
    job: Annotated[tuple[str, ...], Parameter(negative="")] = ()

    def client(self, out: str) -> contextlib.AbstractContextManager[Any]:
        """What they mean, as ``client`` of :func:`ntkrobust.verify`; a context.

        Args:
            out: the folder of the results.

        Raises:
            InputError: they contradict one another, or nothing answers there.
        """
        if self.dask is None and not (self.slurm or self.job or self.workers):
            return contextlib.nullcontext()
        from ntkrobust.runtime.accelerated import PREALLOCATE
        from ntkrobust.studies.engines.choosing import client_for

        # This process computes little, and leaves the memory of accelerators to its workers.
        os.environ.setdefault(PREALLOCATE, "false")
        return client_for(self.dask, self.slurm, out, dict(map(_parameter, self.job)), self.workers)


HERE = Where()
"""In this process."""


def _parameter(text: str) -> tuple[str, Any]:
    """``timeout_min=60`` as a name and a number, or a text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"--job takes NAME=VALUE, got {printable(repr(text))}")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, value
