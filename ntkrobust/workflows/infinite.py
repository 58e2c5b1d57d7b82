"""``ntkrobust infinite``: what infinitely wide trained networks' input gradients are, on a data set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ntkrobust.data.dataset import Dataset
from ntkrobust.errors import InputError
from ntkrobust.kernels.ensemble import InfiniteEnsemble

MEANINGS = {
    "gradient_mean_sq": "Σ_k ‖E ∇f_k‖²",
    "gradient_variance": "tr Cov ∇f, of each output",
    "gradient_second_moment": "E‖J‖_F²",
    "gradient_norm": "E‖J‖_F",
    "perturbation_stability": "P/ε, larger is less robust",
    "value_variance": "Var f, of each output",
    "first_order_width": "c > 0: width helps; E‖J‖_F² has 1 + c/m",
}
"""Of all that may be asked for; the last one by its order."""

ORDERS = (0, 1)
"""Of 1/m: the limit alone, or the coefficient of 1/m too."""


class Summary(NamedTuple):
    """Numbers at the test points of a data set.

    Attributes:
        per_point: name ↦ (n',), as in :data:`MEANINGS`; with several outputs also the standard error of P/ε, and with
            the first order also that of c.
        average: their means over the points.
    """

    per_point: dict[str, np.ndarray]
    average: dict[str, float]


def summarize(ensemble: InfiniteEnsemble, data: Dataset, time: float, order: int = 0) -> Summary:
    """What an ensemble trained on ``data`` does at its test points, at ``time``, to the given order in 1/m, 0 or 1.

    Raises:
        InputError: the time can't be reached (see :meth:`InfiniteEnsemble.at`), or the first order is not known (see
            :meth:`EnsembleAt.first_order_width`).
    """
    now = ensemble.at(time)
    if order not in ORDERS:
        raise InputError(f"order is 0 (the limit) or 1 (and the coefficient of 1/m), got {order!r}")
    first = now.first_order_width(data.x_test, return_error=True) if order else None
    moments = now.gradient_moments(data.x_test)
    law = now.gradient_law(data.x_test)
    stability, error = law.perturbation_stability()
    per_point = {
        "gradient_mean_sq": moments.mean_sq,
        "gradient_variance": moments.variance,
        "gradient_second_moment": moments.second_moment,
        "gradient_norm": law.norm(),
        "perturbation_stability": stability,
        "value_variance": now.variance(data.x_test),
    }
    if first is not None:
        per_point["first_order_width"], per_point["first_order_width_standard_error"] = first
    if data.o > 1:
        per_point["perturbation_stability_standard_error"] = error
    return Summary(per_point, {name: float(values.mean()) for name, values in per_point.items()})


def conditioning_document(ensemble: InfiniteEnsemble) -> dict[str, Any]:
    """Conditioning of the training kernel as plain data; an infinite condition number is None."""
    found = ensemble.conditioning._asdict()
    if not np.isfinite(found["condition_number"]):
        found["condition_number"] = None
    return found
