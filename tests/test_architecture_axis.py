"""The claims' axis ``architecture``: which networks its values are, and data that are no images."""

import dataclasses

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.data import Dataset
from ntkrobust.studies.cells import cells_of, coordinates

RNG = np.random.default_rng(5)


def dataset(image_shape=(3, 4, 1)) -> Dataset:
    x = RNG.standard_normal((10, 12))
    y = np.sign(RNG.standard_normal((10, 1)))
    return Dataset(x, y, x[:4] + 0.1, y[:4], "some images", "classification", image_shape)


CLAIM = ntr.Claim(
    "own/channels",
    "P/ε falls with the number of channels",
    ntr.DecreasesIn("width"),
    "perturbation_stability",
    {"architecture": ("convolutional",), "depth": (2,), "width": (2, 4, 8)},
)


def test_values_are_networks():
    grid = {"architecture": ("fully_connected", "convolutional", "wide_resnet"), "depth": (4,), "width": (2, 3, 4)}
    found = [cell.net for _, cell in cells_of(dataclasses.replace(CLAIM, grid=grid), dataset())]
    assert [type(net) for net in found[::3]] == [ntr.MLP, ntr.ConvNet, ntr.WideResNet]
    assert found[3] == ntr.ConvNet(4, 2, (3, 4, 1))
    shown, cell = next(cells_of(CLAIM, dataset()))
    assert coordinates(cell, dataset())["architecture"] == shown["architecture"] == "convolutional"


def test_data_that_are_no_images_are_out_of_scope():
    verdict = ntr.verify(CLAIM, data=dataset(None), seeds=12)
    assert verdict.label == "out of scope"
    assert "convolutional networks need images, and some images has no image_shape" in verdict.reason
    assert "\n" not in verdict.reason
    assert all(len(cell.values) == 0 for cell in verdict.cells)


def test_on_images_it_is_judged():
    verdict = ntr.verify(CLAIM, data=dataset(), seeds=12)
    assert verdict.label != "out of scope"
    assert all(len(cell.values) == 12 for cell in verdict.cells)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"architecture": ("transformer",)}, "architecture must be one of fully_connected, convolutional, wide_resnet"),
        ({"architecture": ("wide_resnet",), "depth": (3,)}, "claim own/channels: at .*depth 2"),
        ({"initialization": ("xavier",)}, "the initialization must be he, lecun or"),
    ],
)
def test_networks_that_do_not_exist_are_refused(grid, sentence):
    claim = dataclasses.replace(CLAIM, grid={**CLAIM.grid, **grid})
    with pytest.raises(ntr.InputError, match=sentence):
        ntr.verify(claim, data=dataset(), seeds=12)
