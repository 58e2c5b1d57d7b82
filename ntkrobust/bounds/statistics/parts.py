"""Statements as parts, each of which holds or fails on its own, and what is concluded from all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np

from ntkrobust.bounds.statistics.comparisons import Comparison
from ntkrobust.bounds.statistics.multiplicity import bonferroni


@dataclasses.dataclass(frozen=True)
class Part:
    """One inequality: what is compared is at least (or at most) a factor.

    Attributes:
        comparison: what is compared.
        factor: with what.
        at_least: which way.
        cells: positions of the cells it is about.
        whole: whether it is about the whole range of a trend.
    """

    comparison: Comparison
    factor: float
    at_least: bool
    cells: tuple[int, ...]
    whole: bool = False

    def p_holds(self) -> np.ndarray:
        """(batch,) p-values of "it fails": small where it is shown to hold."""
        return self.comparison.p_above(self.factor) if self.at_least else self.comparison.p_below(self.factor)

    def p_fails(self) -> np.ndarray:
        """(batch,) p-values of "it holds": small where it is shown to fail."""
        return self.comparison.p_below(self.factor) if self.at_least else self.comparison.p_above(self.factor)


class Statement(Protocol):
    """Parts and how they make up a statement."""

    @property
    def parts(self) -> Sequence[Part]:
        """The parts."""

    def p_support(self, holds: np.ndarray) -> np.ndarray:
        """(batch,) p-values of "the statement is false" from those of the parts, (parts, batch)."""

    def p_refute(self, fails: np.ndarray) -> np.ndarray:
        """(batch,) p-values of "the statement is true" from those of the parts, (parts, batch)."""

    def p_parts(self, level: float) -> float:
        """What the p-value of a part that decides against the statement has to be for it to be refuted at ``level``."""

    def unsettled(self, holds: np.ndarray) -> int:
        """Position of the part farthest from being shown, of those that support would need; (parts,) p-values."""

    def against(self, fails: np.ndarray) -> int:
        """Position of the part that speaks most against the statement, of those that refute it; (parts,) p-values."""

    def networks(self, holds: np.ndarray, fails: np.ndarray) -> tuple[float, float]:
        """Networks that would support, and that would refute, from the (parts,) numbers that each part asks for."""

    def located(self, positions: Sequence[int]) -> Statement:
        """The same about other cells: cell i becomes cell ``positions[i]``."""


@dataclasses.dataclass(frozen=True)
class All:
    """True if all parts hold.

    Attributes:
        parts: the parts.
        family: how many parts there would have been, had all cells been usable.
    """

    parts: Sequence[Part]
    family: int

    def p_support(self, holds: np.ndarray) -> np.ndarray:
        """Intersection-union: the largest. If a part fails, its own test has to err before anything is supported."""
        return holds.max(0)

    def p_refute(self, fails: np.ndarray) -> np.ndarray:
        """Bonferroni: valid whatever the dependence of the parts."""
        return bonferroni(fails, self.family)

    def p_parts(self, level: float) -> float:
        """The share that Bonferroni's inequality leaves to a part."""
        return level / self.family

    def unsettled(self, holds: np.ndarray) -> int:
        """The part with the largest p-value."""
        return int(np.argmax(holds))

    def against(self, fails: np.ndarray) -> int:
        """The part with the smallest."""
        return int(np.argmin(fails))

    def networks(self, holds: np.ndarray, fails: np.ndarray) -> tuple[float, float]:
        """All parts have to be shown; one is enough to refute."""
        return float(np.max(holds)), float(np.min(fails))

    def located(self, positions: Sequence[int]) -> All:
        """The same about other cells."""
        moved = [dataclasses.replace(part, cells=tuple(positions[i] for i in part.cells)) for part in self.parts]
        return dataclasses.replace(self, parts=moved)


