"""Which class is which: labels mean in tests and attacks what they meant in training.

The right values come from the outputs of each network in float64 numpy, and from labels that are matched with columns
by hand: column k is the k-th of the sorted training labels; of two classes, the first is the negative output.
"""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest

import ntkrobust as ntr
from ntkrobust.data import Dataset, targets
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks import arguments
from ntkrobust.finite.measures import measuring

N, D, SEEDS = 24, 5, 2
RNG = np.random.default_rng(19)
X = RNG.standard_normal((N, D))
THREE = np.arange(N) % 3
TWO = np.arange(N) % 2
MIXED = RNG.permutation(N)[:6]
"""A batch. All batches have six points, so that programs are compiled once."""


def trained(d_out, y, **more):
    net = ntr.MLP(depth=2, width=8, d_out=d_out)
    return ntr.train(net, X, y, seeds=SEEDS, steps=0, **more)


def outputs(run, x):
    """f(x) (seed, n, o) in float64 numpy: standard parameterization, ReLU, no biases."""
    first, last = (np.asarray(weights, dtype=np.float64) for weights in run.parameters.weights)
    hidden = np.maximum(np.einsum("smd,nd->snm", first, x), 0)
    return np.einsum("som,snm->sno", last, hidden)


def columns_of(labels, classes):
    """The column of each label, by looking it up in the sorted classes."""
    return np.array([list(classes).index(label) for label in np.asarray(labels).tolist()])


def right_accuracy(run, x, labels, classes):
    """Share (seed,) of points whose class is the label's."""
    f = outputs(run, x)
    column = columns_of(labels, classes)
    predicted = f.argmax(-1) if f.shape[-1] > 1 else (f[..., 0] > 0).astype(int)
    return (predicted == column).mean(axis=-1)


def by_measure(run, x, labels):
    return ntr.measure(run, x, ["natural_accuracy"], y_test=labels).natural_accuracy.to_numpy()[:, -1]


def by_attack(run, x, labels):
    found = ntr.attack(run, x, labels, epsilon=0.0, methods="fgsm", steps=1, queries=1)
    return found.natural_accuracy.to_numpy()


CLASSES = {
    "1, 2, 3": (1, 2, 3),
    "0, 2, 5": (0, 2, 5),
    "-4, 0, 300": (-4, 0, 300),
    "text": ("cat", "dog", "emu"),
    "1, 2": (1, 2),
    "0, 1": (0, 1),
    "3, 8": (3, 8),
    "-1, 1": (-1, 1),
    "booleans": (False, True),
    "two texts": ("no", "yes"),
}


@pytest.fixture(scope="module")
def runs():
    """A run for every naming of the classes: what is trained is the same, so only two programs are compiled."""
    return {
        name: trained(1 if len(classes) == 2 else 3, np.array(classes)[TWO if len(classes) == 2 else THREE])
        for name, classes in CLASSES.items()
    }


@pytest.mark.parametrize("name", CLASSES)
def test_every_batch_is_read_by_the_classes_of_training(runs, name, figure):
    run, classes = runs[name], CLASSES[name]
    assert run.classes == classes
    column = TWO if len(classes) == 2 else THREE
    labels = np.array(classes)[column]
    lacking, one_class = np.flatnonzero(column != 0)[:6], np.flatnonzero(column == 1)[:6]
    for rows in (MIXED, lacking, one_class):
        right = right_accuracy(run, X[rows], labels[rows], classes)
        assert np.allclose(by_measure(run, X[rows], labels[rows]), right, atol=1e-6)
        assert np.allclose(by_measure(run, X[rows], labels[rows][:, None].tolist()), right, atol=1e-6)
    rows = lacking
    right = right_accuracy(run, X[rows], labels[rows], classes)
    found = by_attack(run, X[rows], labels[rows])
    figure(
        f"natural accuracy of attack, classes {name}, a batch without the first", found[0], right[0], "float64 numpy"
    )
    assert np.allclose(found, right, atol=1e-6)
    # A loss that grows with the distance from the target's column.
    f, encoded = outputs(run, X[rows]), targets(labels[rows], classes=classes)
    mse = ntr.measure(run, X[rows], ["test_mse"], y_test=labels[rows]).test_mse.to_numpy()[:, -1]
    assert np.allclose(mse, ((f - encoded) ** 2).sum(-1).mean(-1), rtol=1e-4)


