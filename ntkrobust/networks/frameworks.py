"""Networks of neural-tangents' stax, flax and equinox, which are imported by nobody who doesn't use them."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax

from ntkrobust.checks import shown
from ntkrobust.errors import InputError
from ntkrobust.networks.functions import FamilyNetwork, Make, check_input_shape, one_point


@dataclasses.dataclass(frozen=True, repr=False)
class StaxNetwork(FamilyNetwork):
    """A network of neural-tangents' ``stax``: one description gives the finite networks and the kernel."""

    architecture: ClassVar[str] = "stax"
    framework: ClassVar[str] = "stax"

    def _check_made(self, made: Any) -> None:
        if not isinstance(made, Sequence) or len(made) != 3 or not all(map(callable, made)):
            raise InputError(
                "make must be what stax.serial(...) returns, three functions (init, apply, kernel), or with a width a "
                f"function of it that gives such, got {shown(made)}"
            )

    def draw(self, key: jax.Array, d_in: int) -> Any:
        """Parameters of one network."""
        point = one_point(self.input_shape, d_in)
        _, parameters = self.made[0](key, (-1, *point.shape[1:]))
        return parameters

    def apply(self, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        found: jax.Array = self.made[1](parameters, x)
        return found

    @property
    def kernel_function(self) -> Callable[..., Any]:
        """(x1, x2, get) ↦ kernels."""
        found: Callable[..., Any] = self.made[2]
        return found


@dataclasses.dataclass(frozen=True, repr=False)
class FlaxNetwork(FamilyNetwork):
    """A network of flax: a linen module, or a function of ``nnx.Rngs`` that gives an nnx module."""

    architecture: ClassVar[str] = "flax"
    framework: ClassVar[str] = "flax"

    def __hash__(self) -> int:
        # Modules of linen are equal by their fields, which may hold lists, as those of `Sequential` do.
        own = self.make if not _is_linen(self.make) else type(self.make)
        return hash((own, self.width, self.d_out, self.input_shape))

    def _check_made(self, made: Any) -> None:
        if not _is_linen(made) and (not callable(made) or _is_nnx(made)):
            raise InputError(
                "make must be a linen module, or a function of rngs that gives an nnx module (lambda rngs: "
                f"Module(rngs=rngs)), or with a width a function of it that gives such, got {shown(made)}"
            )

    def draw(self, key: jax.Array, d_in: int) -> Any:
        """Parameters of one network: the collection ``params``, or the state of all ``nnx.Param``."""
        made = self.made
        if not _is_linen(made):
            return self._parts(key)[1]
        variables = made.init(key, one_point(self.input_shape, d_in))
        others = sorted(set(variables) - {"params"})
        if others:
            raise InputError(_STATE.format(what=", ".join(others), net=self))
        return variables["params"]

    def apply(self, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        made = self.made
        if _is_linen(made):
            found: jax.Array = made.apply({"params": parameters}, x)
            return found
        # The static part is that of any key: it says nothing of the parameters' values.
        graph = self._parts(jax.random.key(0))[0]
        return _nnx().merge(graph, parameters)(x)

    def bare(self, parameters: Any) -> Any:
        """The collection ``params`` of what ``module.init`` gave, or the parameters of an nnx module."""
        if _is_nnx(parameters):
            return self._split(parameters)[1]
        is_wrapped = _is_linen(self.made) and isinstance(parameters, Mapping) and list(parameters) == ["params"]
        return parameters["params"] if is_wrapped else parameters

    def _parts(self, key: jax.Array) -> tuple[Any, Any]:
        """An nnx module's static part and its parameters."""
        module = self.made(_nnx().Rngs(key))
        if not _is_nnx(module):
            raise InputError(f"{self._making}(rngs) must give an nnx module, got {shown(module)}")
        return self._split(module)

    def _split(self, module: Any) -> tuple[Any, Any]:
        nnx = _nnx()
        graph, parameters, rest = nnx.split(module, nnx.Param, ...)
        others = sorted({type(variable).__name__ for variable in jax.tree.leaves(rest, is_leaf=_is_variable)})
        if others:
            raise InputError(_STATE.format(what=", ".join(others), net=self))
        return graph, parameters


@dataclasses.dataclass(frozen=True, repr=False)
class EquinoxNetwork(FamilyNetwork):
    """A network of equinox: a function of a key that gives a module, which is called with one point at a time."""

    architecture: ClassVar[str] = "equinox"
    framework: ClassVar[str] = "equinox"

    def _check_made(self, made: Any) -> None:
        if not callable(made) or _is_equinox(made):
            raise InputError(
                "make must be a function of a key that gives an equinox module (lambda key: Module(key=key)), or with "
                f"a width a function of it that gives such, got {shown(made)}"
            )

    def draw(self, key: jax.Array, d_in: int) -> Any:
        """Parameters of one network: the floating-point arrays of the module."""
        one_point(self.input_shape, d_in)
        return self._parts(key)[0]

    def apply(self, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        equinox = _module("equinox")
        module = equinox.combine(parameters, self._parts(jax.random.key(0))[1])
        return jax.vmap(module)(x)

    def bare(self, parameters: Any) -> Any:
        """The floating-point arrays of a module, which may be given in their place."""
        equinox = _module("equinox")
        return equinox.filter(parameters, equinox.is_inexact_array) if _is_equinox(parameters) else parameters

    def _parts(self, key: jax.Array) -> tuple[Any, Any]:
        """A module's floating-point arrays, and the rest."""
        equinox = _module("equinox")
        module = self.made(key)
        if not _is_equinox(module):
            raise InputError(f"{self._making}(key) must give an equinox module, got {shown(module)}")
        if any(isinstance(one, equinox.nn.StateIndex) for one in jax.tree.leaves(module, is_leaf=_is_state(equinox))):
            raise InputError(_STATE.format(what="equinox.nn.State", net=self))
        parts: tuple[Any, Any] = equinox.partition(module, equinox.is_inexact_array)
        return parts


_STATE = (
    "{net} has state beside its parameters ({what}), as batch normalization and dropout do: a network here is a "
    "function of its parameters and one point, so give it as it is after training (fixed statistics, no dropout)"
)


def from_stax(
    make: Make | Any, *, width: int | None = None, d_out: int = 1, input_shape: Sequence[int] | None = None
) -> StaxNetwork:
    """A network of neural-tangents' ``stax``; it goes wherever ``ntkrobust.MLP`` goes, and has a kernel.

    Args:
        make: ``stax.serial(...)``, (init, apply, kernel); or, with a width, width ↦ that.
        width: m, for a network that claims and comparisons may look at in several widths.
        d_out: o, the number of outputs.
        input_shape: of one point, such as (8, 8, 1), which ``apply`` is given; None for vectors.

    Raises:
        InputError: an argument is not what it should be.
    """
    return StaxNetwork(make, width, d_out, check_input_shape(input_shape))


def from_flax(
    make: Make | Any, *, width: int | None = None, d_out: int = 1, input_shape: Sequence[int] | None = None
) -> FlaxNetwork:
    """A network of flax; it goes wherever ``ntkrobust.MLP`` goes.

    Args:
        make: a linen module; or for nnx rngs ↦ module, as in ``lambda rngs: Module(rngs=rngs)``. With a width,
            width ↦ one of these.
        width: m, for a network that claims and comparisons may look at in several widths.
        d_out: o, the number of outputs.
        input_shape: of one point, which the module is given in batches (n, *input_shape); None for vectors.

    Raises:
        InputError: an argument is not what it should be, or the module has state beside its parameters.
    """
    return FlaxNetwork(make, width, d_out, check_input_shape(input_shape))


def from_equinox(
    make: Make | Any, *, width: int | None = None, d_out: int = 1, input_shape: Sequence[int] | None = None
) -> EquinoxNetwork:
    """A network of equinox; it goes wherever ``ntkrobust.MLP`` goes.

    Args:
        make: key ↦ module, as in ``lambda key: equinox.nn.MLP(64, 1, 32, 2, key=key)``; with a width, width ↦ that.
            The module is called with one point, of shape (d,) or ``input_shape``.
        width: m, for a network that claims and comparisons may look at in several widths.
        d_out: o, the number of outputs.
        input_shape: of one point; None for vectors.

    Raises:
        InputError: an argument is not what it should be, or the module has state beside its parameters.
    """
    return EquinoxNetwork(make, width, d_out, check_input_shape(input_shape))


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"this network needs {name}, which can't be imported: {error}") from error


def _nnx() -> Any:
    return _module("flax.nnx")


def _is_linen(made: Any) -> bool:
    return isinstance(made, _module("flax.linen").Module)


def _is_nnx(made: Any) -> bool:
    return isinstance(made, _nnx().Module)


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, _nnx().Variable)


def _is_equinox(made: Any) -> bool:
    return isinstance(made, _module("equinox").Module)


def _is_state(equinox: Any) -> Callable[[Any], bool]:
    return lambda leaf: isinstance(leaf, equinox.nn.StateIndex)
