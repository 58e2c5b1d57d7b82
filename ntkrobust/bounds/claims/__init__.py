"""Claims: statements of theorems in a form that can be checked, and the catalogue of those known here."""

from ntkrobust.bounds.claims.catalogue import PRESETS, catalogue, default_claims, load, select
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
    "PRESETS",
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
    "catalogue",
    "default_claims",
    "load",
    "select",
]
