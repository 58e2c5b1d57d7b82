"""How fast what the first order in 1/m leaves falls: E‖∇f_t‖²/G_t − 1 − c/m ~ m^(−p), p fitted with an interval.

The measurement is that of ``benchmarks/first_order.py`` (same controls, noise that does not grow with m), with
networks trained many at a time. It gives D(m) = m(E‖∇f_t‖²/G_t − 1) − c = m·residual at each width, whose exponent is
1 − p. Points are averaged over, which exponents of single points may differ from where their signs differ.

    python benchmarks/first_order_residual.py --activation erf --labels 4 --widths 32 64 128 256 --networks 1000

prints D(m) with standard errors, and p by weighted least squares of D = A m^(1−p) with the range of p in which χ² is
within 3.84 of its least (95 %).
"""

from __future__ import annotations

import argparse
import math

import first_order as base
import numpy as np
from scipy.optimize import minimize_scalar

import ntkrobust as ntr

Array = np.ndarray

BATCH = 250
"""Networks trained at once."""


def with_labels(task: base.Task, size: float) -> base.Task:
    """The same task with labels ±size: the larger, the more kernels move, and the less of c and D(m) is noise."""
    y = size * task.y
    return task._replace(y=y, ensemble=ntr.InfiniteEnsemble(task.ensemble.net, task.x_train, y[:, None]))


def flow(task: base.Task, a: Array, w: Array, times: list[float]) -> Array:
    """∇f_t (times, networks, n', d) of networks a (b, m), w (b, m, d)."""
    d, m = w.shape[2], w.shape[1]
    x, points = task.x_train / math.sqrt(d), task.x / math.sqrt(d)
    largest = task.ensemble.conditioning.largest

    def field(a: Array, w: Array) -> tuple[Array, Array]:
        u = w @ x.T  # (b, m, n)
        values = task.phi[0](u)
        r = np.einsum("bmn,bm->bn", values, a) / math.sqrt(m) - task.y
        moved = (task.phi[1](u) * (a[:, :, None] * r[:, None])) @ x
        return -np.einsum("bmn,bn->bm", values, r) / math.sqrt(m), -moved / math.sqrt(m)

    found = []
    for last, first in base.integrated(field, a, w, times, largest):
        slopes = task.phi[1](points @ first.transpose(0, 2, 1)) * last[:, None]
        found.append(slopes @ first / math.sqrt(m * d))
    return np.array(found)


def measured(task: base.Task, times: list[float], width: int, networks: int, seed: int) -> Array:
    """m(‖∇f_t‖² − controls)/G_t (networks, times), averaged over test points."""
    rng = np.random.default_rng((seed, width))
    lines = [base.linear_at(task, time) for time in times]
    size = np.array([task.ensemble.at(time).gradient_second_moment(task.x) for time in times])
    found = []
    for start in range(0, networks, BATCH):
        count = min(BATCH, networks - start)
        a, w = rng.standard_normal((count, width)), rng.standard_normal((count, width, task.x.shape[1]))
        squares = np.sum(flow(task, a, w, times) ** 2, axis=-1).transpose(1, 0, 2)
        known = np.array([base.controls(task, *one, lines) for one in zip(a, w, strict=True)])
        found.append((width * (squares - known) / size).mean(axis=2))
    return np.concatenate(found)


def exponent(widths: Array, left: Array, error: Array) -> tuple[float, float, float, float]:
    """p with |left| ~ m^(1−p), its 95 % interval by the profile of χ², and χ² at the best p."""

    def chi_square(p: float) -> float:
        shape = widths ** (1 - p) / error
        scale = shape @ (left / error) / (shape @ shape)
        return float(np.sum((left / error - scale * shape) ** 2))

    grid = np.linspace(1.0, 4.0, 3001)
    values = np.array([chi_square(p) for p in grid])
    best = minimize_scalar(chi_square, bounds=(max(1.0, grid[values.argmin()] - 0.01), grid[values.argmin()] + 0.01),
                           method="bounded")  # fmt: skip
    inside = grid[values < values.min() + 3.84]
    return float(best.x), float(inside[0]), float(inside[-1]), float(values.min())


def main() -> None:
    """Measure, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--activation", choices=sorted(base.ACTIVATIONS), default="erf")
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--d", type=int, default=3)
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--labels", type=float, default=4.0, help="labels are plus and minus this")
    parser.add_argument("--times", type=float, nargs="+", default=[3.0], help="in units of 1/λ_max")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--networks", type=int, default=1000, help="of each width")
    parser.add_argument("--neurons", type=int, default=2**17)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    task = with_labels(base.make_task(asked.activation, asked.n, asked.d, asked.points), asked.labels)
    times = [factor / task.ensemble.conditioning.largest for factor in asked.times]
    theory = [task.ensemble.at(t).first_order_width(task.x, neurons=asked.neurons, return_error=True) for t in times]
    c, c_error = (np.array([one[i].mean() for one in theory]) for i in range(2))
    samples = [measured(task, times, width, asked.networks, asked.seed) for width in asked.widths]
    left = np.array([one.mean(axis=0) for one in samples]) - c
    error = np.array([one.std(axis=0, ddof=1) / math.sqrt(len(one)) for one in samples])
    for j, factor in enumerate(asked.times):
        print(f"{asked.activation}, t = {factor:g}/λ_max, c = {c[j]:.3f} ± {c_error[j]:.3f}")
        for width, one, spread in zip(asked.widths, left[:, j], error[:, j], strict=True):
            print(f"  m={width}: m·residual = {one:.3f} ± {spread:.3f}")
        p, low, high, chi_square = exponent(np.array(asked.widths), left[:, j], np.hypot(error[:, j], c_error[j]))
        print(f"  residual ~ m^-{p:.2f}, 95 %: {low:.2f} to {high:.2f}, χ² = {chi_square:.1f} of {len(left) - 2}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
