"""Where a worker's process begins: what JAX reads from the environment is set before it is imported.

Nothing here imports JAX, or anything that does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ntkrobust.runtime.machine import POOL_SIZE, cores

if TYPE_CHECKING:
    from ntkrobust.studies.engines.travel import Sent


def run_bucket(settings: Mapping[str, str], name: str, shared: bytes | str, bucket: bytes) -> Sent:
    """Run requests in a worker.

    Args:
        settings: environment variables, for those that are not set here and as long as JAX was not imported.
        name: SHA-256 of what all buckets share.
        shared: that itself, or the path of a file that holds it.
        bucket: the requests.
    """
    if "jax" not in sys.modules:
        for variable, value in settings.items():
            # Of as many threads as there are cores, XLA has its own idea.
            if variable != POOL_SIZE or value != str(cores()):
                os.environ.setdefault(variable, value)
    from ntkrobust.studies.engines.travel import outcomes

    return outcomes(name, shared, bucket)


def as_it_is(shared: bytes) -> bytes:
    """What all buckets share, as the result of a task: where a worker is lost that held it, it is had again."""
    return shared
