"""How far bounds are from what they bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ntkrobust.bounds.claims import AtLeast, AtMost
from ntkrobust.bounds.verdicts import Verdict
from ntkrobust.bounds.verdicts.types import VACUOUS
from ntkrobust.errors import InputError
from ntkrobust.reports import axes as scales
from ntkrobust.reports import words
from ntkrobust.reports.palette import LIGHT, SERIES
from ntkrobust.reports.picture import Picture
from ntkrobust.reports.styles import plotting

_ROW = 0.26
"""Inches of a row."""

_LONGEST = 44  # characters of a name


def tightness(data: Verdict | Sequence[Verdict] | Mapping[str, Any]) -> Figure:
    """How far bounds are from what they bound, a row for each and a point for each cell: 1 is tight.

    What is drawn is bound/measured for an upper bound and measured/bound for a lower one, of means over networks: below
    1, in the shaded part, it fails. Beyond the dotted line, a factor 100, a bound says nothing.

    Args:
        data: verdicts, of which those on bounds with their constant are drawn; or name → (k,) such ratios.

    Raises:
        InputError: there is no such bound, or a ratio that is not positive.
    """
    rows = _given(data) if isinstance(data, Mapping) else _of_verdicts([data] if isinstance(data, Verdict) else data)
    if not rows:
        raise InputError("there is nothing to draw: none of these is a bound with its constant and a cell that counts")
    every = np.concatenate(list(rows.values()))
    low, high = scales.padded([1.0, *every], log=True)
    with plotting() as style:
        figure = Picture(figsize=(style.width, 0.7 + _ROW * max(len(rows), 3)), layout="constrained")
        axes = figure.add_subplot()
        scales.scale(axes, "x", min(low, 0.8), max(high, 1.25), log=True)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.axvspan(axes.get_xlim()[0], 1.0, color=LIGHT["refuted"], alpha=0.13, lw=0, zorder=0)
        axes.axvline(1.0, color=LIGHT["ink"], lw=0.9, zorder=1)
        if axes.get_xlim()[1] > VACUOUS:
            axes.axvline(VACUOUS, color=LIGHT["muted"], lw=0.9, ls=(0, (1, 2)), zorder=1)
        for row, ratios in enumerate(rows.values()):
            axes.plot([ratios.min(), ratios.max()], [row, row], color=SERIES[0], lw=1.2, zorder=2)
            axes.plot(ratios, np.full(len(ratios), row), ls="none", marker="o", ms=4, color=SERIES[0], zorder=3)
        scales.set_ticks(axes, "y", range(len(rows)), [words.cut(name, _LONGEST) for name in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("bound / measured (measured / bound for a lower one)")
        axes.grid(axis="x")
    return figure


def _given(data: Mapping[str, Any]) -> dict[str, np.ndarray]:
    rows = {}
    for name, given in data.items():
        try:
            ratios = np.asarray(given, dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise InputError(f"{name}: ratios are numbers, got {given!r:.60}") from None
        ratios = ratios[np.isfinite(ratios)]
        if len(ratios) and ratios.min() <= 0:
            raise InputError(f"{name}: ratios are positive, got {ratios.min():g}")
        if len(ratios):
            rows[str(name)] = ratios
    return rows


def _of_verdicts(verdicts: Sequence[Verdict]) -> dict[str, np.ndarray]:
    """Claim → the ratios (k,) of its cells that count."""
    rows = {}
    for verdict in verdicts:
        if not isinstance(verdict, Verdict):
            raise InputError(f"data are verdicts, or a mapping of names to ratios, got {verdict!r:.60}")
        if not isinstance(verdict.claim.relation, AtMost | AtLeast):
            continue
        ratios = []
        for cell in verdict.cells:
            if not cell.in_scope or cell.problem or cell.reference is None or len(cell.values) == 0:
                continue
            mean = float(np.mean(cell.values))
            above, below = cell.reference, mean
            if isinstance(verdict.claim.relation, AtLeast):
                above, below = below, above
            if above > 0 and below > 0 and np.isfinite(above / below):
                ratios.append(above / below)
        if ratios:
            rows[verdict.claim.id] = np.array(ratios)
    return rows
