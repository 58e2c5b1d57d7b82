"""How long inputs are and how far apart classes lie, against loops over all pairs of points."""

import pickle

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ntkrobust.data import Dataset, digits, geometry, sphere
from ntkrobust.errors import InputError

LENGTH = {
    "linf": lambda v: max(abs(one) for one in v),
    "l2": lambda v: sum(one * one for one in v) ** 0.5,
    "l1": lambda v: sum(abs(one) for one in v),
}


def dataset(x, y, task="classification", **options):
    return Dataset(x, y, x[:1], y[:1], "some points", task, **options)


def drawn(seed=0, n=40, d=5, classes=3):
    rng = np.random.default_rng(seed)
    y = np.eye(classes)[rng.integers(classes, size=n)]
    return rng.normal(size=(n, d)), y


def by_hand(x, labels, norm):
    """The median of the distances to the nearest point of another class, point by point."""
    nearest = []
    for one, label in zip(x.tolist(), labels, strict=True):
        others = [row for row, other in zip(x.tolist(), labels, strict=True) if other != label]
        nearest.append(min(LENGTH[norm]([a - b for a, b in zip(one, row, strict=True)]) for row in others))
    return float(np.median(nearest))


@pytest.mark.parametrize("norm", LENGTH)
@pytest.mark.parametrize("factor", [1.0, 1e-150, 1e150])
def test_distances_are_those_of_all_pairs(norm, factor):
    x, y = drawn()
    found = dataset(factor * x, y).class_distance(norm)
    assert found == pytest.approx(factor * by_hand(x, y.argmax(axis=1), norm), rel=1e-12)


@pytest.mark.parametrize("norm", LENGTH)
def test_a_distance_in_another_norm_is_noticed(norm, monkeypatch):
    x, y = drawn()
    wrong = {"linf": "euclidean", "l2": "sqeuclidean", "l1": "chebyshev"}
    monkeypatch.setattr(geometry, "_METRICS", wrong)
    assert dataset(x, y).class_distance(norm) != pytest.approx(by_hand(x, y.argmax(axis=1), norm), rel=0.01)


def test_one_column_has_the_classes_of_its_signs_targets_of_a_regression_too():
    x, y = drawn(1)
    signs = np.where(y[:, :1] == 1, 1.0, -1.0)
    wanted = by_hand(x, signs[:, 0], "l2")
    assert dataset(x, signs).class_distance("l2") == pytest.approx(wanted)
    assert dataset(x, 0.3 * signs, "regression").class_distance("l2") == pytest.approx(wanted)


def test_only_coordinates_that_can_move_count():
    x, y = drawn(2)
    movable = np.array([True, False, True, True, False])
    found = dataset(x, y, movable=movable).class_distance("l1")
    assert found == pytest.approx(by_hand(x[:, movable], y.argmax(axis=1), "l1"))
    assert found < dataset(x, y).class_distance("l1")


@pytest.mark.parametrize("factor", [1.0, 1e-150, 1e150])
def test_the_scale_is_the_root_mean_square_norm(factor):
    x, y = drawn(3)
    wanted = (sum(one * one for row in x.tolist() for one in row) / len(x)) ** 0.5
    assert dataset(factor * x, y).scale == pytest.approx(factor * wanted, rel=1e-12)
    assert sphere(50, 5, 7).scale == pytest.approx(1)


def test_the_scale_is_summed_in_blocks(monkeypatch):
    x, y = drawn(4)
    whole = dataset(x, y).scale
    monkeypatch.setattr(geometry, "_BLOCK", 15)
    assert dataset(x, y).scale == pytest.approx(whole, rel=1e-14)


def test_points_are_drawn_where_there_are_many(monkeypatch):
    """Distances from a tenth of the digits: within 4 % of those from 512. Of a small class all are seen."""
    data = digits("classes")
    whole = by_norm(data)
    monkeypatch.setattr(geometry, "MOST_POINTS", 144)
    drawn_points = by_norm(digits("classes"))
    assert all(drawn_points[norm] == pytest.approx(whole[norm], rel=0.04) for norm in LENGTH)
    assert drawn_points != whole

    rng = np.random.default_rng(5)
    x = rng.normal(size=(4000, 2))
    y = np.full((4000, 1), -1.0)
    y[[7, 3001]] = 1.0
    monkeypatch.setattr(geometry, "MOST_POINTS", 4000)
    nearest = np.minimum(*(np.linalg.norm(x - x[at], axis=1) for at in (7, 3001)))
    assert dataset(x, y).class_distance("l2") == pytest.approx(np.median(nearest), rel=1e-3)


def by_norm(data):
    return {norm: data.class_distance(norm) for norm in LENGTH}


def test_classes_are_taken_in_turn():
    classes = np.array([0, 0, 0, 0, 2, 2, 1])
    order = np.array([3, 4, 0, 1, 6, 5, 2])
    assert geometry._in_turn(order, classes).tolist() == [3, 4, 6, 0, 5, 1, 2]


def test_of_many_points_few_pairs_are_looked_at(monkeypatch):
    """Memory and time have a bound, whatever n is: 512 × 2048 pairs."""
    shapes = []

    def seen(one, other, metric):
        shapes.append((one.shape, other.shape))
        return cdist(one, other, metric)

    monkeypatch.setattr("scipy.spatial.distance.cdist", seen)
    rng = np.random.default_rng(6)
    y = np.where(rng.random((100_000, 1)) < 0.5, 1.0, -1.0)
    assert dataset(rng.random((100_000, 3)), y).class_distance("linf") > 0
    assert shapes == [((512, 3), (2048, 3))]


def test_distances_are_computed_once_and_do_not_travel(monkeypatch):
    x, y = drawn(7)
    data = dataset(x, y)
    found = data.class_distance("linf"), data.scale
    again = pickle.loads(pickle.dumps(data))
    assert again == data == dataset(x, y)
    assert (again.class_distance("linf"), again.scale) == found
    monkeypatch.setattr("ntkrobust.data.dataset.median_class_distance", None)
    assert data.class_distance("linf") == found[0]


@pytest.mark.parametrize(
    ("y", "options", "words"),
    [
        ([[1.0], [1.0], [1.0]], {}, ["some points", "two classes", "one class"]),
        ([[2.0], [5.0], [7.0]], {"task": "regression"}, ["two classes", "one class"]),
        ([[1.0], [-1.0], [1.0]], {"movable": np.zeros(2, dtype=bool)}, ["can move"]),
    ],
)
def test_where_there_is_no_distance_one_sentence_says_so(y, options, words):
    data = dataset(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]), np.array(y), **options)
    with pytest.raises(InputError) as caught:
        data.class_distance("l2")
    assert all(word in str(caught.value) for word in words), caught.value


def test_points_that_lie_on_another_class_have_no_distance():
    x = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [5.0, 7.0]])
    with pytest.raises(InputError, match="coincide"):
        dataset(x, np.array([[1.0], [-1.0], [1.0], [1.0]])).class_distance("l2")


def test_unknown_norms_are_refused():
    x, y = drawn()
    with pytest.raises(InputError, match="norm must be one of"):
        dataset(x, y).class_distance("l3")
