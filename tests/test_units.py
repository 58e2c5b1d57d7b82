"""Claims whose numbers are in units of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims.toml_file import claims_in_toml
from ntkrobust.data import load
from ntkrobust.errors import InputError
from ntkrobust.studies.facts import facts_of

HEAD = 'id = "own/units"\nrelation = "decreases in"\naxis = "width"\nmeasure = "prediction_stability"\n'
GRID = 'grid = { initialization = ["he"], depth = 2, width = ["0.5 thresholds", "1 threshold", "4 thresholds"], '


def _file(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", ["digits", "digits-classes", "breast-cancer"])
def test_units_are_those_of_the_data(name: str, tmp_path: Path) -> None:
    data = load(name)
    path = _file(tmp_path, f'{HEAD}{GRID}n = 100, epsilon = "0.25 distances" }}')
    (claim,) = claims_in_toml(path, facts_of(data))
    # By hand: m* (d + o) = n o parameters, and the distance that the data state.
    threshold = 100 * data.o / (data.d + data.o)
    assert claim.grid["width"] == tuple(
        max(rank, round(share * threshold)) for rank, share in ((1, 0.5), (2, 1), (3, 4))
    )
    distance = data.class_distance("linf")
    assert claim.grid["epsilon"] == (float(f"{0.25 * distance:.2g}"),)
    assert f"{threshold:.3g} neurons at n = 100" in claim.design


def test_the_radius_of_an_adversary_has_units_too(tmp_path: Path) -> None:
    reading = (
        'reading = { time = "fixed steps", value = 5, loss = "cross_entropy", '
        'adversary = { epsilon = "0.5 distances" } }'
    )
    data = load("digits")
    (claim,) = claims_in_toml(_file(tmp_path, f"{HEAD}{GRID}n = 64, epsilon = 0.1 }}\n{reading}"), facts_of(data))
    assert claim.reading.adversary is not None
    assert claim.reading.adversary.epsilon == pytest.approx(0.5 * data.class_distance("linf"), rel=0.05)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ('width = ["1 threshold", 8, 16], epsilon = 0.1', "all values in one unit"),
        ('width = ["1 distance", "2 distances", "3 distances"], epsilon = 0.1', "they are for epsilon"),
        (
            'width = ["1 threshold", "2 thresholds"], n = [64, 128], epsilon = 0.1',
            "give the grid one n",
        ),
        ('width = [8, 16, 32], depth = "1 threshold", epsilon = 0.1', "they are for width"),
    ],
)
def test_units_out_of_place_are_refused(grid: str, sentence: str, tmp_path: Path) -> None:
    depth = "" if "depth" in grid else "depth = 2, "
    path = _file(tmp_path, f'{HEAD}grid = {{ initialization = ["he"], {depth}{grid} }}')
    with pytest.raises(InputError, match=sentence):
        claims_in_toml(path, facts_of(load("digits")))


def test_units_need_data_that_have_them(tmp_path: Path) -> None:
    path = _file(
        tmp_path, f'{HEAD}grid = {{ initialization = ["he"], depth = 2, width = [4, 8, 16], epsilon = "1 distance" }}'
    )
    with pytest.raises(InputError, match="no classes"):
        ntr.verify(path, data=(np.random.default_rng(0).normal(size=(40, 3)), np.linspace(1.0, 2.0, 40)))
    with pytest.raises(InputError, match="with a data set only"):
        claims_in_toml(path)
