"""Verdicts in a terminal: a table and a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ntkrobust.reports import words
from ntkrobust.reports.palette import SYMBOLS

_STYLES = {"supported": "green", "refuted": "bold red", "inconclusive": "yellow", "out of scope": "dim"}


def verdict_table(document: Mapping[str, Any]) -> Table:
    """One row per verdict, a line between papers. Fits 120 columns; in fewer, long ids are cut first.

    Args:
        document: what ``verdicts.json`` holds.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("claim", no_wrap=True, overflow="ellipsis", ratio=None)
    table.add_column("verdict", no_wrap=True, min_width=max(map(len, SYMBOLS)) + 2)
    table.add_column("effect [95 % interval]", no_wrap=True, overflow="ellipsis")
    table.add_column("p", no_wrap=True, min_width=6)
    table.add_column("n", no_wrap=True, justify="right", min_width=5)
    table.add_column("reading", no_wrap=True, overflow="ellipsis")
    for verdict in document["values"]["verdicts"]:
        label = verdict["label"]
        table.add_row(
            escape(words.base_id(verdict["claim"])),
            Text(f"{SYMBOLS[label]} {label}", style=_STYLES[label]),
            escape(words.factor(verdict["effect"])),
            words.p_value(verdict["p_value"]),
            words.integer(verdict["seeds"]),
            escape(words.short_reading(verdict["reading"])),
        )
    return table


def summary_line(document: Mapping[str, Any]) -> str:
    """``21 verdicts: 9 supported, 4 refuted, 7 inconclusive, 1 out of scope``, with networks and time."""
    counts = words.label_counts(document)
    return f"{words.count(sum(counts.values()), 'verdict')}: " + ", ".join(f"{n} {label}" for label, n in counts.items())
