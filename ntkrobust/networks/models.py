"""What programs see of a network: its function of parameters and points, without the numbers that set its scales.

A model is hashable and static in compiled programs, so networks that share one share their programs, whatever their
initialization and parameterization.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp

from ntkrobust.errors import InputError
from ntkrobust.networks import derivatives
from ntkrobust.networks.activations import as_activation
from ntkrobust.networks.parameters import unpacked

if TYPE_CHECKING:
    from ntkrobust.networks.network import Network

STEEPEST = 1.2
"""No smooth activation of the package is steeper: gelu's slope is at most 1.13."""


class Model(Protocol):
    """The function that networks of one architecture compute, with its derivatives.

    Parameters are those of one network, any pytree; scales are what
    :meth:`~ntkrobust.networks.network.Network.layer_scales` gives; x is (n, d).
    """

    def __hash__(self) -> int: ...

    def outputs(self, scales: Any, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""

    def outputs_in_columns(self, scales: Any, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (o, n) for x (d, n), one point per column."""

    def jacobian(self, scales: Any, parameters: Any, x: jax.Array) -> jax.Array:
        """J(x) = ∂f/∂x (n, o, d)."""

    def kernel(self, scales: Any, parameters: Any, x: jax.Array, factor: jax.Array | float = 1.0) -> jax.Array:
        """The empirical NTK Θ(x, x) (n, o, n, o), times factor²."""

    def lipschitz_upper(self, gains: jax.Array, norms: jax.Array) -> jax.Array:
        """A number that is not below the Lipschitz constant wherever |φ'| ≤ 1, rounding included.

        From the layers' factors in the forward pass (L,) and upper ends of ‖W_l‖₂ (L,).
        """

    def float64_error(self, scales: Any, parameters: Any, x: jax.Array, delta: jax.Array) -> jax.Array:
        """(n,) no less than what float64 may add to Σ_k |f_k(x + δ) − f_k(x)|, for x and δ (d, n)."""


class Differentiated:
    """Derivatives by automatic differentiation, for a model that gives its outputs in rows or in columns; see
    :class:`Model`."""

    def outputs(self, scales: Any, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        return self.outputs_in_columns(scales, parameters, x.T).T

    def outputs_in_columns(self, scales: Any, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (o, n) for x (d, n)."""
        return self.outputs(scales, parameters, x.T).T

    def jacobian(self, scales: Any, parameters: Any, x: jax.Array) -> jax.Array:
        """J(x) = ∂f/∂x (n, o, d)."""
        return derivatives.jacobian_of_columns(lambda x: self.outputs_in_columns(scales, parameters, x), x)

    def kernel(self, scales: Any, parameters: Any, x: jax.Array, factor: jax.Array | float = 1.0) -> jax.Array:
        """The empirical NTK Θ(x, x) (n, o, n, o), times factor²."""
        return derivatives.kernel_by_jacobian(
            lambda one, x: self.outputs(scales, one, x), unpacked(parameters), x, factor
        )


@dataclasses.dataclass(frozen=True)
class AppliedModel(Differentiated):
    """The function of a network of one's own; see :class:`Model`.

    Attributes:
        net: the network.
    """

    net: Network

    def outputs(self, scales: Any, parameters: Any, x: jax.Array) -> jax.Array:
        """f(x) (n, o)."""
        shape = self.net.input_shape
        return self.net.apply(parameters, x if shape is None else x.reshape(-1, *shape))

    def lipschitz_upper(self, gains: jax.Array, norms: jax.Array) -> jax.Array:
        """Not known.

        Raises:
            InputError: always.
        """
        raise InputError(f"no product of layers bounds {self.net!r}, whose layers are not known")

    def float64_error(self, scales: Any, parameters: Any, x: jax.Array, delta: jax.Array) -> jax.Array:
        """2⁻⁴⁰ of the outputs, if the function computes in float64 when it is given float64, else 2⁻¹⁷: no proof."""
        size = sum(jnp.abs(self.outputs_in_columns(scales, parameters, place)) for place in (x, x + delta))
        share = 2.0**-40 if _stays_in_float64(self, scales, parameters, x) else 2.0**-17
        return share * jnp.sum(size, axis=0)


def _stays_in_float64(model: AppliedModel, scales: Any, parameters: Any, x: jax.Array) -> bool:
    program = jax.make_jaxpr(lambda parameters, x: model.outputs_in_columns(scales, parameters, x))(parameters, x)
    return "f32[" not in str(program)


def layered_float64_error(model: Any, scales: Any, parameters: Any, x: jax.Array, delta: jax.Array) -> jax.Array:
    """See :class:`Model`, for layers of weights with activations φ between them.

    With |W| in place of W and the identity in place of φ, a forward pass of |x| + |δ| bounds all that is added up on
    the way; each of L layers adds a relative (k + 8) 2⁻⁵³ of it, k terms to a sum (Higham, *Accuracy and Stability of
    Numerical Algorithms*, 2002, §3.1).
    """
    linear = dataclasses.replace(model, phi=as_activation("linear"))
    gains, weights = jax.tree.map(jnp.abs, (scales, parameters))
    most = jnp.sum(linear.outputs_in_columns(gains, weights, jnp.abs(x) + jnp.abs(delta)), axis=0)
    layers = len(parameters.weights)
    terms = max(one[0].size for one in parameters.weights)
    return most * (2 * (layers + 1) * (terms + 8) * 2.0**-53 * STEEPEST**layers)
