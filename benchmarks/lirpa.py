"""Certificates against auto_LiRPA, and ECLipsE-Fast against its public code, on the same weights.

    python benchmarks/lirpa.py --eclipse FILE              # needs torch and auto_LiRPA (0.7)
    python benchmarks/lirpa.py --parts time --networks 64 --points 512

auto_LiRPA is a PyTorch library that bounds one network at a time. The comparisons:

- *Bounds*: its IBP, CROWN and CROWN-IBP in float64 against ``"interval"``, ``"crown"`` and ``"crown-interval"`` with
  ``evaluation="real"``, which is what it bounds, too: rounding is no part of it. The difference of ends is relative to
  the largest of them; the width, ours over theirs, is above 1 where ours is looser.
- *ECLipsE-Fast*: the file ``src/eclipse_nn/eclipsE_fast.py`` of github.com/YuezhuXu/ECLipsE, run on our weights.
- *Time*: CROWN of all layers; ours is one call on an ensemble, in float64 and without its compilation, theirs a loop
  over networks in float32, its default, with as many threads as are fastest. In turns, per network; also in seconds of
  processors, which other work on the machine does not change. Of ours also what Jacobians cost, which ``certify``
  bounds besides.
"""

import argparse
import functools
import importlib.util
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkrobust as ntr
from ntkrobust.finite.certificates.bounds import Method
from ntkrobust.finite.certificates.eclipse import _bound
from ntkrobust.finite.certificates.programs import CertificateProgram, Setting
from ntkrobust.networks.plans import choose_plan
from ntkrobust.norms import Norm
from ntkrobust.runtime.executor import run_over_seeds

try:
    import auto_LiRPA
    import torch
    from auto_LiRPA.perturbations import PerturbationLpNorm
except ImportError:
    raise SystemExit(
        "this benchmark compares with auto_LiRPA: pip install torch, and auto_LiRPA from "
        "github.com/Verified-Intelligence/auto_LiRPA"
    ) from None

PARTS = ("bounds", "eclipse", "time")
THEIRS: dict[Method, str] = {"interval": "IBP", "crown-interval": "CROWN-IBP", "crown": "CROWN"}
RADII: dict[Norm, float] = {"linf": 0.05, "l2": 0.15, "l1": 0.3}
ORDERS: dict[Norm, float] = {"linf": np.inf, "l2": 2.0, "l1": 1.0}
ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "relu": torch.nn.ReLU, "leaky_relu(0.2)": lambda: torch.nn.LeakyReLU(0.2), "tanh": torch.nn.Tanh
}  # fmt: skip
PUBLISHED = 0.8090351972788797
"""What the notebook demo/LipConstEstimator_demo.ipynb of ECLipsE shows for the weights in its folder."""

STEEPEST = {"relu": 1.0, "tanh": 1.0, "erf": 2 / np.sqrt(np.pi)}


