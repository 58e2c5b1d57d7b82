"""Attacks as objects, and the short names of those that come with the package: ``ntkrobust.attacks``."""

from __future__ import annotations

import dataclasses
from typing import Any

from ntkrobust.checks import unknown
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.apgd import APGD
from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.base import Attack, count
from ntkrobust.finite.attacks.fgsm import FGSM
from ntkrobust.finite.attacks.found import Evaluation, Found
from ntkrobust.finite.attacks.margin_pgd import MarginPGD
from ntkrobust.finite.attacks.pgd import PGD
from ntkrobust.finite.attacks.random_search import RandomSearch
from ntkrobust.finite.attacks.square import Square
from ntkrobust.norms import Norm, check_norm

__all__ = [
    "APGD",
    "FGSM",
    "NAMES",
    "PGD",
    "Attack",
    "AttackedNetwork",
    "Evaluation",
    "Found",
    "MarginPGD",
    "RandomSearch",
    "Square",
    "count",
    "named",
]

NAMES: dict[str, Attack] = {
    "fgsm": FGSM(),
    "pgd": PGD(),
    "apgd-ce": APGD("ce"),
    "apgd-dlr": APGD("dlr"),
    "apgd-t": APGD("targeted-dlr"),
    "square": Square(),
    "random": RandomSearch(),
}
"""Short names, and what they stand for."""


def named(name: str, norm: Norm = "linf", **parameters: Any) -> Attack:
    """The attack of a short name, with those of the parameters that it has.

    Raises:
        InputError: the name is unknown, or that attack does not work in this norm.
    """
    if not isinstance(name, str) or name not in NAMES:
        raise unknown("method", name, NAMES)
    attack, norm = NAMES[name], check_norm(norm)
    if norm not in attack.norms:
        *others, last = (other for other, one in NAMES.items() if norm in one.norms)
        raise InputError(
            f"the method {name!r} works in {' and '.join(attack.norms)}: for {norm} take {', '.join(others)} or {last}"
        )
    own = {field.name for field in dataclasses.fields(attack)} & set(parameters)
    return dataclasses.replace(attack, norm=norm, **{field: parameters[field] for field in own})
