"""Training ensembles of convolutional networks, against plain JAX, PyTorch and the machine's matmul rate.

    python benchmarks/convolutions.py [--quick] [--out benchmarks/results/convolutions_cpu.txt]

Full-batch gradient descent on ½Σ(f − y)², float32, ReLU, no biases, 8 × 8 images of one channel, 3 × 3 patches, global
average, one output. All columns of a row are measured in turns within the same process, and only ratios within a row
mean something. PyTorch (CPU build) is optional.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training import hardware

ROWS = ((16, 3, 4, 128), (8, 3, 16, 128), (4, 3, 32, 64))  # seeds, depth, channels, points
QUICK = ROWS[1:2]
SIDE = 8
RATE = 1e-6
STEPS, PLAIN_STEPS = 12, 3
"""Steps per training; fewer for XLA's own convolutions, which need minutes otherwise."""
REPETITIONS = 3


def training_flops(seeds: int, depth: int, channels: int, points: int) -> float:
    """Of one step: products of the forward pass and twice as many backwards, but no derivative with respect to x."""
    first, others = 9 * channels, (depth - 2) * 9 * channels**2
    return seeds * points * SIDE**2 * (4 * first + 6 * others)


def measure_row(row: tuple[int, int, int, int]) -> dict[str, float]:
    """GFLOP/s of every way to train, and of a matrix product."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import ntkrobust as ntr

    seeds, depth, channels, points = row
    net = ntr.ConvNet(depth, channels, (SIDE, SIDE, 1))
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((points, SIDE**2)) / SIDE).astype(np.float32)
    y = rng.standard_normal((points, 1)).astype(np.float32)
    images = jnp.asarray(x.reshape(points, SIDE, SIDE, 1))
    shapes = net.layer_shapes(SIDE**2)
    kernels = [
        jnp.asarray(rng.standard_normal((seeds, 3, 3, fan_in // 9, fan_out)) * (2 / fan_in) ** 0.5, jnp.float32)
        for fan_out, fan_in in shapes[:-1]
    ]
    weights = [*kernels, jnp.asarray(rng.standard_normal((seeds, channels, 1)) * channels**-0.5, jnp.float32)]

    def loss(weights: list[jax.Array]) -> jax.Array:
        h = images
        for kernel in weights[:-1]:
            numbers = ("NHWC", "HWIO", "NHWC")
            h = jax.nn.relu(jax.lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=numbers))
        return 0.5 * jnp.sum((h.mean((1, 2)) @ weights[-1] - y) ** 2)

    def one(weights: list[jax.Array]) -> list[jax.Array]:
        def step(_: int, weights: list[jax.Array]) -> list[jax.Array]:
            return [weight - RATE * slope for weight, slope in zip(weights, jax.grad(loss)(weights), strict=True)]

        return jax.lax.fori_loop(0, PLAIN_STEPS, step, weights)

    single, together = jax.jit(one), jax.jit(jax.vmap(one))
    square = jnp.asarray(rng.standard_normal((2048, 2048)), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    bench: dict[str, Callable[[], Any]] = {
        "matmul": lambda: product(square),
        "ours": lambda: ntr.train(net, x, y, seeds=seeds, steps=STEPS, learning_rate=RATE, record_steps=[STEPS]).loss,
        "vmap": lambda: together(weights),
        "one by one": lambda: [single([weight[seed] for weight in weights]) for seed in range(seeds)],
        **peer(row),
    }
    plain = PLAIN_STEPS * training_flops(*row)
    work = {"matmul": 2 * 2048.0**3, "vmap": plain, "one by one": plain}
    rates: dict[str, list[float]] = {name: [] for name in bench}
    for repetition in range(1 + REPETITIONS):
        for name, call in bench.items():
            started = time.perf_counter()
            jax.block_until_ready(call())
            seconds = time.perf_counter() - started
            if repetition:  # the first compiles
                rates[name].append(work.get(name, STEPS * training_flops(*row)) / 1e9 / seconds)
    return {name: statistics.median(values) for name, values in rates.items()}


def peer(row: tuple[int, int, int, int]) -> dict[str, Callable[[], Any]]:
    """PyTorch, one network after the other; nothing where it can't be imported."""
    try:
        import torch
    except ImportError:
        return {}
    seeds, depth, channels, points = row
    x, y = torch.randn(points, 1, SIDE, SIDE) / SIDE, torch.randn(points, 1)

    def loop() -> None:
        for _ in range(seeds):
            layers: list[Any] = []
            for layer in range(depth - 1):
                layers += [
                    torch.nn.Conv2d(channels if layer else 1, channels, 3, padding="same", bias=False),
                    torch.nn.ReLU(),
                ]
            net = torch.nn.Sequential(
                *layers,
                torch.nn.AdaptiveAvgPool2d(1),
                torch.nn.Flatten(),
                torch.nn.Linear(channels, 1, bias=False),
            )
            descent = torch.optim.SGD(net.parameters(), RATE)
            for _ in range(STEPS):
                descent.zero_grad()
                (0.5 * ((net(x) - y) ** 2).sum()).backward()
                descent.step()

    return {"torch": loop}


HEADER = "seeds depth channels points    ours /matmul matmul   vmap  ratio  one by one  ratio   torch  ratio"


def line(row: tuple[int, int, int, int], rate: dict[str, float]) -> str:
    """One row of the table."""
    against = f"{rate['torch']:>8.1f}{rate['ours'] / rate['torch']:>7.1f}" if "torch" in rate else f"{'–':>8}{'–':>7}"
    return (
        f"{row[0]:>5}{row[1]:>6}{row[2]:>9}{row[3]:>7}{rate['ours']:>8.1f}{rate['ours'] / rate['matmul']:>8.0%}"
        f"{rate['matmul']:>7.0f}{rate['vmap']:>7.1f}{rate['ours'] / rate['vmap']:>7.1f}"
        f"{rate['one by one']:>12.1f}{rate['ours'] / rate['one by one']:>7.1f}{against}"
    )


def main() -> None:
    """Measure and print all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one row")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = [
        hardware(),
        f"GFLOP/s, medians of {REPETITIONS} repetitions taken in turns; ratios of ours within a row.",
        "vmap: lax.conv over all networks; one by one: lax.conv, one network after the other.",
        "",
        HEADER,
    ]
    print("\n".join(lines), flush=True)
    for row in QUICK if options.quick else ROWS:
        lines.append(line(row, measure_row(row)))
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
