"""Random data sets through everything: a result or one sentence each, never a traceback.

``python benchmarks/random_data.py --count 200`` makes more of them, of more shapes, with reports.
"""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.data import Dataset

SEED = 7
COUNT = 25


@pytest.fixture(scope="module")
def random_data():
    path = Path(__file__).parents[1] / "benchmarks" / "random_data.py"
    spec = importlib.util.spec_from_file_location("random_data", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["random_data"] = module
    spec.loader.exec_module(module)
    return module


def test_every_data_set_ends_in_results_or_in_one_sentence(random_data, tmp_path):
    """Of one shape, so that they share programs."""
    counts = Counter()
    for index in range(COUNT):
        folder = tmp_path / str(index)
        folder.mkdir()
        case = random_data.draw(SEED, index, folder, shapes=[(20, 4)])
        for stage, outcome, words in random_data.stages(case, None):
            counts[stage, outcome] += 1
            assert outcome in (random_data.RESULT, random_data.SENTENCE), (index, case.words, stage, words)
    assert counts["load", random_data.SENTENCE] >= 5
    assert all(counts[stage, random_data.RESULT] >= 5 for stage in random_data.STAGES)


def plain(random_data, words=("plain",)):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), np.arange(20) % 2
    return random_data.Case((x, y), x, 1e-12, list(words))


def first_stage(random_data, case):
    return next(random_data.stages(case, None))


def raises(error):
    def load(*args, **options):
        raise error

    return load


def test_draws_are_the_same_every_time(random_data, tmp_path):
    one, other = (random_data.draw(1, 4, tmp_path) for _ in range(2))
    assert one.words == other.words
    assert random_data.draw(1, 5, tmp_path).words != one.words


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (KeyError("x_train"), "traceback"),
        (ZeroDivisionError(), "traceback"),
        (ntr.InputError("one line"), "sentence"),
    ],
)
def test_a_loader_that_fails_is_seen(fault, outcome, random_data, monkeypatch):
    monkeypatch.setattr(random_data.data, "load", raises(fault))
    assert first_stage(random_data, plain(random_data))[1] == outcome


def test_a_loader_that_warns_or_takes_other_numbers_is_seen(random_data, monkeypatch):
    load = random_data.data.load
    case = plain(random_data)
    assert first_stage(random_data, case)[1] == "result"

    def of_other_columns(given):
        found = load(given)
        return Dataset(found.x_train[:, ::-1], found.y_train, found.x_test[:, ::-1], found.y_test, "x", found.task)

    def without_a_row(given):
        return load(given).subset(15, 4)

    def warning(given):
        np.array([1e300]) * np.array([1e300])
        return load(given)

    for fault, outcome in ((of_other_columns, "wrong"), (without_a_row, "wrong"), (warning, "traceback")):
        monkeypatch.setattr(random_data.data, "load", fault)
        assert first_stage(random_data, case)[1] == outcome


def test_results_that_cannot_be_right_are_seen(random_data, monkeypatch):
    """Networks that are more robust than right, and accuracies above one."""
    case = plain(random_data)
    attack, measure = ntr.attack, ntr.measure
    monkeypatch.setattr(random_data.ntr, "attack", lambda *args, **options: attack(*args, **options) * 0 + 2)
    monkeypatch.setattr(random_data.ntr, "measure", lambda *args, **options: measure(*args, **options) + 1.5)
    ended = {stage: outcome for stage, outcome, _ in random_data.stages(case, None)}
    assert (ended["measure"], ended["train"]) == ("wrong", "result")
    assert ended["attack"] in ("wrong", "traceback")
