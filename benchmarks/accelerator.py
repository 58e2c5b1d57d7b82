"""All that an accelerator has to show, in one command and within a number of minutes.

    python benchmarks/accelerator.py --minutes 8 --out benchmarks/results/accelerator_h200.txt
    python benchmarks/accelerator.py --small      # the shape of it, on any machine, in seconds

- Numbers: networks that are drawn, trained, measured, and trained under attack here, beside the same on the CPU.
- Tests that matter here: draws, layouts, donated arrays, segments, and ``ntkrobust doctor``.
- The rate of matrix products with all of float32 and as the device does them by default (TF32 on GPUs).
- Full-batch training of networks of depth 4 at widths from 1024 to 16384: the rate of its steps beside these two and
  beside ``jit(vmap)`` of plain JAX, what a call costs besides its steps, and the peak of the device's memory.
- Drawing, in numbers per second.
- Several devices, where there are: the same training on one and on all.

Each part is a process of its own, so that peaks are its own. What would not fit into the time is left out, the largest
widths first, and is said to be.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from training import D, hardware, training_flops

TESTS = ("tests/test_drawing.py", "tests/test_segments.py", "tests/test_compiling.py", "tests/test_plan.py")
SMALL_TESTS = ("tests/test_plan.py::test_pieces_share_the_seeds_evenly",)
WIDTHS, SMALL_WIDTHS = (1024, 2048, 4096, 8192, 16384), (16,)
DEPTH, POINTS, SMALL_POINTS = 4, 4096, 16
GROWTH = 3
"""As many times as long a width takes at most as the one before: steps are as many as take a second or two."""
TEST_SHARE = 0.35
"""Of the time, at most, for the tests."""
RATE = 1e-6
ROOT = Path(__file__).parents[1]

Answer = dict[str, Any]


def numbers() -> Answer:
    """Of a small ensemble, and the device they come from."""
    import jax

    import ntkrobust as ntr

    x = np.linspace(-1.2, 1.4, 24).reshape(8, 3)
    y = np.sign(np.sin(3 * x[:, :1]))
    run = ntr.train(ntr.MLP(3, 32, activation="tanh"), x, y, seeds=4, steps=20, learning_rate=0.02, record_steps=[20])
    against = ntr.train(run.net, x, y, seeds=4, steps=20, learning_rate=0.02, adversary=ntr.Adversary(0.1, steps=2))
    device = jax.local_devices()[0]
    return {
        "kind": device.device_kind,
        "devices": jax.local_device_count(),
        "memory": (device.memory_stats() or {}).get("bytes_limit", 0),
        "hardware": hardware(),
        "drawn": run.initial_parameters().weights[1].ravel().tolist(),
        "loss": run.loss.ravel().tolist(),
        "measured": ntr.measure(run, x, ["jacobian_frobenius"]).jacobian_frobenius.to_numpy().ravel().tolist(),
        "attacked": against.loss.ravel().tolist(),
    }


def matmul(size: int) -> Answer:
    """GFLOP/s of a product of two square matrices, by how it is computed."""
    import jax
    import jax.numpy as jnp

    square = jnp.asarray(np.random.default_rng(0).standard_normal((size, size)), jnp.float32)
    found = {}
    for name, precision in (("float32", "highest"), ("default", "default")):
        # Several in one program, each of what the one before gave: launching it takes no part.
        def product(a: jax.Array, precision: str = precision) -> jax.Array:
            again = lambda _, b: jnp.matmul(a, b, precision=precision) * (1 / size)  # noqa: E731
            return jax.lax.fori_loop(0, 8, again, a)

        compiled = jax.jit(product)
        taken = best(lambda compiled=compiled: jax.block_until_ready(compiled(square)))
        found[name] = 8 * 2 * size**3 / taken / 1e9
    return found


def training(width: int, points: int, seconds: float) -> Answer:
    """Rates of steps, ours and plain, in GFLOP/s; seconds of a call of one step; bytes at the peak."""
    import jax
    import jax.numpy as jnp

    import ntkrobust as ntr

    devices = jax.local_device_count()
    seeds = devices * max(1, min(8, (4096 // width) ** 2))
    net = ntr.MLP(DEPTH, width)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((points, D)) / D**0.5).astype(np.float32)
    y = rng.standard_normal((points, 1)).astype(np.float32)
    plan = ""

    def ours(steps: int) -> None:
        nonlocal plan
        run = ntr.train(net, x, y, seeds=seeds, steps=steps, learning_rate=RATE, record_steps=[steps])
        plan = run.plan

    one, per_step, steps = time_of_steps(ours, seconds)
    peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)

    drawn = [
        jnp.asarray(rng.standard_normal((seeds // devices, *s), dtype=np.float32) * (2 / s[1]) ** 0.5)
        for s in net.layer_shapes(D)
    ]

    def loss(weights: list[jax.Array]) -> jax.Array:
        h = x.T
        for layer, weight in enumerate(weights):
            h = jnp.matmul(weight, jax.nn.relu(h) if layer else h, precision="highest")
        return 0.5 * jnp.sum((h.T - y) ** 2)

    def of_one(steps: jax.Array, weights: list[jax.Array]) -> list[jax.Array]:
        def step(_: int, weights: list[jax.Array]) -> list[jax.Array]:
            return [weight - RATE * slope for weight, slope in zip(weights, jax.grad(loss)(weights), strict=True)]

        return jax.lax.fori_loop(0, steps, step, weights)

    together = jax.jit(jax.vmap(of_one, in_axes=(None, 0)))
    _, plain, _ = time_of_steps(lambda steps: jax.block_until_ready(together(steps, drawn)), seconds / 2)
    flops = training_flops(seeds, DEPTH, width, points) / 1e9
    return {
        "seeds": seeds, "steps": steps, "plan": plan, "ours": flops / per_step, "plain": flops / devices / plain,
        "one": one, "peak": peak,
    }  # fmt: skip


def time_of_steps(call: Callable[[int], Any], seconds: float) -> tuple[float, float, int]:
    """Seconds of a call of one step, seconds per step (NaN if they can't be told), and how many were taken to tell."""
    one = best(lambda: call(1))
    few = max((best(lambda: call(5)) - one) / 4, 1e-6)
    steps = int(min(max(8, seconds / few), 500))
    more = best(lambda: call(1 + steps)) - one
    return one, more / steps if more > 0 else math.nan, steps


def best(call: Callable[[], Any], times: int = 3) -> float:
    """Seconds of the shortest of several calls, after one that compiles."""
    call()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)


