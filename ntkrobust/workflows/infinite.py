"""``ntkrobust infinite``: what infinitely wide trained networks' input gradients are, on a data set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ntkrobust.data.dataset import Dataset
from ntkrobust.kernels.ensemble import InfiniteEnsemble

MEANINGS = {
    "gradient_mean_sq": "Σ_k ‖E ∇f_k‖²",
    "gradient_variance": "tr Cov ∇f, of each output",
    "gradient_second_moment": "E‖J‖_F²",
    "gradient_norm": "E‖J‖_F",
    "perturbation_stability": "P/ε, larger is less robust",
    "value_variance": "Var f, of each output",
}


class Summary(NamedTuple):
    """Numbers at the test points of a data set.

    Attributes:
        per_point: name ↦ (n',), as in :data:`MEANINGS`; with several outputs also the standard error of P/ε.
        average: their means over the points.
    """

    per_point: dict[str, np.ndarray]
    average: dict[str, float]


def summarize(ensemble: InfiniteEnsemble, data: Dataset, time: float) -> Summary:
    """What an ensemble trained on ``data`` does at its test points, at ``time``.

    Raises:
        InputError: the time can't be reached (see :meth:`InfiniteEnsemble.at`).
    """
    now = ensemble.at(time)
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
    if data.o > 1:
        per_point["perturbation_stability_standard_error"] = error
    return Summary(per_point, {name: float(values.mean()) for name, values in per_point.items()})


def conditioning_document(ensemble: InfiniteEnsemble) -> dict[str, Any]:
    """Conditioning of the training kernel as plain data; an infinite condition number is None."""
    found = ensemble.conditioning._asdict()
    if not np.isfinite(found["condition_number"]):
        found["condition_number"] = None
    return found
