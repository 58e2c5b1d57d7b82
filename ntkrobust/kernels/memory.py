"""How much memory an infinite-width ensemble takes, before any of it is taken."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ntkrobust.errors import InputError
from ntkrobust.runtime.machine import available_bytes, resident_bytes


class MemoryEstimate(NamedTuple):
    """Peak memory of building an ensemble and evaluating it, in bytes.

    Attributes:
        process: what the process holds already.
        factorization: matrices of the factorization: K, Θ, its eigenvectors and LAPACK's workspace.
        evaluation: matrices that stay (K, V, Γ), those of one time (M, N), and products made on the way.
        points: the training points, and kernel rows of one batch of test points.
    """

    process: int
    factorization: int
    evaluation: int
    points: int

    @property
    def peak(self) -> int:
        """Bytes at the highest point."""
        return self.process + max(self.factorization, self.evaluation) + self.points

    def __str__(self) -> str:
        return f"{self.peak / 2**30:.2f} GiB at the peak"


ROW_ARRAYS = 24
"""Arrays of (batch, n) that are alive while a batch of test points is evaluated, at most."""

FACTORIZATION_MATRICES = 5
"""K, Θ, its eigenvectors, and LAPACK's workspace of two."""

EVALUATION_MATRICES = 8
"""K, V and Γ for all times; M, N, M∘Γ and N∘Γ of one; a product on the way to N."""

BATCH_BYTES = 2**28
"""What the rows of one batch of test points may take."""


def estimate_memory(n: int, d: int) -> MemoryEstimate:
    """Peak memory of an :class:`~ntkrobust.InfiniteEnsemble` on ``n`` points of dimension ``d``, used at one time."""
    matrix = 8 * n * n
    return MemoryEstimate(
        process=resident_bytes(),
        factorization=FACTORIZATION_MATRICES * matrix,
        evaluation=EVALUATION_MATRICES * matrix,
        points=8 * n * (2 * d + ROW_ARRAYS * batch_rows(n)),
    )


def batch_rows(n: int) -> int:
    """Test points per batch."""
    return int(np.clip(BATCH_BYTES // (8 * n * ROW_ARRAYS), 16, 1024))


def few_rows(numbers: int) -> int:
    """Test points per batch, if so many ``numbers`` go with each (thrice, with what is computed on the way)."""
    return max(1, BATCH_BYTES // (24 * max(numbers, 1)))


def check_memory(estimate: MemoryEstimate, limit: int | None) -> None:
    """Refuse what won't fit.

    Raises:
        InputError: the peak exceeds ``limit`` bytes, or the machine's memory if no limit is given.
    """
    available = available_bytes() if limit is None else limit
    if available and estimate.peak > available:
        raise InputError(
            f"this needs about {estimate.peak / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are there: take fewer "
            "training points (memory grows with their square)"
        )
