"""Data sets: what the digits, the synthetic points and the user's files become, and what each refuses."""

import dataclasses
import inspect
import io
import math
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from refusals import refused
from sklearn.datasets import load_digits

from ntkrobust.data import NAMES, Dataset, digits, from_file, gaussian, load, sphere, standardized, targets
from ntkrobust.errors import InputError


def rows(x):
    """The rows of ``x`` as a sorted list: equal for equal multisets of rows."""
    return sorted(map(tuple, np.asarray(x)))


def arrays_of(data):
    return data.x_train, data.y_train, data.x_test, data.y_test


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(arrays_of(first), arrays_of(second), strict=True))


def small(**changes):
    """Keyword arguments of a valid Dataset, with changes."""
    rng = np.random.default_rng(0)
    fields = {
        "x_train": rng.normal(size=(6, 3)),
        "y_train": rng.normal(size=(6, 2)),
        "x_test": rng.normal(size=(4, 3)),
        "y_test": rng.normal(size=(4, 2)),
        "name": "a small one",
        "task": "regression",
    }
    return {**fields, **changes}


# --- Dataset ---------------------------------------------------------------------------------------------------------


def test_dataset_keeps_what_it_was_given():
    fields = small()
    data = Dataset(**fields)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert np.array_equal(getattr(data, name), fields[name])
    assert (data.n, data.d, data.o) == (6, 3, 2)
    assert repr(data) == "<Dataset 'a small one': regression, n=6, n_test=4, d=3, o=2>"


@pytest.mark.parametrize(
    "data",
    [
        lambda: Dataset(**small(x_train=np.asfortranarray(np.arange(1, 19).reshape(6, 3)))),
        lambda: digits(),
        lambda: sphere(5, 3, 4),
    ],
)
def test_arrays_are_read_only_contiguous_float64(data):
    for array in arrays_of(data()):
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1.0


def test_dataset_does_not_follow_later_changes_of_its_source():
    fields = small()
    data = Dataset(**fields)
    before = data.x_train[0, 0]
    fields["x_train"][0, 0] += 1.0
    assert data.x_train[0, 0] == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "another"


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_named_with_its_place(name, value):
    fields = small()
    fields[name][3, 1] = value
    refused(lambda: Dataset(**fields), name, "row 3, column 1", f"{value:g}")


@pytest.mark.parametrize("name", ["x_train", "x_test"])
@pytest.mark.parametrize("row", [0.0, -0.0, 1e-200, 1e200])
def test_a_row_without_a_positive_norm_is_named(name, row):
    fields = small()
    fields[name][2] = row
    refused(lambda: Dataset(**fields), name, "row 2", "inf" if row == 1e200 else "0")


def test_zero_targets_and_tiny_inputs_are_fine():
    fields = small(y_train=np.zeros((6, 2)))
    fields["x_train"][2] = 1e-150
    assert Dataset(**fields).y_train[2, 0] == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": np.ones((5, 3))}, ("x_train and y_train", "5 and 6")),
        ({"y_test": np.ones((9, 2))}, ("x_test and y_test", "4 and 9")),
        ({"x_test": np.ones((4, 2))}, ("3 in x_train", "2 in x_test")),
        ({"y_test": np.ones((4, 1))}, ("2 in y_train", "1 in y_test")),
        ({"x_train": np.ones(6)}, ("x_train", "(6,)")),
        ({"y_train": np.ones(6)}, ("y_train", "(6,)")),
        ({"x_train": np.ones((6, 2, 2, 2, 2))}, ("x_train", "(6, 2, 2, 2, 2)")),
        ({"x_train": np.ones((6, 3, 8, 8)), "x_test": np.ones((4, 3, 8, 8))}, ("x_train", "channels first")),
        ({"x_train": np.ones((6, 3, 1)), "x_test": np.ones((4, 1, 3))}, ("one shape", "(3, 1, 1)", "(1, 3, 1)")),
        ({"x_train": np.ones((0, 3)), "y_train": np.ones((0, 2))}, ("x_train", "(0, 3)")),
        ({"x_test": np.ones((0, 3)), "y_test": np.ones((0, 2))}, ("x_test", "(0, 3)")),
        ({"x_train": np.ones((6, 3), dtype=complex)}, ("x_train", "complex128")),
        ({"x_train": np.full((6, 3), "a")}, ("x_train", "<U1")),
        ({"x_train": [[1.0, 2.0], [3.0]]}, ("x_train", "different lengths")),
        ({"y_train": np.ones((6, 2), dtype=int)}, ("y_train", "int64", "targets()")),
        ({"task": "clustering"}, ("task", "classification, regression", "'clustering'")),
        ({"name": " "}, ("name",)),
    ],
)
def test_dataset_refuses(changes, words):
    refused(lambda: Dataset(**small(**changes)), *words)


def test_subset_takes_the_first_rows_and_no_more_than_there_are():
    data = Dataset(**small())
    part = data.subset(4, 1)
    assert np.array_equal(part.x_train, data.x_train[:4])
    assert np.array_equal(part.y_train, data.y_train[:4])
    assert np.array_equal(part.x_test, data.x_test[:1])
    assert np.array_equal(part.y_test, data.y_test[:1])
    assert part.name == "a small one, first 4 training and 1 test points"
    assert same(data.subset(6, 4), data)
    refused(lambda: data.subset(7, 4), "n_train", "at most 6", "got 7")
    refused(lambda: data.subset(6, 5), "n_test", "at most 4", "got 5")
    refused(lambda: data.subset(0, 4), "n_train", "at least 1")
    refused(lambda: data.subset(2.0, 4), "n_train", "integer", "2.0")


