"""Attacks against those of foolbox, on the same weights: agreement, strength, masked gradients, time.

    python benchmarks/attacks.py                                  # a few minutes; needs foolbox and torch
    python benchmarks/attacks.py > benchmarks/results/attacks_cpu.txt

Foolbox (3.3) attacks one PyTorch network at a time, eagerly. The comparisons:

- *Agreement*: PGD and FGSM in float64 from one start with one step length, ours (the functions that programs are made
  of, under ``jax.enable_x64``) against foolbox's. A coordinate agrees if it differs by less than 1e-9.
- *Strength*: share of test points that keep their class. Foolbox's PGD takes 40 gradients per point from a random
  start, with its own step length and with ours, 2.5 ε/40; APGD-CE and APGD-DLR together take 40 too, 20 each, and the
  worse of the two counts. Foolbox judges the last iterate, we judge all of them.
- *Masked gradients*: the same on a tanh network whose weights were multiplied by 10⁴ after training.
- *Time*: PGD, 40 steps, 512 points, float32. Ours is one call on an ensemble, without its compilation; foolbox's is a
  loop over networks, with as many threads as are fastest. Both per network, in turns.
"""

import argparse
import functools
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkrobust as ntr
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.attacks.fgsm import fgsm
from ntkrobust.finite.attacks.found import look
from ntkrobust.finite.attacks.objectives import cross_entropy
from ntkrobust.finite.attacks.pgd import STEP, pgd
from ntkrobust.finite.attacks.programs import AttackProgram
from ntkrobust.networks.parameters import Parameters, outputs_in_columns
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.seeds import seed_keys

try:
    import foolbox
    import torch
except ImportError:
    raise SystemExit("this benchmark compares with foolbox: pip install foolbox torch") from None

STEPS = 40
TURNS = 25
PARTS = ("agreement", "strength", "masked", "time")
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


def torch_network(run: ntr.Run, seed: int, dtype: Any) -> "foolbox.PyTorchModel":
    """The same function with the same weights."""
    gains = np.float64(run.net.layer_scales(run.d_in).weight_gain)
    weights = [
        torch.tensor(gain * np.float64(one[seed]), dtype=dtype)
        for gain, one in zip(gains, run.parameters.weights, strict=True)
    ]
    phi = ACTIVATIONS[str(run.net.activation)]

    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for weight in weights[:-1]:
                x = phi(x @ weight.T)
            return x @ weights[-1].T

    return foolbox.PyTorchModel(Network().eval(), bounds=(0, 1), device="cpu")


def from_start(attack_class: type, start: torch.Tensor, **arguments: Any) -> Any:
    """A foolbox attack that starts where we say."""

    class Started(attack_class):  # type: ignore[misc]
        def get_random_start(self, x0: Any, epsilon: float) -> Any:
            return type(x0)(start)

    return Started(random_start=True, **arguments)


def agreement(run: ntr.Run, x: np.ndarray, label: np.ndarray) -> None:
    print("\nAgreement with foolbox in float64, from one start (share of coordinates; largest difference)")
    scales = run.net.layer_scales(run.d_in)
    rng = np.random.default_rng(0)
    theirs = torch_network(run, 0, torch.float64)
    x = x.astype(np.float64)
    attacks = {
        "linf": (0.1, foolbox.attacks.LinfProjectedGradientDescentAttack, foolbox.attacks.LinfFastGradientAttack),
        "l2": (0.6, foolbox.attacks.L2ProjectedGradientDescentAttack, foolbox.attacks.L2FastGradientAttack),
    }
    for norm, (epsilon, iterated, single) in attacks.items():
        start = np.clip(x + epsilon / np.sqrt(x.shape[1]) * rng.uniform(-1, 1, x.shape), 0, 1)
        with jax.enable_x64(True):
            weights = tuple(jnp.asarray(one[0], jnp.float64) for one in run.parameters.weights)
            ball = Ball.around(jnp.asarray(x), jnp.float64(epsilon), jnp.float64(0), jnp.float64(1))

            def see(points: jax.Array, weights: tuple = weights) -> Any:
                f = lambda x: outputs_in_columns(run.net.phi, scales, Parameters(weights, ()), x)  # noqa: E731
                return look(f, lambda outputs: cross_entropy(outputs, jnp.asarray(label)), points)

            last = lambda _, seen: seen.x  # noqa: E731
            ours = {
                "PGD": pgd(norm, see, ball, jnp.asarray(start.T), STEPS, last, ball.centre),
                "FGSM": fgsm(norm, see, ball, last, ball.centre),
            }
            ours = {name: np.asarray(found).T for name, found in ours.items()}
        step = from_start(iterated, torch.tensor(start), abs_stepsize=STEP * epsilon / STEPS, steps=STEPS)
        inputs, labels = torch.tensor(x), torch.tensor(label)
        for name, attack in (("PGD", step), ("FGSM", single())):
            found = attack.run(theirs, inputs, labels, epsilon=epsilon).numpy()
            difference = np.abs(found - ours[name])
            same = np.mean(difference < 1e-9)
            print(f"  {name:4s} {norm:4s} ε = {epsilon:g}: {same:8.4%}; {difference.max():.1e}")
            assert same > 0.999


