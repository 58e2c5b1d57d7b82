"""Bounds on everything that a network computes in a region: interval by interval, and backward through lines.

*Intervals* pass [l, u] on from node to node (Gowal et al., arXiv 1810.12715). *Backward* bounds start at a node, with
rows Λ, and replace each activation by lines (:mod:`.relaxations`) until a linear function of the input is left (CROWN,
Zhang et al., arXiv 1811.00866): with Λ⁺ and Λ⁻ its positive and negative parts,

    Λ φ(z) ≥ (Λ⁺ a + Λ⁻ a') z + Λ⁺ b + Λ⁻ b',      Λ (A h + b) = (Λ A) h + Λ b,      Λ x' ≥ min over the region.

**Rounding.** Each node has a *charge* c: what it may be off by, entry by entry. A backward pass through it loses |Λ| c.
One charge covers both kinds of rounding.

- That of the bounds themselves, in float64. A product Λ A of rows is off by γ_n|Λ||A| in each entry, n the terms of a
  sum, and so its value at h by γ_n|Λ||A||h|. So the charge of z = A h + b is κ(|A||h| + |b|), κ = 2(n + 16)2⁻⁵³ and n
  no less than all terms and nodes on the way: twice what all sums together are off by. For φ it is κ of the sizes of
  slopes times z, and of the shifts, which are exact by themselves; for a sum κ of its terms.
- That of float32 in which networks are evaluated, if it is to be covered: fl(A h + b) is off by γ_{n+3}(|A||h| + |b|)
  in any order of summation, fl φ(z) by c|z| (:func:`.relaxations.evaluated_within`). So what holds is true of
  exact arithmetic and of whatever float32 makes of the network.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ntkrobust.finite.certificates import relaxations
from ntkrobust.finite.certificates.graph import SMALLEST, Activated, Affine, Graph, Input, Sum
from ntkrobust.finite.certificates.regions import Region
from ntkrobust.finite.certificates.relaxations import Lines
from ntkrobust.numerics.wide import UNIT

Method = Literal["crown", "crown-interval", "interval"]

METHODS: tuple[Method, ...] = ("crown", "crown-interval", "interval")
"""Backward bounds of every layer; of the last one, from intervals of the others; intervals alone."""

_SINGLE = 2.0**-24
"""Unit roundoff of float32."""


class Ends(NamedTuple):
    """Two ends around each entry of a node."""

    lower: jax.Array
    upper: jax.Array

    @property
    def size(self) -> jax.Array:
        """What no entry is larger than."""
        return jnp.maximum(jnp.abs(self.lower), jnp.abs(self.upper))


@dataclasses.dataclass
class Bounds:
    """What is known of the nodes of one network in one region.

    Attributes:
        graph, region: the network, and where its input is.
        method: one of :data:`METHODS`.
        evaluated: whether float32's rounding of the network is covered.
        ends: around each node.
        charges: of each node, what it may be off by.
        lines: around φ, of each activated node.
    """

    graph: Graph
    region: Region
    method: Method
    evaluated: bool
    ends: dict[int, Ends] = dataclasses.field(default_factory=dict)
    charges: dict[int, jax.Array] = dataclasses.field(default_factory=dict)
    lines: dict[int, Lines] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Node after node."""
        before = self.graph.before_activations
        for index in range(len(self.graph.nodes)):
            self._enter(index)
            if index in before and (self.method == "crown" or self.graph.is_affine(index)):
                found = self.backward_ends(index)
                old = self.ends[index]
                self.ends[index] = Ends(jnp.maximum(old.lower, found.lower), jnp.minimum(old.upper, found.upper))

    @property
    def unit(self) -> float:
        """κ, see above."""
        return 2 * (self.graph.terms + 16) * UNIT

    def _enter(self, index: int) -> None:
        """Intervals, charge and lines of a node, from those before it."""
        match self.graph.nodes[index]:
            case Input():
                self.ends[index] = Ends(self.region.lower, self.region.upper)
                self.charges[index] = self.unit * self.region.size
            case Affine() as node:
                self._enter_affine(index, node)
            case Activated(source=source):
                z = self.ends[source]
                self.lines[index] = found = relaxations.lines(self.graph.phi, *z)
                shift = jnp.maximum(jnp.abs(found.lower_shift), jnp.abs(found.upper_shift))
                after = relaxations.size_after(self.graph.phi, z.size)
                within = relaxations.evaluated_within(self.graph.phi)
                extra = within * z.size + SMALLEST if self.evaluated else 0
                self.charges[index] = self.unit * (after + shift) + extra
                low, high = relaxations.value_range(self.graph.phi, *z)
                self.ends[index] = Ends(low - extra, high + extra)
            case Sum(sources=(one, other)):
                first, second = self.ends[one], self.ends[other]
                charge = (self.unit + (_SINGLE if self.evaluated else 0)) * (first.size + second.size)
                self.charges[index] = charge
                self.ends[index] = Ends(first.lower + second.lower - charge, first.upper + second.upper + charge)

    def _enter_affine(self, index: int, node: Affine) -> None:
        source = self.ends[node.source]
        size = jnp.broadcast_to(node.size(source.size) + jnp.abs(node.bias), node.shape)
        charge = self.unit * size
        if self.evaluated and node.terms:
            steps = (node.terms + 3) * _SINGLE
            charge = charge + steps / (1 - steps) * size + node.loss
        self.charges[index] = charge
        middle = node.forward(0.5 * (source.lower + source.upper)) + node.bias
        spread = node.size(0.5 * (source.upper - source.lower)) + charge
        self.ends[index] = Ends(middle - spread, middle + spread)

    def backward_ends(self, index: int) -> Ends:
        """Ends around every entry of a node, by lines."""
        node = self.graph.nodes[index]
        size = math.prod(node.shape)
        if isinstance(node, Affine):
            # The first step of a pass that starts with the identity, and its negative.
            rows = node.rows()
            bias = jnp.broadcast_to(node.bias, node.shape).reshape(size)
            loss, source = self.charges[index].reshape(size), node.source
        else:
            rows = jnp.eye(size).reshape(size, *node.shape)
            bias, loss, source = jnp.zeros(size), jnp.zeros(size), index
        found = self._backward(source, jnp.concatenate([rows, -rows]), jnp.concatenate([bias - loss, -bias - loss]))
        return Ends(found[:size].reshape(node.shape), -found[size:].reshape(node.shape))

    def least(self, rows: jax.Array) -> jax.Array:
        """Numbers (k,) not above C f(x') anywhere in the region, for rows C (k, o)."""
        last = len(self.graph.nodes) - 1
        ends = self.ends[last]
        spent = self.unit * (jnp.abs(rows) @ ends.size)
        found = jnp.maximum(rows, 0) @ ends.lower + jnp.minimum(rows, 0) @ ends.upper - spent
        if self.method == "interval":
            return found
        return jnp.maximum(found, self._backward(last, rows, jnp.zeros(len(rows))))

    def _backward(self, start: int, rows: jax.Array, total: jax.Array) -> jax.Array:
        """Numbers (k,) not above total + Λ h anywhere in the region, for rows Λ of the node h = ``start``."""
        coefficients = {start: rows}
        for index in range(start, -1, -1):
            if index not in coefficients:
                continue
            rows = coefficients.pop(index)
            total = total - _times(jnp.abs(rows), self.charges[index])
            match self.graph.nodes[index]:
                case Input():
                    return total + self.region.least(rows)
                case Affine() as node:
                    total = total + _times(rows, jnp.broadcast_to(node.bias, node.shape))
                    add(coefficients, node.source, node.backward(rows))
                case Activated(source=source):
                    down, up = jnp.maximum(rows, 0), jnp.minimum(rows, 0)
                    at = self.lines[index]
                    total = total + _times(down, at.lower_shift) + _times(up, at.upper_shift)
                    add(coefficients, source, down * at.lower_slope + up * at.upper_slope)
                case Sum(sources=sources):
                    for source in sources:
                        add(coefficients, source, rows)
        raise AssertionError("the first node is the input")


def _times(rows: jax.Array, values: jax.Array) -> jax.Array:
    """Λ v (k,) of rows (k, *shape) and values (*shape)."""
    return rows.reshape(len(rows), -1) @ values.reshape(-1)


def add(coefficients: dict[int, jax.Array], index: int, rows: jax.Array) -> None:
    """Rows of a node beside those that it has from other nodes."""
    coefficients[index] = coefficients[index] + rows if index in coefficients else rows
