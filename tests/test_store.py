"""What cells gave is stored under names that change with what changes the numbers, and a run that goes on finds it.

Where runs are compared, networks are stood in for by numbers that depend on the cell, the seed, and the request in
which it was asked for: whatever is asked for in another way than by an undisturbed run shows in the last digit.
"""

import dataclasses
import io
import json
import math
import os
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_disk import disk_of
from stand_in import StandIn

import ntkrobust as ntr
from ntkrobust.bounds.statistics.sequential import SequentialPlan, look_sizes
from ntkrobust.cli.going_on import how_to_go_on
from ntkrobust.data import load
from ntkrobust.studies import examining, running
from ntkrobust.studies.cells import Cell, TimeUnit
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.store import buckets, identity
from ntkrobust.studies.store import store as storing
from ntkrobust.studies.store.contents import UnnamedError, digest
from ntkrobust.studies.store.folder import Contents
from ntkrobust.studies.store.identity import Identities
from ntkrobust.studies.store.journal import fates
from ntkrobust.studies.store.segments import Segment
from ntkrobust.studies.store.store import CellStore

DATA = load("sphere")
KEY = jax.random.key(0)
CLAIMS = [
    ntr.Claim(
        f"mine/{index}",
        "",
        ntr.IncreasesIn("width"),
        "jacobian_frobenius",
        {"width": (8, 16, 32), "depth": (2, index)},
        reading=reading,
    )
    for index, reading in (
        (3, ntr.Reading("equal scaled time", 2.0)),
        (4, ntr.Reading("equal loss", 0.5)),
        (5, ntr.Reading("fixed steps", 20)),
        (6, ntr.Reading()),
    )
]


