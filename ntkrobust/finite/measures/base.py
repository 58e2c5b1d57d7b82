"""What a measure is: a named number of a network, with its definition and its side.

A measure's *side* says how the reported number relates to the quantity it is named after: ``exact``, or a ``lower`` or
``upper`` bound of it. Statements may be refuted or supported only by numbers of the right side.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Self, dataclass_transform

import jax
import numpy as np

from ntkrobust.checks import (
    MOST_STEPS,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_positive,
    check_sequence,
    check_text,
    shown,
)
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.base import Attack, count
from ntkrobust.finite.measures.naming import check_name, different, in_small_letters, what_differs
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.numerics.scaling import Scaled
from ntkrobust.values import Value, as_code

Side = Literal["exact", "lower", "upper"]
"""How a reported number relates to the quantity it is named after: it is it, or bounds it from this side."""

DIMS = ("point", "layer")
NEEDS = ("y_test", "epsilon")

MOST_SAMPLES = 100_000
"""Random draws per point."""

_FLAGS = ("needs_training_data", "fully_connected", "needs_initial", "of_classes")
_NUMBER = "number"


def number(*, default: float | None = dataclasses.MISSING) -> Any:  # type: ignore[assignment]
    """A field of a measure that is a finite number, or None if that is its default.

    Programs are given it at run time: measures that differ in such numbers, and in counts, share a program. In
    ``compute`` the field is a float32 array of shape ().
    """
    return dataclasses.field(default=default, metadata={_NUMBER: True})


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(count, number, dataclasses.field))
class Measure(Value):
    r"""A named number of a network. A measure of one's own is a class derived from this one, with ``compute``::

        class Margin(ntr.Measure):
            r"$\min_{k \ne 0} f_0(x) - f_k(x)$"

            def compute(self, probe):
                return probe.outputs[:, 0] - jnp.max(probe.outputs[:, 1:], axis=1)

    A measure is a value: its fields are its parameters, and it is equal by them, hashable, pickled, and printed as the
    code that makes it. The class becomes a frozen dataclass by itself. What is said of it beside ``compute`` are class
    attributes or properties; those below are the defaults. Two fields have a meaning everywhere: ``epsilon``, a radius
    in the units of x (:func:`number`), and ``samples``, draws per point: where they are None, ``compute`` sees those of
    the call.

    ``Measure(name, definition, compute, ...)``, with :class:`Computed`'s fields, makes one of a function of a
    :class:`~ntkrobust.finite.measures.probe.Probe`, without a class.

    Raises:
        InputError: a parameter is not what it should be.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Of a function, where no class is derived."""
        return super().__new__(Computed if cls is Measure else cls)  # type: ignore[return-value]

    def __post_init__(self) -> None:
        """Check numbers, counts, radius and samples; what else a class has to check it does after these."""
        what = type(self).__name__
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            name = f"{field.name} of {what}"
            if field.name == "epsilon":
                self._set(field.name, check_positive(name, value))
            elif field.name == "samples":
                self._set(field.name, check_integer(name, value, 2, maximum=MOST_SAMPLES))
            elif _NUMBER in field.metadata:
                self._set(field.name, check_number(name, value))
            elif "count" in field.metadata:
                self._set(field.name, check_integer(name, value, 1, maximum=MOST_STEPS))

    def compute(self, probe: Probe) -> jax.Array | Scaled:
        """The number of one network, by functions that JAX can trace.

        Returns:
            an array with the axes ``dims``, or a :class:`~ntkrobust.numerics.scaling.Scaled` one, for numbers that
            single precision need not hold.
        """
        raise NotImplementedError(f"{type(self).__name__} has no compute(probe)")

    def __call__(self, probe: Probe) -> jax.Array | Scaled:
        """:meth:`compute`, with the radius and the samples of the probe where this measure has none."""
        missing = [name for name in ("epsilon", "samples") if getattr(self, name, probe) is None]
        return self._changed({name: getattr(probe, name) for name in missing}).compute(probe)

    @property
    def name(self) -> str:
        """How it is called, and its variable's name in the result.

        By default that of its class, ``in_small_letters``, with what differs from the defaults of its parameters:
        ``KernelChange(points=16)`` is ``kernel_change_points_16``.
        """
        return vars(self).get("name") or self._own_name()

    def rename(self, name: str) -> Self:
        """The same under another name."""
        return self._changed({"name": check_name(name)})

    def _own_name(self) -> str:
        return in_small_letters(type(self).__name__) + what_differs(self)

    @property
    def definition(self) -> str:
        """What it is, in LaTeX: what stands between dollar signs in the first line of its class's docstring."""
        return formula_in(type(self))

    @property
    def stated(self) -> str:
        """The definition, with its own radius if it has one: what results say of it."""
        return self.definition + ("" if self.radius is None else rf",\ \varepsilon = {self.radius:g}")

    @property
    def dims(self) -> tuple[str, ...] | None:
        """Axes of one network's result: ``("point",)``, ``("layer",)`` or ``()``; None for points if it has an axis."""
        return None

    @property
    def side(self) -> Side:
        """``exact``, or the side on which the number bounds the quantity."""
        return "exact"

    @property
    def needs(self) -> tuple[str, ...]:
        """What it looks at beside the network and the points: ``"y_test"``, ``"epsilon"``."""
        return ()

    @property
    def source(self) -> str:
        """Paper and place, or what it follows from."""
        return ""

    @property
    def needs_training_data(self) -> bool:
        """Whether it looks at the training set."""
        return False

    @property
    def needs_initial(self) -> bool:
        """Whether it looks at parameters as they were drawn."""
        return False

    @property
    def fully_connected(self) -> bool:
        """Whether it makes sense for fully connected networks only."""
        return False

    @property
    def of_classes(self) -> bool:
        """Whether it compares with the classes of targets, which then have to have one."""
        return False

    @property
    def radius(self) -> float | None:
        """Its own radius, if it has one."""
        return getattr(self, "epsilon", None)

    @property
    def asks_for(self) -> tuple[str, ...]:
        """What has to be given to :func:`ntkrobust.measure` for it: what it needs and does not have."""
        has_radius = "epsilon" in {field.name for field in self._fields()}
        needed = dict.fromkeys((*self.needs, *(("epsilon",) if has_radius else ())))
        return tuple(one for one in needed if one != "epsilon" or self.radius is None)

    def numbers(self) -> dict[str, np.generic]:
        """What programs are given at run time, by names of fields; ``attack.steps`` is one of the field ``attack``."""
        found: dict[str, np.generic] = {}
        for field in self._fields():
            value = getattr(self, field.name)
            if isinstance(value, Attack):
                found |= {f"{field.name}.{name}": one for name, one in value.counts().items()}
            elif value is not None and _NUMBER in field.metadata:
                found[field.name] = np.float32(value)
            elif value is not None and "count" in field.metadata:
                found[field.name] = np.int32(value)
        return found

    def with_numbers(self, numbers: Mapping[str, Any]) -> Self:
        """The same with other numbers of the same names, which may be arrays of a program."""
        changes: dict[str, Any] = {}
        for name, value in numbers.items():
            field, _, part = name.partition(".")
            changes[field] = changes.get(field, getattr(self, field)).with_counts({part: value}) if part else value
        return self._changed(changes)

    def static(self) -> Self:
        """What a program is compiled for: the same without the numbers that it is given at run time, and unnamed."""
        other = self.with_numbers(dict.fromkeys(self.numbers()))
        vars(other).pop("name", None)
        return other

    def _fields(self) -> Iterator[dataclasses.Field[Any]]:
        yield from dataclasses.fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass

    def _changed(self, changes: Mapping[str, Any]) -> Self:
        """A copy with other attributes, unchecked."""
        other = object.__new__(type(self))
        vars(other).update(self._stored() | dict(changes))
        return other

    def _set(self, name: str, value: Any) -> None:
        """Put what was checked in place of what was given."""
        object.__setattr__(self, name, value)

    def _contents(self) -> dict[str, Any]:
        return super()._contents() | {name: vars(self)[name] for name in ("name",) if name in vars(self)}

    def __repr__(self) -> str:
        parts = [f"{name}={as_code(value)}" for name, value in different(self).items()]
        renamed = f".rename({self.name!r})" if "name" in vars(self) else ""
        return f"{type(self).__name__}({', '.join(parts)}){renamed}"


