"""What networks of one cell gave, and the moments of its mean.

Arrays carry at least one leading dimension, over which everything is done at once: that is how error rates are
simulated. Networks of different cells are independent; the networks within a cell are the replicates.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from ntkrobust.bounds.statistics import skewness


@dataclasses.dataclass(frozen=True)
class Moments:
    """The mean of independent values, and what is known of its error.

    Attributes:
        n: number of values.
        value: (...) their mean.
        variance: (...) s²/n, the squared standard error.
        third: (...) the estimated third cumulant of the mean, k₃/n² with the k-statistic k₃.
    """

    n: int
    value: np.ndarray
    variance: np.ndarray
    third: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Of values (..., n)."""
        n = values.shape[-1]
        centre = values.mean(-1)
        away = values - centre[..., None]
        squares = away * away
        third = np.einsum("...i,...i->...", squares, away) * n / ((n - 1) * (n - 2)) / n**2
        return cls(n, centre, squares.sum(-1) / (n - 1) / n, third)

    def times(self, factor: float | np.ndarray) -> Moments:
        """Of ``factor`` times the values."""
        return Moments(self.n, self.value * factor, self.variance * factor**2, self.third * factor**3)


@dataclasses.dataclass(frozen=True)
class Sample:
    """The measure in one cell, divided by what is stated for the cell if something is.

    Attributes:
        values: (batch, n) one value per network; a batch of one for the networks at hand.
        geometric: whether its geometric mean is meant, exp E log X instead of E X.
        time_error: what else the mean may be off by, in either direction, however many networks there are.
    """

    values: np.ndarray
    geometric: bool = False
    time_error: float = 0.0

    @property
    def n(self) -> int:
        """Networks."""
        return self.values.shape[-1]

    @functools.cached_property
    def moments(self) -> Moments:
        """Of the values, or of their logarithms for the geometric mean."""
        return self.logs if self.geometric else Moments.of(self.values)

    @functools.cached_property
    def logs(self) -> Moments:
        """Of the logarithms of the values; those of zeros count as very small."""
        return Moments.of(np.log(np.maximum(self.values, 1e-300)))

    @functools.cached_property
    def lognormal(self) -> np.ndarray:
        """(...) Where a lognormal law is a sensible guard: positive values whose logarithms aren't skewed to the left.

        Nearly dead networks would dominate the spread of the logarithms, and their skewness is no danger to what the
        guard protects from.
        """
        if self.geometric or self.n >= skewness.LOGNORMAL_BELOW:
            return np.zeros(self.values.shape[:-1], dtype=bool)
        variance = np.maximum(self.logs.variance * self.n, 1e-100)
        skew = self.logs.third * self.n**2 / variance**1.5
        return (self.values > 0).all(-1) & (skew > -1.5) & (self.logs.variance > 0)

    @property
    def location(self) -> np.ndarray:
        """(...) The estimated mean or geometric mean."""
        return np.exp(self.moments.value) if self.geometric else self.moments.value

    @property
    def relative_time_error(self) -> np.ndarray:
        """(...) The time error over the estimated mean, below 1: of a mean that may be zero nothing more is known."""
        return np.minimum(self.time_error / np.maximum(self.location, 1e-300), 1 - 1e-9)
