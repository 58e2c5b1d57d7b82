"""Folders of cells are opened without their numbers, which are read when they are asked for, wherever they are then."""

import dataclasses
import logging

import jax
import numpy as np
import pytest
import xarray as xr
from test_store import hostile, of, stored

import ntkrobust as ntr
from ntkrobust.data import load
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.records import CellRecord, Demand, untrained
from ntkrobust.studies.store import buckets, lazily
from ntkrobust.studies.store.folder import Contents
from ntkrobust.studies.store.store import CellStore

MEASURES = {name: ntr.measures.get(name) for name in ("perturbation_stability", "jacobian_frobenius")}


def record(index: int, networks: int = 3) -> CellRecord:
    rng = np.random.default_rng(index)
    cell = Cell(ntr.MLP(2, 8 + index % 3), n=10, time="fixed steps", value=1 + index, budget=1 + index)
    values = {name: rng.normal(size=networks) for name in MEASURES}
    state = untrained(networks) | {"loss": rng.normal(size=networks)}
    return CellRecord(cell, np.arange(networks), values, **state, seconds=0.5, plan="", steps=1)


def written(folder, count: int, at_once: int = 1, more: int = 2) -> None:
    """So many cells, so many of them in each file."""
    with CellStore(folder, load("sphere"), jax.random.key(0), 8) as store:
        store.due = lambda: 1.0  # type: ignore[method-assign]
        for index in range(count):
            store.add(record(index, more + index % 4), Demand(MEASURES, more + index % 4))
            if (index + 1) % at_once == 0:
                store.flush()


def table(folder):
    return ntr.open_study(folder)["measured"].to_dataset()


@pytest.mark.fast
def test_numbers_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    written(tmp_path / "cells", 24, at_once=8)
    read = []
    monkeypatch.setattr(lazily, "numbers_in", lambda path: read.append(path) or buckets.numbers_in(path))
    opened = table(tmp_path)
    assert opened.sizes == {"cell": 24, "seed": 5}
    index = opened.time_value.to_numpy().astype(int) - 1
    assert sorted(index) == list(range(24))
    assert opened.width.to_numpy().tolist() == (8 + index % 3).tolist()
    assert opened.seconds.sum() == 12
    assert not read, "nothing of it was asked for"
    rows = [int(np.flatnonzero(index == one)[0]) for one in (9, 12, 11)]  # all of the second file
    some = opened.loss.isel(cell=rows, seed=[0, 3]).to_numpy()
    assert len(read) == 1
    losses = {one: np.pad(record(one, 2 + one % 4).loss, (0, 3), constant_values=np.nan) for one in range(24)}
    assert some.tobytes() == np.array([losses[one][[0, 3]] for one in (9, 12, 11)]).tobytes()
    assert np.isnan(some).tolist() == [[False, True], [False, True], [False, False]]
    assert opened.loss.isel(cell=7).to_numpy().tobytes() == losses[index[7]][:5].tobytes()
    by_digest = {one.cell: one for one in Contents(tmp_path / "cells")}
    for row, name in enumerate(opened.cell_sha256.to_numpy().tolist()):
        one = by_digest[name]
        for digest, called in one.names.items():
            found = opened[called].to_numpy()[row]
            assert found[: one.stop].tobytes() == one.values[digest].tobytes()
            assert np.isnan(found[one.stop :]).all()
        assert opened.diverged.to_numpy()[row, : one.stop].tolist() == [0.0] * one.stop


def test_files_that_were_merged_since_are_found(tmp_path):
    written(tmp_path / "cells", 20)
    opened, right = table(tmp_path), table(tmp_path).load()
    assert opened.loss.isel(cell=3).to_numpy().tobytes() == right.loss[3].to_numpy().tobytes()
    Contents(tmp_path / "cells", merging=True)
    assert len(buckets.paths_in(tmp_path / "cells")) == 1
    assert opened.load().identical(right)


@pytest.mark.parametrize("fault", ["damaged", "gone"])
def test_numbers_that_are_lost_are_none_and_said(fault, tmp_path, caplog):
    written(tmp_path / "cells", 4, at_once=2, more=1000)  # of few, all is read to see how many there are
    right, opened = table(tmp_path).load(), table(tmp_path)
    path = buckets.paths_in(tmp_path / "cells")[0]
    lost = [one.cell for one in buckets.read(path)]
    if fault == "gone":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        at = content.find(right.loss.to_numpy()[list(right.cell_sha256.to_numpy()).index(lost[0]), :1].tobytes())
        content[at] ^= 1
        path.write_bytes(content)
        assert table(tmp_path).sizes["cell"] == 4, "opening reads no numbers"
    with caplog.at_level(logging.WARNING, logger="ntkrobust"):
        found = opened.load()
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    for row, name in enumerate(found.cell_sha256.to_numpy().tolist()):
        numbers = found.loss.to_numpy()[row]
        assert np.isnan(numbers).all() if name in lost else numbers.tobytes() == right.loss.to_numpy()[row].tobytes()


def test_of_two_runs_the_later_one_counts(tmp_path):
    (first, _) = stored(tmp_path / "cells")
    later = dataclasses.replace(
        first, generation=2, start=4, stop=5, status=first.status[2:],
        values={name: one[2:] + 1 for name, one in first.values.items()},
        state={name: one[2:] for name, one in first.state.items()},
    )  # fmt: skip
    buckets.write(tmp_path / "cells", [later])
    opened = table(tmp_path)
    row = opened.cell_sha256.to_numpy().tolist().index(first.cell)
    expected = [*first.values["a" * 64][:2], first.values["a" * 64][2] + 1]
    np.testing.assert_array_equal(opened.measure.to_numpy()[row, 2:], expected)


def test_a_run_merges_the_files_that_it_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "MERGED_AT", 20)
    written(tmp_path / "merged" / "cells", 70)
    assert len(buckets.paths_in(tmp_path / "merged" / "cells")) == 3 + 10
    monkeypatch.setattr(buckets, "MERGED_AT", 10**6)
    written(tmp_path / "not" / "cells", 70)
    assert len(buckets.paths_in(tmp_path / "not" / "cells")) == 70
    assert table(tmp_path / "merged").load().identical(table(tmp_path / "not").load())
    assert not list((tmp_path / "merged" / "cells").glob(".*"))


def test_whole_numbers_beyond_floats_are_texts(tmp_path):
    path = tmp_path / "cells" / f"cells-{16 * 'f'}.npz"
    path.parent.mkdir()
    for width, seen in ((10**400, [str(10**400)]), ([1], [])):
        path.write_bytes(hostile(of(coordinates={"width": width}), np.ones(4), status=np.zeros(1, np.uint8)))
        assert table(tmp_path).get("width", xr.DataArray([])).to_numpy().tolist() == seen