@dataclasses.dataclass(frozen=True)
class _Several:
    """Statements of the same batch.

    Attributes:
        statements: the statements.
        count: how many there would have been, had all cells been usable.
    """

    statements: Sequence[Statement]
    count: int

    @property
    def parts(self) -> Sequence[Part]:
        """Those of all statements, one after the other."""
        return [part for one in self.statements for part in one.parts]

    def split(self, p: np.ndarray) -> list[np.ndarray]:
        """Numbers that go with the parts, (parts, ...), by statement."""
        return np.split(p, np.cumsum([len(one.parts) for one in self.statements])[:-1])

    def located(self, positions: Sequence[int]) -> Self:
        """The same about other cells."""
        return dataclasses.replace(self, statements=[one.located(positions) for one in self.statements])

    def p_parts(self, level: float) -> float:
        """Parts pay for the others of their statement, and for the other statements."""
        return min(one.p_parts(level) for one in self.statements)

    def _position(self, which: int, within: int) -> int:
        """Among all parts, that of part ``within`` of one statement."""
        return sum(len(one.parts) for one in self.statements[:which]) + within

    def _networks(self, holds: np.ndarray, fails: np.ndarray) -> list[tuple[float, float]]:
        split = zip(self.statements, self.split(holds), self.split(fails), strict=True)
        return [one.networks(to_hold, to_fail) for one, to_hold, to_fail in split]

    def _supports(self, holds: np.ndarray) -> np.ndarray:
        return np.array([one.p_support(p) for one, p in zip(self.statements, self.split(holds), strict=True)])

    def _refutes(self, fails: np.ndarray) -> np.ndarray:
        return np.array([one.p_refute(p) for one, p in zip(self.statements, self.split(fails), strict=True)])


@dataclasses.dataclass(frozen=True)
class OneOf(_Several):
    """True if one of several statements is."""

    def p_support(self, holds: np.ndarray) -> np.ndarray:
        """Bonferroni: if all are false, any one of them is shown with probability at most the sum of their levels."""
        return bonferroni(self._supports(holds), self.count)

    def p_refute(self, fails: np.ndarray) -> np.ndarray:
        """Intersection-union: all have to be rejected, and one of them is true."""
        return self._refutes(fails).max(0)

    def unsettled(self, holds: np.ndarray) -> int:
        """That of the statement which is nearest to being supported."""
        which = int(np.argmin(self._supports(holds)))
        return self._position(which, self.statements[which].unsettled(self.split(holds)[which]))

    def against(self, fails: np.ndarray) -> int:
        """That of the statement which is refuted last."""
        which = int(np.argmax(self._refutes(fails)))
        return self._position(which, self.statements[which].against(self.split(fails)[which]))

    def networks(self, holds: np.ndarray, fails: np.ndarray) -> tuple[float, float]:
        """One has to be supported; all have to be refuted."""
        support, refute = zip(*self._networks(holds, fails), strict=True)
        return min(support), max(refute)


@dataclasses.dataclass(frozen=True)
class Every(_Several):
    """True if all of several statements are: one for each facet."""

    def p_support(self, holds: np.ndarray) -> np.ndarray:
        """Intersection-union."""
        return self._supports(holds).max(0)

    def p_refute(self, fails: np.ndarray) -> np.ndarray:
        """Bonferroni."""
        return bonferroni(self._refutes(fails), self.count)

    def p_parts(self, level: float) -> float:
        """Each statement has its share of the level."""
        return super().p_parts(level / self.count)

    def unsettled(self, holds: np.ndarray) -> int:
        """That of the statement which is farthest from being supported."""
        which = int(np.argmax(self._supports(holds)))
        return self._position(which, self.statements[which].unsettled(self.split(holds)[which]))

    def against(self, fails: np.ndarray) -> int:
        """That of the statement which is nearest to being refuted."""
        which = int(np.argmin(self._refutes(fails)))
        return self._position(which, self.statements[which].against(self.split(fails)[which]))

    def networks(self, holds: np.ndarray, fails: np.ndarray) -> tuple[float, float]:
        """All have to be supported; one is enough to refute."""
        support, refute = zip(*self._networks(holds, fails), strict=True)
        return max(support), min(refute)
