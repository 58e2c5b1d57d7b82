"""Training and measuring ensembles, against PyTorch, plain JAX and the machine's matmul rate.

    python benchmarks/training.py [--quick] [--out benchmarks/results/training_cpu.txt]
    python benchmarks/training.py --row 1 4 4096 1437     # one row only
    python benchmarks/training.py --row 2 3 1024 512 --steps 5 --best     # a call of few steps: what is not training

With ``--best`` the shortest of the repetitions counts instead of the median, on a machine that others use too.

Runs under google-benchmark (pip install google-benchmark), with its repetitions randomly interleaved; PyTorch (CPU
build) is optional. Each row is one process: all its columns are measured within the same seconds, and only ratios
within a row mean something. Full-batch gradient descent on ½Σ(f − y)², float32, ReLU, no biases, one output.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROWS = (  # seeds, depth, width, points
    (128, 4, 4, 256), (32, 4, 16, 256), (32, 2, 64, 256), (32, 4, 64, 256), (16, 20, 64, 256), (8, 4, 256, 256),
    (8, 4, 256, 1437), (2, 20, 256, 1437), (4, 4, 512, 1437), (2, 4, 1024, 1437), (1, 4, 4096, 1437),
)  # fmt: skip
QUICK = ((32, 4, 16, 256), (32, 4, 64, 256))
D = 64
RATE = 1e-6
GIGAFLOPS = {16: 8.0, 64: 20.0}
"""Work of one measured training of the other forms up to a width, about; wider ones are counted in steps."""
NARROW, NARROW_STEPS = 64, 1000
"""Up to this width our trainings take so many steps. A call of ``train`` has a price besides its steps (checks,
drawing, records), which those of the other forms have not."""
REPETITIONS = 5
RECORDS = 4
"""Recorded times at which all networks are measured."""
JAX_FORMS = ("vmap", "map", "sequence")


def parameters(depth: int, width: int) -> int:
    return D * width + (depth - 2) * width**2 + width


def training_flops(seeds: int, depth: int, width: int, points: int) -> float:
    """Of one step: products of the forward pass and twice as many backwards, but no derivative with respect to x."""
    return seeds * (6 * points * parameters(depth, width) - 2 * points * D * width)


def jacobian_flops(seeds: int, depth: int, width: int, points: int) -> float:
    """A forward pass and one backwards."""
    return seeds * 4 * points * parameters(depth, width)


def measure_row(row: tuple[int, int, int, int], peers: Sequence[int], target: Path, given: int | None = None) -> None:
    """All columns of one row, in this process; peers: numbers of PyTorch threads; given: steps, of all forms."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import ntkrobust as ntr

    first_use = time.perf_counter()
    seeds, depth, width, points = row
    net = ntr.MLP(depth=depth, width=width)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((points, D)) / D**0.5).astype(np.float32)
    y = rng.standard_normal((points, 1)).astype(np.float32)
    # The last look at a loss costs a step more: few steps would count it twice.
    gigaflops = next((work for widest, work in GIGAFLOPS.items() if width <= widest), 40.0)
    steps = given or max(24 if width < 2048 else 6, round(gigaflops * 1e9 / training_flops(*row)))
    shapes = net.layer_shapes(D)
    drawn = [jnp.asarray(rng.standard_normal((seeds, *s)) * (2 / s[1]) ** 0.5, jnp.float32) for s in shapes]

    own_steps = max(steps, NARROW_STEPS) if width <= NARROW and not given else steps

    def ours(n: int = own_steps) -> Any:
        return ntr.train(net, x, y, seeds=seeds, steps=n, learning_rate=RATE, record_steps=[n])

    def loss(weights: list[jax.Array]) -> jax.Array:
        h = x
        for layer, weight in enumerate(weights):
            if layer:
                h = jax.nn.relu(h)
            h = h @ weight.T
        return 0.5 * jnp.sum((h - y) ** 2)

    def one(weights: list[jax.Array]) -> list[jax.Array]:
        def step(_: int, weights: list[jax.Array]) -> list[jax.Array]:
            return [weight - RATE * slope for weight, slope in zip(weights, jax.grad(loss)(weights), strict=True)]

        return jax.lax.fori_loop(0, steps, step, weights)

    single, together, mapped = (jax.jit(form) for form in (one, jax.vmap(one), functools.partial(jax.lax.map, one)))
    plain: dict[str, Callable[[], Any]] = {
        "vmap": lambda: together(drawn),
        "map": lambda: mapped(drawn),
        "sequence": lambda: [single([weight[seed] for weight in drawn]) for seed in range(seeds)],
    }

    run = ntr.train(net, x, y, seeds=seeds, steps=RECORDS, learning_rate=RATE, record_steps=range(1, 1 + RECORDS))
    first_use = time.perf_counter() - first_use

    def output(weights: list[jax.Array], point: jax.Array) -> jax.Array:
        h = point
        for layer, weight in enumerate(weights):
            h = weight @ (jax.nn.relu(h) if layer else h)
        return h[0]

    def norms(weights: list[jax.Array]) -> jax.Array:
        return jnp.linalg.norm(jax.vmap(lambda point: jax.grad(output, 1)(weights, point))(jnp.asarray(x)), axis=-1)

    gradients = jax.jit(jax.vmap(norms))
    square = jnp.asarray(rng.standard_normal((2048, 2048)), jnp.float32)
    product = jax.jit(lambda a: a @ a)

    bench: dict[str, Callable[[], Any]] = {
        "matmul": lambda: product(square),
        "ours": ours,
        **plain,
        "jacobian": lambda: ntr.measure(run, x, ["jacobian_frobenius"]),
        "jacobian, plain vmap": lambda: [gradients(drawn) for _ in range(RECORDS)],
    }
    measured = RECORDS * jacobian_flops(*row)
    work = {
        "matmul": 2 * 2048**3, "ours": own_steps * training_flops(*row),
        "jacobian": measured, "jacobian, plain vmap": measured,
    }  # fmt: skip
    for threads in peers:
        bench |= peer(row, steps, threads)

    import google_benchmark

    for name, call in bench.items():
        jax.block_until_ready(jax.tree.leaves(call())) if "torch" not in name else call()
        started = time.perf_counter()
        jax.block_until_ready(jax.tree.leaves(call())) if "torch" not in name else call()
        iterations = max(1, round(0.2 / (time.perf_counter() - started)))

        def timed(state: Any, call: Callable[[], Any] = call) -> None:
            while state:
                # What PyTorch returns is done; JAX returns before it is.
                jax.block_until_ready(call())

        timed.__name__ = name
        google_benchmark.register(
            google_benchmark.option.iterations(iterations)(google_benchmark.option.use_real_time()(timed))
        )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        google_benchmark.initialize([
            sys.argv[0], "--benchmark_enable_random_interleaving=true", f"--benchmark_repetitions={REPETITIONS}",
            f"--benchmark_out={out}", "--benchmark_out_format=json", "--benchmark_format=console",
        ])  # fmt: skip
        google_benchmark.run_benchmarks()
        found = json.loads(out.read_text())["benchmarks"]
    unit = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    times: dict[str, list[float]] = {}
    for entry in found:
        if entry["run_type"] == "iteration":
            name = entry["run_name"].split("/")[0]
            times.setdefault(name, []).append(entry["real_time"] * unit[entry["time_unit"]])
    rates = {
        name: sorted(work.get(name, steps * training_flops(*row)) / 1e9 / one_time for one_time in all_times)
        for name, all_times in times.items()
    }
    target.write_text(json.dumps({"steps": own_steps, "rates": rates, "first_use": first_use, "plan": run.plan}))


