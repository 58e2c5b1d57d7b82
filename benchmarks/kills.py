"""Ends writers at every moment: before each call that changes the disk, in children of one process that imports no JAX.

``python benchmarks/kills.py FOLDER OLD NEW`` takes two results as ``verify`` leaves them, and for the first, second, …
such call makes a folder that holds OLD, starts to write NEW into it, and kills the writer (SIGKILL) at that call, until
one gets through. It prints one JSON object: for every moment the run that a reader then sees, what a reader of the
repaired folder sees, and what is left. With ``--one-by-one`` the writer moves each file into place by itself, old
verdicts beside new evidence: the fault that the check must see.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ntkrobust.errors import InputError
from ntkrobust.files.atomic import reserved, write_whole
from ntkrobust.reports import page, storing
from ntkrobust.reports.stored import NAMES, Stored, read_folder

CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "ftruncate", "write")
"""Of ``os``: between any two of them a kill makes no other difference to the disk."""


def blank(stored: Stored) -> page.Page:
    """A page with nothing but the id of its run."""
    return page.Page(f'<meta name="ntkrobust-run" content="{stored.document["run"]["id"]}">', {})


def leftovers(folder: Path) -> list[str]:
    """What is in a folder beside the files of one run, and the cells that runs have stored."""
    expected = {*NAMES, *(str(Path(name).parent) for name in NAMES)}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")} - expected
    return sorted(one for one in found if one.partition(os.sep)[0] != "cells" or one.endswith(".partial"))


def seen_in(folder: Path) -> str:
    """The id of the run that a reader takes out of a folder, or the sentence that refuses it."""
    try:
        return str(read_folder(folder).document["run"]["id"])
    except InputError as error:
        return str(error)


def ids_in(folder: Path) -> list[str]:
    """The ids that the three files carry, each by itself; one of them where nothing is mixed."""
    stored = read_folder(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    shown = text.partition('name="ntkrobust-run" content="')[2].partition('"')[0]
    return sorted({stored.document["run"]["id"], str(stored.evidence.attrs["run"]), shown})


def moments(
    work: Path, old: Path, new: Stored, writer: Callable[[Path, Stored], None], step: int = 1
) -> Iterator[dict[str, Any]]:
    """One kill after the other, each so many calls later."""
    moment, finished = 0, False
    while not finished:
        folder = work / f"at-{moment}"
        shutil.copytree(old, folder)
        child = os.fork()
        if child == 0:
            _killed_at(moment, lambda folder=folder: writer(folder, new))  # type: ignore[misc]
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finished = status != -signal.SIGKILL
        found: dict[str, Any] = {"moment": moment, "status": status, "seen": seen_in(folder)}
        try:
            page.write_report(folder)
            found |= {"repaired": ids_in(folder), "left": leftovers(folder)}
        except InputError as error:
            found |= {"repaired": [str(error)], "left": leftovers(folder)}
        yield found
        shutil.rmtree(folder)
        moment += step


def together(folder: Path, new: Stored) -> None:
    """As ``verify`` writes."""
    with reserved(folder, NAMES) as place:
        storing.store(new.document, new.evidence, place)


def one_by_one(folder: Path, new: Stored) -> None:
    """Each file whole, but by itself."""
    storing.write_together = _each  # type: ignore[attr-defined]
    together(folder, new)


def _each(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        write_whole(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]


def _killed_at(moment: int, act: Callable[[], None]) -> None:
    done = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*given: Any, **named: Any) -> Any:
            nonlocal done
            if done == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
            return call(*given, **named)

        return wrapper

    # The page takes a second to draw and changes nothing on the disk.
    storing.render = blank  # type: ignore[attr-defined]
    status = 1
    try:
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--one-by-one", action="store_true")
    parser.add_argument("--step", type=int, default=1, help="leave out the calls between")
    options = parser.parse_args()
    page.render = blank  # type: ignore[assignment]
    new = read_folder(options.new)
    whole = storing.sealed(new.document, new.evidence)
    storing.sealed = lambda document, evidence: whole  # type: ignore[assignment]  # the same bytes, made once
    writer = one_by_one if options.one_by_one else together
    print(json.dumps(list(moments(options.work, options.old, new, writer, options.step))))


if __name__ == "__main__":
    main()
