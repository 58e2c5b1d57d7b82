"""How large the numbers of a data set are, as every output states it: what a radius ε means there."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ntkrobust.data.checks import Array
from ntkrobust.norms import Norm

STATED: dict[Norm, str] = {"linf": "ℓ∞", "l2": "ℓ2"}
"""The norms in which outputs state how far classes lie apart."""


class Size(NamedTuple):
    """The size of the training inputs.

    Attributes:
        norm: root mean square ℓ2 norm.
        lowest, highest: entries.
        are_whole: whether all entries are whole numbers, as pixels 0 … 255 are.
        class_distance: norm ↦ median distance to the nearest point of another class; None where there is none.
    """

    norm: float
    lowest: float
    highest: float
    are_whole: bool
    class_distance: dict[Norm, float] | None

    def as_json(self) -> dict[str, Any]:
        """As stored results hold it."""
        return {
            "norm": self.norm,
            "entries": [self.lowest, self.highest],
            "whole": self.are_whole,
            "class_distance": self.class_distance,
        }

    def in_words(self) -> str:
        """``inputs of ℓ2 norm 1 (root mean square), entries from 0 to 0.46; another class at 0.24 in ℓ∞, …``."""
        numbers = "whole numbers" if self.are_whole else "entries"
        words = (
            f"inputs of ℓ2 norm {self.norm:.3g} (root mean square), {numbers} from {self.lowest:.3g} to "
            f"{self.highest:.3g}"
        )
        if self.class_distance is None:
            return f"{words}; ε is in these units"
        apart = ", ".join(f"{self.class_distance[norm]:.2g} in {sign}" for norm, sign in STATED.items())
        return f"{words}; the nearest point of another class at {apart} (medians): ε is in these units"


def are_whole(x: Array) -> bool:
    """Whether all entries of x (n, d) are whole numbers; looked at in pieces."""
    rows = max(2**20 // x.shape[1], 1)
    return all(bool(np.all(part == np.rint(part))) for part in (x[at : at + rows] for at in range(0, len(x), rows)))
