"""What a network is: one immutable description that drives both finite networks and infinite-width kernels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax

from ntkrobust.activations import Activation, as_activation
from ntkrobust.checks import check_integer, check_number
from ntkrobust.errors import InputError
from ntkrobust.initializations import Initialization, Scales, as_initialization

Parameterization = Literal["standard", "ntk"]


@dataclasses.dataclass(frozen=True)
class MLP:
    """A fully connected network f(x) = (1/α) W_L φ(W_{L−1} φ(… φ(W_1 x + b_1))) + b_L.

    Attributes:
        depth: L ≥ 2, the number of weight matrices, so L−1 hidden layers.
        width: m ≥ 1, the width of every hidden layer; None for questions about infinite width only.
        d_out: o ≥ 1, the number of outputs.
        activation: a name (``"relu"``, ``"leaky_relu(0.2)"``, …), a function that acts entrywise on JAX arrays, or an
            :class:`~ntkrobust.Activation`.
        initialization: a name (``lecun``, ``he``, ``ntk``, ``xavier``, ``mean_field``) or an
            :class:`~ntkrobust.Initialization`.
        parameterization: ``"standard"`` trains weights drawn with standard deviation β_l; ``"ntk"`` trains weights
            drawn from N(0, 1) and multiplies them by β_l in the forward pass. Both have the same law at
            initialization and train differently.
        bias_std: None for no biases; s ≥ 0 for biases b_l ~ N(0, s²), trained. ``0.0`` trains biases that start at
            zero. In the NTK parameterization the bias enters as s·b_l, so ``0.0`` leaves it without effect.

    The object is hashable (static under ``jax.jit``) and prints as the code that makes it.

    Raises:
        InputError: a field is out of its range, or ``mean_field`` is asked for with a depth other than 2.
    """

    depth: int
    width: int | None = None
    d_out: int = 1
    activation: str | Activation | Callable[[jax.Array], jax.Array] = "relu"
    initialization: str | Initialization = "he"
    parameterization: Parameterization = "standard"
    bias_std: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", check_integer("depth", self.depth, 2, "it counts weight matrices"))
        if self.width is not None:
            object.__setattr__(self, "width", check_integer("width", self.width, 1))
        object.__setattr__(self, "d_out", check_integer("d_out", self.d_out, 1))
        object.__setattr__(self, "activation", as_activation(self.activation))
        object.__setattr__(self, "initialization", as_initialization(self.initialization))
        if self.parameterization not in ("standard", "ntk"):
            raise InputError(f"parameterization must be 'standard' or 'ntk', got {self.parameterization!r}")
        if self.bias_std is not None:
            bias_std = check_number("bias_std", self.bias_std)
            if bias_std < 0:
                raise InputError(f"bias_std must be None or a number that is not negative, got {self.bias_std!r}")
            object.__setattr__(self, "bias_std", bias_std)
        if self.initialization.name == "mean_field" and self.depth != 2:  # type: ignore[union-attr]
            raise InputError(f"the mean_field initialization is defined for depth 2 only, got depth {self.depth}")

    @property
    def phi(self) -> Activation:
        """The activation, resolved."""
        assert isinstance(self.activation, Activation)
        return self.activation

    @property
    def finite_width(self) -> int:
        """The width m.

        Raises:
            InputError: the network was described without one.
        """
        if self.width is None:
            raise InputError(f"a finite network needs a width, got {self!r}")
        return self.width

    def scales(self, d_in: int) -> Scales:
        """β₁, β, β_L and α as numbers, for inputs of dimension ``d_in``."""
        assert isinstance(self.initialization, Initialization)
        return self.initialization.scales(check_integer("d_in", d_in, 1), self.finite_width, self.d_out)

    def layer_shapes(self, d_in: int) -> tuple[tuple[int, int], ...]:
        """(fan_out, fan_in) of W_1 … W_L."""
        m = self.finite_width
        return ((m, d_in), *[(m, m)] * (self.depth - 2), (self.d_out, m))

    def count_parameters(self, d_in: int) -> int:
        """Number of trained weights and biases."""
        return sum(fan_out * (fan_in + (self.bias_std is not None)) for fan_out, fan_in in self.layer_shapes(d_in))

    @property
    def widest(self) -> int:
        """Numbers per point that the widest hidden layer gives: m."""
        return self.finite_width

    @property
    def activations(self) -> int:
        """Numbers per point that all layers give, about: L·m."""
        return self.depth * self.finite_width

    @property
    def largest_product(self) -> int:
        """Multiplications per point in a hidden layer: m²."""
        return self.finite_width**2

    def __repr__(self) -> str:
        parts = [f"depth={self.depth}", f"width={self.width}"]
        if self.d_out != 1:
            parts.append(f"d_out={self.d_out}")
        # a function has no string that leads back to it
        activation = self.phi if self.phi.function is not None else str(self.phi)
        parts += [f"activation={activation!r}", f"initialization={self.initialization!r}"]
        if self.parameterization != "standard":
            parts.append(f"parameterization={self.parameterization!r}")
        if self.bias_std is not None:
            parts.append(f"bias_std={self.bias_std!r}")
        return f"MLP({', '.join(parts)})"
