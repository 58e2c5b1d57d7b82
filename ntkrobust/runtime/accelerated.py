"""What makes programs faster by parts of JAX that are private, or may move with a release. Nothing depends on it.

Each :class:`Accelerator` is looked for when it is first of use. Where it isn't there, or doesn't work, the plain form
of the same thing, on JAX's public API, gives the same numbers; ``ntkrobust doctor`` says which is missing and what that
costs. With ``NTKROBUST_PLAIN=1`` in the environment none is looked for.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.stages import Compiled

from ntkrobust.checks import shown
from ntkrobust.errors import InputError
from ntkrobust.runtime.machine import cores

PLAIN = "NTKROBUST_PLAIN"
"""Environment variable that turns all of them off."""

POOL_SIZE = "PJRT_NPROC"
"""Environment variable that XLA reads the number of threads of a new client from."""

PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"
"""Environment variable that says whether a process takes most of an accelerator's memory at once."""

OPTIONS = ("XLA_FLAGS", "JAX_PLATFORMS", PLAIN)
"""Environment variables by which users set JAX and this package."""

T = TypeVar("T")


class Accelerator(Generic[T]):
    """Something that makes programs faster, if it is there; looked for once, by the first thread that asks.

    Args:
        name: of what it does.
        leans_on: the names it needs.
        cost: what it costs to be without.
        find: makes it, and raises anything where it can't be had.
    """

    def __init__(self, name: str, leans_on: str, cost: str, find: Callable[[], T]) -> None:
        self.name, self.leans_on, self.cost = name, leans_on, cost
        self._find = find
        self._looking = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Look again when it is next of use."""
        self._found: T | None = None
        self._why_not: str | None = None

    def found(self) -> T | None:
        """What it does it with; None where it is missing.

        Raises:
            InputError: ``NTKROBUST_PLAIN`` is neither 0 nor 1.
        """
        with self._looking:
            if self._found is None and self._why_not is None:
                if is_plain():
                    self._why_not = f"turned off by {PLAIN}=1"
                else:
                    try:
                        self._found = self._find()
                    except Exception as error:  # whatever a later JAX, or the environment, has instead
                        self._why_not = " ".join(f"{type(error).__name__}: {error}".split())
            return self._found

    @property
    def why_not(self) -> str | None:
        """Why it is missing, in one line; None where it is there."""
        self.found()
        return self._why_not


def is_plain() -> bool:
    """Whether the user wants JAX's public API alone.

    Raises:
        InputError: ``NTKROBUST_PLAIN`` is neither 0 nor 1.
    """
    value = os.environ.get(PLAIN, "")
    if value not in ("", "0", "1"):
        raise InputError(f"{PLAIN} must be 0 or 1, got {shown(value)}")
    return value == "1"


# --- a client of XLA for each core


class CoreClients:
    """Clients of XLA with one thread each, made when they are first used.

    Programs of one client share its threads. What comes next in a loop may then run on another thread, far from the
    cache that holds its arrays, and a program that holds threads while it waits for others could wait forever. A client
    with a single thread, which JAX makes on a machine with one core, knows neither.
    """

    def __init__(self, first: jax.Device) -> None:
        self._devices = [first]
        self._making = threading.Lock()

    def device(self, stream: int) -> jax.Device:
        """The only device of a stream's client."""
        with self._making:
            if stream >= len(self._devices):
                # All at once: the environment, which other threads read too, is changed for a moment only.
                self._devices.extend(_new_devices(max(stream + 1, cores()) - len(self._devices)))
            return self._devices[stream]


def _new_devices(number: int) -> list[jax.Device]:
    from jaxlib import xla_client

    before = os.environ.get(POOL_SIZE)
    os.environ[POOL_SIZE] = "1"
    try:
        # What runs on one is computed by the thread that asks: another would have to be woken up first.
        clients: list[Any] = [xla_client.make_cpu_client(num_devices=1, asynchronous=False) for _ in range(number)]
    finally:
        del os.environ[POOL_SIZE]
        if before is not None:
            os.environ[POOL_SIZE] = before
    return [client.devices()[0] for client in clients]


def _find_core_clients() -> CoreClients:
    for _ in range(3):  # threads of JAX's own client may get their names while they are counted
        threads = _xla_threads()
        (device,) = _new_devices(1)
        if _xla_threads() <= threads + 1:
            break
    else:
        raise RuntimeError("a client of one thread starts several")
    negative = jax.jit(jnp.negative).lower(jax.ShapeDtypeStruct((), np.float32, sharding=SingleDeviceSharding(device)))
    if negative.compile()(np.float32(0.5)) != -0.5:
        raise RuntimeError("a program on a client of its own gives a wrong number")
    return CoreClients(device)


