"""How far certificates are from attacks, by width, depth, initialization and training.

``python docs/certified_gap.py`` trains the networks, stores what they gave in figures/certified-gap.json, prints the
tables that docs/certified.md quotes and writes figures/certified-gap.svg; with ``--draw`` it starts from what there is.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ntkrobust as ntr
from ntkrobust.files.atomic import write_text
from ntkrobust.reports.palette import SERIES
from ntkrobust.reports.svg import drawing, inline_svg

STORED = Path(__file__).parent / "figures" / "certified-gap.json"
FIGURE = STORED.with_suffix(".svg")

RADIUS, SEEDS, STEPS = 0.03, 4, 300
TRAININGS: dict[str, ntr.Adversary | None] = {
    "untrained": None,
    "naturally": None,
    "against PGD": ntr.Adversary(RADIUS),
    "against intervals": ntr.Adversary(RADIUS, 0.3, objective="interval"),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """Networks of one kind."""

    training: str
    width: int = 32
    depth: int = 3
    initialization: str = "he"


PANELS: dict[str, tuple[Any, ...]] = {
    "width": (8, 32, 128),
    "depth": (2, 3, 5),
    "initialization": ("lecun", "he", "ntk"),
}
WIDTHS, NETWORKS, NEAR = (8, 32, 128, 512), 32, RADIUS / 10
"""Of untrained networks beside infinite width: there classes survive in smaller balls alone."""


def cells() -> list[Cell]:
    """Each once, in the order of the panels."""
    along = [Cell(training, **{axis: value})
             for axis, values in PANELS.items() for value in values for training in TRAININGS]  # fmt: skip
    return list(dict.fromkeys(along))


def measured(cell: Cell, data: ntr.data.Dataset) -> dict[str, list[float]]:
    """Shares of test points that keep their predicted class, of each network."""
    net = ntr.MLP(cell.depth, cell.width, data.o, initialization=cell.initialization)
    run = ntr.train(
        net, data.x_train, data.y_train, seeds=SEEDS, steps=0 if cell.training == "untrained" else STEPS,
        optimizer="adam", learning_rate=0.01, loss="cross_entropy", adversary=TRAININGS[cell.training],
        bounds=data.bounds,
    )  # fmt: skip
    asked: list[Any] = [ntr.measures.CertifiedStability(RADIUS).rename("certified"), "prediction_stability_by_pgd"]
    found = ntr.measure(run, data.x_test, [*asked, "natural_accuracy"], y_test=data.y_test, epsilon=RADIUS)
    found = found.isel(time=-1).rename(prediction_stability_by_pgd="attacked")
    return {str(name): [round(float(one), 4) for one in found[name].values] for name in found.data_vars}


def survival(data: ntr.data.Dataset) -> list[dict[str, Any]]:
    """Shares that keep their class before training, by width; at infinite width what survives, linearised."""
    rows: list[dict[str, Any]] = []
    for width in WIDTHS:
        run = ntr.train(ntr.MLP(3, width, data.o), data.x_train, data.y_train, seeds=NETWORKS, steps=0)
        asked: list[Any] = [ntr.measures.CertifiedStability(NEAR).rename("certified"), "prediction_stability_by_pgd"]
        found = ntr.measure(run, data.x_test, asked, epsilon=NEAR).isel(time=-1)
        found = found.rename(prediction_stability_by_pgd="attacked")
        rows.append(
            {"width": width} | {str(name): [round(float(one), 4) for one in found[name].values] for name in found}
        )
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(3, None, data.o), data.x_train, data.y_train)
    share = ensemble.at(0.0).survival_probability(data.x_test, NEAR, "linf")
    return [*rows, {"width": None, "linearised": round(float(np.mean(share)), 4)}]


def train() -> dict[str, Any]:
    """What is stored."""
    data = ntr.data.load("digits-3-vs-rest").subset(200, 60)
    rows = []
    for cell in cells():
        rows.append(dataclasses.asdict(cell) | measured(cell, data))
        print(rows[-1], flush=True)
    return {"radius": RADIUS, "cells": rows, "survival": survival(data)}


def found_of(stored: dict[str, Any], cell: Cell) -> dict[str, float]:
    """Means over networks."""
    row = next(one for one in stored["cells"] if dataclasses.asdict(cell).items() <= one.items())
    return {name: float(np.mean(row[name])) for name in ("certified", "attacked", "natural_accuracy")}


def draw(stored: dict[str, Any]) -> Figure:
    """A panel for each axis: from what is certified to what attacks leave."""
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, axis in zip(panels, PANELS, strict=True):
        _draw_panel(axes, stored, axis)
    panels[0].set_ylabel(f"share that keeps its class, ε = {stored['radius']:g}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_panel(axes: Axes, stored: dict[str, Any], axis: str) -> None:
    values = PANELS[axis]
    for number, training in enumerate(TRAININGS):
        found = [found_of(stored, Cell(training, **{axis: value})) for value in values]
        at = np.arange(len(values)) + 0.16 * (number - 1.5)
        low, high = (np.array([one[name] for one in found]) for name in ("certified", "attacked"))
        axes.vlines(at, low, high, color=SERIES[number], lw=4, alpha=0.45)
        axes.plot(at, low, ls="none", marker="^", ms=4.5, color=SERIES[number], label=training)
        axes.plot(at, high, ls="none", marker="v", ms=4.5, color=SERIES[number])
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    axes.set_xlabel(axis)
    axes.set_ylim(-0.03, 1.03)


def tables(stored: dict[str, Any]) -> str:
    """In Markdown."""
    lines = [
        "| trained | " + " | ".join(f"{axis} {value}" for axis, values in PANELS.items() for value in values) + " |"
    ]
    lines.append("|---" * len(lines[0].split("|")[1:-1]) + "|")
    for training in TRAININGS:
        found = [
            found_of(stored, Cell(training, **{axis: value})) for axis, values in PANELS.items() for value in values
        ]
        lines.append(
            f"| {training} | " + " | ".join(f"{one['certified']:.2f} to {one['attacked']:.2f}" for one in found) + " |"
        )
    lines += ["", "| width | certified | attacked |", "|---|---|---|"]
    *finite, limit = stored["survival"]
    for row in finite:
        ends = (f"{np.mean(row[name]):.3f} ± {np.std(row[name], ddof=1) / np.sqrt(len(row[name])):.3f}"
                for name in ("certified", "attacked"))  # fmt: skip
        lines.append(f"| {row['width']} | {' | '.join(ends)} |")
    lines.append(f"| ∞, linearised | {limit['linearised']:.3f} | {limit['linearised']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Networks, tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="start from what is stored")
    if not parser.parse_args().draw:
        write_text(STORED, json.dumps(train(), indent=1) + "\n")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    print(tables(stored))
    with drawing():
        figure = inline_svg(
            draw(stored), "Certified and attacked stability by width, depth, initialization and training"
        )
    write_text(FIGURE, f"{figure}\n")
    print(FIGURE)


if __name__ == "__main__":
    main()
