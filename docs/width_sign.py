"""Where width helps and where it hurts: the sign of c_t over time, activation and the size of the labels.

``python docs/width_sign.py [--mnist FOLDER]`` computes the coefficients of 1/m, stores them in figures/width-sign.json,
prints what docs/sign-of-width.md quotes and writes figures/width-sign.svg; with ``--draw`` it starts from what is
stored. FOLDER holds the four files of MNIST, as ``idx:FOLDER`` takes them.

With labels s·y both G_t and G_t c_t are polynomials in s², of degrees 1 and 2: F_t has one part linear in y, and the
coefficient has at most four labels in a product. Three sizes of the labels so give all of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ntkrobust as ntr
from ntkrobust.files.atomic import write_text
from ntkrobust.reports import axes as scales
from ntkrobust.reports.palette import LIGHT, SERIES
from ntkrobust.reports.svg import drawing, inline_svg

STORED = Path(__file__).parent / "figures" / "width-sign.json"
FIGURE = STORED.with_suffix(".svg")

N, POINTS, NEURONS = 12, 8, 2**10
ACTIVATIONS = ("erf", "tanh", "gelu")
TIMES = tuple(np.geomspace(0.03, 3000, 21).tolist())
"""t·λ_max."""
SIZES = (0.0, 1.0, 2.0)
"""Label sizes s, |y| = s, from which the polynomials are found."""
SHOWN = (0.1, 10.0)
"""The range of s in the figure."""
DECIDED = 3.0
"""Standard errors from zero beyond which a sign counts."""


def ensemble(activation: str, data: ntr.data.Dataset, size: float) -> ntr.InfiniteEnsemble:
    """Two layers of lecun weights in the NTK parameterization, trained on labels of one size."""
    net = ntr.MLP(depth=2, activation=activation, initialization="lecun", parameterization="ntk")
    return ntr.InfiniteEnsemble(net, data.x_train, size * data.y_train)


def computed(name: str, data: ntr.data.Dataset) -> Iterator[dict[str, Any]]:
    """For each activation the coefficients of the polynomials in s²: of G_t (time, 2) and G_t c_t (time, sets, 3)."""
    for activation in ACTIVATIONS:
        ensembles = [ensemble(activation, data, size) for size in SIZES]
        rate = ensembles[0].conditioning.largest
        powers = np.vander(np.square(SIZES), 3, increasing=True)
        limit, coefficient = [], []
        for time in TIMES:
            limits, products = [], []
            for one in ensembles:
                now = one.at(time / rate)
                limits.append(now.gradient_second_moment(data.x_test))
                products.append(np.mean(limits[-1] * now.first_order_width_sets(data.x_test, neurons=NEURONS), axis=1))
            limit.append(np.linalg.solve(powers, np.mean(limits, axis=1))[:2].tolist())
            coefficient.append(np.linalg.solve(powers, np.array(products)).T.tolist())
        yield {
            "data": name,
            "activation": activation,
            "condition_number": ensembles[0].conditioning.condition_number,
            "limit": limit,
            "coefficient": coefficient,
        }


def coefficients(one: Mapping[str, Any], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """c (time, size), averaged over test points as the gradients are, and its standard error."""
    limit = np.array(one["limit"]) @ np.vander(sizes**2, 2, increasing=True).T
    sets = np.einsum("tsp,np->tns", np.array(one["coefficient"]), np.vander(sizes**2, 3, increasing=True))
    c = sets / limit[:, :, None]
    return c.mean(axis=2), c.std(axis=2, ddof=1) / np.sqrt(c.shape[2])


def draw(document: Mapping[str, Any]) -> Figure:
    """A panel for each data set and activation: where width helps, where it hurts, where the sign is not known."""
    parts = document["parts"]
    columns = len(ACTIVATIONS)
    rows = len(parts) // columns
    figure = Figure(figsize=(8.4, 0.4 + 2.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, one in zip(panels.ravel(), parts, strict=True):
        _draw_panel(axes, one, np.array(document["times"]))
    for axes in panels[-1]:
        axes.set_xlabel("t·λ_max")
    for axes in panels[:, 0]:
        axes.set_ylabel("size of the labels, |y|")
    return figure


def _draw_panel(axes: Axes, one: Mapping[str, Any], times: np.ndarray) -> None:
    sizes = np.geomspace(*SHOWN, 61)
    c, error = coefficients(one, sizes)
    sign = np.where(np.abs(c) > DECIDED * error, np.sign(c), 0.0)
    axes.contourf(times, sizes, sign.T, levels=[-1.5, -0.5, 0.5, 1.5], colors=[SERIES[1], LIGHT["paper"], SERIES[0]],
                  alpha=0.35)  # fmt: skip
    lines = axes.contour(times, sizes, c.T, levels=[-100, -10, -1, 0, 1, 10, 100], colors=LIGHT["ink"],
                         linewidths=[0.6, 0.6, 0.6, 1.6, 0.6, 0.6, 0.6], linestyles="solid")  # fmt: skip
    axes.clabel(lines, fmt=lambda level: f"{level:g}", fontsize=7)
    scales.scale(axes, "x", times[0], times[-1], log=True)
    scales.scale(axes, "y", *SHOWN, log=True)
    axes.axvline(one["condition_number"], color=LIGHT["ink"], lw=0.8, ls=(0, (1, 1.5)))
    axes.set_title(f"{one['data']}, {one['activation']}", loc="left", fontsize=9.5, weight="bold")


def turns(one: Mapping[str, Any], times: np.ndarray, size: float) -> list[float]:
    """The times t·λ_max at which c changes its sign, between those computed by a line in log t."""
    c = coefficients(one, np.array([size]))[0][:, 0]
    at = np.flatnonzero(c[:-1] * c[1:] < 0)
    logs = np.log(times)
    return [float(np.exp(logs[i] + (logs[i + 1] - logs[i]) * c[i] / (c[i] - c[i + 1]))) for i in at]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="draw what is stored")
    parser.add_argument("--mnist", help="folder with the files of MNIST")
    options = parser.parse_args()
    if not options.draw:
        names = {"digits": "digits"} | ({"MNIST": f"idx-parity:{options.mnist}"} if options.mnist else {})
        parts = []
        for name, spec in names.items():
            parts += list(computed(name, ntr.data.load(spec).subset(N, POINTS)))
        write_text(STORED, json.dumps({"times": TIMES, "parts": parts}) + "\n")
    document = json.loads(STORED.read_text(encoding="utf-8"))
    times = np.array(document["times"])
    for one in document["parts"]:
        for size in (0.1, 0.3, 1.0, 3.0, 10.0):
            c, error = coefficients(one, np.array([size]))
            at = [int(np.argmin(np.abs(np.log(times / t)))) for t in (0.1, 1.0, 10.0, 100.0)]
            shown = ", ".join(f"{c[i, 0]:.3g} ± {error[i, 0]:.1g}" for i in at)
            print(f"{one['data']} {one['activation']} |y|={size}: c at 0.1, 1, 10, 100: {shown}; "
                  f"turns at {', '.join(f'{t:.3g}' for t in turns(one, times, size)) or 'no time'}")  # fmt: skip
    with drawing():
        write_text(FIGURE, inline_svg(draw(document), "Sign of the first order of width over time and label size"))


if __name__ == "__main__":
    main()
