"""Reports: what a stored folder becomes as figures, a page and a table, and which folders are refused."""

import copy
import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from ntkrobust.bounds.papers import catalogue as claims
from ntkrobust.errors import InputError
from ntkrobust.reports import latex, palette, words
from ntkrobust.reports.figures import overview_figure, verdict_figure
from ntkrobust.reports.overview_figure import draw_overview
from ntkrobust.reports.page import EVIDENCE_SNIPPET, write_report
from ntkrobust.reports.ratio_figure import draw_ratios
from ntkrobust.reports.slopes import fit
from ntkrobust.reports.stored import read_folder
from ntkrobust.reports.svg import drawing
from ntkrobust.reports.terminal import summary_line, verdict_table
from ntkrobust.reports.trend_figure import DOTS, draw_trend

# A run made by hand: small, but with everything that a page has to show.

STABILITY = {
    "name": "perturbation_stability",
    "definition": r"P(f,\varepsilon)/\varepsilon = E\,\|Ju\|_2",
    "side": "exact",
}
FROBENIUS = {"name": "jacobian_frobenius", "definition": r"\|J(x)\|_F", "side": "exact"}
EQUAL_LOSS = {
    "text": "at training loss 0.3·½Σ‖y‖²",
    "time": "equal loss",
    "optimizer": "gradient_flow",
    "value": 0.3,
    "functional": "mean",
    "budget": 9,
}
SCALED = {
    "text": "after t = 30/λ_max of each network, geometric mean",
    "time": "equal scaled time",
    "optimizer": "gradient_flow",
    "value": 30.0,
    "functional": "geometric mean",
    "budget": 9,
}
EFFECT = {"name": "width 16 → 64:", "estimate": 1.25, "interval": [1.2, 1.3]}


RELATIONS = {
    "trend": {"kind": "trend", "text": "increases in width", "axis": "width", "margin": 0.05},
    "equals": {"kind": "equals", "text": "equals, to within 10%", "axis": None, "margin": 0.1},
    "at_most": {"kind": "at_most", "text": "at most", "axis": None, "margin": None},
    "at_least": {"kind": "at_least", "text": "at least", "axis": None, "margin": None},
    "order_at_most": {
        "kind": "order_at_most", "text": "at most a constant times", "axis": None, "margin": None, "growth": 1.05,
    },
    "scales_as": {"kind": "scales_as", "text": "scales as width^0.5", "axis": "width", "margin": 0.1, "power": 0.5},
    "turns": {"kind": "turns", "text": "increases, then decreases in width", "axis": "width", "margin": 0.05,
              "sign": 1},
}  # fmt: skip


