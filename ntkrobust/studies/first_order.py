"""What the first order in 1/m says of a measure in a cell: the coordinate ``first_order_width`` of formulas."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ntkrobust.bounds.claims.coordinates import NoValueError
from ntkrobust.errors import InputError
from ntkrobust.kernels import width_order
from ntkrobust.networks.mlp import MLP
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.predictions import InfiniteWidth, check_closed_form

Array = npt.NDArray[np.float64]

MEASURE = "jacobian_frobenius_sq"
"""The measure whose coefficient of 1/m is known."""

NEURONS = 2**11
"""Neurons that its expectations are taken over: a hundredth of c, about, is left as its error."""

LARGEST_SHARE = 0.5
"""|c|/m above which the first order is no approximation."""


class FirstOrder:
    """G_t(1 + c_t/m), averaged over test points, by each independent set of neurons.

    Attributes:
        infinite: the ensembles, whose data and test points are used.
    """

    def __init__(self, infinite: InfiniteWidth) -> None:
        self.infinite = infinite
        self._moments = lru_cache(maxsize=None)(self._computed)

    def mean(self, measure: str, cell: Cell) -> float:
        """E[measure] of networks of the cell's width, to first order in 1/m; see :meth:`sets`."""
        return float(np.mean(self.sets(measure, cell)))

    def sets(self, measure: str, cell: Cell) -> Array:
        """The prediction (sets,) by each set of neurons: their spread is its error. One where it is exact.

        In the standard parameterization G_t and c_t are those of the network's own width.

        Raises:
            InputError: another measure, networks or training that the expansion does not cover
                (:func:`~ntkrobust.kernels.width_order.check_first_order`), a reading at which networks have times of
                their own, or more training points than memory holds; before anything is computed.
            :class:`NoValueError`, where c_t is too large against the width, or the data have no kernel.
        """
        if measure != MEASURE:
            raise InputError(f"the first order in 1/m is known of {MEASURE}, not of {measure}")
        if cell.time == "equal scaled time":
            raise InputError(
                "the first order in 1/m has no closed form at equal scaled time, where λ_max of each network sets its "
                "time and varies to the same order: read at equal time"
            )
        check_closed_form("the first order in 1/m", cell)
        if not isinstance(cell.net, MLP):
            raise InputError(f"the first order in 1/m is for fully connected networks, got {cell.net!r}")
        points, d = max(cell.n, 2), self.infinite.data.d
        width_order.check_size(points, min(d, points + width_order.BLOCK + 1), cell.net.d_out)
        limit, coefficient = self._moments(dataclasses.replace(cell, net=_limit_of(cell.net), n=points, budget=0))
        width = cell.net.finite_width
        share = float(np.mean(coefficient)) / limit / width
        if abs(share) > LARGEST_SHARE:
            least = int(np.ceil(abs(share) * width / LARGEST_SHARE))
            raise NoValueError(
                f"c/m is {share:.2g} at width {width}, where the first order in 1/m is no approximation: take widths "
                f"of at least {least}"
            )
        return limit + coefficient / width

    def _computed(self, cell: Cell) -> tuple[float, Array]:
        """The averages over points of G_t, and of G_t c_t by each set of neurons (sets,)."""
        now, x = self.infinite.at(cell)
        limit = now.gradient_second_moment(x)
        return float(np.mean(limit)), np.mean(limit * now.first_order_width_sets(x, neurons=NEURONS), axis=1)


def _limit_of(net: MLP) -> MLP:
    """Without its width where nothing depends on that: one c_t then serves all widths."""
    if net.parameterization == "ntk" and net.drawn_from.gains is not None:
        changed: Any = dataclasses.replace(net, width=None)
        return changed
    return net
