"""Plots as functions: the numbers they show, the colours they keep, the sizes they have, and what they refuse."""

import itertools
import re
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

import ntkrobust as ntr
from ntkrobust.bounds.verdicts import CellSample, decide
from ntkrobust.cli import run as run_command
from ntkrobust.errors import InputError
from ntkrobust.plots.styling import NAMED, looks
from ntkrobust.reports import figure_files
from ntkrobust.reports.figure_files import file_names
from ntkrobust.reports.latex_table import escaped
from ntkrobust.reports.palette import PALETTE, SERIES
from ntkrobust.reports.styles import STYLES

WIDTHS = (16, 32, 64, 128)
RNG = np.random.default_rng(0)


def drawn(figure):
    """The figure, after all of it was drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def lines(figure):
    """Label → (x, y) of the lines of the first panel."""
    return {line.get_label(): np.array(line.get_data()) for line in figure.axes[0].get_lines()}


# ---- colours

# Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), table 1, severity 1: on linear RGB.
DICHROMATS = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(linear):
    """CIELAB (CIE 1976, D65) of linear RGB."""
    xyz = np.array(TO_XYZ) @ np.clip(linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def closest(colours):
    """The smallest distance of two of the colours to any eyes."""
    channels = [np.array([int(one[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for one in colours]
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in channels]
    return min(
        float(np.linalg.norm(lab(eyes @ one) - lab(eyes @ other)))
        for eyes in map(np.array, DICHROMATS.values())
        for one, other in itertools.combinations(linear, 2)
    )


@pytest.mark.fast
def test_no_eyes_take_one_colour_for_another():
    # 2.3 is the smallest difference seen side by side; marks that lie apart need several times that.
    for dark in (False, True):
        assert closest([both[dark] for name, both in PALETTE.items() if name.startswith("series")]) > 10
    # Planted: red and green of one lightness, and an orange dark enough for paper beside vermillion.
    assert closest(["#d62728", "#2ca02c"]) < 10
    assert closest([*SERIES, "#c28400"]) < 10


def test_the_colours_of_planes_rise_in_lightness_to_all_eyes():
    shades = matplotlib.colormaps["cividis"](np.linspace(0, 1, 40))[:, :3]
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    for eyes in map(np.array, DICHROMATS.values()):
        assert (np.diff([lab(eyes @ one)[0] for one in linear]) > 0).all()


def test_an_initialization_keeps_its_colour_whatever_is_drawn_beside_it():
    for names in (["he"], ["lecun", "he"], ["mine", "he", "ntk", "lecun", "mean_field"], list(reversed(NAMED))):
        data = {name: {width: RNG.lognormal(size=6) for width in WIDTHS} for name in names}
        figure = ntr.plots.width_plot(data)
        seen = {line.get_label(): (line.get_color(), line.get_marker()) for line in figure.axes[0].get_lines()}
        if names == ["he"]:
            seen = {"he": next(iter(seen.values()))}
        for name in set(names) & set(NAMED):
            assert seen[name][0] == ntr.plots.colour_of(name)
        assert len(set(seen.values())) == len(names)
    every = looks([*NAMED, *(f"mine {k}" for k in range(20))])
    assert len({(one["color"], one["marker"]) for one in every}) == 25
    with pytest.raises(InputError, match="have a colour of their own"):
        ntr.plots.colour_of("mine")


def test_numbers_go_from_dark_to_light():
    brightness = [sum(one["color"][:3]) for one in looks([8, 2, 4])]
    assert brightness[1] < brightness[2] < brightness[0]


# ---- numbers


def samples():
    return {width: RNG.lognormal(0, 0.3, 12) for width in WIDTHS}


@pytest.mark.fast
def test_lines_are_means_and_bands_their_intervals():
    given = samples()
    given[32][3] = np.nan  # a network that diverged
    figure = drawn(ntr.plots.width_plot(given, theory=lambda width: 2.0 + width))
    shown = lines(figure)
    x, y = shown["mean, 95 % interval"]
    np.testing.assert_array_equal(x, WIDTHS)
    finite = [values[np.isfinite(values)] for values in given.values()]
    np.testing.assert_allclose(y, [values.mean() for values in finite])
    np.testing.assert_allclose(shown["theory"][1], [2.0 + width for width in WIDTHS])
    (band,) = figure.axes[0].collections
    for values, width in zip(finite, WIDTHS, strict=True):
        expected = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        outline = band.get_paths()[0].vertices
        np.testing.assert_allclose(np.unique(outline[outline[:, 0] == width][:, 1]), expected)


def test_all_ways_to_give_data_give_the_same_lines():
    given = {name: samples() for name in ("he", "lecun")}
    array = np.array([[one[width] for width in WIDTHS] for one in given.values()])  # (initialization, width, seed)
    table = xr.DataArray(
        array, dims=("initialization", "width", "seed"), coords={"initialization": list(given), "width": list(WIDTHS)}
    )
    points = table.expand_dims(point=3, axis=-1) * xr.DataArray([0.5, 1.0, 1.5], dims="point")
    measured = {
        name: {width: xr.Dataset({"a": ("seed", values), "b": ("seed", values + 1)}) for width, values in one.items()}
        for name, one in given.items()
    }
    cells = [(name, width) for name in given for width in WIDTHS]
    evidence = xr.DataTree.from_dict({"measured": xr.Dataset(
        {"a": (("cell", "seed"), array.reshape(8, 12))},
        coords={"initialization": ("cell", [name for name, _ in cells]), "width": ("cell", [w for _, w in cells])},
    )})  # fmt: skip
    ways = {
        "mappings": (given, {}),
        "arrays": ({name: np.array([one[w] for w in WIDTHS]) for name, one in given.items()}, {"widths": WIDTHS}),
        "a table": (table, {"by": "initialization"}),
        "a table in another order": (table.isel(width=[2, 0, 3, 1]).transpose(), {"by": "initialization"}),
        "with points": (points, {"by": "initialization"}),
        "data sets": (measured, {"measure": "a"}),
        "evidence": (evidence, {"measure": "a", "by": "initialization"}),
    }
    for way, (data, more) in ways.items():
        shown = lines(ntr.plots.width_plot(data, **more))
        assert set(shown) == {"he", "lecun"}, way
        for index, name in enumerate(given):
            np.testing.assert_allclose(shown[name], [WIDTHS, array[index].mean(1)], err_msg=way)
    plane = ntr.plots.heat_map(table, x="initialization", y="width").axes[0].images[0].get_array()
    np.testing.assert_allclose(plane, array.mean(2).T)
    again = ntr.plots.heat_map(evidence, "a", y="width").axes[0].images[0].get_array()
    np.testing.assert_allclose(again, plane)
    by_hand = ntr.plots.heat_map(array, rows=list(given), columns=WIDTHS).axes[0].images[0].get_array()
    np.testing.assert_allclose(by_hand, plane.T)


def course(seeds=5):
    times = np.array([0.0, 0.1, 1.0, 30.0]) * (1 + 0.1 * np.arange(seeds))[:, None]
    return xr.Dataset(
        {"a": (("seed", "time", "point"), RNG.lognormal(size=(seeds, 4, 3))), "b": (("seed", "time"), times)},
        coords={"gradient_flow_time": (("seed", "time"), times), "step": (("seed", "time"), np.round(10 * times))},
    )


def test_a_time_course_stands_at_the_mean_time_of_networks():
    data = course()
    (shown,) = lines(ntr.plots.time_course(data, "a", log=False)).values()
    np.testing.assert_allclose(shown, [data.gradient_flow_time.mean("seed"), data.a.mean(("seed", "point"))])
    (shown,) = lines(ntr.plots.time_course(data, "a")).values()  # far apart: logarithms, without zero
    np.testing.assert_allclose(shown[0], data.gradient_flow_time.mean("seed")[1:])
    (shown,) = lines(ntr.plots.time_course(data.b, against="step", log=False)).values()
    np.testing.assert_allclose(shown[0], data.step.mean("seed"))
    assert set(lines(ntr.plots.time_course({"he": data, "lecun": course()}, "a"))) == {"he", "lecun"}


def test_a_plane_says_which_side_is_decided():
    rng = np.random.default_rng(1)
    truth = np.array([2.0, -2.0, 0.0, 2.0])
    values = truth[:, None] + rng.normal(0, 1, (4, 50))
    values[3, :] = np.nan
    figure = drawn(ntr.plots.phase_diagram([0, 1, 2, 3], [0, 0, 0, 0], values, boundary=([0, 3], [0, 0])))
    seen = lines(figure)
    np.testing.assert_array_equal(seen["above zero"][0], [0])
    np.testing.assert_array_equal(seen["below zero"][0], [1])
    np.testing.assert_array_equal(seen["within 3 standard errors"][0], [2, 3])
    shifted = lines(ntr.plots.phase_diagram([0, 1], [0, 0], [2.0, 2.5], zero=2.2))
    np.testing.assert_array_equal(shifted["below zero"][0], [0])


# ---- verdicts

CLAIMS = """
import ntkrobust as ntr

