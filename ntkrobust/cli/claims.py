"""The command ``claims``."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from ntkrobust.cli.output import print_json


def list_claims(
    *, preset: Literal["quick", "standard", "paper"] = "quick", as_json: Annotated[bool, Parameter("--json")] = False
) -> None:
    """List the claims that `verify` knows, each with its reading and provenance.

    Parameters
    ----------
    preset
        Whose grids to show.
    as_json
        Print one JSON object.
    """
    from ntkrobust.bounds.papers.catalogue import catalogue

    known = catalogue(preset)
    if as_json:
        print_json({"preset": preset}, {"claims": [claim.describe() for claim in known]})
        return
    rows = [("claim", "says", "reading", "known from")]
    for claim in known:
        reading = claim.describe()["reading"]["text"]
        rows.append((claim.id, f"{claim.measure_name} {claim.relation}", reading, claim.provenance))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Plain lines: ids are there to be copied and searched, so nothing is wrapped or cut.
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
