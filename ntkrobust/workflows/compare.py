"""``compare``: finite ensembles of growing width against the infinite-width prediction.

Both sides take the same steps of gradient descent from random initialization. What is compared is E‖J_t(x)‖_F²,
averaged over networks and test points: gap = measured/theory − 1, at each width and time. See docs/finite-width.md.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from ntkrobust.bounds.statistics import MINIMUM_SEEDS, Estimate, mean
from ntkrobust.bounds.statistics.gaps import Closing, judge
from ntkrobust.bounds.statistics.rates import PowerFit, networks_needed, two_point_slope
from ntkrobust.checks import (
    MOST_SEEDS,
    MOST_STEPS,
    check_integer,
    check_number,
    check_path,
    check_sequence,
    or_none,
    takes,
    whole,
)
from ntkrobust.data import Dataset, load
from ntkrobust.errors import InputError
from ntkrobust.files.atomic import as_path
from ntkrobust.finite.measures.measuring import measure
from ntkrobust.finite.training.control_variate import jacobian_excess
from ntkrobust.finite.training.schedules import check_schedule
from ntkrobust.finite.training.train import train
from ntkrobust.kernels.duals import is_kinked
from ntkrobust.kernels.ensemble import InfiniteEnsemble
from ntkrobust.kernels.general import GeneralEnsemble
from ntkrobust.networks.initializations import Initialization
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network, a_network
from ntkrobust.reports.comparison_files import NAMES, read_comparison, store_comparison
from ntkrobust.reports.figures import comparison_figure
from ntkrobust.reports.undrawn import drawn
from ntkrobust.runtime.seeds import check_key
from ntkrobust.values import Value
from ntkrobust.workflows.delivering import delivered

WIDTHS = (64, 128, 256, 512)
SEEDS, MAX_SEEDS = 64, 512
"""Networks per width, at first and at most."""
TRAINING_POINTS, POINTS = 16, 32
RATE = 1.0
"""Learning rate in units of 1/λ_max(Θ_∞): half of the stability limit of the infinitely wide network."""
REMAINDER = 0.01
"""Training counts as converged when this share of the slowest mode's residual is left."""
MAX_STEPS = 20_000
"""Default steps go no further."""
_SNAPSHOT_BYTES = 256 * 2**20
"""Trained parameters that are kept at once."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What infinite width says for networks of one width.

    Attributes:
        learning_rate: η on the loss ½Σ, for both sides.
        largest: λ_max(Θ_∞).
        condition_number: of Θ_∞ on the training points.
        targets: (time,) E‖J_t‖_F², averaged over the test points.
        propagators: (time, n', n, d), see :func:`~ntkrobust.finite.training.control_variate.jacobian_excess`; None
            where there is no control variate.
    """

    learning_rate: float
    largest: float
    condition_number: float
    targets: np.ndarray
    propagators: np.ndarray | None


class Sample(NamedTuple):
    """Networks of one width, seeds 0 … N−1.

    Attributes:
        squares: (N, time) ‖J_t‖_F², averaged over the test points.
        excess: (N, time) the control variate, of mean zero.
        diverged: (N,).
    """

    squares: np.ndarray
    excess: np.ndarray
    diverged: np.ndarray

    def extended(self, more: Sample) -> Sample:
        """With more networks."""
        return Sample(*(np.concatenate(pair) for pair in zip(self, more, strict=True)))

    def gaps(self, targets: np.ndarray) -> list[tuple[Estimate, Estimate]]:
        """measured/theory − 1 per time: with the control variate, and as it is."""
        controlled, plain = (self.squares - self.excess) / targets - 1, self.squares / targets - 1
        return [(mean(a), mean(b)) for a, b in zip(controlled.T, plain.T, strict=True)]


