"""Planes: a measure over two axes, and where something changes its sign."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from ntkrobust.checks import check_number
from ntkrobust.errors import InputError
from ntkrobust.plots.samples import curves, table_of
from ntkrobust.reports import axes as scales
from ntkrobust.reports import words
from ntkrobust.reports.marks import draw_legend
from ntkrobust.reports.palette import LIGHT, SERIES
from ntkrobust.reports.picture import Picture
from ntkrobust.reports.styles import plotting

_FAR = 20.0
"""Numbers farther apart than by this factor are coloured by their logarithms."""


def heat_map(
    data: Any,
    measure: str | None = None,
    *,
    x: str = "initialization",
    y: str = "depth",
    at: Mapping[str, Any] | None = None,
    columns: Sequence[Any] | None = None,
    rows: Sequence[Any] | None = None,
    label: str | None = None,
) -> Figure:
    """A measure over two axes, such as depth and initialization: a number and a colour for each cell.

    Colours go from dark to light (cividis, which looks the same to all eyes), by logarithms where numbers are positive
    and far apart. A cell without a network is left blank.

    Args:
        data: an array (row, column) or (row, column, network) with ``rows`` and ``columns``; a
            :class:`xarray.DataArray` or ``Dataset`` with dimensions ``x`` and ``y``; or evidence.
        measure: its name, where data have several.
        x, y: names of the axes, across and up.
        at: coordinate → value: which networks, where data have several.
        columns, rows: of an array: what its columns and rows are.
        label: of the colours; by default the measure's name.

    Raises:
        InputError: data are none of these, or leave open what to draw.
    """
    table, across, up = _means(data, measure, x, y, at, columns, rows)
    finite = table[np.isfinite(table)]
    if len(finite) == 0:
        raise InputError("there is nothing to draw: no cell has a finite number")
    low, high = float(finite.min()), float(finite.max())
    log = low > 0 and high > _FAR * low
    norm = LogNorm(low, high) if log else Normalize(low, high if high > low else low + 1.0)
    with plotting() as style:
        figure = Picture(figsize=(style.width, style.height), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(np.ma.masked_invalid(table), norm=norm, cmap="cividis", aspect="auto", origin="lower")
        scales.set_ticks(axes, "x", range(len(across)), [words.axis_value(value) for value in across])
        scales.set_ticks(axes, "y", range(len(up)), [words.axis_value(value) for value in up])
        axes.set_xlabel(words.axis_name(x))
        axes.set_ylabel(words.axis_name(y))
        axes.spines[:].set_visible(False)
        if table.size <= 120:
            for row, column in np.argwhere(np.isfinite(table)):
                dark = float(norm(table[row, column])) < 0.55
                text = words.number(float(table[row, column]))
                axes.text(column, row, text, ha="center", va="center", color=LIGHT["paper" if dark else "ink"])
        bar = figure.colorbar(image, ax=axes)
        bar.set_label(label or (measure or "mean").replace("_", " "))
        bar.outline.set_visible(False)
    return figure


def _means(
    data: Any, measure: str | None, x: str, y: str, at: Mapping[str, Any] | None, columns: Any, rows: Any
) -> tuple[np.ndarray, list[Any], list[Any]]:
    """(row, column) means over networks, and what columns and rows are."""
    table = table_of(data, measure)
    if isinstance(table, np.ndarray):
        if columns is None or rows is None or table.ndim not in (2, 3) or table.shape[:2] != (len(rows), len(columns)):
            raise InputError(
                f"an array must be (row, column) or (row, column, network), with rows= and columns= of these lengths, "
                f"got shape {table.shape}"
            )
        networks = table.reshape(*table.shape[:2], -1)
        return _mean(networks), list(columns), list(rows)
    found = {one.name: one for one in curves(table, y, by=x, at=at)}
    across = list(found)
    up = sorted({float(value) for one in found.values() for value in one.x})
    means = np.full((len(up), len(across)), np.nan)
    for column, name in enumerate(across):
        for place, mean in zip(found[name].x, found[name].means(), strict=True):
            means[up.index(float(place)), column] = mean
    return means, across, up


def _mean(networks: np.ndarray) -> np.ndarray:
    """Means over the last axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(networks)
    with np.errstate(invalid="ignore"):
        return np.where(finite, networks, 0.0).sum(-1) / finite.sum(-1)


