"""Images in a user's folder and on openml.org: small files made here, whole and damaged."""

import gzip
import hashlib
import io
import json
import math
import struct
from urllib.error import URLError

import numpy as np
import pytest
from refusals import refused

from ntkrobust.data import Dataset, digits, from_folder, from_openml, load

NAMES = {
    ("train", "images"): "train-images-idx3-ubyte", ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte", ("test", "labels"): "t10k-labels-idx1-ubyte",
}  # fmt: skip


def idx(array):
    """The bytes of an IDX file, written here from the format's description and not by our reader's helpers."""
    array = np.asarray(array, dtype=np.uint8)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def images(n, seed=0, height=4, width=3):
    pixels = np.random.default_rng(seed).integers(0, 256, size=(n, height, width), dtype=np.uint8)
    pixels[:, 0, 0] = 255
    return pixels


LABELS = np.array([3, 0, 7, 7, 1, 3, 0, 1, 3, 7], dtype=np.uint8)


@pytest.fixture
def mnist(tmp_path):
    """A folder with ten training and four test images in IDX files."""
    parts = {"train": (images(10), LABELS), "test": (images(4, seed=1), LABELS[:4])}
    for part, (pixels, labels) in parts.items():
        (tmp_path / NAMES[part, "images"]).write_bytes(idx(pixels))
        (tmp_path / NAMES[part, "labels"]).write_bytes(idx(labels))
    return tmp_path


def record(label, image):
    """A record of CIFAR-10's binary version: the class, then red, green and blue, each row by row."""
    return bytes([label]) + b"".join(image[:, :, colour].tobytes() for colour in range(3))


