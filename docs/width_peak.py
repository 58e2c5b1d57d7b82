"""Where width hurts most: the width at which P/ε peaks, against the width at which networks start to interpolate.

``python docs/width_peak.py`` trains the networks, stores them in figures/width-peak.json, prints what
docs/statements/width.md quotes and writes figures/width-peak.svg; with ``--draw`` it starts from what is stored.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ntkrobust as ntr
from ntkrobust.files.atomic import write_text
from ntkrobust.reports import axes as scales
from ntkrobust.reports import marks, words
from ntkrobust.reports.palette import LIGHT
from ntkrobust.reports.svg import drawing, inline_svg

STORED = Path(__file__).parent / "figures" / "width-peak.json"
FIGURE = STORED.with_suffix(".svg")

LEARNING_RATE = 0.01
POINTS = 64
"""Test points that P/ε is averaged over."""

INTERPOLATES = 0.01
"""A network interpolates when its mean squared training error is below this share of the variance of the labels."""

FACTOR = 2.0
"""Within this factor of each other, the peak and the interpolation width are called one."""

RESAMPLES = 4000


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What one curve is made of.

    Attributes:
        name: in the legend.
        n: training points.
        label_noise: share of wrong labels.
        widths: increasing.
        seeds: networks of each width.
        steps: of Adam.
    """

    name: str
    n: int
    label_noise: float
    widths: tuple[int, ...]
    seeds: int = 24
    steps: int = 10_000


_ACROSS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 64)
SWEEPS = (
    Sweep("a fifth of the labels wrong", 256, 0.2, _ACROSS),
    Sweep("clean labels", 256, 0.0, _ACROSS),
    Sweep("n = 1024, a fifth wrong", 1024, 0.2, (4, 8, 12, 16, 24, 32, 48), seeds=12),
    Sweep("the same, 40 000 steps", 1024, 0.2, (8, 12, 16, 24, 32, 48), seeds=48, steps=40_000),
    Sweep("control: n = 32, a fifth wrong", 32, 0.2, (8, 16, 32, 64, 128, 256)),
)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval of 95 % over seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return words.estimate(self.value, (self.low, self.high))


@dataclasses.dataclass(frozen=True)
class Curve:
    """Trained networks of growing width.

    Attributes:
        sweep: what was trained.
        stability: (width, seed) P/ε after training.
        error: (width, seed) mean squared training error over the variance of the labels.
    """

    sweep: Sweep
    stability: np.ndarray
    error: np.ndarray

    @property
    def medians(self) -> np.ndarray:
        """(width,) of P/ε over seeds."""
        return np.median(self.stability, axis=1)

    @property
    def peak(self) -> Estimate:
        """The width at which the median is largest."""
        medians, _ = self._again
        return _estimate(_peak(self.sweep.widths, self.medians), _peak(self.sweep.widths, medians))

    @property
    def highest(self) -> Estimate:
        """The width of the grid with the largest median."""
        widths = np.array(self.sweep.widths, dtype=float)
        medians, _ = self._again
        return _estimate(widths[np.argmax(self.medians)], widths[np.argmax(medians, axis=-1)])

    @property
    def interpolation(self) -> Estimate:
        """The width from which half of the networks interpolate."""
        return _estimate(self._interpolation, self._interpolations)

    @property
    def ratio(self) -> Estimate:
        """The first over the second."""
        medians, _ = self._again
        again = _peak(self.sweep.widths, medians) / self._interpolations
        return _estimate(self.peak.value / self._interpolation, again)

    @property
    def inside(self) -> float:
        """Share of resamples in which the median peaks neither at the first nor at the last width."""
        medians, _ = self._again
        return float(np.mean(~np.isin(np.argmax(medians, axis=-1), (0, len(self.sweep.widths) - 1))))

    @property
    def median_intervals(self) -> np.ndarray:
        """(2, width) 95 % intervals of the medians over seeds."""
        medians, _ = self._again
        return np.percentile(medians, (2.5, 97.5), axis=0)

    @property
    def shares(self) -> np.ndarray:
        """(width,) of networks that interpolate."""
        return np.mean(self.error < INTERPOLATES, axis=1)

    @property
    def _interpolation(self) -> float:
        return _interpolation(self.sweep.widths, self.shares)

    @cached_property
    def _interpolations(self) -> np.ndarray:
        _, shares = self._again
        return np.array([_interpolation(self.sweep.widths, one) for one in shares])

    @cached_property
    def _again(self) -> tuple[np.ndarray, np.ndarray]:
        """Medians and shares (resample, width) with seeds drawn anew.

        At each width by themselves: networks of different width share no randomness.
        """
        shape = self.stability.shape
        chosen = np.random.default_rng(0).integers(shape[1], size=(RESAMPLES, *shape))
        stability, error = (np.take_along_axis(of[None], chosen, 2) for of in (self.stability, self.error))
        return np.median(stability, axis=2), np.mean(error < INTERPOLATES, axis=2)


