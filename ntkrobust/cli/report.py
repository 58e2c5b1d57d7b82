"""The command ``report``."""

from __future__ import annotations

from ntkrobust.files.atomic import named


def report(folder: str) -> None:
    """Write the report again from stored evidence.

    Parameters
    ----------
    folder
        What `verify --out` wrote.
    """
    from ntkrobust.reports.page import write_report

    print(named(write_report(folder)))
