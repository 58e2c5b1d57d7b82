"""What theory says of a measure in a cell: the coordinates ``exact_law`` and ``infinite_width`` of formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ntkrobust.bounds.claims.coordinates import NoValueError
from ntkrobust.bounds.formulas.exact_law import ExactLaw, exact_law
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.kernels.ensemble import InfiniteEnsemble
from ntkrobust.kernels.ensemble_at import EnsembleAt
from ntkrobust.networks.network import Network
from ntkrobust.studies.cells import Cell

KEPT = 8
"""Factorized kernels that are kept: claims about one network at several times share them."""

_OF_THE_LAW: dict[str, Callable[[ExactLaw], float]] = {
    "perturbation_stability": lambda law: law.perturbation_stability(),
    "jacobian_frobenius": lambda law: law.gradient_norm_moment(1),
    "jacobian_frobenius_sq": lambda law: law.jacobian_frobenius_sq(),
    "jacobian_frobenius_fourth": lambda law: law.jacobian_frobenius_fourth(),
    "jacobian_is_zero": lambda law: law.p_zero,
}
"""Measures whose mean at initialization the exact law gives."""

_OF_THE_ENSEMBLE: dict[str, Callable[[EnsembleAt, np.ndarray], Any]] = {
    "perturbation_stability": lambda now, x: now.perturbation_stability(x),
    "jacobian_frobenius": lambda now, x: now.gradient_norm(x),
    "jacobian_frobenius_sq": lambda now, x: now.gradient_second_moment(x),
    "infinite_stability": lambda now, x: now.perturbation_stability(x),
    "infinite_normalized_stability": lambda now, x: _normalized(now, x),
}
"""Measures whose mean over the infinite ensemble has a closed form, and quantities of that ensemble alone."""


def _normalized(now: EnsembleAt, x: np.ndarray) -> float:
    """(E‖J‖_F²/E‖f‖²)^½, both averaged over the points: the scale of the output divides out."""
    mean = now.mean(x)
    values = np.sum(mean**2, axis=1) + mean.shape[1] * now.variance(x)
    return float(np.sqrt(np.mean(now.gradient_second_moment(x)) / np.mean(values)))


def law_mean(measure: str, net: Network, d_in: int) -> float:
    """E[measure] of untrained networks by the exact law, at any points.

    Raises:
        InputError: the law does not give the mean of this measure, or does not hold for this network.
    """
    if measure not in _OF_THE_LAW:
        raise InputError(f"the exact law gives the mean of {', '.join(_OF_THE_LAW)}, not of {measure}")
    return _OF_THE_LAW[measure](exact_law(net, d_in))


def check_closed_form(what: str, cell: Cell) -> None:
    """Raise InputError for a reading at which ``what`` has no closed form."""
    if cell.time == "equal loss":
        raise InputError(f"{what} has no closed form at equal loss, where each network has its own time")
    if cell.time == "fixed steps":
        raise InputError(f"{what} has no closed form after steps of an optimizer: give the reading a time")
    if cell.loss != "squared":
        raise InputError(f"{what} has a closed form for the squared loss only")


class InfiniteWidth:
    """Means over infinite ensembles trained on a data set. What claims share is computed once.

    Attributes:
        data: the data set.
        points: test points that measures are averaged over, the first so many, where a cell has no number of its own.
    """

    def __init__(self, data: Dataset, points: int) -> None:
        self.data, self.points = data, points
        self._ensemble = lru_cache(maxsize=KEPT)(self._factorized)
        self._mean = lru_cache(maxsize=None)(self._computed)

    def mean(self, measure: str, cell: Cell) -> float:
        """E[measure], averaged over the test points, for the infinite ensemble of the cell's kind at its time.

        The network's own parameterization is kept: under ``standard`` the layers learn at the speeds of a network of
        its width, so that times can be compared. λ_max is that of the limit kernel.

        Raises:
            InputError: there is no closed form for this measure, or for this reading (``equal loss`` stops every
                network at a time of its own, other optimizers have no time), or the loss is not the squared one.
            :class:`NoValueError`, if there is none on these data.
        """
        if measure not in _OF_THE_ENSEMBLE:
            raise InputError(f"infinite width has a closed form for {', '.join(_OF_THE_ENSEMBLE)}, not for {measure}")
        check_closed_form("infinite width", cell)
        return self._mean(measure, dataclasses.replace(cell, n=max(cell.n, 2), budget=0))

    def _computed(self, measure: str, cell: Cell) -> float:
        now, x = self.at(cell)
        try:
            return float(np.mean(_OF_THE_ENSEMBLE[measure](now, x)))
        except InputError as error:
            raise NoValueError(str(error)) from None

    def at(self, cell: Cell) -> tuple[EnsembleAt, np.ndarray]:
        """The infinite ensemble of the cell's kind at its time, and the test points.

        Raises:
            NoValueError: there is none on these data: equal points, too few of them, too much memory.
        """
        try:
            return self._ensemble_at(cell), cell.scale * self.data.x_test[: cell.points or self.points]
        except InputError as error:
            raise NoValueError(str(error)) from None

    def _ensemble_at(self, cell: Cell) -> EnsembleAt:
        ensemble = self._ensemble(cell.net, cell.n, cell.scale, cell.label_noise)
        if cell.time == "converged":
            time = np.inf
        else:
            unit = ensemble
            if cell.unit is not None:
                unit = self._ensemble(cell.unit.net, max(cell.unit.n, 2), cell.unit.scale, cell.label_noise)
            time = 0.0 if cell.value is None else cell.value / unit.conditioning.largest
        return ensemble.at(time)

    def _factorized(self, net: Any, n: int, scale: float, label_noise: float) -> InfiniteEnsemble:
        y: Any = self.data.noisy_targets(n, label_noise)
        if y.shape[1] != net.d_out:  # an untrained network of other outputs: targets don't matter
            y = np.zeros((n, net.d_out))
        return InfiniteEnsemble(net, scale * self.data.x_train[:n], y)
