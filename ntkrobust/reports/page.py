"""``report.html``: the verdicts of a folder as one page that needs nothing from outside."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ntkrobust.errors import InputError
from ntkrobust.files.atomic import named, reserved, write_text
from ntkrobust.reports import latex, palette, words
from ntkrobust.reports.facets import varying
from ntkrobust.reports.figures import overview_figure, verdict_figure
from ntkrobust.reports.marks import counts
from ntkrobust.reports.stored import NAMES, REPORT, Stored, check_folder, read_folder
from ntkrobust.reports.undrawn import Drawings, cause, tell
from ntkrobust.reports.words import LABELS

PROVENANCE = {
    "abstract": "read in the paper's abstract; the theorem may say more, or less",
    "paper text seen": "read in the text of the paper",
    "secondary": "as other papers quote it",
    "recollection": "from memory; the paper was not at hand",
    "derived here": "derived and documented in this package",
}

EVIDENCE_SNIPPET = """\
import json
from pathlib import Path
import xarray as xr

verdicts = json.loads(Path("verdicts.json").read_text(encoding="utf-8"))["values"]["verdicts"]
evidence = xr.open_datatree("evidence/evidence.nc", engine="h5netcdf")

verdict = verdicts[0]
cells = [cell["evidence_cell"] for cell in verdict["cells"]]
axes = list(verdict["cells"][0]["coordinates"])
values = evidence["measured"][verdict["measure"]["name"]].isel(cell=cells)
cube = values.set_index(cell=axes).unstack("cell")  # one dimension per axis, and one for the seeds
print(cube.isel(seed=slice(verdict["seeds"])).mean("seed"))
"""


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        text: all of it.
        undrawn: the figures that could not be drawn, each with its cause; sentences stand in their places.
    """

    text: str
    undrawn: Mapping[str, str]


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a folder that ``verify`` left, from what is stored there, and return its path.

    A figure that can't be drawn says so in its place, and in a :class:`~ntkrobust.errors.UndrawnWarning`.

    Raises:
        InputError: the folder does not hold a run, can't be drawn, or another run is writing to it.
        NotWrittenError: the report can't be written.
    """
    place = Path(folder)
    check_folder(place)
    with reserved(place, NAMES):
        stored = read_folder(place)
        try:
            page = render(stored)
        except Exception as error:  # what a file can hold that no schema thought of
            raise InputError(f"{named(place)} holds what can't be drawn ({cause(error)})") from error
        write_text(place / REPORT, page.text)
        tell(page.undrawn, place / REPORT)
    return place / REPORT


def render(stored: Stored) -> Page:
    """The page. The same input gives the same page, to the byte."""
    document = stored.document
    verdicts = document["values"]["verdicts"]
    drawings = Drawings()
    text = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            papers=words.by_paper(verdicts),
            verdicts=verdicts,
            inputs=document["inputs"],
            timing=document["timing"],
            networks=words.networks_used(document),
            points_used=words.points_used(document, _training_sizes(stored.evidence["measured"].to_dataset())),
            environment=document["environment"],
            started=datetime.fromisoformat(document["timing"]["started"]),
            label_counts=words.label_counts(document),
            run=document.get("run"),
            overview=_inline(drawings.draw("the overview", lambda: overview_figure(document))),
            figures={
                verdict["claim"]: _inline(
                    drawings.draw(verdict["claim"], functools.partial(verdict_figure, verdict, stored.evidence))
                )
                for verdict in verdicts
            },
            level=verdicts[0]["level"],
            labels=LABELS,
            provenance=PROVENANCE,
            snippet=EVIDENCE_SNIPPET,
            light=Markup(palette.style_variables(dark=False)),
            dark=Markup(palette.style_variables(dark=True)),
        )
    )
    return Page(text, drawings.undrawn)


def _training_sizes(measured: xr.Dataset) -> list[int]:
    """How many training points the trained networks saw, every number once."""
    if "n" not in measured.coords or "time" not in measured.coords or "step" not in measured:
        return []
    drawn = measured["step"].notnull().any("seed").to_numpy()
    trained = drawn & (measured["time"].to_numpy() != "initialization")
    return sorted({int(n) for n in measured["n"].to_numpy()[trained]})


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ntkrobust.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(words, name)
        for name in (
            "number", "estimate", "factor", "p_value", "integer", "duration", "count", "coordinates", "ranges",
            "axis_name", "axis_value", "short_reading", "base_id", "stated_name",
        )
    }  # fmt: skip
    environment.filters |= {
        "latex": latex.statement_html,
        "formula": latex.formula_html,
        "quantity": _quantity,
        "subscripts": _subscripts,
        "breakable": _breakable,
        "colour_name": palette.colour_name,
        "stated_in_words": words.relation,
        "varying": varying,
        "counts": counts,
        "checked": _checked,
    }
    environment.globals["symbols"] = palette.SYMBOLS
    return environment


def _quantity(verdict: Mapping[str, Any]) -> Markup:
    """What was measured: the left-hand side of its definition, or its name."""
    measure = verdict["measure"]
    sign = latex.symbol(measure["definition"])
    return latex.formula_html(sign) if sign else escape(words.axis_name(measure["name"]))


def _breakable(name: str) -> Markup:
    """A claim's name, which may go on in another line behind a slash."""
    return Markup("/<wbr>").join(name.split("/"))


def _subscripts(text: str) -> Markup:
    """``λ_max`` and ``κ_t`` as they are meant."""
    return Markup(re.sub(r"([α-ω])_(\w+)", r"\1<sub>\2</sub>", str(escape(text))))


def _checked(cells: list[Mapping[str, Any]]) -> list[str]:
    """The measures that the assumptions looked at."""
    return list(dict.fromkeys(name for cell in cells for name in cell["checked"]))


def _inline(svg: str) -> Markup:
    return Markup(palette.themed(svg))
