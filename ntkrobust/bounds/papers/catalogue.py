"""The statements this package knows: the papers' own, and the equalities of the exact law and of its limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.facts import Facts
from ntkrobust.bounds.papers import bubeck2021, law, limits, lipschitz_bounds, regimes, wu2021, zhu2022
from ntkrobust.bounds.papers.sizes import PRESETS, sizes_for
from ntkrobust.checks import check_flag, check_sequence, check_text, shown, similar, unknown
from ntkrobust.errors import InputError

__all__ = ["OVERVIEW", "PRESETS", "catalogue", "default_claims", "load", "select"]


def catalogue(preset: str = "quick", facts: Facts | None = None) -> tuple[Claim, ...]:
    """All statements of this package, on the grids of a preset for data of which these are the facts.

    Raises:
        InputError: the preset is unknown.
    """
    if not isinstance(preset, str) or preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    return _catalogue(preset, facts)


@lru_cache(maxsize=4 * len(PRESETS))
def _catalogue(preset: str, facts: Facts | None) -> tuple[Claim, ...]:
    sizes = sizes_for(preset, facts)
    return (
        *law.claims(sizes),
        *limits.claims(sizes),
        *zhu2022.depth.measured(sizes),
        *zhu2022.depth.infinite(sizes),
        *zhu2022.width.measured(sizes),
        *zhu2022.bounds(),
        *zhu2022.orders(sizes),
        *wu2021.natural.claims(sizes),
        *wu2021.adversarial.claims(sizes),
        *wu2021.bounds(),
        *bubeck2021.claims(),
        *regimes.claims(sizes),
        *regimes.leaving_lazy(sizes),
        *lipschitz_bounds.claims(sizes),
    )


OVERVIEW = (
    "law",
    "limit",
    "zhu2022/depth-lecun/measured",
    "zhu2022/depth-he/measured",
    "zhu2022/depth-ntk/measured",
    "zhu2022/depth-he/infinite@converged",
    "zhu2022/width-under/measured",
    "zhu2022/width-over/measured",
    "zhu2022/nonlazy-width/measured@equal-scaled-time",
    "wu2021/lipschitz/measured@initialization",
    "wu2021/lipschitz-supremum/measured@initialization",
    "wu2021/natural/measured@trades-32",
    "wu2021/stability/measured@trades-2",
    "wu2021/stability/measured@trades-32",
    "wu2021/local-lipschitz/measured@trades-32",
    "wu2021/war-stability/measured@trades",
    "bubeck2021/universal-law/bound@equal-loss",
)
"""What a first look at the papers shows: their main statements, in readings that take a few minutes together."""


def default_claims(preset: str = "quick", facts: Facts | None = None) -> tuple[Claim, ...]:
    """The :data:`OVERVIEW`: what is judged where nothing is named.

    Args:
        preset: ``quick``, ``standard`` or ``paper``: sizes of grids.
        facts: of the data on which they are to be judged, from which grids follow; those of the digits, if None.
    """
    return select(OVERVIEW, preset, facts=facts)


def load(claim_id: str, preset: str = "quick") -> Claim:
    """One statement by its id; without ``@reading``, in the first of its readings.

    Args:
        claim_id: ``paper/statement/kind@reading``, as ``ntkrobust claims`` lists them.
        preset: ``quick``, ``standard`` or ``paper``: sizes of grids.

    Raises:
        InputError: there is no such statement.
    """
    return select([claim_id], preset)[0]


def select(
    names: Sequence[str], preset: str = "quick", everything: bool = False, facts: Facts | None = None
) -> tuple[Claim, ...]:
    """The statements meant by ids, by ids without their reading (all readings) or by papers (all their statements).

    Args:
        names: what is asked for.
        preset: sizes of the grids.
        everything: a paper means also those of its statements that are known from recollection only.
        facts: of the data that grids are designed for; by default the digits.

    Raises:
        InputError: a name means nothing.
    """
    known = catalogue(preset, facts)
    everything = check_flag("everything", everything)
    chosen: list[Claim] = []
    for name in check_sequence(names, "names"):
        check_text("the id of a claim", name)
        of_paper = [claim for claim in known if name == claim.paper]
        found = [claim for claim in of_paper if everything or claim.provenance != "recollection"] or of_paper
        found += [claim for claim in known if name in (claim.id, claim.base_id)]
        if not found:
            papers = ", ".join(dict.fromkeys(claim.paper for claim in known))
            close = similar(name, sorted({one for claim in known for one in (claim.paper, claim.base_id, claim.id)}))
            raise InputError(f"unknown claim {shown(name)}{close}: `ntkrobust claims` lists them (papers: {papers})")
        chosen += [claim for claim in found if claim not in chosen]
    return tuple(chosen)
