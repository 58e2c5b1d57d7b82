"""The picture of a verdict, of all of them, and of a comparison, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from ntkrobust.reports import words
from ntkrobust.reports.gap_figure import draw_gaps
from ntkrobust.reports.latex import renders, symbol
from ntkrobust.reports.overview_figure import draw_overview
from ntkrobust.reports.ratio_figure import draw_ratios
from ntkrobust.reports.svg import drawing, inline_svg
from ntkrobust.reports.trend_figure import draw_trend


def verdict_figure(verdict: Mapping[str, Any], evidence: xr.DataTree) -> str:
    """A verdict as an ``svg`` element.

    Args:
        verdict: as ``verdicts.json`` describes it.
        evidence: the stored evidence.
    """
    with drawing():
        figure = draw_verdict(verdict, evidence)
        return inline_svg(figure, f"{verdict['claim']}: {verdict['label']}. {words.headline(verdict['effect'])}")


def draw_verdict(verdict: Mapping[str, Any], evidence: xr.DataTree) -> Figure:
    """A verdict as a figure of matplotlib; to be called inside :func:`~ntkrobust.reports.svg.drawing`."""
    quantity = _quantity(verdict)
    if verdict["relation"]["axis"] is not None:
        return draw_trend(verdict, evidence["measured"].to_dataset(), quantity)
    return draw_ratios(verdict, quantity)


def overview_figure(document: Mapping[str, Any]) -> str:
    """The effects of all claims as an ``svg`` element, also valid as a file of its own."""
    counts = ", ".join(f"{number} {label}" for label, number in words.label_counts(document).items())
    with drawing():
        return inline_svg(draw_overview(document), f"Effects of all claims: {counts}")


def comparison_figure(document: Mapping[str, Any]) -> str:
    """What ``comparison.json`` holds as an ``svg`` element, also valid as a file of its own."""
    labels = ", ".join(f"{one['label']} at step {one['step']}" for one in document["values"]["times"])
    with drawing():
        return inline_svg(draw_gaps(document), f"Gap to infinite width of {document['inputs']['network']}: {labels}")


def _quantity(verdict: Mapping[str, Any]) -> str:
    """The measure as the label of an axis: in symbols where they can be drawn, else by its name."""
    sign = symbol(verdict["measure"]["definition"])
    name = f"${sign}$" if sign and renders(sign) else verdict["measure"]["name"].replace("_", " ")
    return name if verdict["measure"].get("arithmetic") else f"{verdict['reading']['functional']} of {name}"
