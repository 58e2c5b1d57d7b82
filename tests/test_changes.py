"""What was changed since the last run in a folder is said in one line, and refused where that was asked for."""

import dataclasses
import hashlib
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
import xarray as xr
from stand_in import StandIn
from test_store import document

import ntkrobust as ntr
from ntkrobust.cli import run as run_command
from ntkrobust.data import load
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines import travel
from ntkrobust.studies.store import buckets, former, identity
from ntkrobust.studies.store.identity import Identities
from ntkrobust.studies.store.store import CellStore
from ntkrobust.workflows import verify as verifying

DATA = load("sphere")
NUMERICS = identity.numerics


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


def own(factor: float) -> ntr.Network:
    """A network of one's own, called the same whatever it computes."""

    class Own(ntr.Network):
        d_out = 1

        def draw(self, key, d_in):
            return jnp.ones((d_in, 1))

        def apply(self, parameters, x):
            return factor * (x @ parameters)

        def __repr__(self) -> str:
            return "Own()"

    return Own()


def measured(factor: float):
    def mine(outputs):
        return factor * jnp.max(outputs)

    return mine


def swept(out, *, data=DATA, network=1.0, measure=1.0, **more):
    return ntr.sweep({"network": (own(network),)}, data=data, measures=measured(measure), seeds=3, points=4, out=out,
                     **more)  # fmt: skip


