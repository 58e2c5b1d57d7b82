"""The campaign of ``resume_faults.py`` against a study on a cluster: its workers and scheduler are killed too.

``python benchmarks/cluster_faults.py --kills 200`` sweeps over 504 cells of networks that are trained, once undisturbed
and in process. Then it starts a dask scheduler and two workers, begins the same sweep there, and at random moments
ends, in turn, the asking process by SIGKILL, a worker by SIGKILL, the asking process by SIGTERM, and the scheduler by
SIGKILL; every fourth time a file of cells is cut or overwritten, or a journal is, and every eighth time no file of the
asking process may grow beyond a few kilobytes. Where a worker was killed, the sweep has to get through by itself; else
it goes on in the next run. When a sweep has got through, each of its numbers must be that of the undisturbed one, to
the bit, no cell may be missing, and none may have been handed out again that was stored when a run began, but those
whose file was damaged. It prints a table and exits 1 if anything was otherwise.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from faults import Forked
from resume_faults import CELLS, Campaign, asked, numbers

from ntkrobust.studies.store.folder import Contents

VICTIMS = ("the asking process, SIGKILL", "a worker, SIGKILL", "the asking process, SIGTERM", "the scheduler, SIGKILL")


class Cluster:
    """A scheduler and two workers, each a process that can be killed."""

    def __init__(self, work: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(work / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self._log = open(work / "cluster.log", "ab")  # noqa: SIM115  it lives as long as we do
        self._processes: list[subprocess.Popen] = []

    def start(self) -> None:
        self.stop()
        here = ["--host", "127.0.0.1"]
        quiet = {"stdout": self._log, "stderr": self._log, "env": self._environment}
        for module, more in (
            ("dask_scheduler", ["--port", str(self.port), "--no-dashboard"]),
            ("dask_worker", [self.address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"]),
        ):
            command = [sys.executable, "-m", f"distributed.cli.{module}", *here, *more]
            self._processes.append(subprocess.Popen(command, **quiet))
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.2)
        raise SystemExit("no scheduler has started")

    def workers(self) -> list[int]:
        """The processes in which cells run: those that the workers' guardian has started."""
        guardian = self._processes[1].pid
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                words = path.read_text().rpartition(")")[2].split()
                if int(words[1]) == guardian and b"spawn_main" in (path.parent / "cmdline").read_bytes():
                    found.append(int(path.parent.name))
        return found

    def kill_scheduler(self) -> None:
        self._processes[0].kill()

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


class ClusterCampaign(Campaign):
    """One undisturbed sweep in process, and what becomes of others on a cluster."""

    def __init__(self, work: Path, seed: int) -> None:
        super().__init__(work, seed)
        self.cluster = Cluster(work)
        self.cluster.start()
        for _ in range(2):  # the second time, workers have JAX and their programs
            started = time.perf_counter()
            ended = self._begin(work / "first").ended()
            self.seconds = time.perf_counter() - started
            if ended.status or numbers(work / "first") != self.right:
                raise SystemExit(f"on the cluster an undisturbed sweep is another one: {ended.err}")
            shutil.rmtree(work / "first")

    def _begin(self, folder: Path) -> Forked:
        return Forked(["sweep", str(self.spec), "--out", str(folder), "--dask", self.cluster.address])

    def _killed(self, folder: Path, index: int, damaged: Counter[str]) -> bool:
        if index % 4 == 3:
            self._damage(folder, damaged)
        small = self.rng.randrange(2**9, 2**14) if index % 8 == 4 else None
        stored, journals = set(Contents(folder / "cells").segments), set((folder / "cells").glob("journal-*"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if small is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (small, hard))
        process = self._begin(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self._wait(folder, process)
        victim = VICTIMS[index % 4]
        self._kill(victim, process)
        ended = process.ended()
        self._check_handed_out(folder, stored, journals)
        if ended.status == 0 and "asking" in victim:
            return False  # it came too late
        self.outcomes[victim if small is None else f"{victim}; a file could not grow"] += 1
        cells = len(Contents(folder / "cells").segments)
        self.outcomes["of these, with a part of the cells stored"] += 0 < cells < CELLS
        expected = {VICTIMS[0]: -9, VICTIMS[1]: 0, VICTIMS[2]: 143, VICTIMS[3]: 2}[victim]
        # Too late for the scheduler, or for a disk that is full.
        fine = ended.status == expected or (victim == VICTIMS[3] and not ended.status) or (small and ended.status == 2)
        if not fine or (ended.status == 2 and ended.err.count("Traceback")):
            self.offences.append(f"{victim}: exit status {ended.status}: {ended.err[-300:]}")
        if victim == VICTIMS[3]:
            self.cluster.start()
        self.got_through = ended.status == 0
        return True

    def _kill(self, victim: str, process: Forked) -> None:
        with contextlib.suppress(ProcessLookupError, IndexError):
            if victim == VICTIMS[1]:
                os.kill(self.rng.choice(self.cluster.workers()), signal.SIGKILL)
            elif victim == VICTIMS[3]:
                self.cluster.kill_scheduler()
            else:
                process.send_signal(signal.SIGKILL if victim == VICTIMS[0] else signal.SIGTERM)

    def _check_handed_out(self, folder: Path, stored: set[str], journals: set[Path]) -> None:
        """No cell that was stored when a run began was begun in it."""
        for path in set((folder / "cells").glob("journal-*")) - journals:
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if event.get("event") == "running" and event.get("cell") in stored:
                        self.offences.append(f"{folder.name}: a cell that was stored ran again")
                        self.outcomes["cells that were stored and ran again"] += 1


def main() -> None:
    options = asked(__doc__)
    with tempfile.TemporaryDirectory() as work:
        campaign = ClusterCampaign(Path(work), options.seed)
        try:
            print(f"{CELLS} cells; on two workers an undisturbed sweep takes {campaign.seconds:.1f} s", flush=True)
            campaign.run(options.kills)
        finally:
            campaign.cluster.stop()
    campaign.report()


if __name__ == "__main__":
    main()
