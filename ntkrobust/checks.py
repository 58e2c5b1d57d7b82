"""Checks of arguments that several modules share. Nothing here needs JAX."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real

from ntkrobust.errors import InputError


def check_integer(name: str, value: object, minimum: int, because: str = "") -> int:
    """``value`` as an int of at least ``minimum``.

    Raises:
        InputError: it is not an integer, or it is smaller.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < minimum:
        reason = f" ({because})" if because else ""
        raise InputError(f"{name} must be an integer of at least {minimum}{reason}, got {value!r}")
    return int(value)


def check_number(name: str, value: object) -> float:
    """``value`` as a finite float.

    Raises:
        InputError: it is not a real number, or not finite.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def check_not_negative(name: str, value: object) -> float:
    """``value`` as a finite float that is not negative; InputError otherwise."""
    number = check_number(name, value)
    if number < 0:
        raise InputError(f"{name} must not be negative, got {number:g}")
    return number


def check_positive(name: str, value: object) -> float:
    """``value`` as a finite positive float; InputError otherwise."""
    number = check_number(name, value)
    if number <= 0:
        raise InputError(f"{name} must be positive, got {number:g}")
    return number


def unknown(what: str, value: object, names: Iterable[str], instead: str = "") -> InputError:
    """The error that says which names there are; ``instead`` ends its sentence."""
    known = tuple(names)
    return InputError(f"unknown {what} {value!r}{similar(value, known)}: expected one of {', '.join(known)}{instead}")


def similar(value: object, names: Iterable[str]) -> str:
    """`` (did you mean '…'?)`` if it is nearly one of ``names``, else nothing."""
    close = difflib.get_close_matches(str(value), list(names), n=1, cutoff=0.75)
    return f" (did you mean {close[0]!r}?)" if close else ""
