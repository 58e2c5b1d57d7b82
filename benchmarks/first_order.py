"""The first order in 1/m of E‖∇f_t‖², ``first_order_width``, against trained two-layer networks.

Networks are trained here, in numpy and float64, by code that shares nothing with the package's: Runge-Kutta steps of
gradient flow on ½Σ(f − y)², with activations differentiated by hand. Over networks of width m the mean of

    m (‖∇f_t‖² − ‖g_0‖² − 2 g_0·g_1 + δ) / G_t

is c + O(1/m). Here g_0 is the gradient of the network linearised with the infinite kernel Θ, whose E‖g_0‖² = G_t at any
width, and g_1 what the deviation κ of the network's own kernel at initialization adds to first order. g_0·g_1 is a sum
over triples of neurons, and only a neuron with itself contributes to its mean: δ is that part, twice. So both controls
have mean zero at any width, and leave noise that does not grow with m.

    python benchmarks/first_order.py --activation erf --n 12 --d 10 --widths 256 1024 --networks 800

prints a line per width and time, and writes JSON where --out says.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf, ndtr

import ntkrobust as ntr
from ntkrobust.kernels import trained

Array = np.ndarray
Field = Callable[[Array, Array], tuple[Array, Array]]

TIMES = (0.3, 1.0, 3.0, 10.0)
"""Times, in units of 1/λ_max; the last one is 1/λ_min."""


def _erf_slope(u: Array) -> Array:
    return 2 / math.sqrt(math.pi) * np.exp(-u * u)


def _density(u: Array) -> Array:
    return np.exp(-u * u / 2) / math.sqrt(2 * math.pi)


ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], ...]] = {
    "erf": (erf, _erf_slope, lambda u: -2 * u * _erf_slope(u)),
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2, lambda u: -2 * np.tanh(u) * (1 - np.tanh(u) ** 2)),
    "gelu": (lambda u: u * ndtr(u), lambda u: ndtr(u) + u * _density(u), lambda u: (2 - u * u) * _density(u)),
    "linear": (lambda u: u, np.ones_like, np.zeros_like),
}
"""φ, φ' and φ''."""


class Task(NamedTuple):
    """An ensemble, its points, and its kernels with the gradients' components (n', d, n)."""

    ensemble: Any
    phi: tuple[Callable[[Array], Array], ...]
    x_train: Array
    y: Array
    x: Array
    theta: Array
    theta_gradient: Array


