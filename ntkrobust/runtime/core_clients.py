"""Programs side by side on CPU cores, each on a client of XLA of its own with one thread.

Programs of one client share its threads. What comes next in a loop may then run on another thread, far from the cache
that holds its arrays, and a program that holds threads while it waits for others could wait forever. A client with a
single thread, which JAX makes on a machine with one core, knows neither. Here it computes on the thread that asks, too.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.stages import Compiled

from ntkrobust.runtime.machine import cores

_POOL_SIZE = "PJRT_NPROC"
"""Environment variable that XLA reads the number of threads of a new client from."""


def side_by_side() -> int:
    """Programs that may run at once on the cores of this machine: one for each."""
    return cores() if jax.default_backend() == "cpu" else 1


_DEVICES: list[jax.Device] = []
_MAKING = threading.Lock()


def device(stream: int) -> jax.Device:
    """The only device of a stream's client."""
    with _MAKING:
        if stream >= len(_DEVICES):
            # All at once: the environment, which other threads read too, is changed for a moment only.
            _DEVICES.extend(_new_devices(max(stream + 1, side_by_side()) - len(_DEVICES)))
        return _DEVICES[stream]


def _new_devices(number: int) -> list[jax.Device]:
    # Imported here, as it is no public part of JAX: where there are accelerators nothing depends on it.
    from jaxlib import xla_client

    before = os.environ.get(_POOL_SIZE)
    os.environ[_POOL_SIZE] = "1"
    try:
        # What runs on one is computed by the thread that asks: another would have to be woken up first.
        clients: list[Any] = [xla_client.make_cpu_client(num_devices=1, asynchronous=False) for _ in range(number)]
    finally:
        del os.environ[_POOL_SIZE]
        if before is not None:
            os.environ[_POOL_SIZE] = before
    return [client.devices()[0] for client in clients]


class _FromCache(threading.local):
    """Programs that this thread has read from JAX's persistent cache instead of compiling them."""

    count = 0

    def __call__(self, event: str, **_: object) -> None:
        self.count += event == "/jax/compilation_cache/cache_hits"


_from_cache = _FromCache()
jax.monitoring.register_event_listener(_from_cache)


class StreamProgram:
    """A program on streams: compiled for the first, and carried over to each other that needs it.

    Args:
        compiled_for: compiles the program for a device.
    """

    def __init__(self, compiled_for: Callable[[jax.Device], Compiled]) -> None:
        before = _from_cache.count
        first = compiled_for(device(0))
        self._on = {0: first}
        self._compiled_for = compiled_for
        # XLA does not write out a second time what it has read: the cache has it for the other streams too.
        self._portable = _written_out(first) if _from_cache.count == before else None

    def __len__(self) -> int:
        """Streams that have it."""
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
            assert self._portable is not None
            content, in_tree, out_tree = self._portable
            place = device(stream)
            program = self._on[stream] = deserialize_and_load(content, in_tree, out_tree, place.client, [place])
        return lambda *arguments: program(*jax.tree.map(np.asarray, arguments))

    def let_go(self) -> None:
        """Keep only what can't be had again in a moment."""
        if self._portable is not None:
            self._on = {0: self._on[0]}


def _written_out(program: Compiled) -> tuple[bytes, Any, Any] | None:
    """What another client loads; None for a program that calls back into Python, to print for instance."""
    try:
        return serialize(program)
    except (AttributeError, TypeError, ValueError, NotImplementedError, pickle.PicklingError):
        return None
