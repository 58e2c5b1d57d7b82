"""Activations and the one fact about each that the exact law needs: its slopes on the two half-lines."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_number
from ntkrobust.errors import InputError

LEAKY_SLOPE = 0.01
"""Slope of ``leaky_relu`` on the negative half-line when none is given (the value of ``jax.nn.leaky_relu``)."""

_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "linear": lambda u: u,
    "erf": jax.lax.erf,
    "gelu": lambda u: jax.nn.gelu(u, approximate=False),
    "tanh": jnp.tanh,
}
NAMES = ("relu", "leaky_relu", "linear", "erf", "gelu", "tanh")


@dataclasses.dataclass(frozen=True)
class Activation:
    """A scalar activation φ, applied entrywise.

    Attributes:
        name: one of ``relu``, ``leaky_relu``, ``linear``, ``erf`` (erf(u), not rescaled), ``gelu`` (u·Φ(u), exact),
            ``tanh``.
        slope: slope a on the negative half-line; for ``leaky_relu`` only.

    Raises:
        InputError: the name is unknown, or a slope is given where there is none to choose.
    """

    name: str
    slope: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError(f"unknown activation {self.name!r}: expected one of {', '.join(NAMES)}")
        if self.name == "leaky_relu":
            slope = LEAKY_SLOPE if self.slope is None else check_number("the slope of leaky_relu", self.slope)
            if not 0 < slope < 1:
                raise InputError(f"the slope of leaky_relu must lie strictly between 0 and 1, got {slope:g}")
            object.__setattr__(self, "slope", slope)
        elif self.slope is not None:
            raise InputError(f"only leaky_relu takes a slope, got slope={self.slope!r} for {self.name!r}")

    @property
    def negative_slope(self) -> float | None:
        """Slope a with φ(u) = u for u ≥ 0 and φ(u) = a·u for u < 0; None if φ is not of this form."""
        return {"relu": 0.0, "linear": 1.0, "leaky_relu": self.slope}.get(self.name)

    def __call__(self, u: jax.Array) -> jax.Array:
        """φ(u), entrywise; φ'(0) = 0 for relu."""
        if self.slope is not None:
            return jnp.where(u >= 0, u, self.slope * u)
        return _FUNCTIONS[self.name](u)

    def __str__(self) -> str:
        return self.name if self.slope is None else f"{self.name}({self.slope!r})"


def as_activation(value: str | Activation) -> Activation:
    """``"relu"``, ``"leaky_relu(0.2)"`` or an :class:`Activation`, as an :class:`Activation`.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(value, Activation):
        return value
    match = re.fullmatch(r"(\w+)(?:\(([^()]*)\))?", value) if isinstance(value, str) else None
    if match is None:
        raise InputError(f"an activation is one of {', '.join(NAMES)} or 'leaky_relu(SLOPE)', got {value!r}")
    name, argument = match.groups()
    if argument is None:
        return Activation(name)
    try:
        return Activation(name, float(argument))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the slope in {value!r} is not a number") from None