def cifar_batch(n, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 256, size=(n, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(n) % 10
    return pixels, labels, b"".join(map(record, labels.tolist(), pixels))


@pytest.fixture
def cifar(tmp_path):
    for number in (1, 2):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(cifar_batch(10, number)[2])
    (tmp_path / "test_batch.bin").write_bytes(cifar_batch(4, 9)[2])
    return tmp_path


# --- IDX -------------------------------------------------------------------------------------------------------------


def test_idx_files_become_classes_and_unit_rows(mnist):
    data = load(str(mnist))
    flat = images(10).reshape(10, 12).astype(float)
    assert np.allclose(data.x_train, flat / np.sqrt((flat**2).sum(axis=1, keepdims=True)), rtol=1e-15, atol=0)
    classes = [0, 1, 3, 7]
    assert np.array_equal(data.y_train, [[float(label == one) for one in classes] for label in LABELS])
    assert np.array_equal(data.y_test, data.y_train[:4])
    assert (data.image_shape, data.task, len(data.x_test)) == ((4, 3, 1), "classification", 4)
    for words in (mnist.name, "sha256", "4 classes of 0..7", "unit norm", "test parts of the folder"):
        assert words in data.name


def test_variants_of_idx(mnist):
    raw, pixel = load(f"idx:{mnist}:raw"), load(f"idx:{mnist}:pixel")
    assert np.array_equal(raw.x_train, images(10).reshape(10, 12))
    assert np.array_equal(pixel.x_test * 255, load(f"idx:{mnist}:raw").x_test)
    parity, three = load(f"idx-parity:{mnist}"), load(f"idx-3-vs-rest:{mnist}:pixel")
    assert np.array_equal(parity.y_train[:, 0], np.where(LABELS % 2 == 0, 1.0, -1.0))
    assert np.array_equal(three.y_train[:, 0], np.where(LABELS == 3, 1.0, -1.0))
    assert "3 (+1) against the rest (-1), pixels in [0, 1]" in three.name
    assert load(f"idx:{mnist}:unit").name == load(mnist).name == from_folder(mnist, "idx").name


def test_gzipped_files_are_the_same_data(mnist):
    plain = load(mnist)
    for name in NAMES.values():
        path = mnist / name
        (mnist / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    # Archives beside what was unpacked from them are no contradiction.
    assert load(mnist).name == plain.name
    for name in NAMES.values():
        (mnist / name).unlink()
    packed = load(mnist)
    assert packed.name == plain.name
    assert np.array_equal(packed.x_train, plain.x_train)


def test_the_digest_tells_two_folders_of_one_name_apart(mnist):
    before = load(mnist).name
    other = images(10)
    other[9, 3, 2] ^= 1
    (mnist / NAMES["train", "images"]).write_bytes(idx(other))
    assert load(mnist).name != before


def test_without_test_images_there_is_a_split(mnist):
    for part in ("images", "labels"):
        (mnist / NAMES["test", part]).unlink()
    data, again, other = load(f"idx:{mnist}:raw"), load(f"idx:{mnist}:raw"), load(f"idx:{mnist}:raw", seed=1)
    together = np.vstack([data.x_train, data.x_test])
    assert sorted(map(tuple, together)) == sorted(map(tuple, images(10).reshape(10, 12).astype(float)))
    assert (data.n, len(data.x_test), data.o) == (8, 2, 4)
    assert np.array_equal(data.x_train, again.x_train)
    assert not np.array_equal(data.x_train, other.x_train)
    assert "80% train, 20% test with seed 0" in data.name
    label_of = {tuple(row): label for row, label in zip(images(10).reshape(10, 12).astype(float), LABELS, strict=True)}
    assert [label_of[tuple(row)] for row in data.x_train] == [[0, 1, 3, 7][k] for k in data.y_train.argmax(axis=1)]


@pytest.mark.parametrize("names", [
    ("emnist-digits-train-images-idx3-ubyte", "emnist-digits-train-labels-idx1-ubyte"),
    ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
])  # fmt: skip
def test_other_spellings_of_the_names(tmp_path, names):
    for name, array in zip(names, (images(10), LABELS), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    assert load(tmp_path).o == 4


WHOLE = idx(images(10))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("train-images", "00 00 08 03", "an empty file")),
        (WHOLE[:3], ("00 00 08 03", "00 00 08")),
        (WHOLE[:11], ("header of 16 bytes", "11 bytes")),
        (WHOLE[:-1], ("expected 120 bytes", "10 × 4 × 3", "119 bytes")),
        (WHOLE[:16], ("expected 120 bytes", "got 0 bytes")),
        (WHOLE + b"\x00", ("expected 120 bytes", "more")),
        (b"\x00\x00\x0d\x03" + WHOLE[4:], ("unsigned bytes in 3 dimensions", "00 00 08 03", "00 00 0d 03")),
        (idx(LABELS), ("3 dimensions", "00 00 08 01")),
        (idx(images(9)), ("10 labels", "9 images", "train-labels", "as many labels")),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 10, 0, 3), ("at least one entry", "10 × 0 × 3")),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"x", ("got 1 bytes",)),
        (idx(np.zeros((10, 4, 3))), ("training part", "image 0", "black")),
        (gzip.compress(WHOLE, mtime=0), ("00 00 08 03", "1f 8b 08")),
    ],
)
def test_damaged_idx_images(mnist, content, words):
    (mnist / NAMES["train", "images"]).write_bytes(content)
    sentence = refused(lambda: load(mnist), str(mnist), "expected", *words)
    assert sentence.startswith("data folder")