# --- targets ---------------------------------------------------------------------------------------------------------


def test_several_classes_become_one_hot_in_the_order_of_the_sorted_labels():
    expected = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    for labels in ([9, -2, 5, 9], np.array([[9], [-2], [5], [9]], dtype=np.int8)):
        encoded = targets(labels)
        assert encoded.dtype == np.float64
        assert np.array_equal(encoded, expected)


@pytest.mark.parametrize(
    "labels",
    [[1, 0, 0, 1], [7, 3, 3, 7], [1, -1, -1, 1], [True, False, False, True], np.array([200, 9, 9, 200], np.uint8)],
)
def test_two_classes_become_plus_and_minus_one_the_smaller_minus(labels):
    assert np.array_equal(targets(labels), [[1.0], [-1.0], [-1.0], [1.0]])
    assert np.array_equal(targets(np.reshape(labels, (4, 1))), [[1.0], [-1.0], [-1.0], [1.0]])


def test_real_targets_and_wide_integer_arrays_stay_as_they_are():
    assert np.array_equal(targets([0.0, 1.0, 2.0]), [[0.0], [1.0], [2.0]])
    assert np.array_equal(targets(np.float32([[0.5], [2.0]])), [[0.5], [2.0]])
    wide = np.array([[0, 1, 0], [1, 0, 0]])
    assert np.array_equal(targets(wide), wide)
    assert targets(wide).dtype == np.float64
    assert np.array_equal(targets([[3, 4], [3, 4]]), [[3.0, 4.0], [3.0, 4.0]])


def test_test_labels_are_encoded_with_the_classes_of_the_training_labels():
    train, test = targets([0, 1, 2, 1], [2, 2])
    assert np.array_equal(train, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
    assert np.array_equal(test, [[0, 0, 1], [0, 0, 1]])
    # On its own the test part would be one class, and a part with labels 1 and 2 would become ±1.
    assert np.array_equal(targets([0, 1, 2], [1, 2])[1], [[0, 1, 0], [0, 0, 1]])
    # Types may differ; −1 must not wrap around to 255.
    assert np.array_equal(targets(np.array([1, 0], np.uint8), np.array([0, 1], np.int64))[1], [[-1.0], [1.0]])
    refused(lambda: targets(np.array([255, 0], np.uint8), np.array([0, -1], np.int8)), "y_test", "row 1", "-1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([4, 4, 4],), ("at least two classes", "label 4")),
        (([0, 1, 2], [0, 1, 3, 1]), ("y_test", "occur in y_train", "row 2", "is 3")),
        (([0, 1], [0.0, 1.0]), ("y_train and y_test", "int64", "float64")),
        (([[1.0, 0.0]], [1, 0]), ("float64", "int64")),
        (([[1.0, 0.0]], [[1.0, 0.0, 0.0]]), ("y_train and y_test", "2 and 3")),
        (([0.0, 1.0, 2.0, np.nan],), ("y must be finite", "row 3")),
        (([0.0, 1.0], [np.inf]), ("y_test must be finite", "row 0")),
        ((["cat", "cat"],), ("at least two classes", "label cat")),
        (([["cat", "dog"]],), ("one label per row", "(1, 2)")),
        (([3, 4], ["cat", "dog"]), ("y_test must hold labels that occur in y_train, 3, 4", "row 0", "'cat'")),
        ((np.array([3, "cat"], dtype=object),), ("y must hold real numbers", "row 1", "'cat'")),
        ((np.array(["cat", 3], dtype=object),), ("y must hold text", "row 1", "is 3")),
        (([None, 1],), ("y must hold real numbers", "object")),
        (([],), ("(0,)",)),
        ((3,), ("()",)),
        ((np.ones((2, 2, 2)),), ("(2, 2, 2)",)),
        ((np.arange(1001),), ("at most 1000 classes", "1001", "floating-point")),
    ],
)
def test_targets_refuse(arguments, words):
    refused(lambda: targets(*arguments), *words)


def test_a_thousand_classes_are_still_classes():
    assert np.array_equal(targets(np.arange(1000)), np.eye(1000))


# --- digits ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled():
    return load_digits(return_X_y=True)


def test_the_split_of_the_digits_is_disjoint_complete_and_keeps_labels_with_images(bundled):
    images, digit = bundled
    data = digits("classes", normalization="raw")
    assert len(data.x_test) == round(0.2 * len(images))
    together = np.hstack([np.vstack([data.x_train, data.x_test]), np.vstack([data.y_train, data.y_test])])
    assert rows(together) == rows(np.hstack([images, np.eye(10)[digit]]))
    # All images differ, so a complete split is disjoint too.
    assert len(set(map(tuple, images))) == len(images)


def test_the_split_is_shuffled(bundled):
    images, _ = bundled
    data = digits(normalization="raw")
    assert not np.array_equal(data.x_train, images[: data.n])
    assert not np.array_equal(data.x_train, images[-data.n :])
    # Every class appears in both parts in about its share: 10 % each.
    share = digits("classes").y_train[:300].mean(axis=0)
    assert np.all(np.abs(share - 0.1) < 5 * math.sqrt(0.09 / 300))


