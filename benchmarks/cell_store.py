"""What storing costs: per cell in batches, per byte, and to open a folder of 10 000 cells.

``python benchmarks/cell_store.py`` prints a table. Nothing is trained: records of 16 networks and two measures are
named, packed and written as a run does, one file for 1, 10 and 1 000 cells; then a folder of 10 000 cells is read into
a table.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

import ntkrobust as ntr
from ntkrobust.data import load
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import CellRecord, Demand, nothing, untrained
from ntkrobust.studies.store.opened import states_in, table_of
from ntkrobust.studies.store.store import CellStore

NETWORKS = 16
MEASURES = ("perturbation_stability", "jacobian_frobenius")


def records(count: int) -> Iterator[CellRecord]:
    rng = np.random.default_rng(0)
    for index in range(count):
        net = ntr.MLP(2 + index % 10, 8 + index % 50, initialization=("he", "lecun")[index % 2])
        cell = Cell(net, n=100, time="fixed steps", value=1 + index, budget=1 + index)
        values = {name: rng.normal(size=NETWORKS) for name in MEASURES}
        yield CellRecord(cell, np.arange(NETWORKS), values, **untrained(NETWORKS), seconds=1.0, plan="", steps=1)


def written(folder: Path, count: int, at_once: int) -> tuple[float, float, float]:
    """Milliseconds per cell, those of this process's own work among them, and bytes."""
    data, made = load("digits"), list(records(count))
    measures = {name: ntr.measures.get(name) for name in MEASURES}
    demand = Demand(measures, NETWORKS)
    with CellStore(folder, data, jax.random.key(0), 64) as store:
        store.due = lambda: None if not store._pending else 1.0  # type: ignore[method-assign]
        started, worked = time.perf_counter(), time.process_time()
        for index, record in enumerate(made, 1):
            store.found(nothing(record.cell), demand)
            store.plan({record.cell: demand}) if at_once == 1 else None
            store.begin(record.cell, demand)
            store.add(record, demand)
            if index % at_once == 0:
                store.flush()
        store.flush()
        seconds, work = time.perf_counter() - started, time.process_time() - worked
    return 1e3 * seconds / count, 1e3 * work / count, sum(path.stat().st_size for path in folder.iterdir()) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    try:
        written(work / "warm", 20, 10)
        for count, at_once in ((100, 1), (1000, 10), (2000, 1000)):
            each, own, size = written(work / f"{at_once}", count, at_once)
            print(f"{at_once:5d} cells per file: {each:.2f} ms ({own:.2f} ms of work) and {size:.0f} bytes per cell")
        written(work / "many", options.cells, 100)
        for what, read in (("a table", table_of), ("what became of each", states_in)):
            started, worked = time.perf_counter(), time.process_time()
            found = read(work / "many")
            number = found.sizes["cell"] if what == "a table" else len(found)
            seconds, work = time.perf_counter() - started, time.process_time() - worked
            print(f"{what} of {number} cells: {seconds:.2f} s ({work:.2f} s of work)")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
