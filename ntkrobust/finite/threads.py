"""Programs side by side on CPU cores, and the threads that XLA needs for them."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import jax

from ntkrobust.machine import cores

THREADS_PER_PROGRAM = 3
"""A program may hold threads of XLA's pool while it waits for others of the same pool: one for each loop that it is in.
Programs side by side must not hold them all."""

_POOL = "tf_XLAEigen"
"""Name of the pool's threads."""


def _ask_for_threads() -> None:
    """Have XLA make its pool large enough, which it does with its backend: too late once anything has been computed."""
    if not {"PJRT_NPROC", "NPROC"} & os.environ.keys():
        os.environ["PJRT_NPROC"] = str(THREADS_PER_PROGRAM * cores())


_ask_for_threads()


@functools.cache
def side_by_side() -> int:
    """Programs that may run at once on the cores of this machine: one for each if XLA's pool has threads enough.

    A pool that was made before this module was imported has one thread per core.
    """
    if jax.default_backend() != "cpu":
        return 1
    return max(1, min(cores(), _pool_threads() // THREADS_PER_PROGRAM))


def _pool_threads() -> int:
    """Threads of XLA's pool; 0 where the system doesn't say."""
    try:
        names = [path.read_text(encoding="ascii").strip() for path in Path("/proc/self/task").glob("*/comm")]
    except OSError:
        return 0
    return names.count(_POOL)