class Stopped(BaseException):
    """As a signal ends a run."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


def examined(folder: Path | None, *, stop: int = -1, seeds: int = 16, claims=CLAIMS, data=DATA, **more: object):
    """Records of an examination, which is stopped after so many cells."""
    left = [stop]

    def progress(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Stopped

    with storing.open_store(folder, data, KEY, 8, **more) as store:
        (found,) = examining.examine(
            [examining.Part(claims, Known.of(data, 8), store)],
            looks=SequentialPlan(look_sizes(seeds, 3)),
            key=KEY,
            progress=progress,
        )
        return found


def numbers(examination) -> list:
    """All numbers of all cells, exactly."""
    return [
        (
            record.cell,
            record.seeds.tolist(),
            {name: one.tobytes() for name, one in record.values.items()},
            [getattr(record, name).tobytes() for name in ("loss", "step", "gradient_flow_time", "learning_rate")],
            record.status.tolist(),
            (record.steps, repr(record.tolerance), dict(record.time_error), record.plan),
        )
        for record in examination.records
    ]


# Runs that go on


@pytest.mark.fast
def test_a_run_that_goes_on_ends_like_an_undisturbed_one(stand_in, tmp_path):
    undisturbed = examined(tmp_path / "one")
    once = stand_in.runs.copy()
    assert set(once.values()) == {1}
    assert numbers(undisturbed) == numbers(examined(None)), "storing changes nothing"
    stand_in.runs.clear()
    for stop in (1, 1, 2, 3, 5):
        with pytest.raises(Stopped):
            examined(tmp_path / "two", stop=stop)
    assert numbers(examined(tmp_path / "two")) == numbers(undisturbed)
    # A stop costs the cells that run then, one in each thread of the pool.
    again = sum((stand_in.runs - once).values())
    assert stand_in.runs.keys() == once.keys()
    assert again <= 5 * running.threads()
    stand_in.runs.clear()
    assert numbers(examined(tmp_path / "two")) == numbers(undisturbed)
    assert not stand_in.runs, "nothing is left to run"


@pytest.mark.parametrize("fault", ["single precision", "any tolerance", "another request"])
def test_faults_of_the_store_would_be_noticed(fault, stand_in, tmp_path, monkeypatch):
    undisturbed = examined(None)
    if fault == "single precision":
        monkeypatch.setattr(Segment, "numbers", lambda self: [
            one.astype(np.float32) for one in (*self.values.values(), *self.state.values())])  # fmt: skip
    elif fault == "any tolerance":
        monkeypatch.setattr(Segment, "header", lambda self, header=Segment.header: header(self) | {"tolerance": 1e-3})
    else:
        plan = running.Networks.extend
        monkeypatch.setattr(running.Networks, "extend", lambda networks, demands, *how: plan(networks, {
            cell: dataclasses.replace(one, networks=one.networks // 2) for cell, one in demands.items()}, *how)
            or plan(networks, demands, *how))  # fmt: skip
    with pytest.raises(Stopped):
        examined(tmp_path, stop=30)
    monkeypatch.undo()
    StandIn(monkeypatch)
    assert numbers(examined(tmp_path)) != numbers(undisturbed)


def test_more_seeds_and_other_claims_take_what_is_there(stand_in, tmp_path):
    first = examined(tmp_path, seeds=8)
    had = {record.cell: len(record.seeds) for record in first.records}
    stand_in.runs.clear()
    more = examined(tmp_path, seeds=16)
    assert all(start >= had[cell] for cell, start, _ in stand_in.runs)
    stand_in.runs.clear()
    other = dataclasses.replace(CLAIMS[2], id="mine/another", relation=ntr.DecreasesIn("width"))
    examined(tmp_path, claims=[other])
    assert not stand_in.runs, "another statement on the same cells"
    # The numbers that a finished run was given before it asks for again.
    assert numbers(examined(tmp_path, seeds=16)) == numbers(more)
    assert not stand_in.runs


def test_fresh_computes_everything(stand_in, tmp_path):
    examined(tmp_path)
    once = stand_in.runs.copy()
    stand_in.runs.clear()
    examined(tmp_path, reuse=False)
    assert stand_in.runs == once
    assert {segment.generation for segment in Contents(tmp_path / "cells")} == {1, 2}


def test_other_data_keys_points_and_measures_share_nothing(stand_in, tmp_path, caplog):
    claims = [CLAIMS[3]]
    examined(tmp_path / "x", claims=claims)
    first = stand_in.runs.copy()
    examined(tmp_path / "y", claims=claims)
    changed = dataclasses.replace(DATA, x_test=DATA.x_test + 1e-9)
    for data, measure, name in ((changed, "jacobian_frobenius", "x"), (DATA, "jacobian_frobenius_sq", "y")):
        stand_in.runs.clear()
        caplog.clear()
        examined(tmp_path / name, claims=[dataclasses.replace(claims[0], measure=measure)], data=data)
        assert stand_in.runs == first
        said = [one.getMessage() for one in caplog.records if one.name == "ntkrobust"]
        assert [f"there were changed: the data {DATA.name};" in one for one in said] == [True] * (data is changed)


# Cells that fail


def test_a_cell_that_fails_makes_its_claim_inconclusive_and_the_rest_goes_on(stand_in, tmp_path):
    def failing(cell: Cell) -> Exception | None:
        if cell.net.depth == 5 and cell.net.width == 16:
            return MemoryError("2 GiB\nwere not there")
        return None

    stand_in.failing = failing
    for out in (None, tmp_path):
        found = examined(out)
        by_id = {verdict.claim.id: verdict for verdict in found.verdicts}
        assert by_id["mine/5"].label == "inconclusive"
        assert by_id["mine/5"].reason == ("at width=16, depth=5: the cell failed: MemoryError: 2 GiB were not there")
        assert "failed" not in by_id["mine/3"].reason + by_id["mine/4"].reason + by_id["mine/6"].reason
    told = [fate for fate in fates(tmp_path / "cells").values() if fate.state == "failed"]
    assert len(told) == 1
    assert "depth=5, width=16" in told[0].label
    assert "Traceback (most recent call last)" in told[0].traceback
    assert told[0].traceback.endswith("MemoryError: 2 GiB\nwere not there\n")
    stand_in.failing = lambda cell: None
    stand_in.runs.clear()
    assert numbers(examined(tmp_path)) == numbers(examined(None)), "it is tried again, and only then succeeds"


def test_what_fails_everywhere_for_its_input_is_refused(stand_in, tmp_path):
    stand_in.failing = lambda cell: ntr.InputError(f"no such width: {cell.net.width}")
    with pytest.raises(ntr.InputError, match="no such width"):
        examined(tmp_path)
    stand_in.failing = lambda cell: RuntimeError("a bug")
    assert {one.label for one in examined(tmp_path).verdicts} == {"inconclusive"}


# Names


def changes() -> dict[str, object]:
    """Other values of the fields of a cell."""
    return {
        "net": ntr.MLP(2, 9), "n": 5, "time": "equal time", "value": 2.0, "budget": 11,
        "unit": TimeUnit(ntr.MLP(2, 4), 4), "epsilon": 0.2, "scale": 2.0, "label_noise": 0.1, "optimizer": "adam",
        "learning_rate": 0.1, "loss": "cross_entropy", "batch_size": 3, "adversary": ntr.Adversary(0.1), "points": 3,
    }  # fmt: skip


@pytest.mark.fast
def test_everything_that_changes_numbers_changes_the_name_of_a_cell():
    cell = Cell(ntr.MLP(2, 8), n=4, time="equal scaled time", value=1.0, budget=10)
    names = [Identities(DATA, KEY, 8).of_cell(cell)]
    for field in dataclasses.fields(Cell):
        if field.name != "outside":
            other = dataclasses.replace(cell, **{field.name: changes()[field.name]})
            names.append(Identities(DATA, KEY, 8).of_cell(other))
    for net in (
        ntr.MLP(3, 8), ntr.MLP(2, 8, d_out=2), ntr.MLP(2, 8, activation="tanh"), ntr.MLP(2, 8, parameterization="ntk"),
        ntr.MLP(2, 8, bias_std=0.0), ntr.MLP(2, 8, initialization="lecun"), ntr.MLP(2, 8, activation=lambda u: u * 2),
        ntr.MLP(2, 8, activation=lambda u: u * 3), ntr.MLP(2, 8, initialization=ntr.Initialization(0.1, 0.1, 0.1)),
    ):  # fmt: skip
        names.append(Identities(DATA, KEY, 8).of_cell(dataclasses.replace(cell, net=net)))
    y = DATA.y_train.copy()
    y[7] *= -1
    ranged = dataclasses.replace(DATA, bounds=(-100.0, 100.0))
    for data, key, points in (
        (dataclasses.replace(DATA, y_train=y), KEY, 8), (ranged, KEY, 8), (DATA, jax.random.key(1), 8), (DATA, KEY, 9),
    ):  # fmt: skip
        names.append(Identities(data, key, points).of_cell(cell))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "NUMERICS", identity.NUMERICS + 1)
        names.append(Identities(DATA, KEY, 8).of_cell(cell))
    with jax.enable_x64(True):
        names.append(Identities(DATA, KEY, 8).of_cell(cell))
    assert len(set(names)) == len(names)


def test_what_is_only_said_of_a_cell_does_not_change_its_name():
    first = Identities(DATA, KEY, 8)
    renamed = Identities(dataclasses.replace(DATA, name="another name"), KEY, 8)
    he = Cell(ntr.MLP(2, 8, initialization="he"), n=4, time="initialization")
    gains = dataclasses.replace(he, net=ntr.MLP(2, 8, initialization=ntr.Initialization.from_gains(2, 2, 2)))
    assert len({first.of_cell(he), first.of_cell(gains), renamed.of_cell(he)}) == 1
    assert first.of_cell(he) == first.of_cell(dataclasses.replace(he, points=8, outside="nowhere"))
    measure = ntr.measures.RobustAccuracy(epsilon=0.1)
    assert len(set(first.of_measures({"a": measure, "b": measure.rename("mine")}).values())) == 1
    others = {"a": measure, "b": ntr.measures.RobustAccuracy(epsilon=0.2)}
    others["c"] = ntr.measures.RobustAccuracy(epsilon=0.1, attack=ntr.attacks.PGD(steps=3))
    assert len(set(first.of_measures(others).values())) == 3


OWN = """
import jax.numpy as jnp
import ntkrobust as ntr
import helper
FACTOR = {factor}

