"""The facts of a data set that the designs of claims start from."""

from __future__ import annotations

from ntkrobust.bounds.claims.facts import Facts
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError


def facts_of(data: Dataset) -> Facts:
    """Those of a data set."""
    try:
        distance = data.class_distance("linf")
    except InputError:  # real targets of one sign, or classes that coincide
        distance = None
    return Facts(data.n, data.d, data.o, data.scale, distance)
