"""Claims: statements of theorems in a form that can be checked, and the catalogue of those known here."""

from ntkrobust.bounds.claims.catalogue import PRESETS, catalogue, load, select
from ntkrobust.bounds.claims.claim import Assumption, Claim, Reading
from ntkrobust.bounds.claims.relations import AtMost, DecreasesIn, Equals, IncreasesIn, Trend

__all__ = [
    "PRESETS",
    "Assumption",
    "AtMost",
    "Claim",
    "DecreasesIn",
    "Equals",
    "IncreasesIn",
    "Reading",
    "Trend",
    "catalogue",
    "load",
    "select",
]
