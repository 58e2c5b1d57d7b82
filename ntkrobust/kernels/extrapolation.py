"""The limit at zero of a function that is smooth on one side of it, with an estimate of the error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

NODES = 9
"""Steps at which a function is evaluated."""


def nodes(largest: float) -> Array:
    """Steps h (NODES,), falling by √½ from ``largest`` to a sixteenth of it: small enough for the remainder of a
    polynomial of degree NODES − 1, large enough for second differences to keep their digits."""
    return largest * 0.5 ** (np.arange(NODES) / 2)


def limit_at_zero(steps: Array, values: Array) -> tuple[Array, Array]:
    """Neville's scheme: the polynomial through all values, at h = 0.

    The expansion may hold all integer powers of h, as that of a kernel with a kink does on one side of it.

    Args:
        steps: h (k,), falling.
        values: (k, …).

    Returns:
        The limit (…), and how far the polynomials of one and two degrees less through the smallest steps, the larger of
        the two, are from it (…).
    """
    column, last = np.asarray(values, np.float64), []
    for degree in range(1, len(steps)):
        near, far = (steps[i] for i in (slice(degree, None), slice(None, -degree)))
        shape = (-1, *[1] * (column.ndim - 1))
        near, far = near.reshape(shape), far.reshape(shape)
        column = (far * column[1:] - near * column[:-1]) / (far - near)
        last.append(column[-1])
    limit = last[-1]
    return limit, np.maximum(np.abs(limit - last[-2]), np.abs(limit - last[-3]))
