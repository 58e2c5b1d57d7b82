"""What every output says of the size of the inputs, so that a radius means something."""

import json

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.cli import run
from ntkrobust.data import digits, load

CLAIM = "zhu2022/depth-lecun/bound"  # arithmetic, which takes no time


def by_hand(data):
    """Norm, entries, and distances between classes of all pairs of training points, in numpy alone."""
    x, labels = data.x_train, data.y_train[:, 0] > 0
    apart = labels[:, None] != labels[None, :]
    nearest = {}
    for norm, of in (("linf", lambda v: np.abs(v).max(axis=-1)), ("l2", lambda v: np.sqrt((v**2).sum(axis=-1)))):
        distances = np.stack([of(x - one) for one in x])
        nearest[norm] = np.median(np.where(apart, distances, np.inf).min(axis=1))
    return np.sqrt((x**2).sum() / len(x)), (x.min(), x.max()), nearest


@pytest.mark.parametrize("normalization", ["unit", "pixel", "raw"])
def test_the_size_of_the_digits_is_that_of_their_numbers(normalization):
    data = digits(normalization=normalization).subset(500, 10)
    norm, entries, nearest = by_hand(data)
    size = data.size
    assert size.norm == pytest.approx(norm)
    assert (size.lowest, size.highest) == entries
    assert size.are_whole == (normalization == "raw")
    assert size.class_distance == {name: pytest.approx(one) for name, one in nearest.items()}
    words = size.in_words()
    assert f"ℓ2 norm {norm:.3g}" in words
    assert f"from 0 to {entries[1]:.3g}" in words
    assert f"{nearest['linf']:.2g} in ℓ∞, {nearest['l2']:.2g} in ℓ2" in words
    # In units of the distance between classes a radius is the same on data of another scale; in its own it isn't.
    assert size.class_distance["l2"] / size.norm < 1


def test_pixels_as_they_are_are_called_whole_numbers_and_keep_their_range():
    pixels = np.random.default_rng(0).integers(0, 256, size=(30, 6, 6), dtype=np.uint8)
    data = load((pixels, np.arange(30) % 2))
    assert "whole numbers from 0 to 255" in data.size.in_words()
    assert data.x_train.max() > 200
    assert "whole numbers" not in load((pixels / 255, np.arange(30) % 2)).size.in_words()


def test_without_classes_only_the_units_are_said():
    data = load((np.ones((8, 2)) * np.arange(1, 9)[:, None], 1 + np.arange(8.0)))
    assert data.size.class_distance is None
    assert data.size.in_words().endswith("from 1 to 8; ε is in these units")
    assert json.loads(json.dumps(data.as_json(), allow_nan=False))["scale"]["class_distance"] is None


def test_every_output_says_the_size_and_the_name(tmp_path, capsys):
    pixels = np.random.default_rng(1).integers(0, 256, size=(30, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=pixels, y_train=np.arange(30) % 2)
    data = load(tmp_path / "mine.npz")
    words = data.size.in_words()
    out = tmp_path / "results"
    assert run(["verify", CLAIM, "--data", str(tmp_path / "mine.npz"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"data: {data.name}")
    assert printed[1] == words
    stored = json.loads((out / "verdicts.json").read_text())["inputs"]["data"]
    assert (stored["name"], stored["size"]) == (data.name, words)
    assert stored["scale"]["entries"] == [data.x_train.min(), data.x_train.max()]
    page = (out / "report.html").read_text()
    assert words in page
    assert data.name in page

    verdicts = ntr.verify([CLAIM], data=data)
    assert json.loads(verdicts.evidence.attrs["inputs"])["data"]["size"] == words
    assert verdicts[0].data == data.name
    assert verdicts.to_dataframe()["data"].tolist() == [data.name]
    for shown in (verdicts, verdicts[0]):
        assert data.name in shown._repr_html_()