def peer(row: tuple[int, int, int, int], steps: int, threads: int) -> dict[str, Callable[[], Any]]:
    """PyTorch, one network after the other and all in batched products."""
    import torch

    seeds, depth, width, points = row
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(points, D, generator=generator) / D**0.5
    y = torch.randn(points, 1, generator=generator)
    shapes = [(width, D), *[(width, width)] * (depth - 2), (1, width)]
    drawn = [torch.randn(seeds, *s, generator=generator) * (2 / s[1]) ** 0.5 for s in shapes]

    def descend(weights: list[Any], forward: Callable[[list[Any]], Any]) -> None:
        for _ in range(steps):
            loss = 0.5 * ((forward(weights) - y) ** 2).sum()
            slopes = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    weight.sub_(slope, alpha=RATE)

    def of_one(weights: list[Any]) -> Any:
        h = x
        for layer, weight in enumerate(weights):
            h = (torch.relu(h) if layer else h) @ weight.t()
        return h

    def of_all(weights: list[Any]) -> Any:
        h = torch.einsum("nd,smd->snm", x, weights[0])
        for weight in weights[1:]:
            h = torch.bmm(torch.relu(h), weight.transpose(1, 2))
        return h

    def loop() -> None:
        torch.set_num_threads(threads)
        for seed in range(seeds):
            descend([weight[seed].clone().requires_grad_() for weight in drawn], of_one)

    def batched() -> None:
        torch.set_num_threads(threads)
        descend([weight.clone().requires_grad_() for weight in drawn], of_all)

    return {f"torch loop {threads}": loop, f"torch batched {threads}": batched}