def weights_of(run: ntr.Run, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases of a network, times their gains, in float64."""
    scales = run.net.layer_scales(run.d_in)
    weights = [
        np.float64(g) * np.float64(w[seed]) for g, w in zip(scales.weight_gain, run.parameters.weights, strict=True)
    ]
    biases = [np.float64(scales.bias_gain) * np.float64(b[seed]) for b in run.parameters.biases]
    return weights, biases or [np.zeros(len(weight)) for weight in weights]


def bounded(run: ntr.Run, seed: int) -> Any:
    """auto_LiRPA's module of the same function with the same weights, in torch's default type."""
    layers: list[Any] = []
    for weight, bias in zip(*weights_of(run, seed), strict=True):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data = torch.tensor(weight, dtype=torch.get_default_dtype())
        layer.bias.data = torch.tensor(bias, dtype=torch.get_default_dtype())
        layers += [layer, ACTIVATIONS[str(run.net.activation)]()]
    network = torch.nn.Sequential(*layers[:-1]).eval()
    return auto_LiRPA.BoundedModule(network, torch.zeros((1, run.d_in)))


def theirs(module: Any, x: np.ndarray, radius: float, norm: Norm, method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Ends around the outputs by auto_LiRPA."""
    points = torch.tensor(x, dtype=torch.get_default_dtype())
    ball = PerturbationLpNorm(norm=ORDERS[norm], eps=radius)
    with torch.no_grad():
        lower, upper = module.compute_bounds(x=(auto_LiRPA.BoundedTensor(points, ball),), method=THEIRS[method])
    return lower.numpy(), upper.numpy()


def data(n: int, d: int, o: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the unit cube, and classes."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, max(o, 2), n)
    x = rng.uniform(0, 1, (n, d)).astype(np.float32)
    return x, np.where(label == 1, 1.0, -1.0)[:, None] if o == 1 else np.eye(o)[label]


def bounds() -> None:
    """The table of both libraries' ends."""
    torch.set_default_dtype(torch.float64)
    net = ntr.MLP(4, 24, 3, bias_std=0.2)
    x, y = data(16, 8, 3)
    print(f"\n{net!r}, other activations too; trained for 60 steps; 16 points, radii {RADII}")
    print("                                  largest difference   width, ours/theirs      ours is looser by 1e-5")
    print("  activation       norm  method         of ends        least   median  most    in so many of 96 ends")
    for name in ACTIVATIONS:
        run = ntr.train(ntr.MLP(4, 24, 3, activation=name, bias_std=0.2), x, y, seeds=2, steps=60)
        modules = [bounded(run, seed) for seed in range(2)]
        for norm, radius in RADII.items():
            for method in THEIRS:
                found = ntr.certify(run, x, epsilon=radius, norm=norm, method=method, evaluation="real")
                other = [theirs(module, x, float(np.float32(radius)), norm, method) for module in modules]
                lower, upper = (np.stack(ends) for ends in zip(*other, strict=True))
                size = np.maximum(np.abs(lower).max(), np.abs(upper).max())
                apart = max(np.abs(found.lower - lower).max(), np.abs(found.upper - upper).max()) / size
                width = (found.upper - found.lower).values / (upper - lower)
                looser = np.sum(width > 1 + 1e-5)
                print(f"  {name:15}  {norm:5} {method:15} {float(apart):9.1e}     {width.min():9.6f} "
                      f"{np.median(width):9.6f} {width.max():9.6f}  {looser:5d}", flush=True)  # fmt: skip


def eclipse(file: str) -> None:
    """The table of both codes' global constants."""
    found = importlib.util.spec_from_file_location("eclipsE_fast", file)
    assert found is not None
    assert found.loader is not None
    code = importlib.util.module_from_spec(found)
    found.loader.exec_module(code)
    print("\nECLipsE-Fast, 4 networks each: ours/theirs, whose slopes are given as in [0, c]")
    print("  network                         theirs, first   ours/theirs − 1, least and most")
    for name, depth, width in (("relu", 2, 80), ("relu", 5, 64), ("tanh", 3, 40), ("erf", 8, 24)):
        x, y = data(16, 8, 3)
        run = ntr.train(ntr.MLP(depth, width, 3, activation=name), x, y, seeds=4, steps=60)
        ours = ntr.measure(run, x, ntr.measures.LipschitzUpperEclipse().rename("bound")).bound.isel(time=-1).values
        other = []
        for seed in range(4):
            weights = [torch.tensor(weight) for weight in weights_of(run, seed)[0]]
            slopes = [0.0] * (depth - 1), [STEEPEST[name]] * (depth - 1)
            other.append(float(code.ECLipsE_Fast(weights, *slopes)))
        ratio = ours.astype(np.float64) / np.array(other) - 1
        sizes = f"{name:5} depth {depth}, width {width:<3}"
        print(f"  {sizes}          {other[0]:12.6f}   {ratio.min():9.1e} {ratio.max():9.1e}")

    demo = Path(file).parents[2] / "demo" / "sampleweights" / "npz" / "lyr2n80test1.npz"
    if demo.exists():
        with np.load(demo) as stored, jax.enable_x64(True):
            ours = float(_bound([jnp.asarray(stored[name]) for name in ("w1", "w2")]))
        print(f"  their demo, lyr2n80test1     {PUBLISHED:12.6f}   {ours / PUBLISHED - 1:9.1e}    (as published there)")


Clock = Callable[[], float]


def spent(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and those of processors."""
    clocks: tuple[Clock, Clock] = (time.perf_counter, time.process_time)
    before = [clock() for clock in clocks]
    call()
    first, second = (clock() - start for clock, start in zip(clocks, before, strict=True))
    return first, second


def times(networks: int, points: int, eager: int, turns: int) -> None:
    """CROWN of networks of width 256 and depth 4, in turns."""
    torch.set_default_dtype(torch.float32)
    x, y = data(points, 64, 1)
    run = ntr.train(ntr.MLP(4, 256, 1), x, y, seeds=networks, steps=0)
    print(f"\nTime: CROWN, {run.net!r}, {points} points of 64 numbers, linf balls of radius 0.02; s per network, ours "
          f"for {networks} at once, theirs one after the other, {eager} of them; medians of {turns} turns")  # fmt: skip
    shared = {"scales": run.net.layer_scales(64), "x": x, **run.domain.arrays()}
    radius = np.full((networks, points), 0.02, np.float32)
    plan = choose_plan(run.net, 64, points)

    def ours(slopes: bool) -> None:
        program = CertificateProgram(run.net.model(), Setting("linf", "crown", False, slopes))
        run_over_seeds(program, plan, shared, {"parameters": run.parameters, "radius": radius})

    modules = [bounded(run, seed) for seed in range(eager)]

    def loop() -> None:
        for module in modules:
            theirs(module, x, 0.02, "linf", "crown")

    calls = {"ours": functools.partial(ours, False), "ours, with slopes": functools.partial(ours, True)}
    for call in calls.values():
        call()
    by_threads = {threads: spent_with(threads, loop) for threads in (1, 2, 4)}
    best = min(by_threads, key=by_threads.__getitem__)
    calls["theirs"] = functools.partial(spent_with, best, loop)
    counts = {name: eager if name == "theirs" else networks for name in calls}
    seen = np.array([[np.array(spent(call)) / counts[name] for name, call in calls.items()] for _ in range(turns)])
    print("                       s      s of processors")
    for index, name in enumerate(calls):
        print(f"  {name:18} {np.median(seen[:, index, 0]):7.3f} {np.median(seen[:, index, 1]):7.3f}")
    ratio = np.median(seen[:, 2] / seen[:, 0], axis=0)
    print(f"  theirs/ours        {ratio[0]:7.2f} {ratio[1]:7.2f}    with {best} threads of torch")


def spent_with(threads: int, call: Callable[[], Any]) -> float:
    """Seconds with so many threads of torch."""
    torch.set_num_threads(threads)
    return spent(call)[0]


def main() -> None:
    """The parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--eclipse", help="src/eclipse_nn/eclipsE_fast.py of ECLipsE")
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--eager", type=int, default=2, help="networks that auto_LiRPA bounds in a turn")
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    if "eclipse" in asked.parts and not asked.eclipse:
        raise SystemExit("the part 'eclipse' runs a file of github.com/YuezhuXu/ECLipsE: give it as --eclipse FILE")
    versions = f"auto_LiRPA {auto_LiRPA.__version__}, torch {torch.__version__}"
    print(f"{platform.machine()}, jax {jax.__version__}; {versions}")
    warnings.simplefilter("ignore")
    if "eclipse" in asked.parts:
        eclipse(asked.eclipse)
    if "bounds" in asked.parts:
        bounds()
    if "time" in asked.parts:
        times(asked.networks, asked.points, asked.eager, asked.turns)


if __name__ == "__main__":
    main()
