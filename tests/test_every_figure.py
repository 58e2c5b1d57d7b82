"""A run never dies of its report: whatever the cells hold its figures can be drawn; one that can't be says so.

Combinations of relation, label and kind of cell are drawn by hypothesis; ``-m slow`` draws them all.
"""

import dataclasses
import itertools
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import ntkrobust as ntr
from ntkrobust.bounds.verdicts import CellSample, Effect, Verdict
from ntkrobust.bounds.verdicts.types import LABELS
from ntkrobust.cli import run as run_command
from ntkrobust.finite.measures.catalogue import MEASURES
from ntkrobust.reports import comparison_files, page, schema, storing
from ntkrobust.reports.figures import comparison_figure, overview_figure, verdict_figure
from ntkrobust.reports.notebook import verdicts_html
from ntkrobust.reports.page import render, write_report
from ntkrobust.reports.stored import Stored
from ntkrobust.reports.terminal import counterexample_lines, undecided_lines, verdict_table
from ntkrobust.studies.evidence import describe

WIDTHS = (32, 64, 128, 256, 512)
EVIL = '<script>alert("1")</script>&$x_{$[bold]'
LONG = "gains(2.0,2.0,1.0)+" * 12


def one() -> float:
    return 1.0


RELATIONS = (
    ntr.Equals(one, 0.1),
    ntr.AtMost(one),
    ntr.AtLeast(one),
    ntr.OrderAtMost(one),
    ntr.OrderAtLeast(one),
    ntr.IncreasesIn("width"),
    ntr.DecreasesIn("width", 0.02, flat=0.1),
    ntr.RisesThenFalls("width", at=one),
    ntr.FallsThenRises("width", 0.1),
    ntr.ScalesAs("width", -0.04, margin=0.02),
    ntr.ScalesAs("width", 0.3, 0.1, "neighbours"),
)

EFFECTS = (
    None,
    Effect("width 32 → 512:", 1.2, 1.1, 1.3),
    Effect("exponent of width", -0.1, -0.2, 0.1, 0.998),
    Effect("width 32 → 512:", math.inf, 0.0, math.inf),
    Effect("width 32 → 512:", 1e300, 1e-300, math.inf),
    Effect("measured/bound, worst cell", 0.0, 0.0, 0.0),
    Effect("measured/stated, worst cell", -1.0, -2.0, -0.5),
    Effect("measured/stated, worst cell", math.nan, math.nan, math.nan),
)


def kinds_of_values() -> dict[str, list]:
    """What the networks of five cells may have given."""
    rng = np.random.default_rng(0)
    usual = [rng.lognormal(0, 0.2, 16) * (1 + 0.1 * k) for k in range(5)]
    return {
        "usual": usual,
        "nothing drawn": [[]] * 5,
        "all equal": [[1.0] * 16] * 5,
        "all zero": [[0.0] * 16] * 5,
        "some zero": [[0.0] * 16, *usual[1:]],
        "infinite": [[np.inf] * 16, *usual[1:]],
        "all infinite": [[np.inf] * 16] * 5,
        "one infinite network": [[*values[:-1], np.inf] for values in usual],
        "not a number": [[np.nan] * 16] * 5,
        "negative": [-values for values in usual],
        "both signs": [values - 1 for values in usual],
        "one network": [values[:1] for values in usual],
        "two networks": [values[:2] for values in usual],
        "thousands": [rng.lognormal(0, 0.2, 5000)] * 5,
        "tiny": [values * 1e-300 for values in usual],
        "huge": [values * 1e300 for values in usual],
        "from tiny to huge": [values * 10.0 ** (150 * k - 300) for k, values in enumerate(usual)],
        "subnormal": [[5e-324, 1e-323, 5e-324]] * 5,
        "nearly equal": [1 + 1e-15 * values for values in usual],
    }


VALUES = kinds_of_values()
"""Kind → values (cell, network)."""

SCOPES = {
    "in scope": {},
    "none in scope": {"in_scope": False},
    "unusable": {"problem": f"4 of 16 networks diverged {EVIL}"},
    "checked": {"in_scope": False, "checked": {"lazy_ratio": 0.3, "kernel_change": math.inf}},
}

