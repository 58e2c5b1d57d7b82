"""A claim written as the function that is its bound."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.bounds.claims.relations import AtMost, Formula, Relation
from ntkrobust.checks import shown
from ntkrobust.errors import InputError


def claim(
    id: str,
    statement: str | None = None,
    *,
    relation: Callable[..., Relation] = AtMost,
    measure: str | Callable[..., Any] | Any = "perturbation_stability",
    grid: Mapping[str, Sequence[Any]],
    margin: float | None = None,
    growth: float | None = None,
    **fields: Any,
) -> Callable[[Formula], Claim]:
    r"""Turn a function of named coordinates into the claim that it bounds, or is, a measure.

    Args:
        id: as of :class:`Claim`.
        statement: text with LaTeX between dollar signs; by default the function's docstring.
        relation: :class:`AtMost`, :class:`AtLeast`, :class:`OrderAtMost`, :class:`OrderAtLeast`, :class:`Equals`, or
            anything that makes a relation of a formula.
        measure: as of :class:`Claim`.
        grid: as of :class:`Claim`.
        margin: of ``Equals``.
        growth: of ``OrderAtMost`` and ``OrderAtLeast``.
        fields: the other fields of :class:`Claim`.

    Returns:
        A decorator; what it leaves under the function's name is the :class:`Claim`.

    Raises:
        InputError: as for :class:`Claim`.

    Example::

        @ntr.claim(id="mine/decay", relation=ntr.AtMost, measure="jacobian_frobenius_sq",
                   grid={"initialization": ["lecun"], "depth": [2, 4], "width": [32]})
        def decay(depth):
            r"$E\|J(x)\|_F^2 \leq 0.6^{L-1}$"
            return 0.6 ** (depth - 1)
    """

    if not callable(relation):
        raise InputError(f"relation must be what makes a relation of a formula, such as AtMost, got {shown(relation)}")

    def decorate(formula: Formula) -> Claim:
        said = statement if statement is not None else (inspect.getdoc(formula) or "")
        options = {name: value for name, value in (("margin", margin), ("growth", growth)) if value is not None}
        return Claim(id, said, relation(formula, **options), measure, grid, **fields)

    return decorate
