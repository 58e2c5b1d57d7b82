"""How far the first layer of two-layer networks moves as they get wider, over the plane of initializations (γ, γ').

``python docs/phase_diagram.py`` trains them, prints what docs/regimes.md quotes and writes figures/phase-diagram.svg.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

import ntkrobust as ntr
from ntkrobust.bounds.formulas import luo2021
from ntkrobust.files.atomic import write_text
from ntkrobust.reports.palette import LIGHT, SERIES
from ntkrobust.reports.svg import drawing, inline_svg

WIDTHS = (64, 128, 256, 512, 1024)
GAMMAS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
GAMMA_PRIMES = (-0.5, -0.25, 0.0, 0.25, 0.5)
FINE = (0.625, 0.875, 1.125, 1.375)
"""More values of γ where γ' = 0."""

SEEDS = 24
LOSS = 0.1
"""Fraction of ½Σ‖y‖² at which networks are compared."""

STEPS = 20_000
DECIDED = 3.0
"""Standard errors from zero beyond which the sign of a slope counts."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One point of the plane.

    Attributes:
        slopes: (seed,) of log(‖ΔW_1‖/‖W_1(0)‖) on log m, one for each seed: networks of all widths are independent.
    """

    gamma: float
    gamma_prime: float
    slopes: np.ndarray

    @property
    def slope(self) -> float:
        return float(self.slopes.mean())

    @property
    def se(self) -> float:
        return float(self.slopes.std(ddof=1) / np.sqrt(len(self.slopes)))

    @property
    def sign(self) -> int:
        """+1 or −1 where it is decided, else 0."""
        return int(np.sign(self.slope)) * (abs(self.slope) > DECIDED * self.se)


def network(width: int, gamma: float, gamma_prime: float) -> ntr.MLP:
    """β_1 = 1; gradient flow depends on β_1, β_L and α through γ and γ' only, up to its unit of time."""
    beta_last = float(width) ** -gamma_prime
    return ntr.MLP(2, width, initialization=ntr.Initialization(1.0, 1.0, beta_last, beta_last * float(width) ** gamma))


def measured(
    gamma: float, gamma_prime: float, data: ntr.data.Dataset, widths: tuple[int, ...] = WIDTHS, seeds: int = SEEDS
) -> Measured:
    """Train networks of all widths by gradient flow to one loss, and fit the power of the width.

    Raises:
        RuntimeError: a network did not get there.
    """
    moved = []
    for width in widths:
        net = network(width, gamma, gamma_prime)
        run = ntr.train(
            net, data.x_train, data.y_train, seeds=seeds, steps=STEPS, record_losses=[LOSS], optimizer="gradient_flow"
        )
        if not (run.status == "converged").all():
            raise RuntimeError(f"γ = {gamma}, γ' = {gamma_prime}: {net!r} ended {sorted(set(run.status))}")
        moved.append(ntr.measure(run, data.x_test, ["lazy_ratio_per_layer"]).lazy_ratio_per_layer[:, -1, 0].to_numpy())
    logs = np.log(widths) - np.mean(np.log(widths))
    return Measured(gamma, gamma_prime, (logs / np.sum(logs**2)) @ np.log(np.array(moved, dtype=float)))


def crossing(row: list[Measured]) -> tuple[float, float]:
    """The γ at which the slope changes its sign, by interpolation along a row of increasing γ, and its standard error.

    Networks of one seed share their normals along the row, so the error is the jackknife's over seeds.
    """
    table = np.array([one.slopes for one in row])
    seeds = table.shape[1]
    at = _zero(row, table.mean(1))
    without = np.array([_zero(row, np.delete(table, seed, axis=1).mean(1)) for seed in range(seeds)])
    return at, float(np.sqrt((seeds - 1) / seeds * np.sum((without - without.mean()) ** 2)))


def _zero(row: list[Measured], slopes: np.ndarray) -> float:
    after = next((i for i in range(1, len(row)) if slopes[i - 1] <= 0 < slopes[i]), None)
    if after is None:
        return float("nan")
    share = -slopes[after - 1] / (slopes[after] - slopes[after - 1])
    return float(row[after - 1].gamma + share * (row[after].gamma - row[after - 1].gamma))


def draw(points: list[Measured], crossings: dict[float, tuple[float, float]]) -> Figure:
    figure = Figure(figsize=(7.6, 3.7), layout="constrained")
    line, plane = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _draw_line(line, sorted((one for one in points if one.gamma_prime == 0), key=lambda one: one.gamma))
    _draw_plane(plane, points, crossings)
    return figure