def make_task(activation: str, n: int, d: int, points: int, seed: int = 0) -> Task:
    """Points on the sphere of radius √d, labels ±1; LeCun, in the NTK parameterization: f = m^(−1/2) Σ a φ(w·x/√d)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + points, d))
    x *= math.sqrt(d) / np.linalg.norm(x, axis=1, keepdims=True)
    y = np.sign(x[:n, 0] * x[:n, 1] + 0.3 * rng.standard_normal(n))
    net = ntr.MLP(depth=2, activation=activation, parameterization="ntk", initialization="lecun")
    ensemble = ntr.InfiniteEnsemble(net, x[:n], y[:, None])
    with jax.enable_x64(True):
        row = trained.kernel_row(ensemble._model, ensemble._layers, jnp.asarray(x[n:]), jnp.asarray(x[:n]))
    p, q = np.asarray(row.big_p), np.asarray(row.big_q)
    gradient = np.einsum("xn,xd->xdn", p, x[n:]) + np.einsum("xn,nd->xdn", q, x[:n])
    vectors, eigenvalues = np.asarray(ensemble._factors.vectors), ensemble._factors.eigenvalues
    theta = (vectors * eigenvalues) @ vectors.T
    return Task(ensemble, ACTIVATIONS[activation], x[:n], y, x[n:], theta, gradient)


def times_of(task: Task) -> list[float]:
    """Five times."""
    found = task.ensemble.conditioning
    return [factor / found.largest for factor in TIMES] + [1 / found.smallest]


class Linear(NamedTuple):
    """What linearised training is at one time: f_0 − y ↦ Θ_F M (f_0 − y), and how κ enters it, by modes."""

    vectors: Array
    mean_response: Array
    back: Array


def linear_at(task: Task, time: float) -> Linear:
    """N_pl = ∫_0^t M_p(t−s) e^{−λ_l s} ds = (M_l − D_pl)/λ_p with D_pl = (e^{−λ_l t} − e^{−λ_p t})/(λ_p − λ_l)."""
    values, vectors = np.linalg.eigh(task.theta)
    decay = np.exp(-values * time)
    response = -np.expm1(-values * time) / values
    gap = values[:, None] - values
    same = np.abs(gap) < 1e-9 * values[-1]
    chain = np.where(same, time * decay, (decay - decay[:, None]) / np.where(same, 1, gap))
    return Linear(vectors, response, (response - chain) / values[:, None])


def gradients(task: Task, a: Array, w: Array) -> Array:
    """∇f (n', d) of the network."""
    d, m = w.shape[1], len(a)
    slopes = task.phi[1](task.x @ w.T / math.sqrt(d)) * a
    return slopes @ w / math.sqrt(m * d)


def integrated(field: Field, a: Array, w: Array, times: list[float], largest: float) -> Iterator[tuple[Array, Array]]:
    """a, w at each time, by fourth-order Runge-Kutta steps below 0.4/λ_max, and 1.3/λ_max after 5/λ_max."""
    now = 0.0
    for time in times:
        while now < time:
            h = min(time - now, (0.4 if now < 5 / largest else 1.3) / largest)
            k1 = field(a, w)
            k2 = field(a + h / 2 * k1[0], w + h / 2 * k1[1])
            k3 = field(a + h / 2 * k2[0], w + h / 2 * k2[1])
            k4 = field(a + h * k3[0], w + h * k3[1])
            a, w = (z + h / 6 * (p + 2 * q + 2 * r + s) for z, p, q, r, s in zip((a, w), k1, k2, k3, k4, strict=True))
            now = time if time - now <= h else now + h
        yield a, w


def flow(task: Task, a: Array, w: Array, times: list[float]) -> list[Array]:
    """∇f_t (n', d) at each time."""
    m, d = w.shape
    x, largest = task.x_train / math.sqrt(d), task.ensemble.conditioning.largest

    def field(a: Array, w: Array) -> tuple[Array, Array]:
        u = x @ w.T
        r = task.phi[0](u) @ a / math.sqrt(m) - task.y
        return -(r @ task.phi[0](u)) / math.sqrt(m), -a[:, None] * ((task.phi[1](u) * r[:, None]).T @ x) / math.sqrt(m)

    return [gradients(task, *now) for now in integrated(field, a, w, times, largest)]


def controls(task: Task, a: Array, w: Array, lines: list[Linear]) -> list[Array]:
    """‖g_0‖² + 2 g_0·g_1 − δ (n',) at each time."""
    m, d = w.shape
    x_train, x = task.x_train / math.sqrt(d), task.x / math.sqrt(d)
    u, v = w @ x_train.T, w @ x.T
    f0, f1, g1, g2 = task.phi[0](u), task.phi[1](u), task.phi[1](v), task.phi[2](v)
    h = a[:, None] * f0
    kappa = f0[:, :, None] * f0[:, None] + (a**2)[:, None, None] * f1[:, :, None] * f1[:, None] * (x_train @ x_train.T)
    h_gradient = (a[:, None] * g1)[:, :, None] * w[:, None] / math.sqrt(d)
    outer = np.einsum("zx,zn->zxn", g1, f0) + np.einsum("z,zx,zn,xn->zxn", a**2, g2, f1, x @ x_train.T)
    along = np.einsum("z,zx,zn->zxn", a**2, g1, f1)
    k_gradient = (w[:, None, :, None] * outer[:, :, None] + along[:, :, None] * x_train.T) / math.sqrt(d)
    kappa, k_gradient = kappa - task.theta, k_gradient - task.theta_gradient
    f, start = h.sum(axis=0) / math.sqrt(m), h_gradient.sum(axis=0) / math.sqrt(m)
    found = []
    for line in lines:
        to_residual = task.theta_gradient @ line.vectors  # (n', d, modes)
        g0 = start - to_residual @ (line.mean_response * (line.vectors.T @ (f - task.y)))
        modes = line.vectors.T @ kappa @ line.vectors
        moved = k_gradient @ line.vectors * line.mean_response - np.einsum(
            "xdp,zpl->zxdl", to_residual, line.back * modes, optimize=True
        )
        h_modes = h @ line.vectors
        own = h_gradient - np.einsum("xdp,zp->zxd", to_residual * line.mean_response, h_modes, optimize=True)
        g1_all = -moved.mean(axis=0) @ (line.vectors.T @ (f - task.y))
        alone = -np.einsum("zxd,zxdl,zl->x", own, moved, h_modes, optimize=True) / m**2
        found.append(np.sum(g0**2, axis=1) + 2 * np.sum(g0 * g1_all, axis=1) - 2 * alone)
    return found


def measured(task: Task, times: list[float], width: int, networks: int, seed: int) -> Array:
    """m(‖∇f_t‖² − controls)/G_t (networks, times, n')."""
    rng = np.random.default_rng((seed, width))
    lines = [linear_at(task, time) for time in times]
    size = np.array([task.ensemble.at(time).gradient_second_moment(task.x) for time in times])
    found = []
    for _ in range(networks):
        a, w = rng.standard_normal(width), rng.standard_normal((width, task.x.shape[1]))
        squares = np.array([np.sum(g**2, axis=1) for g in flow(task, a, w, times)])
        found.append(width * (squares - np.array(controls(task, a, w, lines))) / size)
    return np.array(found)


def main() -> None:
    """Compare, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--activation", choices=sorted(ACTIVATIONS), default="erf")
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--d", type=int, default=10)
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--networks", type=int, default=800, help="of the narrowest width; others get the same time")
    parser.add_argument("--neurons", type=int, default=2**16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    task = make_task(asked.activation, asked.n, asked.d, asked.points)
    times = times_of(task)
    theory = [task.ensemble.at(t).first_order_width(task.x, neurons=asked.neurons, return_error=True) for t in times]
    rows = []
    for width in asked.widths:
        networks = max(50, asked.networks * asked.widths[0] // width)
        values = measured(task, times, width, networks, asked.seed).mean(axis=2)  # over test points
        for j, time in enumerate(times):
            c, c_error = theory[j][0].mean(), theory[j][1].mean()  # errors share neurons: at most their mean
            mean, error = values[:, j].mean(), values[:, j].std(ddof=1) / math.sqrt(networks)
            z = (mean - c) / math.hypot(error, c_error)
            rows.append({"width": width, "networks": networks, "time": time, "theory": c, "theory_error": c_error,
                         "measured": mean, "error": error, "z": z})  # fmt: skip
            print(f"m={width} t={time:.4g}: c = {c:.3f} ± {c_error:.3f}, networks {mean:.3f} ± {error:.3f}, z {z:.1f}",
                  flush=True)  # fmt: skip
    if asked.out:
        settings = {name: value for name, value in vars(asked).items() if name != "out"}
        asked.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
