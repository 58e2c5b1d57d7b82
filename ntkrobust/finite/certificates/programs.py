"""Certificates of one network, at all points, as a compiled program."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.domain import domain_in
from ntkrobust.finite.attacks import classes
from ntkrobust.finite.certificates import jacobians
from ntkrobust.finite.certificates.bounds import Bounds, Method
from ntkrobust.finite.certificates.graph import Graph, graph_of
from ntkrobust.finite.certificates.regions import Region
from ntkrobust.networks.models import Model
from ntkrobust.norms import Norm
from ntkrobust.numerics.wide import in_float64, rounded_down, rounded_up, widened

BLOCK = 2**21
"""Coefficients of a layer that are held at once, in float64, for the points of a block."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a certificate is compiled for.

    Attributes:
        norm: of the ball.
        method: one of :data:`~ntkrobust.finite.certificates.bounds.METHODS`.
        evaluated: whether it holds for what float32 makes of the network, and of the ball, too.
        slopes: whether Jacobians are bounded.
    """

    norm: Norm
    method: Method
    evaluated: bool
    slopes: bool = False


class Certified(NamedTuple):
    """What holds everywhere in a region, for one network.

    Attributes:
        lower, upper: (n, o) ends around f.
        margin: (n, c) lower ends of the margins of the c classes that were asked for: c·f for one output,
            f_c − max f_k for several.
        lipschitz, kl_gradient: (n,) upper ends, see :mod:`.jacobians`; None where slopes are not asked for.
    """

    lower: jax.Array
    upper: jax.Array
    margin: jax.Array
    lipschitz: jax.Array | None = None
    kl_gradient: jax.Array | None = None


def certified(
    setting: Setting, model: Model, scales: Any, parameters: Any, x: jax.Array, radius: jax.Array,
    domain: dict[str, Any], labels: jax.Array,
) -> Certified:  # fmt: skip
    """Ends around outputs and margins, rounded outwards to float32; traceable.

    Args:
        setting: what it is compiled for.
        model: the network's function.
        scales, parameters: of this network.
        x: (n, d) inputs.
        radius: (n,) of the balls, float32.
        domain: range of the data and coordinates that may move.
        labels: (n, c) classes: ±1 for one output, 0 … o−1 for several.
    """
    domain = domain_in(domain)
    return _certified(setting, model)(scales, parameters, x, radius, domain, labels)


@cache
def _certified(setting: Setting, model: Model) -> Callable[..., Certified]:
    def compute(scales: Any, parameters: Any, x: Any, radius: Any, domain: Any, labels: Any) -> Certified:
        graph = graph_of(model, scales, parameters)

        def of_point(point: tuple[Any, ...]) -> Certified:
            x, radius, labels, clean = point
            region = Region.around(setting.norm, x, radius, domain, setting.evaluated)
            bounds = Bounds(graph, region, setting.method, setting.evaluated)
            found = _outputs(bounds, labels)
            if not setting.slopes:
                return found
            ends = jacobians.jacobian_ends(bounds)
            divergence = jacobians.kl_gradient(bounds, ends, *clean)
            return found._replace(
                lipschitz=rounded_up(jacobians.local_lipschitz(bounds, ends)), kl_gradient=rounded_up(divergence)
            )

        clean = _clean(model, scales, parameters, x) if setting.slopes else ()
        return in_blocks(of_point, (x, radius, labels, clean), block_of(graph))

    return in_float64(compute)


def _clean(model: Model, scales: Any, parameters: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """f(x) (n, o), and what the sum of its entries may be off by, (n,)."""
    scales, parameters, x = jax.tree.map(widened, (scales, parameters, x.T))
    outputs = model.outputs_in_columns(scales, parameters, x)
    return outputs.T, model.float64_error(scales, parameters, x, jnp.zeros_like(x))


def _outputs(bounds: Bounds, labels: jax.Array) -> Certified:
    """Of one point: ends (o,), and margins (c,)."""
    o = bounds.graph.nodes[-1].shape[0]
    # Integers of 64 bits are none where float64 is off, and that is where programs are made of this.
    each, classes_of = jnp.eye(o), jnp.arange(o, dtype=jnp.int32)
    rows = [each, -each]
    for label in labels:
        rows.append(label * each if o == 1 else (classes_of == label) - each)
    found = bounds.least(jnp.concatenate(rows)).reshape(-1, o)
    margins = found[2:]
    if o > 1:
        margins = jnp.where(classes_of == labels[:, None], jnp.inf, margins)
    return Certified(rounded_down(found[0]), rounded_up(-found[1]), rounded_down(jnp.min(margins, axis=1)))


def block_of(graph: Graph, most: int = BLOCK) -> int:
    """Points whose coefficients, of two rows for each entry of a layer, are held at once."""
    widest = max(math.prod(node.shape) for node in graph.nodes)
    return max(1, most // (2 * widest**2))


def in_blocks(function: Callable[[Any], Any], points: Any, block: int) -> Any:
    """A function of one point for all of them along the leading axis, so many at a time; the last ones are repeated
    until blocks are full."""
    n = len(jax.tree.leaves(points)[0])
    if n <= block:
        return jax.vmap(function)(points)
    blocks = -(-n // block)
    block = -(-n // blocks)
    filled = jax.tree.map(
        lambda leaf: jnp.take(leaf, jnp.minimum(jnp.arange(blocks * block, dtype=jnp.int32), n - 1), axis=0), points
    )
    cut = jax.tree.map(lambda leaf: leaf.reshape(blocks, block, *leaf.shape[1:]), filled)
    found = jax.lax.map(jax.vmap(function), cut)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], found)


@dataclasses.dataclass(frozen=True)
class CertificateProgram:
    """Certificates of one network, for :func:`~ntkrobust.runtime.executor.run_over_seeds`.

    Shared arrays: ``scales``; ``x`` (n, d); ``lower``, ``upper`` and perhaps ``movable`` (d,); ``label`` (n,), the true
    classes, if they are known. Of each network: ``parameters``; ``radius`` (n,).

    Results: ``lower``, ``upper`` (n, o); ``margin`` (n,) of the true class, if it is known, and ``stability_margin``
    (n,) of the class that the network predicts; ``is_natural`` (n,); with slopes ``local_lipschitz_upper`` (n,).
    """

    model: Model
    setting: Setting

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array]:
        """The certificates of one network."""
        outputs = self.model.outputs_in_columns(shared["scales"], one["parameters"], shared["x"].T)
        predicted = classes.predicted(outputs)
        label = shared.get("label", predicted)
        found = certified(
            self.setting, self.model, shared["scales"], one["parameters"], shared["x"], one["radius"], shared,
            jnp.stack([label, predicted], axis=1),
        )  # fmt: skip
        slopes = {} if found.lipschitz is None else {"local_lipschitz_upper": found.lipschitz}
        return slopes | {
            "lower": found.lower, "upper": found.upper, "margin": found.margin[:, 0],
            "stability_margin": found.margin[:, 1], "is_natural": classes.is_kept(outputs, label),
        }  # fmt: skip
