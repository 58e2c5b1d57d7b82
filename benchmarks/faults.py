"""A campaign of faults: kills, full disks, pairs of runs in one folder, changed results, wrong calls.

``python benchmarks/faults.py`` prints a table of how each kind ended, with the first offences, and exits 1 if there
were any. Each case must end in a right result or in one sentence; a folder must show one run, the same id in its three
files; nothing must be left beside them, nor be left once the next command has run where the kernel gave no time to
clean up. A signal that can be handled must end a run within ``PROMPT`` seconds.

Runs are forked from one process that has imported everything and started nothing, which saves each of them the imports;
some of those that are killed do them themselves. Kinds run side by side, as many as there are processors. Disks are
mounted where that is allowed; elsewhere a limit on the size of files stands for them.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import io
import json
import os
import random
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
import wrong_calls
import xarray as xr
from kills import blank, ids_in, leftovers, moments, seen_in, together
from small_disk import disk_of

from ntkrobust import cli
from ntkrobust.bounds.verdicts.types import LABELS
from ntkrobust.cli.report import report
from ntkrobust.errors import InputError, one_line
from ntkrobust.reports import page, schema, storing, terminal  # noqa: F401  imported for those that are forked
from ntkrobust.reports.stored import Stored, read_folder
from ntkrobust.workflows import verify  # noqa: F401

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

PROMPT = 10.0
"""Seconds from a signal to the end, on a machine that does other things too: half a second is what it should take."""

HANGS = 600.0
"""Seconds after which a run is taken to hang."""

Outcome = tuple[str, str]
"""How a case ended, in a few words, and what was wrong with that; empty if nothing was."""


def words(claim: Path, out: Path, key: int) -> list[str]:
    """A run of seconds on a claim of its own."""
    return ["verify", str(claim), "--data", "sphere", "--key", str(key), "--out", str(out)]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status, or minus the signal that killed it.
        out, err: what it printed.
    """

    status: int
    out: str
    err: str


