"""Verdicts in a notebook: a table, and a figure for each, as HTML that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import xarray as xr

from ntkrobust.reports import latex, words
from ntkrobust.reports.figures import verdict_figure
from ntkrobust.reports.palette import LIGHT, SYMBOLS, label_colour
from ntkrobust.reports.undrawn import drawn

SHOWN = 3
"""Up to so many verdicts show their figures at once; more of them fold them away."""

# A notebook has a style of its own, dark or light: ours is written into the elements, on paper of its own.
_PAPER = f"background:{LIGHT['paper']};color:{LIGHT['ink']};padding:0.8em 1em;max-width:62em;overflow-x:auto"
_CELL = f"text-align:left;vertical-align:top;padding:0.25em 0.9em 0.25em 0;border-bottom:1px solid {LIGHT['rule']}"


def verdicts_html(verdicts: Sequence[Mapping[str, Any]], evidence: xr.DataTree, data: str = "") -> str:
    """The verdicts as a table, each with its statement, its reason and its figure.

    Args:
        verdicts: as ``verdicts.json`` describes them.
        evidence: what they rest on; at least the group ``measured``.
        data: what the data set is called.
    """
    names = ("claim", "verdict", "effect [95 % interval]", "adjusted p", "reading", "networks")
    heads = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in names)
    named = zip(words.telling_ids(verdicts), verdicts, strict=True)
    rows = "".join(f"<tr>{_row(name, verdict)}</tr>" for name, verdict in named)
    table = f'<table style="border-collapse:collapse;background:none"><thead><tr>{heads}</tr></thead>{rows}</table>'
    details = "".join(_details(verdict, evidence, len(verdicts) <= SHOWN) for verdict in verdicts)
    caption = f"<p>on {escape(data)}</p>" if data else ""
    return f'<div style="{_PAPER}">{caption}{table}{details}</div>'


def _row(name: str, verdict: Mapping[str, Any]) -> str:
    label = verdict["label"]
    badge = f'<b style="color:{label_colour(label)}">{SYMBOLS[label]} {escape(words.label(verdict))}</b>'
    rest = (
        words.factor(verdict["effect"]),
        words.p_value(verdict["p_value"]),
        words.short_reading(verdict),
        words.integer(verdict["seeds"]),
    )
    cells = (escape(name), badge, *map(escape, rest))
    return "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)


def _details(verdict: Mapping[str, Any], evidence: xr.DataTree, shown: bool) -> str:
    statement, reason = latex.statement_html(verdict["statement"]), escape(verdict["reason"])
    command = "" if verdict["counterexample"] is None else f"<p><code>{escape(verdict['command'])}</code></p>"
    figure = drawn(lambda: verdict_figure(verdict, evidence))
    return (
        f"<details{' open' if shown else ''}><summary>{escape(verdict['claim'])}</summary>"
        f"<p>{statement}</p><p>{reason}.</p>{command}{figure}</details>"
    )
