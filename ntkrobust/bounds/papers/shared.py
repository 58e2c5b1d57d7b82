"""What claims of several sources share: assumptions, and the form of statements about untrained networks."""

from __future__ import annotations

from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.reading import Assumption
from ntkrobust.bounds.claims.relations import Relation
from ntkrobust.bounds.papers.sizes import Sizes

LAZY_RATIO, LAZY_KERNEL_CHANGE = 0.05, 0.1


def is_lazy(lazy_ratio: float, kernel_change: float) -> bool:
    """κ_t < 0.05 and kernel change < 0.1: where we draw the line between lazy training and the rest."""
    return lazy_ratio < LAZY_RATIO and kernel_change < LAZY_KERNEL_CHANGE


LAZY = Assumption(
    "lazy training: κ_t < 0.05 and kernel change < 0.1",
    is_lazy,
    ("lazy_ratio", "kernel_change"),
)
UNDER = Assumption(
    "under-parameterized: fewer parameters than n·o", lambda parameters, n, d_out: parameters < n * d_out
)
OVER = Assumption("over-parameterized: p > n·o parameters", lambda parameters, n, d_out: parameters > n * d_out)
NOT_LAZY = Assumption(
    "outside the lazy regime: κ_t ≥ 0.05 or kernel change ≥ 0.1",
    lambda lazy_ratio, kernel_change: not is_lazy(lazy_ratio, kernel_change),
    ("lazy_ratio", "kernel_change"),
)


SHORTER = (1.0, 0.25, 0.05)
"""Times t·λ_max at which networks are read that are no longer lazy at 4."""

HIGHER_LOSSES = (0.5, 0.7)
"""Losses at which networks are read that do not reach lower ones."""


def at_initialization(claim_id: str, said: str, relation: Relation, sizes: Sizes, **more: Any) -> Claim:
    """A statement about untrained networks, by default about P/ε with the exact law as its theory line."""
    theory = more.pop("theory", lambda exact_law: exact_law)
    return Claim(
        f"{claim_id}@initialization",
        said,
        relation,
        more.pop("measure", "perturbation_stability"),
        theory=theory,
        theory_label="" if theory is None else "exact law",
        draws=2 * sizes.draws,
        **more,
    )
