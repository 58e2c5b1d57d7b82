"""How much memory the networks of a request take where they run, about."""

from __future__ import annotations

from ntkrobust.finite.training.memory import PROGRAM_BYTES, training_memory
from ntkrobust.networks.plans import choose_plan
from ntkrobust.studies.cell_work import Request


def bytes_of(request: Request, d: int, points: int) -> int:
    """Bytes at the peak, without what an idle process holds.

    Args:
        request: the request.
        d: dimension of the inputs.
        points: test points that measures are averaged over.
    """
    cell = request.cell
    rows = max(cell.n, cell.points or points)
    plan = choose_plan(cell.net, d, rows)
    seeds = min(plan.chunk, max(1, len(request.seeds)))
    estimate = training_memory(cell.net, d, rows, seeds, 1, plan)
    return estimate.peak - estimate.process + PROGRAM_BYTES