def test_normalizations_of_the_digits(bundled):
    images, _ = bundled
    raw, pixel, unit = (digits(normalization=normalization) for normalization in ("raw", "pixel", "unit"))
    assert (raw.x_train.min(), raw.x_train.max()) == (0.0, 16.0)
    assert np.array_equal(pixel.x_train * 16, raw.x_train)
    for x, source in ((unit.x_train, raw.x_train), (unit.x_test, raw.x_test)):
        # A root, 64 products and a quotient: a few units in the last place.
        assert np.allclose(np.linalg.norm(x, axis=1), 1.0, rtol=1e-14, atol=0)
        assert np.allclose(x * np.linalg.norm(source, axis=1, keepdims=True), source, rtol=1e-14, atol=0)
    assert not np.allclose(np.linalg.norm(pixel.x_train, axis=1), 1.0)
    assert rows(np.vstack([raw.x_train, raw.x_test])) == rows(images)


def test_tasks_of_the_digits(bundled):
    images, digit = bundled
    label_of = {tuple(image): label for image, label in zip(images, digit, strict=True)}
    parity, classes, three = digits("parity", normalization="raw"), digits("classes"), digits("one-vs-rest", 3)
    labels = np.array([label_of[tuple(image)] for image in parity.x_train])
    assert np.array_equal(parity.y_train[:, 0], np.where(labels % 2 == 0, 1.0, -1.0))
    assert np.array_equal(classes.y_train.argmax(axis=1), labels)
    assert np.array_equal(three.y_train[:, 0], np.where(labels == 3, 1.0, -1.0))
    assert [data.o for data in (parity, classes, three)] == [1, 10, 1]
    assert {data.task for data in (parity, classes, three)} == {"classification"}
    assert digits("one-vs-rest").y_test.sum() == digits("one-vs-rest", positive=0).y_test.sum()
    assert not np.array_equal(digits("one-vs-rest", 4).y_train, three.y_train)


@pytest.mark.parametrize("task", ["parity", "classes", "one-vs-rest"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.25, 0.999])
def test_exactly_the_asked_share_of_training_labels_is_wrong(task, share):
    clean, noisy = digits(task, seed=3), digits(task, label_noise=share, seed=3)
    wrong = (clean.y_train != noisy.y_train).any(axis=1)
    assert wrong.sum() == round(share * clean.n)
    assert np.array_equal(clean.x_train, noisy.x_train)
    assert np.array_equal(clean.y_test, noisy.y_test)
    if task == "classes":
        assert np.array_equal(np.unique(noisy.y_train), [0.0, 1.0])
        assert np.all(noisy.y_train.sum(axis=1) == 1.0)
    else:
        assert np.array_equal(noisy.y_train[wrong], -clean.y_train[wrong])


def test_wrong_classes_are_uniform_over_the_nine_others():
    clean, noisy = digits("classes"), digits("classes", label_noise=0.999)
    shift = (noisy.y_train.argmax(axis=1) - clean.y_train.argmax(axis=1)) % 10
    counts = np.bincount(shift, minlength=10)
    assert counts[0] == clean.n - round(0.999 * clean.n)
    expected = counts[1:].sum() / 9
    # χ² with 8 degrees of freedom exceeds 26.1 with probability 0.001; a missing class alone would give about 160.
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 26.1


def test_more_label_noise_keeps_the_labels_already_wrong():
    clean, few, many = (digits("classes", label_noise=share).y_train for share in (0.0, 0.1, 0.3))
    wrong = (few != clean).any(axis=1)
    assert np.array_equal(many[wrong], few[wrong])
    other_seed = digits("classes", label_noise=0.1, seed=1)
    other_wrong = (other_seed.y_train != digits("classes", seed=1).y_train).any(axis=1)
    assert not np.array_equal(other_wrong, wrong)


@pytest.mark.parametrize("share", [0.5, 1e-9, 1 - 1e-9])
def test_test_share(share):
    data = digits(test_share=share)
    assert len(data.x_test) == min(max(round(share * 1797), 1), 1796)
    assert data.n == 1797 - len(data.x_test)


def test_the_name_of_the_digits_says_what_they_are():
    assert digits().name == (
        "digits, even (+1) against odd (-1), rows of unit norm, test share 0.2, seed 0, no label noise"
    )
    options = {"task": "one-vs-rest", "positive": 7, "normalization": "raw", "test_share": 0.3, "label_noise": 0.15}
    assert digits(**options, seed=9).name == (
        "digits, 7 (+1) against the rest (-1), pixels in 0..16, test share 0.3, seed 9, label noise 0.15"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "odd"}, ("task", "parity, classes, one-vs-rest", "'odd'")),
        ({"normalization": "z"}, ("normalization", "unit, pixel, raw", "'z'")),
        ({"task": "one-vs-rest", "positive": 10}, ("positive", "0 to 9", "10")),
        ({"task": "one-vs-rest", "positive": -1}, ("positive", "-1")),
        ({"positive": 3}, ("one-vs-rest only", "3", "parity")),
        ({"test_share": 0}, ("test_share", "0")),
        ({"test_share": 1.0}, ("test_share", "1.0")),
        ({"test_share": "half"}, ("test_share", "'half'")),
        ({"label_noise": 1}, ("label_noise", "1")),
        ({"label_noise": -0.1}, ("label_noise", "-0.1")),
        ({"label_noise": np.nan}, ("label_noise", "nan")),
        ({"seed": -1}, ("seed", "-1")),
        ({"seed": 1.5}, ("seed", "1.5")),
    ],
)
def test_digits_refuse(options, words):
    refused(lambda: digits(**options), *words)


# --- synthetic -------------------------------------------------------------------------------------------------------


