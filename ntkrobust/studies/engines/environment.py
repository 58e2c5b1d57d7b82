"""How JAX is set in a worker's process: by environment variables, before it is imported."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from ntkrobust.runtime.machine import cores


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

    def apply(self) -> None:
        """Set those that are not set, as long as JAX was not imported."""
        if "jax" not in sys.modules:
            more = self.on_other_cores if cores() != self.cores else {}
            for variable, value in (self.everywhere | more).items():
                os.environ.setdefault(variable, value)