def hidden(u):
    return FACTOR * jnp.tanh(u)

def make(scale):
    def apply(parameters, x):
        return hidden(x @ parameters["w"]) * scale + helper.shift(x)
    return apply

def init(key, x):
    return {{"w": jnp.ones((x.shape[1], 1))}}

class Own(ntr.Network):
    d_out = 1
    def draw(self, key, d_in):
        return init(key, jnp.zeros((1, d_in)))
    def apply(self, parameters, x):
        return make({scale})(parameters, x)

def {name}(outputs):
    return jnp.max(outputs) * FACTOR
"""
TELL = """
import json, sys
import ntkrobust as ntr
from ntkrobust.finite.measures.functions import measure_of
from ntkrobust.studies.store.contents import digest
from ntkrobust.studies.store.identity import Identities
for folder, name in json.loads(sys.argv[1]):
    sys.path.insert(0, folder)
    import own
    names = Identities.__new__(Identities)
    names._measures, names.code = {}, {}
    measure = names._of_measure(measure_of(getattr(own, name)))
    print(digest(ntr.from_function(own.init, own.make(2.0))), digest(own.Own()), measure)
    del sys.modules["own"], sys.modules["helper"]
"""


def own_code(folder: Path, *, factor="1.5", scale="3.0", name="largest", shift="0.0", above="") -> tuple[str, str]:
    """A folder with a network and a measure of one's own, and how the measure is called."""
    folder.mkdir()
    (folder / "own.py").write_text(above + OWN.format(factor=factor, scale=scale, name=name))
    (folder / "helper.py").write_text(f"def shift(x):\n    return x[:, :1] * {shift}\n")
    return str(folder), name


