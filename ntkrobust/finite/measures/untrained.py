"""What a measure gave before training: of the same networks, as they were drawn."""

from __future__ import annotations

import jax

from ntkrobust.checks import shown
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Measure, Side
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.numerics.scaling import Scaled


def name_untrained(name: str) -> str:
    """What a measure of this name is called where it is that of networks before training."""
    return f"untrained_{name}"


class Untrained(Measure):
    r"""$M(f_0)$, a measure of the same network before it was trained.

    Attributes:
        of: the measure M.
    """

    of: Measure

    def __post_init__(self) -> None:
        """Check that it is a measure, of what untrained networks have."""
        if not isinstance(self.of, Measure):
            raise InputError(f"of of Untrained must be a measure, got {shown(self.of)}")
        super().__post_init__()

    def compute(self, probe: Probe) -> jax.Array | Scaled:
        """M of the parameters that training started from."""
        return self.of(probe.untrained)

    def _own_name(self) -> str:
        return name_untrained(self.of.name)

    @property
    def definition(self) -> str:
        """That of M, at f_0."""
        return f"{self.of.definition} \\text{{ before training}}"

    @property
    def dims(self) -> tuple[str, ...] | None:
        """Those of M."""
        return self.of.dims

    @property
    def side(self) -> Side:
        """That of M."""
        return self.of.side

    @property
    def needs(self) -> tuple[str, ...]:
        """What M needs."""
        return self.of.needs

    @property
    def source(self) -> str:
        """That of M."""
        return self.of.source

    @property
    def needs_initial(self) -> bool:
        """Whether it looks at parameters as they were drawn: at nothing else."""
        return True

    @property
    def needs_training_data(self) -> bool:
        """Whether M does."""
        return self.of.needs_training_data

    @property
    def fully_connected(self) -> bool:
        """Whether M does."""
        return self.of.fully_connected

    @property
    def of_classes(self) -> bool:
        """Whether M does."""
        return self.of.of_classes

    @property
    def radius(self) -> float | None:
        """That of M."""
        return self.of.radius
