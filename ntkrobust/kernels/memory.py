"""How much memory an infinite-width ensemble takes, before any of it is taken."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ntkrobust.errors import InputError


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


def estimate_memory(n: int, d: int, batch: int, row_arrays: int) -> MemoryEstimate:
    """Peak memory for ``n`` training points of dimension ``d`` and batches of ``batch`` test points."""
    matrix = 8 * n * n
    return MemoryEstimate(
        process=_resident(),
        factorization=FACTORIZATION_MATRICES * matrix,
        evaluation=EVALUATION_MATRICES * matrix,
        points=8 * n * (2 * d + row_arrays * batch),
    )


FACTORIZATION_MATRICES = 5
EVALUATION_MATRICES = 7


def check_memory(estimate: MemoryEstimate, limit: int | None) -> None:
    """Refuse what won't fit.

    Raises:
        InputError: the peak exceeds ``limit`` bytes, or the machine's memory if no limit is given.
    """
    available = _physical() if limit is None else limit
    if available and estimate.peak > available:
        raise InputError(
            f"this needs about {estimate.peak / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are there: take fewer "
            "training points (memory grows with their square)"
        )


def _resident() -> int:
    """Bytes this process holds now; 0 where the system doesn't say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _physical() -> int:
    """Bytes of memory of the machine; 0 where the system doesn't say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def batch_rows(n: int, row_arrays: int, budget: int = 2**28) -> int:
    """Test points per batch so that ``row_arrays`` arrays of (batch, n) stay within ``budget`` bytes."""
    return int(np.clip(budget // (8 * n * row_arrays), 16, 1024))
