"""Error rates of verdicts whose designs looked at pilots, whose values are controlled, or that data sets share.

Everything is simulated with the functions that judge. Each row is a share of experiments in which at least one true
claim was refuted (or a false one supported), with what it may be at most, five per cent, up to the error of the
simulation. The last rows plant faults that have to exceed it: a pilot whose networks also judge, and a law whose mean
is wrong.

    python benchmarks/designs.py --repetitions 1000 --seed 0
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np

from ntkrobust.bounds.claims import AtMost, Claim, IncreasesIn
from ntkrobust.bounds.verdicts import LEVEL, CellSample, decide
from ntkrobust.studies.control import controlled

WIDTHS = (16, 32, 64)
NETWORKS, PILOT, READINGS = 16, 4, 4
CLAIMS, DATA_SETS = 8, 3
SPREAD, CORRELATION = 0.25, 0.8

BOUND = Claim("simulated/bound", "", AtMost(lambda: 1.0), "jacobian_frobenius", {"depth": (2,), "width": (16,)})
TREND = Claim("simulated/trend", "", IncreasesIn("width"), "jacobian_frobenius", {"depth": (2,), "width": WIDTHS})


def networks(mean: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n,) a measure of mean ``mean`` after training, and of mean 1 before; both lognormal."""
    before = rng.normal(size=n)
    after = CORRELATION * before + math.sqrt(1 - CORRELATION**2) * rng.normal(size=n)
    values, first = (np.exp(SPREAD * one - SPREAD**2 / 2) for one in (after, before))
    return mean * values, first


def sample(width: int, values: np.ndarray) -> CellSample:
    return CellSample({"depth": 2, "width": width}, values, reference=1.0)


def bound_at_its_border(rng: np.random.Generator, control: bool = True, law: float = 1.0) -> tuple:
    """A bound that holds with equality: whoever refutes it errs."""
    values, before = networks(1.0, NETWORKS, rng)
    return BOUND, (sample(16, controlled(values, before, law) if control else values),), "exact"


def flat_trend(rng: np.random.Generator, chosen: str) -> tuple:
    """A measure that does not change, said to increase, at the reading with the steepest pilot: support is an error."""
    pilots = [[networks(1.0, PILOT, rng)[0] for _ in WIDTHS] for _ in range(READINGS)]
    steepest = max(pilots, key=lambda cells: np.mean(cells[-1]) / np.mean(cells[0]))
    cells = []
    for width, pilot in zip(WIDTHS, steepest, strict=True):
        values, before = networks(1.0, NETWORKS, rng)
        values = controlled(values, before, 1.0)
        # the planted fault: what chose the reading judges it, too
        cells.append(sample(width, np.tile(pilot, NETWORKS // PILOT) if chosen == "by those that judge" else values))
    return TREND, tuple(cells), "exact"


def errs(judged: list[tuple], label: str) -> bool:
    return any(one.label == label for one in decide(judged, 64))


def rows() -> dict[str, tuple[Callable[[np.random.Generator], bool], bool]]:
    """Name → an experiment that says whether it erred, and whether it plants a fault."""
    every = CLAIMS * DATA_SETS

    return {
        f"{CLAIMS} bounds at their border on {DATA_SETS} data sets, together": (
            lambda rng: errs([bound_at_its_border(rng) for _ in range(every)], "refuted"), False),
        "the same without the control variate": (
            lambda rng: errs([bound_at_its_border(rng, control=False) for _ in range(every)], "refuted"), False),
        f"{CLAIMS} flat measures said to increase, at the reading a pilot likes best": (
            lambda rng: errs([flat_trend(rng, "by a pilot") for _ in range(CLAIMS)], "supported"), False),
        "planted: the pilot's networks judge": (
            lambda rng: errs([flat_trend(rng, "by those that judge") for _ in range(CLAIMS)], "supported"), True),
        "planted: a law whose mean is 10 % too large": (
            lambda rng: errs([bound_at_its_border(rng, law=0.9) for _ in range(every)], "refuted")
            or errs([bound_at_its_border(rng, law=1.1) for _ in range(every)], "refuted"), True),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    wrong = 0
    print(f"{args.repetitions} repetitions, seed {args.seed}; at most {LEVEL:.0%}")
    for name, (experiment, planted) in rows().items():
        rng = np.random.default_rng(args.seed)
        share = sum(experiment(rng) for _ in range(args.repetitions)) / args.repetitions
        error = math.sqrt(max(share, LEVEL) * (1 - max(share, LEVEL)) / args.repetitions)
        exceeds = share > LEVEL + 3 * error
        wrong += exceeds != planted
        print(f"{share:7.1%} ± {error:.1%}  {'exceeds' if exceeds else 'holds':8}{name}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
