"""The command ``power``."""

from __future__ import annotations

from typing import Literal

from ntkrobust.cli.arguments import NumberIfAny, Whole, WholeIfAny
from ntkrobust.cli.cache import use_compilation_cache
from ntkrobust.cli.output import console, progress_bar


def power(
    *claims: str,
    preset: Literal["quick", "standard", "paper"] = "quick",
    data: str = "digits",
    seeds: WholeIfAny = None,
    points: Whole = 64,
    cv: NumberIfAny = None,
) -> None:
    """What `verify` will be able to show with so many networks, before they are trained.

    Parameters
    ----------
    claims
        As of `verify`.
    preset
        As of `verify`.
    data
        As of `verify`.
    seeds
        Networks per trained cell. 16, 32 or 64 by preset.
    points
        As of `verify`.
    cv
        Standard deviation over mean between the networks of a cell; by default seen on 12 networks in two cells.
    """
    from rich.markup import escape
    from rich.table import Table

    from ntkrobust.bounds.verdicts import POWER
    from ntkrobust.workflows.power import power as run_power

    use_compilation_cache()
    with progress_bar() as progress:
        found = run_power(
            list(claims) or None, data=data, preset=preset, seeds=seeds, points=points, cv=cv, progress=progress
        )
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("claim", "networks", "CV", "if true, supported from", "if false, refuted from"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for one in found:
        spread = "–" if one.cv is None else f"{one.cv:.2g}"
        table.add_row(escape(one.claim.id), str(one.networks), spread, one.supported, one.refuted)
    console(160).print(table)
    print(f"each with probability {POWER:g}, on {len(found)} claim{'s' * (len(found) > 1)} judged together")
