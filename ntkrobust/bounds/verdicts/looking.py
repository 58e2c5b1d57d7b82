"""Verdicts that are sought several times, on ever more networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ntkrobust.bounds.statistics.sequential import SequentialPlan
from ntkrobust.bounds.verdicts.labelling import Outcome, examine, label
from ntkrobust.bounds.verdicts.memory import Memory
from ntkrobust.bounds.verdicts.types import Examined, Verdict


def decide_sequentially(
    source: Callable[[int, tuple[int, ...]], Sequence[Examined]], count: int, looks: SequentialPlan, points: int
) -> tuple[list[Verdict], tuple[int, ...]]:
    """Verdicts on networks that are drawn until every claim is decided, or all that were planned have been drawn.

    Args:
        source: called with a number of networks per cell and the positions of the claims that are still open; returns
            all claims in the same order. What it gives for those that are not open is ignored. More networks must
            contain the fewer that came before.
        count: number of claims.
        looks: the planned numbers of networks per cell.
        points: test points behind every value.

    Returns:
        The verdicts, and for each claim the networks per cell that it took. Error rates are those of :func:`decide`.
    """
    outcomes: dict[int, Outcome] = {}
    used: dict[int, int] = {}
    memories: dict[int, Memory] = {}
    verdicts: list[Verdict] = []
    open_claims = tuple(range(count))
    for look, size in enumerate(looks.sizes):
        claims = source(size, open_claims)
        for index in open_claims:
            memory = memories.setdefault(index, Memory(looks))
            memory.look = look
            outcomes[index] = examine(claims[index], count, memory)
            used[index] = size
        verdicts = label([outcomes[index] for index in range(count)], points)
        open_claims = tuple(index for index in open_claims if verdicts[index].label == "inconclusive")
        if not open_claims:
            break
    return verdicts, tuple(used[index] for index in range(count))
