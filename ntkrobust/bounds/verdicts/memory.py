"""What is remembered of earlier looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts.judging import Remember
from ntkrobust.bounds.verdicts.types import CellSample


class Memory:
    """The smallest p-values of a claim's parts over the looks so far."""

    def __init__(self, looks: SequentialPlan) -> None:
        self.look = 0
        self._looks = looks
        self._smallest: dict[tuple[str, str], np.ndarray] = {}

    def level(self, level: float) -> float:
        """What a p-value has to be below at this look, for an error of ``level`` over all looks."""
        return float(self._looks.levels(level)[self.look])

    def about(self, cells: Sequence[CellSample]) -> Remember:
        """For statements about these cells; where others are left than at the look before, it starts anew."""
        known = "; ".join(map(str, cells))

        def remember(kind: str, p: np.ndarray) -> np.ndarray:
            now = self._looks.p_values(p, self.look)
            smallest = np.minimum(now, self._smallest.get((kind, known), 1.0))
            self._smallest[kind, known] = smallest
            return smallest

        return remember
