"""Average perturbation stability of a network whose Jacobian is known.

P(f, ε)/ε = E‖J(x)(x̂ − x)‖/ε with x̂ uniform in the ball B₂(x, ε) (Zhu et al., arXiv 2209.07263). Write x̂ − x = εRu with
u uniform on the unit sphere and R independent of it; E R = d/(d+1).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ntkrobust.numerics.scaling import norm, unit
from ntkrobust.numerics.special import log_chi_moment

_STEP, _LOWEST, _HIGHEST = 0.5, -36.0, 20.0
"""Trapezoidal rule in log s: its error is exp(−2π²/step); the limits leave out less than 1e-7 of the integral."""


def ball_stability(jacobian: jax.Array) -> jax.Array:
    """P(f, ε)/ε (...) of the linearised network from its Jacobians (..., o, d).

    One output: c_d‖g‖ with c_d = (d/(d+1)) E|u_1| = Γ(d/2+1)/(√π Γ((d+3)/2)). Several: (d/(d+1)) E‖Ju‖, where
    ‖Ju‖ = ‖Jg‖/‖g‖ for a standard normal g, the two factors on the right independent, and
    ‖Jg‖² = Σσ_i²g_i² has mean root

        E√S = (1/√π) ∫_0^∞ s^{−1/2} (−M'(s)) ds,   M(s) = E e^{−sS} = ∏_i (1 + 2σ_i²s)^{−1/2}.
    """
    o, d = jacobian.shape[-2:]
    mean_chi_d = math.exp(log_chi_moment(d, 1))
    if o == 1:
        # E|u_1| = E|g_1|/E χ_d = √(2/π)/E χ_d
        return d / (d + 1) * math.sqrt(2 / math.pi) / mean_chi_d * norm(jacobian[..., 0, :], -1)
    variances, of = _squared_singular_values(jacobian)
    return d / (d + 1) / mean_chi_d * mean_root(variances) * of


def largest_singular_value(jacobian: jax.Array) -> jax.Array:
    """σ_max (...) of Jacobians (..., o, d)."""
    squared, of = _squared_singular_values(jacobian)
    return jnp.sqrt(squared[..., -1]) * of


def _squared_singular_values(jacobian: jax.Array) -> tuple[jax.Array, jax.Array]:
    """σ_i²/u² (..., min(o, d)), ascending, and u (...), a power of two near the largest entry of (..., o, d)."""
    of = unit(jacobian, (-2, -1))
    return squared_singular_values(jacobian / of), of[..., 0, 0]


def squared_singular_values(jacobian: jax.Array) -> jax.Array:
    """σ_i² (..., min(o, d)), ascending, as eigenvalues of the smaller Gram matrix of (..., o, d).

    Entries are of ordinary size: their squares have to fit.
    """
    o, d = jacobian.shape[-2:]
    pattern = "...ik,...jk->...ij" if o <= d else "...ki,...kj->...ij"
    return jnp.maximum(jnp.linalg.eigvalsh(jnp.einsum(pattern, jacobian, jacobian)), 0)


def mean_root(variances: jax.Array) -> jax.Array:
    """E√(Σ_i v_i g_i²) (...) for independent standard normal g_i and variances v (..., k); relative error 1e-6."""
    total = jnp.sum(variances, axis=-1, keepdims=True)
    share = variances / jnp.where(total > 0, total, 1)
    s = jnp.exp(jnp.arange(_LOWEST, _HIGHEST, _STEP, dtype=variances.dtype))

    def node(accumulated: jax.Array, s: jax.Array) -> tuple[jax.Array, None]:
        # −M'(s) = M(s) Σ_i v_i/(1 + 2 v_i s); ds = s d(log s)
        log_m = -0.5 * jnp.sum(jnp.log1p(2 * s * share), axis=-1)
        derivative = jnp.exp(log_m) * jnp.sum(share / (1 + 2 * s * share), axis=-1)
        return accumulated + jnp.sqrt(s) * derivative, None

    integral, _ = jax.lax.scan(node, jnp.zeros_like(total[..., 0]), s)
    return jnp.sqrt(total[..., 0] / jnp.pi) * _STEP * integral
