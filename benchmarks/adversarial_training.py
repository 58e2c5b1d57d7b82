"""Width × strength of adversarial training on digits: accuracy, stability, robustness, Lipschitz constants, its cost.

    python benchmarks/adversarial_training.py [--quick] [--out benchmarks/results/adversarial_training_cpu.txt]

The ten classes with cross entropy, as in Wu et al. (arXiv 2010.01279); pixels in [0, 1], of which ε is a part. Each
entry is a mean over networks with its standard error. Rows "WAR" carry the λ of the narrowest network to wider ones.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ntkrobust as ntr

EPSILON = 0.1
WIDTHS = (16, 32, 64, 128)
STRENGTHS = (0.0, 0.5, 1.0, 2.0)
CARRIED = 1.0
"""λ of the narrowest network that is carried to wider ones."""
TOLERANCE = 0.15
TRAININGS = 6
POINTS, TEST_POINTS = 400, 300
HOW: dict[str, Any] = {
    "steps": 200, "record_steps": (200,), "optimizer": "adam", "learning_rate": 3e-3, "loss": "cross_entropy",
    "seeds": 8,
}  # fmt: skip
MEASURES = ("natural_accuracy", "prediction_stability", "robust_accuracy", "local_lipschitz")
TIMED_WIDTH, TIMED_STEPS, REPETITIONS = 64, 40, 5

HEADER = (
    f"{'width':>5}{'λ':>8}  {'natural acc.':>14}{'stability':>15}{'robust acc.':>15}{'Lipschitz':>15}"
    f"{'train risk':>12}{'regular.':>10}{'ratio':>8}"
)


def network(width: int) -> ntr.MLP:
    return ntr.MLP(depth=2, width=width, d_out=10)


def line(label: str, run: ntr.Run, data: ntr.data.Dataset) -> str:
    measured = ntr.measure(run, data.x_test, MEASURES, y_test=data.y_test, epsilon=EPSILON)
    entries = []
    for name in MEASURES:
        values = measured[name].isel(time=-1)
        values = (values.mean("point") if "point" in values.dims else values).values
        digits = 2 if name == "local_lipschitz" else 3
        error = values.std(ddof=1) / np.sqrt(len(values))
        entries.append(f"{values.mean():>{digits + 6}.{digits}f} ± {error:.{digits}f}".rjust(15))
    # Also of natural training: what an adversary would find there.
    adversary = ntr.Adversary(EPSILON)
    parts = ntr.objective_parts(run, data.x_train, data.y_train, adversary=adversary)
    natural, regularization = parts.natural.mean(), parts.regularization.mean()
    ratio = regularization / natural if natural else np.inf
    return f"{label}{''.join(entries)}{natural:>11.3f}{regularization:>10.3f}{ratio:>8.2f}"


def median_time(call: Callable[[], Any]) -> float:
    call()
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def costs(data: ntr.data.Dataset) -> list[str]:
    """Time of a step against a natural one, in the same seconds."""
    how = HOW | {"steps": TIMED_STEPS, "record_steps": (TIMED_STEPS,)}

    def trained(adversary: ntr.Adversary | None) -> Callable[[], Any]:
        return lambda: ntr.train(network(TIMED_WIDTH), data.x_train, data.y_train, adversary=adversary, **how)

    natural = median_time(trained(None))
    lines = [f"{'steps of attack':>16}{'step / natural step':>22}{'/ (steps + 1)':>16}"]
    for steps in (1, 3, 7):
        ratio = median_time(trained(ntr.Adversary(EPSILON, steps=steps))) / natural
        lines.append(f"{steps:>16}{ratio:>22.1f}{ratio / (steps + 1):>16.2f}")
    return lines


def hardware() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, JAX {jax.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two widths, two strengths")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    widths, strengths = (WIDTHS[:2], STRENGTHS[::2]) if options.quick else (WIDTHS, STRENGTHS)
    data = ntr.data.load("digits-classes:pixel").subset(POINTS, TEST_POINTS)
    lines: list[str] = []

    def say(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)

    say(
        hardware(),
        f"{data.name}; two layers, ReLU, He; Adam {HOW['learning_rate']:g}, {HOW['steps']} full-batch steps, "
        f"{HOW['seeds']} seeds.",
        f"Trained against ℓ∞, ε = {EPSILON:g}, 7 steps; stability, robust accuracy (upper values) and the Lipschitz "
        "constant (a lower value) by the attacks of ntr.measure.",
        "train risk, regular., ratio: L_nat/n, (L(x') − L_nat)/n and their ratio on the training set.",
        "",
        HEADER,
    )
    reference = None
    for width in widths:
        for strength in strengths:
            adversary = ntr.Adversary(EPSILON, strength) if strength else None
            run = ntr.train(network(width), data.x_train, data.y_train, adversary=adversary, **HOW)
            if (width, strength) == (widths[0], CARRIED):
                reference = run
            say(line(f"{width:>5}{strength:>8.2f}  ", run, data))
    assert reference is not None
    say("", f"WAR: the ratio of width {widths[0]} at λ = {CARRIED:g}, within {TOLERANCE:g} in logarithm", HEADER)
    found = [CARRIED]
    for width in widths[1:]:
        adjusted = ntr.width_adjusted_strength(
            reference, network(width), tolerance=TOLERANCE, trainings=TRAININGS, **HOW
        )
        found.append(adjusted.strength)
        kept = f"  {len(adjusted.strengths)} trainings, {'' if adjusted.reached else 'not '}reached"
        say(line(f"{width:>5}{adjusted.strength:>8.2f}  ", adjusted.run, data) + kept)
    schedule = ntr.StrengthSchedule(widths, tuple(found))
    say(f"λ(m) = {schedule.factor:.3g}·m^{schedule.exponent:.2f}, residual {schedule.residual:.2f} in log λ", "")
    say(f"Cost at width {TIMED_WIDTH}, medians of {REPETITIONS}", *costs(data))
    spent = f"{time.perf_counter() - start:.0f} s in all, {time.process_time():.0f} s of one core's time"
    say("", f"{spent}, compiling included")
    if options.out:
        options.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
