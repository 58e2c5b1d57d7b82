"""How fast the gradients of infinitely wide trained ensembles are: ratios within one run.

    python benchmarks/infinite_width.py                 # both tables, a minute or two
    python benchmarks/infinite_width.py --memory 8000   # peak memory against its estimate

1. E‖∇f_∞‖² at 200 test points with n = 1000 training points, once Θ and K are computed and Θ is factorized, against
   automatic differentiation through neural-tangents as a careful user would write it: jitted, reverse mode for the
   mean, forward mode for kernel rows, M and N formed once, test points in the fastest of three batch sizes.
2. Kernel, factorization and statistics together, against one symmetric eigendecomposition of that size.

Every time is the fastest of several calls after a first one that compiles.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkrobust as ntr
from ntkrobust.kernels import neural_tangents as nt
from ntkrobust.kernels import stax


def best(call: Callable[[], Any]) -> float:
    """Seconds of the fastest call in two seconds or three calls, whichever is longer, after one that compiles."""
    jax.block_until_ready(call())
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < 2:
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def points(n: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training inputs, targets ±1 and 200 test inputs, all of unit norm: digits for d = 64, random directions else."""
    if d == 64:
        data = ntr.data.load("digits")
        return data.x_train[:n], data.y_train[:n], data.x_test[:200]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n + 200, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x[:n], rng.choice([-1.0, 1.0], (n, 1)), x[n:]


def by_automatic_differentiation(
    net: ntr.MLP, x: np.ndarray, y: np.ndarray, batch: int
) -> tuple[Callable[[], Any], Callable[[Any, Any], Any]]:
    """Programs of the peer: M, N and v from eigenvectors, and E‖∇f_∞‖² of test points."""
    kernel_fn = stax(net, x.shape[1]).kernel_fn
    k, theta = (np.asarray(part) for part in kernel_fn(x, None, ("nngp", "ntk")))
    values, vectors = np.linalg.eigh(theta)

    @jax.jit
    def propagate(k: Any, values: Any, vectors: Any) -> Any:
        m = (vectors / values) @ vectors.T
        return m, m @ k @ m, m @ y[:, 0]

    @jax.jit
    def second_moment(x_test: Any, by: Any) -> Any:
        m, n, v = by

        def at_point(one: Any) -> Any:
            def rows(z: Any) -> Any:
                found = kernel_fn(z[None], x, ("ntk", "nngp"))
                return found.ntk[0], found.nngp[0]

            def prior(z: Any, w: Any) -> Any:
                return kernel_fn(z[None], w[None], "nngp")[0, 0]

            mean = jax.grad(lambda z: rows(z)[0] @ v)(one)
            d_theta, d_k = jax.jacfwd(rows)(one)  # (n, d) each
            at_initialization = jnp.trace(jax.jacfwd(jax.grad(prior, argnums=1), argnums=0)(one, one))
            spread = jnp.sum(d_theta * (n @ d_theta)) - 2 * jnp.sum(d_theta * (m @ d_k))
            return mean @ mean + at_initialization + spread

        return jax.lax.map(at_point, x_test, batch_size=batch)

    return lambda: propagate(k, values, vectors), second_moment


def against_automatic_differentiation(d: int, activation: str, n: int = 1000) -> str:
    """One row of the first table."""
    x, y, x_test = points(n, d)
    net = ntr.MLP(3, 512, activation=activation, initialization="he", parameterization="standard")
    ensemble = ntr.InfiniteEnsemble(net, x, y)
    ours = ensemble.at(np.inf).gradient_second_moment(x_test)
    with_propagators = best(lambda: ensemble.at(np.inf).gradient_second_moment(x_test))
    ready = ensemble.at(np.inf)
    statistics = best(lambda: ready.gradient_second_moment(x_test))
    with jax.enable_x64(True):
        timed = []
        for batch in (1, 4, 16):
            propagate, second_moment = by_automatic_differentiation(net, x, y, batch)
            by = propagate()
            theirs = np.asarray(second_moment(x_test, by))
            timed.append((best(lambda: second_moment(x_test, by)), batch))  # noqa: B023
        forming = best(propagate)
    seconds, batch = min(timed)
    difference = np.abs(ours / theirs - 1).max()
    return (
        f"{activation:>6} {d:4d} {statistics:10.4f} {seconds:10.3f} {batch:5d} {seconds / statistics:8.0f} "
        f"{(seconds + forming) / with_propagators:12.0f} {difference:12.1e}"
    )


def against_eigendecomposition(n: int, activation: str) -> str:
    """One row of the second table."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n + 200, 64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x, x_test, y = x[:n], x[n:], rng.choice([-1.0, 1.0], (n, 1))
    net = ntr.MLP(3, 512, activation=activation, initialization="he")
    theta = ntr.kernels.kernel_matrix(net, x)

    def everything() -> Any:
        return ntr.InfiniteEnsemble(net, x, y).at(np.inf).gradient_second_moment(x_test)

    with jax.enable_x64(True):
        on_device = jnp.asarray(theta)
        decompose = jax.jit(lambda a: jnp.linalg.eigh(a, symmetrize_input=False))
        multiply = jax.jit(lambda a: a @ a)
        eigen, product = (best(lambda program=program: program(on_device)) for program in (decompose, multiply))
    total = best(everything)
    rate = 2 * n**3 / product / 1e9
    return f"{activation:>6} {n:5d} {total:10.3f} {eigen:10.3f} {total / eigen:8.2f} {rate:12.0f}"


def memory(n: int, d: int) -> str:
    """Peak memory of a fresh process that trains on ``n`` points, against the estimate it made before."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n + 200, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    start = time.perf_counter()
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(3, 512), x[:n], rng.choice([-1.0, 1.0], n))
    ensemble.at(np.inf).gradient_second_moment(x[n:])
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return (
        f"n = {n}, d = {d}: estimated {ensemble.memory.peak / 2**30:.2f} GiB before, peak {peak / 2**30:.2f} GiB, "
        f"ratio {peak / ensemble.memory.peak:.2f}, {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, metavar="N", help="only measure the peak memory of N training points")
    parser.add_argument("--d", type=int, default=784, help="dimension for --memory")
    chosen = parser.parse_args()
    if chosen.memory:
        print(memory(chosen.memory, chosen.d))
        return
    device = jax.devices()[0]
    print(f"{platform.machine()}, {device.device_kind} ({device.platform}), jax {jax.__version__}, ", end="")
    print(f"neural-tangents {nt.__version__}, float64\n")
    print("E‖∇f_∞‖² at 200 test points, n = 1000, L = 3, after the factorization (seconds)")
    print(f"{'φ':>6} {'d':>4} {'here':>10} {'autodiff':>10} {'batch':>5} {'ratio':>8}", end=" ")
    print(f"{'with M, N':>12} {'difference':>12}")
    for d in (64, 784):
        for activation in ("erf", "relu"):
            print(against_automatic_differentiation(d, activation), flush=True)
    print("\nKernel + factorization + statistics at 200 test points, L = 3, d = 64 (seconds)")
    print(f"{'φ':>6} {'n':>5} {'all':>10} {'eigh':>10} {'ratio':>8} {'matmul GF/s':>12}")
    for n in (1000, 2000):
        for activation in ("relu", "erf", "gelu", "tanh"):
            print(against_eigendecomposition(n, activation), flush=True)


if __name__ == "__main__":
    main()
