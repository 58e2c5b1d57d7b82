"""Networks of one's own: from two functions of JAX, and what networks of all frameworks share."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_integer, check_sequence, shown
from ntkrobust.errors import InputError, failed
from ntkrobust.networks.network import Network
from ntkrobust.numerics.precision import TRAINING_DTYPE

Make = Callable[[int], Any]
"""Width ↦ the user's own object."""


@dataclasses.dataclass(frozen=True, repr=False)
class FunctionNetwork(Network):
    """A network that is a pair of functions.

    Attributes:
        init: (key, x) ↦ parameters, any pytree of float32 arrays; x (1, d), or (1, *input_shape), is all zeros.
        function: (parameters, x) ↦ f(x) (n, o), each row by itself.
        d_out: o, the number of outputs.
        input_shape: of one point, for images; None for vectors of any length.
        made_by: how the code that makes it begins, for what it prints.
    """

    architecture: ClassVar[str] = "function"

    init: Callable[[jax.Array, jax.Array], Any]
    function: Callable[[Any, jax.Array], jax.Array]
    d_out: int = 1
    input_shape: tuple[int, ...] | None = None
    made_by: str = "from_function"

    def __post_init__(self) -> None:
        for name in ("init", "function"):
            if not callable(getattr(self, name)):
                raise InputError(f"{name} of a network must be a function, got {shown(getattr(self, name))}")
        object.__setattr__(self, "d_out", check_integer("d_out", self.d_out, 1))
        object.__setattr__(self, "input_shape", check_input_shape(self.input_shape))

    def draw(self, key: jax.Array, d_in: int) -> Any:
        """Parameters of one network."""
        return self.init(key, one_point(self.input_shape, d_in))

    def apply(self, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        return self.function(parameters, x)

    def __repr__(self) -> str:
        parts = [_name(self.init), _name(self.function), f"d_out={self.d_out}"]
        if self.input_shape is not None:
            parts.append(f"input_shape={self.input_shape}")
        return f"ntkrobust.{self.made_by}({', '.join(parts)})"


def from_function(
    init: Callable[[jax.Array, jax.Array], Any],
    apply: Callable[[Any, jax.Array], jax.Array],
    *,
    d_out: int = 1,
    input_shape: Sequence[int] | None = None,
) -> FunctionNetwork:
    """A network from two functions of JAX; it goes wherever ``ntkrobust.MLP`` goes.

    Derivatives, empirical kernels, training, measures and attacks follow by automatic differentiation. What needs
    layers, such as spectral norms, or infinite width, is refused in one sentence.

    Args:
        init: (key, x) ↦ parameters, any pytree of float32 arrays. x is zeros (1, d), or (1, *input_shape).
        apply: (parameters, x) ↦ f(x) (n, o); traceable, and each row of x by itself.
        d_out: o, the number of outputs.
        input_shape: of one point, such as (28, 28, 1), which ``apply`` then is given; None for vectors.

    Raises:
        InputError: an argument is not what it should be. What the functions give is seen when it is first used.
    """
    return FunctionNetwork(init, apply, d_out, check_input_shape(input_shape))


@dataclasses.dataclass(frozen=True, repr=False)
class FamilyNetwork(Network):
    """A network of a framework, as it is, or made for a width by the user's own function.

    Attributes:
        make: the framework's own object; or, where there is a width, width ↦ that object.
        width: m, or None.
        d_out: o, the number of outputs.
        input_shape: of one point; None for vectors of any length.
    """

    framework: ClassVar[str]

    make: Make | Any
    width: int | None = None
    d_out: int = 1
    input_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.width is not None:
            object.__setattr__(self, "width", check_integer("width", self.width, 1))
            if not callable(self.make):
                raise InputError(f"where a width is given, make must be a function of it, got {shown(self.make)}")
        object.__setattr__(self, "d_out", check_integer("d_out", self.d_out, 1))
        object.__setattr__(self, "input_shape", check_input_shape(self.input_shape))
        self._check_made(self.made)

    @functools.cached_property
    def made(self) -> Any:
        """What the user's function gives for this width: once, since classes defined inside are new in every call."""
        if self.width is None:
            return self.make
        try:
            return self.make(self.width)
        except Exception as error:  # a user's own code
            raise failed(self._making, error) from error

    @property
    def _making(self) -> str:
        """What is called for an object of the framework, in words."""
        return "make" if self.width is None else f"make({self.width})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "made"}

    def _check_made(self, made: Any) -> None:
        """Raise InputError unless it is an object of the framework."""

    def __repr__(self) -> str:
        parts = [_name(self.make), *([] if self.width is None else [f"width={self.width}"]), f"d_out={self.d_out}"]
        if self.input_shape is not None:
            parts.append(f"input_shape={self.input_shape}")
        return f"ntkrobust.from_{self.framework}({', '.join(parts)})"


def check_input_shape(shape: object) -> tuple[int, ...] | None:
    """A shape of one point as a tuple, or None.

    Raises:
        InputError: it is no sequence of positive integers.
    """
    if shape is None:
        return None
    return tuple(check_integer("each entry of input_shape", side, 1) for side in check_sequence(shape, "input_shape"))


def one_point(input_shape: tuple[int, ...] | None, d_in: int) -> jax.Array:
    """One point of zeros, (1, d) or (1, *input_shape).

    Raises:
        InputError: the shape has another number of coordinates.
    """
    shape = (d_in,) if input_shape is None else input_shape
    size = math.prod(shape)
    if size != d_in:
        raise InputError(f"the network takes points of shape {shape}, {size} numbers, and the inputs have {d_in}")
    return jnp.zeros((1, *shape), TRAINING_DTYPE)


def _name(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return str(name or f"{type(function).__name__}(...)")
