"""Networks made of layers: one immutable description drives finite networks and infinite-width kernels alike."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np

from ntkrobust.checks import MOST_LAYERS, check_integer, check_number, shown
from ntkrobust.errors import InputError
from ntkrobust.networks.activations import Activation, as_activation
from ntkrobust.networks.drawing import draw_layers
from ntkrobust.networks.initializations import Initialization, Scales, as_initialization
from ntkrobust.networks.layers import Layer, weighted
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import LayerScales, Parameters
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.runtime.seeds import RawKeys, raw_key

Parameterization = Literal["standard", "ntk"]


_ALWAYS_SHOWN = ("depth", "width", "activation", "initialization")
"""Fields that a network prints even where they are the default."""


class LayeredNetwork(Network):
    """A network that knows its layers, and with them its law, its kernel and its sizes.

    Subclasses are frozen dataclasses, hashable (static under ``jax.jit``), checked when they are built, and print as
    the code that makes them.

    Attributes:
        architecture: what kind it is, as the claims' axis of that name calls it.
        depth: L, layers with weights on the longest way from input to output.
        width: m, neurons of a hidden layer, or channels; None for questions about infinite width only.
        d_out: o, the number of outputs.
        activation, initialization, parameterization, bias_std: see :class:`MLP`.
    """

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

    def at_width(self, width: int) -> LayeredNetwork:
        """The same network at a width, whether it was described with one or without."""
        assert dataclasses.is_dataclass(self)
        return dataclasses.replace(self, width=width)

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

    def layer_scales(self, d_in: int) -> LayerScales:
        """The numbers of the network for inputs of dimension ``d_in``.

        Standard parameterization: W_l is drawn with std β_l and only the output is scaled, by 1/α. NTK
        parameterization: W_l is drawn from N(0, 1) and scaled by β_l (β_L/α for the last); likewise for the biases.
        """
        betas = np.array(self.weight_stds(d_in), dtype=np.float32)
        ones = np.ones(len(betas), dtype=np.float32)
        output = ones.copy()
        output[-1] = 1 / self.scales(d_in).alpha
        bias = np.float32(self.bias_std or 0.0)
        if self.parameterization == "standard":
            return LayerScales(betas, output, bias, np.float32(1.0))
        return LayerScales(ones, betas * output, np.float32(1.0), bias)

    def draw(self, key: jax.Array, d_in: int) -> Parameters:
        """Parameters of one network."""
        drawn: Parameters = jax.tree.map(lambda leaf: leaf[0], self.initialize(d_in, raw_key(key)))
        return drawn

    def apply(self, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o) of one network at x (n, d)."""
        return self.model().outputs(self.layer_scales(x.shape[-1]), parameters, x)

    def initialize(self, d_in: int, keys: RawKeys) -> Parameters:
        """Parameters of an ensemble as numpy arrays, one network per key along a leading axis.

        Entries are N(0, β_l²) in the standard parameterization and N(0, 1) in the NTK parameterization; biases are
        N(0, s²) and N(0, 1). Networks of different shape share no randomness. Networks of one shape that differ only in
        initialization share their underlying standard normals.
        """
        return draw_layers(self.layer_shapes(d_in), self.layer_scales(d_in), self.bias_std is not None, keys)

    def parameter_shapes(self, d_in: int) -> Parameters:
        """Shapes and types of one network's parameters."""
        shapes = self.layer_shapes(d_in)

        def array(*shape: int) -> Any:
            return jax.ShapeDtypeStruct(shape, TRAINING_DTYPE)

        biases = () if self.bias_std is None else tuple(array(fan_out) for fan_out, _ in shapes)
        return Parameters(tuple(array(*shape) for shape in shapes), biases)

    def shapes(self, d_in: int) -> tuple[tuple[int, ...], ...]:
        """(fan_out, fan_in) of every layer with weights."""
        return self.layer_shapes(d_in)

    def count_parameters(self, d_in: int) -> int:
        """Number of trained weights and biases."""
        return sum(fan_out * (fan_in + (self.bias_std is not None)) for fan_out, fan_in in self.layer_shapes(d_in))

    def described(self, d_in: int) -> dict[str, Any]:
        """The fields as JSON has them, without the initialization; a function that is φ is told by its name alone."""
        fields = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]  # every one is a dataclass
        return {
            "architecture": self.architecture,
            **{name: getattr(self, name) for name in fields if name not in ("activation", "initialization")},
            "activation": str(self.phi),
        }

    def coordinates(self, d_in: int) -> Mapping[str, Any]:
        """The coordinates that formulas and evidence may ask for by name."""
        return {
            "architecture": self.architecture,
            "depth": self.depth,
            "width": self.width,
            "initialization": self.drawn_from.name or repr(self.initialization),
            "activation": str(self.activation),
            "parameterization": self.parameterization,
            "bias_std": self.bias_std,
            "parameters": self.count_parameters(d_in),
            **self.scales(d_in)._asdict(),
        }

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