def told_elsewhere(*folders: tuple[str, str], hash_seed: str) -> list[list[str]]:
    """Digests of what is in these folders, in a process of its own."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", TELL, json.dumps(folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [line.split() for line in done.stdout.splitlines()]


def test_code_of_ones_own_is_told_by_what_it_does(tmp_path):
    (first,) = told_elsewhere(own_code(tmp_path / "a"), hash_seed="1")
    assert len(set(first)) == 3
    moved, factor, shift = told_elsewhere(
        own_code(tmp_path / "elsewhere", name="renamed", above="'''Other lines.'''\n\n\n"),
        own_code(tmp_path / "b", factor="1.25"),
        own_code(tmp_path / "c", shift="1.0"),
        hash_seed="2",
    )
    assert moved == first
    assert all(one != other for one, other in zip(factor, first, strict=True)), "a global that is read two calls down"
    assert [one != other for one, other in zip(shift, first, strict=True)] == [True, True, False], "another module"


def test_objects_that_cannot_be_told_are_refused():
    lock = threading.Lock()
    with pytest.raises(UnnamedError, match="does not say what it holds"):
        digest(lambda: lock)

    def itself(n: int) -> int:
        return itself(n - 1)

    assert digest(itself) == digest(itself)
    pair = (1.0, (2.0,))
    assert digest([pair, pair]) == digest([(1.0, (2.0,)), (1.0, (2.0,))]), "whether parts are one object says nothing"
    assert len({digest(one) for one in (1, 1.0, True, "1", b"1", [1], {1}, {1: 1}, np.int64(1), np.float32(1))}) == 10
    assert digest(jnp.tanh) != digest(jnp.sin)


def test_cells_that_cannot_be_told_run_and_are_not_stored(stand_in, tmp_path, caplog):
    lock = threading.Lock()

    def init(key, x):
        return {"w": jnp.ones((x.shape[1], 1))}

    def apply(parameters, x):
        return x @ parameters["w"] if lock else x

    net = ntr.from_function(init, apply)
    claim = ntr.Claim("mine/own", "", ntr.AtMost(lambda n: 9.0), "jacobian_frobenius", {"network": (net,)})
    found = examined(tmp_path, claims=[claim])
    assert found.verdicts[0].label == "supported"
    said = [one.getMessage() for one in caplog.records if one.name == "ntkrobust"]
    assert len(said) == 1
    assert "are not stored, because they can't be told from others: an object of lock" in said[0]
    assert not list(tmp_path.rglob("*.npz"))


# Files


def stored(folder: Path, seeds: int = 3, cells: int = 2) -> list[Segment]:
    """Segments in a file, and as they were."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(cells, seeds))
    values[0, 0] = math.nan
    segments = [
        Segment(
            cell=f"{index:064x}",
            start=2,
            stop=2 + seeds,
            values={"a" * 64: values[index]},
            names={"a" * 64: "measure"},
            state={name: rng.normal(size=seeds) for name in ("loss", "step", "gradient_flow_time", "learning_rate")},
            status=np.array(["converged", "budget", "diverged"] * seeds)[:seeds],
            seconds=0.5,
            plan="<b>1</b>",
            steps=7,
            tolerance=math.nan if index else 1e-3,
            time_error={"a" * 64: 0.1},
            data="d" * 64,
            numerics="e" * 64,
            generation=1,
            label="<script>alert(1)</script>",
            coordinates={"width": 8, "initialization": "../../x"},
        )
        for index in range(cells)
    ]
    buckets.write(folder, segments)
    return segments


