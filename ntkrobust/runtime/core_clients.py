"""Programs side by side on CPU cores, each on a client of XLA of its own with one thread, by threads that are kept."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any

import jax
import numpy as np
from jax.stages import Compiled

from ntkrobust.runtime.accelerated import CORE_CLIENTS, carried_to, compiled_or_read, side_by_side, written_out
from ntkrobust.runtime.compiling import CompiledFor, is_double
from ntkrobust.runtime.plain import PlainExecutor, Run, Task
from ntkrobust.runtime.programs import Copied, Program


def device(stream: int) -> jax.Device:
    """The only device of a stream's client."""
    clients = CORE_CLIENTS.found()
    assert clients is not None, "streams are planned only where cores have clients"
    return clients.device(stream)


class StreamProgram(Copied):
    """A program on streams: compiled for the first, and carried over to each other that needs it.

    Args:
        compiled_for: compiles the program for a device.
    """

    def __init__(self, compiled_for: CompiledFor) -> None:
        first, may_be_carried = compiled_or_read(lambda: compiled_for(device(0)))
        self._on: dict[int, Compiled] = {0: first}
        self._compiled_for = compiled_for
        self._portable = written_out(first) if may_be_carried else None

    def __len__(self) -> int:
        return len(self._on)

    def make_ready(self, streams: int) -> None:
        """Compile it for so many streams if it can't be carried over, under the settings of this thread."""
        if self._portable is None:
            for stream in range(streams):
                if stream not in self._on:
                    self._on[stream] = self._compiled_for(device(stream))

    def on(self, stream: int) -> Callable[..., Any]:
        """The program of a stream that is ready, for arrays on the host or on any other client."""
        program = self._on.get(stream)
        if program is None:
            program = self._on[stream] = carried_to(device(stream), self._portable)
        return lambda *arguments: program(*jax.tree.map(np.asarray, arguments))

    def let_go(self) -> None:
        """Keep only what can't be had again in a moment."""
        if self._portable is not None:
            self._on = {0: self._on[0]}


class CoreExecutor(PlainExecutor):
    """A core for each program, which has its share of the seeds, where the plan wants several side by side."""

    def streams(self, plan_has: int) -> int:
        """Programs side by side, of as many as the plan has."""
        return plan_has

    def on_streams(self, compiled_for: CompiledFor) -> Program:
        """A program that several streams run."""
        return StreamProgram(compiled_for)

    def work_through(self, run: Run, tasks: list[Task], program: Program, streams: int) -> None:
        """Do all tasks."""
        if isinstance(program, StreamProgram):
            over_streams(run, tasks, program, streams)
        else:
            super().work_through(run, tasks, program, streams)


def over_streams(run: Run, tasks: list[Task], program: StreamProgram, streams: int) -> None:
    """Each task on the next stream that is free."""
    streams = min(streams, len(tasks))
    program.make_ready(streams)
    waiting: SimpleQueue[Any] = SimpleQueue()
    for task in (*tasks, *[None] * streams):  # one end for each stream
        waiting.put(task)
    failed = threading.Event()
    # Threads don't inherit it.
    double = is_double()

    def work(stream: int) -> None:
        try:
            with jax.enable_x64(double):
                for task in iter(waiting.get, None):
                    if not failed.is_set():  # nothing more begins
                        run(task, program.on(stream))
        except BaseException:
            failed.set()
            raise

    others: list[Future[None]] = []
    try:
        for stream in range(1, streams):
            others.append(_threads().submit(work, stream))
        work(0)
    except BaseException:
        failed.set()
        raise
    finally:
        wait(others)
    for other in others:
        other.result()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads of all streams but the first, which the caller's is for. Kept: calls of a few milliseconds are many."""
    return ThreadPoolExecutor(side_by_side())


if hasattr(os, "register_at_fork"):  # a process that is forked has the pool, but not its threads
    os.register_at_fork(after_in_child=_threads.cache_clear)