def test_inputs_of_the_sphere_are_uniform_and_those_of_the_gaussian_normal():
    n, d = 20_000, 5
    for data, second, fourth in (
        # Uniform on the sphere: E x_i² = 1/d, E x_i⁴ = 3/(d(d+2)); N(0, 1): 1 and 3.
        (sphere(n, 1, d), 1 / d, 3 / (d * (d + 2))),
        (gaussian(n, 1, d), 1.0, 3.0),
    ):
        for power, moment in ((1, 0.0), (2, second), (4, fourth)):
            sample = data.x_train**power
            error = sample.std(axis=0) / math.sqrt(n)
            # Thirty comparisons: five standard errors keep a false alarm below 2e-5.
            assert np.all(np.abs(sample.mean(axis=0) - moment) < 5 * error)
    assert np.allclose(np.linalg.norm(sphere(50, 50, d).x_test, axis=1), 1.0, rtol=1e-14, atol=0)
    assert np.linalg.norm(gaussian(50, 50, d).x_test, axis=1).std() > 0.1


@pytest.mark.parametrize("make", [sphere, gaussian])
def test_the_linear_target_is_linear_with_variance_one_and_sign_is_its_sign(make):
    n, d = 5000, 7
    linear, sign = make(n, 40, d, "linear", seed=2), make(n, 40, d, "sign", seed=2)
    w = np.linalg.lstsq(linear.x_train, linear.y_train[:, 0], rcond=None)[0]
    assert np.allclose(linear.x_test @ w, linear.y_test[:, 0], rtol=0, atol=1e-12)
    assert np.linalg.norm(w) == pytest.approx(math.sqrt(d) if make is sphere else 1.0, rel=1e-12)
    # Var(y²) ≤ 2, so the mean of 5000 has a standard error of at most 0.02.
    assert np.mean(linear.y_train**2) == pytest.approx(1.0, abs=0.1)
    assert np.array_equal(sign.x_train, linear.x_train)
    assert np.array_equal(sign.y_train, np.sign(linear.y_train))
    assert np.array_equal(sign.y_test, np.sign(linear.y_test))
    assert (linear.task, sign.task) == ("regression", "classification")


@pytest.mark.parametrize("make", [sphere, gaussian])
def test_random_targets_are_balanced_signs_unrelated_to_the_inputs(make):
    n = 10_000
    data = make(n, 10, 3, "random")
    assert np.array_equal(np.unique(data.y_train), [-1.0, 1.0])
    assert abs(data.y_train.mean()) < 5 / math.sqrt(n)
    correlation = (data.y_train * data.x_train).mean(axis=0) / data.x_train.std(axis=0)
    assert np.all(np.abs(correlation) < 5 / math.sqrt(n))
    sign = make(n, 10, 3, "sign")
    assert np.abs((sign.y_train * sign.x_train).mean(axis=0) / sign.x_train.std(axis=0)).max() > 0.4


@pytest.mark.parametrize("target", ["linear", "sign", "random"])
def test_noise_is_gaussian_of_the_asked_size_on_training_targets_only(target):
    n = 10_000
    clean, noisy = sphere(n, 50, 4, target), sphere(n, 50, 4, target, noise=0.3)
    noise = (noisy.y_train - clean.y_train)[:, 0]
    assert abs(noise.mean()) < 5 * 0.3 / math.sqrt(n)
    # The relative standard error of a standard deviation from n normal draws is 1/√(2n).
    assert noise.std() == pytest.approx(0.3, rel=5 / math.sqrt(2 * n))
    assert np.array_equal(clean.x_train, noisy.x_train)
    assert np.array_equal(clean.y_test, noisy.y_test)
    assert clean.task == noisy.task


@pytest.mark.parametrize("make", [sphere, gaussian])
def test_more_points_never_change_the_earlier_ones(make):
    few, many = make(10, 5, 6, "linear", 0.5), make(30, 9, 6, "linear", 0.5)
    assert np.array_equal(many.x_train[:10], few.x_train)
    assert np.array_equal(many.x_test[:5], few.x_test)
    # A product with w may be summed in another order for another n.
    assert np.allclose(many.y_train[:10], few.y_train, rtol=0, atol=1e-14)
    assert not np.array_equal(few.x_train[:5], few.x_test)


def test_a_sphere_in_one_dimension_is_two_points():
    assert np.array_equal(np.unique(sphere(20, 5, 1).x_train), [-1.0, 1.0])


def test_the_name_of_synthetic_data_says_what_they_are():
    assert sphere(3, 2, 4, "linear", 0.25, seed=5).name == (
        "sphere, uniform on the unit sphere in d = 4, linear target, training noise of standard deviation 0.25, seed 5"
    )
    assert gaussian(3, 2, 4).name == "gaussian, standard Gaussian in d = 4, sign target, no noise, seed 0"


@pytest.mark.parametrize("make", [sphere, gaussian])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1, 1), ("n_train", "0")),
        ((1, 0, 1), ("n_test", "0")),
        ((1, 1, 0), ("d must", "0")),
        ((1, 1, 2.5), ("d must", "2.5")),
        ((1, 1, 2, "cubic"), ("target", "linear, sign, random", "'cubic'")),
        ((1, 1, 2, "sign", -1.0), ("noise", "-1.0")),
        ((1, 1, 2, "sign", np.inf), ("noise", "inf")),
        ((1, 1, 2, "sign", 0.0, -3), ("seed", "-3")),
    ],
)
def test_synthetic_data_refuse(make, arguments, words):
    refused(lambda: make(*arguments), *words)


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: digits(label_noise=0.1, seed=seed),
        lambda seed: sphere(20, 10, 4, "random", 0.1, seed),
        lambda seed: gaussian(20, 10, 4, "linear", 0.1, seed),
        lambda seed: load("digits-classes:raw", seed),
        lambda seed: load("gaussian", seed),
    ],
)
def test_one_seed_one_data_set(make):
    first, again, other = make(0), make(0), make(1)
    assert same(first, again)
    assert first.name == again.name
    assert not np.array_equal(first.x_train, other.x_train)
    assert not np.array_equal(first.x_test, other.x_test)
    assert first.name != other.name


