"""Where a worker's process begins: what JAX reads from the environment is set before it is imported.

Nothing here imports JAX, or anything that does.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from ntkrobust.runtime.machine import cores

if TYPE_CHECKING:
    from ntkrobust.studies.engines.travel import Sent


class Settings(NamedTuple):
    """Environment variables that JAX reads as it is imported.

    Attributes:
        everywhere: variable → value.
        on_other_cores: those for machines that have not so many cores: XLA has as many threads, unless it is told.
        cores: so many.
    """

    everywhere: dict[str, str]
    on_other_cores: dict[str, str]
    cores: int


def run_bucket(settings: Settings, name: str, shared: bytes | str, bucket: bytes) -> Sent:
    """Run requests in a worker.

    Args:
        settings: for variables that are not set here, as long as JAX was not imported.
        name: SHA-256 of what all buckets share.
        shared: that itself, or the path of a file that holds it.
        bucket: the requests.
    """
    if "jax" not in sys.modules:
        more = settings.on_other_cores if cores() != settings.cores else {}
        for variable, value in (settings.everywhere | more).items():
            os.environ.setdefault(variable, value)
    from ntkrobust.studies.engines.travel import outcomes

    return outcomes(name, shared, bucket)


def as_it_is(shared: bytes) -> bytes:
    """What all buckets share, as the result of a task: where a worker is lost that held it, it is had again."""
    return shared
