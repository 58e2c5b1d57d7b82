"""Names of measures as variables, made of their classes and of what differs from the defaults of their parameters."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container
from typing import Any

from ntkrobust.checks import check_text, shown
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.values import same

_SIGNS = str.maketrans({"-": "m", "+": "", ".": "_"})

_WHOLE = 1e6
"""Whole numbers below it are written as such."""


def check_name(name: object) -> str:
    """A name that a variable may have.

    Raises:
        InputError: it is none.
    """
    if not check_text("the name of a measure", name).isidentifier():
        raise InputError(f"the name of a measure is made of letters, digits and _, got {shown(name)}")
    return str(name)


def in_small_letters(name: str) -> str:
    """``RobustAccuracy`` as ``robust_accuracy``, ``PGD`` as ``pgd``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def different(value: Any) -> dict[str, Any]:
    """Fields of a dataclass that differ from their defaults."""
    found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
    defaults = {field.name: field.default for field in dataclasses.fields(value)}
    return {name: one for name, one in found.items() if not same(one, defaults[name])}


def what_differs(value: Any, leaving_out: Container[str] = ()) -> str:
    """What differs from the defaults, as the end of a name: ``_epsilon_0_1`` for a number, ``_l2`` for a text."""
    return "".join(_word(name, one) for name, one in different(value).items() if name not in leaving_out)


def attack_in_name(attack: Attack, usual: Attack, what: str) -> str:
    """An attack as the end of a name: its norm only, and what it is called, where it is the usual one in that norm."""
    if dataclasses.replace(usual, norm=attack.norm) == attack:
        return what_differs(attack, {field.name for field in dataclasses.fields(attack)} - {"norm"}) + what
    return (what and "_by") + f"_{in_small_letters(type(attack).__name__)}{what_differs(attack)}"


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"_{name}" if value else f"_not_{name}"
    if isinstance(value, str):
        return "_" + re.sub(r"\W+", "_", value)
    if isinstance(value, Attack):
        return f"_{in_small_letters(type(value).__name__)}{what_differs(value)}"
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        value = int(value)
    return f"_{name}_" + re.sub(r"\W+", "_", repr(value).translate(_SIGNS)).strip("_")