def test_reading_a_batch_by_what_it_holds_is_noticed(runs, monkeypatch):
    """The planted fault: labels encoded by the classes of the batch, or taken for numbers of columns."""
    run, classes = runs["1, 2, 3"], CLASSES["1, 2, 3"]
    rows = np.flatnonzero(THREE != 0)[:6]
    labels = np.array(classes)[THREE[rows]]
    right = right_accuracy(run, X[rows], labels, classes)
    with monkeypatch.context() as planted:
        planted.setattr(arguments, "encode_like", lambda name, y, *_, **__: np.eye(4)[np.asarray(y)][:, :3])
        with pytest.raises(InputError):  # label 3 has no column; and without it
            by_attack(run, X[rows], labels)
        only = np.flatnonzero(THREE == 1)[:6]
        shares = by_attack(run, X[only], np.full(6, 2))
        assert not np.allclose(shares, right_accuracy(run, X[only], np.full(6, 2), classes), atol=1e-6)
    two, named = runs["1, 2"], CLASSES["1, 2"]
    mixed = np.array(named)[TWO]
    with monkeypatch.context() as planted:
        planted.setattr(
            measuring,
            "encode_like",
            lambda name, y, *_, **__: np.where(np.asarray(y) == min(y), -1.0, 1.0)[:, None],
        )
        ones = np.flatnonzero(TWO == 1)[:6]
        wrong = by_measure(two, X[ones], mixed[ones])
        assert not np.allclose(wrong, right_accuracy(two, X[ones], mixed[ones], named), atol=1e-6)
    assert np.allclose(by_attack(run, X[rows], labels), right, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("1, 2, 3", [1, 7, 3], "occur in training, 1, 2, 3, but row 1 (from 0) is 7"),
        ("0, 2, 5", [0, 1, 5], "0, 2, 5, but row 1 (from 0) is 1"),
        ("text", ["cat", "fox", "emu"], "'cat', 'dog', 'emu', but row 1 (from 0) is 'fox'"),
        ("text", [0, 1, 2], "'cat', 'dog', 'emu', but row 0 (from 0) is 0"),
        ("3, 8", [8, 0, 3], "3, 8, but row 1 (from 0) is 0"),
        ("3, 8", [8.0, 0.5, 3.0], "but row 1 (from 0) is 0.5"),
        ("0, 1", [0, -1, 1], "0, 1, but row 1 (from 0) is -1"),
        ("1, 2", ["one", "two", "one"], "1, 2, but row 0 (from 0) is 'one'"),
    ],
)
def test_labels_never_seen_are_refused_by_name(runs, name, labels, words):
    for call in (by_measure, by_attack):
        with pytest.raises(InputError) as caught:
            call(runs[name], X[:6], labels * 2)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_floats_are_targets_or_labels_where_only_one_is_possible(runs):
    rows = MIXED
    two = np.array(CLASSES["1, 2"])[TWO[rows]]
    right = right_accuracy(runs["1, 2"], X[rows], two, CLASSES["1, 2"])
    for y in (two.astype(float), np.where(two == 1, -1.0, 1.0), np.where(two == 1, -1.0, 1.0)[:, None]):
        assert np.allclose(by_measure(runs["1, 2"], X[rows], y), right, atol=1e-6)
        assert np.allclose(by_attack(runs["1, 2"], X[rows], y), right, atol=1e-6)
    zero_one = right_accuracy(runs["0, 1"], X[rows], TWO[rows], (0, 1))
    assert np.allclose(by_measure(runs["0, 1"], X[rows], 2 * TWO[rows] - 1), zero_one, atol=1e-6)
    with pytest.raises(InputError, match="labels out of 1, 2 as well as targets"):
        by_measure(runs["1, 2"], X[:6], np.ones(6))
    assert by_measure(runs["0, 1"], X[:6], np.ones(6)).shape == (SEEDS,)
    three = np.array(CLASSES["0, 2, 5"])[THREE[rows]]
    right = right_accuracy(runs["0, 2, 5"], X[rows], three, CLASSES["0, 2, 5"])
    for y in (three.astype(float), np.eye(3)[THREE[rows]], np.eye(3, dtype=int)[THREE[rows]]):
        assert np.allclose(by_measure(runs["0, 2, 5"], X[rows], y), right, atol=1e-6)
        assert np.allclose(by_attack(runs["0, 2, 5"], X[rows], y), right, atol=1e-6)


