"""What is read from words of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ntkrobust.checks import check_integer
from ntkrobust.errors import InputError

if TYPE_CHECKING:
    import jax


def cell_of(at: tuple[str, ...]) -> dict[str, Any] | None:
    """``width=17`` as axis → value."""
    found: dict[str, Any] = {}
    for text in at:
        axis, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"a cell is given as AXIS=VALUE, got {text!r}")
        found[axis.strip()] = _value(value.strip())
    return found or None


def _value(text: str) -> int | float | str | None:
    if text == "None":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def typed_key(key: int) -> jax.Array:
    """The typed random key made of that number."""
    import jax

    from ntkrobust.finite.seeds import THREEFRY

    if check_integer("key", key, 0) >= 2**32:
        raise InputError(f"key must be below 2³², got {key}")
    return jax.random.key(key, impl=THREEFRY)
