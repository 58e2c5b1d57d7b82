"""A formula as the thing that a statement is about, where a measure of networks usually stands."""

from __future__ import annotations

import dataclasses

from ntkrobust.bounds.claims.relations import Formula


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number of a cell that no network is needed for, such as a paper's bound: its own dependence can be claimed.

    Attributes:
        name: an identifier.
        formula: a function of named coordinates of a cell.
        definition: the formula in LaTeX.
    """

    name: str
    formula: Formula
    definition: str = ""
