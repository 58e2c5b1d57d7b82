"""What a trained ensemble at one time says of networks of width m, to first order in 1/m."""

from __future__ import annotations

import abc

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_flag, check_integer, takes, whole
from ntkrobust.kernels.width_order import (
    MOST_NEURONS,
    NEURONS,
    SETS,
    Coefficients,
    Trained,
    coefficients_of_sets,
    width_coefficients,
)

Array = npt.NDArray[np.float64]


class FirstOrderAt(abc.ABC):
    """The coefficients of 1/m as methods of an ensemble at one time; docs/first-order-width.md derives them."""

    @property
    @abc.abstractmethod
    def _trained(self) -> Trained:
        """What the ensemble consists of."""

    @abc.abstractmethod
    def _points(self, x: npt.ArrayLike) -> Array:
        """Points, checked."""

    @abc.abstractmethod
    def gradient_second_moment(self, x: npt.ArrayLike) -> Array:
        """G_t (n',)."""

    @takes(neurons=whole(SETS, MOST_NEURONS), return_error=check_flag)
    def first_order_width(
        self, x: npt.ArrayLike, *, neurons: int = NEURONS, seed: int = 0, return_error: bool = False
    ) -> Array | tuple[Array, Array]:
        """c (n',) with E‖J_t(x)‖_F² = G_t(x)(1 + c/m + O(m^−2)) in networks of width m, G_t the second moment here.

        Two layers, smooth activations, gradient flow; ‖J‖_F is ‖∇f‖ for one output. Where c < 0 wider networks have
        larger gradients, where c > 0 smaller ones. Derived, and checked against trained networks, in
        docs/first-order-width.md.

        Args:
            x: (n', d).
            neurons: that expectations over a neuron are taken over; exact whatever their number if φ is linear.
            seed: of their draw.
            return_error: also return the standard error (n',) that comes from this.

        Raises:
            InputError: networks or training that the expansion does not cover, or too many training points for the
                memory, which grows like n⁴.
        """
        found, size = self._first_order(x, neurons, seed, gradients=True), self.gradient_second_moment(x)
        c = found.second_moment / size
        return (c, found.second_moment_error / size) if return_error else c

    @takes(neurons=whole(SETS, MOST_NEURONS), return_error=check_flag)
    def first_order_mean(
        self, x: npt.ArrayLike, *, neurons: int = NEURONS, seed: int = 0, return_error: bool = False
    ) -> Array | tuple[Array, Array]:
        """e (n',) with E f_t(x) = μ_t(x) + e/m + O(m^−2) in networks of width m; see :meth:`first_order_width`.

        (n', o) for several outputs.
        """
        found = self._first_order(x, neurons, seed, gradients=False)
        mean, error = (one[:, 0] if found.mean.shape[1] == 1 else one for one in (found.mean, found.mean_error))
        return (mean, error) if return_error else mean

    @takes(neurons=whole(SETS, MOST_NEURONS))
    def first_order_width_sets(self, x: npt.ArrayLike, *, neurons: int = NEURONS, seed: int = 0) -> Array:
        """:meth:`first_order_width` by each independent set of neurons (8, n'); by one (1, n') where it is exact.

        All points share the neurons of a set: the standard error of an average over points is that of the averages
        of the sets.

        Raises:
            InputError: as for :meth:`first_order_width`.
        """
        found, _ = coefficients_of_sets(*self._asked(x, neurons, seed), gradients=True)
        return found / self.gradient_second_moment(x)

    def _first_order(self, x: npt.ArrayLike, neurons: int, seed: int, gradients: bool) -> Coefficients:
        return width_coefficients(*self._asked(x, neurons, seed), gradients)

    def _asked(self, x: npt.ArrayLike, neurons: int, seed: int) -> tuple[Trained, Array, int, int]:
        return self._trained, self._points(x), neurons, check_integer("seed", seed, 0, maximum=LARGEST_SEED)
