"""What of a cell its cost goes with: sizes that are known before any of its networks is drawn."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax

from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network
from ntkrobust.studies.cells import Cell

COMPILE = {"": 0.6, "gradient_flow": 2.4}
"""Seconds that the programs of a cell of two layers take to compile on one core, by its optimizer (untrained: "")."""

COMPILE_STEPS = 1.3
"""The same for optimizers whose steps are counted."""

COMPILERS = 4
"""Programs that are compiled side by side, where there are so many cores."""

MORE_LAYERS = 0.15
"""What each further layer adds to that, as a share."""

EVALUATIONS = 2.0
"""Passes of a step of gradient flow: two gradients, and what the choice of its length takes."""


class CellFacts(NamedTuple):
    """What the cost of a cell goes with.

    Attributes:
        number: the cell's own: to hash a network takes longer than to multiply its sizes.
        kind: the kind of network, and how it is trained.
        shape: what its programs are made for, beside measures and numbers of networks.
        is_trained: whether its networks are trained.
        flows: whether by gradient flow, which chooses its steps.
        products: of a pass forwards over one point.
        compiling: seconds that its programs take to compile, about, where others are compiled beside them.
        steps: that its networks take: the number, or for gradient flow what is expected before any were seen.
        evaluations: passes of a step.
    """

    number: int
    kind: Hashable
    shape: Hashable
    is_trained: bool
    flows: bool
    products: float
    compiling: float
    steps: float
    evaluations: float


@functools.lru_cache(maxsize=1 << 16)
def facts_of_cell(cell: Cell, d: int) -> CellFacts:
    """Those of a cell, for inputs of dimension d."""
    is_trained = cell.time != "initialization"
    flows = is_trained and cell.optimizer == "gradient_flow"
    how = cell.optimizer if is_trained else ""
    adversary = cell.adversary
    shapes, products = _sizes(cell.net, d)
    attacked = None if adversary is None else (adversary.objective, adversary.steps)
    shape = type(cell.net), str(shapes), repr(getattr(cell.net, "activation", "")), cell.n, how, cell.loss, attacked
    steps, evaluations = float(cell.budget), 1.0
    if flows:
        # Of a time in units of 1/λ_max, steps in proportion.
        steps = min(steps, 100.0 if cell.time == "equal loss" else max(1.0, 1.2 * (cell.value or 0.0)))
        evaluations = EVALUATIONS
    elif adversary is not None:
        evaluations += adversary.steps
    compiling = COMPILE.get(how, COMPILE_STEPS) * (1 + MORE_LAYERS * max(0, len(shapes) - 2))
    return CellFacts(
        number=next(_NUMBERS),
        kind=_interned((type(cell.net), how, attacked)),
        shape=_interned(shape),
        is_trained=is_trained,
        flows=flows,
        products=products,
        compiling=compiling / min(COMPILERS, os.cpu_count() or 1),
        steps=steps,
        evaluations=evaluations,
    )


def work_of(cell: Cell, d: int, points: int) -> float:
    """Products of one network of a cell, about, if it takes all its steps."""
    passes = points + (0 if cell.time == "initialization" else cell.n * cell.budget)
    return _sizes(cell.net, d)[1] * passes


_NUMBERS = itertools.count()


@functools.cache
def _interned(what: Hashable) -> int:
    """A number for it, which is quick to look up."""
    return next(_NUMBERS)


@functools.lru_cache(maxsize=4096)
def _sizes(net: Network, d: int) -> tuple[Any, float]:
    """Shapes of the parameters, and products of a pass over one point."""
    shapes, sizes = net.shapes(d), net.sizes(d)
    # A filter is used at many positions of an image.
    largest = max((math.prod(shape) for shape in jax.tree.leaves(shapes, is_leaf=_is_shape)), default=1)
    positions = 1.0 if isinstance(net, MLP) else max(1.0, sizes.largest_product / max(1, largest))
    return shapes, sizes.parameters * positions


def _is_shape(leaf: Any) -> bool:
    return isinstance(leaf, tuple) and all(isinstance(size, int) for size in leaf)
