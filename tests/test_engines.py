"""Cells computed elsewhere: the same numbers to the bit, whoever is lost on the way."""

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.cli import run as run_command
from ntkrobust.data import load
from ntkrobust.errors import InputError
from ntkrobust.finite.measures.functions import measure_of
from ntkrobust.runtime.layout import Machine, planned_as_on, this_machine
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines import travel
from ntkrobust.studies.engines.bucket_crew import BucketCrew
from ntkrobust.studies.engines.buckets import MOST, Buckets
from ntkrobust.studies.engines.choosing import client_for, engine_of
from ntkrobust.studies.engines.entry import run_bucket
from ntkrobust.studies.engines.travel import Sent, packed_shared, settings
from ntkrobust.studies.records import Demand
from ntkrobust.studies.running import Networks
from ntkrobust.studies.store.store import CellStore

DATA, KEY, POINTS = load("sphere"), jax.random.key(0), 8
OWN = """
import jax.numpy as jnp
import ntkrobust as ntr

HALF = 0.5

def init(key, x):
    import jax
    return {"w": jax.random.normal(key, (x.shape[-1], 1))}

def apply(parameters, x):
    return HALF * x @ parameters["w"]

def largest(outputs):
    return HALF * jnp.max(jnp.abs(outputs))

network = ntr.from_function(init, apply)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator:
    """A module of the user's that no other process can import."""
    path = tmp_path_factory.mktemp("own") / "things_of_ones_own.py"
    path.write_text(OWN)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[path.stem]


def demands(own) -> dict[Cell, Demand]:
    """Cells that are untrained, trained by steps and under gradient flow, and one of the user's own."""
    measures = {one.name: one for one in map(measure_of, ("jacobian_frobenius", own.largest))}
    nets = [ntr.MLP(2, 8, initialization=name) for name in ("he", "lecun", "ntk")]
    cells = [Cell(net, 1, "initialization") for net in (*nets, own.network)]
    cells += [Cell(net, 20, "fixed steps", 20, 20) for net in nets]
    cells += [Cell(nets[0], 20, "equal loss", 0.3, 2000, optimizer="gradient_flow")]
    return {cell: Demand(measures, 5) for cell in cells}


def numbers(networks: Networks) -> list:
    """All numbers of all cells, exactly, and all else that is stored but the time."""
    return [
        (
            record.cell, record.seeds.tolist(), {name: one.tobytes() for name, one in record.values.items()},
            [getattr(record, name).tobytes() for name in ("loss", "step", "gradient_flow_time", "learning_rate")],
            record.status.tolist(), record.steps, repr(record.tolerance), dict(record.time_error), record.plan,
            record.failure,
        )
        for record in networks.records.values()
    ]  # fmt: skip


def run(wanted, engine=None, store=None) -> Networks:
    networks = Networks(DATA, KEY, POINTS, store, engine)
    networks.extend(wanted, lambda *_: None)
    return networks


@pytest.fixture(scope="module")
def wanted(own):
    return demands(own)


@pytest.fixture(scope="module")
def in_process(wanted) -> Networks:
    return run(wanted)


class Here(BucketCrew):
    """Buckets that travel as to workers, and come back from this process."""

    def __init__(self, requests, work, begin, engine) -> None:
        super().__init__(requests, begin, Buckets(requests.values(), work.data.d, seconds=0.5, first=2))
        self._shared, self._engine = packed_shared(work.data, work.key, work.points), engine
        self._waiting: deque = deque()

    side_by_side = 1

    def _room(self) -> int:
        return 3

    def _hand_out(self, number, requests, content) -> None:
        self._waiting.append((number, list(requests), content))
        assert len(self._waiting) <= self._room()

    def _wait(self, timeout):
        if not self._waiting:
            raise Empty
        number, requests, content = self._waiting.popleft()
        self._engine.handed_out.append([one.cell for one in requests])
        if self._engine.is_lost(requests):
            return number, "killed"
        sent = run_bucket(settings(), *self._shared, content)
        return number, self._engine.change(sent)

    def _cancel(self) -> None:
        self._waiting.clear()


