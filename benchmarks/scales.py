"""Measures and attacks of networks multiplied by 10^k, k from −30 to 30: equal after rescaling, or refused.

``python benchmarks/scales.py`` draws k for every architecture, multiplies its networks in one of three ways, and prints
one table, measure or attack by architecture: how often the number was that of the network itself times 10^k to the
measure's degree, how often the call was refused in a sentence, and how often it was neither. It exits 1 if one was.

Ways: through α (what multiplies the outputs); the last layer's weights and biases; the first layer's weights, of
networks that are homogeneous in them. Searches follow signs of gradients, and one that rounding turns leads elsewhere,
so attacks and measures that attack are compared at the power of two nearest to 10^k, which changes no digit.

Two losses have a size of their own. The cross entropy is climbed as it is for outputs of ordinary size, so attacks that
climb it are compared from |k| = ``OWN_LOSS`` on. The divergence behind ``kl_gradient`` is quadratic in small outputs
and linear in large ones: its degree is 2 for k below −``OWN_KL``, 1 for k above it, and there is none between.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from ntkrobust import MLP, ConvNet, InputError, Run, WideResNet, attack, measure, train
from ntkrobust.finite.attacks.catalogue import NAMES
from ntkrobust.finite.measures.catalogue import MEASURES
from ntkrobust.finite.training.control_variate import jacobian_excess

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 16))
X /= np.linalg.norm(X, axis=1, keepdims=True)
CLASSES = RNG.integers(0, 4, 6)
EPSILON = 0.3

ARCHITECTURES: dict[str, Any] = {
    "shallow": MLP(2, 12, 4),
    "one output": MLP(2, 12, 1),
    "deep": MLP(12, 12, 4, initialization="lecun"),
    "tanh": MLP(3, 12, 4, "tanh"),
    "biases": MLP(3, 12, 4, bias_std=0.3),
    "convolutional": ConvNet(3, 3, (4, 4, 1), d_out=4),
    "residual": WideResNet(4, 2, (4, 4, 1), d_out=4),
}

ZERO = (
    "normalized_perturbation_stability", "norm_product_tightness", "jacobian_is_zero", "lazy_ratio",
    "lazy_ratio_per_layer", "kernel_change", "linearisation_error", "train_accuracy", "natural_accuracy",
    "robust_accuracy", "robust_accuracy_l2", "robust_accuracy_by_pgd", "prediction_stability",
    "prediction_stability_l2", "prediction_stability_by_pgd", "stability_given_correct",
    "stability_given_correct_by_pgd", "certified_accuracy", "certified_stability",
)  # fmt: skip
TWO = ("jacobian_frobenius_sq", "train_loss", "test_mse")
OF_ITS_OWN = ("kl_gradient", "kl_gradient_by_pgd", "layer_spectral_norms")
DEGREE = ({name: 1 for name in MEASURES if name not in OF_ITS_OWN} | dict.fromkeys(ZERO, 0) | dict.fromkeys(TWO, 2)) | {
    "jacobian_frobenius_fourth": 4
}
"""Measures of a network times c are theirs times c to this power, where targets are multiplied too."""

SEARCHING = tuple(
    name for name in MEASURES if name.startswith(("robust", "prediction", "stability_given", "local", "kl_gradient"))
)
METHODS_OF = {norm: tuple(name for name, one in NAMES.items() if norm in one.norms) for norm in ("linf", "l2", "l1")}
CLIMB_CROSS_ENTROPY = ("fgsm", "pgd", "apgd-ce")
OWN_LOSS, OWN_KL = 4.0, 6.0
CONTROL = "jacobian_excess"
EQUAL, REFUSED, WRONG = "equal", "refused", "wrong"
OUTCOMES = (EQUAL, REFUSED, WRONG)


@dataclasses.dataclass(frozen=True)
class Multiplied:
    """A network times c = 10^k.

    Attributes:
        k: the power of ten.
        way: ``"alpha"``, ``"last"`` or ``"first"``.
        is_exact: whether c is the power of two nearest to it.
    """

    k: float
    way: str = "alpha"
    is_exact: bool = True

    @property
    def c(self) -> float:
        """By what is multiplied."""
        return 2.0 ** round(self.k * np.log2(10)) if self.is_exact else 10.0**self.k

    def run(self, run: Run) -> Run:
        """The run of networks times c, and of targets times as much."""
        y = {"y_train": np.float32(np.float64(run.y_train) * self.c)}
        if self.way == "alpha":
            drawn_from = run.net.drawn_from.with_alpha_times(1 / self.c)
            return dataclasses.replace(run, net=dataclasses.replace(run.net, initialization=drawn_from), **y)
        index, factor = {"last": -1, "first": 0}[self.way], np.float32(self.c)

        def times(layers: Sequence[Any]) -> tuple[Any, ...]:
            layers = list(layers)
            if layers:
                layers[index] = np.asarray(layers[index]) * factor
            return tuple(layers)

        snapshots = tuple(one._replace(weights=times(one.weights), biases=times(one.biases)) for one in run.snapshots)
        return dataclasses.replace(run, snapshots=snapshots, **y)


def ways_of(net: Any) -> tuple[str, ...]:
    """How networks of this architecture can be multiplied."""
    if net.bias_std is not None:
        return ("last",)
    return ("alpha", "last") if net.phi.negative_slope is None else ("alpha", "last", "first")


def drawn(net: Any, count: int, seed: int) -> Iterator[Multiplied]:
    """So many multiples of a network, every other one a power of two.

    Every tenth is by α, where there is one: another α is another network, for which all is compiled again.
    """
    rng = np.random.default_rng(seed)
    ways = ways_of(net)
    others = ways[1:] or ways
    for index in range(count):
        way = ways[0] if index % 10 == 0 else str(rng.choice(others))
        yield Multiplied(float(rng.uniform(-30, 30)), way, index % 2 == 0)


def targets(net: Any) -> np.ndarray:
    """Targets (n, o) of the test points."""
    return np.where(CLASSES[:, None] > 1, 1.0, -1.0) if net.d_out == 1 else np.eye(net.d_out)[CLASSES]


@functools.cache
def trained(name: str) -> Run:
    """Two networks of an architecture, a few steps from where they started."""
    net = ARCHITECTURES[name]
    return train(net, X, targets(net), seeds=2, steps=8, learning_rate=0.02, record_steps=[8])


def measured(run: Run, names: Sequence[str], c: float) -> dict[str, np.ndarray]:
    """Measures (seed, time, …) by name, of a network times c."""
    found = measure(run, X, list(names), y_test=targets(run.net) * c, epsilon=EPSILON, samples=4)
    return {name: np.float64(found[name]) for name in names}


def names_for(net: Any) -> tuple[str, ...]:
    """The measures that say something about networks of an architecture."""
    return tuple(name for name, one in MEASURES.items() if isinstance(net, MLP) or not one.fully_connected)


def agree(found: np.ndarray, right: np.ndarray, rtol: float = 2e-5, atol: float = 0.0) -> bool:
    """Whether numbers are equal to rounding, and finite; undefined is what both leave undefined, as a share of none."""
    return not np.isinf(found).any() and np.allclose(found, right, rtol=rtol, atol=atol, equal_nan=True)


@functools.cache
def original(name: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Measures of the networks themselves, and under ``<`` and ``>`` gradients of divergences far below and above."""
    run = trained(name)
    found = measured(run, names, 1.0)
    way = ways_of(run.net)[-1]
    for side, k in (("<", -8.0), (">", 8.0)):
        far = Multiplied(k, way)
        for one in (one for one in names if one.startswith("kl_gradient")):
            found[side + one] = measured(far.run(run), names, far.c)[one] / far.c ** (2 if k < 0 else 1)
    return found