def same(one: Segment, other: Segment) -> bool:
    arrays = [[*part.values.values(), *part.state.values()] for part in (one, other)]
    return one.header() == other.header() and all(
        a.tobytes() == b.tobytes() for a, b in zip(*arrays, strict=True)
    ) and one.status.tolist() == other.status.tolist()  # fmt: skip


@pytest.mark.fast
def test_what_is_read_is_what_was_written(tmp_path):
    segments = stored(tmp_path)
    (path,) = buckets.paths_in(tmp_path)
    assert all(same(one, other) for one, other in zip(buckets.read(path), segments, strict=True))
    with np.load(path, allow_pickle=False) as plain:
        assert json.loads(plain["header"].tobytes())["schema_version"] == buckets.SCHEMA_VERSION
        assert plain["numbers"].dtype == np.float64


def test_damage_is_noticed_and_never_believed(tmp_path):
    segments = stored(tmp_path)
    (path,) = buckets.paths_in(tmp_path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        with pytest.raises(buckets.DamagedError):
            buckets.read(path)
    rng = np.random.default_rng(1)
    noticed = 0
    for _ in range(200):
        at = int(rng.integers(len(whole)))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :])
        try:
            found = buckets.read(path)
        except buckets.DamagedError:
            noticed += 1
        else:  # a byte that says nothing, such as a date
            assert all(same(one, other) for one, other in zip(found, segments, strict=True))
    assert noticed > 100


def hostile(header: object, numbers: np.ndarray | None = None, **more: object) -> bytes:
    content = io.BytesIO()
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    arrays = {"numbers": np.empty(0) if numbers is None else numbers, "status": np.empty(0, np.uint8)} | more
    np.savez(content, header=np.frombuffer(text, np.uint8), **arrays)
    return content.getvalue()


def huge() -> bytes:
    """An archive of a few bytes that states an array of eight tebibytes."""
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("header", "numbers", "status", "../../../etc/passwd"):
            archive.writestr(f"{name}.npy", array.getvalue())
    return content.getvalue()


GOOD = {
    "cell": "0" * 64, "start": 0, "stop": 1, "measures": [], "seconds": 0.0, "plan": "", "steps": 0, "tolerance": None,
    "time_error": {}, "data": "0" * 64, "numerics": "0" * 64, "generation": 1, "label": "", "coordinates": {},
}  # fmt: skip


