"""A single verdict as a picture: what notebooks show of it, and its figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ntkrobust.bounds.verdicts import Verdict
from ntkrobust.reports.figures import draw_verdict
from ntkrobust.reports.notebook import verdicts_html
from ntkrobust.reports.styles import plotting
from ntkrobust.studies.claim_measures import measure_of_claim
from ntkrobust.studies.evidence import describe


def verdict_html(verdict: Verdict) -> str:
    """A verdict as a notebook shows it: a row, the statement, and the figure, as self-contained HTML."""
    described, evidence = _as_stored(verdict)
    return verdicts_html([described], evidence, verdict.data)


def figure_of_verdict(verdict: Verdict) -> Figure:
    """The figure that the report shows of a verdict, in the style that :func:`ntkrobust.plots.style` sets."""
    described, evidence = _as_stored(verdict)
    with plotting() as style:
        return style.fitted(draw_verdict(described, evidence))


def _as_stored(verdict: Verdict) -> tuple[dict[str, Any], xr.DataTree]:
    """The verdict as ``verdicts.json`` describes it, and the evidence that belongs to it."""
    networks = max(1, *(len(cell.values) for cell in verdict.cells))
    table = np.full((len(verdict.cells), networks), np.nan)
    for row, cell in enumerate(verdict.cells):
        table[row, : len(cell.values)] = cell.values
    measure = measure_of_claim(verdict.claim)
    measured = xr.Dataset({measure.name: (("cell", "seed"), table)})
    described = describe(verdict, measure, range(len(verdict.cells)))
    return described, xr.DataTree.from_dict({"measured": measured})


Verdict.as_html = verdict_html
Verdict.as_figure = figure_of_verdict