class Engine:
    """Its crews are :class:`Here`."""

    def __init__(self, is_lost=lambda requests: False, change=lambda sent: sent) -> None:
        self.is_lost, self.change, self.handed_out = is_lost, change, []

    def crew(self, requests, work, begin) -> Here:
        return Here(requests, work, begin, self)


@pytest.mark.fast
def test_what_has_travelled_gives_the_same_numbers(wanted, in_process):
    engine = Engine()
    assert numbers(run(wanted, engine)) == numbers(in_process)
    assert sorted(map(len, engine.handed_out))[-1] > 1
    assert sum(map(len, engine.handed_out)) == len(wanted)


def rounded(sent: Sent) -> Sent:
    """With numbers in single precision."""

    def single(one):
        return one | {"values": {name: v.astype(np.float32) / 3 * 3 for name, v in one["values"].items()}}

    return Sent([single(one) for one in sent.outcomes])


def test_an_engine_that_changes_a_number_is_seen(wanted, in_process):
    changed = numbers(run(wanted, Engine(change=rounded)))
    assert changed != numbers(in_process)
    assert [one[0] for one in changed] == [one[0] for one in numbers(in_process)]


def test_seeds_are_laid_out_as_where_requests_come_from(monkeypatch):
    other = Machine("cpu", 1, this_machine().streams + 3)
    request = Request(
        Cell(ntr.MLP(2, 8), 1, "initialization"), Demand({"jacobian_frobenius": measure_of("jacobian_frobenius")}, 9)
    )
    with planned_as_on(other):
        expected = CellWork(DATA, KEY, POINTS).done(request).plan
    monkeypatch.setattr(travel, "this_machine", lambda: other)
    shared = packed_shared(DATA, KEY, POINTS)
    monkeypatch.undo()
    (found,) = run_bucket(settings(), *shared, travel.packed([request])).outcomes
    assert found["plan"] == expected
    # The planted fault: a worker that lays out as it would for itself.
    assert found["plan"] != CellWork(DATA, KEY, POINTS).done(request).plan
    assert f"{other.streams} stream(s)" in expected


def test_a_worker_with_other_devices_says_so(monkeypatch):
    request = Request(
        Cell(ntr.MLP(2, 8), 1, "initialization"), Demand({"jacobian_frobenius": measure_of("jacobian_frobenius")}, 2)
    )
    monkeypatch.setattr(travel, "this_machine", lambda: Machine("gpu", 8, 1))
    shared = packed_shared(DATA, KEY, POINTS)
    monkeypatch.undo()
    sent = run_bucket(settings(), *shared, travel.packed([request]))
    assert "workers have 1 device(s) of kind cpu, and this process 8 of kind gpu" in sent.remark


def test_a_worker_with_another_version_computes_nothing(wanted, monkeypatch):
    right = travel.numerics()
    monkeypatch.setattr(travel, "numerics", lambda: right | {"jax": "0.0.1"})
    shared = packed_shared(DATA, KEY, POINTS)
    monkeypatch.undo()
    request = Request(next(iter(wanted)), next(iter(wanted.values())))
    (found,) = run_bucket(settings(), *shared, travel.packed([request])).outcomes
    assert found.is_input
    assert f"it has jax {right['jax']} for 0.0.1" in found.sentence


def test_what_was_changed_on_its_way_is_refused(wanted):
    name, content = packed_shared(DATA, jax.random.key(77), POINTS)
    with pytest.raises(ValueError, match="changed on its way"):
        travel.outcomes(name, content[:-1] + b"x", b"")


# Whoever is lost


@pytest.mark.fast
def test_who_is_lost_with_others_runs_again_alone(wanted, in_process, tmp_path):
    victims = list(wanted)[1], list(wanted)[5]
    lost = Counter()

    def is_lost(requests) -> bool:
        for one in requests:
            if one.cell in victims and lost[one.cell] < 1:
                lost[one.cell] += 1
                return True
        return False

    engine = Engine(is_lost)
    with CellStore(tmp_path, DATA, KEY, POINTS) as store:
        assert numbers(run(wanted, engine, store)) == numbers(in_process)
    times = Counter(cell for bucket in engine.handed_out for cell in bucket)
    companions = {
        cell for bucket in engine.handed_out if len(bucket) > 1 for cell in bucket if set(bucket) & {*victims}
    }
    assert set(victims) <= companions
    assert {cell for cell, number in times.items() if number > 1} == companions | set(victims), "nobody else runs twice"
    with CellStore(tmp_path, DATA, KEY, POINTS) as store:
        again = Engine()
        run(wanted, again, store)
        assert again.handed_out == []


