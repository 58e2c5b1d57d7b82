"""Checks of arguments that several modules share. Nothing here needs JAX."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ntkrobust.errors import InputError, one_line

LARGEST = 2**31 - 1
"""The largest size that programs count with."""

MOST_LAYERS = 100_000
"""Weight matrices of a network."""

MOST_SEEDS = 1_000_000
"""Networks of an ensemble."""

MOST_STEPS = 10_000_000
"""Steps of a training."""

MOST_BYTES = 2**62
"""A limit on memory."""

LARGEST_SEED = 2**63 - 1
"""Of numpy's generators."""

_P = ParamSpec("_P")
_R = TypeVar("_R")

Check = Callable[[str, Any], Any]
"""Takes the name of an argument and what arrived, and gives what to use, or raises InputError."""


def shown(value: object, longest: int = 80) -> str:
    """What arrived, for a sentence: one line, not too long, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # integers of thousands of digits, objects of others
        text = f"a very large {type(value).__name__}" if isinstance(value, Integral) else f"a {type(value).__name__}"
    return one_line(text, longest)


def check_integer(name: str, value: object, minimum: int, because: str = "", *, maximum: int = LARGEST) -> int:
    """``value`` as an int of at least ``minimum`` and at most ``maximum``.

    Raises:
        InputError: it is not an integer (2.0, "2" and True are none), or out of range.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < minimum:
        reason = f" ({because})" if because else ""
        least = f" of at least {minimum}" if minimum > -LARGEST else ""
        raise InputError(f"{name} must be an integer{least}{reason}, got {shown(value)}")
    if int(value) > maximum:
        raise InputError(f"{name} must be an integer of at most {maximum}, got {shown(value)}")
    return int(value)


def check_number(name: str, value: object) -> float:
    """``value`` as a finite float.

    Raises:
        InputError: it is not a real number, or not finite, or beyond the range of floats.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except (OverflowError, TypeError, ValueError):
            number = math.inf
        if math.isfinite(number):
            return number
    raise InputError(f"{name} must be a finite number, got {shown(value)}")


def check_not_negative(name: str, value: object) -> float:
    """``value`` as a finite float that is not negative; InputError otherwise."""
    number = check_number(name, value)
    if number < 0:
        raise InputError(f"{name} must not be negative, got {number:g}")
    return abs(number)  # not −0.0


def check_positive(name: str, value: object) -> float:
    """``value`` as a finite positive float; InputError otherwise."""
    number = check_number(name, value)
    if number <= 0:
        raise InputError(f"{name} must be positive, got {number:g}")
    return number


def check_flag(name: str, value: object) -> bool:
    """``value`` as a bool; InputError unless it is one."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """``value`` if it is one of ``choices``; InputError otherwise."""
    if not isinstance(value, str) or value not in choices:
        close = similar(value, choices) if isinstance(value, str) else ""
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}{close}")
    return value


def check_text(name: str, value: object) -> str:
    """``value`` if it is a text; InputError otherwise."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be a text, got {shown(value)}")
    return value


def check_sequence(value: object, name: str = "it") -> Sequence[Any]:
    """``value`` if it is a sequence, no text; InputError otherwise."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InputError(f"{name} must be a sequence, got {shown(value)}")
    return value


def check_path(name: str, value: object) -> str | os.PathLike[str]:
    """``value`` if it can name a file; InputError otherwise."""
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise InputError(f"{name} must be the path of a file or folder, got {shown(value)}")
    return value


def whole(minimum: int, maximum: int = LARGEST, because: str = "") -> Check:
    """The check of an integer in a range."""
    return lambda name, value: check_integer(name, value, minimum, because, maximum=maximum)


def one_of(choices: Sequence[str]) -> Check:
    """The check of a name."""
    return lambda name, value: check_choice(name, value, choices)


def instance(kind: type | tuple[type, ...], words: str) -> Check:
    """The check of an object; ``words`` say what is expected."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise InputError(f"{name} must be {words}, got {shown(value)}")
        return value

    return check


def or_none(check: Check) -> Check:
    """The check of something that may be left out."""
    return lambda name, value: None if value is None else check(name, value)


def takes(**checks: Check) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A function whose arguments of these names go through checks before anything else; defaults are not checked."""

    def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            bound = signature.bind(*args, **kwargs)
            for name, check in checks.items():
                if name in bound.arguments:
                    bound.arguments[name] = check(name, bound.arguments[name])
            return function(*bound.args, **bound.kwargs)

        return call

    return checked


def unknown(what: str, value: object, names: Iterable[str], instead: str = "") -> InputError:
    """The error that says which names there are; ``instead`` ends its sentence."""
    known = tuple(names)
    return InputError(
        f"unknown {what} {shown(value)}{similar(value, known)}: expected one of {', '.join(known)}{instead}"
    )


def similar(value: object, names: Iterable[str]) -> str:
    """`` (did you mean '…'?)`` if it is nearly one of ``names``, else nothing."""
    close = difflib.get_close_matches(str(value)[:100], list(names), n=1, cutoff=0.75) if isinstance(value, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""
