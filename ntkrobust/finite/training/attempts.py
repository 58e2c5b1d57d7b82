"""From record to record: an ensemble's way through training, with pauses to save it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ntkrobust.finite.arrays import finite_networks
from ntkrobust.finite.training.flow import GradientFlow
from ntkrobust.finite.training.optimizers import Optimizer, Start
from ntkrobust.finite.training.schedules import Schedule
from ntkrobust.finite.training.segments import FullBatch, GradientDescent, MiniBatches
from ntkrobust.networks.parameters import Parameters, Stacked
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.seeds import RawKeys

Program = GradientDescent | FullBatch | MiniBatches | GradientFlow


@dataclasses.dataclass(frozen=True)
class TrainingTask:
    """What stays the same from segment to segment and from attempt to attempt.

    Attributes:
        program: takes one network to a step count, a time or a loss.
        optimizer: how parameters move.
        plan: how seeds are laid out.
        shared: pytree that every seed sees.
        schedule: when to record.
        steps: budget of steps per network.
        zero_loss: the loss of f = 0.
        every: steps between pauses; None for none.
    """

    program: Program
    optimizer: Optimizer
    plan: Plan
    shared: dict[str, Any]
    schedule: Schedule
    steps: int
    zero_loss: float
    every: int | None = None

    @property
    def has_memory(self) -> bool:
        """Whether an optimizer's memory is carried along."""
        return isinstance(self.program, FullBatch | MiniBatches)

    @property
    def is_flow(self) -> bool:
        """Whether time is integrated, not counted in steps."""
        return isinstance(self.program, GradientFlow)

    def begin(self, initial: Parameters | Stacked, rate: np.ndarray) -> dict[str, Any]:
        """The course of networks that have taken no step, at rates (seed,): their state, and no records."""
        n_seeds = len(rate)
        state: dict[str, Any] = {
            "parameters": initial,
            "step": np.zeros(n_seeds, np.int32),
            "ceiling": np.full(n_seeds, np.inf, np.float32),
            "loss": np.zeros(n_seeds, np.float32),
        }
        if self.has_memory:
            state |= run_over_seeds(Start(self.optimizer), self.plan, {}, initial, resident=("memory",))
        if self.is_flow:
            state |= {name: np.zeros(n_seeds, np.float32) for name in ("clock", "late")}
            state["size"] = np.float32(np.nan_to_num(rate, nan=1.0))
        return {"state": state, "records": []}

    def outline(self, like: Parameters | Stacked, records: int) -> dict[str, Any]:
        """The structure of a course with so many records, from shapes and types of one network's parameters."""
        state: dict[str, Any] = dict.fromkeys(("step", "ceiling", "loss"), 0) | {"parameters": like}
        if self.has_memory:
            state["memory"] = jax.eval_shape(self.optimizer.start, like)
        if self.is_flow:
            state |= dict.fromkeys(("clock", "late", "size"), 0)
        return {"state": state, "records": [self._record(state)] * records}

    def _record(self, state: dict[str, Any]) -> dict[str, Any]:
        return {name: state[name] for name in ("parameters", "step", "loss", *(["clock"] if self.is_flow else []))}

    def _ends(self, rate: np.ndarray, times: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Of each record, the step and the time (seed,) at which networks are there at the latest."""
        records = self.schedule.records
        budget, never = (np.full(len(rate), end) for end in (self.steps, np.inf))
        if times.size and self.is_flow:
            return [budget] * records, list(times.T)
        if times.size:
            # The step nearest to each time; if the budget is too small, the run stops short.
            return [np.rint(time / rate) for time in times.T], [never] * records
        stops = [np.full(len(rate), step) for step in self.schedule.steps] or [budget] * records
        return stops, [never] * records

    def follow(
        self,
        course: dict[str, Any],
        initial: Parameters | Stacked,
        rate: np.ndarray,
        times: np.ndarray,
        keys: dict[str, RawKeys],
        save: Callable[[], None],
    ) -> dict[str, Any]:
        """Take a course to its last record.

        Args:
            course: see :meth:`begin`; it is carried on in place.
            initial: parameters as they were drawn.
            rate: η (seed,); NaN for networks that have none.
            times: (seed, record), empty if not asked for by time.
            keys: by name, keys (seed,) of what is random in training: orders of minibatches, attacks.
            save: called at pauses and at the end.

        Returns:
            rate, step, loss, clock (gradient flow), snapshots and diverged, as arrays over seeds (and records).
        """
        # Networks without a rate take no step.
        hopeless = np.isnan(rate) & (self.optimizer.rates is None)
        if times.size:
            hopeless |= np.isnan(times).any(axis=1)
            times = np.where(hopeless[:, None], 0.0, times)
        rate = np.where(hopeless, 1.0, rate)
        stops, untils = self._ends(rate, times)
        levels = [level * self.zero_loss for level in self.schedule.losses] or [-np.inf] * len(stops)

        fixed: dict[str, Any] = {} if self.is_flow else {"rate": np.float32(rate)}
        if self.is_flow:
            fixed["origin"] = initial
        fixed |= keys
        saved = course["state"]["step"].astype(np.int64)
        for index in range(len(course["records"]), len(stops)):
            stop = np.where(hopeless, 0, np.minimum(stops[index], self.steps))
            while True:
                pause = stop if self.every is None else np.minimum(stop, saved + self.every)
                course["state"] = state = self._segment(course["state"], fixed, pause, untils[index], levels[index])
                if self.every is not None and np.any(state["step"] >= saved + self.every):
                    save()
                    saved = state["step"].astype(np.int64)
                if not np.any((state["step"] >= pause) & (pause < stop)):
                    break
            course["records"].append(self._record(state))
        if self.every is not None:
            save()

        records = course["records"]
        loss = np.stack([record["loss"] for record in records], axis=1)
        sound = finite_networks([[loss], *(jax.tree.leaves(record["parameters"]) for record in records)])
        found = {
            "rate": np.where(hopeless, np.nan, rate),
            "step": np.stack([record["step"] for record in records], axis=1),
            "loss": loss,
            "diverged": ~(loss[:, -1] <= course["state"]["ceiling"]) | ~sound | hopeless,
            "snapshots": [record["parameters"] for record in records],
        }
        if self.is_flow:
            clock = np.stack([record["clock"] for record in records], axis=1)
            # What was asked for, where single precision has reached it.
            found["clock"] = np.float64(clock)
            if times.size:
                found["clock"] = np.where(clock == np.float32(times), times, found["clock"])
        return found

    def _segment(
        self,
        state: dict[str, Any],
        fixed: dict[str, Any],
        stop: np.ndarray,
        until: np.ndarray,
        level: float,
    ) -> dict[str, Any]:
        one = {name: value for name, value in state.items() if name != "loss"} | fixed
        one["stop"] = stop.astype(np.int32)
        if self.is_flow:
            one["until"] = np.float32(until)
        shared = {**self.shared, "level": np.float32(level), "zero_loss": np.float32(self.zero_loss)}
        resident = ("memory",) if self.has_memory else ()
        found: dict[str, Any] = run_over_seeds(
            self.program, self.plan, shared, one, ("parameters", *resident), resident
        )
        return found
