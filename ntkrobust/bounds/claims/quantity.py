"""A formula as the thing that a statement is about, where a measure of networks usually stands."""

from __future__ import annotations

import dataclasses

from ntkrobust.bounds.claims.relations import Formula
from ntkrobust.checks import check_text, shown
from ntkrobust.errors import InputError
from ntkrobust.values import Value


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Quantity(Value):
    """A number of a cell that no network is needed for, such as a paper's bound: its own dependence can be claimed.

    Attributes:
        name: an identifier.
        formula: a function of named coordinates of a cell.
        definition: the formula in LaTeX.
    """

    name: str
    formula: Formula
    definition: str = ""

    def __post_init__(self) -> None:
        if not check_text("the name of a quantity", self.name).isidentifier():
            raise InputError(f"the name of a quantity must be an identifier, got {shown(self.name)}")
        if not callable(self.formula):
            raise InputError(f"the formula of a quantity must be a function, got {shown(self.formula)}")
        check_text("the definition of a quantity", self.definition)
