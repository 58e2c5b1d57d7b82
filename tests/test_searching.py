"""The search for a cell where a bound fails, between those of its grid."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.cli import run
from ntkrobust.networks.initializations import Initialization, as_initialization
from ntkrobust.workflows.search import search

# True at both ends of the grid, false between them.
HOLE = """
id = "mine/hole"
relation = "at most"
bound = "exact_law * max(0.7, 1.5 * 8 / width, 1.5 * width / 64)"
measure = "perturbation_stability"
grid = { initialization = ["he", "lecun"], depth = 2, width = [8, 64] }
draws = 8
"""


def test_a_hole_between_the_cells_of_the_grid_is_found_and_reproduced(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hole.toml").write_text(HOLE)
    assert run(["verify", "hole.toml", "--seeds", "16"]) == 0
    assert re.search(r"mine/hole +supported", capsys.readouterr().out)
    assert run(["verify", "hole.toml", "--search", "--budget", "12", "--seeds", "16"]) == 0
    data, scale, found, confirmed, command = capsys.readouterr().out.splitlines()
    assert data.startswith("data: digits, even (+1) against odd (-1)")
    assert scale.endswith("ε is in these units")
    assert found.startswith("mine/hole: worst of 12 cells, by a factor 1.")
    assert confirmed.startswith("on fresh networks refuted: ")
    assert run(shlex.split(command)[1:]) == 0
    again = capsys.readouterr().out
    assert re.search(r"mine/hole +refuted", again)
    # the same networks: the same ratio, to all digits
    (ratio,) = re.findall(r"is at most ([\d.]+) ", confirmed)
    measured, bound = map(float, re.findall(r"measured ([\d.]+), bound ([\d.]+)", again)[0])
    assert f"{measured / bound:.3f}" == ratio


def test_a_true_bound_survives_its_search() -> None:
    claim = ntr.Claim(
        "mine/jensen",
        "",
        ntr.AtMost(lambda exact_law: 1.3 * exact_law),
        "perturbation_stability",
        {"depth": (2,), "width": (8, 9), "scale": (0.5, 2.0)},
        draws=8,
    )
    found = ntr.search(claim, budget=6, seeds=16)
    assert found.verdict.label == "supported"
    assert found.ratio < 1
    assert len(found.tried) == 6
    assert all(0.5 <= at["scale"] <= 2 and at["width"] in (8, 9) for at, _ in found.tried)


def test_searches_are_for_bounds_with_a_constant() -> None:
    with pytest.raises(ntr.InputError, match="a search needs a bound with its constant"):
        search("law/second-moment")
    with pytest.raises(ntr.InputError, match="a search is for one claim"):
        search("law")


def test_inputs_are_scaled() -> None:
    claim = ntr.Claim(
        "mine/scaled",
        "",
        ntr.AtMost(lambda scale: 10 * scale),
        "output_rms",
        {"depth": (2,), "width": (8,), "scale": (1.0, 3.0)},
    )
    one, three = ntr.verify(claim, seeds=12).cells
    np.testing.assert_allclose(three.values, 3 * one.values, rtol=1e-5)


def test_gains_can_be_written() -> None:
    assert as_initialization("gains(2, 1.5, 1)") == Initialization.from_gains(2, 1.5, 1)
    assert as_initialization("he").gains == (2, 2, 2)
    assert as_initialization("ntk").gains is None
    for text in ("gains(2, 1)", "gains(2, x, 1)", "gains(2, -1, 1)"):
        with pytest.raises(ntr.InputError):
            as_initialization(text)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--at width", "a cell is given as AXIS=VALUE"),
        ("--at height=3", "its grid has no axis 'height'"),
        ("--at width=8", "needs values for initialization, depth too"),
        ("--only mine", "there is no claim 'mine' among those given"),
    ],
)
def test_bad_cells_are_one_sentence(arguments: str, sentence: str, capsys: pytest.CaptureFixture) -> None:
    assert run(["verify", "law/jensen", *arguments.split()]) == 2
    assert sentence in capsys.readouterr().err