def outcomes_of_measures(name: str, times: Multiplied, names: tuple[str, ...] | None = None) -> dict[str, str]:
    """How each measure of one multiple ends; measures with nothing to compare are left out."""
    run = trained(name)
    names = names_for(run.net) if names is None else names
    before = original(name, names)
    # Of networks that were multiplied in their weights, the start is that of others.
    compared = [one for one in names if times.way == "alpha" or not MEASURES[one].needs_initial]
    compared = [one for one in compared if times.is_exact or one not in SEARCHING]
    compared = [one for one in compared if not (one.startswith("kl_gradient") and abs(times.k) < OWN_KL)]
    try:
        found = measured(times.run(run), names, times.c)
    except InputError:
        return dict.fromkeys(compared, REFUSED)
    return {one: EQUAL if _is_equal(one, found[one], before, times) else WRONG for one in compared}


def _is_equal(name: str, found: np.ndarray, before: dict[str, np.ndarray], times: Multiplied) -> bool:
    if name.startswith("kl_gradient"):
        side, degree = ("<", 2) if times.k < 0 else (">", 1)
        right = before[side + name] * times.c**degree
        # Far above, what is left beside the largest falls exponentially: it is nothing on either side.
        return agree(found, right, rtol=1e-4, atol=1e-4 * float(np.abs(right).max()))
    if name == "layer_spectral_norms":
        factors = np.ones(before[name].shape[-1])
        factors[0 if times.way == "first" else -1] = times.c
        return agree(found, before[name] * factors)
    return agree(found, before[name] * times.c ** DEGREE[name])


