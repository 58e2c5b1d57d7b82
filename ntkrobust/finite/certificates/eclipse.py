"""ECLipsE-Fast: a bound on the global ℓ2 Lipschitz constant of a fully connected network, below the product of norms.

With φ' in [0, 1], M_0 = I and, layer by layer (Xu and Sivaranjani, arXiv 2404.04375),

    Q_l = W_l M_{l−1}⁻¹ W_l^T,   λ_l = 2/λ_max(Q_l),   M_l = λ_l I − (λ_l²/4) Q_l,
    Lip² ≤ λ_max(W_L M_{L−1}⁻¹ W_L^T).

The eigenvalues of M_l lie between λ_l/2 and λ_l, whatever the weights: it is inverted with few digits lost. A larger
M_l⁻¹ (in the order of positive semidefinite matrices) leaves the inequalities behind the theorem true, so that every
inverse is multiplied by 1 + :func:`_slack`, which is more than float64 has lost in it.

erf and tanh have slopes in [0, c], c = 2/√π and 1: c W_l stands for W_l. gelu's slopes are negative, too: refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ntkrobust.errors import InputError
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.mlp import FullyConnected
from ntkrobust.networks.models import Model
from ntkrobust.networks.parameters import LayerScales, Parameters, unpacked
from ntkrobust.numerics.wide import UNIT, in_float64, rounded_up, widened


def check_bounded_by_eclipse(model: Model) -> Activation:
    """The activation of a fully connected network whose slopes lie in [0, c].

    Raises:
        InputError: the network is another one.
    """
    if not isinstance(model, FullyConnected):
        raise InputError(
            "ECLipsE-Fast is for fully connected networks: 'lipschitz_upper' bounds convolutional ones, and "
            "'local_lipschitz_upper' those near a point"
        )
    if model.phi.name == "gelu" or model.phi.function is not None:
        raise InputError(
            f"ECLipsE-Fast needs slopes between 0 and a constant, which {model.phi.name!r} has not, or is not known to "
            "have: 'local_lipschitz_upper' bounds networks of gelu near a point"
        )
    return model.phi


def lipschitz_upper(model: Model, scales: LayerScales, parameters: Parameters) -> jax.Array:
    """A float32 number not below the ℓ2 Lipschitz constant; traceable.

    Raises:
        InputError: see :func:`check_bounded_by_eclipse`.
    """
    phi = check_bounded_by_eclipse(model)
    steepest = 2 / math.sqrt(math.pi) * (1 + 4 * UNIT) if phi.name == "erf" else 1.0

    def compute(gains: jax.Array, weights: Sequence[jax.Array]) -> jax.Array:
        wide = [widened(gains[index]) * widened(weight) for index, weight in enumerate(weights)]
        return rounded_up(_bound([wide[0], *(steepest * one for one in wide[1:])]))

    return in_float64(compute)(jnp.asarray(scales.weight_gain), unpacked(parameters).weights)


def _bound(weights: Sequence[jax.Array]) -> jax.Array:
    """Of W_L φ(… φ(W_1 x)) with slopes in [0, 1]; zero where a layer is."""
    # Sizes are taken out, so that nothing overflows.
    sizes = [jnp.max(jnp.abs(weight)) for weight in weights]
    scaled = [weight / jnp.where(size > 0, size, 1) for weight, size in zip(weights, sizes, strict=True)]
    q = scaled[0] @ scaled[0].T
    squared = jnp.asarray(1.0)
    for weight in scaled[1:]:
        values, vectors = jnp.linalg.eigh(0.5 * (q + q.T))
        most = values[-1] * (1 + _slack(len(q)))
        # λ M⁻¹ = (I − (λ/4) Q)⁻¹ with λ = 2/λ_max(Q); 1/λ goes into the bound.
        inverse = (vectors / (1 - 0.5 * values / jnp.where(most > 0, most, 1))) @ vectors.T
        squared = squared * 0.5 * most
        q = (1 + _slack(weight.shape[1])) * (weight @ inverse @ weight.T)
    largest = jnp.linalg.eigvalsh(0.5 * (q + q.T))[-1] * (1 + _slack(len(q)))
    return jnp.sqrt(squared * largest) * jnp.prod(jnp.stack(sizes)) * (1 + 2.0**-40)


def _slack(n: int) -> float:
    """What eigenvalues, products and inverses of matrices (n, n) with condition 2 may be off by, relative to the
    largest: some tens of n units of float64; n² and a factor of 64 are more."""
    return 64 * max(n, 16) ** 2 * UNIT
