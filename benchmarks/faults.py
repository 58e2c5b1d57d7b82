"""A campaign of faults: kills, full disks, pairs of runs in one folder, changed results, wrong calls.

``python benchmarks/faults.py --kills 100 --disks 20 --pairs 20 --mutations 500 --calls 1000`` prints a table of how
each kind ended, with the first offences, and exits 1 if there were any. Each case must end in a right result or in one
sentence; a folder must show one run, the same id in its three files; nothing must be left beside them, nor be left once
the next command has run where the kernel gave no time to clean up.

Disks are mounted where that is allowed; elsewhere a limit on the size of files stands for them. Calls need
``benchmarks/wrong_calls.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from kills import ids_in, leftovers, moments, seen_in, together

from ntkrobust.errors import InputError, one_line
from ntkrobust.reports import page, storing
from ntkrobust.reports.stored import read_folder
from ntkrobust.reports.words import LABELS

CLAIM = """
import ntkrobust as ntr

claim = ntr.Claim(
    "mine/lecun-falls",
    r"$P/\\varepsilon$ falls with depth",
    ntr.DecreasesIn("depth"),
    "perturbation_stability",
    {"initialization": ("lecun",), "depth": (2, 3, 4), "width": (8,)},
    draws=8,
)
"""
MOMENTS = 35
"""About as many calls change the disk while a run is written."""

Outcome = tuple[str, str]
"""How a case ended, in a few words, and what was wrong with that; empty if nothing was."""


def command(claim: Path, out: Path, key: int) -> list[str]:
    """A run of seconds on a claim of its own."""
    what = [str(claim), "--data", "sphere", "--key", str(key), "--out", str(out)]
    return [sys.executable, "-m", "ntkrobust", "verify", *what]


def one_sentence(text: str) -> bool:
    return text.count("\n") == 1 and text.startswith("ntkrobust: ")


def whole(folder: Path, allowed: set[str]) -> str:
    """What is wrong with a folder that must show one of these runs, and nothing else; empty if nothing is."""
    try:
        ids = ids_in(folder)
    except (InputError, OSError) as error:
        return f"not readable: {error}"
    if len(ids) != 1 or ids[0] not in allowed:
        return f"shows {', '.join(ids)}"
    return f"left behind: {', '.join(leftovers(folder))}" if leftovers(folder) else ""


class Campaign:
    """Two finished runs to start from, and a folder to work in."""

    def __init__(self, work: Path, rng: random.Random) -> None:
        self.work, self.rng = work, rng
        self.old, self.new, self.claim = work / "old", work / "new", work / "claim.py"
        self.claim.write_text(CLAIM)
        started = time.perf_counter()
        for key, folder in enumerate((self.old, self.new)):
            subprocess.run(command(self.claim, folder, key), check=True, capture_output=True)
        self.seconds = (time.perf_counter() - started) / 2
        self.ids = {seen_in(self.old), seen_in(self.new)}

    def fresh(self, name: str) -> Path:
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def chosen_kills(self, count: int) -> Iterator[Outcome]:
        """At calls that change the disk, evenly over those there are."""
        new = read_folder(self.new)
        sealed = storing.sealed(new.document, new.evidence)
        original, storing.sealed = storing.sealed, lambda document, evidence: sealed  # type: ignore[assignment]
        try:
            done = 0
            while done < count:
                for found in moments(self.work, self.old, new, together, step=max(1, MOMENTS // count)):
                    wrong = "" if found["seen"] in self.ids else f"shows {found['seen']}"
                    if found["repaired"] != [found["seen"]] or found["left"]:
                        wrong = wrong or f"after repair {found['repaired']}, left {found['left']}"
                    yield ("old run" if found["seen"] == seen_in(self.old) else "new run"), wrong
                    done += 1
                    if done == count:
                        return
        finally:
            storing.sealed = original

    def random_kill(self, index: int) -> Outcome:
        """A whole command, ended at any time, by any of three signals."""
        number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[index % 3]
        folder = self.fresh("killed")
        shutil.copytree(self.old, folder)
        process = subprocess.Popen(
            command(self.claim, folder, 5), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(self.rng.uniform(0, 1.1 * self.seconds))
        process.send_signal(number)
        _, complaint = process.communicate()
        seen = seen_in(folder)
        wrong = "" if len(seen) == 16 else f"shows {seen}"
        if number != signal.SIGKILL and process.returncode >= 0:
            wrong = wrong or whole(folder, {seen})
            # Before the command has started, the interpreter itself answers a signal.
            if process.returncode not in (0, 128 + number) or (complaint and "Traceback" not in complaint):
                wrong = wrong or f"exit status {process.returncode}: {complaint[:200]}"
        page.write_report(folder)
        return ("old run" if seen == seen_in(self.old) else "new run"), wrong or whole(folder, {seen})

    def disk(self, index: int, count: int) -> Outcome:
        """Room from nothing to all that is needed, with and without an older run there."""
        place = self.fresh("disk")
        place.mkdir()
        size = round(4096 * 100 ** (index / max(1, count - 1)))
        with disk_of(place, size):
            out = place / "out"
            older = index % 2 and size > 2**18
            if older:
                shutil.copytree(self.old, out)
            done = subprocess.run(command(self.claim, out, 6), capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return "whole", whole(out, {seen_in(out)})
            wrong = "" if done.returncode == 2 and one_sentence(done.stderr) else f"{done.returncode}: {done.stderr}"
            if "mine/lecun-falls" not in done.stdout and done.stdout:
                wrong = wrong or "no table"
            if out.exists():
                wrong = wrong or whole(out, {seen_in(out)})
            elif any(place.iterdir()):
                wrong = wrong or f"left behind: {[path.name for path in place.iterdir()]}"
            return ("refused before" if not done.stdout else "table, then one sentence"), wrong

    def pair(self, index: int) -> Outcome:
        """Two runs started at once, or one a little later."""
        folder = self.fresh("pair")
        if index % 2:
            shutil.copytree(self.old, folder)
        processes = []
        for key in (7, 8):
            processes.append(
                subprocess.Popen(
                    command(self.claim, folder, key), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
            time.sleep(self.rng.choice((0, 0, self.rng.uniform(0, self.seconds))))
        complaints = [process.communicate()[1] for process in processes]
        statuses = [process.returncode for process in processes]
        wrong = ""
        for status, complaint in zip(statuses, complaints, strict=True):
            if status != 0 and not (status == 2 and one_sentence(complaint) and "another run" in complaint):
                wrong = f"exit status {status}: {complaint}"
        if 0 not in statuses:
            wrong = wrong or "neither ended"
        ended = "both, one after the other" if statuses == [0, 0] else "one refused"
        return ended, wrong or whole(folder, {seen_in(folder)})

    def mutation(self, index: int) -> Outcome:
        """Something else in a file, with digests that no longer fit, or made to fit so that the schema must notice."""
        folder = self.fresh("mutated")
        shutil.copytree(self.old, folder)
        kinds = (changed_json, resealed_json, changed_bytes, resealed_evidence, changed_files)
        kinds[index % len(kinds)](folder, self)
        return in_a_child(lambda: reported(folder))


def reported(folder: Path) -> Outcome:
    """``ntkrobust report``: a page of one run, or one sentence."""
    from ntkrobust.cli.report import report

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            report(str(folder))
    except (InputError, OSError) as error:
        return "one sentence", ("" if "\n" not in str(error) else f"several lines: {error}")
    wrong = whole(folder, {seen_in(folder)})
    return "a report", wrong


def in_a_child(act: Callable[[], Outcome]) -> Outcome:
    """In a process of its own: HDF5 may take that with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome = act()
        except BaseException:
            outcome = ("exception", traceback.format_exc().strip().splitlines()[-1])
        os.write(writer, json.dumps(outcome).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status or not content:
        return "crash", f"exit status {status}"
    ended, wrong = json.loads(content)
    return ended, wrong


# Changes to results

OTHERS = (
    None, True, False, 0, -1, 2.5, 10**400, 1e308, -1e308, float("nan"), float("inf"), "", "text", "x" * 10_000, "0",
    [], {}, [[]], [None], {"a": 1}, [1, 2, 3], "<script>alert(1)</script>", "$\\frac{", "\x1b[31m", "a\nb",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in steps:
        yield (*path, step)
        yield from places(below, (*path, step))


def mutated(document: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        found = list(places(document))
        if not found:
            break
        *above, last = rng.choice(found)
        parent: Any = document
        for step in above:
            parent = parent[step]
        match rng.randrange(4):
            case 0:
                del parent[last]
            case 1 if isinstance(parent, list):
                parent.insert(last, copy.deepcopy(parent[last]))
            case 2 if isinstance(parent[last], float | int) and not isinstance(parent[last], bool):
                parent[last] *= rng.choice((-1, 0, 2, 1e300))
            case _:
                parent[last] = rng.choice((*OTHERS, *LABELS))
    return document


def changed_json(folder: Path, campaign: Campaign) -> None:
    path = folder / "verdicts.json"
    document = json.loads(path.read_text())
    other = mutated(document, campaign.rng)
    path.write_text(json.dumps(other))


def resealed_json(folder: Path, campaign: Campaign) -> None:
    stored = read_folder(folder)
    other = mutated(stored.document, campaign.rng)
    with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError, OverflowError):
        if isinstance(other.get("inputs"), dict):
            stored.evidence.attrs["inputs"] = json.dumps(other["inputs"])
        other, content = storing.sealed(other, stored.evidence)
        (folder / "evidence" / "evidence.nc").write_bytes(content)
    (folder / "verdicts.json").write_text(json.dumps(other))


def changed_bytes(folder: Path, campaign: Campaign) -> None:
    path = folder / campaign.rng.choice(("evidence/evidence.nc", "verdicts.json"))
    content = bytearray(path.read_bytes())
    for _ in range(campaign.rng.choice((1, 1, 10, 1000))):
        content[campaign.rng.randrange(len(content))] = campaign.rng.randrange(256)
    path.write_bytes(content[: campaign.rng.choice((len(content), len(content), campaign.rng.randrange(len(content))))])


def resealed_evidence(folder: Path, campaign: Campaign) -> None:
    """Evidence of another shape, or with other bytes, whose digest fits."""
    rng = campaign.rng
    stored = read_folder(folder)
    if rng.random() < 0.5:
        content = bytearray((folder / "evidence" / "evidence.nc").read_bytes())
        for _ in range(rng.choice((1, 10, 100))):
            content[rng.randrange(len(content))] = rng.randrange(256)
    else:
        content = bytearray(storing.sealed(stored.document, reshaped(stored.evidence, rng))[1])
    run = {**stored.document["run"], "evidence_sha256": storing.hashlib.sha256(content).hexdigest()}
    (folder / "evidence" / "evidence.nc").write_bytes(content)
    (folder / "verdicts.json").write_text(json.dumps({**stored.document, "run": run}))


def reshaped(evidence: xr.DataTree, rng: random.Random) -> xr.DataTree:
    groups = {name: group.to_dataset() for name, group in evidence.children.items()}
    name = rng.choice(list(groups))
    group = groups[name]
    variable = rng.choice(list(group.variables))
    match rng.randrange(6):
        case 0:
            del groups[name]
        case 1:
            groups[name] = group.drop_vars([variable])
        case 2:
            groups[name] = group.isel(cell=slice(0, 1))
        case 3:
            groups[name] = group.assign({str(variable): (("other",), np.array(["a", "b"]))})
        case 4:
            groups[name] = xr.Dataset({"perturbation_stability": (("cell", "seed"), np.full((3, 1), np.nan))})
        case _:
            groups[name] = group.map(lambda values: values * np.nan if values.dtype.kind == "f" else values)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = dict(evidence.attrs)
    if rng.random() < 0.3:
        tree.attrs["inputs"] = rng.choice(("", "[", "null", "{}", 3, '{"claims": NaN}'))
    return tree


def changed_files(folder: Path, campaign: Campaign) -> None:
    """Files of another run, missing ones, links, folders in their place."""
    name = campaign.rng.choice(("evidence/evidence.nc", "verdicts.json", "evidence"))
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    match campaign.rng.randrange(5):
        case 0:
            pass
        case 1:
            source = campaign.new / name
            shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
        case 2:
            path.mkdir()
        case 3:
            path.write_bytes(b"")
        case _:
            path.symlink_to(campaign.work / "nowhere")


@contextlib.contextmanager
def disk_of(place: Path, size: int) -> Iterator[None]:
    """A disk of that many bytes; where none can be mounted, files of at most as many."""
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.geteuid() == 0 and subprocess.run(mounting, capture_output=True, check=False).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", str(place)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def calls(count: int, seed: int) -> Iterator[Outcome]:
    """Of everything public, with something out of place."""
    try:
        import wrong_calls
    except ModuleNotFoundError:
        yield "not made", "there is no benchmarks/wrong_calls.py"
        return
    for call, outcome in wrong_calls.campaign(count, seed):
        yield str(outcome), "" if outcome in ("refused", "right") else str(call)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (
        ("kills", 100),
        ("disks", 20),
        ("pairs", 20),
        ("mutations", 500),
        ("calls", 1000),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--out", type=Path, help="where to write the table too")
    options = parser.parse_args()
    lines = [f"{'fault':<28}{'cases':>6}{'wrong':>7}   how they ended"]
    offences: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), random.Random(options.seed))
        for name, outcomes in (
            ("kills, chosen moments", campaign.chosen_kills(options.kills - options.kills // 2)),
            ("kills, any time", (campaign.random_kill(index) for index in range(options.kills // 2))),
            ("full disks", (campaign.disk(index, options.disks) for index in range(options.disks))),
            ("pairs of runs", (campaign.pair(index) for index in range(options.pairs))),
            ("changed results", (campaign.mutation(index) for index in range(options.mutations))),
            ("wrong calls", calls(options.calls, options.seed) if options.calls else iter(())),
        ):
            ended = list(outcomes)
            wrong = [text for _, text in ended if text]
            counts = ", ".join(f"{number} {how}" for how, number in Counter(how for how, _ in ended).most_common())
            lines.append(f"{name:<28}{len(ended):>6}{len(wrong):>7}   {counts}")
            print(lines[-1], flush=True)
            offences += [f"{name}: {one_line(text, 400)}" for text in wrong[:10]]
            print("\n".join(offences[-len(wrong[:10]) :] if wrong else []), flush=True)
    text = "\n".join([*lines, *offences, ""])
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
