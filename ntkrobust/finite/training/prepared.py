"""A training problem as programs take it: networks drawn, laid out on the machine, and what all of them share."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from ntkrobust.checks import MOST_BYTES, check_integer
from ntkrobust.finite.representable import check_representable
from ntkrobust.finite.training.attempts import Program
from ntkrobust.finite.training.flow import GradientFlow
from ntkrobust.finite.training.memory import TrainingArrays, plan_that_fits
from ntkrobust.finite.training.optimizers import Optimizer
from ntkrobust.finite.training.problem import TrainingProblem
from ntkrobust.finite.training.segments import FullBatch, GradientDescent, MiniBatches
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import packed
from ntkrobust.networks.plans import choose_plan, is_large
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.seeds import RawKeys, attack_keys, order_keys, seed_keys

DIVERGED = 1e4
"""A loss that exceeds the larger of its initial value and that of f = 0 by this factor has diverged."""

AUTO_CEILING = 1.2
"""Under ``"auto"`` a loss may rise by this factor at most: along gradient flow it never rises, so more means that λ_max
has grown past the stability limit of the step."""


class PreparedTraining(NamedTuple):
    """What programs need.

    Attributes:
        plan: how seeds are laid out.
        model: the function.
        shared: arrays that every seed sees.
        keys: of the networks (seed,).
        random_keys: by name, keys (seed,) of what is random in training.
        initial: parameters as they were drawn, as programs work on them.
        like: shapes and types of those of one network.
    """

    plan: Plan
    model: Model
    shared: dict[str, Any]
    keys: RawKeys
    random_keys: dict[str, RawKeys]
    initial: Any
    like: Any


def prepare(problem: TrainingProblem, memory_limit: int | None, room: int | None) -> PreparedTraining:
    """Lay out and draw the networks of a problem.

    Raises:
        InputError: they don't fit into memory, or single precision can't hold what they compute.
    """
    net, x, d_in = problem.net, problem.x, problem.x.shape[1]
    plan = _plan(problem, memory_limit, room)
    scales = net.layer_scales(d_in)
    if problem.steps:
        squared = problem.is_auto or bool(problem.schedule.kernel_times)
        check_representable(net, scales, x, squared=squared)
    tolerated = np.float32(AUTO_CEILING if problem.is_auto or problem.is_flow else DIVERGED)
    shared: dict[str, Any] = {"scales": scales, "x": x, "y": problem.y, "tolerated_rise": tolerated}
    keys = seed_keys(problem.key, problem.seeds)
    random_keys = {}
    if problem.batch is not None:
        random_keys["order"] = order_keys(keys, net.shapes(d_in))
    if problem.adversary is not None and problem.regularizer is not None:
        random_keys["attack"] = attack_keys(keys, net.shapes(d_in))
        shared["adversary"] = problem.adversary.numbers(problem.adversary.domain(problem.domain))
    initial, like = net.initialize(d_in, keys), problem.like
    if problem.optimizer.is_elementwise:
        # Deep networks go through training as programs work on them: these take and give three arrays instead of L, and
        # have as many updates to compile. The run's snapshots are views of them, layer by layer.
        initial, like = packed(initial, axis=1), jax.eval_shape(packed, like)
    return PreparedTraining(plan, net.model(plan.recomputed), shared, keys, random_keys, initial, like)


def _plan(problem: TrainingProblem, memory_limit: int | None, room: int | None) -> Plan:
    """How the seeds are laid out; InputError if they don't fit into memory."""
    net, (n, d_in) = problem.net, problem.x.shape
    copies = problem.optimizer.copies(problem.like)
    repeats = _repeats(problem)
    plan = choose_plan(net, d_in, n, copies, repeats)
    if memory_limit is not None:
        memory_limit = check_integer("memory_limit", memory_limit, 1, "in bytes", maximum=MOST_BYTES)
    records = problem.schedule.records if problem.steps else 0
    arrays = TrainingArrays(copies, problem.optimizer.slopes, repeats)
    most = max(len(problem.seeds), 1 if room is None else check_integer("room", room, 1))
    plan = plan_that_fits(net, d_in, n, most, records, plan, memory_limit, arrays)
    # Those that are tried again are fewer: they run in the program that all ran in.
    return plan.with_room_for(most)


def _repeats(problem: TrainingProblem) -> int:
    """As how many samples each counts in the network, at most."""
    return 1 if problem.regularizer is None else problem.regularizer.repeats(problem.net.d_out)


def program_of(problem: TrainingProblem, model: Model) -> Program:
    """The program that does what is asked for and carries no more than that takes.

    Where networks are large, a pass that looks and takes no step costs more than a longer program.
    """
    n, d_in = problem.x.shape
    looks_apart = is_large(problem.net, d_in, _repeats(problem) * n)
    optimizer, regularizer = problem.optimizer, problem.regularizer
    if problem.is_flow:
        return GradientFlow(model, problem.loss)
    if problem.batch is not None:
        return MiniBatches(model, problem.loss, optimizer, problem.batch, regularizer)
    if optimizer == Optimizer("gd") and not problem.weight_decay:
        return GradientDescent(model, problem.loss, regularizer, looks_apart)
    return FullBatch(model, problem.loss, optimizer, regularizer, looks_apart)
