"""What a network is: one immutable description that drives both finite networks and infinite-width kernels."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax

from ntkrobust.checks import MOST_LAYERS, check_integer, check_number, instance, shown
from ntkrobust.errors import InputError
from ntkrobust.networks.activations import Activation, as_activation
from ntkrobust.networks.initializations import Initialization, Scales, as_initialization
from ntkrobust.networks.layers import Layer, weighted

Parameterization = Literal["standard", "ntk"]


_ALWAYS_SHOWN = ("depth", "width", "activation", "initialization")
"""Fields that a network prints even where they are the default."""


class Network(abc.ABC):
    """What training, measures and kernels ask of a network, whatever its architecture.

    Subclasses are frozen dataclasses, hashable (static under ``jax.jit``), checked when they are built, and print as
    the code that makes them.

    Attributes:
        architecture: what kind it is, as the claims' axis of that name calls it.
        depth: L, layers with weights on the longest way from input to output.
        width: m, neurons of a hidden layer, or channels; None for questions about infinite width only.
        d_out: o, the number of outputs.
        activation, initialization, parameterization, bias_std: see :class:`MLP`.
    """

    architecture: ClassVar[str]
    depth: int
    width: int | None
    d_out: int
    activation: str | Activation | Callable[[jax.Array], jax.Array]
    initialization: str | Initialization
    parameterization: Parameterization
    bias_std: float | None

    def _check_common(self) -> None:
        """Check and resolve the fields that all networks have.

        Raises:
            InputError: one is out of its range.
        """
        self._set("depth", check_integer("depth", self.depth, 2, "it counts weight matrices", maximum=MOST_LAYERS))
        if self.width is not None:
            self._set("width", check_integer("width", self.width, 1))
        self._set("d_out", check_integer("d_out", self.d_out, 1))
        self._set("activation", as_activation(self.activation))
        self._set("initialization", as_initialization(self.initialization))
        if not isinstance(self.parameterization, str) or self.parameterization not in ("standard", "ntk"):
            raise InputError(f"parameterization must be 'standard' or 'ntk', got {shown(self.parameterization)}")
        if self.bias_std is not None:
            bias_std = check_number("bias_std", self.bias_std)
            if bias_std < 0:
                raise InputError(f"bias_std must be None or a number that is not negative, got {self.bias_std!r}")
            self._set("bias_std", abs(bias_std))

    def _set(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    @property
    def phi(self) -> Activation:
        """The activation, resolved."""
        assert isinstance(self.activation, Activation)
        return self.activation

    @property
    def drawn_from(self) -> Initialization:
        """The initialization, resolved."""
        assert isinstance(self.initialization, Initialization)
        return self.initialization

    @property
    def finite_width(self) -> int:
        """The width m.

        Raises:
            InputError: the network was described without one.
        """
        if self.width is None:
            raise InputError(f"a finite network needs a width, got {self!r}")
        return self.width

    @abc.abstractmethod
    def layers(self, d_in: int) -> tuple[Layer, ...]:
        """The layers, for inputs of dimension ``d_in``; the last is dense.

        Raises:
            InputError: the network does not take such inputs, or has no width.
        """

    @abc.abstractmethod
    def scales(self, d_in: int) -> Scales:
        """β₁, β, β_L and α as numbers, for inputs of dimension ``d_in``."""

    @abc.abstractmethod
    def weight_stds(self, d_in: int) -> tuple[float, ...]:
        """β_l of every layer with weights."""

    def layer_shapes(self, d_in: int) -> tuple[tuple[int, int], ...]:
        """(fan_out, fan_in) of the weights of every layer that has some."""
        return tuple((layer.fan_out, layer.fan_in) for layer in weighted(self.layers(d_in)))

    def count_parameters(self, d_in: int) -> int:
        """Number of trained weights and biases."""
        return sum(fan_out * (fan_in + (self.bias_std is not None)) for fan_out, fan_in in self.layer_shapes(d_in))

    @property
    @abc.abstractmethod
    def widest(self) -> int:
        """Numbers per point that the widest hidden layer takes or gives."""

    @property
    @abc.abstractmethod
    def activations(self) -> int:
        """Numbers per point that all layers give, about."""

    @property
    @abc.abstractmethod
    def largest_product(self) -> int:
        """Multiplications per point in a hidden layer."""

    def __repr__(self) -> str:
        parts = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if value == field.default and field.name not in _ALWAYS_SHOWN:
                continue
            if field.name == "activation" and self.phi.function is None:
                value = str(self.phi)  # a function has no string that leads back to it
            parts.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


a_network = instance(Network, "a network, such as ntkrobust.MLP(depth=3, width=64)")
"""The check of an argument that is one."""
