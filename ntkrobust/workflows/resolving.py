"""Which claims are meant, and by what they are named."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkrobust.bounds.claims import Claim
from ntkrobust.bounds.claims.facts import Facts
from ntkrobust.bounds.claims.python_file import claims_in_python
from ntkrobust.bounds.claims.toml_file import claims_in_toml
from ntkrobust.bounds.papers.catalogue import catalogue, default_claims, select
from ntkrobust.checks import check_sequence, shown
from ntkrobust.errors import InputError


def single_ids(preset: str) -> set[str]:
    """Ids that name one claim."""
    return {claim.id for claim in catalogue(preset)}


def claim_at(claim: Claim, at: Mapping[str, Any]) -> Claim:
    """The claim on a single cell: the axes of its grid at the values given, or at the only one they have.

    Raises:
        InputError: an axis is not one of the grid, is left open, or the relation needs more than one cell.
    """
    at = dict(at)
    if "time" in at:
        if claim.reading.value is None:
            raise InputError(f"claim {claim.id}: its reading, {claim.reading}, has no value to be set by time")
        claim = claim.read_at(at.pop("time"))
    stray = [axis for axis in at if axis not in claim.grid]
    if stray:
        raise InputError(f"claim {claim.id}: its grid has no axis {shown(stray[0])}, only {', '.join(claim.grid)}")
    left_open = [axis for axis, values in claim.grid.items() if axis not in at and len(values) > 1]
    if left_open:
        raise InputError(f"claim {claim.id}: a single cell needs values for {', '.join(left_open)} too")
    return dataclasses.replace(claim, grid={axis: (at.get(axis, values[0]),) for axis, values in claim.grid.items()})


def resolve(
    claims: Claim | str | Sequence[Claim | str] | None,
    preset: str,
    everything: bool = False,
    facts: Facts | None = None,
) -> list[tuple[Claim, str | None]]:
    """The claims meant, in the order given, each with what names it on the command line (None for objects).

    Raises:
        InputError: a name means nothing, a file has no claims, or two claims share an id.
    """
    catalogue(preset)  # an unknown preset is refused also where no catalogued claim is asked for
    if claims is None:
        return [(claim, claim.id) for claim in (catalogue if everything else default_claims)(preset, facts)]
    chosen: list[tuple[Claim, str | None]] = []
    for one in [claims] if isinstance(claims, str | Claim) else check_sequence(claims, "claims"):
        if isinstance(one, Claim):
            found: list[tuple[Claim, str | None]] = [(one, None)]
        elif isinstance(one, str) and (one.endswith((".py", ".toml")) or (os.sep in one and Path(one).is_file())):
            found = [(claim, one) for claim in claims_in_file(one, facts)]
        elif isinstance(one, str):
            found = [(claim, claim.id) for claim in select([one], preset, everything, facts)]
        else:
            raise InputError(f"a claim is a Claim, an id, a paper, a .py or a .toml file, got {shown(one)}")
        chosen += [(claim, origin) for claim, origin in found if all(claim != other for other, _ in chosen)]
    ids = [claim.id for claim, _ in chosen]
    for claim_id in ids:
        if ids.count(claim_id) > 1:
            raise InputError(f"two claims have the id {claim_id!r}: give one of them another")
    if not chosen:
        raise InputError("no claims were given")
    return chosen


def claims_in_file(path: str, facts: Facts | None = None) -> list[Claim]:
    """The claims of a TOML file, or the :class:`Claim` objects that a Python file defines at its top level, in order.

    A Python file is your own code and is run as such (:func:`claims_in_python`). A TOML file is data, as is all that
    this package stores: nothing of it is ever executed.

    Raises:
        InputError: there is no such file, it fails, or it defines no claims.
    """
    return claims_in_toml(path, facts) if path.endswith(".toml") else claims_in_python(path)
