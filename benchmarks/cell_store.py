"""What storing costs: per cell in batches, per byte, of a run whose cells take a second, and to open 10 000 cells.

``python benchmarks/cell_store.py`` prints a table. Nothing is trained: records as runs of the catalogue leave them (of
four cells one is untrained, with 256 networks; the others are trained, with 16; two measures) are named, packed and
written as a run does, one file for 1, 10 and 1 000 cells. Then a folder of 10 000 cells, of which each was written
alone, is opened, and one measure of all its networks is read. Work is the time that this process had a processor.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

import ntkrobust as ntr
from ntkrobust.data import load
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import CellRecord, Demand, nothing, untrained
from ntkrobust.studies.store.opened import states_in
from ntkrobust.studies.store.store import CellStore

MEASURES = ("perturbation_stability", "jacobian_frobenius")


def records(count: int) -> Iterator[CellRecord]:
    rng = np.random.default_rng(0)
    for index in range(count):
        networks = 16 if index % 4 else 256
        net = ntr.MLP(2 + index % 10, 8 + index % 50, initialization=("he", "lecun")[index % 2])
        cell = Cell(net, n=1 + index, time="initialization")
        if index % 4:
            cell = Cell(net, n=100, time="fixed steps", value=1 + index, budget=1 + index)
        values = {name: rng.normal(size=networks) for name in MEASURES}
        yield CellRecord(cell, np.arange(networks), values, **untrained(networks), seconds=1.0, plan="", steps=1)


class Took:
    """Seconds by the clock, and of work."""

    clock = work = 0.0


@contextmanager
def timed() -> Iterator[Took]:
    took, started, worked = Took(), time.perf_counter(), time.process_time()
    yield took
    took.clock, took.work = time.perf_counter() - started, time.process_time() - worked


def written(folder: Path, count: int, at_once: int) -> tuple[Took, int]:
    """What it takes to store so many cells, and the bytes that are there then."""
    data, made = load("digits"), list(records(count))
    measures = {name: ntr.measures.get(name) for name in MEASURES}
    with timed() as took, CellStore(folder, data, jax.random.key(0), 64) as store:
        store.due = lambda: None if not store._pending else 1.0  # type: ignore[method-assign]
        demands = {record.cell: Demand(measures, len(record.seeds)) for record in made}
        store.plan(demands)
        for index, (record, demand) in enumerate(zip(made, demands.values(), strict=True), 1):
            store.found(nothing(record.cell), demand)
            store.begin(record.cell, demand)
            store.add(record, demand)
            if index % at_once == 0:
                store.flush()
    return took, sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        written(place / "warm", 20, 10)
        for count, at_once in ((200, 1), (1000, 10), (2000, 1000)):
            took, size = written(place / f"{at_once}", count, at_once)
            each = f"{1e3 * took.clock / count:.2f} ms ({1e3 * took.work / count:.2f} ms of work)"
            print(f"{at_once:5d} cells per file: {each} and {size / count:.0f} bytes per cell")
            if at_once == 1:
                print(f"      of cells that take a second each: {took.clock / count:.2%} of the run")
        took, _ = written(place / "study" / "cells", options.cells, 1)
        files = len(list((place / "study" / "cells").glob("cells-*.npz")))
        print(f"{options.cells} cells one by one: {1e3 * took.clock / options.cells:.2f} ms each, {files} files")
        with timed() as took:
            opened = ntr.open_study(place / "study")["measured"].to_dataset()
        print(f"to open {opened.sizes['cell']} cells: {took.clock:.2f} s ({took.work:.2f} s of work)")
        with timed() as took:
            read = int(np.isfinite(opened[MEASURES[0]].to_numpy()).sum())
        print(f"to read a measure of all {read} networks: {took.clock:.2f} s ({took.work:.2f} s of work)")
        with timed() as took:
            found = states_in(place / "study" / "cells")
        print(f"what became of {len(found)} cells: {took.clock:.2f} s ({took.work:.2f} s of work)")
        shutil.rmtree(place / "study")


if __name__ == "__main__":
    main()