def patched(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    def others() -> dict:
        return NUMERICS() | {name: value}

    monkeypatch.setattr(identity, "numerics", others)
    monkeypatch.setattr(former, "numerics", others)


CHANGED = {
    "data": f"the data {DATA.name}",
    "network": f"the network Own() of {DATA.d} inputs",
    "measure": "the measure mine",
    "package": "this package (0 → ",
    "sources": "the code of this package",
    "numerics": "the numerics of this package (1 → 2)",
    "jax": f"JAX ({jax.__version__} → 99)",
    "precision": "precision (float32 → float16)",
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_was_changed_is_said_in_a_line_and_refused_by_choice(change, stand_in, tmp_path, caplog, monkeypatch):
    with monkeypatch.context() as before:
        if change == "package":
            before.setattr(former, "_package", lambda: "0")
        swept(tmp_path)
        swept(tmp_path, unchanged=True)
    once = sum(stand_in.runs.values())
    assert once == 1
    assert not caplog.records, "the same run again is unchanged"
    other = dataclasses.replace(DATA, x_test=DATA.x_test + 1e-9)
    changed = {"data": {"data": other}, "network": {"network": 2.0}, "measure": {"measure": 2.0}}.get(change, {})
    if change in ("numerics", "jax", "precision"):
        patched(monkeypatch, change, {"numerics": 2, "jax": "99", "precision": "float16"}[change])
    elif change == "sources":
        monkeypatch.setattr(former, "_sources", lambda: "0" * 64)
    for _ in range(2):  # to be refused changes nothing
        with pytest.raises(ntr.InputError, match="needs them as they were") as refused:
            swept(tmp_path, unchanged=True, **changed)
        assert f"last run in {tmp_path / 'cells'} there were changed: {CHANGED[change]}" in str(refused.value)
        assert str(refused.value).count(", the") == 0, "one change alone"
    assert sum(stand_in.runs.values()) == once
    with caplog.at_level(logging.WARNING, logger="ntkrobust"):
        swept(tmp_path, **changed)
        swept(tmp_path, unchanged=True, **changed)
    assert [CHANGED[change] in one.getMessage() for one in caplog.records] == [True]
    assert len(list((tmp_path / "cells").glob("made-of-*"))) == 1


def test_several_data_sets_in_a_folder_are_told_apart(stand_in, tmp_path, caplog):
    for _ in range(2):
        ntr.sweep({"depth": (2,), "width": (4,)}, data=["sphere", "gaussian"], seeds=2, out=tmp_path, unchanged=True)
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", b"[]", b'{"number": -1}', b'{"number": 3, "data": {"x": "y"}}', b"\xff{"])
def test_a_damaged_word_says_nothing(content, stand_in, tmp_path, caplog):
    swept(tmp_path)
    (path,) = (tmp_path / "cells").glob("made-of-*")
    path.write_bytes(content)
    swept(tmp_path, unchanged=True)
    assert not caplog.records


@pytest.mark.fast
def test_the_commands_take_the_choice(stand_in, tmp_path, capsys, monkeypatch):
    spec, out = tmp_path / "spec.toml", str(tmp_path / "out")
    spec.write_text('data = ["sphere"]\nseeds = 2\n[[networks]]\ndepth = [2]\nwidth = [4]\n')
    assert run_command(["sweep", str(spec), "--out", out, "--unchanged"]) == 0
    assert run_command(["resume", out, "--unchanged"]) == 0
    patched(monkeypatch, "jax", "99")
    capsys.readouterr()
    verify = ["verify", "law/second-moment", "--data", "sphere", "--out", out]
    for words in (["sweep", str(spec), "--out", out], ["resume", out], ["retry-failed", out], verify):
        assert run_command([*words, "--unchanged"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "JAX (" in line


# Clocks and disks


def test_a_clock_that_goes_backwards_changes_nothing(stand_in, tmp_path, monkeypatch):
    claim = ntr.Claim(
        "mine/a", "", ntr.AtMost(lambda width: 1e9), "jacobian_frobenius", {"width": (4, 8), "depth": (2,)}
    )
    whole = ntr.verify([claim], data="sphere", seeds=12, points=4)
    hours = iter(range(10**6))
    clock = SimpleNamespace(now=lambda zone: datetime.now(UTC) - timedelta(hours=next(hours)),
                            fromisoformat=datetime.fromisoformat)  # fmt: skip
    monkeypatch.setattr(verifying, "datetime", clock)
    monkeypatch.setattr(time, "time", lambda: -float(next(hours)))
    stand_in.runs.clear()
    for _ in range(2):
        found = ntr.verify([claim], data="sphere", seeds=12, points=4, out=tmp_path)
        assert document(found.document) == document(whole.document)
        assert found.document["timing"]["seconds"] >= 0, "or its own report would be refused"
        assert run_command(["report", str(tmp_path)]) == 0
    assert set(stand_in.runs.values()) == {1}


def test_files_that_a_shared_disk_shows_late_cost_their_cells_again_and_no_more(stand_in, tmp_path, monkeypatch):
    def swept_here() -> object:
        return ntr.sweep({"depth": (2, 3), "width": (4, 8, 16)}, data="sphere", seeds=3, points=4, out=tmp_path)

    right = swept_here()["measured"].to_dataset().drop_vars("seconds")
    once = stand_in.runs.copy()
    paths_in = buckets.paths_in
    hidden = paths_in(tmp_path / "cells")[0]
    cells = {one.cell for one in buckets.read(hidden)}
    stand_in.runs.clear()
    monkeypatch.setattr(buckets, "paths_in", lambda folder: [one for one in paths_in(folder) if one != hidden])
    xr.testing.assert_identical(swept_here()["measured"].to_dataset().drop_vars("seconds"), right)
    assert sum(stand_in.runs.values()) == len(cells) < len(once)
    monkeypatch.setattr(buckets, "paths_in", paths_in)
    assert ntr.open_study(tmp_path)["measured"].sizes["cell"] == len(once)
    stand_in.runs.clear()
    swept_here()
    assert not stand_in.runs


def test_a_job_waits_for_what_it_is_to_read(tmp_path, monkeypatch):
    path, content = tmp_path / "shared.pkl", b"what all share" * 100
    name = hashlib.sha256(content).hexdigest()
    path_early = threading.Timer(0.2, lambda: path.write_bytes(content[:50]))
    whole = threading.Timer(0.6, lambda: path.write_bytes(content))
    for one in (path_early, whole):
        one.start()
    assert travel._read_late(name, str(path)) == content
    monkeypatch.setattr(travel, "LATE", 0.0)  # the planted fault
    with pytest.raises(FileNotFoundError, match="does not appear"):
        travel._read_late(name, str(tmp_path / "other.pkl"))
    path.write_bytes(content[:50])
    assert travel._read_late(name, str(path)) != content


# Pilots


def flowing(width: int) -> ntr.Claim:
    return ntr.Claim(
        "mine/pilot", "", ntr.AtMost(lambda width: 1e9), "jacobian_frobenius", {"width": (4, width), "depth": (2,)},
        reading=ntr.Reading("equal scaled time", 2.0), alternatives=(1.0, 0.5),
    )  # fmt: skip


def test_a_run_that_goes_on_repeats_no_pilot(stand_in, tmp_path, monkeypatch):
    def run(out=None, seeds: int = 12):
        return ntr.verify([flowing(8)], data="sphere", seeds=seeds, points=4, out=out)

    whole = run()
    once = stand_in.runs.copy()
    pilots = [one for one in once if one[2] == 4]
    assert pilots
    stand_in.runs.clear()
    first = run(tmp_path)
    assert stand_in.runs == once
    stand_in.runs.clear()
    again = run(tmp_path)
    assert not stand_in.runs, "nothing is trained anew, pilots neither"
    for found in (first, again):
        assert document(found.document) == document(whole.document)
    assert ntr.open_study(tmp_path)["measured"].sizes["cell"] == len(once) - len(pilots), "judging networks alone"
    # In programs for more networks, float32 is rounded in other ways.
    run(tmp_path, seeds=14)
    assert [one for one in stand_in.runs if one[2] == 4] == pilots
    # The planted fault: a store that pilots do not have.
    stand_in.runs.clear()
    monkeypatch.setattr(CellStore, "of_pilot", lambda store, key, seeds: CellStore(
        tmp_path / "nowhere", DATA, key, 4, pilot=seeds))  # fmt: skip
    run(tmp_path)
    assert stand_in.runs


def test_networks_of_pilots_are_never_taken_for_those_that_judge():
    one = Cell(ntr.MLP(2, 8), n=4, time="equal scaled time", value=1.0, budget=10)
    names = {Identities(DATA, jax.random.key(0), 8, pilot).of_cell(one) for pilot in (0, 12, 16)}
    assert len(names) == 3, "of one key, and of programs for other numbers of networks"
