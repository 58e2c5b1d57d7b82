"""What a study costs beside its cells, and what that means for sizes that nobody here can run.

``python benchmarks/scale_on_paper.py`` measures, on this machine, how long a bucket of cells takes to go to a worker of
a local cluster and to come back, by its bytes, and how many buckets of a tenth of a second one worker and two get
through. Then it simulates handing out a million cells whose costs are drawn from those that ``--costs FOLDER`` holds
(of ``verify`` or ``sweep``; without one, log-normal around a second).

The simulation is of events: each of W workers takes the next bucket when it has ended one, a bucket holds as many cells
as take two seconds in the mean, as :mod:`ntkrobust.studies.engines.buckets` cuts them, and the one process that hands
them out is busy with each bucket for as long as one takes to go and come back: an upper bound, since several are on
their way at a time.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
import time
from pathlib import Path

import numpy as np

from ntkrobust.studies.engines.buckets import MOST
from ntkrobust.studies.engines.choosing import client_for
from ntkrobust.studies.engines.dask import SECONDS
from ntkrobust.studies.store.folder import Contents


def sleeping(seconds: float, size: int) -> bytes:
    """In place of a bucket: takes so long, and gives so many bytes."""
    time.sleep(seconds)
    return bytes(size)


def handing_out(client, each: int) -> float:
    """Seconds that a bucket of so many bytes takes to go and come back, in the median."""
    client.submit(sleeping, 0.0, each, pure=False).result()
    times = []
    for _ in range(100):
        started = time.perf_counter()
        client.submit(sleeping, 0.0, each, pure=False).result()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def throughput(client, buckets: int, seconds: float) -> float:
    """Buckets a second."""
    started = time.perf_counter()
    for future in [client.submit(sleeping, seconds, 1000, pure=False) for _ in range(buckets)]:
        future.result()
    return buckets / (time.perf_counter() - started)


def costs_of(folder: str | None, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) seconds of cells, drawn with replacement from those of a folder."""
    if folder is None:
        return rng.lognormal(0.0, 1.0, count)
    measured = np.array([segment.seconds for segment in Contents(Path(folder) / "cells")])
    return rng.choice(measured, count)


def simulated(costs: np.ndarray, workers: int, serving: float) -> tuple[float, int, float]:
    """(seconds until all cells are done, buckets, share of the time that workers compute).

    Args:
        costs: (n,) seconds of each cell.
        workers: how many run at once.
        serving: seconds for which the process that hands out is busy with each bucket.
    """
    size = int(np.clip(SECONDS / costs.mean(), 1, MOST))
    ends = np.add.reduceat(costs, np.arange(0, len(costs), size))
    free = [0.0] * min(workers, len(ends))
    server = last = 0.0
    for cost in ends:
        server = max(server, free[0]) + serving
        end = server + cost
        heapq.heapreplace(free, end)
        last = max(last, end)
    return last, len(ends), float(costs.sum() / (last * workers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--costs")
    parser.add_argument("--cells", type=int, default=1_000_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rates = {}
    for workers in (1, 2):
        with client_for("local", False, "", {}, workers) as client:
            client.wait_for_workers(workers)
            if workers == 1:
                small, large = handing_out(client, 1_000), handing_out(client, 1_000_000)
                print(f"a bucket goes and comes back in {1e3 * small:.1f} ms, and {1e3 * (large - small):.2f} ms more "
                      f"for a megabyte", flush=True)  # fmt: skip
            rates[workers] = throughput(client, 200, 0.1)
            print(f"{workers} worker(s) with two threads: {rates[workers]:.1f} buckets of 0.1 s a second", flush=True)
    serving = small
    print(f"\n{options.cells} cells, {serving * 1e3:.1f} ms to hand out each bucket:")
    costs = costs_of(options.costs, options.cells, rng)
    for workers in (1, 8, 64, 256, 1000, 4000):
        seconds, buckets, busy = simulated(costs, workers, serving)
        print(f"{workers:5d} workers: {seconds / 3600:8.2f} h, {buckets} buckets, workers compute {busy:.1%} of it")


if __name__ == "__main__":
    main()
