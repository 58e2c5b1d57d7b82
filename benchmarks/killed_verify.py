"""``verify`` that is killed at a random moment and started again, beside one that nothing disturbs.

    python benchmarks/killed_verify.py zhu2022 --preset standard --kills 1 --seed 0

The same command runs in two folders. In the first the process is killed (SIGKILL) when a random number of cells have
been stored since it began, as often as ``--kills`` says, and begun again each time; in the second it runs through. Then
both ``verdicts.json`` must be equal but for times and the id, and so must both files of evidence, to the bit;
each cell must have been stored as often as in the undisturbed run, and no more may have been begun again than were
under way when the process was killed. It prints these figures and exits with status 1 if one is otherwise.
``--plant`` changes one number of the second evidence in its last digit, which has to be noticed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr


def started(words: list[str], folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "ntkrobust", "verify", *words, "--quiet", "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> None:
    error = process.communicate()[1]
    if process.returncode not in (0, 1):
        raise SystemExit(f"verify ended with status {process.returncode}: {error[-500:]}")


def events(folder: Path) -> list[dict[str, Any]]:
    """What journals say, without a line that a kill cut off."""
    found = []
    for path in sorted((folder / "cells").rglob("journal-*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return [event for event in found if "event" in event]


def counted(folder: Path, event: str) -> Counter[str]:
    return Counter(str(one["cell"]) for one in events(folder) if one["event"] == event)


def under_way(folder: Path) -> int:
    """Cells that were begun and are not stored."""
    return (counted(folder, "running") - counted(folder, "done") - counted(folder, "failed")).total()


def killed_after(cells: int, words: list[str], folder: Path) -> bool:
    """Begin, and kill when so many more cells are stored; whether the run was still under way."""
    before = counted(folder, "done").total()
    process = started(words, folder)
    while process.poll() is None and counted(folder, "done").total() < before + cells:
        time.sleep(1.0)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    finished(process)
    return False


def document(folder: Path) -> dict[str, Any]:
    """``verdicts.json`` without times and identity."""
    content = json.loads((folder / "verdicts.json").read_text())
    return {name: value for name, value in content.items() if name not in ("timing", "run")}


def arrays(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the evidence but the seconds that cells took."""
    tree = xr.open_datatree(folder / "evidence" / "evidence.nc", engine="h5netcdf").load()
    return {
        f"{group}/{name}": np.array(variable.values)
        for group, node in tree.children.items()
        for name, variable in node.to_dataset().variables.items()
        if name != "seconds"
    }


def other_numbers(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> int:
    """Arrays that differ in any bit."""
    return len(set(first) ^ set(second)) + sum(not same(first[name], second[name]) for name in set(first) & set(second))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()


def planted(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with one number changed in its last digit."""
    name = next(name for name, values in found.items() if values.dtype.kind == "f" and np.isfinite(values).any())
    values = found[name].copy()
    place = tuple(np.argwhere(np.isfinite(values))[0])
    values[place] = np.nextafter(values[place], np.inf, dtype=values.dtype)
    return found | {name: values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--most", type=int, default=60, help="cells that are stored before a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where both results stay; by default they are removed")
    parser.add_argument("--plant", action="store_true")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    words = [*args.claims, "--preset", args.preset]
    with tempfile.TemporaryDirectory() as temporary:
        work = args.folder or Path(temporary)
        killed, whole = work / "killed", work / "whole"
        lost, moments = 0, []
        for _ in range(args.kills):
            if not killed_after(rng.randint(1, args.most), words, killed):
                break
            lost = under_way(killed)
            moments.append(counted(killed, "done").total())
            print(f"killed with {moments[-1]} cells stored, {under_way(killed)} under way", flush=True)
        finished(started(words, killed))
        finished(started(words, whole))
        begun, stored = (counted(killed, event) for event in ("running", "done"))
        again = (begun - counted(whole, "running")).total()
        wrong = {
            "verdicts.json differs but for times": int(document(killed) != document(whole)),
            "arrays of the evidence that differ": other_numbers(
                arrays(killed), planted(arrays(whole)) if args.plant else arrays(whole)
            ),
            "cells stored oftener or more rarely": sum(
                (left - right).total()
                for left, right in ((stored, counted(whole, "done")), (counted(whole, "done"), stored))
            ),
            "cells begun again beyond those under way": max(0, again - lost),
        }
        print(f"{len(moments)} kills; {stored.total()} cells stored; {again} begun again, {lost} were under way")
        for what, count in wrong.items():
            print(f"{count:6d}  {what}")
    sys.exit(any(wrong.values()) or not moments)


if __name__ == "__main__":
    main()