def _estimate(value: float, again: np.ndarray) -> Estimate:
    # A resample may not interpolate at any width: no arithmetic with infinity.
    low, high = np.percentile(again, (2.5, 97.5), method="inverted_cdf")
    return Estimate(float(value), float(low), float(high))


def _peak(widths: tuple[int, ...], medians: np.ndarray) -> np.ndarray:
    """Where medians (..., width) are largest: the top of the parabola in log m through the largest of them and those
    beside it, so that the grid of widths does not decide alone; the first or last width if that is the largest.
    """
    top = np.argmax(medians, axis=-1)
    middle = np.clip(top, 1, len(widths) - 2)
    beside = middle[..., None] + np.array([-1, 0, 1])
    x = np.log(widths)[beside]
    before, here, after = np.moveaxis(np.take_along_axis(medians, beside, -1), -1, 0)
    # Slopes to either side; that of the parabola changes linearly from one half-way point to the other.
    rise, fall = (here - before) / (x[..., 1] - x[..., 0]), (after - here) / (x[..., 2] - x[..., 1])
    share = rise / np.where(rise > fall, rise - fall, 1)
    turn = ((1 - share) * (x[..., 0] + x[..., 1]) + share * (x[..., 1] + x[..., 2])) / 2
    return np.where(top == middle, np.exp(turn), np.array(widths, dtype=float)[top])


def _interpolation(widths: tuple[int, ...], share: np.ndarray) -> float:
    """Where the share of networks that interpolate first reaches one half, linear in log m between widths."""
    after = next((index for index, value in enumerate(share) if value >= 0.5), None)
    if after is None:
        return float("inf")
    if after == 0:
        return float(widths[0])
    part = (0.5 - share[after - 1]) / (share[after] - share[after - 1])
    return float(np.exp(np.interp(part, (0, 1), np.log(widths[after - 1 : after + 1]))))


def how(sweep: Sweep) -> dict[str, Any]:
    return {"steps": sweep.steps, "record_steps": [sweep.steps], "optimizer": "adam", "learning_rate": LEARNING_RATE}


def train(sweep: Sweep, data: ntr.data.Dataset) -> Curve:
    """Two-layer He networks by Adam, full batch, on the squared loss."""
    x, y = data.x_train[: sweep.n], data.noisy_targets(sweep.n, sweep.label_noise)
    variance = np.sum((y - y.mean(0)) ** 2)
    stability, error = [], []
    for width in sweep.widths:
        run = ntr.train(ntr.MLP(2, width), x, y, seeds=sweep.seeds, **how(sweep))
        measured = ntr.measure(run, data.x_test[:POINTS], ["perturbation_stability"]).perturbation_stability
        stability.append(measured.isel(time=-1).mean("point").to_numpy())
        error.append(2 * run.loss[:, -1] / variance)  # the loss is ½Σ
    return Curve(sweep, np.array(stability), np.array(error))


def store(curves: list[Curve], path: Path) -> None:
    document = {
        "inputs": {"data": "digits", "learning_rate": LEARNING_RATE, "points": POINTS},
        "values": [
            dataclasses.asdict(one.sweep) | {name: _short(getattr(one, name)) for name in ("stability", "error")}
            for one in curves
        ],
    }
    write_text(path, f"{json.dumps(document, indent=1)}\n")


def _short(values: np.ndarray) -> list[str]:
    """A line of text for each width: six digits are more than seeds agree in."""
    return [" ".join(f"{value:.6g}" for value in row) for row in values]


def read(path: Path) -> list[Curve]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return [_curve(one) for one in document["values"]]


def _curve(one: Mapping[str, Any]) -> Curve:
    sweep = Sweep(one["name"], one["n"], one["label_noise"], tuple(one["widths"]), one["seeds"], one["steps"])
    stability, error = (
        [[float(value) for value in row.split()] for row in one[name]] for name in ("stability", "error")
    )
    return Curve(sweep, np.array(stability), np.array(error))