# --- .npz files ------------------------------------------------------------------------------------------------------


def npz_arrays(**changes):
    rng = np.random.default_rng(1)
    arrays = {
        "x_train": rng.normal(size=(10, 3)),
        "y_train": np.arange(10) % 3,
        "x_test": rng.normal(size=(4, 3)),
        "y_test": np.array([2, 0, 0, 1]),
    }
    return {name: value for name, value in {**arrays, **changes}.items() if value is not None}


def npz_bytes(save=np.savez, **changes):
    stream = io.BytesIO()
    save(stream, **npz_arrays(**changes))
    return stream.getvalue()


@pytest.fixture
def write(tmp_path):
    """Writes text or bytes to a file and gives its path."""

    def to(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_a_test_part(write, save):
    arrays = npz_arrays()
    data = from_file(write("mine.npz", npz_bytes(save)))
    assert np.array_equal(data.x_train, arrays["x_train"])
    assert np.array_equal(data.x_test, arrays["x_test"])
    assert np.array_equal(data.y_train, np.eye(3)[arrays["y_train"]])
    assert np.array_equal(data.y_test, np.eye(3)[arrays["y_test"]])
    assert data.task == "classification"
    for word in ("mine.npz", "sha256", "classification into 3 classes", "not normalized", "test parts of the file"):
        assert word in data.name
    assert same(data, from_file(write("again.NPZ", npz_bytes(save)), seed=5))


def test_npz_without_a_test_part_is_split_80_20(write):
    path = write("mine.npz", npz_bytes(x_test=None, y_test=None, y_train=np.arange(10.0)))
    arrays = npz_arrays()
    data = from_file(path, seed=4)
    assert (data.n, len(data.x_test)) == (8, 2)
    together = np.hstack([np.vstack([data.x_train, data.x_test]), np.vstack([data.y_train, data.y_test])])
    assert rows(together) == rows(np.column_stack([arrays["x_train"], np.arange(10.0)]))
    assert same(data, from_file(str(path), seed=4))
    assert not same(data, from_file(path, seed=5))
    assert data.task == "regression"
    assert "regression with 1 output" in data.name
    assert "split 80% train, 20% test with seed 4" in data.name


def test_a_split_keeps_the_classes_of_the_whole_file(write):
    labels = np.array([0] * 9 + [2] * 9 + [7])
    x = np.random.default_rng(0).normal(size=(19, 2))
    path = write("mine.npz", npz_bytes(x_train=x, y_train=labels, x_test=None, y_test=None))
    for seed in range(12):
        data = from_file(path, seed)
        assert data.o == 3
        assert np.vstack([data.y_train, data.y_test]).sum(axis=0).tolist() == [9, 9, 1]


@pytest.mark.parametrize(
    ("y_train", "y_test", "task"),
    [
        (np.arange(10) % 2, np.arange(4) % 2, "classification"),
        (np.where(np.arange(10) % 2, 1.0, -1.0), np.ones(4), "classification"),
        (np.eye(3)[np.arange(10) % 3], np.eye(3)[[0, 1, 1, 2]], "classification"),
        (np.arange(10) % 2 == 0, np.arange(4) % 2 == 0, "classification"),
        ((np.arange(10) % 3).astype(float), np.arange(4.0), "regression"),
        (np.ones(10), np.ones(4), "regression"),
        (np.ones((10, 2)), np.ones((4, 2)), "regression"),
    ],
)
def test_the_task_of_an_npz_follows_from_its_targets(write, y_train, y_test, task):
    assert from_file(write("mine.npz", npz_bytes(y_train=y_train, y_test=y_test))).task == task


def test_a_data_set_survives_the_way_through_a_file(write):
    data = digits("classes", label_noise=0.1)
    names = ("x_train", "y_train", "x_test", "y_test")
    again = from_file(write("digits.npz", npz_bytes(**{name: getattr(data, name) for name in names})))
    assert same(data, again)
    assert again.task == data.task


def test_two_files_of_one_name_have_different_names(write):
    first = from_file(write("mine.npz", npz_bytes())).name
    second = from_file(write("mine.npz", npz_bytes(x_train=np.ones((10, 3))))).name
    assert first != second


def planted(name, value):
    array = npz_arrays()[name].astype(float)
    array[(3, 1) if array.ndim == 2 else 3] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": None}, ("missing x_train", "arrays found: y_train, x_test, y_test")),
        ({"x_train": None, "y_train": None, "x_test": None, "y_test": None}, ("x_train and y_train", "found: none")),
        ({"x_train": None, "X": np.ones((10, 3))}, ("missing x_train", "X")),
        ({"x_test": None}, ("both x_test and y_test", "only y_test")),
        ({"y_test": None}, ("both x_test and y_test", "only x_test")),
        (planted("x_train", np.nan), ("x_train", "row 3, column 1", "nan")),
        (planted("x_test", -np.inf), ("x_test", "row 3, column 1", "-inf")),
        ({**planted("x_train", np.inf), "x_test": None, "y_test": None}, ("x_train", "row 3, column 1", "inf")),
        ({**planted("y_train", np.nan), "x_test": None, "y_test": None}, ("y_train must be finite", "row 3")),
        ({"x_train": np.eye(10, 3)}, ("x_train", "row 3", "norm")),
        ({"x_train": np.eye(10, 3), "x_test": None, "y_test": None}, ("x_train", "row 3", "norm")),
        ({"x_train": np.array([{}, []], dtype=object)}, ("x_train", "Python objects")),
        ({"y_test": np.array([1, "a", None, 2], dtype=object)}, ("y_test", "Python objects")),
        ({"x_train": np.full((10, 3), "a")}, ("x_train", "<U1")),
        ({"x_train": np.ones(10)}, ("x_train", "(10,)")),
        ({"x_train": np.ones((10, 2, 2, 2, 2))}, ("x_train", "(10, 2, 2, 2, 2)")),
        ({"x_train": np.ones((10, 0))}, ("x_train", "(10, 0)")),
        ({"y_train": np.ones((10, 1, 1))}, ("y_train", "(10, 1, 1)")),
        ({"x_train": np.ones((9, 3))}, ("x_train and y_train", "9 and 10")),
        ({"x_train": np.ones((9, 3)), "x_test": None, "y_test": None}, ("x_train and y_train", "9 and 10")),
        ({"x_test": np.ones((5, 3))}, ("x_test and y_test", "5 and 4")),
        ({"x_test": np.ones((4, 6))}, ("3 in x_train", "6 in x_test")),
        ({"y_test": np.array([0, 1, 2, 5])}, ("y_test", "occur in y_train", "row 3", "is 5")),
        ({"y_train": np.zeros(10, int)}, ("at least two classes",)),
        ({"y_train": np.ones((10, 2)), "y_test": np.ones((4, 3))}, ("y_train and y_test", "2 and 3")),
        ({"x_train": np.ones((1, 3)), "y_train": np.ones(1), "x_test": None, "y_test": None}, ("two points", "got 1")),
    ],
)
def test_npz_refused(write, changes, words):
    path = write("mine.npz", npz_bytes(**changes))
    refused(lambda: from_file(path), str(path), *words)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_npz_is_refused_at_every_length(write, save):
    whole = npz_bytes(save)
    lengths = {0, 1, 3, 4, 5, 30, 100, *range(200, len(whole), 97), len(whole) - 23, len(whole) - 1}
    for length in sorted(lengths):
        path = write("cut.npz", whole[:length])
        what = "is empty" if length == 0 else "not an .npz archive" if length < 4 else "truncated or corrupt"
        refused(lambda path=path: from_file(path), str(path), what)
    assert from_file(write("cut.npz", whole)).n == 10


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_byte_is_refused_in_one_sentence_or_harmless(write, save):
    whole = npz_bytes(save)
    expected = from_file(write("good.npz", whole))
    rng = np.random.default_rng(0)
    n_refused = 0
    for position in rng.choice(len(whole), size=300, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        path = write("flipped.npz", bytes(damaged))
        try:
            data = from_file(path)
        except InputError:
            refused(lambda path=path: from_file(path), str(path))
            n_refused += 1
        else:
            # Dates and other fields that carry no data may change.
            assert same(data, expected)
    assert n_refused > 100


def test_a_directory_that_hides_the_test_part_is_refused(write):
    """A comment length that swallows the entries after it: zipfile reads on and finds a shorter list."""
    whole = bytearray(npz_bytes())
    second = whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02") + 1)
    whole[second + 33] ^= 1
    path = write("hidden.npz", bytes(whole))
    with np.load(path) as archive:
        assert archive.files == ["x_train", "y_train"]
    refused(lambda: from_file(path), str(path), "lists 2 members")


def test_what_is_called_npz_but_is_not(write):
    refused(lambda: from_file(write("a.npz", "x,y\n1,2\n")), "a.npz", "not an .npz archive")
    npy = io.BytesIO()
    np.save(npy, np.ones(3))
    refused(lambda: from_file(write("b.npz", npy.getvalue())), "b.npz", "not an .npz archive")
    pickled = io.BytesIO()
    np.save(pickled, np.array([print], dtype=object), allow_pickle=True)
    refused(lambda: from_file(write("c.npz", pickled.getvalue())), "c.npz", "not an .npz archive")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("x_train", "hello")
        zipped.writestr("y_train.npy", "hello")
    refused(lambda: from_file(write("d.npz", archive.getvalue())), "d.npz", "x_train")


def test_a_header_that_promises_more_than_there_is(write):
    """An array said to be far larger than memory is refused rather than waited for."""
    for shape in ("(10, 3000000000000)", f"({10**30}, 3)", "(-1, 3)"):
        member = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f8", "fortran_order": False, "shape": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)}
        )
        header = member.getvalue().replace(b"(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)", shape.encode().ljust(33))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("x_train.npy", header + bytes(80))
            zipped.writestr("y_train.npy", header + bytes(80))
        refused(lambda archive=archive: from_file(write("big.npz", archive.getvalue())), "big.npz", "x_train")


