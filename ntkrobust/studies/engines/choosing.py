"""Which engine is meant by what a user has."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from ntkrobust.checks import shown
from ntkrobust.errors import InputError, one_line
from ntkrobust.studies.engines.crew import Engine

LOCAL = "local"
"""In place of an address: processes of this machine."""

EXTRA = "pip install ntkrobust[distributed]"


def engine_of(client: Any) -> Engine | None:
    """The engine of a ``distributed.Client`` or a ``submitit.Executor``; None for None.

    Raises:
        InputError: it is neither.
    """
    if client is None:
        return None
    if jax.process_count() > 1:
        raise InputError("several processes that work on each cell together can't have a client too")
    for module, kind in (("distributed", "Client"), ("submitit", "Executor")):
        if not any(base.__module__.partition(".")[0] == module for base in type(client).__mro__):
            continue
        if isinstance(client, getattr(importlib.import_module(module), kind)):
            if module == "submitit":
                from ntkrobust.studies.engines.jobs import JobEngine

                return JobEngine(client)
            from ntkrobust.studies.engines.dask import DaskEngine

            if client.asynchronous:
                raise InputError("client must be a synchronous distributed.Client")
            return DaskEngine(client)
    raise InputError(f"client must be a distributed.Client or a submitit.Executor, got {shown(client)}")


@contextlib.contextmanager
def client_for(
    dask: str | None, slurm: bool, folder: str | Path, jobs: Mapping[str, Any], workers: int | None
) -> Iterator[Any]:
    """What is meant by the options of a command, as an argument of :func:`engine_of`.

    Args:
        dask: ``local``, or the address of a scheduler.
        slurm: whether jobs of a batch system are meant.
        folder: of the results, where jobs put their files.
        jobs: parameters of these jobs.
        workers: processes, for ``local``.

    Raises:
        InputError: both are meant, nobody answers, or the libraries are not installed.
    """
    if dask is not None and slurm:
        raise InputError("--dask and --slurm are two places to compute at: give one of them")
    if jobs and not slurm:
        raise InputError("--job sets parameters of batch jobs, and is for --slurm")
    if workers is not None and dask != LOCAL:
        raise InputError("--workers says how many processes --dask local has, and is for that")
    if dask is None and not slurm:
        yield None
        return
    made: Any
    with contextlib.ExitStack() as stack:
        try:
            if slurm:
                from ntkrobust.studies.engines.jobs import batch_jobs

                made = stack.enter_context(batch_jobs(Path(folder) / "jobs", jobs))
            else:
                from ntkrobust.studies.engines import dask as cluster

                made = stack.enter_context(
                    cluster.cluster_here(workers) if dask == LOCAL else cluster.cluster_at(str(dask))
                )
        except ImportError as error:
            what = "--slurm" if slurm else "--dask"
            raise InputError(f"{what} needs {one_line(error.name or str(error))}: {EXTRA}") from None
        yield made
