"""Verdicts on "width helps" from the first order in 1/m, without networks, beside those of networks.

    python benchmarks/width_verdicts.py               # both tables of docs/sign-of-width.md, an hour on 2 cores
    python benchmarks/width_verdicts.py --size 0.1    # labels ±0.1 alone

Statements are judged together for each activation, as ``ntkrobust verify`` judges those of one file.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import ntkrobust as ntr
from ntkrobust.workflows.compare import scale_labels

THEORY = ntr.Quantity("jacobian_frobenius_sq", lambda first_order_width: first_order_width, r"G_t(1 + c_t/m)")
N, POINTS = 12, 8


class Asked(NamedTuple):
    """What is judged on labels of one size.

    Attributes:
        widths: of the grid.
        seeds: networks per cell.
        times: activation ↦ t·λ_max.
    """

    widths: tuple[int, ...]
    seeds: int
    times: dict[str, tuple[float, ...]]


EARLY_TO_LATE = (0.3, 1.0, 3.0, 10.0)
SIZES = {
    1.0: Asked((64, 256, 1024), 512, dict.fromkeys(("erf", "gelu", "tanh"), EARLY_TO_LATE)),
    0.1: Asked((32, 128, 512), 3072, {"erf": (3.0, 10.0), "tanh": (3.0, 10.0), "gelu": (1.0, 30.0)}),
}
"""|y| ↦ what is asked."""


def statement(activation: str, at: float, widths: tuple[int, ...], measure: object, name: str) -> ntr.Claim:
    """E‖∇f_t‖² falls with width, at t·λ_max = ``at``."""
    grid = {"activation": (activation,), "initialization": ("lecun",), "parameterization": ("ntk",), "depth": (2,),
            "width": widths, "n": (N,)}  # fmt: skip
    reading = ntr.Reading("equal time", at)
    return ntr.Claim(
        f"mine/{name}@{activation}-{at}", "", ntr.DecreasesIn("width"), measure, grid, reading, points=POINTS
    )


def in_words(verdict: ntr.Verdict) -> str:
    """``supported ×0.86 [0.84, 0.89]``."""
    effect = verdict.effect
    if effect is None:
        return f"{verdict.label}: {verdict.reason.partition(' (at ')[0]}"
    return f"{verdict.label} ×{effect.estimate:.3f} [{effect.low:.3f}, {effect.high:.3f}]"


def table(size: float, asked: Asked) -> None:
    """Print a row for each activation and time."""
    data = scale_labels(ntr.data.load("digits").subset(N, POINTS), size)
    for activation, times in asked.times.items():
        started = time.perf_counter()
        both = (("theory", THEORY), ("networks", "jacobian_frobenius_sq"))
        claims = [statement(activation, at, asked.widths, one, name) for at in times for name, one in both]
        verdicts = ntr.verify(claims, data=data, seeds=asked.seeds)
        for at, by_theory, by_networks in zip(times, verdicts[::2], verdicts[1::2], strict=True):
            print(f"| {size:g} | {activation} | {at:g} | {in_words(by_theory)} | {in_words(by_networks)} |", flush=True)
        print(f"{time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, choices=list(SIZES), help="of the labels")
    chosen = parser.parse_args().size
    for size, asked in SIZES.items():
        if chosen in (None, size):
            table(size, asked)


if __name__ == "__main__":
    main()
