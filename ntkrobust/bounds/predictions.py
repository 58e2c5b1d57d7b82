"""What theory says of a measure in a cell: the coordinates ``exact_law`` and ``infinite_width`` of formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ntkrobust.bounds.formulas.exact_law import ExactLaw, exact_law
from ntkrobust.data import Dataset
from ntkrobust.errors import InputError
from ntkrobust.kernels.ensemble import InfiniteEnsemble
from ntkrobust.kernels.ensemble_at import EnsembleAt
from ntkrobust.networks import MLP

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
}
"""Measures whose mean over the infinite ensemble has a closed form."""


def law_mean(measure: str, net: MLP, d_in: int) -> float:
    """E[measure] of untrained networks by the exact law, at any points.

    Raises:
        InputError: the law does not give the mean of this measure, or does not hold for this network.
    """
    if measure not in _OF_THE_LAW:
        raise InputError(f"the exact law gives the mean of {', '.join(_OF_THE_LAW)}, not of {measure}")
    return _OF_THE_LAW[measure](exact_law(net, d_in))


class InfiniteWidth:
    """Means over infinite ensembles trained on a data set. What claims share is computed once.

    Attributes:
        data: the data set.
        x_test: (n', d) the points that measures are averaged over.
    """

    def __init__(self, data: Dataset, x_test: np.ndarray) -> None:
        self.data, self.x_test = data, x_test
        self._ensemble = lru_cache(maxsize=8)(self._factorized)
        self._mean = lru_cache(maxsize=None)(self._computed)

    def mean(
        self,
        measure: str,
        net: MLP,
        n: int,
        time: str,
        value: float | None,
        reference: MLP | None = None,
        scale: float = 1.0,
    ) -> float:
        """E[measure], averaged over the test points, for the infinite ensemble of ``net``'s kind.

        The network's own parameterization is kept: under ``standard`` the layers learn at the speeds of a network of
        its width, so that times can be compared. λ_max is that of the limit kernel.

        Args:
            measure: a name.
            net: the network.
            n: training points, the first so many.
            time, value: of the reading.
            reference: for the reading ``equal time``, the network whose λ_max is the unit.
            scale: factor on all inputs.

        Raises:
            InputError: there is no closed form for this measure, or for this reading (``equal loss`` stops every
                network at a time of its own).
        """
        if measure not in _OF_THE_ENSEMBLE:
            raise InputError(f"infinite width has a closed form for {', '.join(_OF_THE_ENSEMBLE)}, not for {measure}")
        if time == "equal loss":
            raise InputError("infinite width has no closed form at equal loss, where each network has its own time")
        return self._mean(measure, net, max(n, 2), value, reference, scale)

    def _computed(
        self, measure: str, net: MLP, n: int, value: float | None, reference: MLP | None, scale: float
    ) -> float:
        ensemble = self._ensemble(net, n, scale)
        unit = ensemble if reference is None else self._ensemble(reference, n, scale)
        now = ensemble.at(0.0 if value is None else value / unit.conditioning.largest)
        return float(np.mean(_OF_THE_ENSEMBLE[measure](now, scale * self.x_test)))

    def _factorized(self, net: MLP, n: int, scale: float) -> InfiniteEnsemble:
        y: Any = self.data.y_train[:n]
        if y.shape[1] != net.d_out:  # an untrained network of other outputs: targets don't matter
            y = np.zeros((n, net.d_out))
        return InfiniteEnsemble(net, scale * self.data.x_train[:n], y)
