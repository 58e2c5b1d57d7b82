"""Claims: statements of theorems in a form that can be checked."""

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.quantity import Quantity
from ntkrobust.bounds.claims.reading import Assumption, Reading
from ntkrobust.bounds.claims.relations import (
    AtLeast,
    AtMost,
    DecreasesIn,
    Equals,
    FallsThenRises,
    IncreasesIn,
    OrderAtLeast,
    OrderAtMost,
    RisesThenFalls,
    ScalesAs,
    Trend,
    Turns,
)

__all__ = [
    "Assumption",
    "AtLeast",
    "AtMost",
    "Claim",
    "DecreasesIn",
    "Equals",
    "FallsThenRises",
    "IncreasesIn",
    "OrderAtLeast",
    "OrderAtMost",
    "Quantity",
    "Reading",
    "RisesThenFalls",
    "ScalesAs",
    "Trend",
    "Turns",
]