def _draw_line(axes: Axes, row: list[Measured]) -> None:
    gammas = np.linspace(row[0].gamma - 0.05, row[-1].gamma + 0.05, 200)
    axes.axhline(0, color=LIGHT["muted"], lw=0.8)
    axes.axvline(1, color=LIGHT["muted"], lw=0.8, ls=(0, (1, 1.5)))
    predicted = [luo2021.moved_exponent(gamma, 0.0) for gamma in gammas]
    axes.plot(gammas, predicted, color=LIGHT["ink"], lw=1.1, ls=(0, (4, 2)), label="limit of infinite width")
    half = stats.t.ppf(0.975, len(row[0].slopes) - 1)
    x, y, bars = ([getattr(one, name) for one in row] for name in ("gamma", "slope", "se"))
    axes.errorbar(
        x, y, half * np.array(bars), ls="none", marker="o", ms=4.5, capsize=2.5, color=SERIES[0],
        label=f"widths {WIDTHS[0]} to {WIDTHS[-1]}, 95 % interval",
    )  # fmt: skip
    axes.set_xlabel("γ, at γ' = 0")
    axes.set_ylabel("power of the width in ‖ΔW₁‖/‖W₁(0)‖")
    axes.legend(loc="upper left")


def _draw_plane(axes: Axes, points: list[Measured], crossings: dict[float, tuple[float, float]]) -> None:
    low, high = min(GAMMA_PRIMES) - 0.12, max(GAMMA_PRIMES) + 0.12
    heights = np.linspace(low, high, 200)
    axes.plot([luo2021.boundary_gamma(h) for h in heights], heights, color=LIGHT["ink"], lw=1.1, ls=(0, (4, 2)))
    looks = {
        -1: {"marker": "v", "color": SERIES[0]}, 1: {"marker": "^", "color": SERIES[1]},
        0: {"marker": "o", "color": LIGHT["muted"], "mfc": LIGHT["paper"]},
    }  # fmt: skip
    for one in points:
        size = 4 + 6 * min(abs(one.slope), 1) ** 0.5
        axes.plot([one.gamma], [one.gamma_prime], ls="none", ms=size, **looks[one.sign])
    half = stats.t.ppf(0.975, SEEDS - 1)
    for height, (at, se) in crossings.items():
        axes.errorbar([at], [height], xerr=[half * se], marker="|", ms=13, mew=1.8, capsize=2.5, color=SERIES[2])
    axes.set_xlabel("γ")
    axes.set_ylabel("γ'")
    entries = [
        Line2D([], [], ls="none", ms=6, label="the first layer moves ever less: linear", **looks[-1]),
        Line2D([], [], ls="none", ms=6, label="ever more: condensed", **looks[1]),
        Line2D([], [], ls="none", ms=6, label="undecided", **looks[0]),
        Line2D([], [], ls="none", marker="|", ms=9, mew=1.8, color=SERIES[2], label="measured boundary, 95 %"),
        Line2D([], [], lw=1.1, ls=(0, (4, 2)), color=LIGHT["ink"], label="known boundary"),
    ]
    axes.figure.legend(handles=entries, loc="outside lower center", ncols=3)  # type: ignore[union-attr]


def main() -> None:
    data = ntr.data.sphere(8, 8, 4, target="sign")
    points = []
    print("    γ     γ'   power of the width   derived   known")
    for gamma_prime in GAMMA_PRIMES:
        for gamma in sorted({*GAMMAS, *(FINE if gamma_prime == 0 else ())}):
            points.append(measured(gamma, gamma_prime, data))
            one, derived = points[-1], luo2021.moved_exponent(gamma, gamma_prime)
            known = luo2021.regime(gamma, gamma_prime)
            print(f"{gamma:5.3f} {gamma_prime:+6.2f}   {one.slope:+.4f} ± {one.se:.4f}   {derived:+8.3f}   {known}")
    rows = {height: [one for one in points if one.gamma_prime == height] for height in GAMMA_PRIMES}
    crossings = {height: crossing(row) for height, row in rows.items()}
    for height, (at, se) in crossings.items():
        print(f"boundary at γ' = {height:+.2f}: γ = {at:.4f} ± {se:.4f}, known {luo2021.boundary_gamma(height):g}")
    signs = {"linear": -1, "condensed": 1}
    off = [one for one in points if luo2021.regime(one.gamma, one.gamma_prime) in signs]
    agree = sum(one.sign == signs[luo2021.regime(one.gamma, one.gamma_prime)] for one in off)
    against = sum(one.sign == -signs[luo2021.regime(one.gamma, one.gamma_prime)] for one in off)
    print(f"off the known boundary: {agree} of {len(off)} signs as known, {against} the other way")
    with drawing():
        figure = inline_svg(draw(points, crossings), "Phase diagram of two-layer ReLU networks, measured and known")
    target = Path(__file__).parent / "figures" / "phase-diagram.svg"
    write_text(target, f"{figure}\n")
    print(target)


if __name__ == "__main__":
    main()
