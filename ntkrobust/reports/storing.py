"""Writing what a verification found: one run's files appear together or not at all, and carry one identity.

``verdicts.json`` holds the id of the run and the digest of ``evidence/evidence.nc``; that holds the id and the
digest of what ``verdicts.json`` says; ``report.html`` holds the id. Readers check them: see
:func:`~ntkrobust.reports.stored.read_folder`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import xarray as xr

from ntkrobust.errors import NotWrittenError
from ntkrobust.files.atomic import named, write_text, write_together
from ntkrobust.reports.page import render
from ntkrobust.reports.stored import EVIDENCE, REPORT, VERDICTS, Stored, digest
from ntkrobust.reports.undrawn import cause, tell, warn


def store(document: Mapping[str, Any], evidence: xr.DataTree, folder: Path) -> dict[str, Any]:
    """Write ``verdicts.json``, ``evidence/evidence.nc`` and ``report.html``; to be called inside
    :func:`~ntkrobust.files.atomic.reserved`.

    The numbers come first, with a page of words; then the page is drawn. What can't be drawn says so in its place, and
    in a :class:`~ntkrobust.errors.UndrawnWarning`; where that is the page as a whole, the one of words stays.

    Args:
        document: what ``verdicts.json`` is to hold, with the id of its run.
        evidence: everything measured.
        folder: the folder.

    Returns:
        What ``verdicts.json`` holds.

    Raises:
        NotWrittenError: the files can't be written, and what was there still is; or the page can't.
    """
    content, evidence_content = sealed(document, evidence)
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    files = {EVIDENCE: evidence_content, VERDICTS: f"{text}\n".encode(), REPORT: _page_of_words(content).encode()}
    write_together(folder, files)
    try:
        page = render(Stored(content, evidence))
    except Exception as error:  # whatever it is, the numbers are there
        warn(f"{named(folder / REPORT)} says the verdicts in words, as it could not be drawn ({cause(error)})", folder)
        return content
    try:
        write_text(folder / REPORT, page.text)
    except NotWrittenError as error:
        raise NotWrittenError(f"{error}; the verdicts and the evidence are there") from None
    tell(page.undrawn, folder / REPORT)
    return content


def sealed(document: Mapping[str, Any], evidence: xr.DataTree) -> tuple[dict[str, Any], bytes]:
    """What ``verdicts.json`` is to hold, and the bytes of the evidence: each with the digest of the other."""
    signed = evidence.copy()
    signed.attrs |= {"run": document["run"]["id"], "verdicts_sha256": digest(document)}
    content = _netcdf(signed)
    run = {**document["run"], "evidence_sha256": hashlib.sha256(content).hexdigest()}
    return {**document, "run": run}, content


def _netcdf(evidence: xr.DataTree) -> bytes:
    """The evidence as netCDF.

    It is made in memory: HDF5 that meets a full disk fails again whenever the file is closed, at last as the
    interpreter ends, which that doesn't survive.
    """
    # Cells with few networks are padded with NaN, which takes next to no room once compressed.
    encoding = {
        f"/{name}": {variable: {"zlib": True, "complevel": 4} for variable in group.data_vars}
        for name, group in evidence.children.items()
    }
    return bytes(evidence.to_netcdf(None, engine="h5netcdf", encoding=encoding))


def _page_of_words(document: Mapping[str, Any]) -> str:
    """What stands for the report until it is drawn."""
    rows = "".join(
        f"<tr><td>{escape(one['claim'])}</td><td>{escape(one['label'])}</td><td>{escape(one['reason'])}</td></tr>\n"
        for one in document["values"]["verdicts"]
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="ntkrobust-run" content="{document["run"]["id"]}">
<title>ntkrobust</title>
</head>
<body>
<p>The verdicts of this run. Its figures are not drawn yet: <code>ntkrobust report DIR</code> draws them.</p>
<table>
{rows}</table>
</body>
</html>
"""
