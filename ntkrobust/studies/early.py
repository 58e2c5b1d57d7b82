"""Verdicts that are certain before the other claims have their networks.

Holm's method rejects whatever Bonferroni's does. So where a claim's own p-value is below the level over the number of
claims, its label is what it will be, whatever the others show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ntkrobust.bounds.verdicts import LEVEL, Examined, Label
from ntkrobust.bounds.verdicts.labelling import examine
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import CellRecord
from ntkrobust.studies.running import Progress
from ntkrobust.studies.study import Study

Reached = Callable[[str, Label], None]
"""Called with the id of a claim and its label."""


class Waiting(NamedTuple):
    """A claim that waits for its networks.

    Attributes:
        study: the claim on its grid.
        records: what cells have given so far; changes as they do.
        sample: what so many networks per trained cell say for a claim.
    """

    study: Study
    records: Mapping[Cell, CellRecord]
    sample: Callable[[Study, int], Examined]


class Early:
    """Tells of each claim once, as soon as its networks are there and its label is certain."""

    def __init__(self, claims: int, networks: int, reached: Reached) -> None:
        """Of so many claims that are judged together, in one look at so many networks per trained cell."""
        self._claims, self._networks, self._reached = claims, networks, reached

    def telling(self, claims: Iterable[Waiting], progress: Progress) -> Progress:
        """The progress callback, telling of verdicts on these claims too."""
        waiting = list(claims)

        def told(text: str, done: int, total: int) -> None:
            progress(text, done, total)
            for one in [one for one in waiting if self._is_complete(one)]:
                waiting.remove(one)
                self._tell(one)

        return told

    def _is_complete(self, one: Waiting) -> bool:
        study, wanted = one.study, self._networks * one.study.claim.draws
        return all(len(one.records[cell].seeds) >= wanted for _, cell in study.cells if cell not in study.excluded)

    def _tell(self, one: Waiting) -> None:
        claim = one.study.claim
        judgement = examine(one.sample(one.study, self._networks), self._claims, None).judgement
        if judgement is None:
            return
        labels: tuple[tuple[Label, float], ...] = (("refuted", judgement.p_refute), ("supported", judgement.p_support))
        for label, p in labels:
            # What is known from memory only is never refuted.
            if p * self._claims <= LEVEL and not (label == "refuted" and claim.provenance == "recollection"):
                self._reached(claim.id, label)
                return
