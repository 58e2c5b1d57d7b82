"""Compiled programs that a process keeps."""

from __future__ import annotations

import abc
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from typing import Any

from jax.stages import Compiled

from ntkrobust.runtime.machine import mappings

KEPT_EXECUTABLES = 384
"""Executables kept at most; a program has one on each stream that it has run on."""

KEPT_MAPPINGS = 0.5
"""Share of the mappings of memory that a process may have beyond which only half of the executables are kept. One of an
attack on convolutional networks lies in 260, and Linux allows 65 530: with more the process dies in the compiler."""


_COMPILING = threading.local()


def seconds_compiling() -> float:
    """Seconds that this thread has compiled programs so far, or waited for others to."""
    seconds: float = getattr(_COMPILING, "seconds", 0.0)
    return seconds


class Copied(abc.ABC):
    """A program that has an executable in each of several places."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many it has."""

    @abc.abstractmethod
    def let_go(self) -> None:
        """Keep only what can't be had again in a moment."""


Program = Compiled | Copied


class Programs:
    """The programs used last, by what they were compiled from; safe to share between threads.

    Args:
        most: executables kept at most, unless a single program has more.
    """

    def __init__(self, most: int = KEPT_EXECUTABLES) -> None:
        self._most = most
        self._programs: OrderedDict[Hashable, Future[Program]] = OrderedDict()
        self._changing = threading.Lock()

    def find(self, signature: Hashable, compiled: Callable[[], Program]) -> Program:
        """The program of this signature; the first thread that asks compiles it, while others wait only for it."""
        began = time.monotonic()
        try:
            return self._found(signature, compiled)
        finally:
            _COMPILING.seconds = seconds_compiling() + time.monotonic() - began

    def _found(self, signature: Hashable, compiled: Callable[[], Program]) -> Program:
        with self._changing:
            is_new = signature not in self._programs
            program = self._programs.setdefault(signature, Future())
            self._programs.move_to_end(signature)
            if is_new:
                self._let_go()
        if is_new:
            try:
                program.set_result(compiled())
            except BaseException as error:
                with self._changing:
                    self._programs.pop(signature, None)
                program.set_exception(error)
        return program.result()

    def _let_go(self) -> None:
        """Of what was not used for longest: first copies on other streams, then whole programs."""
        most = self._may_stay()
        old = list(self._programs.items())[:-1]
        for _, found in old:
            if self._executables() <= most:
                return
            program = _done(found)
            if isinstance(program, Copied):
                program.let_go()
        for signature, _ in old:
            if self._executables() <= most:
                return
            del self._programs[signature]

    def _may_stay(self) -> int:
        """How many executables."""
        held, allowed = mappings()
        return min(self._most, self._executables() // 2) if held > KEPT_MAPPINGS * allowed else self._most

    def _executables(self) -> int:
        programs = map(_done, self._programs.values())
        return sum(len(program) if isinstance(program, Copied) else 1 for program in programs)

    def clear(self) -> None:
        """Keep none."""
        with self._changing:
            self._programs.clear()

    def items(self) -> Iterator[tuple[Any, Program]]:
        """Signatures and programs, the one used last at the end."""
        with self._changing:
            now = list(self._programs.items())
        return ((signature, program.result()) for signature, program in now)

    def __iter__(self) -> Iterator[Any]:
        with self._changing:
            return iter(list(self._programs))

    def __len__(self) -> int:
        return len(self._programs)


def _done(found: Future[Program]) -> Program | None:
    """The program, if it has been compiled."""
    return found.result() if found.done() and not found.exception() else None