def test_an_object_array_is_never_unpickled(write, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    path = write("trap.npz", npz_bytes(x_train=np.array([[Trap()]], dtype=object)))
    refused(lambda: from_file(path), "x_train", "Python objects")
    assert not (tmp_path / "sprung").exists()
    # The trap is live: with pickle allowed it springs.
    with np.load(path, allow_pickle=True) as archive:
        archive["x_train"]
    assert (tmp_path / "sprung").exists()


# --- .csv files ------------------------------------------------------------------------------------------------------

BODY = "1,2.5,0\n-3,4e-1,1\n5,6,1\n.5, 7 ,0\n9,10,1\n"
TABLE = [[1, 2.5, 0], [-3, 0.4, 1], [5, 6, 1], [0.5, 7, 0], [9, 10, 1]]


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        BODY.rstrip("\n"),
        BODY.replace("\n", "\r\n"),
        "\ufeff" + BODY,
        "width,height,label\n" + BODY,
        ",pixel_1_1,label\n" + BODY,
        "1_1,1_2,label_\n" + BODY,
        '"a ""b"", c",height,label\n' + BODY,
        "\n  \nwidth,height,label\n\n" + BODY + "\n\n",
        BODY.replace("-3,4e-1,1", '"-3","4e-1","1.0"'),
    ],
)
def test_csv_with_and_without_header(write, text):
    data = from_file(write("mine.csv", text))
    assert (data.n, len(data.x_test), data.d, data.o) == (4, 1, 2, 1)
    together = np.hstack([np.vstack([data.x_train, data.x_test]), np.vstack([data.y_train, data.y_test])])
    assert rows(together) == rows([[a, b, 2 * label - 1] for a, b, label in TABLE])
    assert data.task == "classification"
    assert "classification into 2 classes" in data.name


