"""Where a worker's process begins: what JAX reads from the environment is set before it is imported.

Nothing here imports JAX, or anything that does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ntkrobust.studies.engines.environment import Settings

if TYPE_CHECKING:
    from ntkrobust.studies.engines.travel import Sent


def run_bucket(settings: Settings, name: str, shared: bytes | str, bucket: bytes) -> Sent:
    """Run requests in a worker.

    Args:
        settings: of JAX, which is imported here, if it was not before.
        name: SHA-256 of what all buckets share.
        shared: that itself, or the path of a file that holds it.
        bucket: the requests.
    """
    settings.apply()
    from ntkrobust.studies.engines.travel import outcomes

    return outcomes(name, shared, bucket)


def as_it_is(shared: bytes) -> bytes:
    """What all buckets share, as the result of a task: where a worker is lost that held it, it is had again."""
    return shared
