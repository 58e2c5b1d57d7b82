"""Which measures the cells of a claim are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Computed, Measure
from ntkrobust.finite.measures.functions import measure_of
from ntkrobust.finite.measures.probe import Probe


def measure_of_claim(claim: Claim) -> Measure:
    """The measure that a claim speaks of, whichever way it names it.

    Raises:
        InputError: the name is unknown, or the function is none of a network.
    """
    if isinstance(claim.measure, Quantity):
        return Computed(claim.measure.name, claim.measure.definition, _no_networks, dims=(), source=claim.source)
    try:
        return measure_of(claim.measure, claim.measure_name)
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def _no_networks(probe: Probe) -> jax.Array:
    raise NotImplementedError("a formula is not measured on networks")


def measures_of(claim: Claim) -> list[Measure]:
    """The measures that a claim's cells are asked for: its own, and those that its assumptions look at."""
    own = [] if isinstance(claim.measure, Quantity) else [measure_of_claim(claim)]
    try:
        return own + [measure_of(name) for one in claim.assumptions for name in one.measures]
    except InputError as error:
        raise InputError(f"claim {claim.id}: {error}") from None


def check_names(chosen: Sequence[Measure]) -> None:
    """Measures become variables of the evidence: no two may share a name."""
    by_name: dict[str, Measure] = {}
    for one in chosen:
        if by_name.setdefault(one.name, one) != one:
            raise InputError(f"two claims bring different measures of the name {one.name!r}: rename one of them")