def kept_by_foolbox(
    run: ntr.Run, x: np.ndarray, label: np.ndarray, epsilon: float, norm: str, **arguments: float
) -> float:
    """Share of points that keep their class under foolbox's PGD, in per cent, mean over seeds."""
    torch.manual_seed(0)
    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    attack, inputs = kind(steps=STEPS, **arguments), torch.tensor(x, dtype=torch.float32)
    networks = [torch_network(run, seed, torch.float32) for seed in range(len(run.seeds))]
    lost = [attack(network, inputs, torch.tensor(label), epsilons=epsilon)[2] for network in networks]
    return 100 * (1 - np.mean([float(one.float().mean()) for one in lost]))


def strength(runs: dict[str, ntr.Run], x: np.ndarray, y: np.ndarray, label: np.ndarray) -> None:
    print(f"\nRobust accuracy in per cent, {len(x)} test points, {STEPS} gradients per point (means over seeds)")
    print("                                                                foolbox PGD          ours")
    print("  network                                  norm  ε     natural  own step   same step   PGD   APGD-CE, -DLR")
    for name, run in runs.items():
        for norm, epsilon in (("linf", 0.05), ("linf", 0.1), ("l2", 0.4)):
            given: dict[str, Any] = {"epsilon": epsilon, "norm": norm, "bounds": (0, 1), "queries": 1}
            halves = ntr.attack(run, x, y, methods=("apgd-ce", "apgd-dlr"), steps=STEPS // 2, **given)
            plain = ntr.attack(run, x, y, methods="pgd", steps=STEPS, **given)
            theirs = kept_by_foolbox(run, x, label, epsilon, norm)
            same = kept_by_foolbox(run, x, label, epsilon, norm, rel_stepsize=STEP / STEPS)
            single, ours = (100 * float(one.robust_accuracy.mean()) for one in (plain, halves))
            print(
                f"  {name:40s} {norm:5s} {epsilon:4.2f}   {100 * float(halves.natural_accuracy.mean()):5.1f}"
                f"   {theirs:7.1f}   {same:9.1f}  {single:5.1f}   {ours:13.1f}",
                flush=True,
            )
            assert ours <= min(theirs, same) + 1
            assert (halves.outside == 0).all()


def masked(run: ntr.Run, x: np.ndarray, y: np.ndarray, label: np.ndarray) -> None:
    print("\nMasked gradients: a tanh network as trained, and with its weights times 10⁴ (linf, ε = 0.2; per cent)")
    print("  weights   natural  foolbox PGD   our PGD   Square   random   flagged   zero gradient")
    for factor in (1.0, 1e4):
        weights = tuple(np.float32(factor * one) for one in run.parameters.weights)
        scaled = ntr.Run(**{**run.__dict__, "snapshots": (Parameters(weights, ()),), "step": run.step[:, -1:],
                            "loss": run.loss[:, -1:]})  # fmt: skip
        found = ntr.attack(
            scaled, x, y, epsilon=0.2, methods=("pgd", "square", "random"), steps=STEPS, queries=1000, bounds=(0, 1),
            image_shape=(8, 8),
        )  # fmt: skip
        theirs = kept_by_foolbox(scaled, x, label, 0.2, "linf")
        kept = [100 * float(found.is_robust_by_method.sel(attack=one).mean()) for one in ("pgd", "square", "random")]
        print(
            f"  × {factor:<7g} {100 * float(found.natural_accuracy.mean()):5.1f}   {theirs:10.1f}   {kept[0]:7.1f}"
            f"  {kept[1]:7.1f}  {kept[2]:7.1f}   {int((found.masks_gradients == 1).sum())} of {len(run.seeds)}"
            f"   {100 * float(found.zero_gradient.sel(loss='margin').mean()):10.1f}"
        )


def seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def times(x: np.ndarray, y: np.ndarray, cases: list[tuple[int, int, str, float]], seeds: int, eager: int) -> None:
    points, label = x[:512].astype(np.float32), np.argmax(y[:512], axis=1).astype(np.int32)
    print(
        f"\nTime: PGD, {STEPS} steps, {len(points)} points; ms per network, ours for {seeds} networks at once; medians "
        f"of {TURNS} turns"
    )
    print("  depth  width  norm    ours   compiled in   foolbox (threads)   ratio (middle half of the turns)")
    for depth, width, norm, epsilon in cases:
        run = ntr.train(ntr.MLP(depth, width, 10), x, y, seeds=seeds, steps=0)
        plan = choose_plan(run.net, run.d_in, len(points), inputs_move=True)
        shared = {
            "scales": run.net.layer_scales(run.d_in), "x": points, "epsilon": np.float32(epsilon),
            "lower": np.float32(0), "upper": np.float32(1),
            "counts": ntr.attacks.PGD(STEPS).counts(),
        }  # fmt: skip
        per_seed = {
            "parameters": run.parameters, "key": seed_keys(run.key, run.seeds), "label": np.tile(label, (seeds, 1))
        }  # fmt: skip
        program = AttackProgram(run.net.model(), ntr.attacks.PGD(norm=norm).static())
        ours = functools.partial(run_over_seeds, program, plan, shared, per_seed)
        networks = [torch_network(run, seed, torch.float32) for seed in range(eager)]
        attack = (foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD)(steps=STEPS, random_start=False)
        theirs = functools.partial(
            by_foolbox, attack, networks, torch.tensor(points), torch.tensor(label).long(), epsilon
        )

        compiling = seconds(ours) - min(seconds(ours) for _ in range(3))
        by_threads = {}
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            theirs()
            by_threads[threads] = min(seconds(theirs) for _ in range(3))
        threads = min(by_threads, key=by_threads.__getitem__)
        torch.set_num_threads(threads)
        # In turns: the speed of a shared machine changes from one second to the next.
        turns = np.array([(seconds(ours) / seeds, seconds(theirs) / eager) for _ in range(TURNS)])
        one, other = 1e3 * np.median(turns, axis=0)
        low, middle, high = np.percentile(turns[:, 1] / turns[:, 0], (25, 50, 75))
        print(
            f"  {depth:5d}  {width:5d}  {norm:4s}  {one:6.2f}   {compiling:9.1f} s   {other:8.1f} ({threads})   "
            f"{middle:11.1f} ({low:.1f} to {high:.1f})",
            flush=True,
        )


def by_foolbox(attack: Any, networks: list[Any], inputs: torch.Tensor, labels: torch.Tensor, epsilon: float) -> None:
    for network in networks:
        attack(network, inputs, labels, epsilons=epsilon)


def main(parts: list[str], seeds: int, eager: int) -> None:
    print(f"{platform.machine()}, jax {jax.__version__} on {jax.devices()[0].device_kind}")
    print(f"foolbox {foolbox.__version__}, torch {torch.__version__}")
    data = ntr.data.load("digits-classes:pixel")
    x, y = data.x_train, data.y_train
    label = np.argmax(data.y_test, axis=1)
    adam: dict[str, Any] = {"seeds": 4, "steps": 300, "optimizer": "adam", "learning_rate": 3e-3}
    nets: dict[str, tuple[ntr.MLP, str]] = {
        "relu, depth 2, width 64, cross entropy": (ntr.MLP(2, 64, 10), "cross_entropy"),
        "relu, depth 4, width 32, squared loss": (ntr.MLP(4, 32, 10), "squared"),
        "tanh, depth 3, width 48, cross entropy": (ntr.MLP(3, 48, 10, "tanh", "lecun"), "cross_entropy"),
    }
    runs = {name: ntr.train(net, x, y, loss=loss, **adam) for name, (net, loss) in nets.items() if parts != ["time"]}
    if "agreement" in parts:
        agreement(runs["relu, depth 2, width 64, cross entropy"], data.x_test, label)
    if "strength" in parts:
        strength(runs, data.x_test, data.y_test, label)
    if "masked" in parts:
        masked(runs["tanh, depth 3, width 48, cross entropy"], data.x_test, data.y_test, label)
    if "time" in parts:
        cases = [(2, 16, "linf", 0.1), (3, 16, "linf", 0.1), (2, 16, "l2", 0.4), (3, 64, "linf", 0.1)]
        times(x, y, cases, seeds, eager)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seeds", type=int, default=64, help="networks that are attacked at once")
    parser.add_argument("--eager", type=int, default=3, help="networks that foolbox attacks, one after the other")
    chosen = parser.parse_args()
    main(chosen.parts, chosen.seeds, chosen.eager)
