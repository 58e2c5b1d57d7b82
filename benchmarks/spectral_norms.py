"""Certified spectral norms against a singular value decomposition: time, and how far the ends are apart.

    python benchmarks/spectral_norms.py                    # sides 64, 512 and 2048: a minute or two
    python benchmarks/spectral_norms.py --sides 4096       # minutes, nearly all of them for the decompositions

One square matrix at a time, of float32. ``SVD`` is ``jnp.linalg.norm(W, ord=2)`` in float32, which gives one number and
no bound. ``from exact`` are (lower − ‖W‖₂)/‖W‖₂ and (upper − ‖W‖₂)/‖W‖₂, with ‖W‖₂ by numpy in float64. Times are the
fastest of three calls or more after one that compiles.
"""

import argparse
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.numerics.spectral import TOLERANCE, spectral_norm


def best(call: Callable[[], Any]) -> float:
    """Seconds of the fastest call in half a second or three calls, whichever is longer, after one that compiles."""
    jax.block_until_ready(call())
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < 0.5:
        start = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - start)
    return min(taken)


def matrices(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    gaussian = rng.standard_normal((n, n)).astype(np.float32)
    left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    clustered = np.where(np.arange(n) < 16, 1 - 1e-5 * np.arange(n), 0.9 * rng.random(n))
    broken = gaussian.copy()
    broken[n // 2, 1] = np.nan
    return {
        "gaussian": gaussian,
        "rank 3": (gaussian[:, :3] @ gaussian[:3]).astype(np.float32),
        "16 clustered": ((left * clustered) @ right).astype(np.float32),
        "evenly spaced": ((left * np.linspace(1, 0, n)) @ right).astype(np.float32),
        "orthogonal": (left @ right).astype(np.float32),
        "zero": np.zeros((n, n), np.float32),
        "one NaN": broken,
    }


def main(sides: list[int], tolerance: float) -> None:
    print(f"{platform.machine()}, jax {jax.__version__} on {jax.devices()[0].device_kind}, tolerance {tolerance:g}")
    print("side   matrix           certified        SVD   ratio   from exact")
    decomposition = jax.jit(lambda matrix: jnp.linalg.norm(matrix, ord=2))
    for n in sides:
        for name, matrix in matrices(n).items():
            on_device = jnp.asarray(matrix)
            ours = best(lambda on_device=on_device: spectral_norm(on_device, tolerance))
            theirs = best(lambda on_device=on_device: decomposition(on_device))
            lower, upper = (float(end) for end in spectral_norm(on_device, tolerance))
            if name == "one NaN":
                apart = f"{lower}, {upper}"
            else:
                exact = float(np.linalg.norm(matrix.astype(np.float64), 2))
                assert lower <= exact * (1 + 1e-12)
                assert exact * (1 - 1e-12) <= upper
                apart = f"{lower / exact - 1:+.1e}, {upper / exact - 1:+.1e}" if exact else f"{lower}, {upper}"
            print(
                f"{n:4d}   {name:14s} {ours * 1e3:8.1f} ms {theirs * 1e3:8.1f} ms {theirs / ours:6.1f}×  {apart}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 512, 2048])
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    chosen = parser.parse_args()
    main(chosen.sides, chosen.tolerance)