def median(values: Sequence[float]) -> float:
    return values[len(values) // 2]


def line(row: tuple[int, int, int, int], found: dict[str, Any], of: Callable[..., float] = median) -> str:
    rate = {name: of(values) for name, values in found["rates"].items()}
    plain = max(rate[form] for form in JAX_FORMS)
    torch_rates = {name: value for name, value in rate.items() if name.startswith("torch")}
    best = max(torch_rates, key=torch_rates.__getitem__) if torch_rates else ""
    against = ""
    if best:
        against = (
            f"{torch_rates[best]:>8.1f}{rate['ours'] / torch_rates[best]:>7.1f}  {best.removeprefix('torch '):<10}"
        )
    return (
        f"{row[0]:>5}{row[1]:>6}{row[2]:>6}{row[3]:>7}  {rate['ours']:>6.0f} {rate['ours'] / rate['matmul']:>7.0%}"
        f"{rate['matmul']:>7.0f}{''.join(f'{rate[form]:>9.0f}' for form in JAX_FORMS)}{rate['ours'] / plain:>8.2f}"
        f"{against}{rate['jacobian']:>8.0f}{rate['jacobian'] / rate['matmul']:>9.0%}"
        f"{rate['jacobian'] / rate['jacobian, plain vmap']:>7.2f}{found['first_use']:>10.1f}"
    )


HEADER = (
    "seeds depth width points    ours  /matmul matmul   vmap      map sequence   /best   torch  ratio  form       "
    "jacob. /matmul  /vmap  first, s"
)


def hardware() -> str:
    import jax

    model = next(
        (text.split(":")[1].strip() for text in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in text),
        platform.processor(),
    ) if Path("/proc/cpuinfo").exists() else platform.processor()  # fmt: skip
    try:
        import torch

        peer_version = f", PyTorch {torch.__version__}"
    except ImportError:
        peer_version = ", no PyTorch"
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, JAX {jax.__version__}{peer_version}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rows")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--torch-threads", type=int, nargs="*", default=[1, os.cpu_count() or 1])
    parser.add_argument("--row", type=int, nargs=4, metavar=("SEEDS", "DEPTH", "WIDTH", "POINTS"), help="one row only")
    parser.add_argument("--steps", type=int, help="steps of all forms, not as many as take a moment")
    parser.add_argument("--best", action="store_true", help="the best repetition instead of the median")
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.target:
        measure_row(tuple(options.row), options.torch_threads, options.target, options.steps)
        return
    try:
        import torch  # noqa: F401
    except ImportError:
        options.torch_threads = []
    kind = "best" if options.best else "medians"
    lines = [hardware(), f"GFLOP/s, {kind} of {REPETITIONS} interleaved repetitions; ratios within a row.", "", HEADER]
    print("\n".join(lines), flush=True)
    for row in [tuple(options.row)] if options.row else QUICK if options.quick else ROWS:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "row.json"
            threads = [str(number) for number in dict.fromkeys(options.torch_threads)]
            command = [
                sys.executable,
                __file__,
                "--row",
                *map(str, row),
                "--target",
                str(target),
            ]
            command += ["--steps", str(options.steps)] if options.steps else []
            subprocess.run([*command, "--torch-threads", *threads], check=True, stdout=subprocess.DEVNULL)
            lines.append(line(row, json.loads(target.read_text()), max if options.best else median))
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
