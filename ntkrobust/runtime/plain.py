"""Functions of one seed over many seeds by JAX's public API alone: compiled with ``jax.jit``, groups in a loop."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ntkrobust.runtime.compiling import CompiledFor, Names, find_program, split
from ntkrobust.runtime.devices import over_processes
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.programs import Program

_RUNNING = threading.Lock()
"""One call runs at a time: it has all cores."""

Task = tuple[int, slice]
"""Which of the times, and which of the seeds."""

Run = Callable[[Task, Callable[..., Any]], None]
"""Does a task by a program."""


class PlainExecutor:
    """One piece of the seeds after the other, each in one program that has all cores.

    A program is ``jax.lax.map`` over groups of seeds, with ``jax.vmap`` inside a group, except that how many groups
    there are is known at run time only, and that what is donated is worked on in place.
    """

    def streams(self, plan_has: int) -> int:
        """Programs side by side, of as many as the plan has."""
        return 1

    def on_streams(self, compiled_for: CompiledFor) -> Program:
        """A program that several streams run."""
        raise NotImplementedError("without streams there is none")

    def work_through(self, run: Run, tasks: list[Task], program: Program, streams: int) -> None:
        """Do all tasks."""
        assert callable(program)
        for task in tasks:
            run(task, program)

    def over_times(
        self,
        function: Callable[[Any, Any], Any],
        plan: Plan,
        shared: Any,
        at_times: Sequence[Any],
        donated: Names = (),
        resident: Names = (),
    ) -> list[Any]:
        """See :class:`~ntkrobust.runtime.executor.Executor`."""
        run = functools.partial(self._here, function, plan, shared, donated, resident)
        found: list[Any] = over_processes(run, list(at_times))
        return found

    def _here(
        self,
        function: Callable[[Any, Any], Any],
        plan: Plan,
        shared: Any,
        donated: Names,
        resident: Names,
        at_times: list[Any],
    ) -> list[Any]:
        """The seeds of this process."""
        n_seeds = jax.tree.leaves(at_times)[0].shape[0]
        pieces = plan.pieces(n_seeds, len(at_times))
        parts, streams = list(pieces), self.streams(pieces.streams)
        layout = (plan.devices, plan.points if plan.shares_points(n_seeds) else 0, streams)
        first = _padded(at_times[0], parts[0], pieces.capacity)
        program = find_program(function, pieces.group, layout, shared, first, donated, self.on_streams)
        given_up = tuple(name for name in donated if name in resident)
        on_device = plan.keeps_on_device(n_seeds)
        wholes = [_Whole(n_seeds, resident, split(one, given_up)[1], on_device=on_device) for one in at_times]

        def run(task: Task, program: Callable[..., Any]) -> None:
            time, part = task
            used = part.stop - part.start
            # No name for the piece: while the program runs it has a copy of what was put together for it.
            results = program(shared, *split(_padded(at_times[time], part, pieces.capacity), donated), np.int32(used))
            wholes[time].put(part, results)

        with _RUNNING:
            self.work_through(run, list(itertools.product(range(len(at_times)), parts)), program, streams)
        return [whole.results for whole in wholes]


class _Whole:
    """Results of all seeds; what a piece gives goes to its place at once, so that large networks aren't held twice."""

    def __init__(self, n_seeds: int, resident: Names, overwritten: dict[str, Any], *, on_device: bool) -> None:
        self.results: Any = None
        self._n_seeds = n_seeds
        self._resident = resident
        self._overwritten = overwritten
        self._on_device = on_device
        self._making = threading.Lock()

    def put(self, part: slice, results: Any) -> None:
        if part == slice(0, self._n_seeds):
            stay = {name: results[name] for name in self._resident} if self._on_device else {}
            moved = {name: value for name, value in results.items() if name not in stay} if stay else results
            moved = jax.tree.map(lambda leaf: np.asarray(leaf)[part], moved)
            self.results = {**moved, **stay} if stay else moved
            return
        with self._making:
            if self.results is None:
                self.results = self._room(results)
        for all_of, leaf in zip(jax.tree.leaves(self.results), jax.tree.leaves(results), strict=True):
            all_of[part] = np.asarray(leaf)[: part.stop - part.start]

    def _room(self, results: Any) -> Any:
        room = jax.tree.map(lambda leaf: np.empty((self._n_seeds, *leaf.shape[1:]), leaf.dtype), results)
        return {**room, **self._overwritten} if self._overwritten else room


def _padded(per_seed: Any, part: slice, capacity: int) -> Any:
    """The seeds of a part; the last stands in for those that are missing."""
    if part.stop - part.start == capacity:
        return jax.tree.map(lambda leaf: leaf[part], per_seed)
    index = np.minimum(np.arange(part.start, part.start + capacity), part.stop - 1)
    return jax.tree.map(lambda leaf: leaf[index], per_seed)
