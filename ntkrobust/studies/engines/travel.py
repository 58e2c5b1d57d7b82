"""What goes to workers and comes back, as pickles that only workers of the same engine and this process read.

Layouts of seeds decide how float32 is rounded. They are made as on the machine that hands requests out, so that numbers
are the same to the bit wherever they were computed, as long as devices are of one kind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pickle
import sys
import threading
import time
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import jax

from ntkrobust.data import Dataset
from ntkrobust.runtime.accelerated import OPTIONS, POOL_SIZE
from ntkrobust.runtime.layout import Machine, planned_as_on, this_machine
from ntkrobust.runtime.machine import cores
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines.crew import Failure, Outcome, failure_of
from ntkrobust.studies.engines.environment import Settings
from ntkrobust.studies.records import CellRecord
from ntkrobust.studies.store.contents import is_of_a_library
from ntkrobust.studies.store.identity import SETTINGS, numerics
from ntkrobust.values import Carried


class Sent(NamedTuple):
    """What comes back from a worker.

    Attributes:
        outcomes: for each request the fields of its record but the cell, or how it failed.
        remark: what is to be said of the worker, or "".
    """

    outcomes: list[dict[str, Any] | Failure]
    remark: str = ""


class _Shared(NamedTuple):
    """What all buckets of a run share."""

    data: Dataset
    key: Carried
    points: int
    machine: Machine
    numerics: dict[str, Any]


def settings() -> Settings:
    """How workers set JAX as it is here."""
    flags = {name.upper(): str(int(getattr(jax.config, name))) for name in SETTINGS}
    passed_on = {name: os.environ[name] for name in OPTIONS if name in os.environ}
    threads = os.environ.get(POOL_SIZE, str(cores()))
    return Settings(flags | passed_on, {POOL_SIZE: threads}, int(threads))


def packed_shared(data: Dataset, key: jax.Array, points: int) -> tuple[str, bytes]:
    """What all buckets share, with its SHA-256."""
    content = _dumps(_Shared(data, Carried(key), points, this_machine(), numerics()))
    return hashlib.sha256(content).hexdigest(), content


def packed(requests: Sequence[Request]) -> bytes:
    """Requests, with the user's own networks and measures in them.

    Raises:
        Exception: one of them can't be pickled; of many types.
    """
    return _dumps(list(requests))


def unpacked(requests: Sequence[Request], sent: Sent) -> Iterator[tuple[Cell, Outcome]]:
    """What a worker gave for each request."""
    for request, one in zip(requests, sent.outcomes, strict=True):
        yield request.cell, one if isinstance(one, Failure) else CellRecord(cell=request.cell, **one)


def outcomes(name: str, shared: bytes | str, bucket: bytes) -> Sent:
    """Run requests in this process; see :func:`~ntkrobust.studies.engines.entry.run_bucket`."""
    common, work = _loaded(name, shared)
    requests: list[Request] = pickle.loads(bucket)
    here = numerics()
    if here != common.numerics:
        differing = ", ".join(f"{one} {here[one]} for {common.numerics[one]}" for one in here
                              if here[one] != common.numerics[one])  # fmt: skip
        sentence = f"a worker computes other numbers than the process that asks: it has {differing}"
        return Sent([Failure(sentence, is_input=True)] * len(requests))
    machine, remark = _machine_for(common.machine)
    found: list[dict[str, Any] | Failure] = []
    for request in requests:
        try:
            with planned_as_on(machine):
                record = work.done(request)
        except Exception as error:  # a user's own code, memory, a solver: none of them is the others' fault
            found.append(failure_of(error))
        else:
            fields = dataclasses.fields(record)
            found.append({one.name: getattr(record, one.name) for one in fields if one.name != "cell"})
    return Sent(found, remark)


def _machine_for(asked: Machine) -> tuple[Machine, str]:
    """The machine that seeds are laid out for, and what is to be said of it."""
    here = this_machine()
    if (here.backend, here.devices) == (asked.backend, asked.devices):
        return asked, ""
    return here, (
        f"workers have {here.devices} device(s) of kind {here.backend}, and this process {asked.devices} of kind "
        f"{asked.backend}: their numbers are those of such a machine, which differ by the rounding of float32"
    )


LATE = 30.0
"""Seconds after which a shared disk shows a file that another machine has written, at most."""


def _read_late(name: str, path: str) -> bytes:
    """A file of this SHA-256, which a shared disk may not show yet, or not all of it."""
    until = time.monotonic() + LATE
    while True:
        with contextlib.suppress(FileNotFoundError):
            content = Path(path).read_bytes()
            if hashlib.sha256(content).hexdigest() == name or time.monotonic() >= until:
                return content
        if time.monotonic() >= until:
            raise FileNotFoundError(f"{path} does not appear on the disk that workers share")
        time.sleep(0.1)


_LOADED: dict[str, tuple[_Shared, CellWork]] = {}
_LOADING = threading.Lock()


def _loaded(name: str, shared: bytes | str) -> tuple[_Shared, CellWork]:
    """What all buckets share, read once by each process, which keeps the last few."""
    with _LOADING:
        if name not in _LOADED:
            shared = _read_late(name, shared) if isinstance(shared, str) else shared
            if hashlib.sha256(shared).hexdigest() != name:
                raise ValueError("what buckets share was changed on its way")
            common: _Shared = pickle.loads(shared)
            while len(_LOADED) >= 4:
                del _LOADED[next(iter(_LOADED))]
            _LOADED[name] = common, CellWork(common.data, common.key.content, common.points)
        return _LOADED[name]


def _dumps(value: Any) -> bytes:
    """A pickle that holds the code of the user's own modules, which workers may not be able to import."""
    try:
        with _by_value(one for one in list(sys.modules.values()) if _is_own(one)):
            return bytes(cloudpickle.dumps(value))
    except Exception:  # something else in those modules can't be pickled: where they can be imported, all is well
        return bytes(cloudpickle.dumps(value))


def _is_own(module: object) -> bool:
    return (
        isinstance(module, types.ModuleType)
        and module.__name__ not in ("__main__", "__mp_main__")
        and getattr(module, "__file__", None) is not None
        and not is_of_a_library(module.__name__)
    )


@contextlib.contextmanager
def _by_value(modules: Iterable[types.ModuleType]) -> Iterator[None]:
    there = cloudpickle.list_registry_pickle_by_value()
    added = [one for one in modules if one.__name__ not in there and sys.modules.get(one.__name__) is one]
    for one in added:
        cloudpickle.register_pickle_by_value(one)
    try:
        yield
    finally:
        for one in added:
            cloudpickle.unregister_pickle_by_value(one)
