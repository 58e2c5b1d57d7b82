"""What compiling costs: by depth, and of a grid of networks.

    python benchmarks/compilation.py [--out benchmarks/results/compilation_cpu.txt]

Without a persistent cache. Each depth is trained by gradient descent and measured, at widths that nothing was compiled
for, and then trained by each optimizer. The grid is 8 widths × 5 depths × 3 initializations × 8 seeds, trained for 1000
steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from training import hardware

import ntkrobust as ntr
from ntkrobust.finite import plan

DEPTHS = (4, 20, 50)
OPTIMIZERS = ("gd", "momentum", "adam", "gradient_flow")
WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192)
GRID_DEPTHS = (2, 3, 4, 5, 6)
INITIALIZATIONS = ("lecun", "he", "ntk")
STEPS = 1000
N, D = 256, 64


class Watch:
    """Counts seconds and programs spent compiling."""

    def __init__(self) -> None:
        self.seconds, self.programs = 0.0, 0
        self._compile = plan._compile
        plan._compile = self  # type: ignore[assignment]

    def __call__(self, *arguments: Any) -> Callable[..., Any]:
        started, before = time.perf_counter(), len(plan.PROGRAMS)
        program = self._compile(*arguments)
        if len(plan.PROGRAMS) > before:
            self.seconds += time.perf_counter() - started
            self.programs += 1
        return program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-grid", action="store_true", help="depths only; the grid takes minutes")
    options = parser.parse_args()
    watch, train = Watch(), ntr.train
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, D)) / D**0.5, rng.standard_normal((N, 1))

    def run(net: ntr.MLP, steps: int, rate: float = 1e-4) -> None:
        trained = train(net, x, y, seeds=8, steps=steps, learning_rate=rate, record_steps=[steps])
        ntr.measure(trained, x, ["perturbation_stability"])

    run(ntr.MLP(3, 8), 2)
    lines = [hardware(), "", "depth  seconds of compiling (training, drawing, measuring), median of three  of depth 4"]
    spent: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    for width in (33, 37, 41):
        for depth in DEPTHS:
            before = watch.seconds
            run(ntr.MLP(depth, width), 2)
            spent[depth].append(watch.seconds - before)
    medians = {depth: sorted(times)[1] for depth, times in spent.items()}
    lines += [f"{depth:>5}  {medians[depth]:>7.2f}{medians[depth] / medians[4]:>69.2f}" for depth in DEPTHS]

    lines += ["", f"seconds of compiling by optimizer, at depths {DEPTHS} (training, drawing; least of two)"]
    for optimizer in OPTIMIZERS:
        least = []
        for depth in DEPTHS:
            taken = []
            for width in (45, 49):
                before = watch.seconds
                record: dict[str, Any] = {"record_times": [1e-9]} if optimizer == "gradient_flow" else {}
                net = ntr.MLP(depth, width)
                train(net, x, y, seeds=8, steps=2, learning_rate=1e-4, optimizer=optimizer, **record)
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