def test_who_ends_its_process_each_time_is_said_to_fail(wanted, in_process):
    killer = list(wanted)[2]
    networks = run(wanted, Engine(lambda requests: any(one.cell == killer for one in requests)))
    failure = networks.records[killer].failure
    assert failure.startswith("the cell failed: the process that ran it alone was lost")
    others = [one for one in numbers(networks) if one[0] != killer]
    assert others == [one for one in numbers(in_process) if one[0] != killer]


def test_a_mistake_in_a_measure_comes_back_with_its_traceback(own, tmp_path):
    def broken(outputs):
        raise RuntimeError("no such thing")

    cell, fine = Cell(ntr.MLP(2, 8), 1, "initialization"), Cell(ntr.MLP(2, 9), 1, "initialization")
    with CellStore(tmp_path, DATA, KEY, POINTS) as store:
        networks = run({cell: Demand({"broken": measure_of(broken)}, 2),
                        fine: Demand({"largest": measure_of(own.largest)}, 2)}, Engine(), store)  # fmt: skip
    assert "no such thing" in networks.records[cell].failure
    assert len(networks.records[fine].seeds) == 2
    (journal,) = tmp_path.glob("journal-*")
    assert "raise RuntimeError" in journal.read_text()


def test_what_cannot_be_sent_is_said_cell_by_cell(own):
    lock = threading.Lock()
    net = ntr.from_function(own.init, lambda parameters, x: x @ parameters["w"] * (not lock.locked()))
    measures = {"largest": measure_of(own.largest)}
    held, fine = Cell(net, 1, "initialization"), Cell(own.network, 1, "initialization")
    networks = run({held: Demand(measures, 2), fine: Demand(measures, 2)}, Engine())
    assert "it can't be sent to workers" in networks.records[held].failure
    assert networks.records[fine].failure == ""


# Buckets


def test_buckets_take_about_as_long_as_they_are_to():
    cells = [Cell(ntr.MLP(2, 8), 5, "fixed steps", value, 10) for value in range(1, 1001)]
    other = Cell(ntr.MLP(2, 9), 5, "fixed steps", 1, 10)
    buckets = Buckets([Request(cell, Demand({}, 3)) for cell in [*cells, other]], 8, seconds=2.0, first=1)
    first = buckets.take(100)
    assert [one.cell for one in first] == cells[:1]
    buckets.took(first, 0.1)
    assert [one.cell for one in buckets.take(100)] == cells[1:21]
    assert len(buckets.take(7)) == 7, "no more than a share"
    buckets.took(first, 1e-9)
    assert len(buckets.take(10**6)) == MOST
    buckets.took(first, 9.0)
    assert len(buckets.take(100)) == 1
    while (last := buckets.take(10**6)) and last[0].cell != other:
        pass
    assert [one.cell for one in last] == [other], "shapes are apart"
    assert len(buckets) == 0


