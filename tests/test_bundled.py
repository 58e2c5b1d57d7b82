"""Data sets that need no download, by name."""

import itertools
import math

import numpy as np
import pytest
import sklearn.datasets
from refusals import refused

from ntkrobust.data import NAMES, gaussian, load, sphere, table

SOURCES = {
    "breast-cancer": (sklearn.datasets.load_breast_cancer, 569, 30, 1),
    "wine": (sklearn.datasets.load_wine, 178, 13, 3),
    "iris": (sklearn.datasets.load_iris, 150, 4, 3),
    "diabetes": (sklearn.datasets.load_diabetes, 442, 10, 1),
}


def parts(data):
    return np.vstack([data.x_train, data.x_test]), np.vstack([data.y_train, data.y_test])


@pytest.mark.parametrize("name", SOURCES)
def test_tables_are_those_of_scikit_learn(name):
    """As they are, every row of the source is there once, with its own target."""
    read, points, d, o = SOURCES[name]
    x, y = read(return_X_y=True)
    data = load(f"{name}:raw")
    assert (data.n + len(data.x_test), data.d, data.o) == (points, d, o)
    rows, found = parts(data)
    if name == "diabetes":
        wanted, found = y, found[:, 0] * np.std(_raw_targets(data, x, y)) + np.mean(_raw_targets(data, x, y))
    else:
        wanted, found = y, (found[:, 0] > 0 if o == 1 else found.argmax(axis=1))
    assert _sorted(rows, found) == _sorted(x, wanted)
    assert _sorted(rows, found) != _sorted(x, np.roll(wanted, 1))
    assert data.task == ("regression" if name == "diabetes" else "classification")


def _sorted(x, y):
    return sorted((*row, round(float(one), 6)) for row, one in zip(np.round(x, 9).tolist(), y, strict=True))


def _raw_targets(data, x, y):
    """Targets of the training points, as the source has them."""
    at = {tuple(row): one for row, one in zip(x.tolist(), y, strict=True)}
    return [at[tuple(row)] for row in data.x_train.tolist()]


@pytest.mark.parametrize("name", SOURCES)
def test_columns_are_standardized_by_the_training_points(name):
    data, raw = load(name), load(f"{name}:raw")
    assert np.allclose(data.x_train.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(data.x_train.var(axis=0), 1 / data.d)
    assert data.scale == pytest.approx(1)
    # Test points by the same map, which is affine in each column.
    slope = np.std(raw.x_train, axis=0) * math.sqrt(data.d)
    assert np.allclose(data.x_test * slope + raw.x_train.mean(axis=0), raw.x_test)
    unit = load(f"{name}:unit")
    assert np.allclose(np.linalg.norm(parts(unit)[0], axis=1), 1)
    assert np.allclose(unit.x_test, data.x_test / np.linalg.norm(data.x_test, axis=1, keepdims=True))
    assert np.array_equal(unit.y_train, data.y_train)


def test_tasks_and_classes():
    assert load("wine").classes == (0, 1, 2)
    assert load("breast-cancer").classes == (0, 1)
    assert load("diabetes").classes is None
    assert np.std(load("diabetes").y_train) == pytest.approx(1)
    one = load("iris-2-vs-rest:unit")
    assert np.array_equal(one.y_train[:, 0] > 0, load("iris").y_train[:, 2] == 1)
    assert one == table("iris", "one-vs-rest", 2, "unit")
    assert load("iris", seed=1).x_train.tolist() != load("iris").x_train.tolist()


def test_names_say_what_the_data_are():
    for name, words in itertools.product(SOURCES, ("of scikit-learn", "variance 1/d", "split 80% train")):
        assert words in load(name).name
    assert "columns as they are" in load("wine:raw").name
    assert "rows of unit norm" in load("wine:unit").name


def test_synthetic_data_of_any_size_by_name():
    assert load("sphere:d=64,n=512") == sphere(512, 100, 64)
    assert load("gaussian:test=7,n=9,d=3,target=linear,noise=0.5,seed=4") == gaussian(9, 7, 3, "linear", 0.5, 4)
    assert load("gaussian:n=9", seed=3) == gaussian(9, 100, 16, seed=3)
    assert load("sphere") == sphere(400, 100, 16)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sphere:d", ("d=64,n=512", "'d'")),
        ("sphere:", ("d=64,n=512",)),
        ("sphere:raw", ("d=64,n=512", "'raw'")),
        ("sphere:width=3", ("n, test, d", "width=3")),
        ("sphere:d=3,d=4", ("each once",)),
        ("sphere:d=3.5", ("d must be a natural number", "'3.5'")),
        ("sphere:d=0", ("d must be", "1")),
        ("sphere:n=-4", ("n must be a natural number",)),
        ("sphere:n=99999999999999999999", ("n must be a natural number",)),
        ("sphere:d=100000,n=10000000", ("at most",)),
        ("gaussian:noise=loud", ("noise", "'loud'")),
        ("gaussian:noise=nan", ("noise",)),
        ("gaussian:target=cubic", ("target", "'cubic'")),
        ("diabetes-1-vs-rest", ("task",)),
        ("iris-3-vs-rest", ("positive", "2")),
        ("iris:pixel", ("unknown data 'iris:pixel'", "iris", "wine", "breast-cancer", "diabetes")),
        ("Wine", ("unknown data 'Wine'", "sphere", ":d=64,n=512")),
    ],
)
def test_other_names_are_refused_in_one_sentence(name, words):
    refused(lambda: load(name), *words)


def test_every_name_that_needs_no_folder_and_no_network_can_be_loaded():
    for name in (one for one in NAMES if ":" not in one):
        data = load(name.replace("N", "3"))
        assert data.n > 100
        assert data.class_distance("linf") > 0
    refused(lambda: table("boston"), "breast-cancer", "'boston'")
