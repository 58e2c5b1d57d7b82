"""Gaps between finite networks of several widths and infinite width: how they close, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkrobust.bounds.statistics import Estimate
from ntkrobust.bounds.statistics.gaps import Closing, judge
from ntkrobust.bounds.statistics.rates import PowerFit, networks_needed, two_point_slope
from ntkrobust.data import Dataset
from ntkrobust.kernels.duals import is_kinked
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.network import Network
from ntkrobust.studies.width_predictions import Prediction
from ntkrobust.studies.width_samples import Sample


def describe_network(net: Network) -> dict[str, Any]:
    """What a network of layers is; of others nothing but their name is known."""
    if not isinstance(net, LayeredNetwork):
        return {"kinked": True}
    return {
        "depth": net.depth,
        "activation": str(net.activation),
        "kinked": is_kinked(net.phi),
        "initialization": repr(net.initialization).strip("'"),
        "parameterization": net.parameterization,
        "bias_std": net.bias_std,
    }


def _kinked(net: Network) -> bool:
    """Whether gates flip: a gap may then close like m^(−1/2). Networks whose activations are not known may."""
    return not isinstance(net, LayeredNetwork) or is_kinked(net.phi)


def networks_wanted(
    nets: Sequence[Network],
    data: Dataset,
    predictions: Sequence[Prediction],
    samples: Sequence[Sample],
    half_width: float,
    max_seeds: int,
) -> list[int]:
    """Networks per width for the half-width asked for, at every time whose gap the sample resolves.

    Widths at which networks diverged get no more of them.
    """
    drawn = [len(sample.squares) for sample in samples]
    widths = [net.finite_width for net in nets[-2:]]
    # The seconds a network takes differ between machines and runs; the size of its parameters does not.
    costs = [net.count_parameters(data.d) for net in nets[-2:]]
    unusable = any(sample.diverged.any() for sample in samples[-2:])
    wanted = np.array(drawn)
    for pair in zip(*(s.gaps(p.targets) for s, p in zip(samples[-2:], predictions[-2:], strict=True)), strict=True):
        gaps = [controlled for controlled, _ in pair]
        if not unusable and two_point_slope(widths, gaps) is not None:
            wanted[-2:] = np.maximum(wanted[-2:], networks_needed(widths, gaps, drawn[-2:], costs, half_width))
    # Whole chunks of networks cost no more than parts of them.
    return [n if n >= w else min(max_seeds, 16 * math.ceil(w / 16)) for n, w in zip(drawn, wanted, strict=True)]


def gaps_at_times(
    net: Network,
    widths: Sequence[int],
    steps: Sequence[int],
    predictions: Sequence[Prediction],
    samples: Sequence[Sample],
) -> list[dict[str, Any]]:
    """Per step its cells, one per width, and what is said of how the gap closes."""
    return [
        {
            "step": step,
            "cells": [
                _cell(width, prediction, sample, index)
                for width, prediction, sample in zip(widths, predictions, samples, strict=True)
            ],
            **_describe(_judged(net, predictions, samples, widths, index)),
        }
        for index, step in enumerate(steps)
    ]


def _cell(width: int, prediction: Prediction, sample: Sample, index: int) -> dict[str, Any]:
    """One width at one time; without numbers if a network diverged, since an average over the others would mislead."""
    theory = float(prediction.targets[index])
    described = {
        "width": width,
        "networks": len(sample.squares),
        "diverged": int(sample.diverged.sum()),
        "theory": theory,
    }
    names = ("measured", "gap", "gap_se", "plain_gap", "plain_gap_se")
    if sample.diverged.any():
        return described | dict.fromkeys(names)
    controlled, plain = sample.gaps(prediction.targets)[index]
    numbers = (theory * (1 + controlled.value), controlled.value, controlled.se, plain.value, plain.se)
    return described | dict(zip(names, numbers, strict=True))


def _describe(closing: Closing) -> dict[str, Any]:
    limit = closing.limit_fit
    return {
        "label": closing.label,
        "limit": _estimate(closing.limit),
        "limit_p_value": None if limit is None else limit.p_value,
        "fits": [_fit(fit) for fit in closing.fits],
        "two_point_slope": _estimate(closing.two_point),
        "free_slope": _estimate(closing.free),
    }


def _fit(fit: PowerFit) -> dict[str, Any]:
    return {
        "exponents": list(fit.exponents),
        "widths": list(fit.widths),
        "coefficients": [_estimate(fit.coefficient(index)) for index in range(len(fit.exponents))],
        "p_value": fit.p_value,
        "local_slope": _estimate(fit.local_slope(*fit.widths[-2:])),
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    """With its 90 % interval."""
    if estimate is None:
        return None
    return {"value": estimate.value, "se": estimate.se, "interval": list(estimate.interval(0.90))}


def _judged(
    net: Network, predictions: Sequence[Prediction], samples: Sequence[Sample], widths: Sequence[int], index: int
) -> Closing:
    """The verdict at one time, on the widths at which no network diverged."""
    used = [
        (width, sample.gaps(prediction.targets)[index][0])
        for width, prediction, sample in zip(widths, predictions, samples, strict=True)
        if not sample.diverged.any()
    ]
    return judge([width for width, _ in used], [gap for _, gap in used], kinked=_kinked(net))
