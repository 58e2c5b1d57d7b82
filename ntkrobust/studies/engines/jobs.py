"""Cells computed by jobs of a batch system, through submitit."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ntkrobust.errors import InputError, one_line
from ntkrobust.files.atomic import named, write_bytes
from ntkrobust.runtime.machine import cores
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines.bucket_crew import BucketCrew, Lost
from ntkrobust.studies.engines.buckets import Buckets
from ntkrobust.studies.engines.entry import run_bucket
from ntkrobust.studies.engines.travel import Sent, packed_shared, settings

if TYPE_CHECKING:
    from submitit import Executor, Job

SECONDS = 600.0
"""That a job is to take: jobs wait in queues, and each imports JAX."""

FIRST = 32
"""Cells of a shape in its first job."""

AT_ONCE = 64
"""Jobs that are queued or run at a time."""

MINUTES = 120
"""That a job may take, unless something else is asked for."""

LOOK_AFTER = 0.5
"""Seconds between two looks at the jobs."""


class JobEngine:
    """Gives crews of jobs."""

    def __init__(self, executor: Executor) -> None:
        """With a ``submitit.Executor``, set up for the batch system."""
        self._executor = executor

    def crew(self, requests: Mapping[Cell, Request], work: CellWork, begin: Callable[[Cell], bool]) -> JobCrew:
        """See :class:`~ntkrobust.studies.engines.crew.Engine`."""
        return JobCrew(self._executor, requests, work, begin)


class JobCrew(BucketCrew):
    """A job for each bucket."""

    def __init__(
        self,
        executor: Executor,
        requests: Mapping[Cell, Request],
        work: CellWork,
        begin: Callable[[Cell], bool],
    ) -> None:
        super().__init__(requests, begin, Buckets(requests.values(), work.data.d, seconds=SECONDS, first=FIRST))
        self._executor, self._settings = executor, settings()
        self._name, content = packed_shared(work.data, work.key, work.points)
        # The folder may name the job, %j, which is not known yet.
        folder = Path(*(part for part in Path(executor.folder).absolute().parts if "%" not in part))
        self._shared = folder / f"shared-{self._name}.pkl"
        if not self._shared.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(self._shared, content)
        self._jobs: dict[int, Job[Sent]] = {}

    @property
    def side_by_side(self) -> int:
        """See :class:`~ntkrobust.studies.engines.crew.Crew`; jobs that wait in queues among them."""
        return max(1, len(self._jobs))

    def _room(self) -> int:
        return AT_ONCE if _is_elsewhere(self._executor) else cores()

    def _hand_out(self, number: int, requests: Sequence[Request], content: bytes) -> None:
        try:
            self._jobs[number] = self._executor.submit(
                run_bucket, self._settings, self._name, str(self._shared), content
            )
        except Exception as error:
            sentence = one_line(f"{type(error).__name__}: {error}", 300)
            raise InputError(f"the batch system takes no job: {sentence}") from error

    def _wait(self, timeout: float | None) -> tuple[int, Sent | Lost]:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            for number, job in list(self._jobs.items()):
                if job.done():
                    del self._jobs[number]
                    return number, _result(job)
            left = LOOK_AFTER if until is None else min(LOOK_AFTER, until - time.monotonic())
            if left <= 0:
                raise Empty
            time.sleep(left)

    def _cancel(self) -> None:
        for job in self._jobs.values():
            with contextlib.suppress(Exception):  # it may have ended
                job.cancel()


def _is_elsewhere(executor: Executor) -> bool:
    """Whether jobs run on other machines than this one."""
    import submitit

    name = getattr(executor, "cluster", "local" if isinstance(executor, submitit.LocalExecutor) else "")
    return name not in ("local", "debug")


def _result(job: Job[Sent]) -> Sent | Lost:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return job.result()
    except UncompletedJobError as error:
        return one_line(str(error), 300)
    except FailedJobError as error:
        sentence = one_line(str(error).strip().partition("\n--")[2].strip("-\n"), 600)
        raise InputError(f"a job could not run its cells: {sentence} (log: {named(job.paths.stderr)})") from error


def _submitit() -> ModuleType:
    """The library, which sets up all logging of a process as it is imported, and writes to standard output, unless told
    not to."""
    before = os.environ.get("SUBMITIT_LOG_LEVEL")
    os.environ["SUBMITIT_LOG_LEVEL"] = "NOCONFIG"
    try:
        import submitit
    finally:
        del os.environ["SUBMITIT_LOG_LEVEL"]
        if before is not None:
            os.environ["SUBMITIT_LOG_LEVEL"] = before
    return submitit


@contextlib.contextmanager
def batch_jobs(folder: Path, parameters: Mapping[str, Any]) -> Iterator[Executor]:
    """An executor for the batch system of this machine, with its files in a folder that nobody else may read.

    Args:
        folder: where jobs and their logs go, on a disk that they see.
        parameters: of ``submitit.AutoExecutor.update_parameters``; ``cluster`` is another one than Slurm.

    Raises:
        InputError: there is no such batch system, or it has no such parameter.
    """
    parameters = dict(parameters)
    cluster = parameters.pop("cluster", "slurm")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    # What comes back is unpickled, so that whoever can write there could run code as this user.
    if status.st_mode & 0o022:
        raise InputError(f"{named(folder)} can be written to by others, who could change what jobs give back")
    submitit = _submitit()
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster)
        executor.update_parameters(**{"timeout_min": MINUTES, "name": "ntkrobust", **parameters})
    except Exception as error:
        raise InputError(f"no jobs can be sent: {one_line(str(error), 600)}") from None
    yield executor