def of(version: object = buckets.SCHEMA_VERSION, **changed: object) -> dict:
    return {"schema_version": version, "segments": [GOOD | changed]}


FOREIGN = {
    "nothing": b"", "text": b"<script>alert(1)</script>", "a pickle": b"\x80\x04]\x94.",
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "huge": huge(), "no object": hostile([1]), "no version": hostile({}), "a newer one": hostile(of(version=99)),
    "an older one": hostile(of(version=0)), "true": hostile(of(version=True)), "deep": hostile(b"[" * 100_000),
    "NaN": hostile(of(seconds=math.nan)), "huge seeds": hostile(of(stop=10**15)), "backwards": hostile(of(start=5)),
    "short name": hostile(of(cell="../../../x")), "more": hostile(of(more=1)),
    "text for a number": hostile(of(steps="1")), "another type": hostile(of(), np.ones(4, np.float32)),
    "too few numbers": hostile(of()), "too many": hostile({"schema_version": 1, "segments": []}, np.ones(3)),
    "objects": hostile(of(), status=np.array([{}], dtype=object)),
    "an unknown status": hostile(of(), np.ones(4), status=np.array([7], np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_left_alone_and_said(name, tmp_path, caplog):
    folder = tmp_path / "cells"
    segments = stored(folder)
    planted = folder / f"cells-{16 * 'f'}.npz"
    planted.write_bytes(FOREIGN[name])
    (folder / f"cells-{16 * 'e'}.npz").symlink_to("/etc/passwd")
    (folder / f"journal-{16 * 'e'}.jsonl").write_bytes(FOREIGN[name] + b'\n{"event": "failed", "cell": 3}\n[]\n')
    with CellStore(folder, DATA, KEY, 8) as store:
        assert len(list(store._contents)) == len(segments)
    said = [one.getMessage() for one in caplog.records if one.name == "ntkrobust" and str(planted) in one.getMessage()]
    assert len(said) == 1
    assert "is left alone" in said[0]
    assert "\n" not in said[0]
    assert planted.read_bytes() == FOREIGN[name]
    assert fates(folder) == {}


def test_an_older_layout_is_brought_up_to_date(tmp_path, monkeypatch):
    stored(tmp_path)
    (path,) = buckets.paths_in(tmp_path)

    def renamed(document: dict) -> dict:
        for one in document["segments"]:
            one["label"] = f"migrated {one['label']}"
        return document | {"schema_version": document["schema_version"] + 1}

    newer = buckets.SCHEMA_VERSION + 2
    monkeypatch.setattr(buckets, "SCHEMA_VERSION", newer)
    monkeypatch.setattr(buckets, "MIGRATIONS", {newer - 1: renamed})
    with pytest.raises(buckets.DamagedError, match=rf"schema_version {newer - 2}, which nothing brings up to {newer}"):
        buckets.read(path)
    monkeypatch.setattr(buckets, "MIGRATIONS", {newer - 1: renamed, newer - 2: renamed})
    assert {one.label for one in buckets.read(path)} == {"migrated migrated <script>alert(1)</script>"}


def test_many_small_files_become_one(tmp_path):
    folder = tmp_path / "cells"
    segments = [one for _ in range(buckets.MERGED_FROM) for one in stored(folder)]
    assert len(list(Contents(folder))) == 2, "the same segments, many times"
    assert len(buckets.paths_in(folder)) == buckets.MERGED_FROM
    assert len(list(Contents(folder, merging=True))) == 2
    assert len(buckets.paths_in(folder)) == 1
    assert all(any(same(one, other) for other in segments) for one in Contents(folder))


def test_two_writers_share_a_folder(stand_in, tmp_path):
    """As two runs that know nothing of each other."""
    ended = []

    def work(index: int) -> None:
        examined(tmp_path, claims=[CLAIMS[index]])
        ended.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(ended) == [0, 1, 2, 3]
    stand_in.runs.clear()
    for claim in CLAIMS:
        examined(tmp_path, claims=[claim])
    assert not stand_in.runs


def test_a_full_disk_costs_the_store_and_not_the_run(stand_in, tmp_path, caplog):
    with disk_of(tmp_path, 2**14):
        found = examined(tmp_path / "out")
    (tmp_path / "out").mkdir(exist_ok=True)
    said = [one.getMessage() for one in caplog.records if one.name == "ntkrobust"]
    assert len(said) == 1
    assert "the run goes on" in said[0]
    assert numbers(found) == numbers(examined(None))


def test_something_else_in_its_place_is_refused(tmp_path):
    (tmp_path / "cells").write_text("mine")
    with pytest.raises(ntr.InputError, match="must be a folder of its own"):
        storing.open_store(tmp_path, DATA, KEY, 8)


# The command

CLAIM = textwrap.dedent(
    """
    import ntkrobust as ntr

    claims = [
        ntr.Claim(
            f"mine/{time}".replace(" ", "-"), "", ntr.AtMost(lambda width: 100.0), "jacobian_frobenius",
            {"width": (4, 8), "depth": (2,)}, reading=ntr.Reading(time, value),
        )
        for time, value in (("initialization", None), ("fixed steps", 20))
    ]
    first, second = claims
    """
)
WAITING = """
import os, signal, sys, time
from ntkrobust.studies import running
run, left = running.Networks._run, [{after}]

def waiting(*given):
    left[0] -= 1
    if left[0] == 0:
        time.sleep(0.2)
        while given[0]._store._pending:  # until the others are on the disk
            time.sleep(0.01)
        os.kill(os.getpid(), {number})
        time.sleep(60)
    return run(*given)

running.Networks._run = waiting
running.threads = lambda: 1
import ntkrobust.cli as cli
sys.argv = ["ntkrobust", *sys.argv[1:]]
cli.main()
"""


def verified(claim: Path, out: Path, after: int = 0, number: int = 9) -> subprocess.CompletedProcess:
    words = ["verify", str(claim), "--data", "sphere", "--seeds", "12", "--points", "4", "--out", str(out)]
    code = WAITING.format(after=after or 10**6, number=number)
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def document(found: dict) -> dict:
    return {name: one for name, one in json.loads(json.dumps(found)).items() if name not in ("timing", "run")}


def test_a_command_that_was_killed_goes_on(tmp_path):
    claim, out = tmp_path / "claim.py", tmp_path / "out"
    claim.write_text(CLAIM)
    whole = ntr.verify(str(claim), data="sphere", seeds=12, points=4)
    assert verified(claim, out, after=2).returncode == -9
    assert len({one.cell for one in Contents(out / "cells")}) == 1
    ended = verified(claim, out, after=3, number=15)
    assert ended.returncode == 128 + 15
    *told, said = ended.stderr.splitlines()
    assert said == f"ntkrobust: stopped; the same command goes on from what is stored in {out}/cells"
    # beside it only verdicts that were reached before
    assert all(line.startswith("ntkrobust: supported: mine/") for line in told)
    assert not (out / "verdicts.json").exists()
    last = verified(claim, out)
    assert last.returncode == 0
    assert all(line.startswith("ntkrobust: supported: mine/") for line in last.stderr.splitlines())
    assert "3 of 4 cells: what earlier runs had stored in the folder" in last.stdout
    assert document(json.loads((out / "verdicts.json").read_text())) == document(whole.document)


def test_what_is_said_names_the_folder_where_cells_are(tmp_path):
    assert how_to_go_on(str(tmp_path)) == ""
    stored_in = tmp_path / "data" / "cells"
    stored_in.parent.mkdir()
    stored(stored_in)
    assert how_to_go_on(str(tmp_path)).endswith(f"goes on from what is stored in {tmp_path}/*/cells")
    assert how_to_go_on(str(tmp_path / "data")).endswith(f"goes on from what is stored in {stored_in}")
