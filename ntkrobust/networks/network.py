"""What training, measures and attacks ask of a network, whoever wrote it."""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.checks import check_integer, shown
from ntkrobust.errors import InputError, failed
from ntkrobust.networks.drawing import draw_one_by_one
from ntkrobust.networks.models import AppliedModel, Model
from ntkrobust.networks.operations import Operations, operations
from ntkrobust.numerics.precision import TRAINING_DTYPE, full_matmul_precision
from ntkrobust.runtime.seeds import RawKeys
from ntkrobust.values import Shown

Shapes = tuple[tuple[int, ...], ...]
"""Shapes of arrays."""


LAYER_ARRAYS = 2
"""Arrays over the points that each layer leaves for the way back: its input, and which units are active."""


class Sizes(NamedTuple):
    """What decides how an ensemble is laid out and how much memory it takes.

    Attributes:
        parameters: trained numbers.
        widest: numbers per point that the widest layer takes or gives.
        activations: numbers per point that all layers give, about.
        largest_product: multiplications per point in the largest product.
    """

    parameters: int
    widest: int
    activations: int
    largest_product: int


class Network(Shown, abc.ABC):
    """A function of parameters and points, with a law that parameters are drawn from.

    Two methods make a network: :meth:`draw` and :meth:`apply`. Everything else follows from them, by automatic
    differentiation where derivatives are needed, and may be replaced by what knows more. Subclasses are immutable and
    hashable (static under ``jax.jit``; a frozen dataclass is both), and print as the code that makes them.

    Attributes:
        architecture: what kind it is, as the claims' axis of that name calls it.
        d_out: o, the number of outputs.
        width: m, neurons of a hidden layer, or channels; None where there is no such number.
        input_shape: of one point, where that is more than a vector; :meth:`apply` is given (n, *input_shape) then.
    """

    architecture: ClassVar[str] = "own"
    d_out: int
    width: int | None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # As defaults of this class they would become those of the fields of every dataclass below.
        declared = {name for one in cls.__mro__ if one is not Network for name in inspect.get_annotations(one)}
        for name, value in (("d_out", 1), ("width", None)):
            if name not in declared and not hasattr(cls, name):
                setattr(cls, name, value)

    @abc.abstractmethod
    def draw(self, key: jax.Array, d_in: int) -> Any:
        """Parameters of one network, any pytree of floating-point arrays, from a typed key, for d inputs."""

    @abc.abstractmethod
    def apply(self, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o) of one network at x (n, d), each row by itself; traceable."""

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one point; None for vectors of any length."""
        return None

    @property
    def kernel_function(self) -> Callable[..., Any] | None:
        """(x1, x2, get) ↦ kernels of infinite width as neural-tangents gives them; None where they are not known."""
        return None

    @property
    def finite_width(self) -> int:
        """The width m.

        Raises:
            InputError: the network was described without one.
        """
        if self.width is None:
            raise InputError(f"a finite network needs a width, got {self!r}")
        return self.width

    def bare(self, parameters: Any) -> Any:
        """Parameters as :meth:`draw` gives them, out of what a framework hands out in their place."""
        return parameters

    def at_width(self, width: int) -> Network:
        """The same network at another width.

        Raises:
            InputError: it has no width.
        """
        if self.width is None:
            raise InputError(f"{self!r} has no width that could be changed")
        if not dataclasses.is_dataclass(self):
            raise InputError(f"{type(self).__name__} must have a method at_width(width), or be a dataclass")
        return dataclasses.replace(self, width=width)

    def model(self, recomputed: int = 0) -> Model:
        """The function, as programs take it; ``recomputed`` layers of a backward pass may be computed again."""
        return AppliedModel(self)

    def layer_scales(self, d_in: int) -> Any:
        """Numbers that enter programs at run time, so that networks that differ in these only share programs."""
        return ()

    def initialize(self, d_in: int, keys: RawKeys) -> Any:
        """Parameters of an ensemble as numpy arrays, one network per key along a leading axis."""
        return draw_one_by_one(self, check_integer("d_in", d_in, 1), keys)

    def parameter_shapes(self, d_in: int) -> Any:
        """Shapes and types of one network's parameters, as :class:`jax.ShapeDtypeStruct`.

        Raises:
            InputError: the network does not take such inputs, or a parameter is no floating-point array.
        """
        return _outline(self, check_integer("d_in", d_in, 1)).parameters

    def shapes(self, d_in: int) -> Shapes:
        """Shapes of all arrays of parameters; networks of other shapes have randomness of their own."""
        return tuple(leaf.shape for leaf in jax.tree.leaves(self.parameter_shapes(d_in)))

    def count_parameters(self, d_in: int) -> int:
        """Number of trained numbers."""
        return sum(math.prod(shape) for shape in self.shapes(d_in))

    def sizes(self, d_in: int) -> Sizes:
        """What the layout of an ensemble is decided from."""
        found = _outline(self, check_integer("d_in", d_in, 1)).operations
        return Sizes(self.count_parameters(d_in), max(found.widest, d_in), found.values, found.largest_product)

    @property
    def layers_to_recompute(self) -> int:
        """Layers that a backward pass may compute again at once where memory is short; 0 where that is not offered."""
        return 0

    def activations_kept(self, d_in: int, recomputed: int) -> int:
        """Numbers per point that a forward pass leaves for the way back."""
        return LAYER_ARRAYS * self.sizes(d_in).activations

    def described(self, d_in: int) -> dict[str, Any]:
        """What the network is, as JSON has it: enough to see that another one is the same."""
        found = _outline(self, check_integer("d_in", d_in, 1))
        return {"architecture": self.architecture, "network": repr(self), "d_out": self.d_out, "width": self.width,
                "program": found.digest}  # fmt: skip

    def coordinates(self, d_in: int) -> Mapping[str, Any]:
        """The coordinates that formulas and evidence may ask for by name."""
        return {"architecture": self.architecture, "width": self.width, "parameters": self.count_parameters(d_in)}


