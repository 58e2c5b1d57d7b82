"""Fully connected networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from ntkrobust.checks import check_integer
from ntkrobust.errors import InputError
from ntkrobust.networks import derivatives
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.initializations import Initialization, Scales
from ntkrobust.networks.layered import LayeredNetwork, Parameterization
from ntkrobust.networks.layers import Activate, Dense, Layer
from ntkrobust.networks.models import layered_float64_error
from ntkrobust.networks.network import Sizes
from ntkrobust.networks.parameters import SHALLOW, LayerScales, Parameters, Stacked, forward, outputs_in_columns
from ntkrobust.numerics import spectral


@dataclasses.dataclass(frozen=True, repr=False)
class MLP(LayeredNetwork):
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

    def sizes(self, d_in: int) -> Sizes:
        """Parameters, and per point: m of a hidden layer, L·m of all of them, m² products of one."""
        m = self.finite_width
        return Sizes(self.count_parameters(d_in), m, self.depth * m, m**2)

    def model(self, recomputed: int = 0) -> FullyConnected:
        """The function of this depth's networks with this φ."""
        return FullyConnected(self.phi, recomputed)

    @property
    def layers_to_recompute(self) -> int:
        """Layers k that a backward pass computes again at once where memory is short; 0 where that is not offered.

        The L − 2 hidden layers are cut into equal pieces of k. The forward pass keeps z where a piece begins; the way
        back computes the z of the layers of a piece, piece after piece: (L − 2)/k + k arrays in place of L − 2, least
        at k near √(L − 2) (Chen et al., arXiv 1604.06174). Programs written out layer by layer are not deep enough to
        need it.
        """
        if self.depth <= SHALLOW:
            return 0
        hidden = self.depth - 2
        return min((k for k in range(1, hidden + 1) if hidden % k == 0), key=lambda k: hidden // k + k)

    def activations_kept(self, d_in: int, recomputed: int) -> int:
        """Numbers per point that a forward pass leaves for the way back.

        Of each layer its input, and which units are active; programs that loop over layers keep one array, from which
        both are computed.
        """
        if not self.layers_to_recompute:
            return super().activations_kept(d_in, recomputed)
        if not recomputed:
            return self.depth * self.finite_width
        # Where pieces begin, what the layers of one leave; and likewise of the first and the last layer.
        return self.finite_width * ((self.depth - 2) // recomputed + recomputed + 2)


@dataclasses.dataclass(frozen=True)
class FullyConnected:
    """f(x) = (1/α) W_L φ(W_{L−1} φ(… φ(W_1 x + b_1))) + b_L; see :class:`Model`.

    Attributes:
        phi: φ.
        recomputed: layers that a backward pass computes again at once; 0 where activations are kept.
    """

    phi: Activation
    recomputed: int = 0

    def outputs(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        return forward(self.phi, scales, parameters, x, self.recomputed)

    def outputs_in_columns(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """f(x) (o, n) for x (d, n)."""
        return outputs_in_columns(self.phi, scales, parameters, x, self.recomputed)

    def jacobian(self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array) -> jax.Array:
        """J(x) = ∂f/∂x (n, o, d)."""
        return derivatives.input_jacobian(self.phi, scales, parameters, x)

    def kernel(
        self, scales: LayerScales, parameters: Parameters | Stacked, x: jax.Array, factor: jax.Array | float = 1.0
    ) -> jax.Array:
        """The empirical NTK Θ(x, x) (n, o, n, o), times factor²."""
        return derivatives.empirical_ntk(self.phi, scales, parameters, x, factor)

    def lipschitz_upper(self, gains: jax.Array, norms: jax.Array) -> jax.Array:
        """∏_l g_l‖W_l‖₂, rounded up."""
        return spectral.product_upper(jnp.concatenate([norms, jnp.abs(gains)]))

    def float64_error(self, scales: LayerScales, parameters: Parameters, x: jax.Array, delta: jax.Array) -> jax.Array:
        """(n,) what float64 may add to Σ_k |f_k(x + δ) − f_k(x)|."""
        return layered_float64_error(self, scales, parameters, x, delta)