def phase_diagram(
    x: Sequence[float],
    y: Sequence[float],
    values: Any,
    *,
    zero: float = 0.0,
    decided: float = 3.0,
    boundary: Callable[[np.ndarray], Any] | tuple[Sequence[float], Sequence[float]] | None = None,
    xlabel: str = "γ",
    ylabel: str = "γ′",
    names: tuple[str, str] = ("above zero", "below zero"),
) -> Figure:
    """Points of a plane by the side of zero on which a quantity lies there: upward, downward, or not decided.

    Args:
        x, y: (k,) where the points are.
        values: (k, n) what networks gave there, or (k,) numbers without error.
        zero: what they are compared with.
        decided: standard errors from ``zero`` beyond which the side counts; others are hollow circles.
        boundary: a line to compare with: a function that gives y (k,) for x (k,), or its points (x, y).
        xlabel, ylabel: of the axes.
        names: of the two sides.

    Raises:
        InputError: shapes don't agree, or the function gives another one.
    """
    across, up = (np.asarray(one, dtype=np.float64) for one in (x, y))
    table = np.asarray(values, dtype=np.float64)
    if across.ndim != 1 or across.shape != up.shape or table.ndim not in (1, 2) or len(table) != len(across):
        raise InputError(
            f"x and y must be (k,) and values (k,) or (k, n), got {across.shape}, {up.shape} and {table.shape}"
        )
    check_number("zero", zero)
    check_number("decided", decided)
    signs = _signs(table - zero, decided)
    sides = (
        (1, "^", SERIES[0], SERIES[0], names[0]),
        (-1, "v", SERIES[1], SERIES[1], names[1]),
        (0, "o", LIGHT["muted"], "none", f"within {decided:g} standard errors"),
    )
    with plotting() as style:
        figure = Picture(figsize=(style.width, style.height), layout="constrained")
        axes = figure.add_subplot()
        for sign, marker, edge, face, name in sides:
            here = signs == sign
            if here.any():
                axes.plot(across[here], up[here], ls="none", marker=marker, ms=6, mec=edge, mfc=face, label=name)
        scales.scale(axes, "x", *scales.padded(list(across), log=False), log=False)
        scales.scale(axes, "y", *scales.padded(list(up), log=False), log=False)
        if boundary is not None:
            line = _line(boundary, axes.get_xlim())
            axes.plot(*line, color=LIGHT["ink"], ls=(0, (4, 2)), lw=1.2, label="boundary", zorder=0.8)
        axes.set_xlabel(xlabel, parse_math=True)
        axes.set_ylabel(ylabel, parse_math=True)
        draw_legend(figure, axes.get_lines())
    return figure


def _signs(networks: np.ndarray, decided: float) -> np.ndarray:
    """(k,) +1 or −1 where the mean is so many standard errors from zero, else 0; so where fewer than two are finite."""
    if networks.ndim == 1:
        return np.sign(np.nan_to_num(networks))
    found = np.zeros(len(networks))
    for row, values in enumerate(networks):
        finite = values[np.isfinite(values)]
        if len(finite) > 1:
            mean, se = finite.mean(), finite.std(ddof=1) / np.sqrt(len(finite))
            found[row] = np.sign(mean) * (abs(mean) > decided * se)
    return found


def _line(boundary: Any, limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    if callable(boundary):
        across = np.linspace(*limits, 400)
        up = np.asarray(boundary(across), dtype=np.float64)
    else:
        across, up = (np.asarray(one, dtype=np.float64) for one in boundary)
    if across.shape != up.shape:
        raise InputError(f"a boundary has a y for each x, got {across.shape} and {up.shape}")
    return across, up
