"""What an attack is: an object with parameters of its own and one traceable method."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import jax
import numpy as np

from ntkrobust.checks import MOST_STEPS, check_integer
from ntkrobust.errors import InputError, failed
from ntkrobust.finite.attacks.attacked_network import AttackedNetwork
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.finite.attacks.found import Found, Function
from ntkrobust.norms import NORMS, Norm, check_norm
from ntkrobust.values import Value

_COUNT = "count"

_A = TypeVar("_A", bound="Attack")

_OWN_KEYS = 2**16
"""Key indices from which attacks without one of their own have theirs."""


def count(*, default: int) -> Any:
    """A field of an attack that counts (steps, restarts, queries): an integer of at least 1.

    Programs are given it at run time: attacks that differ in counts only share a program. In ``search`` the field is an
    int32 array of shape (); it bounds loops (``jax.lax.fori_loop``), never shapes.
    """
    return dataclasses.field(default=default, metadata={_COUNT: True})


def twice(number: int) -> int:
    """Twice the steps, as far as there may be so many."""
    return min(2 * number, MOST_STEPS)


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(count, dataclasses.field))
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Attack(Value, abc.ABC):
    """Base class of attacks: a search in a ball around each input for a point that loses the class.

    An attack is a value: its fields are its parameters, and it is equal by them, hashable, pickled, and printed as the
    code that makes it. A class that derives from this one becomes a frozen dataclass by itself, and implements
    :meth:`search`; everything else has a default. ``docs/attacks.md`` has an example, and
    ``ntkrobust/finite/attacks/pgd.py`` is one.

    Attributes:
        norm: of the ball, ``"linf"``, ``"l2"`` or ``"l1"``.

    Raises:
        InputError: a parameter is not what it should be.
    """

    norm: Norm = dataclasses.field(default="linf", kw_only=True)

    norms: ClassVar[tuple[Norm, ...]] = NORMS
    """The norms that it works in."""

    uses_gradients: ClassVar[bool] = True
    """Whether it follows gradients. What others find and gradients don't says that gradients are masked."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)

    def __post_init__(self) -> None:
        """Check the norm and the counts; what else a class has to check it does after these."""
        check_norm(self.norm)
        if self.norm not in self.norms:
            raise InputError(f"{type(self).__name__} works in {' and '.join(self.norms)}, got norm={self.norm!r}")
        for name in self._count_names():
            self._set(name, check_integer(name, getattr(self, name), 1, maximum=MOST_STEPS))
        try:
            super().__hash__()  # not the one that is kept: a class may still put its fields in order
        except TypeError as error:
            raise InputError(f"the parameters of {type(self).__name__} must have a hash: {error}") from None

    @abc.abstractmethod
    def search(self, target: AttackedNetwork, found: Found) -> Found:
        """The worst of what was found before, the inputs to begin with, and of every point this attack looks at.

        It is traced by JAX for one network and mapped over the networks of an ensemble. What it gives comes from
        :meth:`AttackedNetwork.judge`, or those beside it. Points outside the ball are counted, and count for nothing.
        """

    def stronger(self) -> Attack | None:
        """An attack that should not find much more if this one is strong enough: by default the same with twice the
        ``steps``; None where there are none.
        """
        if "steps" not in self._count_names():
            return None
        counts: dict[str, Any] = {"steps": twice(getattr(self, "steps"))}  # noqa: B009  not of every attack
        return dataclasses.replace(self, **counts)

    def lacks(self, d_in: int, d_out: int) -> str:
        """Why it can't attack a network of so many inputs and outputs, as what follows its name; empty if it can."""
        return ""

    def key_index(self) -> int:
        """What a network's key is folded with, so that attacks are independent; the same whatever the counts are."""
        digest = hashlib.sha256(repr(self.static()).encode()).digest()
        return _OWN_KEYS + int.from_bytes(digest[:4], "big") % (2**32 - _OWN_KEYS)

    def against(self, f: Function, label: jax.Array, ball: Ball, key: jax.Array) -> Found:
        """The search at inputs of one network, inside of any traced program.

        Args:
            f: the network, x (d, n) to outputs (o, n).
            label: (n,) classes to be lost.
            ball: around each input, in this attack's norm.
            key: a typed key.

        Raises:
            InputError: ``search`` fails, or gives something else than the worst points.
        """
        target = AttackedNetwork(f, label, ball, self.norm, key)
        start = target.at_inputs()
        name = type(self).__name__
        try:
            found = self.search(target, start)
        except InputError:
            raise
        except Exception as error:  # a user's own code
            raise failed(f"the attack {name}", error) from error
        if not isinstance(found, Found) or _shapes(found) != _shapes(start):
            raise InputError(
                f"the search of {name} must give what it was given, improved: Found of {_shapes(start)}, "
                f"got {type(found).__name__}{f' of {_shapes(found)}' if isinstance(found, Found) else ''}"
            )
        return found

    def counts(self) -> dict[str, np.int32]:
        """What programs are given at run time."""
        return {name: np.int32(getattr(self, name)) for name in self._count_names()}

    def static(self) -> Self:
        """This attack without its counts: what a program is compiled for. Equal ones are the same object."""
        return _only(self.with_counts(dict.fromkeys(self._count_names())))

    def with_counts(self, counts: Mapping[str, Any]) -> Self:
        """The same with other counts, which may be arrays of a program."""
        other = object.__new__(type(self))
        vars(other).update(self._stored() | dict(counts))
        return other

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        """Programs are found by it, several times in every call."""
        return super().__hash__()

    def _count_names(self) -> tuple[str, ...]:
        return tuple(field.name for field in dataclasses.fields(self) if _COUNT in field.metadata)

    def _set(self, name: str, value: Any) -> None:
        """Put what was checked in place of what was given."""
        object.__setattr__(self, name, value)

    def _contents(self) -> dict[str, Any]:
        contents = super()._contents()
        return contents | {"norm": contents.pop("norm")} if "norm" in contents else contents


@functools.lru_cache(maxsize=256)
def _only(attack: _A) -> _A:
    """The first of equal attacks: comparing it to itself takes no time."""
    return attack


def _shapes(found: Found) -> str:
    return ", ".join(f"{getattr(leaf, 'dtype', type(leaf).__name__)}{list(np.shape(leaf))}" for leaf in found)
