"""What a network of one's own costs beside the same network of the package.

    PYTHONPATH=. python benchmarks/own_networks.py [--widths 64 512] [--repeats 5]

Both are fully connected, of depth 3, of the same weights: ``ntkrobust.MLP`` with its derivatives written out, and two
plain functions of JAX by ``ntkrobust.from_function``. They take turns, warm; a line for each job, the ratio of the best
times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import ntkrobust as ntr

D, N, POINTS = 64, 256, 64


def of_functions(width: int) -> ntr.Network:
    def init(key: jax.Array, x: jax.Array) -> list[jax.Array]:
        shapes = [(width, x.shape[1]), (width, width), (1, width)]
        keys = jax.random.split(key, len(shapes))
        return [jnp.sqrt(2 / shape[1]) * jax.random.normal(one, shape) for one, shape in zip(keys, shapes, strict=True)]

    def apply(weights: list[jax.Array], x: jax.Array) -> jax.Array:
        first, second, last = weights
        return jax.nn.relu(jax.nn.relu(x @ first.T) @ second.T) @ last.T

    return ntr.from_function(init, apply)


def networks(width: int) -> dict[str, ntr.Network]:
    return {"package": ntr.MLP(3, width), "function": of_functions(width)}


Job = Callable[[], object]


def jobs(steps: int, seeds: int) -> dict[str, Callable[[ntr.Network], Job]]:
    """What is timed, by name: a network ↦ the job, made ready."""
    rng = np.random.default_rng(0)
    x, x_test = rng.standard_normal((N, D)), rng.standard_normal((POINTS, D))
    y, y_test = np.sign(x[:, 0]), np.sign(x_test[:, 0])

    def training(net: ntr.Network) -> Job:
        return lambda: ntr.train(net, x, y, seeds=seeds, steps=steps, learning_rate=1e-4, record_steps=[steps])

    def measuring(net: ntr.Network) -> Job:
        run = ntr.train(net, x, y, seeds=seeds, steps=0)
        return lambda: ntr.measure(run, x_test, ["jacobian_frobenius"])

    def attacking(net: ntr.Network) -> Job:
        run = ntr.train(net, x, y, seeds=seeds, steps=0)
        return lambda: ntr.attack(run, x_test, y_test, epsilon=0.1, methods=["pgd"], steps=20)

    return {f"train, {steps} steps": training, "measure Jacobians": measuring, "attack by PGD": attacking}


def best(jobs: dict[str, Job], repeats: int) -> dict[str, float]:
    """The best time of each job; they take turns."""
    found = dict.fromkeys(jobs, np.inf)
    for job in jobs.values():
        job()
    for _ in range(repeats):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            found[name] = min(found[name], time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    print("| width | job | package, s | function, s | ratio |\n|---|---|---|---|---|", flush=True)
    for width in args.widths:
        steps = max(20, args.steps * 64 // width)
        for what, job in jobs(steps, args.seeds).items():
            found = best({name: job(net) for name, net in networks(width).items()}, args.repeats)
            ratio = found["function"] / found["package"]
            print(f"| {width} | {what} | {found['package']:.3f} | {found['function']:.3f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
