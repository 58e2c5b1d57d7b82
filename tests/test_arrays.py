"""Arrays as people have them: what they become, wherever data are taken, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from refusals import refused

import ntkrobust as ntr
from ntkrobust.data import Dataset, each, from_arrays, load
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks import attacking

RNG = np.random.default_rng(0)
N, D = 24, 5
X = RNG.normal(size=(N, D))
LABELS = np.arange(N) % 3
TWO = np.arange(N) % 2
IMAGES = RNG.integers(1, 255, size=(N, 4, 3), dtype=np.uint8)
COLOURED = RNG.integers(1, 255, size=(N, 4, 3, 2), dtype=np.uint8)


def together(data):
    """All points of a data set with the labels that their targets stand for, sorted."""
    x, y = np.vstack([data.x_train, data.x_test]), np.vstack([data.y_train, data.y_test])
    labels = y[:, 0] if data.classes is None else np.array(data.classes)[_columns(y)]
    return sorted(zip(map(tuple, x.tolist()), labels.tolist(), strict=True))


def _columns(y):
    return (y[:, 0] > 0).astype(int) if y.shape[1] == 1 else y.argmax(axis=1)


def right(x, labels):
    flat = np.asarray(x, dtype=float).reshape(len(x), -1)
    return sorted(zip(map(tuple, flat.tolist()), np.asarray(labels).tolist(), strict=True))


# --- one data set in many forms


FORMS = {
    "lists": X.tolist(),
    "pandas": pd.DataFrame(X, columns=list("abcde")),
    "xarray": xr.DataArray(X),
    "Fortran": np.asfortranarray(X),
    "objects": X.astype(object),
    "masked without a mask": np.ma.array(X),
    "every second row": np.repeat(X, 2, axis=0)[::2],
    "big-endian": X.astype(">f8"),
    "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
}


@pytest.mark.parametrize("form", FORMS)
def test_inputs_in_every_form_are_the_same_data(form):
    data = load((FORMS[form], LABELS))
    assert together(data) == right(X, LABELS)
    assert data.name == load((X, LABELS)).name


@pytest.mark.parametrize("kind", ["f4", "f2", "i8", "u1", "?"])
def test_inputs_of_every_type_are_the_numbers_that_they_hold(kind):
    x = (np.abs(X) * 10 + 1).astype(kind)
    assert together(load((x, LABELS))) == right(x.astype(float), LABELS)


TEXT = np.array(["ant", "bee, or so", "çat"])
FORMS_OF_LABELS = {
    "integers": (LABELS, (0, 1, 2)),
    "a column": (LABELS[:, None] + 4, (4, 5, 6)),
    "floats": (LABELS.astype(float), (0, 1, 2)),
    "single precision": (LABELS.astype("f4") + 1, (1, 2, 3)),
    "floats 0 and 1": (TWO.astype(float), (0, 1)),
    "truth values": (TWO == 1, (False, True)),
    "text": (TEXT[LABELS], tuple(TEXT)),
    "bytes": (np.char.encode(TEXT[LABELS], "utf-8"), tuple(TEXT)),
    "objects": (TEXT[LABELS].astype(object), tuple(TEXT)),
    "categories": (pd.Series(pd.Categorical(TEXT[LABELS])), tuple(TEXT)),
    "a list": ((LABELS * 2).tolist(), (0, 2, 4)),
}


@pytest.mark.parametrize("form", FORMS_OF_LABELS)
def test_labels_in_every_form_are_classes(form):
    labels, classes = FORMS_OF_LABELS[form]
    data = load((X, labels))
    assert (data.classes, data.task, data.o) == (classes, "classification", len(classes) if len(classes) > 2 else 1)
    wanted = np.array(classes)[LABELS if len(classes) > 2 else TWO]
    assert together(data) == right(X, wanted)
    assert together(data) != right(X, np.roll(wanted, 1))


def test_targets_are_not_labels():
    assert load((X, X[:, 0])).task == "regression"
    assert (
        from_arrays(X, LABELS, kind="target").task == from_arrays(X, LABELS + 0.0, kind="target").task == "regression"
    )
    # Whole numbers that hardly repeat, or that the test part has others of, are real targets.
    assert load((X, np.arange(float(N)))).task == "regression"
    assert load((X, LABELS + 0.0, X[:4], np.arange(4.0))).task == "regression"
    hot = load((X, np.eye(3)[LABELS]))
    assert (hot.task, hot.o, hot.classes) == ("classification", 3, None)
    assert np.array_equal(np.unique(load((X, 2.0 * TWO - 1)).y_train), [-1, 1])


def test_four_arrays_are_training_and_test_points():
    data = load((X[:20], LABELS[:20], X[20:], LABELS[20:]))
    assert np.array_equal(data.x_train, X[:20])
    assert np.array_equal(data.labels_test, LABELS[20:])
    by_name = load({"x_train": X[:20], "y_train": LABELS[:20], "x_test": X[20:], "y_test": LABELS[20:], "other": 1})
    assert by_name == data
    assert load(data) is data


def test_several_data_sets_are_a_list_and_arrays_a_tuple():
    assert each(FOUR) == [FOUR]
    assert each("digits") == ["digits"]
    assert each(DATA) == [DATA]
    assert each(["digits", DATA, FOUR]) == ["digits", DATA, FOUR]
    assert each(("digits", "wine")) == ["digits", "wine"]


def test_names_tell_one_data_set_from_another():
    one, other = load((X, LABELS)), load((X + 1e-9, LABELS))
    assert one.name != other.name
    assert one.name.startswith("arrays (sha256 ")
    assert from_arrays(X, LABELS, name="my measurements").name.startswith("my measurements (sha256 ")
    assert "classification into 3 classes" in one.name
    assert "not normalized" in one.name


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((X,), ("arrays (x, y)", "tuple of 1")),
        ((X, LABELS, X), ("arrays (x, y)", "tuple of 3")),
        ([X, LABELS], ("arrays (x, y)", "list of 2 (ndarray of shape (24, 5), ndarray of shape (24,))")),
        (X, ("arrays (x, y)", "shape (24, 5)")),
        (None, ("data must be", "None")),
        (pd.DataFrame(X), ("DataFrame", "drop(columns=LABEL)")),
        ((X, LABELS[:9]), ("x_train and y_train", "24 and 9")),
        ((X, None), ("y_train",)),
        ((X, LABELS, X, None), ("only x_test",)),
        ((X[:1], LABELS[:1] + 0.5), ("two points",)),
        ((X, np.zeros(N, int)), ("two classes", "label 0")),
        ((np.where(X[3, 2] == X, np.nan, X), LABELS), ("row 3, column 2", "nan")),
        ((np.ma.masked_equal(X, X[3, 2]), LABELS), ("x_train", "masked", "row 3, column 2")),
        ((X * (np.arange(N) != 7)[:, None], LABELS), ("positive norm", "row 7")),
        ((pd.DataFrame(X).assign(more="a"), LABELS), ("x_train", "row 0, column 5", "'a'")),
        ((pd.DataFrame(X), pd.Series(LABELS, index=range(1, N + 1))), ("pandas index",)),
        ((X, np.where(TWO, "a", None)), ("y_train", "None")),
        ((np.moveaxis(RNG.random((N, 8, 8, 3)), 3, 1), LABELS), ("channels first", "transpose")),
        ((X.astype(complex), LABELS), ("complex",)),
        ((X[:, :0], LABELS), ("(24, 0)",)),
        (([[1.0], [1.0, 2.0]], [0, 1]), ("different lengths",)),
        ((X, np.r_[LABELS[1:] + 0.0, np.inf]), ("y_train", "inf")),
    ],
)
def test_what_is_no_data_is_refused_in_one_sentence(given, words):
    refused(lambda: load(given), *words)


# --- images


@pytest.mark.parametrize(("images", "shape"), [(IMAGES, (4, 3, 1)), (COLOURED, (4, 3, 2))])
def test_images_become_rows_and_keep_their_shape(images, shape, tmp_path):
    np.savez(tmp_path / "images.npz", x_train=images, y_train=LABELS)
    for data in (load((images, LABELS)), load(tmp_path / "images.npz")):
        assert data.image_shape == shape
        assert together(data) == right(images, LABELS)
    rows = images.reshape(N, -1)
    assert from_arrays(rows, LABELS, image_shape=shape).image_shape == shape
    np.savez(tmp_path / "rows.npz", x_train=rows, y_train=LABELS, image_shape=shape)
    assert load(tmp_path / "rows.npz").image_shape == shape
    direct = Dataset(images, 2.0 * TWO[:, None] - 1, images[:2], 2.0 * TWO[:2, None] - 1, "images", "classification")
    assert (direct.image_shape, direct.d) == (shape, rows.shape[1])
    refused(lambda: from_arrays(images, LABELS, image_shape=(3, 4, shape[2])), "one shape")


# --- wherever data are taken


NET = ntr.MLP(2, 8, d_out=3)
DATA = load((X[:16], LABELS[:16] + 5, X[16:], LABELS[16:] + 5))
FOUR = (X[:16], LABELS[:16] + 5, X[16:], LABELS[16:] + 5)


@pytest.fixture(scope="module")
def run():
    return ntr.train(NET, X[:16], LABELS[:16] + 5, seeds=2, steps=2)


@pytest.mark.parametrize(
    "given", [(DATA,), (FOUR,), (FOUR[:2],), FOUR[:2], ({"x_train": FOUR[0], "y_train": FOUR[1]},)]
)
def test_training_takes_data_in_every_form(given, run):
    found = ntr.train(NET, *given, seeds=2, steps=2)
    assert np.array_equal(found.loss, run.loss)
    assert found.classes == (5, 6, 7)
    elsewhere = ntr.Run.from_parameters(NET, found.parameters, x_train=given[0], y_train=(*given, None)[1])
    assert np.array_equal(elsewhere.x_train, run.x_train)
    assert elsewhere.classes == run.classes
    ensemble = ntr.InfiniteEnsemble(NET, *given)
    assert np.array_equal(ensemble.at(1.0).mean(X[16:]), ntr.InfiniteEnsemble(NET, *FOUR[:2]).at(1.0).mean(X[16:]))


@pytest.mark.parametrize("given", [(DATA,), (FOUR,), (FOUR[2:],), FOUR[2:]])
def test_measuring_and_attacking_take_the_test_points(given, run, monkeypatch):
    wanted = ntr.measure(run, X[16:], ["natural_accuracy"], y_test=LABELS[16:] + 5)
    more = {"y_test": given[1]} if len(given) == 2 else {}
    assert ntr.measure(run, given[0], ["natural_accuracy"], **more).equals(wanted)

    # What an attack starts from: the classes as the network has them, before anything is compiled.
    def stopped(net, scales, x, *rest):
        raise InputError(f"stopped at {x.tolist()}")

    labels = []
    check = attacking.arguments.check_labels
    monkeypatch.setattr(attacking.arguments, "check_labels", lambda *args: labels.append(check(*args)) or labels[-1])
    monkeypatch.setattr(attacking, "check_representable", stopped)
    refused(lambda: ntr.attack(run, *given, epsilon=0.1), f"stopped at {X[16:].astype('f4').tolist()}"[:300])
    assert labels[0].tolist() == LABELS[16:].tolist()


def test_labels_of_a_data_set_mean_what_they_meant_in_training():
    """Classes 1 and 2: a test part of targets +1 alone is that of label 2, though 1 is a label too."""
    labels = TWO + 1
    run = ntr.train(ntr.MLP(2, 8), X, labels, seeds=2, steps=50)
    only_two = load((X, labels, X[labels == 2], labels[labels == 2]))
    accuracy = ntr.measure(run, only_two, ["natural_accuracy"])["natural_accuracy"]
    wanted = ntr.measure(run, X[labels == 2], ["natural_accuracy"], y_test=labels[labels == 2])["natural_accuracy"]
    assert np.array_equal(accuracy, wanted)
    assert not np.array_equal(wanted, 1 - wanted)
    others = load((X, labels + 5))
    refused(lambda: ntr.measure(run, others, ["natural_accuracy"]), "occur in training", "1, 2")


def test_data_sets_bring_their_own_targets(run):
    refused(lambda: ntr.train(NET, DATA, LABELS), "leave y_train")
    refused(lambda: ntr.measure(run, DATA, ["natural_accuracy"], y_test=LABELS), "leave y out")
    refused(lambda: ntr.attack(run, DATA, LABELS, epsilon=0.1), "leave y out")
    refused(lambda: ntr.train(NET, X), "give y_train")


@pytest.mark.parametrize(
    ("given", "options", "shape"),
    [
        ((IMAGES.reshape(N, -1), TWO), {}, None),
        ((IMAGES, TWO), {}, (4, 3, 1)),
        ((IMAGES.reshape(N, -1), TWO), {"image_shape": (4, 3)}, (4, 3)),
        ((IMAGES, TWO), {"image_shape": (3, 4)}, (3, 4)),
        (((IMAGES, TWO),), {}, (4, 3, 1)),
        ((load((IMAGES, TWO)),), {}, (4, 3, 1)),
    ],
)
def test_attacks_have_the_windows_of_the_images(given, options, shape, monkeypatch):
    """Square takes its windows from the shape that the suite of attacks is made with."""
    run = ntr.train(ntr.MLP(2, 8), IMAGES, TWO, seeds=2, steps=0)

    def made(*args, image_shape, **more):
        raise InputError(f"windows of {image_shape}")

    monkeypatch.setattr("ntkrobust.finite.attacks.attacking.Suite.of", made)
    refused(lambda: ntr.attack(run, *given, epsilon=0.1, **options), f"windows of {shape}")


def test_convolutional_networks_take_images_of_their_shape():
    net = ntr.ConvNet(depth=2, width=4, image_shape=(4, 3, 1))
    run = ntr.train(net, IMAGES / 255, TWO, seeds=2, steps=1)
    assert np.array_equal(run.loss, ntr.train(net, IMAGES.reshape(N, -1) / 255, TWO, seeds=2, steps=1).loss)
    refused(lambda: ntr.train(net, IMAGES.transpose(0, 2, 1) / 255, TWO), "(n, 4, 3, 1)", "(24, 3, 4)")


@pytest.mark.parametrize("given", [DATA, FOUR[:2], FOUR])
def test_verdicts_and_comparisons_take_data_in_every_form(given):
    verdicts = ntr.verify(["zhu2022/depth-lecun/bound"], data=given)
    named = load(given).name
    assert verdicts.document["inputs"]["data"]["name"] == named
    assert named in verdicts[0].command
    # Refused for what the arrays hold, so they were read.
    refused(lambda: ntr.compare(ntr.MLP(2), given, n=2), "d_out=1", named, "3 columns")


def test_a_large_set_is_not_copied_for_every_step():
    """What a data set is built from is taken over where nobody else can write into it."""
    x = np.array(X)
    x.setflags(write=False)
    y = 2.0 * TWO[:, None] - 1
    assert Dataset(x, y, X, y, "mine", "classification").x_train is x
    view = X[:]
    view.setflags(write=False)
    assert Dataset(view, y, X, y, "mine", "classification").x_train is not view


def test_points_without_a_kernel_to_invert_cost_the_claims_that_need_one_and_no_other():
    """Equal points with unlike targets, as measured data have them: no infinite ensemble, and yet networks."""
    claim = ntr.Claim(
        "mine/bounded", "bounded", ntr.AtMost(lambda depth: 1e3), "perturbation_stability",
        {"initialization": ["he"], "depth": [2], "width": [8]}, theory=lambda infinite_width: infinite_width,
    )  # fmt: skip
    stated = ntr.Claim(
        "mine/stated", "stated", ntr.Equals(lambda infinite_width: infinite_width), claim.measure, claim.grid
    )
    asked = [claim, stated, "zhu2022/depth-he/infinite@converged", "zhu2022/depth-lecun/bound"]
    equal = np.repeat(X[:12], 2, axis=0)
    labels = ["supported", "out of scope", "out of scope", "supported"]
    found = ntr.verify(asked, data=(equal[:16], TWO[:16], equal[16:], TWO[16:]), seeds=12, points=4)
    assert [one.label for one in found] == labels
    assert "are equal and have different targets" in found[1].reason
    assert found[0].cells[0].theory is None
    assert all(cell["mean"] is None for cell in found.document["values"]["verdicts"][2]["cells"])
    # Without equal points all of them are judged.
    found = ntr.verify(asked, data=(X[:16], TWO[:16], X[16:], TWO[16:]), seeds=12, points=4)
    assert "out of scope" not in [one.label for one in found]
    assert found[0].cells[0].theory > 0
