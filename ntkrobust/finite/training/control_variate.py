"""A control variate for ‖J_t‖_F² of trained networks: its mean is zero exactly, whatever the theory says.

A network in the kernel regime remembers where it started: with r = y − f_0(X) the residuals at initialization, training
to time t takes its Jacobian at x to about

    g_t(x) = J_0(x) + Σ_i r_i B_{t,i}(x)ᵀ ∈ R^{o×d},     B_{t,i}(x) = [∇_x Θ(x, X) M_t]_i ∈ R^d,

and most of what differs between wide networks is ‖g_t‖_F². Given the hidden layers, f_0 and J_0 are linear in the last
layer's weights, independent Gaussians, so the conditional mean of ‖g_t‖_F² is elementary. The *excess*
‖g_t‖_F² − E[‖g_t‖_F² | hidden layers] then has mean zero: at any depth and width, for any activation, and for any
numbers B. A wrong theory makes it a poor control variate; it can't make it a biased one.

In detail: scaled so that the last layer's weights w_k (with the output bias as one more) are N(0, I) for each output k,
f_0(x) = h(x)·w and J_0(x) = D(x)ᵀw with D = ∂h/∂x, and

    g_t = Bᵀy + Aᵀw,   A = D(x) − Σ_i h(x_i) B_iᵀ,     E[‖g_t‖_F² | h] = Σ_k ‖Bᵀy_k‖² + o ‖A‖_F².

What is left after subtracting the excess varies like m^{-1/2} from network to network instead of not shrinking at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import single_precision
from ntkrobust.finite.training.problem import check_training_data
from ntkrobust.networks.activations import Activation
from ntkrobust.networks.drawing import run_over_draws
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.parameters import LayerScales, Parameters, pre_activations
from ntkrobust.networks.plans import choose_plan
from ntkrobust.numerics.scaling import Scaled, exponent_of, resolved, unit
from ntkrobust.runtime.seeds import check_seeds, seed_keys


def jacobian_excess(
    net: MLP,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    propagators: np.ndarray,
    *,
    seeds: int | Sequence[int],
    key: jax.Array | None = None,
) -> np.ndarray:
    """‖g_t(x)‖_F² − E[‖g_t(x)‖_F² | hidden layers], averaged over the test points, of the networks that
    :func:`ntkrobust.train` starts from with the same seeds and key.

    Args:
        net: the network.
        x_train: (n, d) inputs.
        y_train: (n, o) targets.
        x_test: (n', d) inputs.
        propagators: B (time, n', n, d), by which the residuals at initialization move the gradient at each test point.
        seeds: a number n for the seeds 0 … n−1, or the seeds themselves.
        key: a typed key, by default ``jax.random.key(0)``.

    Returns:
        (seed, time), in the units of ‖J‖_F²; its mean over seeds is zero. Float64 where float32 can't hold it.

    Raises:
        InputError: arrays of the wrong shape or with NaN, no seeds.
    """
    if not isinstance(net, MLP):
        raise InputError(f"the control variate is about fully connected networks, got {net!r}")
    x, y = check_training_data(net, x_train, y_train)
    points = single_precision("x_test", x_test)
    if propagators.ndim != 4 or propagators.shape[1:] != (len(points), *x.shape) or points.shape[1] != x.shape[1]:
        raise InputError(
            f"propagators must have shape (times, {len(points)}, {len(x)}, {x.shape[1]}), got {propagators.shape}"
        )
    shared = {
        "scales": net.layer_scales(x.shape[1]),
        "x": x,
        "y": y,
        "x_test": points,
        "propagators": propagators.swapaxes(0, 1).astype(np.float32),
    }
    plan, keys = choose_plan(net, x.shape[1], len(x)), seed_keys(key, check_seeds(seeds))
    program = _Excess(net.phi, net.bias_std is not None)
    return resolved(run_over_draws(program, plan, shared, net, x.shape[1], {"key": keys}))


@dataclasses.dataclass(frozen=True)
class _Excess:
    """The excess of one network at all times."""

    phi: Activation
    has_bias: bool

    def __call__(self, shared: dict, one: dict) -> Scaled:
        scales, b, parameters = shared["scales"], shared["propagators"], one["parameters"]
        w = _last_layer(scales, parameters)
        h = self._features(scales, parameters, shared["x"])[0]
        # All is quadratic in the outputs: in units of their size, squares fit.
        of = jnp.maximum(jnp.squeeze(unit(h)), jnp.squeeze(unit(shared["y"])))
        h = h / of
        gram = h @ h.T
        mean = jnp.einsum("io,ptid->ptod", shared["y"] / of, b)
        moved = jnp.einsum("ptid,ij->ptjd", b, gram)

        def at_point(one: tuple[jax.Array, ...]) -> jax.Array:
            x, b, mean, moved = one
            slope = self._features(scales, parameters, x[None])[1] / of
            # ‖A‖_F² and Aᵀw by products with D: A itself, one per time, would be the largest array around.
            pulled, noise = h @ slope, w @ slope - jnp.einsum("oi,tid->tod", w @ h.T, b)
            spread = jnp.sum(slope**2) + jnp.sum(b * (moved - 2 * pulled), axis=(1, 2))
            return jnp.sum(noise * (2 * mean + noise), axis=(1, 2)) - len(w) * spread

        value = jnp.mean(jax.lax.map(at_point, (shared["x_test"], b, mean, moved)), axis=0)
        return Scaled(value, jnp.full(value.shape, 2 * exponent_of(of)))

    def _features(self, scales: LayerScales, parameters: Parameters, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """h (n, m), such that f_0 = hw with w ~ N(0, I), and D = ∂h/∂x (m, d) at the first point.

        An output bias is one more feature, whose derivative vanishes: m+1 then.
        """
        z, inputs = pre_activations(self.phi, scales, parameters, x.T)
        slope = parameters.weights[0]
        for layer, before in enumerate(z[:-1]):
            if layer:
                slope = parameters.weights[layer] @ slope
            gate = jax.jvp(self.phi, (before[:, 0],), (jnp.ones_like(before[:, 0]),))[1]
            slope = scales.weight_gain[layer] * gate[:, None] * slope
        size = scales.weight_gain[-1] * scales.weight_std[-1]
        if not self.has_bias:
            return size * inputs[-1].T, size * slope
        bias = jnp.full((len(x), 1), scales.bias_gain * scales.bias_std, dtype=x.dtype)
        return jnp.append(size * inputs[-1].T, bias, axis=1), jnp.pad(size * slope, ((0, 1), (0, 0)))


def _last_layer(scales: LayerScales, parameters: Parameters) -> jax.Array:
    """w (o, m) or (o, m+1): the last layer's weights and bias, divided by their standard deviations."""
    w = parameters.weights[-1] / scales.weight_std[-1]
    if not parameters.biases:
        return w
    # Biases that start at zero multiply a feature that is zero.
    bias = parameters.biases[-1] / jnp.where(scales.bias_std > 0, scales.bias_std, 1.0)
    return jnp.concatenate([w, bias[:, None]], axis=1)