def test_csv_labels_that_are_integers_are_classes_and_others_real_targets(write):
    def y(labels):
        text = "".join(f"{index + 1},2,{label}\n" for index, label in enumerate(labels))
        data = from_file(write("mine.csv", text))
        return data.task, np.vstack([data.y_train, data.y_test])

    task, encoded = y(["4", "2.0", "9", "4", "9"])
    assert task == "classification"
    assert sorted(encoded.argmax(axis=1)) == [0, 1, 1, 2, 2]
    task, encoded = y(["4", "2.5", "9", "4", "9"])
    assert task == "regression"
    assert sorted(encoded[:, 0]) == [2.5, 4, 4, 9, 9]
    # Integers beyond 2^53 can't be told apart as float64, so they are no class names.
    assert y(["1e300", "1", "2", "3"])[0] == "regression"


def test_csv_split_depends_on_the_seed(write):
    path = write("mine.csv", "".join(f"{index % 7},1,{index % 2}\n" for index in range(50)))
    assert same(from_file(path, 1), from_file(path, 1))
    assert not same(from_file(path, 1), from_file(path, 2))
    assert "seed 2" in from_file(path, 2).name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("is empty",)),
        ("\n \n", ("blank lines only",)),
        ("a,b,c\n", ("header only",)),
        (BODY + "nan,1,0\n", ("line 6, column 1", "nan")),
        ("a,b,c\n" + BODY + "\n1,-inf,0\n", ("line 8, column 2", "-inf")),
        (BODY + "1,2,nan\n", ("line 6, column 3", "nan")),
        (BODY + "1,2\n", ("line 6", "3 columns as line 1", "got 2")),
        ("a,b,c,d\n" + BODY, ("line 2", "4 columns as line 1", "got 3")),
        (BODY + "1,2,0,\n", ("line 6", "got 4")),
        (BODY + "1,two,0\n", ("line 6, column 2", "'two'")),
        (BODY + "1_0,2,0\n", ("line 6, column 1", "'1_0'")),
        (BODY + "1,2,\n", ("line 6, column 3", "empty cell")),
        ("1,b,label\n" + BODY, ("line 1, column 2", "'b'")),
        ("a,b,c\nd,e,f\n" + BODY, ("line 2, column 1", "'d'")),
        ("1 2;0\n", ("line 1, column 1", "'1 2'")),
        ("1\n2\n", ("line 1", "one column")),
        ("1,2,0\n0,0,1\n3,4,0\n", ("line 2", "norm")),
        ("1,2,1\n2,3,1\n", ("the last column", "at least two classes", "label 1")),
        ("1,2,1\n", ("at least two", "classes")),
        ("1,2,0.5\n", ("two points", "got 1")),
        ("".join(f"1,{index}\n" for index in range(1, 1003)), ("at most 1000 classes", "1002")),
        (b"\xff\xfe1\x00,\x002\x00", ("UTF-8",)),
        (npz_bytes(), ("UTF-8",)),
        ("1,2,0\n" + "1" * 200_000 + ",2,0\n", ("line 2", "field larger")),
    ],
)
def test_csv_refused(write, text, words):
    path = write("mine.csv", text)
    refused(lambda: from_file(path), str(path), *words)


def test_a_quoted_line_break_does_not_shift_line_numbers(write):
    path = write("mine.csv", '"a\nb",c,label\n1,2,0\n3,x,1\n')
    refused(lambda: from_file(path), "line 4, column 2", "'x'")


# --- files in general, and names -------------------------------------------------------------------------------------


def test_paths_that_are_no_data_files(write, tmp_path):
    refused(lambda: from_file(tmp_path / "nowhere.npz"), "nowhere.npz", "no such file")
    refused(lambda: from_file(tmp_path), str(tmp_path), "directory")
    (tmp_path / "folder.npz").mkdir()
    refused(lambda: from_file(tmp_path / "folder.npz"), "folder.npz", "directory")
    refused(lambda: from_file(write("data.txt", BODY)), "data.txt", ".npz or .csv", "'.txt'")
    refused(lambda: from_file(write("data", BODY)), ".npz or .csv", "no suffix")
    refused(lambda: from_file(tmp_path / ("a" * 5000 + ".csv")), "can't be read")
    refused(lambda: from_file(7), "path", "7")
    refused(lambda: from_file(write("mine.csv", BODY), seed="a"), "seed", "'a'")
    os.mkfifo(tmp_path / "pipe.csv")
    refused(lambda: from_file(tmp_path / "pipe.csv"), "pipe.csv", "regular file")


