"""Curves with bands: against the width, the time, the radius of an attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkrobust.errors import InputError
from ntkrobust.plots.samples import Curve, curves
from ntkrobust.plots.styling import looks
from ntkrobust.reports import axes as scales
from ntkrobust.reports import words
from ntkrobust.reports.marks import draw_legend
from ntkrobust.reports.palette import LIGHT
from ntkrobust.reports.picture import Picture
from ntkrobust.reports.styles import plotting

_THEORY: dict[str, Any] = {"color": LIGHT["ink"], "ls": (0, (4, 2)), "lw": 1.2, "zorder": 4}
_FAR = 20.0
"""Numbers farther apart than by this factor stand on a logarithmic axis."""

ROUNDED = 1e-6
"""What a share of points may be off by in float32."""


def width_plot(
    data: Any,
    measure: str | None = None,
    *,
    widths: Sequence[float] | None = None,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    theory: Callable[[float], float] | Sequence[float] | None = None,
    ylabel: str | None = None,
) -> Figure:
    """A measure against the width, a line for each of what ``by`` tells apart, as in a coordinate check of muP.

    Where a parameterization is right, lines are level: what is drawn doesn't depend on the width. Where ``by`` has
    numbers (times, depths), lines go from dark to light.

    Args:
        data: ``{width: what ntkrobust.measure gave, or an array (n,)}``; a mapping of names to such; an array
            (width, network) with ``widths``; an :class:`xarray.DataArray` or ``Dataset`` with a dimension ``width``, or
            evidence (``verdicts.evidence``, or verdicts).
        measure: its name, where data have several.
        widths: (k,) of an array.
        by: the dimension or coordinate that tells lines apart, such as ``"initialization"``, ``"time"`` or ``"depth"``.
        at: coordinate → value: which networks, where data have several. Of the times of a run it is the last one.
        theory: a function of the width, or a number for each width of the first line: drawn dashed.
        ylabel: of the measure's axis; by default its name.

    Raises:
        InputError: data are none of these, or leave open what to draw.
    """
    found = curves(data, "width", measure=measure, x=widths, by=by, at=at)
    line = None
    if theory is not None:
        x = found[0].x
        stated = [theory(width) for width in x] if callable(theory) else np.asarray(theory, dtype=float)
        if np.shape(stated) != np.shape(x):
            raise InputError(f"theory must have a number for each of {len(x)} widths, got shape {np.shape(stated)}")
        line = (x, np.asarray(stated, dtype=float))
    return _drawn(found, "width", ylabel or _name(measure, data), by, log_x=True, theory=line, ticks=True)


def time_course(
    data: Any,
    measure: str | None = None,
    *,
    against: str = "gradient_flow_time",
    at: Mapping[str, Any] | None = None,
    log: bool | None = None,
    ylabel: str | None = None,
) -> Figure:
    """A measure as networks train: the mean over networks with its band.

    Args:
        data: what :func:`ntkrobust.measure` gave, with dimensions ``seed`` and ``time`` (records); or a mapping of
            names to such, a line for each.
        measure: its name, where data have several.
        against: the coordinate (seed, time) that time is measured by, ``gradient_flow_time`` or ``step``; of several
            networks its mean.
        at: coordinate → value, for dimensions beside these.
        log: whether times are on a logarithmic axis, which leaves out time zero; by default where they are far apart.
        ylabel: of the measure's axis; by default its name.

    Raises:
        InputError: data are none of these, or leave open what to draw.
    """
    parts = data if isinstance(data, Mapping) and not isinstance(data, xr.Dataset) else {"": data}
    found = []
    for name, part in parts.items():
        if not isinstance(part, xr.Dataset | xr.DataArray) or "time" not in part.dims or against not in part.coords:
            raise InputError(f"a time course needs what `measure` returns, with times and a coordinate {against!r}")
        times = part[against]
        times = times.mean("seed") if "seed" in times.dims else times
        (course,) = curves(
            part.drop_vars([one for one in ("time", against) if one in part.coords]).assign_coords(
                time=np.asarray(times.to_numpy(), dtype=float)
            ),
            "time", measure=measure, at=at,
        )  # fmt: skip
        found.append(Curve(name, course.x, course.samples))
    positive = np.concatenate([one.x[one.x > 0] for one in found])
    if log is None:
        log = len(positive) > 2 and positive.max() > _FAR * positive.min()
    if log and len(positive) == 0:
        raise InputError("no time is positive, and a logarithmic axis has no other")
    if log:
        found = [one.after_zero() for one in found]
    label = {"gradient_flow_time": "gradient-flow time"}.get(against, against)
    return _drawn(found, label, ylabel or _name(measure, next(iter(parts.values()))), None, log_x=bool(log))


def accuracy_against_radius(
    data: Any,
    measure: str | None = None,
    *,
    radii: Sequence[float] | None = None,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    certified: Any = None,
    chance: float | None = None,
    xlabel: str = "radius ε",
) -> Figure:
    """Accuracies, of attacks or certified, against the radius within which inputs may move.

    Args:
        data: ``{radius: array (n,), or what ntkrobust.measure gave}``; a mapping of names (attacks, initializations) to
            such; an array (radius, network) with ``radii``; or data with a dimension or a coordinate ``epsilon``.
        measure: its name, where data have several; by default ``robust_accuracy`` of what :func:`ntkrobust.attack`
            gave, and ``certified_accuracy`` of what :func:`ntkrobust.certify` gave.
        radii: (k,) of an array.
        by: the dimension or coordinate that tells lines apart.
        at: coordinate → value: which networks, where data have several.
        certified: what is certified of the same networks, in any of these forms, at the same radii and with the same
            lines: drawn with open marks, and shaded up to what ``data`` say, which is then what attacks leave. The true
            accuracy lies in the shaded part.
        chance: the accuracy of a guess: drawn dashed.
        xlabel: of the radii, where it should say the norm.

    Raises:
        InputError: data are none of these, leave open what to draw, or are no shares between 0 and 1; or what is
            certified has other radii or lines, or is more than what attacks leave.
    """
    how: dict[str, Any] = {"x": radii, "by": by, "at": at}
    found = curves(data, "epsilon", measure=measure, usual=("robust_accuracy", "certified_accuracy"), **how)
    below = None
    if certified is not None:
        below = curves(certified, "epsilon", usual=("certified_accuracy",), **how)
        _check_below(below, found)
    every = np.concatenate([sample for one in (*found, *(below or ())) for sample in one.samples])
    if len(every) and (every.min() < 0 or every.max() > 1):
        raise InputError(f"accuracies lie between 0 and 1, got {every.min():g} to {every.max():g}")
    x = found[0].x[[0, -1]]
    line = None if chance is None else (x, np.full(2, float(chance)))
    limits = -0.03, 1.03
    return _drawn(
        found, xlabel, "accuracy", by, log_x=False, theory=line, theory_name="chance", limits=limits, below=below
    )


def _check_below(below: Sequence[Curve], above: Sequence[Curve]) -> None:
    """Raise InputError unless curves lie below others, one by one."""
    for one, other in zip_longest(below, above):
        if one is None or other is None or one.name != other.name or not np.array_equal(one.x, other.x):
            raise InputError("what is certified must have the lines and the radii of what it is drawn beside")
        if np.any(one.means() > other.means() + ROUNDED):
            raise InputError(
                "what is certified is more than what attacks leave: are these the same networks and points?"
            )


def _drawn(
    found: Sequence[Curve],
    xlabel: str,
    ylabel: str,
    by: str | None,
    *,
    log_x: bool,
    theory: tuple[np.ndarray, np.ndarray] | None = None,
    theory_name: str = "theory",
    ticks: bool = False,
    limits: tuple[float, float] | None = None,
    below: Sequence[Curve] | None = None,
) -> Figure:
    """Curves with their bands, in the style that is active; shaded down to those ``below``, one for each."""
    with plotting() as style:
        figure = Picture(figsize=(style.width, style.height), layout="constrained")
        axes = figure.add_subplot()
        handles: list[Line2D] = []
        for index, (one, look) in enumerate(zip(found, looks([one.name for one in found]), strict=True)):
            low, high = one.band()
            name = _label(one.name, by)
            if below is not None:
                certain = below[index].means()
                axes.fill_between(one.x, certain, one.means(), color=look["color"], alpha=0.1, lw=0)
                label = "certified" if one.name == "" else f"{name}, certified"
                handles += axes.plot(one.x, certain, ms=4, lw=0.9, label=label, **(look | {"mfc": LIGHT["paper"]}))
            axes.fill_between(one.x, low, high, color=look["color"], alpha=0.2, lw=0)
            handles += axes.plot(one.x, one.means(), ms=4, lw=1.3, label=name, **look)
        if theory is not None:
            handles += axes.plot(*theory, label=theory_name, **_THEORY)
        _set_axes(axes, found, theory, log_x=log_x, ticks=ticks, limits=limits)
        axes.set_xlabel(xlabel, parse_math=True)
        axes.set_ylabel(ylabel, parse_math=True)
        axes.grid(axis="y")
        draw_legend(figure, handles)
    return figure


def _set_axes(
    axes: Axes,
    found: Sequence[Curve],
    theory: tuple[np.ndarray, np.ndarray] | None,
    *,
    log_x: bool,
    ticks: bool,
    limits: tuple[float, float] | None,
) -> None:
    """Limits that hold means, bands and theory; logarithms where numbers are positive and far apart."""
    x = sorted({float(value) for one in found for value in one.x if np.isfinite(value)}) or [1.0]
    log_x = log_x and x[0] > 0
    scales.scale(axes, "x", *scales.padded(x, log=log_x), log=log_x)
    if ticks and len(x) <= 12:
        scales.set_ticks(axes, "x", x, [words.tick(value) for value in x])
    if limits is not None:
        scales.scale(axes, "y", *limits, log=False)
        return
    means = np.concatenate([one.means() for one in found] + ([] if theory is None else [theory[1]]))
    ends = np.concatenate([end for one in found for end in one.band()])
    means, ends = means[np.isfinite(means)], ends[np.isfinite(ends)]
    log = len(means) > 0 and means.min() > 0 and means.max() > _FAR * means.min()
    if log:  # a band that reaches zero leaves the picture
        ends = np.maximum(ends, means.min() / 3)
    scales.scale(axes, "y", *scales.padded([*means, *ends], log=log), log=log)


def _label(name: Any, by: str | None) -> str:
    if name == "":
        return "mean, 95 % interval"
    return words.coordinates([(by or "", name)]) if not isinstance(name, str) and by else words.axis_value(name)


def _name(measure: str | None, data: Any) -> str:
    if measure is None:
        only = list(data.data_vars) if isinstance(data, xr.Dataset) else [getattr(data, "name", None)]
        measure = str(only[0]) if only and only[0] else "mean"
    return measure.replace("_", " ")