def drawing(width: int) -> Answer:
    """Normals per second, as they come to lie in the machine's memory."""
    import jax

    import ntkrobust as ntr
    from ntkrobust.runtime.seeds import seed_keys

    net, keys = ntr.MLP(DEPTH, width), seed_keys(jax.random.key(0), (0, 1))
    taken = best(lambda: net.initialize(D, keys))
    return {"rate": 2 * net.count_parameters(D) / taken, "bytes": 2 * 4 * net.count_parameters(D)}


PARTS: dict[str, Callable[..., Answer]] = {
    "numbers": numbers, "matmul": matmul, "training": training, "drawing": drawing,
}  # fmt: skip


class Session:
    """Runs parts until the time is over.

    Args:
        seconds: how long everything may take.
        apart: whether each part has a process of its own.
    """

    def __init__(self, seconds: float, apart: bool) -> None:
        self._end = time.monotonic() + seconds
        self._apart = apart

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def run(self, part: str, *arguments: float, **environment: str) -> Answer:
        """What a part found; ``left_out`` says why, where it found nothing."""
        if not self._apart:
            return PARTS[part](*arguments)
        if self.left() <= 0:
            return {"left_out": "the time was over"}
        command = [sys.executable, __file__, "--part", json.dumps([part, *arguments])]
        try:
            done = subprocess.run(
                command, env=os.environ | environment, timeout=max(self.left(), 1), capture_output=True, text=True
            )
        except subprocess.TimeoutExpired:
            return {"left_out": "the time was over"}
        if done.returncode:
            return {"left_out": (done.stderr.strip().splitlines() or ["no reason was given"])[-1]}
        answer: Answer = json.loads(done.stdout.splitlines()[-1])
        return answer


def tests(session: Session, small: bool) -> Iterable[str]:
    """Whether the tests that matter pass."""
    limit = max(1.0, session.left() * (1.0 if small else TEST_SHARE))
    commands = {"tests": ["-m", "pytest", "-q", "-p", "no:cacheprovider", *(SMALL_TESTS if small else TESTS)]}
    if not small:
        commands["doctor"] = ["-m", "ntkrobust", "doctor"]
    end = time.monotonic() + limit
    # Beside processes of their own that have the device's memory, too.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONPATH": str(ROOT)}
    for name, command in commands.items():
        try:
            done = subprocess.run(
                [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, env=environment,
                timeout=max(1.0, end - time.monotonic()),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            yield f"{name}: left out after {limit:.0f} s"
            continue
        lines = done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]]
        failed = [line for line in lines if line.startswith("FAILED") or "FAILED" in line]
        yield f"{name}: {'passed' if done.returncode == 0 else 'FAILED'} ({lines[-1].strip('= ')})"
        yield from failed