def test_damaged_idx_labels(mnist):
    path = mnist / NAMES["test", "labels"]
    path.write_bytes(idx(LABELS[:3]))
    refused(lambda: load(mnist), "4 images in t10k-images", "3 labels in t10k-labels")
    path.write_bytes(idx(images(4)))
    refused(lambda: load(mnist), "t10k-labels", "1 dimension,", "00 00 08 01", "00 00 08 03")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (WHOLE, ("gzip data", ".gz", "00 00")),
        (b"", ("gzip data", "an empty file")),
        (gzip.compress(WHOLE, mtime=0)[:-1], ("gzip", "truncated or corrupt")),
        (gzip.compress(WHOLE, mtime=0)[:40], ("gzip", "truncated or corrupt")),
        (gzip.compress(WHOLE, mtime=0)[:-8] + b"\x00" * 8, ("gzip", "truncated or corrupt")),
        (gzip.compress(WHOLE[:-5], mtime=0), ("expected 120 bytes", "115 bytes")),
    ],
)
def test_damaged_archives(mnist, content, words):
    name = NAMES["train", "images"]
    (mnist / name).unlink()
    (mnist / f"{name}.gz").write_bytes(content)
    refused(lambda: load(mnist), f"{name}.gz", *words)


def test_an_idx_file_is_refused_at_every_length(mnist):
    path = mnist / NAMES["train", "images"]
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        refused(lambda: load(mnist), "train-images", "expected")
    path.write_bytes(WHOLE)
    assert load(mnist).n == 10


def test_test_images_of_another_size(mnist):
    (mnist / NAMES["test", "images"]).write_bytes(idx(images(4, height=5)))
    refused(lambda: load(mnist), "4 × 3 pixels", "got 5 × 3")


def test_files_that_are_missing_or_too_many(mnist, tmp_path):
    (mnist / NAMES["test", "labels"]).unlink()
    refused(lambda: load(mnist), "test labels", "t10k-images-idx3-ubyte", "no such file")
    (mnist / NAMES["train", "images"]).unlink()
    refused(lambda: load(mnist), "train images")
    (mnist / NAMES["train", "labels"]).unlink()
    (mnist / NAMES["test", "images"]).unlink()
    refused(lambda: load(mnist), "IDX files", "no files")
    refused(lambda: load(f"idx:{mnist}"), "train-images-idx3-ubyte", "no files")
    for prefix in ("emnist-letters-", "emnist-digits-"):
        (mnist / f"{prefix}train-images-idx3-ubyte").write_bytes(WHOLE)
    refused(lambda: load(mnist), "one file of train images", "emnist-digits-train", "emnist-letters-train")


# --- CIFAR-10 --------------------------------------------------------------------------------------------------------


def test_cifar_batches_have_their_colours_last(cifar):
    data = load(f"cifar10:{cifar}:raw")
    (first, labels, _), (second, more, _) = cifar_batch(10, 1), cifar_batch(10, 2)
    assert np.array_equal(data.x_train.reshape(-1, *data.image_shape), np.concatenate([first, second]))
    assert np.array_equal(data.y_train.argmax(axis=1), np.concatenate([labels, more]))
    assert (data.n, len(data.x_test), data.o, data.image_shape) == (20, 4, 10, (32, 32, 3))
    # A pixel's three colours are neighbours: the planes of the file would have put 1024 entries between them.
    assert np.array_equal(data.x_train[0, :3], first[0, 0, 0])
    unit = load(cifar)
    assert np.allclose(np.linalg.norm(unit.x_train, axis=1), 1, rtol=1e-14, atol=0)
    assert "classes 0..9" in unit.name


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data_batch_1.bin", b"", ("whole number of images", "3073 bytes", "0 bytes")),
        ("data_batch_2.bin", cifar_batch(10, 2)[2][:-1], ("data_batch_2.bin", "whole number", "30729 bytes")),
        ("data_batch_2.bin", cifar_batch(9, 2)[2], ("one size", "10 images in data_batch_1.bin", "9 in data_batch_2")),
        ("test_batch.bin", b"\x0a" + cifar_batch(1, 2)[2][1:], ("test_batch.bin", "classes 0..9", "10 for image 0")),
        ("data_batch_1.bin", b"\x80\x04" + b"x" * 90, ("92 bytes",)),
    ],
)
def test_damaged_cifar_batches(cifar, name, content, words):
    (cifar / name).write_bytes(content)
    refused(lambda: load(cifar), str(cifar), "expected", *words)