def _xla_threads() -> int:
    """Threads of XLA's pools in this process; 0 where the system doesn't say."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        try:
            names.append(path.read_text(encoding="utf-8", errors="replace").strip())
        except OSError:  # a thread that has just ended
            continue
    return names.count("tf_XLAEigen")


CORE_CLIENTS = Accelerator(
    "a client of XLA for each core",
    f"jaxlib.xla_client.make_cpu_client and {POOL_SIZE} in the environment",
    "programs of narrow networks run one after the other instead of one on each core",
    _find_core_clients,
)


def side_by_side() -> int:
    """Programs that may run at once on the cores of this machine: one for each, if each may have a client."""
    if jax.default_backend() != "cpu" or cores() == 1:
        return 1
    return cores() if CORE_CLIENTS.found() else 1


# --- programs carried from one client to another


def _find_carrying() -> tuple[Callable[..., Any], Callable[..., Any]]:
    from jax.experimental.serialize_executable import deserialize_and_load, serialize

    return serialize, deserialize_and_load


CARRYING = Accelerator(
    "programs carried from core to core",
    "jax.experimental.serialize_executable",
    "programs are compiled once for each core that runs them",
    _find_carrying,
)


def written_out(program: Compiled) -> Any | None:
    """What :func:`carried_to` takes; None for a program that can't be carried, as it calls back into Python."""
    carrying = CARRYING.found()
    if carrying is None:
        return None
    try:
        return carrying[0](program)
    except Exception:  # of many types, as programs can't be written out for many reasons
        return None


def carried_to(device: jax.Device, written: Any) -> Compiled:
    """A program that was written out, on the device of another client."""
    carrying = CARRYING.found()
    assert carrying is not None
    loaded: Compiled = carrying[1](*written, device.client, [device])
    return loaded


# --- whether a program came from the compilation cache


class CacheEvents(threading.local):
    """What this thread has asked of JAX's persistent cache of compiled programs, and what it was given."""

    requests, hits = 0, 0

    def __call__(self, event: str, **_: object) -> None:
        """Count an event."""
        self.requests += event == "/jax/compilation_cache/compile_requests_use_cache"
        self.hits += event == "/jax/compilation_cache/cache_hits"


def _find_cache_events() -> CacheEvents:
    events = CacheEvents()
    jax.monitoring.register_event_listener(events)
    return events


CACHE_EVENTS = Accelerator(
    "knowing which programs came from JAX's compilation cache",
    "jax.monitoring.register_event_listener",
    "with such a cache, programs are compiled or read once for each core that runs them",
    _find_cache_events,
)


def compiled_or_read(make: Callable[[], Compiled]) -> tuple[Compiled, bool]:
    """What ``make`` compiles, and whether it is certain that XLA compiled it, instead of JAX reading it from its cache.

    XLA does not write out a second time what it has read: carried to another client it would fail.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", "unknown") is None:
        return make(), True
    events = CACHE_EVENTS.found()
    if events is None:
        return make(), False
    requests, hits = events.requests, events.hits
    program = make()
    return program, events.requests > requests and events.hits == hits


# --- normals from any position on


def _find_threefry_from() -> Any:
    from jax.extend.random import define_prng_impl, threefry_2x32

    def bits_from(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
        """Bits of a key (4,): what ``jax.random`` numbers from 0, as two words, is numbered from its last two."""
        assert bit_width == 32
        size = math.prod(shape)
        low = key[3] + jnp.arange(size, dtype=np.uint32)  # blocks begin at multiples of their size: nothing to carry
        high = jnp.broadcast_to(key[2], size)
        hashed = threefry_2x32((key[0], key[1]), jnp.concatenate([high, low]))
        return (hashed[:size] ^ hashed[size:]).reshape(shape)

    def not_made(*_: Any) -> NoReturn:
        raise NotImplementedError("from keys that know where they begin, no others are made")

    return define_prng_impl(
        key_shape=(4,), seed=not_made, split=not_made, random_bits=bits_from, fold_in=not_made,
        name="threefry2x32_from_position", tag="fryfrom",
    )  # fmt: skip


THREEFRY_FROM = Accelerator(
    "one program that draws networks of all shapes",
    "jax.extend.random.define_prng_impl and threefry_2x32",
    "a program is compiled for each size of array that is drawn, which takes up to a second",
    _find_threefry_from,
)
"""Threefry whose keys (4,) are a key (2,) and, as two words, the position that the first number drawn from it has."""


ACCELERATORS: tuple[Accelerator[Any], ...] = (CORE_CLIENTS, CARRYING, CACHE_EVENTS, THREEFRY_FROM)


def missing() -> list[str]:
    """A line for each that is missing where it would be of use: what it is, why, and what that costs."""
    if jax.default_backend() != "cpu" or cores() == 1:
        of_use = ACCELERATORS[-1:]
    elif CORE_CLIENTS.found() is None:
        of_use = (CORE_CLIENTS, THREEFRY_FROM)
    else:
        of_use = ACCELERATORS
    return [
        f"{one.name}: missing ({one.why_not}; it needs {one.leans_on}); {one.cost}"
        for one in of_use
        if one.why_not is not None
    ]