def agreement(here: Answer, there: Answer) -> str:
    """How far the numbers of two devices are apart, each relative to the largest of its kind."""
    apart = {}
    for name in ("drawn", "loss", "measured", "attacked"):
        one, other = (np.asarray(of[name]) for of in (here, there))
        apart[name] = float(np.abs(one - other).max() / np.abs(other).max())
    return ", ".join(f"{name} {value:.1e}" for name, value in apart.items())


def by_width(session: Session, widths: Iterable[int], points: int, seconds: float, rates: Answer) -> Iterable[str]:
    """A row for each width; those that would not fit into the time are named."""
    yield (
        f"{'width':>6}{'seeds':>7}{'steps':>7}{'GFLOP/s':>10}{'/float32':>10}{'/default':>10}{'/plain':>8}"
        f"{'call of one step, s':>21}{'peak, MiB':>11}  plan"
    )
    expected = 0.0
    for width in widths:
        if expected > session.left():
            yield f"{width:>6}  left out: up to {expected:.0f} s more, and {max(session.left(), 0):.0f} s are left"
            continue
        started = time.monotonic()
        found = session.run("training", width, points, seconds)
        expected = GROWTH * (time.monotonic() - started)
        if "left_out" in found:
            yield f"{width:>6}  left out: {found['left_out']}"
            continue
        shares = [found["ours"] / rates.get(name, math.nan) for name in ("float32", "default")]
        peak = f"{found['peak'] / 2**20:.0f}" if found["peak"] else "unknown"
        yield (
            f"{width:>6}{found['seeds']:>7}{found['steps']:>7}{found['ours']:>10.0f}{shares[0]:>10.0%}{shares[1]:>10.0%}"
            f"{found['ours'] / found['plain']:>8.2f}{found['one']:>21.3f}{peak:>11}  {found['plan']}"
        )


def report(session: Session, small: bool) -> Iterable[str]:
    """Line after line."""
    here = session.run("numbers")
    if "left_out" in here:
        yield f"nothing can be run here: {here['left_out']}"
        return
    yield f"{here['devices']} x {here['kind']} ({here['memory'] / 2**30:.0f} GiB each); {here['hardware']}"
    there = session.run("numbers", JAX_PLATFORMS="cpu")
    yield "largest difference from the CPU: " + (there.get("left_out") or agreement(here, there))
    yield from tests(session, small)
    rates = session.run("matmul", 64 if small else 8192)
    yield "product of two square matrices, GFLOP/s: " + (
        rates.get("left_out") or f"{rates['float32']:.0f} with all of float32, {rates['default']:.0f} by default"
    )
    drawn = session.run("drawing", 16 if small else 4096)
    yield "drawing: " + (
        drawn.get("left_out")
        or f"{drawn['rate'] / 1e6:.1f} million normals per second, {drawn['bytes'] / 2**20:.2f} MiB at a time"
    )
    points, seconds = (SMALL_POINTS, 0.02) if small else (POINTS, 1.5)
    yield f"training, full batch, depth {DEPTH}, {points} points; rates of steps alone (nan: too short to be told):"
    yield from by_width(session, SMALL_WIDTHS if small else WIDTHS, points, seconds, rates)
    if here["devices"] > 1:
        alone = session.run("training", 2048, points, seconds, CUDA_VISIBLE_DEVICES="0")
        every = session.run("training", 2048, points, seconds)
        yield f"{here['devices']} devices against one, width 2048: " + (
            alone.get("left_out") or every.get("left_out") or f"{every['ours'] / alone['ours']:.2f} times the rate"
        )
    else:
        yield "several devices: there is one"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="how long everything may take")
    parser.add_argument("--small", action="store_true", help="tiny networks, and one test")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        name, *given = json.loads(options.part)
        print(json.dumps(PARTS[name](*given)))
        return
    started = time.monotonic()
    lines = []
    for line in report(Session(60 * options.minutes, apart=not options.small), options.small):
        lines.append(line)
        print(line, flush=True)
    lines.append(f"{time.monotonic() - started:.0f} s of {60 * options.minutes:.0f}")
    print(lines[-1])
    if options.out:
        options.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