class Forked:
    """The command line with these words, in a child of this process."""

    def __init__(self, arguments: list[str]) -> None:
        self._streams = [tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
        self.pid = os.fork()
        if self.pid == 0:
            self._run(arguments)

    def _run(self, arguments: list[str]) -> None:
        status = 70
        try:
            for number, stream in enumerate(self._streams, 1):
                os.dup2(stream.fileno(), number)
            sys.argv = ["ntkrobust", *arguments]
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        except KeyboardInterrupt:  # the command has not begun
            status = 130
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(status)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def runs(self) -> bool:
        """Whether it has not ended; it can still be asked how it did."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ended(self, within: float = HANGS) -> Ended:
        until = time.monotonic() + within
        while (hangs := self.runs()) and time.monotonic() < until:
            time.sleep(0.02)
        if hangs:
            self.send_signal(signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        texts = []
        for stream in self._streams:
            stream.seek(0)
            texts.append(stream.read())
            stream.close()
        return Ended(-1, texts[0], f"it hangs, after {within:.0f} s: {texts[1]}") if hangs else Ended(status, *texts)


class Started:
    """The same in an interpreter of its own."""

    def __init__(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "ntkrobust", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.send_signal = self._process.send_signal

    def ended(self) -> Ended:
        out, err = self._process.communicate()
        return Ended(self._process.returncode, out, err)


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


def of_one_variable(stored: Stored) -> Stored:
    """The same run with next to no evidence, which is read again and again."""
    measured = stored.evidence["measured"].to_dataset()[["seconds", "diverged"]].reset_coords(drop=True)
    evidence = xr.DataTree.from_dict({"measured": measured})
    evidence.attrs = stored.evidence.attrs
    return Stored(stored.document, evidence)


class Campaign:
    """Two finished runs to start from, and a folder to work in."""

    def __init__(self, work: Path, rng: random.Random) -> None:
        self.work, self.rng = work, rng
        self.old, self.new, self.claim = work / "old", work / "new", work / "claim.py"
        self.claim.write_text(CLAIM)
        os.environ["XDG_CACHE_HOME"] = str(work)  # programs are compiled once
        tempfile.tempdir = os.environ["TMPDIR"] = str(work)
        self.seconds: dict[type, float] = {}
        for key, (folder, how) in enumerate(((self.old, Forked), (self.new, Forked), (work / "cold", Started))):
            started = time.perf_counter()
            ended = how(words(self.claim, folder, key)).ended()
            if ended.status:
                raise SystemExit(f"no run to start from: {ended.err}")
            self.seconds[how] = time.perf_counter() - started
        self.stored = read_folder(self.old)
        self.ids = {seen_in(self.old), seen_in(self.new)}

    def fresh(self, name: str) -> Path:
        folder = self.work / f"{os.getpid()}" / name
        folder.parent.mkdir(exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def chosen_kills(self, count: int) -> Iterator[Outcome]:
        """At calls that change the disk, evenly over those there are."""
        without_pages()
        old, new = (of_one_variable(read_folder(one)) for one in (self.old, self.new))
        together(self.work / "small", old)
        sealed = storing.sealed(new.document, new.evidence)
        storing.sealed = lambda document, evidence: sealed  # type: ignore[assignment]
        done = 0
        while done < count:
            for found in moments(self.work, self.work / "small", new, together, step=max(1, MOMENTS // count)):
                wrong = "" if found["seen"] in self.ids else f"shows {found['seen']}"
                if found["repaired"] != [found["seen"]] or found["left"]:
                    wrong = wrong or f"after repair {found['repaired']}, left {found['left']}"
                yield ("old run" if found["seen"] == old.document["run"]["id"] else "new run"), wrong
                done += 1
                if done == count:
                    return

    def random_kills(self, count: int) -> Iterator[Outcome]:
        without_pages()
        return map(self.random_kill, range(count))

    def random_kill(self, index: int) -> Outcome:
        """A whole command, ended at any time, by any of three signals."""
        number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[index % 3]
        how: type[Forked | Started] = Started if index % 12 == 10 else Forked  # each signal in turn
        folder = self.fresh("killed")
        shutil.copytree(self.old, folder)
        process = how(words(self.claim, folder, 5))
        time.sleep(self.rng.uniform(0, 1.5 * self.seconds[how]))
        sent = time.perf_counter()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        ended = process.ended()
        took = time.perf_counter() - sent
        seen = seen_in(folder)
        wrong = "" if len(seen) == 16 else f"shows {seen}"
        # Before a command has begun, the interpreter itself answers a signal.
        if number != signal.SIGKILL and ended.status >= 0:
            wrong = wrong or whole(folder, {seen})
            said = ended.err and not (one_sentence(ended.err) and "the same command goes on" in ended.err)
            if ended.status not in (0, 128 + number) or said or took > PROMPT:
                wrong = wrong or f"{number.name}: exit status {ended.status} after {took:.1f} s: {ended.err}"
        page.write_report(folder)
        return ("old run" if seen in self.ids else "new run"), wrong or whole(folder, {seen})

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
            done = Forked(words(self.claim, out, 6)).ended()
            if done.status == 0:
                return "whole", whole(out, {seen_in(out)})
            *before, last = done.err.splitlines(keepends=True) or [""]
            # That cells can't be stored is said when it happens.
            right = done.status == 2 and one_sentence(last) and all("the run goes on" in one for one in before)
            wrong = "" if right else f"{done.status}: {done.err}"
            if "mine/lecun-falls" not in done.out and done.out:
                wrong = wrong or "no table"
            if out.exists() and any(path.name != "cells" for path in out.iterdir()):
                wrong = wrong or whole(out, {seen_in(out)})
            elif any(path != out for path in place.iterdir()):
                wrong = wrong or f"left behind: {[path.name for path in place.iterdir()]}"
            return ("refused before" if not done.out else "table, then one sentence"), wrong

    def pair(self, index: int) -> Outcome:
        """Two runs started at once, or one a little later."""
        folder = self.fresh("pair")
        if index % 2:
            shutil.copytree(self.old, folder)
        started = []
        for key in (7, 8):
            started.append(Forked(words(self.claim, folder, key)))
            time.sleep(self.rng.choice((0, 0, self.rng.uniform(0, self.seconds[Forked]))))
        ended = [one.ended() for one in started]
        wrong = ""
        for one in ended:
            if one.status != 0 and not (one.status == 2 and one_sentence(one.err) and "another run" in one.err):
                wrong = f"exit status {one.status}: {one.err}"
        statuses = [one.status for one in ended]
        if 0 not in statuses:
            wrong = wrong or "neither ended"
        how = "both, one after the other" if statuses == [0, 0] else "one refused"
        return how, wrong or whole(folder, {seen_in(folder)})

    def mutation(self, index: int) -> Outcome:
        """Something else in a file, with digests that no longer fit, or made to fit so that the schema must notice."""
        folder = self.fresh("mutated")
        shutil.copytree(self.old, folder)
        kinds = (changed_json, resealed_json, changed_bytes, resealed_evidence, changed_files)
        kinds[index % len(kinds)](folder, self)
        return in_a_child(lambda: reported(folder))


def reported(folder: Path) -> Outcome:
    """``ntkrobust report``: a page of one run, or one sentence."""
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
    stored = Stored(campaign.stored.document, campaign.stored.evidence.copy())
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
    rng, stored = campaign.rng, campaign.stored
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


def calls(count: int, seed: int) -> Iterator[Outcome]:
    """Of everything public, with something out of place."""
    with wrong_calls.bounded_memory(2**32):
        for call, outcome, said in wrong_calls.told_campaign(count, seed):
            right = outcome in (wrong_calls.REFUSED, wrong_calls.RIGHT)
            yield outcome, "" if right else f"{call}: {said}"


def side_by_side(
    kinds: dict[str, Callable[[], Iterator[Outcome]]], work: Path
) -> Iterator[tuple[str, list[Outcome], float]]:
    """Name, outcomes and seconds of each kind, as they end; each in a process of its own."""
    waiting, running = list(kinds), {}
    while waiting or running:
        if waiting and len(running) < (os.cpu_count() or 1):
            name = waiting.pop(0)
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    (work / f"{os.getpid()}.json").write_text(json.dumps(list(kinds[name]())))
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            running[child] = name, time.perf_counter()
            continue
        child, status = os.wait()
        name, started = running.pop(child)
        told = [["the campaign failed", name]] if status else json.loads((work / f"{child}.json").read_text())
        yield name, [(how, wrong) for how, wrong in told], time.perf_counter() - started


def without_pages() -> None:
    """Pages that are written after a kill take a second to draw, and change nothing."""
    page.render = blank  # type: ignore[assignment]


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
    lines = [f"{'fault':<24}{'cases':>6}{'wrong':>7}{'s':>8}   how they ended"]
    offences: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), random.Random(options.seed))
        kinds: dict[str, Callable[[], Iterator[Outcome]]] = {
            "changed results": lambda: map(campaign.mutation, range(options.mutations)),
            "kills, any time": lambda: campaign.random_kills(options.kills // 2),
            "pairs of runs": lambda: map(campaign.pair, range(options.pairs)),
            "wrong calls": lambda: calls(options.calls, options.seed),
            "kills, chosen moments": lambda: campaign.chosen_kills(options.kills - options.kills // 2),
            "full disks": lambda: (campaign.disk(index, options.disks) for index in range(options.disks)),
        }
        for name, ended, seconds in side_by_side(kinds, campaign.work):
            wrong = [text for _, text in ended if text]
            counts = ", ".join(f"{number} {how}" for how, number in Counter(how for how, _ in ended).most_common())
            lines.append(f"{name:<24}{len(ended):>6}{len(wrong):>7}{seconds:>8.0f}   {counts}")
            offences += [f"{name}: {one_line(text, 400)}" for text in wrong[:10]]
            print("\n".join([lines[-1], *offences[len(offences) - len(wrong[:10]) :]]), flush=True)
    text = "\n".join([*lines, *offences, ""])
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
