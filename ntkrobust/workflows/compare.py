"""``compare``: finite ensembles of growing width against the infinite-width prediction.

Both sides take the same steps of gradient descent from random initialization. What is compared is E‖J_t(x)‖_F²,
averaged over networks and test points: gap = measured/theory − 1, at each width and time. See docs/finite-width.md.
"""

from __future__ import annotations

import dataclasses
import html
import math
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ntkrobust.bounds.statistics import MINIMUM_SEEDS
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
from ntkrobust.data import Data, Dataset, load
from ntkrobust.errors import InputError
from ntkrobust.files.atomic import as_path
from ntkrobust.finite.training.schedules import check_schedule
from ntkrobust.networks.network import Network, a_network
from ntkrobust.reports.comparison_files import NAMES, read_comparison, store_comparison
from ntkrobust.reports.figures import comparison_figure
from ntkrobust.reports.gap_figure import draw_gaps
from ntkrobust.reports.styles import plotting
from ntkrobust.reports.undrawn import drawn
from ntkrobust.runtime.seeds import check_key
from ntkrobust.studies.width_gaps import describe_network, gaps_at_times, networks_wanted
from ntkrobust.studies.width_predictions import default_steps, infinite_ensemble, predict
from ntkrobust.studies.width_samples import draw_sample, timed
from ntkrobust.values import Value
from ntkrobust.workflows.delivering import delivered

WIDTHS = (64, 128, 256, 512)
SEEDS, MAX_SEEDS = 64, 512
"""Networks per width, at first and at most."""
TRAINING_POINTS, POINTS = 16, 32
RATE = 1.0
"""Learning rate in units of 1/λ_max(Θ_∞): half of the stability limit of the infinitely wide network."""


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

    def figure(self) -> Figure:
        """The gaps against the width, of matplotlib: ``comparison.figure().savefig("figure.pdf")``.

        In the style that :func:`ntkrobust.plots.style` sets.
        """
        with plotting() as style:
            return draw_gaps(self.document, style)

    def _repr_html_(self) -> str:
        shown = drawn(lambda: comparison_figure(self.document))
        return f"<p>on {html.escape(self.document['inputs']['data']['name'])}</p>{shown}"

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
    data: Data = "digits",
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
        data: as for :func:`~ntkrobust.verify`.
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
    loaded = load(data)
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
    with timed(clocks, "theory"):
        if steps is None:
            steps = default_steps(rate, infinite_ensemble(nets[0], loaded).conditioning)
        predictions = [predict(one, loaded, steps, rate) for one in nets]
    report = progress or (lambda text, index, total: None)
    samples = []
    for index, (one, prediction) in enumerate(zip(nets, predictions, strict=True)):
        report(f"width {one.width}, {seeds} networks", index, len(nets))
        samples.append(draw_sample(one, loaded, steps, prediction, range(seeds), key, clocks))
    if half_width is not None:
        wanted = networks_wanted(nets, loaded, predictions, samples, half_width, max_seeds)
        for index, (one, prediction) in enumerate(zip(nets, predictions, strict=True)):
            report(f"width {one.width}, {wanted[index]} networks", index, len(nets))
            if wanted[index] > seeds:
                more = draw_sample(one, loaded, steps, prediction, range(seeds, wanted[index]), key, clocks)
                samples[index] = samples[index].extended(more)

    inputs = {
        "network": repr(net),
        **describe_network(net),
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
        "times": gaps_at_times(net, widths, steps, predictions, samples),
        "seconds": clocks,
        "started": started.isoformat(timespec="seconds"),
    }
    run = {"id": secrets.token_hex(8)}
    return Comparison({"schema_version": 1, "run": run, "inputs": inputs, "values": values})


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


def _check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    checked = tuple(check_integer("every width", width, 1) for width in check_sequence(widths, "widths"))
    if len(checked) < 3 or sorted(set(checked)) != list(checked):
        raise InputError(f"widths must be three or more, increasing, got {', '.join(map(str, checked)) or 'none'}")
    return checked
