"""The page of a sweep: every cell with its means, from the table of what is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from ntkrobust.reports import palette

MOST_ROWS = 2000
"""Cells that the page shows; the table has all."""

_STATE = ("loss", "step", "gradient_flow_time", "learning_rate", "diverged")


def sweep_page(table: xr.Dataset, counts: Mapping[str, int], failures: Sequence[tuple[str, str]]) -> str:
    """The page as text. Whatever is stored is shown as text.

    Args:
        table: dimensions ``cell`` and ``seed``; see :func:`ntkrobust.open_study`.
        counts: state → number of cells.
        failures: of each cell that failed, what it is, and why.
    """
    axes = [str(name) for name, one in table.coords.items() if one.dims == ("cell",) and _varies(one.to_numpy())]
    axes = [name for name in axes if name not in ("cell", "cell_sha256")]
    measures = [str(name) for name, one in table.data_vars.items() if "seed" in one.dims and str(name) not in _STATE]
    columns = {name: table[name].to_numpy() for name in axes}
    means = {name: _means(table[name].to_numpy()) for name in measures}
    networks = np.sum(np.isfinite(table["step"].to_numpy()), axis=1) if table.sizes.get("cell") else np.empty(0)
    rows = (
        [
            *(_shown(columns[name][row]) for name in axes),
            str(int(networks[row])),
            *(means[name][row] for name in measures),
        ]
        for row in range(min(table.sizes.get("cell", 0), MOST_ROWS))
    )
    states = ", ".join(f"{number} {name}" for name, number in counts.items()) or "no cells"
    more = table.sizes.get("cell", 0) - MOST_ROWS
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>ntkrobust sweep</title>
<style>
:root {{ {palette.style_variables(dark=False)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {palette.style_variables(dark=True)} }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: var(--ink); background: var(--paper); }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .2rem .8rem .2rem 0; text-align: left; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>Sweep</h1>
<p>Cells: {escape(states)}. Numbers are means over networks ± one standard error.</p>
{_table(["cell that failed", "why"], failures) if failures else ""}
{_table([*axes, "networks", *measures], rows)}
{f"<p>{more} more cells are in the table that <code>ntkrobust.open_study</code> gives.</p>" if more > 0 else ""}
</body>
</html>
"""


def _table(head: Sequence[str], rows: Any) -> str:
    first = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(one)}</td>" for one in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{first}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _varies(values: np.ndarray) -> bool:
    return len({_shown(one) for one in values.tolist()}) > 1


def _shown(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else f"{value:g}"
    return str(value)


def _means(values: np.ndarray) -> list[str]:
    """Per cell mean ± standard error over the networks that there are."""
    found = []
    for row in values:
        finite = row[np.isfinite(row)]
        if not len(finite):
            found.append("")
        elif len(finite) == 1:
            found.append(f"{finite[0]:.4g}")
        else:
            found.append(f"{np.mean(finite):.4g} ± {np.std(finite, ddof=1) / math.sqrt(len(finite)):.2g}")
    return found
