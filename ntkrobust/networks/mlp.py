"""Fully connected networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax

from ntkrobust.checks import check_integer
from ntkrobust.errors import InputError
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.initializations import Initialization, Scales
from ntkrobust.networks.layers import Activate, Dense, Layer
from ntkrobust.networks.network import Network, Parameterization


@dataclasses.dataclass(frozen=True, repr=False)
class MLP(Network):
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

    architecture: ClassVar[str] = "fully_connected"

    depth: int
    width: int | None = None
    d_out: int = 1
    activation: str | Activation | Callable[[jax.Array], jax.Array] = "relu"
    initialization: str | Initialization = "he"
    parameterization: Parameterization = "standard"
    bias_std: float | None = None

    def __post_init__(self) -> None:
        self._check_common()
        if self.drawn_from.name == "mean_field" and self.depth != 2:
            raise InputError(f"the mean_field initialization is defined for depth 2 only, got depth {self.depth}")

    def layers(self, d_in: int) -> tuple[Layer, ...]:
        """Dense layers with φ between them."""
        layers: list[Layer] = []
        for index, shape in enumerate(self.layer_shapes(d_in)):
            layers += [Dense(index, *shape), Activate()]
        return tuple(layers[:-1])

    def scales(self, d_in: int) -> Scales:
        """β₁, β, β_L and α as numbers, for inputs of dimension ``d_in``."""
        return self.drawn_from.scales(check_integer("d_in", d_in, 1), self.finite_width, self.d_out)

    def weight_stds(self, d_in: int) -> tuple[float, ...]:
        """β₁, β for each hidden layer after the first, β_L."""
        scales = self.scales(d_in)
        return (scales.beta_first, *[scales.beta] * (self.depth - 2), scales.beta_last)

    def layer_shapes(self, d_in: int) -> tuple[tuple[int, int], ...]:
        """(fan_out, fan_in) of W_1 … W_L."""
        m, d_in = self.finite_width, check_integer("d_in", d_in, 1)
        return ((m, d_in), *[(m, m)] * (self.depth - 2), (self.d_out, m))

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
