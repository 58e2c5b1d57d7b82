"""Cells that can't be used: networks that diverged or never got where they are read, and values that mean nothing."""

from __future__ import annotations

import numpy as np

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import AtLeast, Order, ScalesAs, Trend, Turns
from ntkrobust.data import Dataset
from ntkrobust.finite.training.losses import zero_loss
from ntkrobust.studies.cell_work import did_not_get_there
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import CellRecord

PILOT = 4
"""Networks of a cell that are trained before the others, where a reading may be out of reach."""


def may_be_out_of_reach(cell: Cell) -> bool:
    """Whether networks may spend all their steps without getting where they are read: a loss may be too low."""
    return cell.time == "equal loss"


def is_out_of_reach(record: CellRecord) -> bool:
    """Whether some network of a cell did not get there. More networks can't make such a cell usable."""
    return bool(_short(record, len(record.seeds)).any())


def problem_of(claim: Claim, record: CellRecord, networks: int, reference: float | None, data: Dataset) -> str:
    """Why a cell can't be used for a claim about networks, or "".

    Args:
        claim: the claim.
        record: what the cell gave.
        networks: of these, the first so many.
        reference: what the claim states for the cell.
        data: what networks were trained on.
    """
    values, status = record.values[claim.measure_name][:networks], record.status[:networks]
    diverged, short = status == "diverged", _short(record, networks)
    if diverged.any():
        return f"{diverged.sum()} of {len(status)} networks diverged"
    if short.any():
        return _out_of_reach(record, short, data)
    if not np.isfinite(values).all():
        return f"{np.sum(~np.isfinite(values))} of {len(values)} values of {claim.measure_name} are not finite"
    for name in (name for one in claim.assumptions for name in one.names):
        if not np.isfinite(record.values[name][:networks]).all():
            return f"values of {name}, which an assumption looks at, are not finite"
    return _without_meaning(claim, values, reference)


def _short(record: CellRecord, networks: int) -> np.ndarray:
    """(networks,) Which networks did not get where they are read."""
    return did_not_get_there(record.cell.time, record.status[:networks], record.step[:networks], record.steps)


def _out_of_reach(record: CellRecord, short: np.ndarray, data: Dataset) -> str:
    cell = record.cell
    which = f"none of {len(short)}" if short.all() else f"{short.sum()} of {len(short)}"
    if cell.time != "equal loss":
        verb = "got" if short.all() else "did not get"
        return f"{which} networks {verb} there in {record.steps} steps"
    # Readings state a loss as a fraction of that of f = 0.
    scale = zero_loss(cell.loss, np.asarray(data.noisy_targets(cell.n, cell.label_noise)))
    ends = np.asarray(record.loss, dtype=np.float64)[: len(short)][short] / scale
    verb, whose = ("reached", "the lowest seen") if short.all() else ("did not reach", "the highest left")
    seen = np.min(ends) if short.all() else np.max(ends)
    return f"{which} networks {verb} loss {cell.value:g} in {record.steps} steps; {whose} is {seen:.3g}"


def _without_meaning(claim: Claim, values: np.ndarray, reference: float | None) -> str:
    """Relative changes need a mean above zero, geometric means need values above zero."""
    name, mean = claim.measure_name, float(np.mean(values))
    if claim.reading.functional == "geometric mean" and (values <= 0).any():
        what = "zero" if (values >= 0).all() else "not positive"
        return f"{np.sum(values <= 0)} of {len(values)} values of {name} are {what}, so a geometric mean means nothing"
    if isinstance(claim.relation, Trend | Turns | ScalesAs | Order) and mean <= 0:
        if not values.any():
            seen = f"{name} is zero in every network"
        elif (values < 0).all():
            seen = f"{name} is negative in every network"
        else:
            seen = f"the mean of {name} over networks is {mean:.3g}, which is not positive"
        return f"{seen}, so relative changes mean nothing"
    if isinstance(claim.relation, AtLeast) and reference is not None and reference <= 0 and (values < 0).any():
        return f"the bound is not positive and {name} is negative, so their ratio means nothing"
    return ""