# What is asked for


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dask", "local", "--slurm"], "give one of them"),
        (["--dask", "tcp://127.0.0.1:1", "--workers", "2"], "--workers says how many processes --dask local has"),
        (["--job", "timeout_min=5"], "--job sets parameters of batch jobs"),
        (["--slurm", "--job", "timeout_min"], "NAME=VALUE"),
        (["--slurm", "--job", "no_such=5"], "no jobs can be sent"),
        (["--dask", "nowhere"], "no dask scheduler answers at nowhere"),
    ],
)
def test_options_that_cannot_be(options, sentence, tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("ntkrobust.studies.engines.dask.FOR_A_SCHEDULER", 0.5)
    assert run_command(["verify", "zhu2022", "--out", str(tmp_path / "out"), *options]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(("name", "how"), [("distributed", ("local", False)), ("submitit", (None, True))])
def test_without_the_extra_a_sentence_names_it(name, how, monkeypatch, tmp_path):
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(InputError, match=r"needs .*: pip install ntkrobust\[distributed\]"),
        client_for(*how, tmp_path, {}, None),
    ):
        pass


@pytest.mark.parametrize("client", ["tcp://127.0.0.1:8786", 3, SimpleNamespace(submit=None)])
def test_what_is_no_client_is_refused(client):
    with pytest.raises(InputError, match=r"client must be a distributed.Client or a submitit.Executor"):
        ntr.sweep({"depth": (2,), "width": (4,)}, client=client)


# Engines as they are


@pytest.fixture(scope="module")
def client():
    pytest.importorskip("distributed")
    with client_for("local", False, "", {}, 2) as found:
        yield found


@pytest.mark.filterwarnings("default")  # of dask and tornado themselves
def test_a_cluster_of_two_processes(client, wanted, in_process, tmp_path):
    assert numbers(run(wanted, engine_of(client))) == numbers(in_process)
    listening = [where for worker in client.run(_listening).values() for where in worker] + _listening()
    assert listening
    assert {where for where, _ in listening} == {"0100007F"}, "127.0.0.1 in hexadecimal, as Linux writes it"
    there = set(client.run(os.getpid).values())
    assert len(there) == 2
    # A worker is killed in the middle.
    killed = []

    def kill(*_) -> None:
        if not killed:
            killed.append(next(iter(there)))
            os.kill(killed[0], signal.SIGKILL)

    with CellStore(tmp_path, DATA, KEY, POINTS) as store:
        networks = Networks(DATA, KEY, POINTS, store, engine_of(client))
        networks.extend(wanted, kill)
    assert killed
    assert numbers(networks) == numbers(in_process)


@pytest.mark.filterwarnings("default")
def test_a_scheduler_that_is_lost_while_cells_are_handed_out(wanted, monkeypatch, tmp_path):
    """A client that seeks its scheduler takes tasks, and gives up without a word of them."""
    distributed = pytest.importorskip("distributed")
    where = tmp_path / "scheduler.json"
    processes = [
        subprocess.Popen([sys.executable, "-m", f"distributed.cli.{name}", "--scheduler-file", str(where), *more],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name, *more in (("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
                            ("dask_worker", "--no-nanny", "--nthreads", "1", "--no-dashboard"))
    ]  # fmt: skip
    try:
        with distributed.Client(scheduler_file=str(where), timeout="30s", set_as_default=False) as client:
            engine = engine_of(client)
            client._timeout = 2.0  # seconds for which it seeks
            request = {cell: Request(cell, demand) for cell, demand in wanted.items()}
            crew = engine.crew(request, CellWork(DATA, KEY, POINTS), lambda cell: True)
            processes[0].kill()
            while client.status == "running":
                time.sleep(0.01)
            with pytest.raises(InputError, match="the dask scheduler was lost; another run goes on"), crew:
                crew.next(None)
            # The planted fault: nobody looks whether there still is a client.
            monkeypatch.setattr(type(crew), "_is_lost", lambda self: False)
            with pytest.raises(Empty):
                crew._next_ended(2.5)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _listening() -> list[tuple[str, int]]:
    """(address, port) of sockets on which this process listens."""
    own = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            own.add(os.readlink(link))
        except OSError:
            continue
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [
        (row[1].partition(":")[0], int(row[1].partition(":")[2], 16))
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in own
    ]


@pytest.mark.filterwarnings("default")
def test_jobs_of_a_batch_system(wanted, in_process, tmp_path):
    pytest.importorskip("submitit")
    some = {cell: one for cell, one in wanted.items() if cell.time == "initialization" and cell.net.d_out == 1}
    some = dict(list(some.items())[:2])
    with client_for(None, True, tmp_path, {"cluster": "local"}, None) as executor:
        networks = run(some, engine_of(executor))
    assert numbers(networks) == [one for one in numbers(in_process) if one[0] in some]
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0
    assert dataclasses.replace(networks.records[next(iter(some))], seconds=0.0).failure == ""
