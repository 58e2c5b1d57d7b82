"""Compiled programs that a process keeps."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from typing import Any

KEPT_PROGRAMS = 256
"""Programs kept at most. Each lies in some 70 mappings of memory, and Linux allows a process 65 530: with a thousand
programs it would die in the compiler."""

Program = Callable[..., Any]


class Programs:
    """The programs used last, by what they were compiled from; safe to share between threads.

    Args:
        most: programs kept at most.
    """

    def __init__(self, most: int = KEPT_PROGRAMS) -> None:
        self._most = most
        self._programs: OrderedDict[Hashable, Future[Program]] = OrderedDict()
        self._changing = threading.Lock()

    def find(self, signature: Hashable, compiled: Callable[[], Program]) -> Program:
        """The program of this signature; the first thread that asks compiles it, while others wait only for it."""
        with self._changing:
            is_new = signature not in self._programs
            program = self._programs.setdefault(signature, Future())
            self._programs.move_to_end(signature)
            if len(self._programs) > self._most:
                self._programs.popitem(last=False)
        if is_new:
            try:
                program.set_result(compiled())
            except BaseException as error:
                with self._changing:
                    self._programs.pop(signature, None)
                program.set_exception(error)
        return program.result()

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
