"""The norms that perturbations are measured in."""

from __future__ import annotations

from typing import Literal

from ntkrobust.errors import InputError

Norm = Literal["linf", "l2", "l1"]

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")


def check_norm(norm: object) -> Norm:
    """The name of a norm.

    Raises:
        InputError: there is no such norm.
    """
    if not isinstance(norm, str) or norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(map(repr, NORMS))}, got {norm!r}")
    return norm