STATED = (None, 1.0, 0.0, -2.0, 1e-300, 1e300, math.inf, math.nan)
"""Values of a bound or of a theory line."""

GRIDS = {
    "one axis": ({"width": WIDTHS},),
    "one cell": ({"width": WIDTHS[:1]},),
    "facets": ({"initialization": ("he", "lecun", "ntk"), "width": WIDTHS},),
    "panels": ({"initialization": ("he", "lecun"), "depth": (2, 3), "width": WIDTHS[:3]},),
    "many facets": (
        {"initialization": tuple(f"gains({k})" for k in range(9)), "depth": (2, 3, 4), "width": WIDTHS[:2]},
    ),
    "long names": ({"initialization": (LONG, LONG + "2"), "width": WIDTHS[:2]},),
    "HTML in names": ({"initialization": (EVIL, "he"), "width": WIDTHS},),
    "axes without a value": ({"bias_std": (None, 0.0, 1.0), "width": WIDTHS[:2]},),
    "fractions": ({"width": (0.5, 1.0, 1e6)},),
    "from zero": ({"width": (0, 1, 2)},),
    "many values": ({"width": tuple(range(1, 40))},),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A verdict to draw, by the names of its parts."""

    relation: int
    label: str
    values: str
    scope: str
    grid: str
    reference: float | None
    theory: float | None
    effect: int
    mixed: bool
    name: str = "test/one"

    def verdict(self) -> Verdict:
        relation = RELATIONS[self.relation]
        label = "inconclusive" if self.label == "flat" and getattr(relation, "flat", None) is None else self.label
        (grid,) = GRIDS[self.grid]
        places = [{"depth": 2} | dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        values, scope = VALUES[self.values], SCOPES[self.scope]
        cells = tuple(
            CellSample(
                place, np.asarray(values[index % 5], dtype=float), self.reference, theory=self.theory,
                # Mixed: every other cell is as usual.
                **({} if self.mixed and index % 2 else scope),
            )
            for index, place in enumerate(places)
        )  # fmt: skip
        claim = ntr.Claim(
            self.name,
            f"of {EVIL}",
            relation,
            "jacobian_frobenius",
            {"depth": (2,), "width": WIDTHS},
            theory_label=f"a law {EVIL}",
        )
        scales = isinstance(relation, ntr.ScalesAs)
        return Verdict(
            claim, label, "as seen", EFFECTS[self.effect], 0.1, cells, 16, 8, command=f"ntkrobust {EVIL}",
            counterexample=cells[-1] if label == "refuted" else None, exponent=EFFECTS[2] if scales else None,
        )  # fmt: skip


def documented(drawn: list[Drawn]) -> tuple[dict, xr.DataTree]:
    """What a run with these verdicts leaves."""
    verdicts = [one.verdict() for one in drawn]
    cells = [cell for verdict in verdicts for cell in verdict.cells]
    table = np.full((len(cells), max(1, *(len(cell.values) for cell in cells))), np.nan)
    for row, cell in enumerate(cells):
        table[row, : len(cell.values)] = cell.values
    evidence = xr.DataTree.from_dict({"measured": xr.Dataset({"jacobian_frobenius": (("cell", "seed"), table)})})
    described, first = [], 0
    for verdict in verdicts:
        positions = range(first, first + len(verdict.cells))
        described.append(describe(verdict, MEASURES["jacobian_frobenius"], positions))
        first += len(verdict.cells)
    number = {"drawn": len(cells), "trained": 0}
    document = {
        "schema_version": 1,
        "inputs": {
            "claims": [one.name for one in drawn],
            "data": {"name": f"data {EVIL}", "n": 10, "d": 4, "o": 1, "n_test": 8},
            "preset": "quick", "seeds": 16, "looks": [16], "points": 8, "key": [0, 0],
        },
        "values": {"verdicts": described, "networks": {"used": number, "planned": number}},
        "environment": {"ntkrobust": "0.1.0", "devices": "1 × cpu (cpu)"},
        "timing": {"started": "2026-11-22T17:27:14+00:00", "seconds": 0.0, "cells": len(cells)},
    }  # fmt: skip
    # It is what `verify` may write, through JSON.
    document = json.loads(json.dumps(document, allow_nan=False))
    assert schema.problem_of(document) is None
    return document, evidence


def well_formed(svg: str) -> None:
    """A picture that any reader takes, whose coordinates are all numbers."""
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for element in root.iter():
        for attribute in ("d", "x", "y", "width", "height", "viewBox"):
            assert not re.search(r"nan|inf", element.get(attribute, ""), re.IGNORECASE)
        assert "script" not in element.tag


def check(drawn: Drawn) -> None:
    """The figure, and what is said of it in a terminal and in a notebook."""
    document, evidence = documented([drawn])
    (verdict,) = document["values"]["verdicts"]
    well_formed(verdict_figure(verdict, evidence))
    console = Console(file=None, width=100, quiet=True)
    console.print(verdict_table(document))
    for line in [*undecided_lines(document), *counterexample_lines(document)]:
        console.print(line)


DRAWN = st.builds(
    Drawn,
    relation=st.integers(0, len(RELATIONS) - 1),
    label=st.sampled_from(LABELS),
    values=st.sampled_from(sorted(VALUES)),
    scope=st.sampled_from(sorted(SCOPES)),
    grid=st.sampled_from(sorted(GRIDS)),
    reference=st.sampled_from(STATED),
    theory=st.sampled_from(STATED),
    effect=st.integers(0, len(EFFECTS) - 1),
    mixed=st.booleans(),
)


@settings(deadline=None, max_examples=30)
@given(drawn=DRAWN)
def test_every_figure_can_be_drawn(drawn):
    check(drawn)


@pytest.mark.slow
@pytest.mark.parametrize("relation", range(len(RELATIONS)))
def test_every_figure_of_every_kind_can_be_drawn(relation):
    # All kinds of cells under all labels; grids, scopes, bounds and effects take turns at their own pace.
    turn = itertools.count(relation)
    for label, values in itertools.product(LABELS, VALUES):
        k = next(turn)
        grids, scopes = [name for name in GRIDS if not name.startswith("many")], list(SCOPES)
        check(
            Drawn(
                relation, label, values, scopes[k % 7 % 4], grids[k % len(grids)], STATED[k % 8], STATED[k // 3 % 8],
                k // 5 % len(EFFECTS), k % 3 == 0,
            )
        )  # fmt: skip


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)


def variety(labels: tuple[str, ...] = LABELS) -> list[Drawn]:
    """A few verdicts that differ in everything."""
    kinds, grids, scopes = ["usual", "nothing drawn", "all zero", "infinite", "thousands"], list(GRIDS), list(SCOPES)
    return [
        Drawn(2 * k, label, kinds[k], scopes[k % 4], grids[(3 * k + 6) % len(grids)], STATED[k], STATED[(k + 5) % 8],
              (k + 3) % len(EFFECTS), k == 3, f"paper{k % 2}/{k}{EVIL if k else LONG}")
        for k, label in enumerate(labels)
    ]  # fmt: skip


def test_a_page_and_a_notebook_hold_them_all():
    document, evidence = documented(variety())
    made = render(Stored(document, evidence))
    assert made.undrawn == {}
    assert "could not be drawn" not in made.text
    assert made.text.count('class="claim') == len(LABELS)
    assert {"script", "bold"}.isdisjoint(Tags(made.text).seen)
    shown = verdicts_html(document["values"]["verdicts"], evidence)
    assert "could not be drawn" not in shown
    assert "script" not in Tags(shown).seen


@settings(deadline=None, max_examples=10)
@given(
    effects=st.lists(st.integers(0, len(EFFECTS) - 1), min_size=1, max_size=5),
    label=st.sampled_from(LABELS),
)
def test_every_overview_can_be_drawn(effects, label):
    drawn = [Drawn(5, label, "usual", "in scope", "one cell", 1.0, None, effect, False, f"{EVIL}/{k}")
             for k, effect in enumerate(effects)]  # fmt: skip
    well_formed(overview_figure(documented(drawn)[0]))


GAPS = st.sampled_from((None, 0.0, 0.25, -0.25, 1e-300, -1e300, 1e300, 1.0))
ERRORS = st.sampled_from((0.0, 0.01, 1e-300, 1e300))


@st.composite
def comparisons(draw):
    """What ``comparison.json`` may hold."""
    widths = draw(st.sampled_from(((8, 16, 32), (1, 2, 3), tuple(2**k for k in range(20)))))
    times = []
    for step in range(draw(st.integers(1, 3))):
        cells = []
        for width in widths:
            gap, se = draw(GAPS), draw(ERRORS)
            gone = gap is None
            cells.append({"width": width, "gap": gap, "gap_se": None if gone else se, "plain_gap": gap,
                          "plain_gap_se": None if gone else se})  # fmt: skip
        number = {"value": draw(st.sampled_from((0.0, 2.0, -3.0, 1e300))), "interval": [-1.0, 1.0]}
        fit = {"widths": list(widths), "exponents": [1.0, 2.0], "coefficients": [number, number],
               "local_slope": draw(st.sampled_from((None, number))), "p_value": None}  # fmt: skip
        label = draw(st.sampled_from(("closes", "no gap seen", "not resolved")))
        times.append({"step": step, "label": label, "cells": cells, "fits": draw(st.sampled_from(([], [fit])))})
    inputs = {"network": f"MLP {EVIL}", "kinked": draw(st.booleans()), "widths": list(widths)}
    return {"schema_version": 1, "run": {"id": f"{1:016x}"}, "inputs": inputs, "values": {"times": times}}


@settings(deadline=None, max_examples=12)
@given(document=comparisons())
def test_every_comparison_can_be_drawn(document):
    well_formed(comparison_figure(document))


# Planted: what draws a figure raises.

CLAIMS = """
import ntkrobust as ntr

rises, falls = (
    ntr.Claim(f"mine/{relation.__name__}", "of a formula", relation("width"),
              ntr.Quantity("formula", lambda width: float(width)), {"depth": (2,), "width": (8, 16, 32)})
    for relation in (ntr.IncreasesIn, ntr.DecreasesIn)
)
"""


@pytest.fixture
def claims_file(tmp_path):
    (tmp_path / "claims.py").write_text(CLAIMS, encoding="utf-8")
    return str(tmp_path / "claims.py")


@pytest.mark.parametrize("fault", [RuntimeError("planted\nin two lines <b>"), MemoryError()])
def test_a_drawing_that_raises_is_told_and_the_rest_is_whole(fault, claims_file, tmp_path, capsys, monkeypatch):
    out = tmp_path / "a folder"
    seen = {}

    def planted(verdict, evidence):
        if verdict["claim"] != "mine/IncreasesIn":
            return verdict_figure(verdict, evidence)
        # The table is out and the numbers are on the disk before the first picture.
        seen["printed"] = capsys.readouterr().out
        seen["files"] = sorted(path.name for path in out.rglob("*.*") if not path.name.startswith("."))
        raise fault

    monkeypatch.setattr(page, "verdict_figure", planted)
    assert run_command(["verify", claims_file, "--data", "sphere", "--out", str(out)]) == 3
    assert "2 verdicts: 1 supported, 1 refuted" in seen["printed"]
    assert seen["files"] == ["evidence.nc", "report.html", "verdicts.json"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"mine/IncreasesIn ({type(fault).__name__}" in said
    assert f"`ntkrobust report '{out}'` draws again" in said
    assert "mine/DecreasesIn" not in said
    text = (out / "report.html").read_text(encoding="utf-8")
    sentence = f"This figure could not be drawn ({type(fault).__name__}"
    assert text.count(sentence) == 1
    lacking = text.index(sentence)
    assert text.index('id="claim:mine/IncreasesIn"') < lacking < text.index('id="claim:mine/DecreasesIn"')

    # The same command still fails and says so; without the fault it draws the figure, and nothing else is changed.
    assert run_command(["report", str(out)]) == 3
    assert "mine/IncreasesIn" in capsys.readouterr().err
    monkeypatch.undo()
    assert run_command(["report", str(out)]) == 0
    assert capsys.readouterr() == (f"{out}/report.html\n", "")
    whole = (out / "report.html").read_text(encoding="utf-8")
    assert "could not be drawn" not in whole
    assert whole.startswith(text[: text.index('<p class="undrawn">')])
    assert whole.endswith(text[lacking:].partition("</p>")[2])


def test_an_overview_and_formulas_that_raise_leave_the_rest(claims_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(page, "overview_figure", lambda _: 1 / 0)
    monkeypatch.setattr("ntkrobust.reports.latex.TextPath", lambda *_, **__: 1 / 0)
    assert run_command(["verify", claims_file, "--data", "sphere", "--out", str(tmp_path)]) == 3
    assert (
        "lacks what could not be drawn: the overview (ZeroDivisionError: division by zero);" in capsys.readouterr().err
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("could not be drawn") == 1
    assert text.count("<svg") == 2


def test_all_figures_that_raise_are_named(monkeypatch, tmp_path, recwarn):
    monkeypatch.setattr(page, "verdict_figure", lambda *_: 1 / 0)
    document, evidence = documented(variety())
    made = render(Stored(document, evidence))
    assert list(made.undrawn) == [verdict["claim"] for verdict in document["values"]["verdicts"]]
    assert made.text.count("could not be drawn") == len(LABELS)


def test_in_python_a_warning_says_it_and_verdicts_are_returned(claims_file, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "verdict_figure", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="mine/IncreasesIn, mine/DecreasesIn"):
        found = ntr.verify(claims_file, data="sphere", out=tmp_path / "out")
    assert [one.label for one in found] == ["supported", "refuted"]
    monkeypatch.undo()
    assert "could not be drawn" not in write_report(tmp_path / "out").read_text(encoding="utf-8")
    monkeypatch.setattr("ntkrobust.reports.notebook.verdict_figure", lambda *_: 1 / 0)
    assert found._repr_html_().count("could not be drawn") == 2
    assert found[0]._repr_html_().count("could not be drawn") == 1


def test_a_comparison_whose_figure_raises_is_told(tmp_path, capsys, monkeypatch):
    cells = [{"width": w, "gap": 0.2, "gap_se": 0.01, "plain_gap": 0.2, "plain_gap_se": 0.02} for w in (8, 16, 32)]
    times = [{"step": 0, "label": "closes", "cells": cells, "fits": []}]
    inputs = {"network": "MLP(2)", "kinked": True, "widths": [8, 16, 32]}
    document = {"schema_version": 1, "run": {"id": f"{1:016x}"}, "inputs": inputs, "values": {"times": times}}
    monkeypatch.setattr("ntkrobust.workflows.compare._compared", lambda *_, **__: ntr.Comparison(document))
    seen = []

    def planted(_):
        seen.append(sorted(path.name for path in tmp_path.glob("comparison.*")))
        raise RuntimeError("planted")

    monkeypatch.setattr(comparison_files, "comparison_figure", planted)
    assert run_command(["compare", "--json", "--out", str(tmp_path)]) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["values"] == document["values"]
    assert seen == [["comparison.json", "comparison.svg"]]
    assert "comparison.svg lacks what could not be drawn: the gaps (RuntimeError: planted)" in printed.err
    assert "could not be drawn (RuntimeError: planted)" in (tmp_path / "comparison.svg").read_text(encoding="utf-8")
    assert ntr.Comparison.load(tmp_path).document == document
    assert run_command(["report", str(tmp_path)]) == 2  # nothing is written: the figure stays what it was
    monkeypatch.undo()
    assert run_command(["report", str(tmp_path)]) == 0
    assert "could not be drawn" not in (tmp_path / "comparison.svg").read_text(encoding="utf-8")


def test_other_warnings_and_statuses_stay_what_they_are(claims_file, tmp_path, capsys, monkeypatch):
    # A figure that is lacking does not hide that files could not be written, nor does it swallow other warnings.
    monkeypatch.setattr(page, "verdict_figure", lambda *_: 1 / 0)
    monkeypatch.setattr(storing, "write_text", _refuses)
    assert run_command(["verify", claims_file, "--data", "sphere", "--out", str(tmp_path)]) == 2
    assert "planted" in capsys.readouterr().err
    monkeypatch.undo()
    with pytest.warns(DeprecationWarning, match="another"):
        run_command(["report", str(_warning_folder(tmp_path, monkeypatch))])


def _refuses(*_):
    from ntkrobust.errors import NotWrittenError

    raise NotWrittenError("planted")


def _warning_folder(folder, monkeypatch):
    import warnings

    monkeypatch.setattr(
        page, "overview_figure", lambda _: warnings.warn("another", DeprecationWarning, stacklevel=1) or ""
    )
    return folder