class Run:
    """Collects cells and verdicts, and writes them as ``verify`` would."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.rows, self.verdicts = [], []

    def cell(
        self, mean, networks=20, spread=0.2, reference=None, theory=None, in_scope=True, problem="", **coordinates
    ):
        values = mean * self.rng.lognormal(0, spread, networks)
        self.rows.append((coordinates, values))
        half = 2 * values.std(ddof=min(1, networks - 1)) / math.sqrt(networks)
        return {
            "coordinates": coordinates,
            "networks": networks,
            "mean": None if problem else float(values.mean()),
            "interval": None if problem else [float(values.mean() - half), float(values.mean() + half)],
            "reference": reference,
            "theory": theory,
            "in_scope": in_scope,
            "problem": problem,
            "checked": {} if in_scope else {"lazy_ratio": 0.3, "kernel_change": None},
            "evidence_cell": len(self.rows) - 1,
        }

    def verdict(self, claim, label, kind, cells, **changes):
        used = [cell for cell in cells if cell["in_scope"] and not cell["problem"]]
        self.verdicts.append(
            {
                "claim": claim,
                "statement": "said of $x$",
                "relation": RELATIONS[kind],
                "measure": STABILITY,
                "grid": {},
                "reading": {"text": "at initialization", "time": "initialization", "value": None, "functional": "mean"},
                "source": "a paper",
                "provenance": "abstract",
                "assumptions": [],
                "theory_label": "exact law",
                "label": label,
                "reason": "because of this",
                "effect": EFFECT,
                "p_value": 0.012,
                "level": 0.05,
                "seeds": 20,
                "points": 8,
                "seeds_needed": None,
                "tightness": None,
                "constant": None,
                "exponent": None,
                "turning_point": None,
                "range": {axis: list({c["coordinates"][axis]: 0 for c in used}) for axis in cells[0]["coordinates"]},
                "counterexample": None,
                "command": f"ntkrobust verify {claim} --preset quick --data digits --seeds 20",
                "cells": cells,
            }
            | changes
        )
        return self.verdicts[-1]

    @property
    def document(self):
        return {
            "schema_version": 1,
            "inputs": {
                "claims": [verdict["claim"] for verdict in self.verdicts],
                "data": {"name": "a data set", "n": 1438, "d": 64, "o": 1, "n_test": 359},
                "preset": "quick",
                "seeds": 20,
                "looks": [20],
                "points": 8,
                "key": [0, 0],
            },
            "values": {
                "verdicts": self.verdicts,
                "networks": {"used": {"drawn": 820, "trained": 40}, "planned": {"drawn": 820, "trained": 40}},
            },
            "environment": {"ntkrobust": "0.1.0", "python": "3.11", "devices": "1 × cpu (cpu)"},
            "timing": {"started": "2026-11-22T17:27:14+00:00", "seconds": 173.2, "cells": 22},
        }

    @property
    def evidence(self):
        networks = max(len(values) for _, values in self.rows)
        table = np.full((len(self.rows), networks), np.nan)
        for row, (_, values) in enumerate(self.rows):
            table[row, : len(values)] = values
        axes = dict.fromkeys(axis for coordinates, _ in self.rows for axis in coordinates)
        along = {axis: ("cell", [coordinates.get(axis, 0) for coordinates, _ in self.rows]) for axis in axes}
        dims = ("cell", "seed")
        trained = np.arange(len(self.rows)) < 2
        along |= {
            "n": ("cell", np.where(trained, 256, 1)),
            "time": ("cell", np.where(trained, "equal loss", "initialization")),
        }
        measured = xr.Dataset(
            dict.fromkeys(("perturbation_stability", "jacobian_frobenius"), (dims, table))
            | {"step": (dims, np.where(trained[:, None], 5.0, 0.0) * np.isfinite(table))},
            coords=along | {"cell": np.arange(len(self.rows)), "seed": np.arange(networks)},
        )
        tree = xr.DataTree.from_dict({"measured": measured})
        tree.attrs = {"schema_version": 1, "inputs": json.dumps(self.document["inputs"])}
        return tree

    def write(self, folder):
        (folder / "evidence").mkdir(parents=True, exist_ok=True)
        (folder / "verdicts.json").write_text(json.dumps(self.document, ensure_ascii=False), encoding="utf-8")
        self.evidence.to_netcdf(folder / "evidence" / "evidence.nc", engine="h5netcdf")
        return folder


WIDTHS = (16, 32, 64)


def everything():
    """A run with all relations, all labels, and cells of every kind."""
    run = Run()
    run.verdict(
        "paper/trend@initialization",
        "refuted",
        "trend",
        [run.cell(1 + 0.1 * i, 100, theory=1 + 0.1 * i, depth=2, width=width) for i, width in enumerate(WIDTHS)],
        statement=r"the mean of $\frac{P}{\varepsilon}$ grows, see $\badcommand{$ at 5 \$",
        counterexample={"depth": 2, "width": 64},
        p_value=1e-278,
    )
    run.verdict(
        "paper/trend@equal-loss",
        "inconclusive",
        "trend",
        [
            run.cell(2.0 + depth, depth=depth, width=width, problem="4 of 20 networks diverged" if width == 64 else "")
            for depth in (2, 3)
            for width in (16, 32, 64, 128)
        ],
        reading=EQUAL_LOSS,
        seeds_needed=123,
        points=32,
        p_value=0.31,
        provenance="recollection",
    )
    run.verdict(
        "paper/lazy@equal-scaled-time",
        "out of scope",
        "trend",
        [run.cell(0.5 * depth, in_scope=depth == 2, depth=depth, width=32) for depth in (2, 3, 4)],
        relation={"kind": "trend", "text": "decreases in depth", "axis": "depth", "margin": 0.05},
        reading=SCALED,
        assumptions=["lazy training: κ t < 0.05"],
        effect=None,
        p_value=None,
        points=0,
        theory_label="",
    )
    run.verdict(
        "law/equality",
        "supported",
        "equals",
        [
            run.cell(7.0, 30, spread=0.05, reference=7.0, theory=7.0, initialization=name, depth=depth, width=width)
            for name, depth, width in itertools.product(("lecun", "he"), (2, 4), (64, 128))
        ],
        measure=FROBENIUS,
        effect={"name": "measured/stated, worst cell", "estimate": 1.0146, "interval": [1.0060, 1.0232]},
    )
    run.verdict(
        "law/bound",
        "supported",
        "at_most",
        [run.cell(0.08, reference=0.1, theory=0.081, depth=2, width=width) for width in WIDTHS],
        tightness=[1.21, 1.34],
        effect={"name": "measured/bound, worst cell", "estimate": 0.8, "interval": [0.79, 0.81]},
    )
    return run


@pytest.fixture(scope="module")
def run():
    return everything()


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(folder):
    return write_report(folder).read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Tags, attributes and visible text of a page; fails where tags don't balance."""

    void = frozenset(("meta", "input", "br", "link", "img", "hr", "wbr"))

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self._see(tag, attrs)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._see(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    def _see(self, tag, attrs):
        named = dict(attrs)
        self.tags.append((tag, named))
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] for name in ("href", "src", "srcset", "data", "action") if name in named]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


# The stored folder


