"""A campaign against a study that is to survive: kills, cut and foreign files, full disks, and the numbers at the end.

``python benchmarks/resume_faults.py --kills 200`` sweeps over 504 cells of networks that are trained, once undisturbed.
Then it begins the same sweep in another folder and ends it at random moments, by SIGKILL, SIGTERM and SIGINT in turn;
every fourth time a file of cells is cut or overwritten, a journal is, or no file may grow beyond a few kilobytes. When
a sweep has got through, each of its numbers must be that of the undisturbed one, to the bit, no cell may be missing,
and none may have been stored twice but those whose file was damaged; then the next folder is begun. It prints a table
and exits 1 if anything was otherwise.

Runs are forked from one process that has imported everything and started nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from faults import PROMPT, Forked

from ntkrobust.studies.store import buckets
from ntkrobust.studies.store.folder import Contents
from ntkrobust.studies.store.opened import table_of
from ntkrobust.workflows import sweep, sweep_spec  # noqa: F401  imported for those that are forked

SPEC = """
data = "sphere"
seeds = 3
points = 8
measures = ["jacobian_frobenius"]

[[networks]]
depth = 2
width = 8
initialization = ["he", "lecun", "ntk"]
alpha = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
scale = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]

[[readings]]
time = "fixed steps"
value = 20
"""
CELLS = 3 * 12 * 14
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def numbers(folder: Path) -> dict[str, bytes]:
    """Name of a cell → all its numbers."""
    table = table_of(folder / "cells")
    names = ("jacobian_frobenius", "loss", "step", "gradient_flow_time", "learning_rate", "diverged", "tolerance")
    columns = [np.ascontiguousarray(table[name].to_numpy()) for name in names]
    return {
        name: b"".join(column[row].tobytes() for column in columns)
        for row, name in enumerate(table["cell_sha256"].to_numpy().tolist())
    }


def stored_times(folder: Path) -> Counter[str]:
    """Name of a cell → how often the journals say that it was stored."""
    found: Counter[str] = Counter()
    for path in (folder / "cells").glob("journal-*.jsonl"):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                event = json.loads(line)
                found.update([event["cell"]] if event.get("event") == "done" else [])
    return found


def _size(folder: Path) -> int:
    """Files of cells that a folder has."""
    return len(buckets.paths_in(folder / "cells"))


class Campaign:
    """One undisturbed sweep, and what becomes of others."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.rng = work, random.Random(seed)
        self.spec = work / "spec.toml"
        self.spec.write_text(SPEC)
        os.environ["XDG_CACHE_HOME"] = str(work)
        for _ in range(2):  # the second time, programs are there
            shutil.rmtree(work / "whole", ignore_errors=True)
            started = time.perf_counter()
            ended = Forked(["sweep", str(self.spec), "--out", str(work / "whole")]).ended()
            if ended.status:
                raise SystemExit(f"no sweep to compare with: {ended.err}")
            self.seconds = time.perf_counter() - started
        self.right = numbers(work / "whole")
        assert len(self.right) == CELLS
        self.outcomes: Counter[str] = Counter()
        self.offences: list[str] = []
        self.slowest = 0.0
        self.got_through = False  # although something was killed

    def run(self, kills: int) -> None:
        """So many kills, over as many sweeps as that takes."""
        done, sweeps = 0, 0
        while done < kills:
            folder = self.work / f"sweep-{sweeps}"
            damaged: Counter[str] = Counter()
            while done < kills and self._killed(folder, done, damaged):
                done += 1
                if self.got_through:
                    break
            self._finished(folder, damaged)
            sweeps += 1
            shutil.rmtree(folder, ignore_errors=True)

    def _killed(self, folder: Path, index: int, damaged: Counter[str]) -> bool:
        """Whether a run was killed before its end."""
        if index % 4 == 3:
            self._damage(folder, damaged)
        small = self.rng.randrange(2**9, 2**14) if index % 8 == 5 else None
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if small is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (small, hard))
        process = Forked(["sweep", str(self.spec), "--out", str(folder)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        number = SIGNALS[index % 3]
        self._wait(folder, process)
        sent = time.perf_counter()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        ended = process.ended()
        took = time.perf_counter() - sent
        if ended.status == 0:
            return False
        what = "a file could not grow" if small is not None else number.name
        self.outcomes[what] += 1
        self.outcomes["of these, with a part of the cells stored"] += (
            0 < len(Contents(folder / "cells").segments) < CELLS
        )
        if number != signal.SIGKILL and ended.status == 128 + number:
            self.slowest = max(self.slowest, took)
        expected = (-number, 128 + number, 2) if small is not None else (-number, 128 + number)
        if ended.status not in expected or took > PROMPT:
            self.offences.append(f"{what}: exit status {ended.status} after {took:.1f} s: {ended.err[-300:]}")
        return True

    def _wait(self, folder: Path, process: Forked) -> None:
        """Until a random moment: in one run of four before its first cells may be there, else soon after them.

        A sweep is ended some ten times before it gets through.
        """
        if self.rng.randrange(4) == 0:
            time.sleep(self.rng.uniform(0.0, 0.3) * self.seconds)
            return
        before = _size(folder)
        until = time.monotonic() + 3 * self.seconds
        while _size(folder) == before and process.runs() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(self.rng.uniform(0.0, 0.15) * self.seconds)

    def _damage(self, folder: Path, damaged: Counter[str]) -> None:
        """Cut or overwrite a file of cells, or what is at the end of a journal."""
        whole = {}
        for path in buckets.paths_in(folder / "cells"):
            with contextlib.suppress(buckets.DamagedError):
                whole[path] = [one.cell for one in buckets.read(path)]
        journals = list((folder / "cells").glob("journal-*.jsonl"))
        if not whole or not journals:
            return
        path = self.rng.choice(list(whole))
        content = path.read_bytes()
        match self.rng.randrange(3):
            case 0:
                path.write_bytes(content[: self.rng.randrange(len(content))])
                self.outcomes["file of cells cut"] += 1
            case 1:
                path.write_bytes(self.rng.randbytes(len(content)))
                self.outcomes["file of cells overwritten"] += 1
            case _:
                journal = self.rng.choice(journals)
                journal.write_bytes(journal.read_bytes()[:-40] + b'\n{"event": "done", "cell": "<b>"}\n[')
                self.outcomes["journal overwritten"] += 1
                return
        damaged.update(whole[path])

    def _finished(self, folder: Path, damaged: Counter[str]) -> None:
        ended = Forked(["retry-failed", str(folder)] if (folder / "sweep.json").exists() else
                       ["sweep", str(self.spec), "--out", str(folder)]).ended()  # fmt: skip
        if ended.status:
            self.offences.append(f"the last run: exit status {ended.status}: {ended.err[-300:]}")
            return
        found = numbers(folder)
        other = sum(found.get(name) != one for name, one in self.right.items())
        twice = sum(count > 1 + damaged[name] for name, count in stored_times(folder).items() if name in self.right)
        self.outcomes["sweeps that got through"] += 1
        for number, what in ((other, "numbers that are others"), (len(found) - CELLS, "cells too many or too few"),
                             (twice, "cells stored twice")):  # fmt: skip
            self.outcomes[what] += number
            if number:
                self.offences.append(f"{folder.name}: {number} {what}")

    def report(self) -> None:
        """Print what became of it, and end with status 1 if anything was otherwise than it should be."""
        for name, count in self.outcomes.items():
            print(f"{count:6d}  {name}")
        print(f"slowest end after a signal that can be handled: {self.slowest:.1f} s")
        for one in self.offences[:20]:
            print(one)
        sys.exit(bool(self.offences))


def asked(description: str | None) -> argparse.Namespace:
    """The options of a campaign: ``kills`` and ``seed``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = asked(__doc__)
    with tempfile.TemporaryDirectory() as work:
        campaign = Campaign(Path(work), options.seed)
        print(f"{CELLS} cells; an undisturbed sweep takes {campaign.seconds:.1f} s", flush=True)
        campaign.run(options.kills)
    campaign.report()


if __name__ == "__main__":
    main()