def test_without_labels_in_training_they_are_natural(runs):
    signs, hot = trained(1, np.where(TWO == 1, 1.0, -1.0)), trained(3, np.eye(3)[THREE])
    assert signs.classes is None
    assert hot.classes is None
    for rows in (MIXED, np.flatnonzero(TWO == 1)[:6]):
        right = right_accuracy(signs, X[rows], TWO[rows], (0, 1))
        for y in (TWO[rows], 2 * TWO[rows] - 1, TWO[rows] == 1, TWO[rows].astype(float)):
            assert np.allclose(by_measure(signs, X[rows], y), right, atol=1e-6)
            assert np.allclose(by_attack(signs, X[rows], y), right, atol=1e-6)
    rows = np.flatnonzero(THREE != 0)[:6]
    right = right_accuracy(hot, X[rows], THREE[rows], (0, 1, 2))
    assert np.allclose(by_measure(hot, X[rows], THREE[rows]), right, atol=1e-6)
    assert np.allclose(by_attack(hot, X[rows], THREE[rows]), right, atol=1e-6)
    for run, bad, words in (
        (signs, [1, 2], "-1 and 1, or 0 and 1"),
        (signs, [-1, 0], "-1 and 1, or 0 and 1"),
        (signs, ["a", "b"], "text"),
        (hot, [1, 3], "integers from 0 to 2, but row 1 (from 0) is 3"),
    ):
        for call in (by_measure, by_attack):
            with pytest.raises(InputError, match=words.replace("(", r"\(").replace(")", r"\)")):
                call(run, X[:6], bad * 3)


def test_targets_0_and_1_have_no_sign_and_no_accuracy():
    run = trained(1, TWO.astype(float))
    with pytest.raises(InputError, match="must have a sign, but row 0"):
        by_measure(run, X[:6], TWO[:6].astype(float))
    with pytest.raises(InputError, match=r"must have a sign, but row 0.*y_train"):
        ntr.measure(run, X, ["train_accuracy"])
    for call in (by_measure, by_attack):
        with pytest.raises(InputError, match=r"give targets as floating-point|no negative target"):
            call(run, X[:6], TWO[:6])
    # As a regression it stands.
    mse = ntr.measure(run, X[:6], ["test_mse"], y_test=TWO[:6].astype(float)).test_mse.to_numpy()[:, -1]
    assert np.allclose(mse, ((outputs(run, X[:6])[..., 0] - TWO[:6]) ** 2).mean(-1), rtol=1e-4)


