"""The coordinates of a cell, and how formulas of them are read and evaluated."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from ntkrobust.checks import LARGEST, MOST_LAYERS, check_integer, check_number, check_text, shown
from ntkrobust.errors import InputError
from ntkrobust.networks.network import Network

AXES = ("initialization", "depth", "width", "activation", "parameterization", "bias_std", "d_out", "n", "epsilon",
        "scale", "alpha", "label_noise", "strength", "architecture", "network")  # fmt: skip
"""What a grid can range over: the fields of a network, and its ``architecture``, ``fully_connected``, ``convolutional``
or ``wide_resnet`` (for these two the width is the number of channels, and data that are no images are out of scope); n,
the number of training points; ε, a radius; a factor on all inputs; the share of training labels that are wrong; λ of
the reading's adversary; and a factor on the output scale α of the initialization (α itself for those that have α = 1,
all but ``mean_field``). ``network`` is one of one's own (``ntkrobust.from_function`` and its kin), or a function of the
width that gives one; beside it stand width, n, ε, scale, label noise and strength only.
"""

NUMERIC_AXES = ("depth", "width", "n", "d_out", "bias_std", "epsilon", "scale", "alpha", "label_noise",
                "strength")  # fmt: skip
"""The axes along which there is more and less."""

_WHOLE_AXES = {"depth": MOST_LAYERS, "width": LARGEST, "n": LARGEST, "d_out": LARGEST}
"""The axes of whole numbers, and the largest that they may have."""

COORDINATES = ("d_in", "d_out", "n", "depth", "width", "initialization", "activation", "parameterization", "bias_std",
               "parameters", "net", "epsilon", "scale", "label_noise", "strength", "time", "beta_first", "beta",
               "beta_last", "alpha", "exact_law", "infinite_width", "first_order_width", "architecture",
               "network")  # fmt: skip
"""What a formula or an assumption can ask for by name.

The fields of the network and ``net`` itself; ``d_in``, the number of training points ``n`` (1 for untrained networks)
and of ``parameters``; the radius ``epsilon`` (None unless the grid has one), the factor ``scale`` on all inputs and the
share ``label_noise`` of wrong labels; λ of the adversary, ``strength`` (None without one); ``time``, the value of the
reading (0 at initialization); β₁, β, β_L and α of the network as numbers at this width; and three predictions of the
claim's own measure: ``exact_law``, its mean at initialization, ``infinite_width``, its mean over the infinite ensemble,
and ``first_order_width``, its mean over networks of the cell's width to first order in 1/m.
"""

UNCERTAIN = "first_order_width"
"""The prediction that has an error of its own."""

OF_TRAINING = ("infinite_width", UNCERTAIN)
"""The predictions that know a time of training."""


def check_coordinate(axis: str, value: object) -> None:
    """See that a value of a grid's axis is of the kind that its axis has; whether a network can have it is seen later.

    Raises:
        InputError: a size is no whole number (2.5, "3", True), or beyond what is counted with; another number is not
            finite; a name is no text.
    """
    if value is None and axis in ("width", "bias_std"):
        return
    if axis in _WHOLE_AXES:
        check_integer(axis, value, -LARGEST, maximum=_WHOLE_AXES[axis])
    elif axis in NUMERIC_AXES:
        check_number(axis, value)
    elif axis in ("parameterization", "architecture"):
        check_text(axis, value)
    elif axis == "network" and not (isinstance(value, Network) or callable(value)):
        raise InputError(f"network must be a network, or a function of the width that gives one, got {shown(value)}")


def family_name(family: Any) -> str:
    """What a network of one's own, or a function of the width that gives one, is called in results."""
    return str(getattr(family, "__name__", "") or getattr(family, "name", "") or repr(family))


def asked_for(formula: Callable[..., Any]) -> tuple[str, ...]:
    """The names that a formula asks for."""
    return tuple(inspect.signature(formula).parameters)


def evaluate(formula: Callable[..., Any], coordinates: Mapping[str, Any]) -> Any:
    """Call ``formula`` with the coordinates that it names."""
    return formula(**{name: coordinates[name] for name in asked_for(formula)})


class NoValueError(InputError):
    """A prediction has no value on these data, through no fault of the formula that asks for it."""


def evaluate_number(
    formula: Callable[..., Any],
    coordinates: Mapping[str, Any],
    *,
    positive: bool = True,
    allowed: Callable[[float], bool] = lambda number: False,
) -> float:
    """What a formula says, as a finite number.

    Args:
        formula: the formula.
        coordinates: of a cell.
        positive: whether the number has to be.
        allowed: lets other numbers through.

    Raises:
        InputError: it fails, or gives something else: an array, a complex number, a truth value, a text, NaN. The
            sentence is meant to follow the name of the formula: ``must be a positive number, got nan``.
        NoValueError: it asks for what the data don't have.
    """
    expected = f"must be a {'positive' if positive else 'finite'} number"
    try:
        found = evaluate(formula, coordinates)
    except NoValueError as error:
        raise NoValueError(f"has no value: {error}") from None
    except InputError as error:
        raise InputError(f"has no value: {error}") from None
    except Exception as error:  # a user's own code
        raise InputError(f"has no value: {type(error).__name__}: {' '.join(str(error).split())}") from error
    shape = getattr(found, "shape", ())
    if shape != ():
        raise InputError(f"{expected}, got an array of shape {tuple(shape)}")
    plain = found.item() if hasattr(found, "item") else found
    if not isinstance(plain, Real) or isinstance(plain, bool):
        raise InputError(f"{expected}, got {plain!r}")
    try:
        number = float(plain)
    except OverflowError:  # an integer beyond the floats
        number = math.inf
    if (not math.isfinite(number) or (positive and number <= 0)) and not allowed(number):
        raise InputError(f"{expected}, got {number!r}")
    return number


def evaluate_condition(holds: Callable[..., Any], coordinates: Mapping[str, Any]) -> bool:
    """What an assumption says, as True or False.

    Raises:
        InputError: it fails, or gives neither.
    """
    try:
        found = evaluate(holds, coordinates)
    except Exception as error:  # a user's own code
        raise InputError(f"has no value: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if getattr(found, "shape", ()) != () or not isinstance(found, bool | np.bool_):
        raise InputError(f"must be true or false, got {found!r}")
    return bool(found)


def check_arguments(what: str, formula: Any, known: Sequence[str]) -> None:
    """See that a formula can be called with the coordinates of a cell.

    Raises:
        InputError: it is no function, or asks for something that a cell does not know.
    """
    if not callable(formula):
        raise InputError(f"{what} must be a function of named coordinates, got {formula!r}")
    try:
        parameters = inspect.signature(formula).parameters.values()
    except ValueError:
        raise InputError(f"{what} must be a function whose arguments have names, got {formula!r}") from None
    for one in parameters:
        if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD):
            raise InputError(f"{what} must name its arguments one by one, got {one}")
        if one.name not in known:
            raise InputError(f"{what} asks for {one.name!r}; a cell knows {', '.join(known)}")
