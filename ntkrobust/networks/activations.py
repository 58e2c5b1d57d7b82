"""Activations, by name or as functions, and the slopes on the two half-lines that the exact law needs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_number, unknown
from ntkrobust.errors import InputError
from ntkrobust.values import Value

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


@dataclasses.dataclass(frozen=True, eq=False)
class Activation(Value):
    """A scalar activation φ, applied entrywise.

    Attributes:
        name: one of ``relu``, ``leaky_relu``, ``linear``, ``erf`` (erf(u), not rescaled), ``gelu`` (u·Φ(u), exact),
            ``tanh``; any other name if a function is given.
        slope: slope a on the negative half-line; for ``leaky_relu`` only.
        function: an activation of your own, in JAX. Activations of two functions differ even if the functions agree,
            so pass the same object, not a new ``lambda`` each time, to share compiled programs.

    Raises:
        InputError: the name is unknown, a slope is given where there is none to choose, or the function doesn't act
            entrywise on float32 arrays.
    """

    name: str
    slope: float | None = None
    function: Callable[[jax.Array], jax.Array] | None = None

    def __post_init__(self) -> None:
        if self.function is not None:
            _check_function(self.name, self.slope, self.function)
            return
        if not isinstance(self.name, str) or self.name not in NAMES:
            raise unknown("activation", self.name, NAMES)
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
        if self.function is not None:
            return self.function(u)
        if self.slope is not None:
            return jnp.where(u >= 0, u, self.slope * u)
        return _FUNCTIONS[self.name](u)

    def __str__(self) -> str:
        return self.name if self.slope is None else f"{self.name}({self.slope!r})"

    def __repr__(self) -> str:
        if self.function is not None:
            return f"Activation(name={self.name!r}, function={_name_of(self.function)})"
        return f"Activation(name={self.name!r}, slope={self.slope!r})"


def as_activation(value: str | Activation | Callable[[jax.Array], jax.Array]) -> Activation:
    """``"relu"``, ``"leaky_relu(0.2)"``, a function or an :class:`Activation`, as an :class:`Activation`.

    A function lends its own name; ``jnp.tanh``, called like an activation of the package, becomes ``custom_tanh``.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(value, Activation):
        return value
    if callable(value):
        name = _name_of(value)
        return Activation(f"custom_{name}" if name in NAMES else name, function=value)
    match = re.fullmatch(r"(\w+)(?:\(([^()]*)\))?", value) if isinstance(value, str) else None
    if match is None:
        known = f"{', '.join(NAMES)}, 'leaky_relu(SLOPE)'"
        raise InputError(f"an activation is one of {known} or a function, got {value!r}")
    name, argument = match.groups()
    if argument is None:
        return Activation(name)
    try:
        return Activation(name, float(argument))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the slope in {value!r} is not a number") from None


def _check_function(name: str, slope: float | None, function: Callable[[jax.Array], jax.Array]) -> None:
    """Raises InputError unless this makes an activation. Traces the function on shapes alone, so on no device."""
    if name in NAMES:
        raise InputError(f"{name!r} is the package's own activation: give your function another name")
    if slope is not None:
        raise InputError(f"an activation given as a function takes no slope, got slope={slope!r} for {name!r}")
    wanted = f"the activation {name!r} must map a float32 JAX array of any shape to one of the same shape and dtype"
    try:
        hash(function)
    except TypeError:
        raise InputError(f"the activation {name!r} must be hashable, got {function!r}") from None
    # A number alone, too: whatever sums, sorts or normalises along an axis fails on it.
    for shape in ((2, 3), ()):
        try:
            # the lambda, because a function of numpy can't be traced directly and would say so in riddles
            found = jax.eval_shape(lambda u: function(u), jax.ShapeDtypeStruct(shape, jnp.float32))
        except Exception as error:
            reason = str(error).split("\n")[0]
            raise InputError(f"{wanted}; on shape {shape} it raised {type(error).__name__}: {reason}") from error
        if not isinstance(found, jax.ShapeDtypeStruct) or (found.shape, found.dtype) != (shape, jnp.float32):
            raise InputError(f"{wanted}; from shape {shape} it made {found}")


def _name_of(function: Callable) -> str:
    return getattr(function, "__name__", type(function).__name__)