def test_classes_of_targets_can_be_named():
    named = trained(3, targets(np.array([1, 2, 3])[THREE]), classes=(1, 2, 3))
    rows = np.flatnonzero(THREE != 0)[:6]
    labels = THREE[rows] + 1
    assert np.allclose(by_attack(named, X[rows], labels), right_accuracy(named, X[rows], labels, (1, 2, 3)), atol=1e-6)
    # Of a batch that lacks one of them, and of one class only.
    lacking = trained(3, np.array([1, 3])[TWO], classes=(1, 2, 3))
    assert lacking.y_train.tolist() == np.eye(3)[2 * TWO].tolist()
    alone = trained(1, np.full(N, 2), classes=(1, 2))
    assert np.all(alone.y_train == 1)
    for classes, words in (
        ((1, 2), "3 column"), ((1, 1, 2), "different"), ((1,), "different"), ("abc", "sequence"), ((1, "a", 2), "both"),
        ((1, 2, 0.5), "0.5"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            trained(3, np.eye(3)[THREE], classes=classes)
    with pytest.raises(InputError, match="occur in classes, 1, 2, 4, but row 2"):
        trained(3, THREE + 1, classes=(1, 2, 4))


def test_validation_and_held_out_points_are_read_by_training(tmp_path):
    labels = np.array([1, 2])[TWO]
    twos = np.flatnonzero(TWO == 1)[:6]
    run = trained(1, labels, validation=(X[twos], labels[twos]))
    right = 0.5 * ((outputs(run, X[twos])[..., 0] - 1) ** 2).sum(-1)
    assert np.allclose(run.validation_loss[:, -1], right, rtol=1e-4)
    with pytest.raises(InputError, match="y_validation must hold labels that occur in training, 1, 2, but row 0"):
        trained(1, labels, validation=(X[:1], [0]))
    adversary = ntr.Adversary(epsilon=0.1, objective="jacobian")
    parts = ntr.objective_parts(run, X[twos], labels[twos], adversary=adversary)
    assert np.allclose(parts.natural[:, -1], right / len(twos), rtol=1e-4)
    against = trained(1, labels, adversary=adversary)
    adjusted = ntr.width_adjusted_strength(against, against.net, trainings=1, steps=0, x=X[twos], y=labels[twos])
    assert adjusted.run.classes == (1, 2)
    assert adjusted.reached


def test_runs_keep_their_classes(runs, tmp_path):
    for name, run in runs.items():
        run.save(tmp_path / "run.npz")
        again = ntr.Run.load(tmp_path / "run.npz")
        assert again.classes == run.classes == CLASSES[name]
        assert [type(one) for one in again.classes] == [type(one) for one in run.classes]
        assert copy.deepcopy(run).classes == run.classes
    broken = dataclasses.replace(runs["1, 2, 3"], classes=(1, 2))
    broken.save(tmp_path / "run.npz")
    with pytest.raises(InputError, match="2 classes and its network 3 outputs"):
        ntr.Run.load(tmp_path / "run.npz")


def test_data_sets_keep_their_classes():
    assert ntr.data.digits("classes").classes == tuple(range(10))
    assert ntr.data.digits("parity").classes is None
    assert ntr.data.sphere(4, 2, 3).classes is None
    y = targets(THREE + 1)
    data = Dataset(X, y, X, y, "mine", "classification", classes=[1, 2, 3])
    assert data.classes == data.subset(2, 3).classes == (1, 2, 3)
    for task, classes, words in (("classification", (1, 2), "those of 3"), ("regression", (1, 2, 3), "None for a reg")):
        with pytest.raises(InputError, match=words):
            Dataset(X, y, X, y, "mine", task, classes=classes)
    with pytest.raises(InputError, match="y_train of a classification must be ±1 in one column, but row 0"):
        Dataset(X, TWO[:, None].astype(float), X, TWO[:, None].astype(float), "mine", "classification")


def test_masked_missing_and_pandas_labels():
    masked = np.ma.array(THREE + 1, mask=THREE == 2)
    with pytest.raises(
        InputError, match=r"y must have no missing entries, but 8 are masked, the first row 2 \(from 0\)"
    ):
        targets(masked)
    assert np.array_equal(targets(np.ma.array(THREE)), targets(THREE))
    with pytest.raises(InputError, match="x_train must have no missing entries"):
        ntr.train(ntr.MLP(2, 8), list(np.ma.array(X, mask=X > 2)), TWO, seeds=1, steps=0)
    series = pd.Series(THREE + 1)
    for y in (series, series.astype("Int64"), series.astype("category"), series.astype(object), (series.astype(str))):
        assert np.array_equal(targets(y), targets(THREE))
    with pytest.raises(InputError, match="row 4"):
        targets(series.astype("Int64").where(series.index != 4))
    with pytest.raises(InputError, match="structured array of the fields a, b"):
        targets(np.zeros(3, dtype=[("a", int), ("b", float)]))
    frame = pd.DataFrame(X)
    shuffled = series.sample(frac=1, random_state=0)
    with pytest.raises(InputError, match="x_train and y_train have different names"):
        ntr.train(ntr.MLP(2, 8, d_out=3), frame, shuffled, seeds=1, steps=0)
    aligned = ntr.train(ntr.MLP(2, 8, d_out=3), frame, series, seeds=1, steps=0)
    assert aligned.classes == (1, 2, 3)
