"""The pages on statements: which claims they are about, their commands, tables and figures."""

import dataclasses
import importlib.util
import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import ntkrobust as ntr
from ntkrobust.bounds.papers.catalogue import catalogue, select
from ntkrobust.bounds.papers.sizes import PRESETS
from ntkrobust.errors import InputError
from ntkrobust.reports.stored import Stored, read_folder

OPTIMIZED = True

DOCS = Path(__file__).parents[1] / "docs"
VERIFY = re.compile(r"ntkrobust verify ([^`\n]*)")
IMAGE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE, FIGURES, PEAK = script("statements_table"), script("statement_figures"), script("width_peak")
PAGES: dict[Path, str] = TABLE.pages()
TEXTS = {**PAGES, DOCS / "statements" / "README.md": (DOCS / "statements" / "README.md").read_text(encoding="utf-8")}
EVERY = {claim.base_id: claim for preset in PRESETS for claim in catalogue(preset)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few claims: networks in one, arithmetic in two."""
    out = tmp_path_factory.mktemp("results")
    claims = ["zhu2022/depth-he/measured@initialization", "zhu2022/width-turn/bound", "zhu2022/width-over/bound"]
    ntr.verify(claims, seeds=12, points=2, out=out)
    return out


# Claims and commands


def misplaced(pages: dict[Path, str], wanted: set[str]) -> set[str]:
    """Claims that are on no page or on more than one, and claims on a page that do not exist."""
    listed = Counter(claim for text in pages.values() for claim in TABLE.claims_of(text))
    return {claim for claim in wanted if listed[claim] != 1} | (set(listed) - set(EVERY))


@pytest.mark.fast
def test_every_claim_of_the_papers_is_on_one_page() -> None:
    wanted = {base for base, claim in EVERY.items() if claim.paper in ("zhu2022", "wu2021")}
    assert not misplaced(PAGES, wanted)
    twice = PAGES | {Path("more.md"): "**Claims.** `zhu2022/depth-he/measured`\n"}
    assert misplaced(twice, wanted) == {"zhu2022/depth-he/measured"}
    invented = PAGES | {Path("more.md"): "**Claims.** `zhu2022/depth-sideways/measured`\n"}
    assert misplaced(invented, wanted) == {"zhu2022/depth-sideways/measured"}
    without = {path: text for path, text in PAGES.items() if path.name != "nonlazy-width.md"}
    assert misplaced(without, wanted) == {"zhu2022/nonlazy-width/measured"}
    without = {path: text for path, text in PAGES.items() if path.name != "wider-lipschitz.md"}
    assert misplaced(without, wanted) == set(TABLE.claims_of(PAGES[DOCS / "statements" / "wider-lipschitz.md"]))


def named(text: str) -> list[str]:
    """What the ``ntkrobust verify`` commands of a page ask for."""
    names = []
    for command in VERIFY.findall(text):
        words = shlex.split(command)
        options = {
            index for index, word in enumerate(words) if word in ("--preset", "--out", "--seeds", "--looks", "--data")
        }
        names += [word for index, word in enumerate(words) if index not in options and index - 1 not in options]
    return [name for name in names if not name.startswith("-")]


@pytest.mark.fast
@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_commands_name_claims_that_exist(path: Path) -> None:
    names = named(TEXTS[path])
    assert names
    select(names, "standard")


def test_a_command_for_an_unknown_claim_is_noticed() -> None:
    with pytest.raises(InputError, match="unknown claim"):
        select(named("$ ntkrobust verify zhu2022/depth-up/measured --preset quick\n"))


# Figures


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_images_exist(path: Path) -> None:
    for image in IMAGE.findall(TEXTS[path]):
        assert (path.parent / image).is_file(), image


def test_figures_of_the_pages_are_those_the_scripts_write() -> None:
    shown = {Path(image).stem for text in PAGES.values() for image in IMAGE.findall(text)}
    assert shown == {*FIGURES.TRENDS, *FIGURES.OVERVIEWS, PEAK.FIGURE.stem, "phase-diagram"}
    assert set(FIGURES.TRENDS.values()) <= {claim.id for claim in catalogue("standard")}


def test_drawing_twice_gives_the_same_bytes(folder: Path) -> None:
    stored = read_folder(folder)
    first, again = dict(FIGURES.figures(stored)), dict(FIGURES.figures(read_folder(folder)))
    assert set(first) == {"depth-he-untrained", "depth-finite"}
    assert first == again
    # other evidence is another picture
    stored.document["values"]["verdicts"][0]["cells"][0]["theory"] *= 1.01
    changed = dict(FIGURES.figures(Stored(stored.document, stored.evidence)))
    assert changed["depth-he-untrained"] != first["depth-he-untrained"]


# Tables


def test_tables_are_filled_from_verdicts(folder: Path) -> None:
    verdicts = TABLE.read([str(folder)])
    page = ["zhu2022/depth-he/measured", "zhu2022/width-turn/bound"]
    text = "before\n<!-- table: verdicts -->\nold\n<!-- end -->\nafter\n"
    once = TABLE.filled(text, page, verdicts)
    assert TABLE.filled(once, page, verdicts) == once
    assert "old" not in once
    assert "| `zhu2022/width-turn/bound` | arithmetic | supported ×6.74 |" in once
    assert "zhu2022/width-over/bound" not in once
    with pytest.raises(InputError, match="unknown table"):
        TABLE.filled("<!-- table: verdict -->\n<!-- end -->", page, verdicts)
    with pytest.raises(InputError, match="no verdicts for the table 'exponents'"):
        TABLE.filled("<!-- table: exponents -->\n<!-- end -->", page, verdicts)


def test_signs_of_depth_effects_are_compared() -> None:
    def cell(depth: int, mean: float, half: float, theory: float) -> dict[str, Any]:
        at = {"initialization": "he", "depth": depth, "width": 8}
        return {
            "coordinates": at, "mean": mean, "interval": [mean - half, mean + half], "theory": theory,
            "in_scope": True, "problem": "",
        }  # fmt: skip

    cells = [cell(2, 1.0, 0.01, 1.0), cell(3, 1.2, 0.01, 1.1), cell(5, 1.4, 0.01, 0.9), cell(8, 1.41, 0.2, 1.0)]
    claim = "zhu2022/depth-he/measured@equal-scaled-time"
    rows = TABLE.TABLES["agreement"](["zhu2022/depth-he/measured"], {"quick": {claim: {"cells": cells}}})
    assert [row[5] for row in rows[1:]] == ["agree", "differ", "undecided", "flat"]
    assert rows[2][6] == "+9%, +56%"
    # relative half-widths 0.01 and 0.01/1.2 add up in squares: 0.0130
    assert rows[1][3] == f"×{TABLE.words.estimate(1.2, (1.2 * np.exp(-0.01302), 1.2 * np.exp(0.01302)))}"


# Adversarially trained networks


def attacked(width: int, natural: list[float], stable: list[float]) -> dict[str, Any]:
    """A cell whose networks have these shares; robust accuracy is their product."""
    values = {
        "natural_accuracy": np.array(natural),
        "stability_given_correct_by_pgd": np.array(stable),
        "robust_accuracy_by_pgd": np.array(natural) * np.array(stable),
        "prediction_stability_by_pgd": np.array(stable),
        "local_lipschitz_by_pgd": np.full(len(natural), np.nan),
        "kl_gradient_by_pgd": np.full(len(natural), np.nan),
    }
    evidence = xr.Dataset({name: ("seed", one) for name, one in values.items()})
    return {"coordinates": {"width": width, "strength": 2.0}, "evidence": evidence}


def planted(cells: list[dict[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """A page and its verdicts."""
    reading = ntr.Reading(
        "fixed steps", 300, optimizer="adam", learning_rate=0.01, adversary=ntr.Adversary(0.03, objective="trades")
    )
    verdict = {"reading": dataclasses.asdict(reading), "grid": {"strength": [2.0]}, "cells": cells}
    return ["wu2021/natural/measured"], {"quick": {"wu2021/natural/measured@trades-2": verdict}}


def test_levels_and_splits_are_those_planted() -> None:
    narrow, wide = attacked(48, [0.9, 0.92, 0.88], [0.8, 0.82, 0.78]), attacked(16, [0.8, 0.82, 0.78], [0.9, 0.9, 0.9])
    page, verdicts = planted([narrow, wide])
    levels = TABLE.TABLES["levels"](page, verdicts)
    # sorted by width; standard deviation 0.02 of three networks: an error of 0.0115
    assert levels[1][:4] == ["300 steps of TRADES, β = 2", "16", "0.800 ± 0.012", "0.900 ± 0.000"]
    assert levels[2][-1] == TABLE.words.MISSING
    (_, row) = TABLE.TABLES["split"](page, verdicts)
    robust, natural, stable = (float(cell.split(" ± ")[0].replace("−", "-")) for cell in row[2:5])
    assert row[1] == "16 → 48"
    assert natural == pytest.approx(np.log(0.9 / 0.8), abs=2e-3)
    assert stable == pytest.approx(np.log(0.8 / 0.9), abs=2e-3)
    assert robust == pytest.approx(natural + stable, abs=2e-3)
    # relative errors 0.0144 and 0.0128 of the natural accuracies add up in squares
    assert row[3].endswith("± 0.019")
    assert row[5] == "neither: they cancel"


def test_readings_of_presets_that_differ_in_a_number_share_their_words() -> None:
    (claim,) = planted([])[1]["quick"]

    def said(*steps: float, time: str = "fixed steps") -> str:
        verdicts = {
            str(number): {claim: {"reading": dataclasses.asdict(ntr.Reading(time, number)), "grid": {}}}
            for number in steps
        }
        return TABLE._reading(claim, verdicts)

    assert said(300) == said(300, 300) == "300 steps"
    assert said(300, 500) == "300 / 500 steps"
    assert said(0.2, 0.3, time="equal loss") == "loss 0.2 / loss 0.3"


@pytest.mark.parametrize(
    ("whole", "natural", "stable", "said"),
    [
        ((0.1, 0.01), (0.2, 0.01), (-0.1, 0.01), "accuracy, against stability"),
        ((-0.1, 0.01), (0.1, 0.01), (-0.2, 0.01), "stability, against accuracy"),
        ((0.3, 0.01), (0.2, 0.01), (0.1, 0.01), "accuracy and stability"),
        ((0.2, 0.01), (0.2, 0.01), (0.01, 0.01), "accuracy"),
        ((0.01, 0.01), (0.2, 0.01), (-0.19, 0.01), "neither: they cancel"),
        ((0.01, 0.01), (0.2, 0.01), (0.01, 0.01), "nothing seen"),
        ((0.03, 0.01), (0.015, 0.01), (0.015, 0.01), "undecided"),
    ],
)
def test_what_moves_a_sum_is_told(
    whole: tuple[float, float], natural: tuple[float, float], stable: tuple[float, float], said: str
) -> None:
    assert TABLE.moved_by(whole, natural, stable) == said


# The peak in width


def curve(widths: tuple[int, ...], medians: list[float], shares: list[float], seeds: int = 20) -> Any:
    """Networks whose medians and shares below the line are those planted."""
    rng = np.random.default_rng(0)
    stability = np.array(medians)[:, None] * np.exp(0.05 * rng.standard_normal((len(widths), seeds)))
    error = np.where(np.arange(seeds) < np.array(shares)[:, None] * seeds, 0.001, 0.1)
    return PEAK.Curve(PEAK.Sweep("planted", 256, 0.2, widths, seeds), stability, error)


def test_a_planted_peak_is_found() -> None:
    found = curve((2, 4, 8, 16), [1.0, 3.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    assert found.highest == PEAK.Estimate(4.0, 4.0, 4.0)
    # The parabola through (−1, 1), (0, 3), (1, 2) turns at 1/6; medians of 20 networks are known to about 1.4 %.
    assert found.peak.value == pytest.approx(4 * 2 ** (1 / 6), rel=0.02)
    assert found.peak.low < 4 * 2 ** (1 / 6) < found.peak.high < 4.2 * 2 ** (1 / 6)
    assert found.interpolation.value == pytest.approx(4 * 2**0.5)
    assert found.ratio.value == pytest.approx(2 ** (1 / 6 - 1 / 2), rel=0.02)
    assert found.inside == 1.0
    assert "within a factor 2" in PEAK.describe(found)
    assert "not within" not in PEAK.describe(found)


@pytest.mark.parametrize("turn", [1.2, 1.9])
def test_the_top_of_a_parabola_is_found_between_widths(turn: float) -> None:
    widths = (2, 3, 6, 8, 20)
    medians = 5 - (np.log(widths) - turn) ** 2
    assert PEAK._peak(widths, medians[None]) == pytest.approx([np.exp(turn)], rel=1e-9)
    # and at an end, that end
    assert PEAK._peak(widths, np.array([[3.0, 2, 1, 1, 1], [1, 1, 1, 2, 3]])) == pytest.approx([2.0, 20.0])


def test_a_peak_far_from_interpolation_and_no_peak_are_told() -> None:
    far = curve((2, 4, 8, 16, 32), [1.0, 3.0, 2.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.2, 1.0])
    assert "not within a factor 2" in PEAK.describe(far)
    falls = curve((8, 16, 32), [3.0, 2.0, 1.0], [1.0, 1.0, 1.0])
    assert "no peak" in PEAK.describe(falls)
    never = curve((2, 4, 8), [1.0, 2.0, 1.0], [0.0, 0.0, 0.1])
    assert never.interpolation.value == np.inf


def test_the_stored_peak_is_the_one_on_the_page_and_in_the_figure() -> None:
    curves = PEAK.read(PEAK.STORED)
    page = PAGES[DOCS / "statements" / "width.md"]
    for one in (*curves[:2], curves[3]):
        assert f"| {one.peak} |" in page
        assert f"| {one.interpolation} | {one.ratio} |" in page
        assert one.ratio.low >= 1 / PEAK.FACTOR
        assert one.ratio.high <= PEAK.FACTOR
    assert curves[-1].inside < 0.5
    picture = PEAK.picture(curves)
    assert picture == PEAK.picture(PEAK.read(PEAK.STORED))
    assert f"{picture}\n" == PEAK.FIGURE.read_text(encoding="utf-8")


def test_the_peak_is_trained_as_described(tmp_path: Path) -> None:
    """Two widths, few steps: stored and read again, with the error as a share of the labels' variance."""
    data = ntr.data.load("digits")
    trained = PEAK.train(PEAK.Sweep("short", 32, 0.2, (2, 4), seeds=3, steps=5), data)
    PEAK.store([trained], tmp_path / "stored.json")
    (again,) = PEAK.read(tmp_path / "stored.json")
    np.testing.assert_allclose(again.stability, trained.stability, rtol=1e-5)
    y = data.noisy_targets(32, 0.2)
    run = ntr.train(
        ntr.MLP(2, 4), data.x_train[:32], y, seeds=3, steps=5, optimizer="adam", learning_rate=0.01, record_steps=[5]
    )
    first, last = map(np.asarray, run.parameters.weights)
    outputs = np.einsum("som,smn->sno", last, np.maximum(np.einsum("smd,nd->smn", first, data.x_train[:32]), 0))
    error = np.mean((outputs - y) ** 2, axis=(1, 2)) / np.var(y)
    np.testing.assert_allclose(again.error[1], error, rtol=1e-4)
