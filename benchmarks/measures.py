"""What measuring costs beside the backward passes it consists of, in time and in memory.

    python benchmarks/measures.py            # the table: half a minute
    python benchmarks/measures.py --kernel   # time and peak memory of kernel_change at width 1024, 64 points

``ntr.measure`` of two measures at all points, seeds and times, against a jitted loop over the same seeds with one plain
``jax.vjp`` over the batch per output, and against that with the copies to and from the device. Fastest of several
calls after one that compiles.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkrobust as ntr
from ntkrobust.networks.parameters import forward

MEASURES = ["perturbation_stability", "jacobian_frobenius"]


def best(call: Callable[[], Any], seconds: float = 2.0) -> float:
    """Seconds of the fastest call in two seconds or three calls, whichever is longer, after one that compiles."""
    jax.block_until_ready(call())
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        start = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - start)
    return min(taken)


def trained(seeds: int, width: int, depth: int, outputs: int) -> tuple[ntr.Run, np.ndarray]:
    data = ntr.data.load("digits-classes" if outputs == 10 else "digits")
    net = ntr.MLP(depth, width, outputs, "relu", "he")
    run = ntr.train(net, data.x_train[:64], data.y_train[:64], seeds=seeds, steps=2, record_steps=(0, 2))
    return run, data.x_test[:360]


def by_vjp(run: ntr.Run, x: np.ndarray) -> Callable[[], Any]:
    """The Jacobians of every seed and time, one backward pass over the batch per output."""
    scales = run.net.layer_scales(run.d_in)

    def norms(parameters: Any, x: jax.Array) -> jax.Array:
        f, back = jax.vjp(lambda x: forward(run.net.phi, scales, parameters, x), x)
        rows = [back(jnp.zeros_like(f).at[:, k].set(1))[0] for k in range(f.shape[1])]
        return jnp.sqrt(sum(jnp.sum(row**2, axis=1) for row in rows))

    program = jax.jit(lambda ensemble, x: jax.lax.map(lambda one: norms(one, x), ensemble))
    snapshots, points = jax.device_put(run.snapshots), jnp.asarray(x)
    return lambda: [program(snapshot, points) for snapshot in snapshots]


def table(args: argparse.Namespace) -> None:
    print(f"{args.seeds} seeds, width {args.width}, depth {args.depth}, 360 points, 2 times")
    print("outputs   measure    ‖J‖_F only   vjp per output   measure/vjp")
    for outputs in (1, 10):
        run, x = trained(args.seeds, args.width, args.depth, outputs)
        both = best(lambda run=run, x=x: ntr.measure(run, x, MEASURES))
        one = best(lambda run=run, x=x: ntr.measure(run, x, MEASURES[1:]))
        plain = best(by_vjp(run, x))
        print(f"{outputs:7d} {both:8.3f} s   {one:8.3f} s     {plain:8.3f} s        {both / plain:6.2f}")


def kernel(args: argparse.Namespace) -> None:
    run, x = trained(2, 1024, args.depth, args.outputs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = best(lambda: ntr.measure(run, x[:1], ["kernel_change"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"kernel_change, width 1024, depth {args.depth}, {args.outputs} outputs, 64 points, 2 seeds, 2 times")
    print(f"{seconds / 4:.3f} s per network; peak memory {peak:.0f} MiB, {before:.0f} MiB of them before")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", action="store_true")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--outputs", type=int, default=1)
    chosen = parser.parse_args()
    (kernel if chosen.kernel else table)(chosen)
