"""What is read from words of the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from ntkrobust.checks import check_integer, shown
from ntkrobust.errors import InputError

if TYPE_CHECKING:
    import jax


def cell_of(at: tuple[str, ...]) -> dict[str, Any] | None:
    """``width=17`` as axis → value."""
    found: dict[str, Any] = {}
    for text in at:
        axis, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"a cell is given as AXIS=VALUE, got {shown(text)}")
        found[axis.strip()] = _value(value.strip())
    return found or None


def _value(text: str) -> int | float | str | None:
    if text == "None":
        return None
    for read in (_whole_number, _real_number):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _whole_number(text: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]{1,30}", text) is None:
        raise ValueError(f"expected a whole number, got {shown(text)}")
    return int(text)


def _real_number(text: str) -> float:
    # float() takes 1_000, and digits of any script.
    if not text.isascii() or "_" in text:
        raise ValueError(f"expected a number, got {shown(text)}")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number, got {shown(text)}") from None


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    return _whole_number(tokens[0].value)


def _several_whole(_: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    return tuple(_whole_number(token.value) for token in tokens)


def _real(_: Any, tokens: Sequence[Token]) -> float:
    return _real_number(tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]
"""A whole number, in decimal digits: 2.9 is none, and is not rounded."""

Wholes = Annotated[tuple[int, ...], Parameter(converter=_several_whole, consume_multiple=True)]
"""Several of them."""

Number = Annotated[float, Parameter(converter=_real)]
"""A real number."""

WholeIfAny = Annotated[int | None, Parameter(converter=_whole)]
WholesIfAny = Annotated[tuple[int, ...] | None, Parameter(converter=_several_whole, consume_multiple=True)]
NumberIfAny = Annotated[float | None, Parameter(converter=_real)]
"""The same where there is a default of none."""


def typed_key(key: int) -> jax.Array:
    """The typed random key made of that number."""
    import jax

    from ntkrobust.runtime.seeds import THREEFRY

    check_integer("key", key, 0, maximum=2**32 - 1)
    return jax.random.key(key, impl=THREEFRY)
