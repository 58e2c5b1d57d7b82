"""When to record."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import NamedTuple

import jax
import numpy as np

from ntkrobust.checks import shown
from ntkrobust.errors import InputError

MOST_RECORDS = 10_000
"""Records of a training."""


class Schedule(NamedTuple):
    """When to record: exactly one of the four is given, increasing.

    Attributes:
        steps: numbers of steps.
        times: gradient-flow times (ηk under gradient descent).
        kernel_times: the same in units of 1/λ_max of each network's own empirical NTK at initialization.
        losses: losses as fractions of the loss of f = 0 (½Σ‖y‖² for the squared loss), decreasing.
    """

    steps: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    kernel_times: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()

    @property
    def kind(self) -> str:
        """The name of the argument of ``train`` that it stands for."""
        return next((f"record_{name}" for name, values in self._asdict().items() if values), "record_steps")

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self.steps or self.times or self.kernel_times or self.losses)


def log_spaced(steps: int, records: int = 8) -> tuple[int, ...]:
    """0, then up to ``records`` step counts spaced evenly in logarithm from 1 to ``steps``."""
    if steps == 0:
        return (0,)
    return (0, *sorted({round(float(step)) for step in np.geomspace(1, steps, records)}))


def check_schedule(steps: int, **given: Sequence[float] | None) -> Schedule:
    """The records asked for, by default log-spaced steps.

    Raises:
        InputError: more than one kind is given, or the records are not increasing (losses: decreasing).
    """
    named = {name: values for name, values in given.items() if values is not None}
    if not named:
        return Schedule(steps=log_spaced(steps))
    if len(named) > 1:
        raise InputError(f"give one of {', '.join(given)}, got {' and '.join(named)}")
    ((name, given_values),) = named.items()
    kind, plural = (Integral, "integers") if name == "record_steps" else (Real, "numbers")
    is_sequence = isinstance(given_values, Iterable) and not isinstance(given_values, str | bytes | dict)
    if isinstance(given_values, np.ndarray | jax.Array):
        is_sequence = given_values.ndim == 1
    # What doesn't end is seen to be too long.
    values = tuple(itertools.islice(given_values, MOST_RECORDS + 1)) if is_sequence else ()
    if len(values) > MOST_RECORDS:
        raise InputError(f"{name} must be at most {MOST_RECORDS} records, got more")
    ordered = values[::-1] if name == "record_losses" else values
    if (
        not values
        or not all(isinstance(value, kind) and not isinstance(value, bool) and 0 <= value < np.inf for value in values)
        or not all(a < b for a, b in itertools.pairwise(ordered))
    ):
        direction = "decreasing" if name == "record_losses" else "increasing"
        raise InputError(f"{name} must be {direction} {plural} that are not negative, got {shown(given_values)}")
    if name == "record_steps" and values[-1] > steps:
        raise InputError(f"record_steps goes to {values[-1]}, past the budget of {steps} steps")
    return Schedule(**{name.removeprefix("record_"): values})  # type: ignore[arg-type]
