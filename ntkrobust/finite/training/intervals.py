"""Losses at the worst outputs that intervals allow in a ball: what training for certificates minimizes.

Interval bound propagation (Gowal et al., arXiv 1810.12715): the first layer takes the ball to an interval of each
unit, exactly; φ rises, so it takes ends to ends; and z = W h + b lies within |W| (h̄ − h̲)/2 of W (h̲ + h̄)/2 + b. The
last layer is taken together with the difference of two outputs. Points lie along the last axis, as in networks.

In the precision of training and without its rounding: what is minimized, and no certificate
(:mod:`ntkrobust.finite.certificates`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ntkrobust.adversary import Adversary
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.balls import Ball
from ntkrobust.networks.mlp import MLP, FullyConnected
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import LayerScales, Parameters, Stacked, unpacked
from ntkrobust.norms import Norm

RISING = ("relu", "leaky_relu", "linear", "tanh", "erf")
"""Activations that intervals pass through by their ends."""


def check_objective(adversary: Adversary | None, net: Network) -> None:
    """Raise InputError unless the objective of an adversary is there for a network."""
    if adversary is None or adversary.objective != "interval":
        return
    if not isinstance(net, MLP) or net.phi.name not in RISING:
        raise InputError(
            f"the objective 'interval' is for fully connected networks whose activation rises ({', '.join(RISING)}), "
            f"got {net!r}: 'generalized', 'trades' and 'jacobian' train any"
        )


def worst_loss(
    loss: str, norm: Norm, model: Model, scales: LayerScales, parameters: Parameters | Stacked, ball: Ball, y: jax.Array
) -> jax.Array:
    """A sum over samples that is not below the loss at any points of the balls, up to rounding.

    - ``"squared"``: ½Σ max((f̄ − y)², (f̲ − y)²).
    - ``"cross_entropy"``, o ≥ 2: Σ_i Σ_k y_ik log Σ_j exp(U_jk), U_jk not below f_j − f_k in the ball of x_i.
    - ``"cross_entropy"``, o = 1: Σ_i log(1 + exp(−the lower end of y_i f)).

    Args:
        loss: which.
        norm: of the balls.
        model: of a network that :func:`check_objective` lets through.
        scales, parameters: of it.
        ball: around (d, n) inputs.
        y: (n, o) targets.
    """
    assert isinstance(model, FullyConnected)
    parameters = unpacked(parameters)
    weights = [gain * weight for gain, weight in zip(scales.weight_gain, parameters.weights, strict=True)]
    biases = [(scales.bias_gain * bias)[:, None] for bias in parameters.biases] or [0.0] * len(weights)
    lower, upper = _first(norm, weights[0], biases[0], ball)
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        lower, upper = _affine(weight, bias, model.phi(lower), model.phi(upper))
    lower, upper = model.phi(lower), model.phi(upper)
    weight, bias = weights[-1], biases[-1]
    if loss == "squared" or len(weight) == 1:
        low, high = _affine(weight, bias, lower, upper)
        if loss == "squared":
            return 0.5 * jnp.sum(jnp.maximum((high - y.T) ** 2, (low - y.T) ** 2))
        return jnp.sum(jax.nn.softplus(-jnp.where(y.T > 0, low, -high)))
    # Every difference of two outputs, f_j − f_k in row (j, k).
    o = len(weight)
    apart = (weight[:, None] - weight[None, :]).reshape(o * o, -1)
    shift = bias if isinstance(bias, float) else (bias[:, None] - bias[None, :]).reshape(o * o, 1)
    most = _affine(apart, shift, lower, upper)[1].reshape(o, o, -1)
    return jnp.sum(y.T * jax.nn.logsumexp(most, axis=0))


def _first(norm: Norm, weight: jax.Array, bias: jax.Array | float, ball: Ball) -> tuple[jax.Array, jax.Array]:
    """Ends of W x' + b in balls: of the box around a ball cut by the range, and of the ball itself."""
    step = ball.moving(jnp.broadcast_to(ball.radius, ball.centre.shape))
    low, high = (jnp.clip(ball.centre + sign * step, ball.lower, ball.upper) for sign in (-1, 1))
    lower, upper = _affine(weight, bias, low, high)
    if norm == "linf":
        return lower, upper
    size = jnp.abs(weight) if ball.movable is None else jnp.abs(weight) * ball.movable.T
    dual = jnp.max(size, axis=1) if norm == "l1" else jnp.sqrt(jnp.sum(size**2, axis=1))
    middle, reach = weight @ ball.centre + bias, dual[:, None] * ball.radius
    return jnp.maximum(lower, middle - reach), jnp.minimum(upper, middle + reach)


def _affine(
    weight: jax.Array, bias: jax.Array | float, lower: jax.Array, upper: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Ends of W h + b for h in [lower, upper], entry by entry."""
    middle, spread = weight @ (0.5 * (lower + upper)) + bias, jnp.abs(weight) @ (0.5 * (upper - lower))
    return middle - spread, middle + spread