def refused(folder, *expected):
    with pytest.raises(InputError) as caught:
        write_report(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in expected:
        assert word in sentence, sentence


def change(folder, **entries):
    path = folder / "verdicts.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_folder_is_read_and_left_closed(run, folder):
    stored = read_folder(folder)
    assert stored.document == json.loads(json.dumps(run.document))
    np.testing.assert_array_equal(stored.evidence["measured"]["perturbation_stability"][0, :100], run.rows[0][1])
    with h5py.File(folder / "evidence" / "evidence.nc", "a"):  # fails while someone has the file open for reading
        pass


def test_what_is_not_a_run_is_refused(run, tmp_path):
    refused(tmp_path / "nowhere", "no such folder", "nowhere")
    refused(tmp_path, "verdicts.json")
    good = run.write(tmp_path / "good")
    (good / "verdicts.json").write_text('{"schema_version": 1, ')
    refused(good, "verdicts.json", "JSON")
    (good / "verdicts.json").write_text("[]")
    refused(good, "schema_version 1", "None")
    for wrong in (0, 2, "1"):
        run.write(good)
        change(good, schema_version=wrong)
        refused(good, "schema_version 1", repr(wrong))


@pytest.mark.parametrize("missing", ["inputs", "values", "environment", "timing"])
def test_an_incomplete_document_is_refused(run, tmp_path, missing):
    document = run.document
    del document[missing]
    run.write(tmp_path)
    (tmp_path / "verdicts.json").write_text(json.dumps(document))
    refused(tmp_path, "not complete", missing)


def test_incomplete_verdicts_and_cells_are_refused(run, tmp_path):
    run.write(tmp_path)
    for spoil, expected in (
        (lambda verdicts: verdicts[1].pop("effect"), "effect"),
        (lambda verdicts: verdicts[1]["cells"][0].pop("evidence_cell"), "evidence_cell"),
        (lambda verdicts: verdicts[1].update(label="true"), "'true'"),
        (lambda verdicts: verdicts.clear(), "no verdicts"),
    ):
        verdicts = copy.deepcopy(run.verdicts)
        spoil(verdicts)
        change(tmp_path, values=run.document["values"] | {"verdicts": verdicts})
        refused(tmp_path, expected)


def test_missing_broken_and_foreign_evidence_is_refused(run, tmp_path):
    path = run.write(tmp_path) / "evidence" / "evidence.nc"
    path.write_bytes(b"not netCDF at all")
    refused(tmp_path, "evidence.nc", "netCDF")
    xr.DataTree.from_dict({"other": xr.Dataset({"a": ("b", [1.0])})}).to_netcdf(path, engine="h5netcdf")
    refused(tmp_path, "measured")
    path.unlink()
    refused(tmp_path, "no such file", "evidence.nc")
    run.write(tmp_path)
    change(tmp_path, inputs=run.document["inputs"] | {"seeds": 21})
    refused(tmp_path, "not from one run")
    verdicts = copy.deepcopy(run.verdicts)
    verdicts[0]["cells"][0]["evidence_cell"] = len(run.rows)
    run.write(tmp_path)
    change(tmp_path, values=run.document["values"] | {"verdicts": verdicts})
    refused(tmp_path, "not from one run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_refused(run, tmp_path):
    run.write(tmp_path)
    tmp_path.chmod(0o500)
    try:
        refused(tmp_path, "cannot write")
    finally:
        tmp_path.chmod(0o700)


def test_reports_need_nothing_of_the_other_rooms():
    code = (
        "import sys, ntkrobust.reports.page, ntkrobust.reports.terminal\n"
        "others = ('jax', 'matplotlib.pyplot', 'ntkrobust.finite', 'ntkrobust.bounds', 'ntkrobust.kernels')\n"
        "print([name for name in sys.modules if name.startswith(others)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Words and formulas


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.number(1.0300180), "1.03"),
        (words.number(1024.2), "1024"),
        (words.number(-0.01234), "−0.0123"),
        (words.number(2.646e-13), "2.65×10⁻¹³"),
        (words.number(0), "0"),
        (words.number(None), "–"),
        (words.number(math.nan), "–"),
        (words.estimate(0.11666, [0.11506, 0.11827]), "0.1167 [0.1151, 0.1183]"),
        (words.estimate(1.6524, [1.1560, 2.3621]), "1.65 [1.16, 2.36]"),
        (words.estimate(65.92, [64.77, 67.07]), "65.9 [64.8, 67.1]"),
        (words.estimate(-0.0134, [-0.0564, 0.0295]), "−0.013 [−0.056, 0.029]"),
        (words.estimate(2e-9, [1e-9, 3e-9]), "2.00×10⁻⁹ [1.00×10⁻⁹, 3.00×10⁻⁹]"),
        (words.estimate(0.0625, [0.0625, 0.0625]), "0.0625"),
        (words.estimate(3.0, None), "3.00"),
        (words.estimate(None, None), "–"),
        (words.factor(None), "–"),
        (words.factor(EFFECT), "×1.25 [1.20, 1.30]"),
        (words.factor(EFFECT | {"name": "exponent of width"}), "1.25 [1.20, 1.30]"),
        (words.p_value(0.0), "<10⁻⁶"),
        (words.p_value(2.6e-5), "2.6×10⁻⁵"),
        (words.p_value(0.0961), "0.096"),
        (words.p_value(1.0), "1"),
        (words.p_value(None), "–"),
        (words.tick(0.05), "0.05"),
        (words.tick(1e-6), "10⁻⁶"),
        (words.tick(3e7), "3×10⁷"),
        (words.duration(172.99), "2\u00a0min\u00a053\u00a0s"),
        (words.duration(59.6), "1\u00a0min\u00a00\u00a0s"),
        (words.duration(11100), "3\u00a0h\u00a05\u00a0min"),
        (words.count(1, "cell"), "1 cell"),
        (words.count(57200, "network"), "57\u202f200 networks"),
        (words.coordinates([("initialization", "he"), ("depth", 4), ("bias_std", None)]), "he, depth 4, bias std none"),
        (words.ranges({"initialization": ["he", "ntk"], "d_out": [1, 3]}), "he, ntk; outputs 1, 3"),
        (words.short_reading({"reading": SCALED, "grid": {}}), "t·λ = 30, geometric mean"),
        (words.short_reading({"reading": EQUAL_LOSS, "grid": {}}), "loss 0.3"),
    ],
)
def test_words(shown, expected):
    assert shown == expected


def test_formulas_are_drawn_with_their_source_beside():
    html = str(latex.statement_html(r"At $\frac{d}{d+1}\,E\|J\|$, for $x \neq 0$."))
    outline = Outline(html)
    drawn = [named for tag, named in outline.tags if tag == "svg"]
    assert [named["aria-label"] for named in drawn] == [r"\frac{d}{d+1}\,E\|J\|", r"x \neq 0"]
    assert outline.text == "At , for ."
    assert "</svg>,</span> for" in html, "a comma must not begin a line"
    assert "$" not in html


def outlines(html):
    """Closed curves in a drawn formula."""
    return re.search(r' d="([^"]*)"', str(html))[1].count("M")


