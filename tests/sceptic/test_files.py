"""Files as people write them: what is read equals the arrays that the file was made from, or there is one sentence."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ntkrobust.data import Dataset, csv_layout, load
from ntkrobust.errors import InputError

RNG = np.random.default_rng(8)
N, D = 50, 2
X = RNG.standard_normal((N, D))
Y = np.arange(N) % 2
FRAME = pd.DataFrame(np.column_stack([X, Y]))
NAMED = pd.DataFrame(X, columns=["width", "height"]).assign(label=Y)


def together(data: Dataset):
    """Sorted rows of all inputs, each with its label."""
    x, y = np.vstack([data.x_train, data.x_test]), np.vstack([data.y_train, data.y_test])
    column = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0).astype(int)
    labels = [data.classes[one] for one in column] if data.classes else y[:, 0].tolist()
    return sorted((*map(float, row), str(label)) for row, label in zip(x, labels, strict=True))


def right(x, labels):
    """The same of the arrays that a file was made from."""
    return sorted((*map(float, row), str(label)) for row, label in zip(np.asarray(x), labels, strict=True))


@pytest.fixture
def write(tmp_path):
    def to(text, name="mine.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        load(str(path))
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence, sentence


# --- names of columns and numbers of rows


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (FRAME.to_csv(), "pandas as it comes"),
        (FRAME.to_csv(index=False), "default names, no row numbers"),
        (NAMED.to_csv(), "names and row numbers"),
        (NAMED.to_csv(index=False), "names"),
        (NAMED.to_csv(index=False, header=False), "numbers only"),
        (NAMED.sample(frac=1, random_state=0).to_csv(), "shuffled row numbers"),
        (pd.concat([NAMED[:25], NAMED[25:].reset_index(drop=True)]).to_csv(), "row numbers that begin again"),
        (NAMED.reset_index().to_csv(index=False), "row numbers in a column called index"),
        (NAMED.set_index(pd.date_range("2020-01-01", periods=N)).to_csv(), "dates as row names"),
        (NAMED.to_csv(index_label="id"), "row numbers in a column called id"),
        (pd.read_csv(io.StringIO(NAMED.to_csv())).to_csv(index=False), "written, read and written again"),
        (NAMED.to_csv().replace(",width", "width", 1), "as R writes row names"),
        (NAMED.rename(columns={"width": 0, "height": 1}).to_csv(index=False), "default names, and label"),
        (NAMED.rename(columns={"width": "label_", "height": "label_"}).to_csv(index=False), "two columns of one name"),
        (NAMED[["label", "width", "height"]].to_csv(index=False), "label first"),
        (NAMED[["width", "label", "height"]].rename(columns={"label": "Target"}).to_csv(), "label in the middle"),
        (NAMED.rename(columns={"width": "x", "height": "y"}).to_csv(index=False), "coordinates x and y"),
        (NAMED.to_csv(index=False, sep=";"), "semicolons"),
        (NAMED.to_csv(index=False, sep=";", decimal=","), "semicolons and decimal commas"),
        (NAMED.to_csv(index=False, sep="\t"), "tabs"),
        (NAMED.to_csv(index=False, sep=" "), "blanks"),
        (NAMED.to_csv(index=False, sep="|"), "bars"),
        (NAMED.to_string(index=False, float_format="{:.17g}".format), "aligned by blanks"),
        ("sep=;\n" + NAMED.to_csv(index=False, sep=";"), "what spreadsheets put first"),
        (NAMED.to_csv(index=False, quoting=csv.QUOTE_ALL), "everything quoted"),
        ("\ufeff" + NAMED.to_csv(index=False), "a byte order mark"),
        (NAMED.to_csv(index=False, lineterminator="\r\n"), "lines of Windows"),
        (NAMED.to_csv(index=False, lineterminator="\r\n\r\n"), "blank lines"),
        (NAMED.to_csv(index=False).replace("\n", ",\n"), "a separator at the end of lines"),
        (NAMED.to_csv(index=False, header=False, sep=";").replace("\n", ";\n"), "the same without names"),
        ("# by hand\n" + NAMED.to_csv(index=False).replace("\n", "\n# more\n", 3), "comments"),
        (NAMED.to_csv(index=False).replace(",", ", "), "blanks after commas"),
        (NAMED.assign(label=Y.astype(float)).to_csv(index=False), "labels 0.0 and 1.0"),
    ],
    ids=lambda value: value if "\n" not in value else "",
)
def test_ways_to_write_one_table(write, text, what, figure):
    data = load(write(text))
    figure(f"points and classes of a .csv: {what}", f"{len(together(data))}, {data.classes}", f"{N}, (0, 1)", "numpy")
    assert together(data) == right(X, Y)
    assert data.d == D
    assert data.classes == (0, 1)


def test_numpy_writes_names_as_a_comment(write, tmp_path):
    table = np.column_stack([Y, X])
    np.savetxt(tmp_path / "a.csv", table, delimiter=",", header="label,a,b", fmt="%.17g")
    assert together(load(tmp_path / "a.csv")) == right(X, Y)
    np.savetxt(tmp_path / "b.csv", np.column_stack([X, Y]))
    assert together(load(tmp_path / "b.csv")) == right(X, Y)


def test_default_names_above_whole_numbers(write):
    x = RNG.integers(1, 9, size=(N, 4))
    for labels, classes in ((Y, (0, 1)), (np.arange(N) % 3, (0, 1, 2))):
        data = load(write(pd.DataFrame(np.column_stack([x, labels])).to_csv(index=False)))
        assert together(data) == right(x, labels)
        assert data.classes == classes
    # A first line 0, 1, 2 that could be a point of the third class is nobody's to guess.
    text = pd.DataFrame(np.column_stack([x[:, :2], np.arange(N) % 3])).to_csv(index=False)
    refused(write(text), "line 1 counts 0, 1, 2 and may hold the names of columns or a point")
    assert load(f"{write(text)}:label=2").classes == (0, 1, 2)
    # Other names that count: above a text they are names, above numbers they could be.
    years = pd.DataFrame(X, columns=[2019, 2020]).assign(label=Y)
    assert together(load(write(years.to_csv(index=False)))) == right(X, Y)
    for names in ([1, 2, 3], [0.0, 1.0, 2.0]):
        frame = FRAME.set_axis(names, axis=1)
        refused(write(frame.to_csv(index=False)), "line 1 counts", "names of columns or a point")
        assert together(load(write(frame.to_csv()))) == right(X, Y)
    counting = "1,2,3\n4,5,3\n6,7,0\n"
    assert together(load(write(counting))) == right([[1, 2], [4, 5], [6, 7]], [3, 3, 0])


def test_rows_numbered_without_a_name_are_refused(write):
    refused(write(NAMED.to_csv(header=False)), "column 1 numbers the lines from 0 to 49")
    refused(write(NAMED.set_index(np.arange(1, N + 1)).to_csv(header=False)), "column 1 numbers the lines from 1 to 50")


def test_the_old_rule_of_headers_is_noticed(write, monkeypatch):
    """The planted fault: a first line is one of names only if none of its cells is a number."""
    monkeypatch.setattr(
        csv_layout, "_what_it_is", lambda first, *_: "point" if any(map(csv_layout.is_number, first)) else "names"
    )
    with pytest.raises(InputError):
        load(write(FRAME.to_csv()))
    wide = pd.DataFrame(np.column_stack([X[:, :1], X[:, :1], Y]))
    assert together(load(write(wide.to_csv(index=False)))) != right(wide[[0, 1]], Y)


# --- labels


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(["cat", "dog"])[Y], ("cat", "dog")),
        (np.array(["Iris, setosa", "none", 'a "b"'])[np.arange(N) % 3], ("Iris, setosa", 'a "b"', "none")),
        (Y == 1, (False, True)),
        (np.array([3, 8])[Y], (3, 8)),
        (np.array([-1, 1])[Y], (-1, 1)),
        (np.array([0.0, 2.0, 5.0])[np.arange(N) % 3], (0, 2, 5)),
    ],
)
def test_labels_of_every_kind(write, labels, classes):
    for options in ({}, {"index": False}, {"index": False, "header": False}, {"sep": ";", "decimal": ","}):
        data = load(write(NAMED.assign(label=labels).to_csv(**options)))
        shown = labels.astype(int) if labels.dtype.kind == "f" else labels
        assert together(data) == right(X, shown.tolist())
        assert data.classes == classes


def test_the_label_can_be_named(write):
    frame = NAMED.rename(columns={"label": "diagnosis"})[["diagnosis", "width", "height"]]
    path = write(frame.to_csv(index=False), "named.csv")
    assert together(load(f"{path}:label=diagnosis")) == right(X, Y)
    assert "label column 'diagnosis'" in load(f"{path}:label=diagnosis").name
    assert load(path).task == "regression"  # of the last column
    whole = write(pd.DataFrame(X).assign(price=np.arange(N) * 10).to_csv(index=False))
    refused(whole, "holds 50 different labels on 50 lines", "FILE.csv:target=NAME")
    for spec in (f"{whole}:target=price", f"{whole}:target"):
        data = load(spec)
        assert (data.task, data.classes) == ("regression", None)
        assert together(data) == right(X, (np.arange(N) * 10.0).tolist())
    assert load(f"{whole}:label").o == 50
    refused(f"{path}:label=sex", "expected one column named 'sex', got 0 such among 'diagnosis', 'width', 'height'")
    refused(f"{write(NAMED.to_csv(index=False, header=False))}:label=sex", "a file without names of columns")
    both = write(NAMED.assign(target=Y)[["label", "target", "width", "height"]].to_csv(index=False))
    refused(both, "'label' and 'target'", "FILE.csv:label=NAME")
    refused(f"{write(NAMED.assign(label=X[:, 0]).to_csv(index=False))}:label", "must be a whole number or text")


# --- what is missing, and what is nothing


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "n/a", "null", "None", "?", "-"])
def test_missing_inputs_are_refused_with_their_place(write, missing):
    rows = NAMED.astype(object)
    rows.iloc[3, 1] = missing
    refused(write(rows.to_csv(index=False)), "line 5, column 2 ('height') must be a", "number")
    refused(write(rows.to_csv(index=False, header=False)), "line 4, column 2 must be a")
    refused(write(rows.to_csv()), "line 5, column 3 ('height')")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,label\n1,2,\n3,4,1\n", ("line 2, column 3 ('label')", "an empty cell")),
        ("a,b,label\n1,2,cat\n3,4,nan\n5,6,dog\n", ("line 3, column 3 ('label')", "missing")),
        ("a,b,label\n1,2,cat\n3,4,7\n", ("line 3, column 3 ('label')", "must be a text", "'7'")),
        ("a,b,label\n1,inf,0\n3,4,1\n", ("line 2, column 2 ('b')", "finite", "inf")),
        ("a,b,label\n1,2,inf\n3,4,1\n", ("line 2, column 3 ('label')", "finite")),
        ("a;b;label\n1,5;2;0\n3.5;4;1\n", ("decimal commas as well as with points",)),
        ("a,b,label\n1,True,0\n3,4,1\n", ("column 2", "True and False, got both")),
        ("a,b,label\n\"1,234\",2,0\n3,4,1\n", ("line 2, column 1 ('a')", "'1,234'")),
        ("id,label\n1,0\n2,1\n", ("at least one column of inputs",)),
        ('a,label\n1,"0,5"\n3,"1,5"\n', ("line 2, column 2 ('label')", "decimal point", "'0,5'")),
        (",,\n,,\n", ("line 1",)),
        ("0,1,2\n", ("at least two",)),
        ("NA,NA,0\n1,2,1\n", ("line 1, column 1", "missing")),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read(write, text, words):
    refused(write(text), *words)


def test_truth_values_are_inputs_too(write):
    x = np.column_stack([X[:, 0], Y == 0])
    frame = pd.DataFrame({"a": x[:, 0], "b": Y == 0, "label": Y})
    for options in ({}, {"index": False}, {"index": False, "header": False}):
        assert together(load(write(frame.to_csv(**options)))) == right(x, Y)


def test_thousands_of_columns(write):
    x = RNG.standard_normal((4, 3000))
    data = load(write(pd.DataFrame(np.column_stack([x, [0, 1, 0, 1]])).to_csv(float_format="%.17g")))
    assert together(data) == right(x, [0, 1, 0, 1])


# --- any table of pandas


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(4, 9), st.integers(1, 5)),
    whole=st.booleans(),
    labels=st.sampled_from(["ints", "texts", "truths", "floats"]),
    names=st.sampled_from(["default", "texts", "none"]),
    index=st.sampled_from([True, False]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_tables_of_pandas_come_back_or_are_refused(
    tmp_path, seed, shape, whole, labels, names, index, separator, decimal, quoting, end
):
    rng = np.random.default_rng(seed)
    n, d = shape
    x = rng.integers(1, 99, size=shape).astype(float) if whole else rng.standard_normal(shape)
    column = rng.permutation(np.arange(n) % 2)
    y = {"ints": column + 1, "texts": np.array(["no", "yes"])[column], "truths": column == 1, "floats": column + 0.5}[
        labels
    ]
    frame = pd.DataFrame(x.astype(int) if whole else x)
    frame[d] = y
    if names == "texts":
        frame.columns = [*(f"x{at}" for at in range(d)), "label"]
    path = tmp_path / "any.csv"
    frame.to_csv(
        path, index=index, header=names != "none", sep=separator, decimal=decimal, quoting=quoting, lineterminator=end
    )
    sentence = ""
    try:
        found = together(load(path))
    except InputError as error:
        sentence = str(error)
    # Only where something could mean two things.
    doubt = (names == "default" and whole and not index) or (names == "none" and index) or (separator == decimal == ",")
    assert not sentence or (doubt and "\n" not in sentence), sentence
    assert sentence or found == right(x, y.tolist())


# --- archives of numpy


def test_archives(tmp_path):
    path = tmp_path / "mine.npz"

    def save(**arrays):
        np.savez(path, **arrays)
        return path

    hot = np.eye(2)[Y]
    for y, classes in ((Y[:, None] + 1, (1, 2)), (np.array(["a", "b"])[Y], ("a", "b")), (Y == 1, (False, True))):
        assert load(save(x_train=X, y_train=y)).classes == classes
    assert load(save(x_train=X, y_train=hot)).task == "classification"
    # Whole numbers are classes in whatever type they are stored, as in a table; and targets where that is said.
    assert together(load(save(x_train=X, y_train=Y.astype(float)))) == right(X, Y)
    assert "whole numbers taken for classes" in load(path).name
    assert together(load(f"{path}:label")) == right(X, Y)
    assert load(f"{path}:target").task == "regression"
    refused(f"{path}:label=y", "no columns with names")
    refused(save(x_train=X, y_train=X[:, 0]).as_posix() + ":label", "whole numbers or text")
    refused(save(x=X, y=Y), "missing x_train and y_train; arrays found: x, y")
    refused(save(x_train=X, y_train=Y, mask=X > 0), "the archive has a mask, mask")
    refused(save(x_train=np.zeros(N, dtype=[("a", float)]), y_train=Y), "structured array of the fields a")
    refused(save(x_train=X.astype(object), y_train=Y), "Python objects")


# --- the planted fault of the whole kind: a reader that shifts labels by a line is caught by the comparison


def test_shifted_labels_are_noticed(write):
    data = load(write(NAMED.assign(label=np.roll(Y, 1)).to_csv()))
    assert together(data) != right(X, Y)


# --- the range of the inputs, in the name of a file


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        (":range=-9..9", (-9.0, 9.0)),
        (":range=-9.5..", (-9.5, np.inf)),
        (":range=..1e2", (-np.inf, 100.0)),
        (":label=label:range=-9..9", (-9.0, 9.0)),
        (":range=-9..9:label=label", (-9.0, 9.0)),
        (":label:range=-9..9", (-9.0, 9.0)),
        ("", None),
    ],
)
def test_a_range_is_stated_with_the_file(more, ends, write):
    data = load(f"{write(NAMED.to_csv(index=False))}{more}")
    assert together(data) == right(X, Y)
    assert data.bounds is None if ends is None else [end.tolist() for end in data.bounds] == [[end] * D for end in ends]


def test_a_range_replaces_that_of_an_archive(tmp_path):
    np.savez(tmp_path / "mine.npz", x_train=X, y_train=Y, bounds=[-5.0, 5.0])
    assert load(f"{tmp_path}/mine.npz").bounds.upper.tolist() == [5.0] * D
    assert load(f"{tmp_path}/mine.npz:range=-9..9").bounds.upper.tolist() == [9.0] * D


@pytest.mark.parametrize("text", ["", "..", "1", "1..0", "1..1", "a..b", "nan..1", "0..1..2", "-inf..inf"])
def test_what_is_no_range_is_refused(text, write):
    refused(f"{write(NAMED.to_csv(index=False))}:range={text}", "a range is written LOW..HIGH", repr(text))


def test_points_outside_a_stated_range_are_refused(write, monkeypatch):
    refused(f"{write(NAMED.to_csv(index=False))}:range=0..1", "outside")
    monkeypatch.chdir(write(NAMED.to_csv(index=False)).parent)
    assert load("mine.csv:range=-9..").bounds.lower.tolist() == [-9.0] * D  # a name that ends in dots


def test_a_file_of_that_very_name_is_that_file(tmp_path):
    path = tmp_path / "a.csv:range=0..1.csv"
    path.write_text(NAMED.to_csv(index=False))
    assert load(str(path)).bounds is None
