"""Verdicts in a terminal: a table and a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ntkrobust.reports import words

_STYLES = {"supported": "green", "refuted": "bold red", "inconclusive": "yellow", "out of scope": "dim"}


def verdict_table(document: Mapping[str, Any]) -> Table:
    """One row per verdict. Fits 120 columns; in fewer, long ids are cut.

    Args:
        document: what ``verdicts.json`` holds.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("claim", overflow="ellipsis")  # the one column that gives way
    for name in ("verdict", "effect [95 % interval]", "p"):
        table.add_column(escape(name), no_wrap=True)
    table.add_column("n", no_wrap=True, justify="right")
    table.add_column("reading", no_wrap=True)
    for verdict in document["values"]["verdicts"]:
        table.add_row(
            escape(words.base_id(verdict["claim"])),
            Text(verdict["label"], style=_STYLES[verdict["label"]]),
            escape(words.factor(verdict["effect"])),
            words.p_value(verdict["p_value"]),
            str(verdict["seeds"]),
            escape(words.short_reading(verdict["reading"])),
        )
    return table


def counterexample_lines(document: Mapping[str, Any]) -> list[str]:
    """Where claims fail, and the command that draws the same networks again; two lines for each."""
    lines = []
    for verdict in document["values"]["verdicts"]:
        if verdict["counterexample"] is None:
            continue
        (cell,) = (cell for cell in verdict["cells"] if cell["coordinates"] == verdict["counterexample"])
        stated = words.stated_name(verdict["relation"])
        against = "" if stated is None or not cell["reference"] else f", {stated} {words.number(cell['reference'], 6)}"
        where = words.coordinates(cell["coordinates"].items())
        lines += [
            escape(f"counterexample to {verdict['claim']}: {where}: measured {words.number(cell['mean'], 6)}{against}"),
            escape(f"  {verdict['command']}"),
        ]
    return lines


def summary_line(document: Mapping[str, Any]) -> str:
    """``21 verdicts: 9 supported, 4 refuted, 7 inconclusive, 1 out of scope``."""
    counts = words.label_counts(document)
    return f"{words.count(sum(counts.values()), 'verdict')}: " + ", ".join(
        f"{n} {label}" for label, n in counts.items()
    )
