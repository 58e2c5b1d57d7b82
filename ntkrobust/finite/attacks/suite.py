"""The attacks of one call: those that were asked for, by name or as objects, and those that check their strength."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ntkrobust.checks import shown
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.finite.attacks.catalogue import NAMES, PGD, RandomSearch, named
from ntkrobust.norms import Norm, check_norm


@dataclasses.dataclass(frozen=True)
class Suite:
    """Attacks in one norm.

    Attributes:
        norm: of all of them.
        attacks: by name; objects by what they print.
        stronger: what should not find much more, see :meth:`Attack.stronger`: of all attacks, and at least PGD's.
        control: random search.
    """

    norm: Norm
    attacks: dict[str, Attack]
    stronger: tuple[Attack, ...]
    control: RandomSearch

    @classmethod
    def of(
        cls, methods: str | Attack | Sequence[str | Attack], norm: Norm | None, d_in: int, d_out: int, **parameters: Any
    ) -> Suite:
        """The attacks of these names and objects, against networks of so many inputs and outputs.

        Args:
            methods: one or several.
            norm: of the call; None for that of the objects, ℓ∞ where there are none.
            d_in, d_out: inputs and outputs.
            parameters: ``steps``, ``restarts``, ``queries`` and ``image_shape``, which names take.

        Raises:
            InputError: there are none, one is unknown or repeated, does not work in this norm or for such networks, or
                norms differ.
        """
        chosen = (methods,) if isinstance(methods, str | Attack) else methods
        if not isinstance(chosen, Sequence) or not all(isinstance(one, str | Attack) for one in chosen):
            raise InputError(f"methods must be names out of {', '.join(NAMES)}, or attacks, got {shown(methods)}")
        if not chosen:
            raise InputError(f"at least one method is needed, out of {', '.join(NAMES)}, or an attack")
        norm = _norm(norm, [one for one in chosen if isinstance(one, Attack)])
        attacks = [named(one, norm, **parameters) if isinstance(one, str) else one for one in chosen]
        labels = [one if isinstance(one, str) else repr(one) for one in chosen]
        for attack, one in zip(attacks, chosen, strict=True):
            lack = attack.lacks(d_in, d_out)
            if lack:
                raise InputError(f"the method {one!r} {lack}")
        if len(set(attacks)) != len(attacks) or len(set(labels)) != len(labels):
            raise InputError(f"methods must be different from each other, got {', '.join(map(repr, chosen))}")
        control = next(
            (one for one in attacks if isinstance(one, RandomSearch)), RandomSearch(parameters["queries"], norm=norm)
        )
        reference = PGD(parameters["steps"], parameters["restarts"], norm=norm).stronger()
        stronger = _stronger(attacks, norm)
        if not any(isinstance(one, type(reference)) for one in stronger):
            stronger.append(reference)
        return cls(norm, dict(zip(labels, attacks, strict=True)), tuple(dict.fromkeys(stronger)), control)

    @property
    def stronger_names(self) -> str:
        """What the stronger attacks are called."""
        names = list(NAMES)
        found = [names[one.key_index()] if one.key_index() < len(names) else repr(one) for one in self.stronger]
        return ", ".join(dict.fromkeys(found))

    @property
    def searches(self) -> list[str]:
        """Names of the attacks that follow no gradients, the control aside."""
        return [
            name
            for name, one in self.attacks.items()
            if not one.uses_gradients and not isinstance(one, RandomSearch)
        ]  # fmt: skip


def _stronger(attacks: list[Attack], norm: Norm) -> list[Attack]:
    """What the attacks say is stronger; InputError if it is something else, or in another norm."""
    found = []
    for attack in attacks:
        one = attack.stronger()
        if one is not None and not (isinstance(one, Attack) and one.norm == norm):
            raise InputError(f"stronger() of {attack!r} must give an attack in {norm!r} or None, got {shown(one)}")
        found += [] if one is None else [one]
    return found


def _norm(norm: Norm | None, objects: list[Attack]) -> Norm:
    """The norm of the call and of every object; InputError if they differ."""
    if norm is None:
        norm = objects[0].norm if objects else "linf"
    norm = check_norm(norm)
    for one in objects:
        if one.norm != norm:
            raise InputError(f"attacks of one call are in one norm, but {one!r} is not in {norm!r}")
    return norm
