"""Checks of arguments that several modules share. Nothing here needs JAX."""

from __future__ import annotations

import math
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
