"""How right the time is that a run says is left: at each tenth of a run, what was told and what was true.

``python benchmarks/time_left.py [CLAIMS ...]`` verifies claims, by default ``zhu2022``, on a machine that has nothing
else to do, and prints a table. What was told last counts on as a clock does, as the bar shows it. A run begins with
its imports. Beside the error in shares of the whole run stands that in shares of what is left.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import os  # noqa: E402

import jax  # noqa: E402

import ntkrobust as ntr  # noqa: E402


def table(told: list[tuple[float, float]], seconds: float) -> list[str]:
    """Lines for each tenth of a run of so many seconds, from the times at which something was told, and what."""
    lines = [f"{'over':>6} {'told':>9} {'true':>9} {'of the run':>11} {'of the rest':>12}"]
    for tenth in range(1, 10):
        now = seconds * tenth / 10
        before = [one for one in told if one[0] <= now]
        if not before:
            lines.append(f"{tenth:>5}0% {'nothing':>9} {seconds - now:>7.0f} s")
            continue
        when, left = before[-1]
        left, true = max(0.0, left - (now - when)), seconds - now
        lines.append(
            f"{tenth:>5}0% {left:>7.0f} s {true:>7.0f} s {(left - true) / seconds:>+11.0%} {left / true - 1:>+12.0%}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("claims", nargs="*", default=["zhu2022"])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--data", default="digits")
    options = parser.parse_args()
    told: list[tuple[float, float]] = []

    def note(text: str, done: int, total: int) -> None:
        left = getattr(text, "seconds_left", None)
        if left is not None:
            told.append((time.monotonic() - STARTED, left))

    load = os.getloadavg()[0]
    ntr.verify(options.claims, preset=options.preset, data=options.data, progress=note)
    seconds, busy = time.monotonic() - STARTED, time.process_time()
    print(f"verify {' '.join(options.claims)}, {options.preset}, {options.data}")
    print(f"{seconds:.0f} s, {busy:.0f} s of cores")
    print(f"{os.cpu_count()} cores, load at the start {load:.1f}, JAX {jax.__version__}")
    print("\n".join(table(told, seconds)))


if __name__ == "__main__":
    main()