class Comparison(Value):
    """Finite ensembles against the infinite-width prediction.

    Attributes:
        document: what ``comparison.json`` holds: ``inputs``, ``values`` and ``run`` with its ``id``.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """The comparison that a run has left in a folder.

        Raises:
            InputError: there is none, or its files are not of one run.
        """
        return cls(read_comparison(as_path("a folder", folder)))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per time and width: networks, theory, measured, gap with its standard error, with and without the
        control variate."""
        return pd.DataFrame(
            [{"step": one["step"], **cell} for one in self.document["values"]["times"] for cell in one["cells"]]
        )

    def figure(self) -> str:
        """The gaps against the width as an ``svg`` element, also valid as a file of its own."""
        return comparison_figure(self.document)

    def _repr_html_(self) -> str:
        return drawn(self.figure)

    def __repr__(self) -> str:
        labels = ", ".join(f"{one['label']} at step {one['step']}" for one in self.document["values"]["times"])
        return f"<Comparison of {self.document['inputs']['network']}: {labels}>"


@takes(
    net=a_network,
    n=whole(2),
    points=whole(1),
    seeds=whole(MINIMUM_SEEDS, MOST_SEEDS, "a standard error needs that many"),
    max_seeds=whole(1, MOST_SEEDS),
    out=or_none(check_path),
)
def compare(
    net: Network,
    data: str | Path | Dataset = "digits",
    *,
    widths: Sequence[int] = WIDTHS,
    steps: Sequence[int] | None = None,
    rate: float = RATE,
    n: int = TRAINING_POINTS,
    points: int = POINTS,
    seeds: int = SEEDS,
    half_width: float | None = None,
    max_seeds: int = MAX_SEEDS,
    key: jax.Array | None = None,
    out: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    announce: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Train ensembles of several widths and compare their input gradients with the infinite-width prediction.

    The prediction is computed anew at each width: in the standard parameterization it depends on it.

    Args:
        net: the network, fully connected, convolutional or one with a kernel (:func:`ntkrobust.from_stax`); its own
            width, if any, is not used. The control variate is that of fully connected networks: others need more of
            them for the same error.
        data: a name (``digits``, …), an ``.npz`` or ``.csv`` file, or a :class:`~ntkrobust.data.Dataset`.
        widths: three or more, increasing.
        steps: numbers of gradient-descent steps to compare at, increasing. By default 0, K^¼, K^½ and K, where K
            leaves 1 % of the slowest mode's residual at infinite width and the first of the widths.
        rate: learning rate in units of 1/λ_max(Θ_∞), below 2.
        n: training points (the first so many).
        points: test points (the first so many).
        seeds: networks per width.
        half_width: of the 90 % interval of the slope between the last two widths; at these, as many more networks are
            trained as it takes at every time whose gap the first ones resolve.
        max_seeds: networks per width at most.
        key: a typed key, by default ``jax.random.key(0)``; seed i uses ``fold_in(key, i)``.
        out: folder for ``comparison.json`` and ``comparison.svg``, which appear together or not at all; None writes
            nothing. It is this run's alone until that ends.
        progress: called before each ensemble with its description, how many are done, and how many there are.
        announce: called with the comparison before anything is written or drawn.

    Returns:
        A :class:`Comparison`.

    Raises:
        InputError: anything about the arguments that can't work, before any network is trained.
        NotWrittenError: the results can't be written; its ``found`` is the comparison.
    """
    widths = _check_widths(widths)
    max_seeds = max(max_seeds, seeds)
    if not 0 < check_number("rate", rate) < 2:
        raise InputError(f"rate must lie strictly between 0 and 2, beyond which gradient descent diverges, got {rate}")
    if half_width is not None and check_number("half_width", half_width) <= 0:
        raise InputError(f"half_width must be positive, got {half_width}")
    loaded = data if isinstance(data, Dataset) else load(data)
    loaded = loaded.subset(n, min(points, len(loaded.x_test)))
    nets = [net.at_width(width) for width in widths]
    if net.d_out != loaded.o:
        raise InputError(f"the network has d_out={net.d_out} and the targets of {loaded.name} have {loaded.o} columns")
    if steps is not None:
        steps = check_schedule(MOST_STEPS, record_steps=steps).steps
    key = check_key(key)

    def work() -> Comparison:
        return _compared(
            net, nets, loaded, steps=steps, rate=rate, seeds=seeds, half_width=half_width, max_seeds=max_seeds, key=key,
            progress=progress,
        )  # fmt: skip

    def store(comparison: Comparison, folder: Path) -> None:
        store_comparison(comparison.document, folder)

    return delivered(work, out=out, names=NAMES, announce=announce, store=store)


def _compared(
    net: Network,
    nets: Sequence[Network],
    loaded: Dataset,
    *,
    steps: tuple[int, ...] | None,
    rate: float,
    seeds: int,
    half_width: float | None,
    max_seeds: int,
    key: jax.Array,
    progress: Callable[[str, int, int], None] | None,
) -> Comparison:
    """The comparison of networks ``nets``, which differ in width, with the arguments of :func:`compare`, checked."""
    started = datetime.now(UTC)
    widths = [one.finite_width for one in nets]
    clocks = {"theory": 0.0, "networks": 0.0, "control_variate": 0.0}
    with _timed(clocks, "theory"):
        if steps is None:
            steps = default_steps(rate, _ensemble(nets[0], loaded).conditioning)
        predictions = [predict(one, loaded, steps, rate) for one in nets]
    report = progress or (lambda text, index, total: None)
    samples = []
    for index, (one, prediction) in enumerate(zip(nets, predictions, strict=True)):
        report(f"width {one.width}, {seeds} networks", index, len(nets))
        samples.append(draw_sample(one, loaded, steps, prediction, range(seeds), key, clocks))
    if half_width is not None:
        wanted = _networks_wanted(nets, loaded, predictions, samples, half_width, max_seeds)
        for index, (one, prediction) in enumerate(zip(nets, predictions, strict=True)):
            report(f"width {one.width}, {wanted[index]} networks", index, len(nets))
            if wanted[index] > seeds:
                more = draw_sample(one, loaded, steps, prediction, range(seeds, wanted[index]), key, clocks)
                samples[index] = samples[index].extended(more)

    inputs = {
        "network": repr(net),
        **_described(net),
        "data": loaded.as_json(),
        "widths": widths,
        "steps": list(steps),
        "rate": rate,
        "seeds": seeds,
        "half_width": half_width,
        "max_seeds": max_seeds,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
    }
    values = {
        "predictions": [
            {
                "width": width,
                "learning_rate": one.learning_rate,
                "condition_number": one.condition_number if math.isfinite(one.condition_number) else None,
            }
            for width, one in zip(widths, predictions, strict=True)
        ],
        "times": _times(net, widths, steps, predictions, samples),
        "seconds": clocks,
        "started": started.isoformat(timespec="seconds"),
    }
    run = {"id": secrets.token_hex(8)}
    return Comparison({"schema_version": 1, "run": run, "inputs": inputs, "values": values})


def _described(net: Network) -> dict[str, Any]:
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


def _ensemble(net: Network, data: Dataset, learning_rate: float | None = None) -> InfiniteEnsemble | GeneralEnsemble:
    """The infinitely wide network of this kind.

    Raises:
        InputError: nothing is known of its infinite width.
    """
    if isinstance(net, MLP):
        return InfiniteEnsemble(net, data.x_train, data.y_train, learning_rate=learning_rate)
    return GeneralEnsemble(net, data.x_train, data.y_train, learning_rate=learning_rate)


def scale_labels(data: Dataset, factor: float) -> Dataset:
    """The data with all targets multiplied by a positive number.

    Raises:
        InputError: it is not positive.
    """
    if check_number("label_scale", factor) <= 0:
        raise InputError(f"label_scale must be positive, got {factor:g}")
    if factor == 1:
        return data
    return dataclasses.replace(
        data,
        y_train=factor * data.y_train,
        y_test=factor * data.y_test,
        name=f"{data.name}, targets times {factor:g}",
        task="regression",
        classes=None,
    )


def default_steps(rate: float, conditioning: Any) -> tuple[int, ...]:
    """0, K^¼, K^½ and K, where (1 − ηλ_min)^K = 1 %, and K ≤ 20 000."""
    slowest = min(rate / conditioning.condition_number, 0.5)
    last = MAX_STEPS if slowest == 0 else min(MAX_STEPS, math.ceil(math.log(REMAINDER) / math.log1p(-slowest)))
    return tuple(sorted({0, round(last**0.25), round(last**0.5), last}))


def predict(net: Network, data: Dataset, steps: Sequence[int], rate: float) -> Prediction:
    """What infinite width says for networks of the width of ``net`` after these steps of gradient descent.

    Raises:
        InputError: as for :class:`~ntkrobust.InfiniteEnsemble`.
    """
    flow = _ensemble(net, data)
    eta = rate / flow.conditioning.largest
    ensemble = flow.with_learning_rate(eta) if isinstance(flow, InfiniteEnsemble) else _ensemble(net, data, eta)
    targets = [np.mean(ensemble.at(eta * step).gradient_second_moment(data.x_test)) for step in steps]
    return Prediction(
        eta,
        flow.conditioning.largest,
        flow.conditioning.condition_number,
        np.array(targets),
        _propagators(net, data, eta, steps) if isinstance(net, MLP) else None,
    )


def _propagators(net: MLP, data: Dataset, eta: float, steps: Sequence[int]) -> np.ndarray:
    """(time, n', n, d): what unit residuals do."""
    # The layers must stay those of the network, not of one with n outputs.
    units = dataclasses.replace(net, d_out=data.n, initialization=Initialization(*net.scales(data.d)))
    ensemble = InfiniteEnsemble(units, data.x_train, np.eye(data.n), learning_rate=eta)
    return np.stack([ensemble.at(eta * step).gradient_mean(data.x_test) for step in steps])


def draw_sample(
    net: Network,
    data: Dataset,
    steps: Sequence[int],
    prediction: Prediction,
    seeds: range,
    key: jax.Array,
    clocks: dict[str, float],
) -> Sample:
    """Train and measure networks, so many at a time that their parameters fit in memory."""
    chunk = max(1, _SNAPSHOT_BYTES // (4 * net.count_parameters(data.d) * (len(steps) + 1)))
    parts = []
    for first in range(seeds.start, seeds.stop, chunk):
        some = range(first, min(first + chunk, seeds.stop))
        with _timed(clocks, "networks"):
            run = train(
                net, data.x_train, data.y_train, seeds=some, steps=steps[-1], record_steps=steps,
                learning_rate=prediction.learning_rate, key=key,
            )  # fmt: skip
            squares = measure(run, data.x_test, ["jacobian_frobenius_sq"])["jacobian_frobenius_sq"]
        averaged = squares.to_numpy().mean(axis=2, dtype=np.float64)
        excess = np.zeros_like(averaged)
        if isinstance(net, MLP) and prediction.propagators is not None:
            with _timed(clocks, "control_variate"):
                excess = jacobian_excess(
                    net, data.x_train, data.y_train, data.x_test, prediction.propagators, seeds=some, key=key
                )
        parts.append(Sample(averaged, excess.astype(np.float64), run.status == "diverged"))
    return Sample(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class _timed:
    """Adds the seconds spent inside to a clock."""

    def __init__(self, clocks: dict[str, float], name: str) -> None:
        self._clocks, self._name = clocks, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._clocks[self._name] += time.perf_counter() - self._start


def _check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    checked = tuple(check_integer("every width", width, 1) for width in check_sequence(widths, "widths"))
    if len(checked) < 3 or sorted(set(checked)) != list(checked):
        raise InputError(f"widths must be three or more, increasing, got {', '.join(map(str, checked)) or 'none'}")
    return checked


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


def _networks_wanted(
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


def _times(
    net: Network,
    widths: Sequence[int],
    steps: Sequence[int],
    predictions: Sequence[Prediction],
    samples: Sequence[Sample],
) -> list[dict[str, Any]]:
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
