"""Which inputs there are: the range of every coordinate, and the coordinates that may not move.

A data set knows it: pixels lie between 0 and 1, a category that was encoded as a number can't be perturbed. Whatever
searches for other inputs (attacks, adversarial training) stays inside.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import shown
from ntkrobust.errors import InputError
from ntkrobust.values import Value

Array = npt.NDArray[np.float64]

ARRAYS = ("lower", "upper", "movable")
"""The names in :meth:`Domain.arrays`."""


def domain_in(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What :meth:`Domain.arrays` gave, among the arrays of a program."""
    return {name: arrays[name] for name in ARRAYS if name in arrays}


class Bounds(NamedTuple):
    """Smallest and largest value of every coordinate.

    Attributes:
        lower, upper: (d,) float64, read-only, lower ≤ upper; −∞ and ∞ where a coordinate has no such end.
    """

    lower: Array
    upper: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Domain(Value):
    """The inputs that are allowed, and the coordinates in which one may be moved to another.

    Attributes:
        d: dimension of the inputs.
        bounds: None where every real number is allowed.
        movable: (d,) bool, read-only; None where all coordinates are.
    """

    d: int
    bounds: Bounds | None = None
    movable: npt.NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, d: int, bounds: object = None, movable: object = None) -> Domain:
        """The domain that was asked for.

        Args:
            d: dimension of the inputs.
            bounds: None, or a pair (lower, upper), each a number or d of them. Where both ends of a coordinate are the
                same, it can't move.
            movable: None, or d booleans, False for coordinates that may not move whatever their value is.

        Raises:
            InputError: it is none of that, or a lower end is above the upper one.
        """
        return cls(d, check_bounds(bounds, d), _check_movable(movable, d))

    @property
    def is_whole(self) -> bool:
        """Whether all of ℝ^d is allowed, and every move in it."""
        return self.bounds is None and self.movable is None

    @property
    def free(self) -> npt.NDArray[np.bool_] | None:
        """(d,) whether a coordinate can move, by ``movable`` and by its range; None if all can."""
        free = np.ones(self.d, dtype=bool) if self.movable is None else self.movable
        if self.bounds is not None:
            free = free & (self.bounds.lower < self.bounds.upper)
        return None if free.all() else free

    def check_points(self, name: str, x: npt.NDArray[np.floating[Any]], what: str = "the range of the data") -> None:
        """Raise InputError unless the points x (n, d) lie within the bounds, in the precision of x."""
        if self.bounds is None:
            return
        lower, upper = (end.astype(x.dtype) for end in self.bounds)
        outside = np.argwhere((x < lower) | (x > upper))
        if outside.size:
            row, column = outside[0]
            raise InputError(
                f"{name} must lie within {what}, but row {row}, column {column} (from 0) is {x[row, column]:g}, "
                f"outside [{self.bounds.lower[column]:g}, {self.bounds.upper[column]:g}]"
            )

    def narrowed(self, bounds: object = None, movable: object = None, what: str = "bounds") -> Domain:
        """The domain inside this one that was asked for; what is None stays as it is.

        Raises:
            InputError: as for :meth:`of`, or it allows what this one doesn't.
        """
        asked = Domain.of(self.d, bounds, movable)
        if asked.bounds is None:
            asked = dataclasses.replace(asked, bounds=self.bounds)
        elif self.bounds is not None:
            beyond = (asked.bounds.lower < self.bounds.lower) | (asked.bounds.upper > self.bounds.upper)
            if beyond.any():
                first = int(np.argmax(beyond))
                ends = [f"[{one.lower[first]:g}, {one.upper[first]:g}]" for one in (asked.bounds, self.bounds)]
                raise InputError(
                    f"{what} must lie inside the range of the data, but for coordinate {first} (from 0) {ends[0]} "
                    f"reaches beyond {ends[1]}"
                )
        if asked.movable is None:
            return dataclasses.replace(asked, movable=self.movable)
        if self.movable is not None and (asked.movable & ~self.movable).any():
            first = int(np.argmax(asked.movable & ~self.movable))
            raise InputError(f"movable must leave coordinates alone that may not move, but it moves {first} (from 0)")
        return asked

    def scaled(self, factor: float) -> Domain:
        """That of inputs multiplied by a positive number."""
        if self.bounds is None or factor == 1:
            return self
        return dataclasses.replace(self, bounds=Bounds(*(_frozen(factor * end) for end in self.bounds)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What programs take at run time: ``lower`` and ``upper`` (d,) float32, ∓∞ where there is no end, and where
        coordinates can't move ``movable`` (d,) bool.
        """
        ends = (np.full(self.d, -np.inf), np.full(self.d, np.inf)) if self.bounds is None else self.bounds
        found: dict[str, npt.NDArray[Any]] = {
            name: end.astype(np.float32) for name, end in zip(("lower", "upper"), ends, strict=True)
        }
        return found if self.free is None else found | {"movable": self.free}

    def in_words(self) -> str:
        """``inputs in [0, 1]``, ``inputs in ranges of their own within [0, 16], 3 of 64 coordinates can't move``."""
        words = "inputs without a range"
        if self.bounds is not None:
            lower, upper = self.bounds
            ends = f"[{_end(np.min(lower))}, {_end(np.max(upper))}]"
            words = f"inputs in {ends}" if _is_one(self.bounds) else f"inputs in ranges of their own within {ends}"
        if self.free is None:
            return words
        return f"{words}, {np.sum(~self.free)} of {self.d} coordinates can't move"

    def as_json(self) -> dict[str, Any]:
        """As JSON has it: ``bounds`` (null, or two numbers or two lists of d; null for no end) and ``immovable``, the
        coordinates that can't move, from 0.
        """
        bounds: list[Any] | None = None
        if self.bounds is not None:
            ends = [[one if math.isfinite(one) else None for one in end.tolist()] for end in self.bounds]
            bounds = [end[0] for end in ends] if _is_one(self.bounds) else ends
        return {"bounds": bounds, "immovable": [] if self.free is None else np.flatnonzero(~self.free).tolist()}


def check_bounds(bounds: object, d: int | None = None) -> Bounds | None:
    """A range of inputs with d coordinates, or of any number of them if it is given by two numbers.

    Args:
        bounds: see :meth:`Domain.of`.
        d: None where the dimension isn't known; two numbers then become arrays (1,).

    Raises:
        InputError: see :meth:`Domain.of`.
    """
    if bounds is None:
        return None
    if isinstance(bounds, np.ndarray) and bounds.ndim == 0:
        bounds = bounds.item()
    if not isinstance(bounds, (Sequence, np.ndarray)) or isinstance(bounds, str | bytes) or len(bounds) != 2:
        raise InputError(f"bounds must be None or a pair (lower, upper), got {shown(bounds)}")
    ends = []
    for end in bounds:
        try:
            array = np.asarray(end)
        except ValueError:
            array = np.empty(0, dtype=object)
        is_right = array.dtype.kind in "iuf" and (
            array.ndim == 0 or array.shape == (d,) or (d is None and array.ndim == 1)
        )
        if not is_right or array.size == 0 or np.isnan(array).any():
            numbers = "numbers, one for each coordinate" if d is None else f"{d} of them"
            raise InputError(f"each of bounds must be a number, or {numbers}, got {shown(end)}")
        ends.append(array.astype(np.float64))
    try:
        lower, upper = (_frozen(end) for end in np.broadcast_arrays(*ends, np.empty(1 if d is None else d))[:2])
    except ValueError:
        raise InputError(
            f"the two ends of bounds must have one length, got {ends[0].size} and {ends[1].size}"
        ) from None
    turned = np.flatnonzero(~(lower <= upper))
    if turned.size:
        first = turned[0]
        raise InputError(
            f"the lower of the bounds must not be above the upper, got {lower[first]:g} and {upper[first]:g}"
            + (f" for coordinate {first} (from 0)" if any(end.ndim for end in ends) else "")
        )
    return Bounds(lower, upper)


def _check_movable(movable: object, d: int) -> npt.NDArray[np.bool_] | None:
    if movable is None:
        return None
    try:
        array = np.asarray(movable)
    except ValueError:  # rows of different lengths
        raise InputError(f"movable must be None or {d} booleans, got {shown(movable)}") from None
    if array.dtype != bool or array.shape != (d,):
        raise InputError(
            f"movable must be None or {d} booleans, False for coordinates that may not move, got shape {array.shape} "
            f"of {array.dtype}"
        )
    frozen = array.copy()
    frozen.setflags(write=False)
    return frozen


def _frozen(array: npt.NDArray[np.floating[Any]]) -> Array:
    copy = np.array(array, dtype=np.float64)
    copy.setflags(write=False)
    return copy


def _is_one(bounds: Bounds) -> bool:
    """Whether all coordinates have one range."""
    return all(bool(np.all(end == end[0])) for end in bounds)


def _end(value: float) -> str:
    return f"{value:g}".replace("inf", "∞").replace("-", "−")
