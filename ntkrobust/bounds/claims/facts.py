"""What the designs of known claims ask of a data set, and the units in which they count."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Facts:
    """A data set, as far as designs depend on it.

    Attributes:
        n, d, o: training points, inputs and outputs.
        scale: root mean square length of an input.
        class_distance: median ℓ∞ distance to the nearest point of another class; None where there are no two classes.
    """

    n: int
    d: int
    o: int
    scale: float
    class_distance: float | None

    def threshold(self, n: int) -> float:
        """The interpolation threshold of two layers without biases: the width m* with m*(d + o) = n·o parameters."""
        return min(n, self.n) * self.o / (self.d + self.o)

    def points_for(self, threshold: float) -> int:
        """The training points n with that interpolation threshold, rounded up; all there are, if there are fewer."""
        return min(self.n, math.ceil(threshold * (self.d + self.o) / self.o))

    def widths(self, multiples: tuple[float, ...], n: int) -> tuple[int, ...]:
        """These multiples of the interpolation threshold, as whole widths that increase.

        Where the threshold is so low that some of them coincide, the next whole widths stand in their place.
        """
        widths: list[int] = []
        for multiple in multiples:
            widths.append(max(round(multiple * self.threshold(n)), widths[-1] + 1 if widths else 1))
        return tuple(widths)

    def radius(self, share: float) -> float:
        """An ε in ℓ∞: this share of the distance between classes, to two digits."""
        return float(f"{share * (self.class_distance or self.scale):.2g}")