GRID = {"depth": (2,), "width": (8, 16, 32)}
formula = ntr.Quantity("formula", lambda width: float(width))
up, down, again = (
    ntr.Claim(f"mine/{name}", "of a formula", relation("width"), formula, GRID)
    for name, relation in (("rises_100%", ntr.IncreasesIn), ("falls", ntr.DecreasesIn), ("Rises-100%", ntr.IncreasesIn))
)
"""


@pytest.fixture(scope="module")
def claims_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("claims") / "claims.py"
    path.write_text(CLAIMS, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def verdicts(claims_file):
    return ntr.verify(claims_file, data="sphere")


def bounded(name, relation, factor):
    """A verdict on a bound: networks around the width, and a reference so many times that."""
    grid = {"depth": (2,), "width": WIDTHS}
    claim = ntr.Claim(f"mine/{name}", "", relation(lambda width: factor * width), "jacobian_frobenius", grid)
    cells = tuple(
        CellSample({"depth": 2, "width": width}, width * RNG.lognormal(0, 0.1, 16), factor * width) for width in WIDTHS
    )
    return decide([(claim, cells, "exact")], 1)[0]


def test_tightness_is_that_of_the_verdicts(verdicts):
    bounds = [bounded("above", ntr.AtMost, 3.0), bounded("below", ntr.AtLeast, 0.005)]
    figure = drawn(ntr.plots.tightness([*bounds, *verdicts]))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["mine/above", "mine/below"]
    dots = [line.get_xdata() for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert [len(ratios) for ratios in dots] == [4, 4]
    for verdict, ratios in zip(bounds, dots, strict=True):
        np.testing.assert_allclose(verdict.tightness, [ratios.min(), ratios.max()])
    assert drawn(ntr.plots.tightness(bounds[0]))
    with pytest.raises(InputError, match="nothing to draw"):
        ntr.plots.tightness(verdicts[2])


def test_a_verdict_gives_its_figure(verdicts):
    figure = drawn(verdicts[2].figure())
    assert figure.get_size_inches()[0] == pytest.approx(6.2)
    with ntr.plots.style("icml"):
        assert verdicts[2].figure().get_size_inches()[0] == pytest.approx(3.25)


def test_the_table_is_latex(verdicts):
    table = verdicts.to_latex()
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 4
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    assert r"mine/rises\_100\%" in rows[1]
    assert r"$\times$" in rows[1]
    assert table.isascii()
    # Escapes taken back give the text; braces are balanced; what is left of specials is a formula.
    plain = "a\\b{c}$d&e#f%g_h^i~j<k>l"
    back = escaped(plain)
    for latex, character in (("\\textasciicircum{}", "^"), ("\\textasciitilde{}", "~"), ("\\textless{}", "<"),
                             ("\\textgreater{}", ">"), ("\\textbackslash{}", "\0")):  # fmt: skip
        back = back.replace(latex, character)
    assert re.sub(r"\\([{}$&#%_])", r"\1", back).replace("\0", "\\") == plain
    assert escaped("<10⁻⁶") == r"\textless{}$10^{-6}$"
    assert escaped("2.6×10⁻⁵") == r"2.6$\times$$10^{-5}$"


def test_figures_are_written_one_per_claim(claims_file, tmp_path, capsys, monkeypatch):
    assert run_command(["verify", claims_file, "--data", "sphere", "--out", str(tmp_path), "--figures", "pdf"]) == 0
    assert f"figures: {tmp_path}/figures/   3 files" in capsys.readouterr().out
    written = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert written == ["mine-Rises-100.pdf", "mine-falls.pdf", "mine-rises_100.pdf"]
    content = (tmp_path / "figures" / "mine-falls.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content
    assert run_command(["report", str(tmp_path), "--figures", "pdf"]) == 0
    assert (tmp_path / "figures" / "mine-falls.pdf").read_bytes() == content
    capsys.readouterr()
    # Planted: one of them can't be drawn.
    draw = figure_files.draw_verdict
    monkeypatch.setattr(
        figure_files, "draw_verdict", lambda one, tree: 1 / 0 if one["claim"] == "mine/falls" else draw(one, tree)
    )
    assert run_command(["report", str(tmp_path), "--figures", "svg"]) == 3
    assert "figures lacks what could not be drawn: mine/falls (ZeroDivisionError" in capsys.readouterr().err
    assert len(list((tmp_path / "figures").glob("*.svg"))) == 2


def test_names_of_files_are_safe_and_different():
    names = file_names(["a/b", "a-b", "A/B", "../../etc/passwd", "模型", "<&>", "x" * 300, "a/b@converged"])
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9@=+_-]{1,110}", name) for name in names)
    assert names[-1] == "a-b@converged"


# ---- sizes


def test_a_style_sets_the_size_and_leaves_no_trace():
    before = dict(matplotlib.rcParams)
    for name, style in STYLES.items():
        with ntr.plots.style(name):
            figure = ntr.plots.width_plot(samples())
            assert figure.get_size_inches()[0] == pytest.approx(style.width)
            assert figure.axes[0].xaxis.label.get_size() == style.size
            assert ntr.plots.size(2, 0.5) == (style.width / 2, pytest.approx(2 * style.width / 1.618))
    with ntr.plots.style("neurips", width=4.0):
        assert ntr.plots.heat_map(np.eye(2), rows=(1, 2), columns=(1, 2)).get_size_inches()[0] == 4.0
    assert dict(matplotlib.rcParams) == before
    assert ntr.plots.width_plot(samples()).get_size_inches()[0] == pytest.approx(6.2)
    with pytest.raises(InputError, match="a style must be one of"), ntr.plots.style("nature"):
        pass


# ---- whatever is given

KINDS = {
    "usual": np.random.default_rng(0).lognormal(size=8), "nothing": [], "one": [1.0], "zero": [0.0] * 4,
    "equal": [2.0] * 4, "negative": [-1.0, -2.0], "infinite": [np.inf, 1.0, 2.0], "nan": [np.nan] * 3,
    "tiny": [1e-300, 2e-300, 4e-300], "huge": [1e300, 2e300, 1.5e300],
}  # fmt: skip


@settings(deadline=None, max_examples=12)
@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4), st.integers(1, 3))
def test_whatever_networks_give_is_drawn(kinds, curves):
    data = {f"<b>{k}</b> $": {2**i: KINDS[kind] for i, kind in enumerate(kinds)} for k in range(curves)}
    drawn(ntr.plots.width_plot(data))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda plots: plots.width_plot({}), "nothing to draw"),
        (lambda plots: plots.width_plot(np.ones((4, 3))), "needs x"),
        (lambda plots: plots.width_plot(np.ones((4, 3)), widths=[1, 2]), "as many rows"),
        (lambda plots: plots.width_plot({1: np.ones((2, 2))}), "one number per network"),
        (lambda plots: plots.width_plot("nothing"), "must be a data set"),
        (lambda plots: plots.width_plot(xr.Dataset({"a": 1, "b": 2})), "which measure"),
        (lambda plots: plots.width_plot(xr.DataArray([1.0], dims="depth")), "no dimension 'width'"),
        (lambda plots: plots.width_plot(xr.DataArray(np.ones((2, 2)), dims=("width", "depth"))), "values of depth: ch"),
        (lambda plots: plots.width_plot({1: [1.0]}, theory=[1.0, 2.0]), "for each of 1 widths"),
        (lambda plots: plots.accuracy_against_radius({0.1: [1.5]}), "between 0 and 1"),
        (lambda plots: plots.time_course(np.ones(3)), "needs what `measure` returns"),
        (lambda plots: plots.heat_map(np.ones((2, 3)), rows=[1, 2], columns=[1]), r"got shape \(2, 3\)"),
        (lambda plots: plots.heat_map(np.full((1, 1), np.nan), rows=[1], columns=[1]), "no cell has a finite number"),
        (lambda plots: plots.phase_diagram([1], [1, 2], [1]), "must be"),
        (lambda plots: plots.tightness({"a": [-1.0]}), "ratios are positive"),
        (lambda plots: plots.size(0), "rows must be positive"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        call(ntr.plots)
    assert "\n" not in str(caught.value)


def test_evidence_that_leaves_something_open_says_what():
    tree = xr.DataTree.from_dict({"measured": xr.Dataset(
        {"a": (("cell", "seed"), np.ones((4, 2)))},
        coords={"width": ("cell", [8, 16, 8, 16]), "depth": ("cell", [2, 2, 3, 3])},
    )})  # fmt: skip
    with pytest.raises(InputError, match=r"several cells at one width: choose with .* by depth"):
        ntr.plots.width_plot(tree, "a")
    with pytest.raises(InputError, match="there is nothing at depth = 9"):
        ntr.plots.width_plot(tree, "a", at={"depth": 9})
    assert set(lines(ntr.plots.width_plot(tree, "a", by="depth"))) == {"depth 2", "depth 3"}
    assert len(lines(ntr.plots.width_plot(tree, "a", at={"depth": 3}))) == 1


def test_of_an_attack_the_accuracy_is_drawn():
    attacked = xr.Dataset(
        {
            "natural_accuracy": ("seed", [1.0, 1.0]),
            "robust_accuracy": (("seed", "epsilon"), [[0.5, 0.25], [0.75, 0.5]]),
            "margin": (("seed", "epsilon"), [[3.0, 3.0], [3.0, 3.0]]),
        },
        coords={"epsilon": [0.1, 0.2]},
    )
    (shown,) = lines(ntr.plots.accuracy_against_radius(attacked)).values()
    np.testing.assert_allclose(shown, [[0.1, 0.2], [0.625, 0.375]])
    both = ntr.plots.accuracy_against_radius({"a": attacked, "b": attacked})
    assert set(lines(both)) == {"a", "b"}
    with pytest.raises(InputError, match="which measure"):
        ntr.plots.accuracy_against_radius(attacked.drop_vars("robust_accuracy"))


def test_accuracy_is_drawn_between_what_is_certified_and_what_attacks_leave():
    radii = {"epsilon": [0.1, 0.2]}
    attacked = xr.DataArray([[0.5, 0.25], [0.75, 0.5]], dims=("seed", "epsilon"), coords=radii, name="robust_accuracy")
    certified = xr.Dataset(
        {"certified_accuracy": attacked - 0.2, "natural_accuracy": ("seed", [1.0, 1.0])}, coords=radii
    )
    figure = ntr.plots.accuracy_against_radius(attacked, certified=certified)
    shown = lines(figure)
    np.testing.assert_allclose(shown["certified"], [[0.1, 0.2], [0.425, 0.175]])
    assert len(shown) == 2
    assert len(figure.axes[0].collections) == 2
    named = ntr.plots.accuracy_against_radius(
        {"a": attacked, "b": attacked}, certified={"a": certified, "b": certified}
    )
    assert set(lines(named)) == {"a", "a, certified", "b", "b, certified"}
    for wrong, words in [
        (certified + 0.3, "more than what attacks leave"),
        (certified.assign_coords(epsilon=[0.1, 0.3]), "the lines and the radii"),
        ({"c": certified}, "the lines and the radii"),
    ]:
        with pytest.raises(InputError, match=words):
            ntr.plots.accuracy_against_radius(attacked, certified=wrong)


# ---- the package and its page


def test_the_package_draws_nothing_until_it_is_asked_to():
    code = (
        "import sys, ntkrobust; print('matplotlib' in sys.modules); ntkrobust.plots; print('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == [
        "False",
        "True",
    ]


def test_the_page_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parents[1] / "docs" / "plots.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    names = {}
    with warnings.catch_warnings():
        for block in blocks:
            exec(compile(block, "docs/plots.md", "exec"), names)
    assert {path.name for path in tmp_path.glob("*.pdf")} == {
        "width.pdf", "time.pdf", "verdicts.pdf", "plane.pdf", "verdict.pdf",
    }  # fmt: skip
    for name in ntr.plots.__all__:
        assert f"`{name}`" in text or f"plots.{name}" in text, name
