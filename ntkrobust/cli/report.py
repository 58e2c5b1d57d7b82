"""The command ``report``."""

from __future__ import annotations

from pathlib import Path

from ntkrobust.files.atomic import named


def report(folder: str) -> None:
    """Write the report again from what is stored, or draw the figure of a comparison again.

    A figure of the report that can't be drawn says so in its place; all else is written, and the exit status is 3.

    Parameters
    ----------
    folder
        What `verify --out`, `sweep --out` or `compare --out` wrote.
    """
    from ntkrobust.files.atomic import place_of
    from ntkrobust.reports.comparison_files import COMPARISON, write_figure
    from ntkrobust.reports.page import write_report
    from ntkrobust.reports.stored import VERDICTS

    place = Path(folder)
    if (place / "sweep.json").is_file() and not place_of(place, VERDICTS).exists():
        from ntkrobust.workflows.sweep import write_sweep_report

        print(named(write_sweep_report(place)))
        return
    is_comparison = place.is_dir() and place_of(place, COMPARISON).is_file() and not place_of(place, VERDICTS).exists()
    print(named(write_figure(place) if is_comparison else write_report(place)))
