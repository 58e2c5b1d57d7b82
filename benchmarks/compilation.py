"""What compiling costs: by depth, and of a grid of networks.

    python benchmarks/compilation.py [--out benchmarks/results/compilation_cpu.txt]

Without a persistent cache. Networks of each depth are drawn, trained by gradient descent and measured, each depth in
processes of its own: the first network of a process, then two of other widths, which find some of the programs that
draw there already. Then each depth is trained by each optimizer. The grid is 8 widths × 5 depths × 3 initializations ×
8 seeds, trained for 1000 steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from training import hardware

import ntkrobust as ntr
from ntkrobust.runtime import core_clients, plain
from ntkrobust.runtime.compiling import PROGRAMS

DEPTHS = (4, 20, 50)
DEPTH_WIDTHS = (33, 37, 41)
PROCESSES = 3
OPTIMIZERS = ("gd", "momentum", "adam", "gradient_flow")
WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192)
GRID_DEPTHS = (2, 3, 4, 5, 6)
INITIALIZATIONS = ("lecun", "he", "ntk")
STEPS = 1000
N, D = 256, 64


class Watch:
    """Counts seconds and programs spent compiling, and seconds of carrying programs over to other streams."""

    def __init__(self) -> None:
        self.seconds, self.programs = 0.0, 0
        self._compile, self._carry_over = plain.find_program, core_clients.carried_to
        self._counting = threading.Lock()
        plain.find_program = self
        core_clients.carried_to = self.carry_over

    def __call__(self, *arguments: Any) -> Callable[..., Any]:
        started, before = time.perf_counter(), len(PROGRAMS)
        program = self._compile(*arguments)
        if len(PROGRAMS) > before:
            self.seconds += time.perf_counter() - started
            self.programs += 1
        return program

    def carry_over(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        program = self._carry_over(*arguments)
        with self._counting:
            self.seconds += time.perf_counter() - started
        return program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-grid", action="store_true", help="depths only; the grid takes minutes")
    parser.add_argument("--depth", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    watch = Watch()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, D)) / D**0.5, rng.standard_normal((N, 1))

    def run(net: ntr.MLP, steps: int, rate: float = 1e-4) -> None:
        trained = ntr.train(net, x, y, seeds=8, steps=steps, learning_rate=rate, record_steps=[steps])
        ntr.measure(trained, x, ["perturbation_stability"])

    if options.depth:
        spent = []
        for width in DEPTH_WIDTHS:
            before = watch.seconds
            run(ntr.MLP(options.depth, width), 2)
            spent.append(watch.seconds - before)
        print(json.dumps(spent))
        return

    lines = [hardware(), "", *by_depth()]
    lines += ["", f"seconds of compiling by optimizer, at depths {DEPTHS} (training, drawing; least of two)"]
    for optimizer in OPTIMIZERS:
        least = []
        for depth in DEPTHS:
            taken = []
            for width in (45, 49):
                before = watch.seconds
                record: dict[str, Any] = {"record_times": [1e-9]} if optimizer == "gradient_flow" else {}
                net = ntr.MLP(depth, width)
                ntr.train(net, x, y, seeds=8, steps=2, learning_rate=1e-4, optimizer=optimizer, **record)
                taken.append(watch.seconds - before)
            least.append(min(taken))
        lines.append(f"{optimizer:<15}" + "".join(f"{seconds:>7.2f}" for seconds in least))

    if not options.no_grid:
        lines += grid(watch, run)
    before = watch.programs
    for steps, rate in ((9, 1e-4), (10, 1e-4), (11, 1e-4), (700, 3e-4)):
        run(ntr.MLP(4, 64), steps, rate)
        before = watch.programs if steps == 9 else before
    lines.append(f"programs compiled for other step counts and learning rates: {watch.programs - before}")
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


def by_depth() -> list[str]:
    """Seconds of compiling for networks of each depth, in processes of their own that take turns."""
    first: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    later: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    for _ in range(PROCESSES):
        for depth in DEPTHS:
            done = subprocess.run(
                [sys.executable, __file__, "--depth", str(depth)], check=True, capture_output=True, text=True
            )
            spent = json.loads(done.stdout)
            first[depth].append(spent[0])
            later[depth] += spent[1:]
    lines = [
        "seconds of compiling (drawing, training, measuring), medians",
        "depth   first network   / depth 4   other width   / depth 4",
    ]
    middle = {depth: (float(np.median(first[depth])), float(np.median(later[depth]))) for depth in DEPTHS}
    for depth, (one, other) in middle.items():
        lines.append(f"{depth:>5}{one:>16.2f}{one / middle[4][0]:>12.2f}{other:>14.2f}{other / middle[4][1]:>12.2f}")
    return lines


def grid(watch: Watch, run: Callable[[ntr.MLP, int], None]) -> list[str]:
    """Share of its time that a grid spends on compiling."""
    watch.seconds, watch.programs = 0.0, 0
    started = time.perf_counter()
    for width in WIDTHS:
        for depth in GRID_DEPTHS:
            for initialization in INITIALIZATIONS:
                run(ntr.MLP(depth, width, initialization=initialization), STEPS)
    whole = time.perf_counter() - started
    return [
        "",
        f"grid of {len(WIDTHS)} widths x {len(GRID_DEPTHS)} depths x {len(INITIALIZATIONS)} initializations x 8 seeds, "
        f"{STEPS} steps: {whole:.0f} s, {watch.programs} programs compiled in {watch.seconds:.0f} s "
        f"({watch.seconds / whole:.0%})",
    ]


if __name__ == "__main__":
    main()