def test_the_python_version_of_cifar_is_not_read(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04.")
    refused(lambda: load(f"cifar10:{tmp_path}"), "data_batch_1.bin", "Python version", "binary version")
    refused(lambda: load(tmp_path), "IDX files", "data_batch_1.bin")


# --- folders in general ----------------------------------------------------------------------------------------------


def test_a_folder_may_hold_either_form_but_not_both(mnist, cifar):
    assert mnist == cifar  # the fixtures share one folder
    refused(lambda: load(mnist), "got both", "idx:FOLDER")
    assert load(f"idx:{mnist}").d == 12
    assert load(f"cifar10:{mnist}").d == 3072


def test_a_bare_name_can_be_a_folder_but_known_names_come_first(mnist, monkeypatch):
    monkeypatch.chdir(mnist.parent)
    assert load(mnist.name).name == load(mnist).name
    (mnist.parent / "digits").mkdir(exist_ok=True)
    assert load("digits").n == digits().n


def test_folders_refuse(mnist, tmp_path):
    refused(lambda: load(f"idx:{tmp_path / 'nowhere'}"), "nowhere", "expected a folder", "nothing")
    refused(lambda: load(f"idx:{mnist / NAMES['train', 'images']}"), "expected a folder", "a file")
    refused(lambda: load(f"idx-5-vs-rest:{mnist}"), "two classes")
    refused(lambda: load(f"idx:{mnist}:zscore"), "zscore", "expected a folder")
    refused(lambda: load(f"idx-odd:{mnist}"), "odd")
    refused(lambda: from_folder(mnist, "png"), "form", "idx, cifar10", "'png'")
    refused(lambda: from_folder(7), "path", "7")
    refused(lambda: from_folder(mnist, task="parity", positive=3), "one-vs-rest only", "3")
    refused(lambda: from_folder(mnist, seed=-1), "seed", "-1")


# --- the shape of images ---------------------------------------------------------------------------------------------


def test_images_know_their_shape():
    data = digits()
    assert data.image_shape == data.subset(5, 5).image_shape == (8, 8, 1)
    arrays = {"x_train": np.ones((2, 6)), "y_train": np.ones((2, 1)), "x_test": np.ones((2, 6)), "name": "some"}
    make = lambda shape: Dataset(**arrays, y_test=np.ones((2, 1)), task="regression", image_shape=shape)  # noqa: E731
    assert make(None).image_shape is None
    assert make([1, 2, 3]).image_shape == (1, 2, 3)
    refused(lambda: make((1, 2, 4)), "6 entries", "(1, 2, 4)")
    refused(lambda: make((2, 3)), "(height, width, channels)", "(2, 3)")
    refused(lambda: make((6, 1, 0)), "image_shape", "0")
    refused(lambda: make(6), "image_shape", "6")


# --- openml.org ------------------------------------------------------------------------------------------------------


class _Server:
    """openml.org with one small data set; counts what it is asked for, and can be switched off."""

    def __init__(self, labels, nominal):
        self.asked, self.on = [], True
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(1, 256, size=(len(labels), 3))
        kind = "{" + ",".join(sorted(set(labels))) + "}" if nominal else "REAL"
        self.arff = "\n".join(
            ["@RELATION small", *[f"@ATTRIBUTE p{j} INTEGER" for j in range(3)], f"@ATTRIBUTE class {kind}", "@DATA"]
            + [",".join(map(str, (*row, label))) for row, label in zip(self.pixels, labels, strict=True)]
        )
        entry = {"did": 77, "name": "small", "version": 1, "status": "active", "format": "ARFF"}
        description = {
            "id": "77", "name": "small", "version": "1", "format": "ARFF", "status": "active", "file_id": "9",
            "description": "made for a test",
            "default_target_attribute": "class", "url": "https://www.openml.org/data/v1/download/9/small.arff",
            "md5_checksum": hashlib.md5(self.arff.encode()).hexdigest(),
        }  # fmt: skip
        features = [
            {"index": str(j), "name": f"p{j}", "data_type": "numeric", "is_target": "false", "is_ignore": "false",
             "is_row_identifier": "false", "number_of_missing_values": "0"} for j in range(3)
        ]  # fmt: skip
        features.append({**features[0], "index": "3", "name": "class", "is_target": "true"})
        features[-1]["data_type"] = "nominal" if nominal else "numeric"
        self.pages = {
            "data_name/small": {"data": {"dataset": [entry]}},
            "data/features/77": {"data_features": {"feature": features}},
            "data/qualities/77": {
                "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(labels))}]}
            },
            "json/data/77": {"data_set_description": description},
        }

    def __call__(self, request, *_, **__):
        if not self.on:
            raise URLError("Name or service not known")
        url = request.full_url
        self.asked.append(url)
        page = self.arff if url.endswith(".arff") else None
        for end, content in self.pages.items():
            if end in url:
                page = json.dumps(content)
        assert page is not None, url
        answer = io.BytesIO(page.encode())
        answer.info = dict
        return answer


@pytest.fixture
def server(monkeypatch):
    def start(labels, nominal=True):
        served = _Server(labels, nominal)
        monkeypatch.setattr("sklearn.datasets._openml.urlopen", served)
        return served

    return start


def test_openml_is_downloaded_once_and_then_read_from_the_cache(server, tmp_path):
    served = server(["3", "7", "1", "3", "7", "1", "3", "7", "1", "3"])
    data = from_openml("small", normalization="raw", cache=tmp_path)
    assert sorted(map(tuple, np.vstack([data.x_train, data.x_test]))) == sorted(map(tuple, served.pixels.astype(float)))
    assert (data.n, len(data.x_test), data.o, data.image_shape) == (8, 2, 3, None)
    assert data.name == (
        "OpenML small, version 1, 3 classes of 1..7, not normalized, split 80% train, 20% test with seed 0"
    )
    assert served.asked
    served.on = False
    again = from_openml("small", normalization="pixel", cache=tmp_path)
    assert np.allclose(again.x_train * 255, data.x_train, rtol=1e-15, atol=0)
    three = from_openml("small", task="one-vs-rest", positive=3, cache=tmp_path)
    assert np.array_equal(three.y_train[:, 0] == 1, data.y_train[:, 1] == 1)
    assert math.isclose(np.linalg.norm(three.x_train[0]), 1)


def test_openml_by_name_and_offline(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    served = server(["cat", "dog"] * 5)
    data = load("openml:small:raw")
    assert data.o == 1
    assert "classification into 2 classes" in data.name
    refused(lambda: load("openml-parity:small"), "parity", "integer labels", "'cat'")
    served.on = False
    assert load("openml:small:raw").name == data.name
    refused(lambda: load("openml:other"), "'other'", "version 1", "not in the cache", "Name or service not known")
    refused(lambda: load("openml:small@2"), "version 2", "not in the cache")
    refused(lambda: from_openml(""), "name", "''")
    refused(lambda: from_openml("small", version=0), "version", "0")


def test_real_targets_of_openml_stay_real(server, tmp_path):
    server(["0.5", "1.25", "-2", "3", "4"], nominal=False)
    data = from_openml("small", cache=tmp_path)
    assert data.task == "regression"
    assert sorted(np.vstack([data.y_train, data.y_test])[:, 0]) == [-2, 0.5, 1.25, 3, 4]
    refused(lambda: from_openml("small", task="parity", cache=tmp_path), "integer labels")


def test_nothing_goes_to_a_network_unless_openml_is_asked_for(monkeypatch, mnist):
    def never(*_, **__):
        raise AssertionError("a network was asked")

    monkeypatch.setattr("socket.socket.connect", never)
    assert load("digits").n
    assert load(mnist).n
