"""What a measure is: a named number of a network, with its definition and its side.

A measure's *side* says how the reported number relates to the quantity it is named after: ``exact``, or a ``lower`` or
``upper`` bound of it. Statements may be refuted or supported only by numbers of the right side.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, Literal

import jax

from ntkrobust.checks import check_choice, check_flag, check_sequence, check_text, shown
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.numerics.scaling import Scaled
from ntkrobust.values import Value

Side = Literal["exact", "lower", "upper"]

DIMS = ("point", "layer")
NEEDS = ("y_test", "epsilon")

_FLAGS = ("needs_training_data", "fully_connected", "needs_initial", "of_classes")


class Measure(Value):
    r"""A named number of a network. A measure of one's own is a class derived from this one, with ``compute``::

        class Margin(ntr.Measure):
            r"$\min_k f_0(x) - f_k(x)$, of the first class over the others"

            def compute(self, probe):
                return probe.outputs[:, 0] - jnp.max(probe.outputs[:, 1:], axis=1)

    Parameters are fields of a frozen dataclass. What is said of it beside ``compute`` are class attributes or
    properties; these are the defaults. ``Measure(name, definition, compute, ...)`` makes one of a function of a
    :class:`~ntkrobust.finite.measures.probe.Probe`, without a class.
    """

    def __new__(cls, *_: Any, **__: Any) -> Measure:
        """Of a function, where no class is derived."""
        return super().__new__(Computed if cls is Measure else cls)

    def compute(self, probe: Probe) -> jax.Array | Scaled:
        """The number of one network, by functions that JAX can trace.

        Returns:
            an array with the axes ``dims``, or a :class:`~ntkrobust.numerics.scaling.Scaled` one, for numbers that
            single precision need not hold.
        """
        raise NotImplementedError(f"{type(self).__name__} has no compute(probe)")

    @property
    def name(self) -> str:
        """How it is asked for, and its variable's name in the result: that of its class, ``in_small_letters``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def definition(self) -> str:
        """What it is, in LaTeX: what stands between dollar signs in the first line of its class's docstring."""
        return formula_in(type(self))

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
        """What has to be given to :func:`ntkrobust.measure` for it: ``"y_test"``, ``"epsilon"``."""
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


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
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
        if not callable(self.compute):
            raise InputError(f"compute of a measure must be a function of a probe, got {shown(self.compute)}")
        check_measure(self)
        for name in ("dims", "needs"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))


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