PEOPLE = "who,target,sex,age,income\n" + "".join(
    f"P{i},{i * 1.5 + 0.25},{'fm'[i % 2]},{20 + i},{1000.0 * i * i}\n" for i in range(10)
)


def test_columns_that_are_no_inputs_are_left_out(write):
    path = write("mine.csv", PEOPLE)
    refused(lambda: load(f"{path}:target=target"), "line 2, column 1 ('who')", "FILE.csv:without=who")
    refused(lambda: load(f"{path}:target=target:without=who"), "column 3 ('sex')", "FILE.csv:without=sex")
    data = load(f"{path}:without=who:target=target:without=sex:range=0..1e6")
    x, y = np.vstack([data.x_train, data.x_test]), np.vstack([data.y_train, data.y_test])
    order = np.argsort(y[:, 0])
    np.testing.assert_array_equal(x[order], [[20 + i, 1000.0 * i * i] for i in range(10)])
    assert "without 'who', 'sex'" in data.name
    assert data.bounds[1].tolist() == [1e6, 1e6]
    refused(lambda: load(f"{path}:without=target"), "'target' holds the labels")
    refused(lambda: load(f"{path}:without=nobody"), "expected one column named 'nobody'")
    refused(lambda: load(f"{path}:lable=target"), "may be followed by", ":lable=target")
    refused(lambda: load(f"{path}:label=age:label=sex"), "twice")
    refused(lambda: load(f"{path}:label=age:target=sex"), ":target can't be said too")
    assert same(
        load(write("same.tsv", PEOPLE.replace(",", "\t")).as_posix() + ":without=who:without=sex:target=target"), data
    )


def test_columns_of_one_scale(write):
    """Against the definition in numpy: of the training points alone, and the range moves along."""
    path = write("mine.csv", PEOPLE)
    asked = f"{path}:without=who:without=sex:target=target"
    raw, data = load(f"{asked}:range=0..1e6"), load(f"{asked}:range=0..1e6:standard")
    for part in ("train", "test"):
        x, y = getattr(raw, f"x_{part}"), getattr(raw, f"y_{part}")
        expected = (x - raw.x_train.mean(0)) / raw.x_train.std(0) / np.sqrt(2)
        np.testing.assert_allclose(getattr(data, f"x_{part}"), expected)
        np.testing.assert_allclose(getattr(data, f"y_{part}"), (y - raw.y_train.mean()) / raw.y_train.std())
    np.testing.assert_allclose(np.mean(np.sum(data.x_train**2, axis=1)), 1)
    np.testing.assert_allclose(data.bounds[0], -raw.x_train.mean(0) / raw.x_train.std(0) / np.sqrt(2))
    assert "not normalized" not in data.name
    # Moments of all points would give other numbers.
    every = np.vstack([raw.x_train, raw.x_test])
    assert not np.allclose(data.x_train, (raw.x_train - every.mean(0)) / every.std(0) / np.sqrt(2))
    level = Dataset(**small(x_train=np.c_[np.ones(6), np.arange(6.0)], x_test=np.c_[np.ones(4), np.arange(4.0)]))
    assert standardized(level).x_train[:, 0].tolist() == [0.0] * 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission(write):
    path = write("mine.csv", BODY)
    path.chmod(0)
    refused(lambda: from_file(path), str(path), "Permission denied")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("digits", lambda: digits("parity")),
        ("digits-parity", lambda: digits("parity")),
        ("digits:pixel", lambda: digits("parity", normalization="pixel")),
        ("digits-parity:unit", lambda: digits("parity")),
        ("digits-classes", lambda: digits("classes")),
        ("digits-classes:raw", lambda: digits("classes", normalization="raw")),
        ("digits-0-vs-rest", lambda: digits("one-vs-rest", 0)),
        ("digits-9-vs-rest:pixel", lambda: digits("one-vs-rest", 9, "pixel")),
        ("sphere", lambda: sphere(400, 100, 16, "sign")),
        ("gaussian", lambda: gaussian(400, 100, 16, "sign")),
    ],
)
def test_load_by_name(spec, expected):
    data = load(spec)
    assert same(data, expected())
    assert data.name == expected().name


def test_load_takes_a_suffix_or_a_separator_for_a_file(write, tmp_path):
    path = write("digits.csv", BODY)
    assert same(load(str(path), seed=3), from_file(path, 3))
    assert same(load(path), from_file(path))
    refused(lambda: load("digits.npz"), "digits.npz", "no such file")
    refused(lambda: load(str(tmp_path / "digits")), "digits", "no such file")
    refused(lambda: load("./digits"), "no such file")


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "mnist",
        "Digits",
        "digits-",
        "digits-10-vs-rest",
        "digits-x-vs-rest",
        "digits:zscore",
        "digits\n",
    ],
)
def test_unknown_names_list_the_known_ones(spec):
    refused(lambda: load(spec), repr(spec), ", ".join(NAMES), ".npz or .csv")


def test_load_refuses_what_is_no_name():
    refused(lambda: load(None), "None")


def test_public_names_are_documented():
    for thing in (Dataset, digits, from_file, gaussian, load, sphere, targets):
        assert inspect.getdoc(thing)
        assert "Raises:" in inspect.getdoc(thing) or thing is gaussian
    assert "errors as in :func:`sphere`" in inspect.getdoc(gaussian)


def test_importing_needs_neither_jax_nor_scikit_learn():
    code = "import sys, ntkrobust.data; print({'jax', 'sklearn', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