def outcome_of_control_variate(name: str, times: Multiplied) -> str:
    """How the excess ‖g‖² − E‖g‖² ends, of networks that are multiplied through α."""
    net, y = ARCHITECTURES[name], targets(ARCHITECTURES[name])
    propagators = np.random.default_rng(1).standard_normal((2, 3, *X.shape))

    def excess(net: Any, c: float) -> np.ndarray:
        return np.float64(jacobian_excess(net, X, c * y, X[:3], propagators, seeds=2))

    try:
        found = excess(times.run(trained(name)).net, times.c)
    except InputError:
        return REFUSED
    return EQUAL if agree(found, excess(net, 1.0) * times.c**2, rtol=1e-4) else WRONG


def struck(run: Run, norm: str, methods: Sequence[str], c: float) -> tuple[np.ndarray, np.ndarray]:
    """Which points each method leaves (method, seed, point), and the smallest margins (seed, point) over c."""
    found = attack(run, X, against="predicted", epsilon=EPSILON, norm=norm, methods=list(methods), steps=10, queries=20)
    return np.moveaxis(found.is_robust_by_method.to_numpy(), 1, 0), np.float64(found.margin) / c


@functools.cache
def struck_far(name: str, norm: str, methods: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What attacks leave of networks whose outputs are far above ordinary."""
    run, far = trained(name), Multiplied(8.0, ways_of(trained(name).net)[0])
    return struck(far.run(run), norm, methods, far.c)


def outcomes_of_attacks(
    name: str, norm: str, times: Multiplied, methods: tuple[str, ...] | None = None
) -> dict[str, str]:
    """How each method against one multiple ends, and ``margin``, the worst over all of them."""
    run = trained(name)
    methods = tuple(METHODS_OF[norm] if methods is None else methods)
    if run.net.d_out < 4:
        methods = tuple(one for one in methods if one != "apgd-t")
    before, margins = struck_far(name, norm, methods)
    is_own = abs(times.k) < OWN_LOSS
    rows = [one for one in methods if not (is_own and one in CLIMB_CROSS_ENTROPY)] + ["margin"] * (not is_own)
    try:
        left, margin = struck(times.run(run), norm, methods, times.c)
    except InputError:
        return dict.fromkeys(rows, REFUSED)
    equal = {one: np.array_equal(left[i], before[i]) for i, one in enumerate(methods)}
    equal["margin"] = agree(margin, margins, rtol=1e-4)
    return {one: EQUAL if equal[one] else WRONG for one in rows}


def campaign(architectures: Sequence[str], draws: int, seed: int) -> tuple[dict[str, dict[str, Counter]], list[str]]:
    """Counts of outcomes by row and architecture, and every wrong one in words."""
    table: dict[str, dict[str, Counter]] = {}
    wrong: list[str] = []

    def note(row: str, name: str, times: Multiplied, outcome: str) -> None:
        table.setdefault(row, {}).setdefault(name, Counter())[outcome] += 1
        if outcome == WRONG:
            wrong.append(f"{row} of {name}, {times}")

    for name in architectures:
        net = ARCHITECTURES[name]
        for times in drawn(net, draws, seed):
            for row, outcome in outcomes_of_measures(name, times).items():
                note(row, name, times, outcome)
            if isinstance(net, MLP) and times.way == "alpha":
                note(CONTROL, name, times, outcome_of_control_variate(name, times))
            if times.is_exact:
                for norm in METHODS_OF:
                    for method, outcome in outcomes_of_attacks(name, norm, times).items():
                        note(f"attack in {norm}: {method}", name, times, outcome)
        print(f"{name}: done, {len(wrong)} wrong so far", file=sys.stderr, flush=True)
        jax.clear_caches()
    return table, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40, help="multiples of each architecture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    options = parser.parse_args()
    table, wrong = campaign(options.architectures, options.draws, options.seed)
    print(f"networks times 10^k, k from -30 to 30: {' / '.join(OUTCOMES)}")
    print(" " * 34 + "".join(f"{name:>15}" for name in options.architectures))
    for row, by_name in table.items():
        cells = (
            " / ".join(str(by_name[name][one]) for one in OUTCOMES) if name in by_name else "–"
            for name in options.architectures
        )
        print(f"{row:<34}" + "".join(f"{cell:>15}" for cell in cells))
    total = sum((counts for by_name in table.values() for counts in by_name.values()), Counter())
    print(", ".join(f"{total[one]} {one}" for one in OUTCOMES))
    for sentence in wrong[:40]:
        print("wrong:", sentence)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