def test_formulas_are_drawn_as_formulas():
    # l has one outline, o has two, a fraction adds its bar; the dollar signs and commands are not drawn.
    assert [outlines(latex.formula_html(tex)) for tex in ("l", "o", r"\frac{l}{l}", r"l\ l")] == [1, 2, 3, 2]
    latex._formula_svg.cache_clear()
    with matplotlib.rc_context({"text.parse_math": False, "mathtext.default": "bf"}):
        loud = latex.formula_html("l")
    latex._formula_svg.cache_clear()
    assert loud == latex.formula_html("l"), "the user's settings must not show"


def test_formulas_stand_on_the_line():
    def below(tex):
        return -float(re.search(r"vertical-align:(-?[\d.]+)em", str(latex.formula_html(tex)))[1])

    # A fraction hangs below the line by some 0.35 em, brackets by some 0.2, a plain letter rests on it.
    assert below("x") < 0.06 < below("(x)") < 0.28 < below(r"\frac{a}{b}") < 0.7


def test_formulas_that_cannot_be_drawn_are_shown_as_source():
    assert str(latex.formula_html(r"\badcommand{<b>")) == r"<code>\badcommand{&lt;b&gt;</code>"
    assert not latex.renders(r"\badcommand")
    assert str(latex.statement_html("costs 5 $ <i>")) == "costs 5 $ &lt;i&gt;"


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("P/e = E[a = b]", "P/e"),
        ("1[J(x) = 0]", "1[J(x) = 0]"),
        ("", ""),
        (r"\|J\|_F", r"\|J\|_F"),
        (r"\|g\|_1,\ g = \nabla f", r"\|g\|_1"),
        (r"\text{share of points}", ""),
        (r"\|g\| \text{ over the test points}", r"\|g\|"),
    ],
)
def test_the_symbol_of_a_definition(definition, expected):
    assert latex.symbol(definition) == expected


# Slopes


def test_the_slope_of_a_power_law_is_its_exponent():
    widths = np.array([16, 32, 64, 256])
    slope = fit(np.log(widths), 3 * widths**-0.5, [[0.0, 0.0]] * 4)
    assert slope.value == pytest.approx(-0.5)
    assert fit(np.log(widths[:2]), [1, 2], [[1, 1], [2, 2]]) is None
    assert fit(np.log(widths), [1, 2, 0, 1], [[0, 0]] * 4) is None


def test_the_interval_of_a_slope_covers_it():
    rng = np.random.default_rng(0)
    x, errors = np.log([16, 32, 64, 128]), np.array([0.01, 0.03, 0.02, 0.01])
    hits = 0
    for _ in range(2000):
        means = np.exp(0.3 * x + errors * rng.standard_normal(4))
        half = 1.959964 * errors * means
        slope = fit(x, means, np.stack([means - half, means + half], axis=1))
        hits += slope.low <= 0.3 <= slope.high
    assert 0.93 < hits / 2000 < 0.97  # four standard errors of a share of 2000


# Figures


