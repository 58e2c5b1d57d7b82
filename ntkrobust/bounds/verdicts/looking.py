"""Verdicts that are sought several times, on ever more networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts.labelling import Outcome, examine, label
from ntkrobust.bounds.verdicts.memory import Memory
from ntkrobust.bounds.verdicts.types import Examined, Verdict


class Needed(NamedTuple):
    """What the next look is to see.

    Attributes:
        networks: per cell; they contain the fewer of the looks before.
        claims: positions of the claims that are still open.
    """

    networks: int
    claims: tuple[int, ...]


class SequentialDecision:
    """Verdicts on claims judged together, on samples that grow until every claim is decided or the last look is over.

    Whoever has the samples asks what is needed and gives it::

        decision = SequentialDecision(len(claims), looks, points)
        while (needed := decision.needs()) is not None:
            decision.look([... for index in needed.claims])

    Error rates are those of :func:`~ntkrobust.bounds.verdicts.decide`.

    Attributes:
        verdicts: of the looks so far, in the order of the claims; those of claims that are decided keep the networks
            that decided them. Empty before the first look.
        networks: for each claim, the networks per cell of its last look.
    """

    def __init__(self, count: int, looks: SequentialPlan, points: int) -> None:
        """Of ``count`` claims, on the planned numbers of networks per cell, with so many test points per value."""
        self.verdicts: list[Verdict] = []
        self.networks: list[int] = [0] * count
        self._looks, self._points = looks, points
        self._look = 0
        self._open = tuple(range(count))
        self._memories = [Memory(looks) for _ in range(count)]
        self._outcomes: list[Outcome | None] = [None] * count

    def needs(self) -> Needed | None:
        """What the next look is to see; None when there is none, because nothing is open or no more is planned."""
        if not self._open or self._look == len(self._looks.sizes):
            return None
        return Needed(self._looks.sizes[self._look], self._open)

    def look(self, samples: Sequence[Examined]) -> None:
        """Judge all claims, those that are open on ``samples``: what :meth:`needs` asked for, in that order.

        Raises:
            ValueError: nothing is needed, or these are not as many claims as are open.
        """
        needed = self.needs()
        if needed is None or len(samples) != len(needed.claims):
            wanted = 0 if needed is None else len(needed.claims)
            raise ValueError(f"a look at {wanted} open claims was expected, got {len(samples)}")
        for index, sample in zip(needed.claims, samples, strict=True):
            memory = self._memories[index]
            memory.look = self._look
            self._outcomes[index] = examine(sample, len(self._outcomes), memory)
            self.networks[index] = needed.networks
        # The first look is at every claim.
        self.verdicts = label([outcome for outcome in self._outcomes if outcome is not None], self._points)
        self._open = tuple(index for index in needed.claims if self.verdicts[index].label == "inconclusive")
        self._look += 1
