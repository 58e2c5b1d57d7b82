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
    effect: NumberIfAny = None,
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
    effect
        A factor above 1: how many `--seeds` would show a claim that is true by so much? (The change over the range of a
        trend, what is left to a bound, the margin of an equality.)
    """
    from rich.markup import escape
    from rich.table import Table

    from ntkrobust.bounds.verdicts import POWER
    from ntkrobust.errors import printable
    from ntkrobust.studies.progress import duration
    from ntkrobust.workflows.power import power as run_power

    use_compilation_cache()
    with progress_bar() as progress:
        found = run_power(
            list(claims) or None, data=data, preset=preset, seeds=seeds, points=points, cv=cv, effect=effect,
            progress=progress,
        )  # fmt: skip
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    wished = [] if effect is None else [f"seeds for ×{effect:g}"]
    for name in ("claim", "networks", "takes", "CV", "if true, supported from", "if false, refuted from", *wished):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for one in found:
        spread = "–" if one.cv is None else f"{one.cv:.2g}"
        takes = "–" if one.seconds is None else duration(one.seconds)
        seeds_for = [] if effect is None else ["–" if one.seeds_needed is None else str(one.seeds_needed)]
        table.add_row(escape(one.claim.id), str(one.networks), takes, spread, one.supported, one.refuted, *seeds_for)
    console(200).print(table)
    print(f"each with probability {POWER:g}, on {len(found)} claim{'s' * (len(found) > 1)} judged together")
    for design in dict.fromkeys(one.claim.design for one in found if one.claim.design):
        print(printable(f"design: {design}"))
