"""The two parts of an adversary's objective, of networks as they are recorded, on any points."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from ntkrobust.adversary import Adversary, check_adversary
from ntkrobust.checks import takes
from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import check_data
from ntkrobust.finite.training.intervals import check_objective
from ntkrobust.finite.training.losses import TrainingLoss, check_loss
from ntkrobust.finite.training.objectives import Objective, Regularizer
from ntkrobust.finite.training.run import Run, a_run
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.executor import run_over_times
from ntkrobust.runtime.seeds import attack_keys, seed_keys
from ntkrobust.values import equal_tuples, hash_of_tuple

EVALUATION = 2**32 - 1
"""Stands in for the step where attacks are drawn for evaluation: training does not get there."""


class ObjectiveParts(NamedTuple):
    """Means over samples, per seed and record.

    Attributes:
        natural: (seed, time) L_nat/n.
        regularization: (seed, time) what λ multiplies, over n: (L(f(x'), y) − L_nat)/n, the mean divergence, the mean
            of ‖J(x)‖_F², or (L_int − L_nat)/n.
    """

    natural: np.ndarray
    regularization: np.ndarray

    def __eq__(self, other: object) -> bool:
        return equal_tuples(self, other)

    def __hash__(self) -> int:
        return hash_of_tuple(self)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Both sums of one network, as a program; without a regularizer the second is zero."""

    objective: Objective

    def __call__(self, shared: dict, one: dict) -> tuple[jax.Array, jax.Array]:
        parameters, x, y = one["parameters"], shared["x"], shared["y"]
        if self.objective.regularizer is None:
            natural = TrainingLoss(self.objective.model, self.objective.loss)(shared, parameters)
            return natural, jax.numpy.zeros_like(natural)
        return self.objective.parts(shared, parameters, x, y, jax.random.fold_in(one["attack"], EVALUATION))


@takes(run=a_run)
def objective_parts(run: Run, x: np.ndarray, y: np.ndarray, *, adversary: Adversary | None = None) -> ObjectiveParts:
    """Natural risk and regularization of every network of a run at every record.

    All records meet the same random starts, which differ from those of training. The attack is that of training, so the
    regularization is a lower value of what the strongest attack would reach.

    Args:
        run: what :func:`ntkrobust.train` returned.
        x: (n, d) inputs.
        y: (n,) labels, which are those of training, or (n, o) targets.
        adversary: whose objective; by default that of the run. Its λ does not enter.

    Raises:
        InputError: neither the run nor the call has an adversary, or the data do not fit network, loss or bounds.
    """
    adversary = check_adversary(adversary) or run.adversary
    if adversary is None:
        raise InputError("the run has no adversary: give objective_parts(..., adversary=ntr.Adversary(...))")
    check_objective(adversary, run.net)
    inputs, targets = check_data(run.net, x, y, "held_out", run.y_train, run.classes, run.d_in)
    check_loss(run.objective, targets, "y_held_out")
    adversary.check_inputs("x_held_out", inputs, run.domain)
    natural, regularization = _sums(run, inputs, targets, adversary, Regularizer.evaluating(adversary))
    return ObjectiveParts(natural / len(inputs), regularization / len(inputs))


def held_out_loss(run: Run, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the run minimized (seed, time), on other points: a sum over x (n, d), y (n, o)."""
    natural, regularization = _sums(run, x, y, run.adversary, Regularizer.of(run.adversary))
    return natural if run.adversary is None else natural + np.float32(run.adversary.strength) * regularization


def _sums(
    run: Run, x: np.ndarray, y: np.ndarray, adversary: Adversary | None, regularizer: Regularizer | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both parts (seed, time), sums over samples."""
    repeats = 1 if regularizer is None else regularizer.repeats(run.net.d_out)
    plan = choose_plan(run.net, run.d_in, len(x), 0, repeats)
    shared: dict[str, Any] = {"scales": run.net.layer_scales(run.d_in), "x": x, "y": y}
    keys: dict[str, Any] = {}
    if adversary is not None and regularizer is not None:
        shared["adversary"] = adversary.numbers(adversary.domain(run.domain))
        keys["attack"] = attack_keys(seed_keys(run.key, run.seeds), run.net.shapes(run.d_in))
    program = _Parts(Objective(run.net.model(), run.objective, regularizer))
    each = run_over_times(program, plan, shared, [{"parameters": one, **keys} for one in run.snapshots])
    natural, regularization = (np.stack(part, axis=1) for part in zip(*each, strict=True))
    return natural, regularization
