"""Bounds on the Jacobian of a network everywhere in a region, and on how fast it changes there.

J(x') = A_L D_{L−1}(x') A_{L−1} ⋯ D_1(x') A_1 with D_l = diag φ'(z_l). Intervals of the pre-activations (:mod:`.bounds`)
give intervals of φ', those of gates [0, 1] where they can change, and rows of intervals go back from the outputs to the
input (after Zhang et al., arXiv 1810.11783, whose bounds of Jacobians start from the same intervals): through A as a
middle and a spread, through D as products of intervals. Each product with A is charged with what float64 may have
added, κ|Λ||A|.

Along the segment from x to x', f(x') − f(x) = J̄ (x' − x), with J̄ a mean of Jacobians on the way; at a kink intervals
hold both slopes. The region is convex, so J̄ lies in the same intervals, and

    ‖f(x) − f(x')‖₁/‖x − x'‖ ≤ Σ_k ‖|J_k|‖_*,   |J_ki| the largest size of an entry, ‖·‖_* the dual norm.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ntkrobust.finite.certificates.bounds import Bounds, Ends, add
from ntkrobust.finite.certificates.graph import Activated, Affine, Input, Sum
from ntkrobust.finite.certificates.slopes import slope_range
from ntkrobust.numerics.wide import UNIT

_SUMS = 1 + 2.0**-40
"""What few thousand additions in float64 are multiplied by to be above."""


def jacobian_ends(bounds: Bounds) -> Ends:
    """Ends (o, d) around every entry of the Jacobian, everywhere in the region."""
    last = len(bounds.graph.nodes) - 1
    start = jnp.eye(bounds.graph.nodes[last].shape[0])
    middles, spreads = {last: start}, {last: jnp.zeros_like(start)}
    for index in range(last, -1, -1):
        if index not in middles:
            continue
        middle, spread = middles.pop(index), spreads.pop(index)
        # Two branches that meet here were added up.
        spread = spread + bounds.unit * (jnp.abs(middle) + spread)
        match bounds.graph.nodes[index]:
            case Input():
                return Ends(middle - spread, middle + spread)
            case Affine(source=source) as node:
                add(middles, source, node.backward(middle))
                rounding = bounds.unit * node.backward_size(jnp.abs(middle) + spread)
                add(spreads, source, node.backward_size(spread) + rounding)
            case Activated(source=source):
                low, high = slope_range(bounds.graph.phi, *bounds.ends[source])
                products = jnp.stack([(middle + sign * spread) * end for sign in (-1, 1) for end in (low, high)])
                least, most = jnp.min(products, axis=0), jnp.max(products, axis=0)
                add(middles, source, 0.5 * (least + most))
                add(spreads, source, 0.5 * (most - least) + 8 * UNIT * jnp.maximum(jnp.abs(least), jnp.abs(most)))
            case Sum(sources=sources):
                for source in sources:
                    add(middles, source, middle)
                    add(spreads, source, spread)
    raise AssertionError("the first node is the input")


def moving(bounds: Bounds, ends: Ends) -> Ends:
    """The same with zeros where a coordinate can't move: nothing changes along it."""
    moves = bounds.region.lower < bounds.region.upper
    return Ends(jnp.where(moves, ends.lower, 0), jnp.where(moves, ends.upper, 0))


def local_lipschitz(bounds: Bounds, ends: Ends) -> jax.Array:
    """A number that ‖f(x) − f(x')‖₁/‖x − x'‖ isn't above for any two points of the region, in the norm of its ball."""
    sizes = moving(bounds, ends).size
    match bounds.region.norm:
        case "linf":
            dual = jnp.sum(sizes, axis=1)
        case "l2":
            dual = jnp.sqrt(jnp.sum(sizes**2, axis=1))
        case "l1":
            dual = jnp.max(sizes, axis=1)
    return jnp.sum(dual) * _SUMS


def kl_gradient(bounds: Bounds, ends: Ends, clean: jax.Array, error: jax.Array) -> jax.Array:
    """A number that ‖∇_{x'} KL(p(x)‖p(x'))‖₁ isn't above anywhere in the region.

    The gradient is Jᵀ(p' − p), with p the softmax of f, or (σ(f), σ(−f)) and then f's own row alone. The ends of the
    outputs bound p' by p_k = 1/(1 + Σ_j exp(f_j − f_k)). Of coordinate i it is at most Σ_k |J_ki||p'_k − p_k|; and
    since the entries of p' − p add up to nothing, at most half their sizes' sum times how far J_ki are apart.

    Args:
        bounds: of the network.
        ends: around its Jacobian.
        clean: f(x) (o,).
        error: what Σ_k f_k(x) may be off by.
    """
    o = len(clean)
    outputs = bounds.least(jnp.concatenate([jnp.eye(o), -jnp.eye(o)]))
    lower, upper = outputs[:o], -outputs[o:]
    if o == 1:
        # σ(f) is the softmax of (f, 0).
        lower, upper, clean = (jnp.concatenate([one, jnp.zeros(1)]) for one in (lower, upper, clean))
    p, least, most = (_probabilities(*pair) for pair in ((clean, clean), (lower, upper), (upper, lower)))
    # |∂p_k/∂f_j| ≤ 1/4, and rounding of exp.
    slack = 0.25 * error + 2.0**-40 * jnp.minimum(most, 1)
    moved = (jnp.maximum(most - p, p - least) + slack)[:o]
    each = moving(bounds, ends)
    found = jnp.sum(each.size * moved[:, None], axis=0)
    if o > 1:
        apart = jnp.max(each.upper, axis=0) - jnp.min(each.lower, axis=0)
        found = jnp.minimum(found, 0.5 * jnp.sum(moved) * apart)
    return jnp.sum(found) * _SUMS


def _probabilities(own: jax.Array, others: jax.Array) -> jax.Array:
    """p_k = 1/(1 + Σ_{j≠k} exp(others_j − own_k)) (o,)."""
    apart = others[None, :] - own[:, None]
    apart = jnp.where(jnp.eye(len(own), dtype=bool), -jnp.inf, apart)
    return 1 / (1 + jnp.sum(jnp.exp(apart), axis=1))