class Computed(Measure):
    """A measure made of a function: what ``Measure(name, definition, compute, ...)`` gives."""

    name: str = ""
    definition: str = ""
    compute: Callable[[Probe], jax.Array | Scaled] = None  # type: ignore[assignment]  # refused
    dims: tuple[str, ...] | None = ("point",)
    side: Side = "exact"
    needs: tuple[str, ...] = ()
    source: str = ""
    needs_training_data: bool = False
    fully_connected: bool = False
    needs_initial: bool = False
    of_classes: bool = False

    def __post_init__(self) -> None:
        """Check all of it."""
        if not callable(self.compute):
            raise InputError(f"compute of a measure must be a function of a probe, got {shown(self.compute)}")
        check_measure(self)
        for name in ("dims", "needs"):
            if getattr(self, name) is not None:
                self._set(name, tuple(getattr(self, name)))

    def static(self) -> Self:
        """Itself: it has no numbers, and is told from others by its name."""
        return self

    def __repr__(self) -> str:
        parts = [f"{name}={as_code(value)}" for name, value in different(self).items()]
        return f"Measure({', '.join(parts)})"


def check_measure(measure: Measure) -> Measure:
    """A measure that says of itself what a measure has to.

    Raises:
        InputError: what is said of it is not of the kind that is expected.
    """
    for name in ("name", "definition", "source"):
        check_text(f"{name} of a measure", getattr(measure, name))
    check_choice("side of a measure", measure.side, ("exact", "lower", "upper"))
    for name, known in (("dims", DIMS), ("needs", NEEDS)):
        value = getattr(measure, name)
        for one in () if value is None else check_sequence(value, f"{name} of a measure"):
            check_choice(f"each of {name} of a measure", one, known)
    for name in _FLAGS:
        check_flag(f"{name} of a measure", getattr(measure, name))
    return measure


def formula_in(thing: object) -> str:
    """LaTeX between dollar signs in the first line of a docstring; "" where there is none."""
    found = re.findall(r"\$([^$]+)\$", (inspect.getdoc(thing) or "").partition("\n")[0])
    return found[0] if found else ""
