"""The command ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ntkrobust.cli.verify import print_figures
from ntkrobust.errors import InputError
from ntkrobust.files.atomic import named


def report(folder: str, *, figures: Literal["pdf", "svg", "png"] | None = None) -> None:
    """Write the report again from what is stored, or draw the figure of a comparison again.

    A figure of the report that can't be drawn says so in its place; all else is written, and the exit status is 3.

    Parameters
    ----------
    folder
        What `verify --out`, `sweep --out` or `compare --out` wrote.
    figures
        Write the figure of each claim into figures/ of the folder, too.
    """
    from ntkrobust.files.atomic import place_of
    from ntkrobust.reports.comparison_files import COMPARISON, write_figure
    from ntkrobust.reports.page import write_report
    from ntkrobust.reports.stored import VERDICTS

    place = Path(folder)
    if (place / "sweep.json").is_file() and not place_of(place, VERDICTS).exists():
        from ntkrobust.workflows.sweep import write_sweep_report

        if figures is not None:
            raise InputError(f"{named(place)} holds a sweep, which has no figure of a claim")
        print(named(write_sweep_report(place)))
        return
    is_comparison = place.is_dir() and place_of(place, COMPARISON).is_file() and not place_of(place, VERDICTS).exists()
    if is_comparison and figures is not None:
        raise InputError(f"{named(place)} holds a comparison, whose one figure is {named(place)}/comparison.svg")
    print(named(write_figure(place) if is_comparison else write_report(place)))
    if figures is not None:
        print_figures(folder, figures)