class _Outline(NamedTuple):
    """What is known of a network from tracing it, once it has been seen to treat each point by itself.

    Attributes:
        parameters: pytree of shapes and types.
        operations: what its forward pass consists of.
        digest: of its programs.
    """

    parameters: Any
    operations: Operations
    digest: str


@functools.lru_cache(maxsize=256)
def _outline(net: Network, d_in: int) -> _Outline:
    key = jax.eval_shape(lambda: jax.random.key(0))
    shapes = _traced("draw", net, lambda: jax.eval_shape(lambda key: net.draw(key, d_in), key))
    leaves = jax.tree.leaves(shapes)
    if not leaves:
        raise InputError(f"{net!r} must have parameters, got none")
    for leaf in leaves:
        if leaf.dtype != TRAINING_DTYPE:
            raise InputError(
                f"parameters of {net!r} must be float32 arrays, got one of {leaf.dtype} and shape {leaf.shape}: what "
                "is not trained belongs into the function"
            )
    two = jax.ShapeDtypeStruct((2, *(net.input_shape or (d_in,))), TRAINING_DTYPE)
    traced = _traced("apply", net, lambda: jax.make_jaxpr(net.apply, return_shape=True)(shapes, two))
    program, found = traced
    if getattr(found, "shape", None) != (2, net.d_out) or not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(
            f"{net!r} must give floating-point outputs (n, {net.d_out}), got {getattr(found, 'shape', found)} for n = 2"
        )
    _check_rows(net, d_in)
    return _Outline(shapes, *operations(program, 2))


def _check_rows(net: Network, d_in: int) -> None:
    """Raise InputError if what a network gives at a point depends on the points beside it, as in batch normalization:
    Jacobians and attacks are made of all points at once."""
    x = jax.random.normal(jax.random.key(1), (3, *(net.input_shape or (d_in,))), TRAINING_DTYPE)

    def both() -> tuple[jax.Array, jax.Array]:
        parameters = net.draw(jax.random.key(0), d_in)
        return net.apply(parameters, x), net.apply(parameters, x[1:2])

    with full_matmul_precision():
        together, alone = _traced("apply", net, jax.jit(both))
    away, size = (float(jnp.max(jnp.abs(one))) for one in (together[1:2] - alone, together))
    # NaN too: a deviation over the batch is zero for a point alone.
    if np.isfinite(size) and not away <= 1e-3 * size:
        raise InputError(
            f"{net!r} must treat each point by itself, and gives {float(alone[0, 0]):g} at a point alone and "
            f"{float(together[1, 0]):g} beside others"
        )


def _traced(what: str, net: Network, trace: Callable[[], Any]) -> Any:
    """What tracing a network's own code gives; InputError in one sentence where that fails."""
    try:
        return trace()
    except InputError:
        raise
    except Exception as error:  # a user's own code
        raise failed(f"{what} of {type(net).__name__}", error) from error


def rows_of(net: Network, x: Any) -> Any:
    """Points of the network's own shape, (n, *input_shape), as rows (n, d); anything else as it is.

    Images of a single channel may come without it.

    Raises:
        InputError: they are images of another shape.
    """
    own, shape = net.input_shape, getattr(x, "shape", ())
    if own is None or len(own) < 2 or not isinstance(shape, tuple) or len(shape) <= 2:
        return x
    if shape[1:] != tuple(own) and (*shape[1:], 1) != tuple(own):
        raise InputError(f"points for this network must have shape (n, {', '.join(map(str, own))}), got {shape}")
    return x.reshape(len(x), -1)


_WRAPPED = {
    "flax": "one of flax goes in as ntkrobust.from_flax(module, d_out=...)",
    "equinox": "one of equinox goes in as ntkrobust.from_equinox(lambda key: Module(..., key=key), d_out=...)",
}
"""Framework → how its networks become ones of this package."""


def a_network(name: str, value: Any) -> Network:
    """The check of an argument that is a network; what could become one is told how."""
    if isinstance(value, Network):
        return value
    ways = [way for base in type(value).__mro__ for root, way in _WRAPPED.items() if base.__module__.startswith(root)]
    if not ways and callable(value):
        ways = ["a pair of functions goes in as ntkrobust.from_function(init, apply, d_out=...)"]
    hint = f"; {ways[0]}" if ways else ""
    raise InputError(f"{name} must be a network, such as ntkrobust.MLP(depth=3, width=64), got {shown(value)}{hint}")