def draw(curves: list[Curve]) -> Figure:
    """The medians above, and below the share of networks that interpolate."""
    figure = Figure(figsize=(6.6, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    everything = sorted({width for one in curves for width in one.sweep.widths})
    ends = everything[0] / 1.15, everything[-1] * 1.15
    # Dead narrow networks can take an interval down to zero, which a logarithmic axis does not have.
    intervals = [np.maximum(one.median_intervals, one.medians / 10) for one in curves]
    scales.scale(above, "y", *scales.padded(np.concatenate(intervals, axis=1).ravel().tolist(), log=True), log=True)
    for index, (one, (low, high)) in enumerate(zip(curves, intervals, strict=True)):
        style = marks.style_of(index)
        bars = np.array([one.medians - low, high - one.medians])
        above.errorbar(one.sweep.widths, one.medians, bars, ms=4, lw=1, capsize=2, label=one.sweep.name, **style)
        below.plot(one.sweep.widths, one.shares, ms=4, lw=1, **style)
        if one.inside > 0.5:
            above.axvline(one.peak.value, color=style["color"], lw=0.8, ls=(0, (1, 2)), zorder=0.5)
            below.axvline(one.interpolation.value, color=style["color"], lw=0.8, ls=(0, (4, 2)), zorder=0.5)
    above.set_ylabel("median of P/ε")
    above.grid(axis="y")
    scales.scale(below, "y", -0.05, 1.05, log=False)
    below.axhline(0.5, color=LIGHT["muted"], lw=0.7)
    below.set_ylabel("share that interpolate")
    scales.scale(below, "x", *ends, log=True)
    powers = [width for width in everything if width & (width - 1) == 0]
    scales.set_ticks(below, "x", powers, [str(width) for width in powers])
    below.set_xlabel("width m")
    _parameters_axis(above, curves[0].sweep, ends)
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _parameters_axis(axes: Axes, sweep: Sweep, ends: tuple[float, float]) -> None:
    """p/(n·o) on top."""
    once = parameters_per_label(sweep, 1)
    top = axes.secondary_xaxis("top", functions=(lambda width: width * once, lambda share: share / once))
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64) if ends[0] * once <= tick <= ends[1] * once]
    top.set_xticks(ticks, [words.tick(tick) for tick in ticks])
    top.minorticks_off()
    top.set_xlabel(f"p/(n·o) at n = {sweep.n}")


def parameters_per_label(sweep: Sweep, width: int) -> float:
    """p/(n·o) for one output and digits' 64 pixels."""
    return ntr.MLP(2, width).count_parameters(64) / sweep.n


def picture(curves: list[Curve]) -> str:
    with drawing():
        return inline_svg(draw(curves), "P/ε against width: the peak beside the interpolation width, and a control")


def describe(one: Curve) -> str:
    lines = [f"{one.sweep.name} (n = {one.sweep.n}, {one.sweep.seeds} seeds, {one.sweep.steps} steps)"]
    lines.append("  m      p/(n·o)   median P/ε   share that interpolate")
    for width, median, share in zip(one.sweep.widths, one.medians, one.shares, strict=True):
        lines.append(f"  {width:<5}  {parameters_per_label(one.sweep, width):7.2f}   {median:10.3f}   {share:.2f}")
    if one.inside <= 0.5:
        return "\n".join([*lines, f"  no peak: it is inside in {one.inside:.1%} of the resamples"])
    per_label = parameters_per_label(one.sweep, 1)
    ratio = one.ratio
    verdict = "within" if ratio.low >= 1 / FACTOR and ratio.high <= FACTOR else "not within"
    lines += [
        f"  peak at m = {one.peak}, inside in {one.inside:.1%} of the resamples; "
        f"p/(n·o) = {per_label * one.peak.value:.2f} [{per_label * one.peak.low:.2f}, {per_label * one.peak.high:.2f}]",
        f"  the largest median of the grid is at m = {one.highest}",
        f"  half interpolate from m = {one.interpolation}",
        f"  ratio {ratio}: {verdict} a factor {FACTOR:g}",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="do not train, draw what is stored")
    if not parser.parse_args().draw:
        data = ntr.data.load("digits")
        store([train(sweep, data) for sweep in SWEEPS], STORED)
    curves = read(STORED)
    for one in curves:
        print(describe(one))
    write_text(FIGURE, f"{picture(curves)}\n")
    print(FIGURE)


if __name__ == "__main__":
    main()
