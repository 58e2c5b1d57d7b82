"""The price of computing activations again on the way back: time and peak memory of training a deep network.

    python benchmarks/recomputing.py [--depth 30] [--width 512] [--points 4000] [--seeds 1]

Two processes that train the same ensemble. One has all the memory; the other's limit lies halfway between what both
ways are estimated to take, so that it computes activations again. Seconds are those of processors, of the fastest of
several calls after one that compiles, the two processes taking turns; peaks are Linux's VmHWM.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

STEPS = 3
ROUNDS = 3


def train(args: argparse.Namespace) -> None:
    """In a process of its own: train whenever a line comes, and say how long it took."""
    import ntkrobust as ntr
    from ntkrobust.finite.training.memory import training_memory
    from ntkrobust.networks.plans import choose_plan
    from ntkrobust.runtime.layout import Plan

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((args.points, 64)) / 8, rng.standard_normal((args.points, 1))
    ntr.train(ntr.MLP(2, 8), x[:8], y[:8], seeds=2, steps=1, learning_rate=1e-3)
    net = ntr.MLP(args.depth, args.width)
    plan = choose_plan(net, 64, args.points)
    less = dataclasses.replace(plan, recomputed=net.layers_to_recompute)

    def estimate(which: Plan) -> int:
        return training_memory(net, 64, args.points, args.seeds, 1, which).peak

    def call() -> ntr.Run:
        limit = (estimate(plan) + estimate(less)) // 2 if args.limited else None
        return ntr.train(
            net, x, y, seeds=args.seeds, steps=STEPS, learning_rate=1e-7, record_steps=[STEPS], memory_limit=limit
        )

    estimated = estimate(less if args.limited else plan)
    run = call()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(estimated >> 20, int(line.split()[1]) >> 10, float(run.loss[0, -1]), run.plan, sep="|", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        call()
        print(time.process_time() - start, flush=True)


def main(args: argparse.Namespace, given: list[str]) -> None:
    children = [
        subprocess.Popen([sys.executable, __file__, "--child", *given, *limited], text=True, bufsize=1,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for limited in ([], ["--limited"])
    ]  # fmt: skip
    firsts, times = [], [[], []]  # type: ignore[var-annotated]
    for child in children:
        assert child.stdout is not None
        firsts.append(child.stdout.readline().strip().split("|"))
    for _ in range(ROUNDS):
        for child, taken in zip(children, times, strict=True):
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            taken.append(float(child.stdout.readline()))
    for child in children:
        child.communicate()
    print(f"{args.seeds} network(s) of depth {args.depth}, width {args.width}, {args.points} points, {STEPS} steps")
    print("activations      estimate     peak        loss  processor seconds")
    for name, (estimated, peak, loss, _), taken in zip(("kept", "computed again"), firsts, times, strict=True):
        print(f"{name:15s} {estimated:>6} MiB {peak:>4} MiB {float(loss):11.4f} {min(taken):18.2f}")
    print(f"ratio of processor times {min(times[1]) / min(times[0]):.2f}; {firsts[1][3]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("depth", 30), ("width", 512), ("points", 4000), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--limited", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        train(chosen)
    else:
        main(chosen, sys.argv[1:])
