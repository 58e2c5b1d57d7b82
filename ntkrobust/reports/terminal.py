"""Verdicts and comparisons in a terminal: a table and a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ntkrobust.errors import printable
from ntkrobust.reports import gap_figure, words

_STYLES = {"supported": "green", "refuted": "bold red", "flat": "blue", "inconclusive": "yellow", "out of scope": "dim"}

_NAMES = ("verdict", "effect [95 % interval]", "p", "n")
_WIDEST = 10_000
"""Columns in which any table finds room: how many one takes is asked for in so many."""


def verdict_table(document: Mapping[str, Any]) -> VerdictTable:
    """A line for each verdict; two where the terminal is too narrow for that, so that ids stay whole.

    Args:
        document: what ``verdicts.json`` holds.
    """
    return VerdictTable(document["values"]["verdicts"])


class VerdictTable:
    """A table that asks the terminal for its width when it is printed.

    Args:
        verdicts: as ``verdicts.json`` describes them.
    """

    def __init__(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        self.ids = words.telling_ids(verdicts)
        self.verdicts = verdicts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        wide = self.wide()
        fits = Measurement.get(console, options.update(max_width=_WIDEST), wide).maximum <= options.max_width
        yield wide if fits else self.narrow()

    def wide(self) -> Table:
        """A line for each verdict."""
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
        for name in ("claim", *_NAMES, "reading"):
            table.add_column(escape(name), no_wrap=True, justify="right" if name == "n" else "left")
        for name, verdict in zip(self.ids, self.verdicts, strict=True):
            table.add_row(_text(name), *_results(verdict), _text(words.short_reading(verdict)))
        return table

    def narrow(self) -> Group:
        """Two lines for each: what was judged in which reading, and what came out."""
        lines: list[RenderableType] = []
        for name, verdict in zip(self.ids, self.verdicts, strict=True):
            lines.append(f"{_text(name)} ({_text(words.short_reading(verdict))})")
            label, effect, p, n = _results(verdict)
            lines.append(Text.assemble("  ", label, "  ", Text.from_markup(effect), f"  p {p}  n {n}"))
        return Group(*lines)


def _results(verdict: Mapping[str, Any]) -> tuple[Text, str, str, str]:
    """Label, effect, p and n of a row."""
    label = Text(words.label(verdict), style=_STYLES[verdict["label"]])
    return label, _text(words.factor(verdict["effect"])), words.p_value(verdict["p_value"]), str(verdict["seeds"])


def _text(text: str) -> str:
    """A text as markup that shows it: nothing in the name of a claim is an instruction to the terminal."""
    return escape(printable(text))


def undecided_lines(document: Mapping[str, Any]) -> list[str]:
    """Why claims are undecided, and what number for ``--seeds`` would likely decide them; one line for each."""
    return [
        _text(f"{verdict['label']}: {verdict['claim']}: {verdict['reason']}")
        for verdict in document["values"]["verdicts"]
        if verdict["label"] in ("inconclusive", "out of scope")
    ]


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
            _text(f"counterexample to {verdict['claim']}: {where}: measured {words.number(cell['mean'], 6)}{against}"),
            _text(f"  {verdict['command']}"),
        ]
    return lines


def summary_line(document: Mapping[str, Any]) -> str:
    """``21 verdicts: 9 supported, 4 refuted, 7 inconclusive, 1 out of scope``."""
    counts = words.label_counts(document)
    return f"{words.count(sum(counts.values()), 'verdict')}: " + ", ".join(
        f"{n} {label}" for label, n in counts.items()
    )


def data_line(document: Mapping[str, Any]) -> str:
    """The data set, and which inputs it allows: ``data: digits, …; inputs in [0, 1]``."""
    data = document["inputs"]["data"]
    allowed = data.get("range")  # results need not tell
    return printable(f"data: {data['name']}" + (f"; {allowed}" if allowed else ""))


def size_line(document: Mapping[str, Any]) -> str:
    """How large inputs are, and how far classes lie apart; empty for results that don't tell."""
    return printable(document["inputs"]["data"].get("size", ""))


def several_table(document: Mapping[str, Any]) -> Table:
    """One row per claim, one column per data set, of what ``several.json`` holds."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("claim", overflow="fold")
    names = [one["name"] for one in document["inputs"]["data"]]
    for name in names:
        table.add_column(_text(name), overflow="fold")
    for row in document["values"]["claims"]:
        by_name = {one["data"]: one for one in row["on"]}
        cells = [by_name.get(name) for name in names]
        table.add_row(
            _text(row["claim"]),
            *(Text("–") if one is None else Text(one["label"], style=_STYLES[one["label"]]) for one in cells),
        )
    return table


def several_lines(document: Mapping[str, Any]) -> list[str]:
    """What data sets say together, for each claim on which they differ."""
    return [
        _text(f"{row['claim']}: {row['said']}")
        for row in document["values"]["claims"]
        if len({one["label"] for one in row["on"]}) > 1
    ]


def comparison_table(document: Mapping[str, Any]) -> Table:
    """One row per time and width of what ``comparison.json`` holds."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("step", "width", "networks", "theory", "measured", "gap ± s.e.", "without control variate"):
        table.add_column(name, no_wrap=True, justify="right")
    for one in document["values"]["times"]:
        for index, cell in enumerate(one["cells"]):
            gap, plain = (
                f"{cell['diverged']} diverged"
                if cell[name] is None
                else f"{words.signed(cell[name])} ± {words.number(cell[f'{name}_se'], 2)}"
                for name in ("gap", "plain_gap")
            )
            table.add_row(
                "" if index else str(one["step"]),
                str(cell["width"]),
                str(cell["networks"]),
                words.number(cell["theory"], 4),
                words.number(cell["measured"], 4),
                gap,
                plain,
            )
    return table


def comparison_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """For each time the verdict and the rates; then what both sides cost."""
    for one in document["values"]["times"]:
        yield f"step {one['step']}: {one['label']}; {gap_figure.in_words(one)}"
        for fit in one["fits"]:
            terms = ", ".join(
                f"{letter} = {words.estimate(part['value'], part['interval'])}"
                for letter, part in zip("abc", fit["coefficients"], strict=False)
            )
            p = "" if fit["p_value"] is None else f", χ² p = {words.p_value(fit['p_value'])}"
            yield f"  {gap_figure.formula(fit['exponents'])} from m = {fit['widths'][0]}: {terms}{p}"
        for name, text in (
            ("limit", "gap at infinite width"),
            ("two_point_slope", "slope between the two largest widths"),
            ("free_slope", "slope over the three largest widths"),
        ):
            if one[name] is not None:
                yield f"  {text}: {words.estimate(one[name]['value'], one[name]['interval'])}"
    seconds = document["values"]["seconds"]
    yield (
        f"theory took {words.number(seconds['theory'], 2)} s, networks {words.number(seconds['networks'], 2)} s "
        f"and their control variate {words.number(seconds['control_variate'], 2)} s; intervals are of 90 %"
    )
