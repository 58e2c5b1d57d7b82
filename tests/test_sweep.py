"""Sweeps: what a file may say, and that every cell of it is there, whatever came between."""

import json
import os
import threading
from html.parser import HTMLParser
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import StandIn
from test_store import stored

import ntkrobust as ntr
from ntkrobust.cli import run as run_command
from ntkrobust.data import load
from ntkrobust.errors import InputError
from ntkrobust.studies.store.folder import Contents
from ntkrobust.studies.store.opened import states_in, table_of
from ntkrobust.workflows import sweep as sweeping
from ntkrobust.workflows.sweep_spec import line_of, parsed

SPEC = """\
data = ["sphere", "gaussian"]   # two of them
seeds = 5
points = 6
measures = [
    "jacobian_frobenius",
    {name = "robust_accuracy", epsilon = 0.1, attack = {name = "pgd", steps = 3}},
]

[[networks]]
depth = [2, 3]
width = [4, 8]
initialization = ["he", "lecun"]

[[readings]]

[[readings]]
time = "fixed steps"
value = 20
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    return str(path)


# What a file may say


@pytest.mark.fast
def test_a_file_says_what_objects_say(stand_in, spec, tmp_path):
    ntr.sweep(spec, out=tmp_path / "file")
    by_file = stand_in.runs.copy()
    stand_in.runs.clear()
    robust = ntr.measures.RobustAccuracy(epsilon=0.1, attack=ntr.attacks.PGD(steps=3))
    ntr.sweep(
        {"depth": (2, 3), "width": (4, 8), "initialization": ("he", "lecun")},
        data=[load("sphere"), "gaussian"],
        readings=[ntr.Reading(), ntr.Reading("fixed steps", 20)],
        measures=["jacobian_frobenius", robust],
        seeds=5,
        points=6,
        out=tmp_path / "objects",
    )
    assert stand_in.runs == by_file
    assert len(by_file) == 8 * 2
    assert set(by_file.values()) == {2}, "once for each data set"
    first, second = (set(Contents(tmp_path / name / "cells").segments) for name in ("file", "objects"))
    assert first == second


WRONG = {
    # (what stands there, what is put in its place): the line that is to be named, and a word of why
    ("seeds = 5", "seeds = 0"): ("line 2", "greater than or equal to 1"),
    ("seeds = 5", "seeds = 5.5"): ("line 2", "valid integer"),
    ("seeds = 5", "seeds = true"): ("line 2", "valid integer"),
    ("seeds = 5", "sseeds = 5"): ("line 2", "no such entry"),
    ("points = 6", "points = -6"): ("line 3", "greater than or equal to 1"),
    ("points = 6", "key = 4294967296"): ("line 3", "less than"),
    ('data = ["sphere", "gaussian"]', "data = [1]"): ("line 1", "valid string"),
    ('data = ["sphere", "gaussian"]', "data = []"): ("line 1", "at least 1 item"),
    ('"jacobian_frobenius",', '"jacobian",'): ("lines 4 to 7", "unknown measure 'jacobian'"),
    ("epsilon = 0.1", "epsilon = -0.1"): ("lines 4 to 7", "must be positive"),
    ("epsilon = 0.1", "radius = 0.1"): ("lines 4 to 7", "has no 'radius'"),
    ("steps = 3", "step = 3"): ("lines 4 to 7", "the attack has no 'step'"),
    ('name = "pgd"', 'name = "pgg"'): ("lines 4 to 7", "unknown method 'pgg'"),
    ("depth = [2, 3]", "depth = [1, 3]"): ("line 10", "depth must be an integer of at least 2"),
    ("depth = [2, 3]", "depth = []"): ("line 10", "has no values"),
    ("depth = [2, 3]", "dept = [2, 3]"): ("line 10", "unknown grid axis 'dept'"),
    ("depth = [2, 3]", "depth = [[2], 3]"): ("line 10", "valid"),
    ("depth = [2, 3]", ""): ("line 9", "the grid needs values for 'depth'"),
    ("width = [4, 8]", 'width = "wide"'): ("line 11", "width must be an integer"),
    ("width = [4, 8]", "width = [4, 1979-05-27]"): ("line 11", "valid"),
    ('"he", "lecun"', '"he", "lecunn"'): ("line 12", "unknown initialization 'lecunn'"),
    ('time = "fixed steps"', 'time = "fixed step"'): ("line 17", "the time of a reading must be one of"),
    ("value = 20", "value = -20"): ("line 18", "the value of the reading"),
    ("value = 20", "values = 20"): ("line 18", "a reading has no 'values'"),
    ("value = 20", "value = 20\nvalue = 21"): ("line 19", "overwrite"),
    ("[[readings]]\n\n", "[[readings]\n\n"): ("line 14", "is not TOML"),
    ("[[networks]]", "[networks]"): ("line 9", "valid list"),
}


@pytest.mark.parametrize("change", WRONG, ids=[f"{new!r} for {old!r}" for old, new in WRONG])
def test_the_line_that_is_wrong_is_named(change, stand_in, tmp_path, capsys):
    assert change[0] in SPEC
    path, out = tmp_path / "spec.toml", tmp_path / "out"
    path.write_text(SPEC.replace(*change, 1))
    assert run_command(["sweep", str(path), "--out", str(out)]) == 2
    printed = capsys.readouterr()
    line, why = WRONG[change]
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert line in printed.err
    assert why in printed.err
    assert not out.exists()
    assert not stand_in.runs


def test_a_pipe_is_no_file_of_a_sweep(tmp_path):
    pipe = tmp_path / "sweep.toml"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="is not a file"):  # to open it would wait for a writer
        ntr.sweep(pipe)


def test_the_lines_of_values_that_take_several():
    assert line_of(SPEC, ("measures", 1, "epsilon")) == "lines 4 to 7"
    assert line_of(SPEC, ("readings", 1, "value")) == "line 18"
    assert line_of(SPEC, ("readings", 0)) == "line 14"
    assert line_of(SPEC, ("networks", 0, "nowhere")) == "line 9"
    assert line_of("", ("networks",)) == "line 1"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_of_a_file_is_one_sentence_or_a_sweep(data):
    at = data.draw(st.integers(0, len(SPEC)))
    taken = data.draw(st.integers(0, 6))
    put = data.draw(
        st.one_of(st.text(max_size=6), st.sampled_from(["[", "]]", "{}", "nan", "-1", '""', "1e400", "[[x]]"]))
    )
    try:
        found = parsed(Path("spec.toml"), SPEC[:at] + put + SPEC[at + taken :])
    except InputError as error:
        sentence = str(error)
    else:
        assert found.sweep.seeds >= 1
        assert found.sweep.measures
        return
    assert "spec.toml" in sentence
    assert "\n" not in sentence


# What becomes of it


class Stopped(BaseException):
    """As a signal ends a run."""


def stopping(after: int):
    left = [after]

    def progress(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Stopped

    return progress


def test_a_sweep_goes_on_and_is_the_same(stand_in, spec, tmp_path):
    whole = ntr.sweep(spec, out=tmp_path / "whole")
    for after in (1, 3):
        with pytest.raises(Stopped):
            ntr.sweep(spec, out=tmp_path / "out", progress=stopping(after))
    assert ntr.open_study(tmp_path / "out")["measured"].sizes["cell"] < 32
    again = sweeping.resumed(tmp_path / "out")
    assert again["measured"].to_dataset().identical(whole["measured"].to_dataset())
    stand_in.runs.clear()
    sweeping.resumed(tmp_path / "out")
    assert not stand_in.runs


def test_what_is_stored_is_what_was_returned(stand_in, spec, tmp_path):
    returned = ntr.sweep(spec, out=tmp_path / "out")["measured"].to_dataset()
    opened = ntr.open_study(tmp_path / "out")["measured"].to_dataset()
    axes = ["data", "time", "depth", "width", "initialization"]
    cubes = [one.set_index(cell=axes).unstack("cell") for one in (returned, opened)]
    assert cubes[0].sizes == {"seed": 5, "data": 2, "time": 2, "depth": 2, "width": 2, "initialization": 2}
    for name in ("jacobian_frobenius", "robust_accuracy_pgd_steps_3_epsilon_0_1", "loss", "step", "diverged"):
        if name in cubes[0]:
            other = cubes[1][name].reindex_like(cubes[0][name]).transpose(*cubes[0][name].dims)
            assert np.array_equal(cubes[0][name].to_numpy(), other.to_numpy(), equal_nan=True), name
    assert "jacobian_frobenius" in cubes[0]


def test_cells_that_fail_wait_until_they_are_asked_for(stand_in, spec, tmp_path, capsys):
    out = tmp_path / "out"
    stand_in.failing = lambda cell: MemoryError("too\nlarge <b>") if cell.net.width == 8 else None
    assert run_command(["sweep", spec, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("16 done, 16 failed\n")
    stand_in.failing = lambda cell: None
    stand_in.runs.clear()
    assert run_command(["resume", str(out)]) == 0
    assert not stand_in.runs
    assert run_command(["status", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "16 done, 16 failed" in shown
    assert "MemoryError: too large <b>" in shown
    assert run_command(["status", str(out), "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["values"]["cells"]
    assert sum(one["state"] == "failed" and "Traceback" in one["traceback"] for one in cells) == 16
    assert run_command(["retry-failed", str(out)]) == 0
    assert sum(stand_in.runs.values()) == 16
    assert capsys.readouterr().out.startswith("32 done\n")


def test_what_runs_is_told_from_what_was_interrupted(stand_in, spec, tmp_path):
    seen: list[dict[str, int]] = []

    def stopped_after(cells: int) -> None:
        begun = threading.Semaphore(5)  # however long it takes to look, most have not begun
        stand_in.failing = lambda cell: TimeoutError() if not begun.acquire(timeout=60) else None
        stop, left = stopping(cells), [cells]

        def progress(*_: object) -> None:
            seen.append(sweeping.status_of(tmp_path).counts)
            left[0] -= 1
            if not left[0]:
                begun.release(100)
            stop()

        with pytest.raises(Stopped):
            ntr.sweep(spec, out=tmp_path, progress=progress)

    stopped_after(2)
    states = {one.state for one in states_in(tmp_path / "cells").values()}
    assert states <= {"done", "interrupted", "planned"}
    assert {"done", "planned"} <= states
    stopped_after(3)
    assert all(one["planned"] > 0 for one in seen)


def test_cells_of_another_version_are_stale(tmp_path):
    stored(tmp_path / "cells")
    assert {one.state for one in states_in(tmp_path / "cells").values()} == {"stale"}
    assert sweeping.status_of(tmp_path).counts == {"stale": 2}


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_what_is_stored_is_text_on_the_page(tmp_path, capsys):
    stored(tmp_path / "cells")
    (tmp_path / "sweep.json").write_text("{}")
    assert run_command(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "script" not in _Tags(page).tags
    capsys.readouterr()
    for broken in ("{}", "[]", "", '{"schema_version": 1, "text": 3}', '{"schema_version": 2, "text": ""}'):
        (tmp_path / "sweep.json").write_text(broken)
        assert run_command(["resume", str(tmp_path)]) == 2
        assert "is not what a sweep of this version of the package writes" in capsys.readouterr().err


def test_folders_without_cells_are_refused(tmp_path, capsys):
    for words, sentence in (
        (["status", str(tmp_path / "nowhere")], "no such folder"),
        (["status", str(tmp_path)], "holds no cells/"),
        (["resume", str(tmp_path)], "holds no sweep.json"),
    ):
        assert run_command(words) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(InputError, match="at least one each of networks"):
        ntr.sweep([], out=tmp_path / "out")
    with pytest.raises(InputError, match="each of readings must be a Reading"):
        ntr.sweep({"depth": 2, "width": 4}, readings=["initialization"])
    assert os.listdir(tmp_path) == []


def test_networks_of_a_sweep_are_those_of_train_and_measure():
    """Real ones: the same numbers as by hand."""
    data = load("sphere")
    found = ntr.sweep({"depth": 2, "width": 4}, data=data, readings=ntr.Reading("fixed steps", 7),
                      measures="jacobian_frobenius", seeds=3, points=5)  # fmt: skip
    net = ntr.MLP(2, 4)
    run = ntr.train(net, data.x_train, data.y_train, seeds=3, steps=7, record_steps=[7], key=jax.random.key(0))
    by_hand = (
        ntr.measure(run, data.x_test[:5], ["jacobian_frobenius"])["jacobian_frobenius"].isel(time=-1).mean("point")
    )
    seen = found["measured"]["jacobian_frobenius"].isel(cell=0).to_numpy()
    np.testing.assert_allclose(seen, by_hand.to_numpy(), rtol=1e-5)


def test_a_table_of_what_two_runs_stored(tmp_path):
    folder = tmp_path / "cells"
    (first, second) = stored(folder)
    table = table_of(folder)
    assert table.sizes == {"cell": 2, "seed": 5}
    row = list(table.cell_sha256.to_numpy()).index(second.cell)
    assert np.array_equal(table["measure"].to_numpy()[row, 2:], second.values["a" * 64])
    assert np.isnan(table["measure"].to_numpy()[row, :2]).all()
    assert table["loss"].to_numpy()[1 - row, 2:].tolist() == first.state["loss"].tolist()