def figure_of(run, claim):
    verdict = next(one for one in run.verdicts if one["claim"] == claim)
    with drawing():
        if verdict["relation"]["axis"] is not None:
            figure = draw_trend(verdict, run.evidence["measured"].to_dataset(), "mean of $x$")
        else:
            figure = draw_ratios(verdict, "mean of $x$")
        FigureCanvasAgg(figure).draw()
    return verdict, figure


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def heights(axes, *, marker):
    """The heights of all lines with this marker, as one array."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines] or [np.empty(0)])


def test_a_trend_shows_its_networks_its_means_and_the_theory(run):
    verdict, figure = figure_of(run, "paper/trend@initialization")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["16", "32", "64"]
    circles = heights(axes, marker="o")
    for index, cell in enumerate(verdict["cells"]):
        networks = run.rows[cell["evidence_cell"]][1]
        assert len(networks) > DOTS
        shown = np.isin(networks, circles) | np.isin(networks, heights(axes, marker="v"))
        low, high = axes.get_ylim()
        inside = (low <= networks) & (networks <= high)
        np.testing.assert_array_equal(shown[:DOTS], inside[:DOTS])
        assert not shown[DOTS:].any()
        assert np.isin(cell["mean"], circles)
        bars = axes.containers[index].lines[2][0].get_segments()[0][:, 1]
        np.testing.assert_allclose(bars, cell["interval"])
    dashed = [line for line in axes.lines if line.is_dashed() and len(line.get_xdata()) == 3]
    np.testing.assert_allclose(dashed[0].get_ydata(), [1.0, 1.1, 1.2])
    assert legend_of(figure) == ["mean, 95 % interval", "counterexample", "exact law", "single networks"]
    ring = next(line for line in axes.lines if line.get_color() == palette.LIGHT["refuted"])
    np.testing.assert_allclose([*ring.get_xdata(), *ring.get_ydata()], [64, verdict["cells"][2]["mean"]])
    first, second = axes.get_title(loc="left").splitlines()
    assert first == "width 16 → 64: ×1.25 [1.20, 1.30]"
    means = [cell["mean"] for cell in verdict["cells"]]
    assert second.startswith(f"fitted exponent {np.polyfit(np.log(WIDTHS), np.log(means), 1)[0]:.3f} [")


def test_facets_have_their_own_colours_and_slopes_and_unusable_cells_a_cross(run):
    _, figure = figure_of(run, "paper/trend@equal-loss")
    (axes,) = figure.axes
    legend = legend_of(figure)
    assert legend[0].startswith("depth 2: exponent ")
    assert legend[1].startswith("depth 3: exponent ")
    assert legend[2:] == ["unusable cell", "single networks"]
    assert sum(line.get_marker() == "x" for line in axes.lines) == 2
    assert len({container.lines[0].get_color() for container in axes.containers}) == 2
    assert len(axes.containers) == 6, "a mean for each cell but the two unusable ones"


def test_depth_is_linear_and_cells_out_of_scope_are_hollow(run):
    _, figure = figure_of(run, "paper/lazy@equal-scaled-time")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "3", "4"]
    faces = [container.lines[0].get_markerfacecolor() for container in axes.containers]
    assert [face == palette.LIGHT["paper"] for face in faces] == [False, True, True]
    assert legend_of(figure) == ["mean, 95 % interval", "out of scope", "single networks"]
    assert axes.get_title(loc="left") == ""


def test_equalities_show_measured_over_stated_in_their_band(run):
    verdict, figure = figure_of(run, "law/equality")
    assert [axes.get_title() for axes in figure.axes] == ["lecun", "he"]
    assert legend_of(figure) == ["depth 2", "depth 4", "stated value ± 10%"]
    shown = [c.lines[0].get_ydata()[0] for axes in figure.axes for c in axes.containers]
    np.testing.assert_allclose(sorted(shown), sorted(cell["mean"] / 7 for cell in verdict["cells"]))
    for axes in figure.axes:
        (band,) = axes.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.9, 1.1))
        assert axes.get_ylim()[0] < 0.9 < 1.1 < axes.get_ylim()[1]


def test_bounds_show_what_lies_above_and_a_theory_of_their_own(run):
    _, figure = figure_of(run, "law/bound")
    (axes,) = figure.axes
    assert legend_of(figure) == ["mean, 95 % interval", "exact law", "above the bound"]
    (excluded,) = axes.patches
    assert excluded.get_y() == 1
    assert excluded.get_y() + excluded.get_height() >= axes.get_ylim()[1]
    dashes = [line for line in axes.lines if line.get_marker() == "_" and line.get_color() == palette.LIGHT["ink"]]
    np.testing.assert_allclose([line.get_ydata() for line in dashes], [[0.81]] * 3)


def test_a_bound_far_off_is_shown_in_logarithms():
    run = Run()
    run.verdict(
        "a/b", "supported", "at_most", [run.cell(1e-4, reference=1.0, depth=2, width=width) for width in WIDTHS]
    )
    _, figure = figure_of(run, "a/b")
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylim()[0] < 1e-4


def test_a_dead_network_does_not_squeeze_the_others():
    run = Run()
    cells = [run.cell(1.0, depth=2, width=width) for width in WIDTHS]
    run.rows[1][1][:3] = [0.0, 1e-9, 1e9]
    run.verdict("a/b", "supported", "trend", cells)
    _, figure = figure_of(run, "a/b")
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert 0.05 < low < high < 20
    assert legend_of(figure)[-1] == "3 off the scale"
    assert list(heights(axes, marker="v")) == pytest.approx([low, low])
    assert list(heights(axes, marker="^")) == pytest.approx([high])


@pytest.mark.parametrize("kind", RELATIONS)
def test_one_network_per_cell_can_be_drawn(kind):
    run = Run()
    cells = [run.cell(1.0, 1, reference=1.0, depth=2, width=width) for width in WIDTHS]
    for cell in cells:
        cell["mean"] = cell["interval"] = None  # there is no interval without a second network
    run.verdict("a/b", "inconclusive", kind, cells, effect=None, p_value=None)
    _, figure = figure_of(run, "a/b")
    assert sum(line.get_marker() == "x" for line in figure.axes[0].lines) == 3
    assert "unusable cell" in legend_of(figure)


@pytest.mark.parametrize("kind", RELATIONS)
def test_every_relation_has_words_and_a_figure_in_the_report(kind, tmp_path):
    run = Run()
    cells = [run.cell(1 + 0.1 * i, reference=2.0, depth=2, width=width) for i, width in enumerate((8, *WIDTHS, 128))]
    run.verdict("a/b", "supported", kind, cells)
    page = write_report(run.write(tmp_path)).read_text(encoding="utf-8")
    assert page.count("<figure>") == 1
    assert words.relation(RELATIONS[kind]) in page
    compares = kind in ("equals", "at_most", "at_least", "order_at_most")
    assert ("measured / " in page) == compares


def test_bounds_shade_the_side_that_they_exclude():
    shaded = {}
    for kind in ("at_most", "at_least", "order_at_most"):
        run = Run()
        run.verdict("a/b", "supported", kind, [run.cell(1.0, reference=0.9, depth=2, width=w) for w in WIDTHS])
        _, figure = figure_of(run, "a/b")
        shaded[kind] = [patch.get_extents().transformed(figure.axes[0].transData.inverted()).intervaly
                        for patch in figure.axes[0].patches]  # fmt: skip
    assert shaded["at_most"][0][0] == pytest.approx(1.0)
    assert shaded["at_least"][0][1] == pytest.approx(1.0)
    assert shaded["order_at_most"] == []


def test_a_stated_exponent_is_a_line_of_that_slope():
    run = Run()
    found = {"name": "exponent of width", "estimate": 0.7, "interval": [0.69, 0.71]}
    cells = [run.cell(w**0.7, spread=0.01, depth=2, width=w) for w in WIDTHS]
    run.verdict("a/b", "supported", "scales_as", cells, effect=found, exponent=found)
    _, figure = figure_of(run, "a/b")
    # One interval for one exponent: that of the verdict.
    assert "fitted" not in figure.axes[0].get_title(loc="left")
    assert {"stated exponent 0.500", "fitted"} <= set(legend_of(figure))
    slopes = [
        np.log(y[-1] / y[0]) / np.log(x[-1] / x[0])
        for x, y in (map(np.asarray, line.get_data()) for line in figure.axes[0].lines)
        if len(x) == 2 and min(*x, *y) > 0 and x[0] != x[-1]
    ]
    assert any(slope == pytest.approx(0.5) for slope in slopes)
    assert any(slope == pytest.approx(0.7, abs=0.02) for slope in slopes)


def test_turning_points_are_marked():
    run = Run()
    means = dict(zip((8, 16, 32, 64, 128), (1, 2, 3, 2, 1), strict=True))
    cells = [run.cell(mean, spread=0.01, reference=40.0, depth=2, width=w) for w, mean in means.items()]
    run.verdict("a/b", "supported", "turns", cells)
    _, figure = figure_of(run, "a/b")
    upright = {round(float(line.get_xdata()[0]), 6) for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1}
    assert {40.0, 32.0} <= upright
    assert {"stated turning point", "largest mean"} <= set(legend_of(figure))


@pytest.mark.parametrize("mean", [0.0, -1.0])
def test_means_that_have_no_logarithm_are_drawn_without(mean):
    run = Run()
    cells = [run.cell(1.0, depth=2, width=width) for width in WIDTHS]
    cells[1] |= {"mean": mean, "interval": [mean - 0.1, mean + 0.1]}
    run.verdict("a/b", "inconclusive", "trend", cells)
    _, figure = figure_of(run, "a/b")
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_ylim()[0] < mean - 0.1
    assert "fitted" not in figure.axes[0].get_title(loc="left")


def test_an_interval_that_reaches_zero_does_not_squeeze_the_others():
    run = Run()
    cells = [run.cell(1.0, depth=2, width=width) for width in WIDTHS]
    cells[1]["interval"] = [1e-12, 2.0]
    cells[2]["interval"] = [-0.5, 2.0]
    run.verdict("a/b", "inconclusive", "trend", cells)
    _, figure = figure_of(run, "a/b")
    assert 0.05 < figure.axes[0].get_ylim()[0] < 0.5


def overlapping(figure):
    """Pairs of texts that cover each other."""
    with drawing():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [
            text for text in figure.findobj(matplotlib.text.Text) if text.get_visible() and text.get_text().strip()
        ]
        boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    page = figure.bbox
    for text, box in boxes:
        assert box.x0 >= page.x0 - 1, text
        assert box.x1 <= page.x1 + 1, text
    return [
        (first, second)
        for (first, one), (second, other) in itertools.combinations(boxes, 2)
        if one.overlaps(other) and min(one.x1, other.x1) - max(one.x0, other.x0) > 1
    ]


def large():
    """Grids like those of the largest preset, and names that are long."""
    run = Run()
    inits, long = ("lecun", "he", "ntk", "xavier"), "Initialization(beta_first=0.125, beta=0.25, beta_last=1.0)"
    run.verdict(
        "a/grid",
        "refuted",
        "equals",
        [
            run.cell(1.3, 4, reference=1.0, initialization=name, depth=depth, width=width)
            for name, depth, width in itertools.product((*inits, long), (2, 4, 8, 16), (64, 256, 1024, 4096))
        ],
        counterexample={"initialization": "he", "depth": 8, "width": 1024},
    )
    widths = (1, 2, 4, 6, 8, 12, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
    run.verdict(
        "a/widths",
        "supported",
        "trend",
        [
            run.cell(width**-0.5, 4, theory=width**-0.5, in_scope=width > 1, initialization=name, depth=2, width=width)
            for name, width in itertools.product((*inits, long), widths)
        ],
    )
    run.verdict(
        "a/depths",
        "supported",
        "trend",
        [run.cell(2.0**-depth, 4, initialization=long, depth=depth, width=64) for depth in range(2, 21)],
        relation={"kind": "trend", "text": "decreases in depth", "axis": "depth", "margin": 0.05},
    )
    run.verdict("a/one-cell", "supported", "at_most", [run.cell(0.5, reference=1.0, depth=2, width=64)])
    return run


@pytest.mark.parametrize("make", [everything, large])
def test_no_text_covers_another_or_leaves_the_figure(make):
    run = make()
    for verdict in run.verdicts:
        assert overlapping(figure_of(run, verdict["claim"])[1]) == []
    with drawing():
        assert overlapping(draw_overview(run.document)) == []


def test_overlapping_texts_would_be_seen():
    with drawing():
        figure = matplotlib.figure.Figure()
        figure.text(0.5, 0.5, "one")
        figure.text(0.51, 0.5, "other")
    assert overlapping(figure) == [("one", "other")]


@pytest.mark.parametrize("make", [everything, large])
def test_figures_are_valid_on_their_own(make):
    run = make()
    for verdict in run.verdicts:
        svg = verdict_figure(verdict, run.evidence)
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("aria-label").startswith(f"{verdict['claim']}: {verdict['label']}.")
        names = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(names) == len(set(names))
        referred = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
        assert {one or other for one, other in referred} == set(names)
        assert "<text" not in svg
        assert "nan" not in svg.lower()
    ElementTree.fromstring(overview_figure(run.document))


def test_the_overview_has_a_row_per_claim_and_keeps_far_effects_at_the_edge(run):
    document = copy.deepcopy(run.document)
    document["values"]["verdicts"][0]["effect"] = EFFECT | {"estimate": 1e-40, "interval": [1e-41, 1e-39]}
    with drawing():
        (axes,) = draw_overview(document).axes
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows[:3] == ["paper", "trend, untrained", "trend, loss 0.3"]
    assert rows[4] == "law"
    markers = [line.get_marker() for line in axes.lines if line.get_marker() in ("o", "<", ">")]
    assert sorted(markers) == ["<", "o", "o", "o"], "the claim without an effect has no mark"
    assert axes.get_xlim()[0] > 1e-4
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours["✗ refuted"] == palette.LIGHT["refuted"]
    assert colours["✓ supported"] == palette.LIGHT["supported"]


def test_drawing_leaves_the_settings_of_the_process_alone(run):
    with matplotlib.rc_context({"font.size": 31, "axes.facecolor": "red", "text.usetex": False}):
        before = dict(matplotlib.rcParams)
        loud = verdict_figure(run.verdicts[0], run.evidence)
        assert dict(matplotlib.rcParams) == before
    assert loud == verdict_figure(run.verdicts[0], run.evidence), "the user's settings must not show"


def test_measures_without_symbols_and_evidence_without_the_measure_can_be_drawn(run):
    for definition in ("", r"\nosuchcommand{x}"):
        verdict = copy.deepcopy(run.verdicts[0])
        verdict["measure"] = {"name": "my_measure", "definition": definition, "side": "lower"}
        ElementTree.fromstring(verdict_figure(verdict, run.evidence))


# The page


def test_the_page_is_well_formed_and_needs_nothing_from_outside(page):
    outline = Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.links
    assert all(link.startswith("#") for link in outline.links)
    missing = {link[1:].replace("%40", "@").replace("%3A", ":") for link in outline.links} - set(outline.ids)
    assert not missing
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert not re.search(r"@import|url\((?!#)", page)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_the_page_says_what_was_found(page):
    text = Outline(page).text
    for expected in (
        "Do networks obey? 5 statements, checked",
        "820 networks, 40 of them trained, in 22 cells, were measured",
        "a data set",
        "“a data set”: 64 dimensions, 1 output.",
        "Networks were trained on 256 of its 1 438 training points",
        "measures are averages over 8 or 32 of its 359 test points",
        "Preset quick",
        "20 seeds per trained cell, 2 min 53 s on 1 × cpu (cpu)",
        "Because of this".lower(),
        "×1.25 [1.20, 1.30]",
        "Adjusted p <10⁻⁶",
        "ntkrobust verify paper/trend@initialization --preset quick --data digits --seeds 20",
        "20 per cell; about 123 would settle it: --seeds 123",
        "bound / measured between 1.21 and 1.34",
        "4 of 20 networks diverged",
        "lazy training: κ t < 0.05",
        "λ max of each network, geometric mean",
        "equals the stated value, to within 10%",
        "up to 5% the other way is tolerated",
        "(provenance: recollection)",
        "rejected at level 5 %",
        "xr.open_datatree",
    ):
        assert expected in text, expected
    for label, number in {"supported": 2, "refuted": 1, "inconclusive": 1, "out of scope": 1}.items():
        # In the overview, at the claim, and once in the legend.
        assert text.count(f"{palette.SYMBOLS[label]} {label}") == 2 * number + 2, label


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([0, 0], "8 of its 359 test points"),
        ([0, 1], "1 of its 359 test points"),
        ([9, 3, 0, 5], "3, 5 or 9 of its 359 test points"),
        ([359, 359], "its 359 test points"),
    ],
)
def test_the_head_names_the_test_points_of_what_was_measured(points, said, tmp_path):
    run = Run()
    for index, number in enumerate(points):
        cells = [run.cell(0.5, depth=depth, width=32) for depth in (2, 3)]
        run.verdict(f"paper/{index}", "supported", "trend", cells, points=number)
    run.write(tmp_path)
    assert f"measures are averages over {said}." in Outline(write_report(tmp_path).read_text(encoding="utf-8")).text


def test_the_head_counts_training_points_where_networks_were_trained_only(tmp_path):
    run = Run()
    cells = [run.cell(0.5, depth=depth, width=32) for depth in (2, 3, 4)]
    run.verdict("paper/one", "supported", "trend", cells)

    def said(trained, drawn):
        document = {**run.document, "values": {"verdicts": run.verdicts, "networks": {"used": {}}}}
        document["values"]["networks"]["used"] = {"trained": 20 * trained, "drawn": 20 * drawn}
        return words.points_used(document, [64, 1438] if trained else [])

    averages = "easures are averages over 8 of its 359 test points."
    assert (
        said(True, True) == f"Networks were trained on 64 or 1\u202f438 of its 1\u202f438 training points; m{averages}"
    )
    assert said(False, True) == f"No network was trained; m{averages}"
    assert said(False, False) == "No network was trained."


def test_a_counterexample_is_named_with_its_numbers(page, run):
    cell = run.verdicts[0]["cells"][2]
    expected = f"Counterexample depth 2, width 64: measured {words.estimate(cell['mean'], cell['interval'])}"
    assert expected in Outline(page).text


def test_what_is_missing_is_a_dash(page):
    assert not re.search(
        r"\b(nan|none|null|inf|undefined)\b", Outline(page).text.replace("none given", ""), re.IGNORECASE
    )


def test_formulas_of_statements_keep_their_source(page):
    labels = [named.get("aria-label") for tag, named in Outline(page).tags if tag == "svg"]
    assert r"\frac{P}{\varepsilon}" in labels
    assert "x" in labels
    assert r"<code>\badcommand{</code>" in page
    assert "at 5 $" in Outline(page).text


def test_what_comes_from_others_is_text(run, tmp_path):
    evil = '<script>alert("1")</script>'
    hostile = everything()
    for entry in ("statement", "reason", "source", "command", "theory_label"):
        hostile.verdicts[0][entry] = f"{evil} $x${evil}"
    hostile.verdicts[0]["claim"] = 'a/"><script>b</script>'
    hostile.verdicts[1]["cells"][0]["problem"] = evil
    hostile.verdicts[1]["assumptions"] = [evil]
    hostile.verdicts[2]["measure"] = {"name": evil, "definition": rf"\mathrm{{{evil}}}", "side": evil}
    text = write_report(hostile.write(tmp_path)).read_text(encoding="utf-8")
    outline = Outline(text)
    assert "script" not in {tag for tag, _ in outline.tags}
    assert "<script" not in text
    assert evil in outline.text


def test_the_same_run_gives_the_same_page(folder, page, tmp_path):
    again = everything().write(tmp_path)
    assert write_report(str(again)).read_text(encoding="utf-8") == page
    assert sorted(path.name for path in again.iterdir()) == ["evidence", "report.html", "verdicts.json"]


def test_colours_are_left_to_the_page(page):
    body = page[page.index("<body>") :]
    assert not [colour for colour in palette.LIGHT.values() if colour in body]
    for name in ("ink", "paper", "series-1", "supported", "refuted"):
        assert f"var(--{name})" in body
        for dark in (False, True):
            assert f"--{name}: {palette.PALETTE[name][dark]};" in page


def test_colours_can_be_told_apart():
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
        return (bright + 0.05) / (dim + 0.05)

    for dark in (False, True):
        paper = palette.PALETTE["paper"][dark]
        for name, versions in palette.PALETTE.items():
            # Web Content Accessibility Guidelines: 4.5 for text, 3 for marks; rules are meant to be faint.
            least = {"paper": 0, "rule": 1.2}.get(name, 2.8 if name.startswith("series") else 4.5)
            assert contrast(versions[dark], paper) >= least, (name, dark)

    def mixed(one, share, other):
        pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
        return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)

    # Labels stand on a wash of their own colour.
    css = (Path(palette.__file__).parent / "report.css").read_text(encoding="utf-8")
    shares = re.findall(r" color: color-mix\(in srgb, var\(--label.*?(\d+)%, var\(--ink\)\);\s*"
                        r"background: color-mix\(in srgb, var\(--label.*?(\d+)%, var\(--paper\)\)", css)  # fmt: skip
    assert len(shares) == 2
    for dark in (False, True):
        ink, paper = (palette.PALETTE[name][dark] for name in ("ink", "paper"))
        for label in palette.SYMBOLS:
            colour = palette.PALETTE[label.replace(" ", "-")][dark]
            for text, wash in shares:
                behind = mixed(colour, int(wash) / 100, paper)
                assert contrast(mixed(colour, int(text) / 100, ink), behind) >= 4.5, (label, dark)
    # Planted: the colour itself on more of it.
    assert contrast(palette.LIGHT["refuted"], mixed(palette.LIGHT["refuted"], 0.13, palette.LIGHT["paper"])) < 4.5


def test_the_printed_way_to_open_the_evidence_works(run, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    shown = {}
    exec(EVIDENCE_SNIPPET, shown)
    assert "perturbation_stability" in capsys.readouterr().out
    assert dict(shown["cube"].sizes) == {"seed": 100, "depth": 1, "width": 3}
    np.testing.assert_allclose(shown["cube"].sel(depth=2, width=32).to_numpy(), run.rows[1][1])


def test_the_page_of_a_large_run_stays_small(tmp_path):
    run = large()
    # Some twenty claims, not all of them that large, are to stay below 3 MB.
    assert write_report(run.write(tmp_path)).stat().st_size < 150_000 * len(run.verdicts)


# The terminal


def printed(document, width):
    console = Console(width=width, color_system=None, record=True, file=io.StringIO())
    console.print(verdict_table(document))
    return console.export_text().rstrip("\n").split("\n")


def test_the_table_fits_the_terminal(run):
    document = copy.deepcopy(run.document)
    document["values"]["verdicts"][1]["claim"] = "zhu2022/nonlazy-width/measured@equal-scaled-time"
    lines = printed(document, 120)
    assert len(lines) == 1 + len(run.verdicts), "one line per claim"
    assert max(map(len, lines)) <= 120
    assert lines[1].split()[1:3] == ["refuted", "×1.25"]
    assert lines[1].split()[-3:] == ["<10⁻⁶", "20", "untrained"]
    assert lines[2].startswith("zhu2022/nonlazy-width/measured ")
    assert "out of scope –" in lines[3]
    lines = printed(document, 80)
    assert len(lines) == 2 * len(run.verdicts), "two lines per claim"
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[1:] == ["(untrained)"]
    assert lines[1].split()[:2] == ["refuted", "×1.25"]
    assert lines[1].split()[-4:] == ["p", "<10⁻⁶", "n", "20"]
    assert lines[2].startswith("zhu2022/nonlazy-width/measured ("), "whole"


@pytest.mark.parametrize("width", [200, 120, 80])
def test_ids_tell_readings_apart_and_can_be_typed(run, width):
    document = copy.deepcopy(run.document)
    readings = ("initialization", "equal-scaled-time", "equal-time", "equal-loss")
    verdicts = [copy.deepcopy(run.verdicts[0]) for _ in (*readings, "alone")]
    for verdict, reading in zip(verdicts, readings, strict=False):
        verdict["claim"] = f"zhu2022/depth-he/measured@{reading}"
    verdicts[-1]["claim"] = "zhu2022/depth-he/infinite@converged"
    document["values"]["verdicts"] = verdicts
    lines = printed(document, width)
    assert max(map(len, lines)) <= width
    first = [word for word in " ".join(lines).split() if word.startswith("zhu2022/")]
    assert len(set(first)) == len(verdicts) == len(first)
    assert [len(claims.select([name])) for name in first[:-1]] == 4 * [1]
    assert "zhu2022/depth-he/measured" not in first, "which stands for all of its readings"
    # a claim in one reading needs no more than its name
    del document["values"]["verdicts"][1:-1]
    assert "zhu2022/depth-he/measured" in " ".join(printed(document, width)).split()


def test_markup_in_names_is_shown_as_it_is(run):
    document = copy.deepcopy(run.document)
    document["values"]["verdicts"][0]["claim"] = "my/[red]claim[/]"
    assert printed(document, 120)[1].startswith("my/[red]claim[/] ")


def test_the_summary_line(run):
    assert summary_line(run.document) == "5 verdicts: 2 supported, 1 refuted, 1 inconclusive, 1 out of scope"
    one = {"values": {"verdicts": run.verdicts[:1]}}
    assert summary_line(one) == "1 verdict: 1 refuted"
