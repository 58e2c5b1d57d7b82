"""Plans: how seeds are laid out on the machine changes no outcome."""

import itertools
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust.finite.measures.measuring
import ntkrobust.finite.training.attempts
import ntkrobust.finite.training.prepared
import ntkrobust.runtime.layout
from ntkrobust import MLP, Run, measure, train
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime import accelerated
from ntkrobust.runtime.compiling import PROGRAMS
from ntkrobust.runtime.core_clients import over_streams
from ntkrobust.runtime.executor import run_over_seeds, run_over_times
from ntkrobust.runtime.layout import MAX_CHUNK, Plan
from ntkrobust.runtime.machine import cores
from ntkrobust.runtime.seeds import RawKeys

COMPILES_ANEW = True
OPTIMIZED = True

X = np.linspace(-1.2, 1.4, 24).reshape(8, 3)
Y = np.sin(3 * X[:, :2])
# No biases, two layers, a given rate: the least to compile.
NET = MLP(2, 12, 2, "tanh", "he")
# Products of matrices add in an order that depends on the batch: some dozen roundings of 6e-8 in each of 15 small steps
ROUNDING = 1e-5


def train_and_measure(seeds: int) -> tuple[Run, np.ndarray]:
    run = train(NET, X, Y, seeds=seeds, steps=15, learning_rate=0.02, record_steps=[0, 15])
    return run, measure(run, X, ["jacobian_frobenius"]).jacobian_frobenius.to_numpy()


def use_plan(monkeypatch, plan: Plan) -> None:
    for module in (ntkrobust.finite.training.prepared, ntkrobust.finite.measures.measuring):
        monkeypatch.setattr(module, "choose_plan", lambda *_: plan)


@pytest.fixture(scope="module")
def reference() -> tuple[Run, np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        use_plan(patch, Plan(64, 64))
        return train_and_measure(5)


def assert_same_outcome(found: tuple[Run, np.ndarray], expected: tuple[Run, np.ndarray]) -> None:
    for one, other in zip(jax.tree.leaves(found[0].snapshots), jax.tree.leaves(expected[0].snapshots), strict=True):
        np.testing.assert_allclose(one, other, atol=ROUNDING)
    np.testing.assert_allclose(found[0].loss, expected[0].loss, rtol=ROUNDING)
    np.testing.assert_allclose(found[1], expected[1], rtol=ROUNDING)


def test_the_comparison_can_fail(reference):
    run, measured = reference
    order = [1, 0, 2, 3, 4]
    for wrong in (measured[order], measured * (1 + 3 * ROUNDING)):
        with pytest.raises(AssertionError):
            assert_same_outcome((run, wrong), reference)
    # seeds differ, and training moves them
    assert not np.allclose(run.snapshots[0].weights[0][0], run.snapshots[0].weights[0][1], atol=0.01)
    assert not np.allclose(run.snapshots[0].weights[0], run.snapshots[1].weights[0], atol=0.01)


@pytest.mark.parametrize(
    "plan",
    [Plan(4, 4), Plan(1, 64), Plan(2, 4), Plan(1, 1), Plan(2, 64, streams=2), Plan(1, 2, 3), Plan(1, 4, 2, exact=True)],
    ids=str,
)
def test_the_outcome_does_not_depend_on_batching_or_chunks(plan, reference, monkeypatch):
    use_plan(monkeypatch, plan)
    found = train_and_measure(5)
    assert found[0].plan == str(plan)
    assert_same_outcome(found, reference)


DEVICES = """
import sys

import jax
import numpy as np

sys.path.insert(0, sys.argv[1])
from test_plan import NET, X, check_every_seed, train_and_measure, use_plan
import pytest

from ntkrobust.runtime.layout import Plan

assert jax.local_device_count() == 4
run, measured = train_and_measure(5)  # does not divide by 4
assert "4 device(s)" in run.plan, run.plan
for n_seeds in (1, 4, 5):
    check_every_seed(n_seeds, Plan(2, 16, 1, 4))
    check_every_seed(n_seeds, Plan(1, 4, 1, 4))

# Fewer seeds than devices: the devices share the points, 3 of 4 of them 2 each if there were 7.
with pytest.MonkeyPatch.context() as patch:
    use_plan(patch, Plan(1, 8, 1, 4, points=8))
    few, few_measured = train_and_measure(3)
    use_plan(patch, Plan(1, 8, 1, 4))
    copied, _ = train_and_measure(3)
from ntkrobust.runtime.compiling import PROGRAMS
from ntkrobust.runtime.layout import Plan
layouts = {signature[2] for signature in PROGRAMS}
assert (4, 8, 1) in layouts and (4, 0, 1) in layouts, layouts
np.savez(
    sys.argv[2], *jax.tree.leaves(run.snapshots), loss=run.loss, measured=measured,
    few=few.loss, few_measured=few_measured, few_weights=few.parameters.weights[0],
)
"""


def run_python(program: str, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent), *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> None:
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), printed


def assert_same_arrays(path: Path, reference: tuple[Run, np.ndarray]) -> None:
    run, measured = reference
    with np.load(path) as found:
        for index, expected in enumerate(jax.tree.leaves(run.snapshots)):
            np.testing.assert_allclose(found[f"arr_{index}"], expected, atol=ROUNDING)
        np.testing.assert_allclose(found["loss"], run.loss, rtol=ROUNDING)
        np.testing.assert_allclose(found["measured"], measured, rtol=ROUNDING)


def test_four_devices_give_the_same_numbers_whatever_they_share(reference, tmp_path):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    finish(run_python(DEVICES, str(tmp_path / "found.npz"), XLA_FLAGS=flags))
    assert_same_arrays(tmp_path / "found.npz", reference)
    run, measured = reference
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["few"], run.loss[:3], rtol=ROUNDING)
        np.testing.assert_allclose(found["few_measured"], measured[:3], rtol=ROUNDING)
        np.testing.assert_allclose(found["few_weights"], run.parameters.weights[0][:3], atol=ROUNDING)


PROCESSES = """
import sys

import jax
import numpy as np

process = int(sys.argv[4])
jax.distributed.initialize(f"localhost:{sys.argv[3]}", 2, process)
sys.path.insert(0, sys.argv[1])
from test_plan import check_every_seed, train_and_measure

from ntkrobust.runtime.layout import Plan

assert jax.process_count() == 2
run, measured = train_and_measure(5)  # one process has a seed less
for n_seeds in (1, 4):
    check_every_seed(n_seeds, Plan(2, 2))
    check_every_seed(n_seeds, Plan(1, 1, 2))
# Both processes have everything.
np.savez(sys.argv[2] + str(process), *jax.tree.leaves(run.snapshots), loss=run.loss, measured=measured)
"""


def test_two_processes_share_the_seeds_and_have_the_same_numbers(reference, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    finish(*(run_python(PROCESSES, str(tmp_path / "found"), port, str(process)) for process in range(2)))
    for process in range(2):
        assert_same_arrays(tmp_path / f"found{process}.npz", reference)


# --- any function of a seed


def affine(shared, one):
    return {"sum": shared["add"] + one["a"] * one["b"].sum(), "key": jax.random.bits(one["key"])}


def check_every_seed(n_seeds: int, plan: Plan) -> None:
    a, b = np.arange(n_seeds, dtype=np.float32), np.arange(2 * n_seeds, dtype=np.float32).reshape(n_seeds, 2)
    keys = jax.random.split(jax.random.key(0), n_seeds)
    per_seed = {"a": a, "b": b, "key": RawKeys(np.asarray(jax.random.key_data(keys)))}
    found = run_over_seeds(affine, plan, {"add": np.float32(1000)}, per_seed)
    # whole numbers below 2^24: exact
    np.testing.assert_array_equal(found["sum"], 1000 + a * b.sum(axis=1))
    assert isinstance(found["sum"], np.ndarray)
    np.testing.assert_array_equal(found["key"], np.asarray(jax.vmap(jax.random.bits)(keys)))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("streams", [1, 2, 3])
@pytest.mark.parametrize(("group", "chunk"), [(1, 1), (1, 4), (4, 4), (4, 16), (16, 16)])
def test_every_seed_once_and_in_order(group, chunk, streams, exact):
    for n_seeds in (1, 4, 5, 11):
        check_every_seed(n_seeds, Plan(group, chunk, streams, exact=exact))


def accumulate(shared, one):
    return {"total": jax.tree.map(lambda leaf: leaf + one["a"], one["total"]), "seen": shared["factor"] * one["a"]}


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize(("group", "chunk"), [(1, 1), (1, 4), (2, 4), (4, 4), (4, 16)])
@pytest.mark.parametrize("room", [0, 8])
def test_programs_work_in_place(group, chunk, streams, room):
    plan = Plan(group, chunk, streams, room=room)
    for n_seeds in (1, 4, 5, 11):
        a = np.arange(n_seeds, dtype=np.float32)
        total = {"x": a.repeat(64).reshape(n_seeds, 64), "y": 3 * a}
        before = jax.tree.map(np.copy, total)
        one, shared = {"a": a, "total": total}, {"factor": np.float32(2)}
        kept = run_over_seeds(accumulate, plan, shared, one, ("total",))
        # the caller's arrays stay as they are unless they are given up
        jax.tree.map(np.testing.assert_array_equal, total, before)
        results = kept
        for _ in range(2):
            given_up = jax.tree.leaves(results["total"])
            one["total"] = results["total"]
            results = run_over_seeds(accumulate, plan, shared, one, ("total",), ("total",))
        if plan.keeps_on_device(n_seeds):
            assert all(leaf.is_deleted() for leaf in given_up)
        elif len(list(plan.pieces(n_seeds))) > 1:
            assert all(new is old for new, old in zip(jax.tree.leaves(results["total"]), given_up, strict=True))
        np.testing.assert_array_equal(results["seen"], 2 * a)
        np.testing.assert_array_equal(results["total"]["x"], 4 * a.repeat(64).reshape(n_seeds, 64))
        np.testing.assert_array_equal(results["total"]["y"], 6 * a)


@pytest.mark.parametrize(("optimizer", "arrays"), [("gd", 1), ("momentum", 2), ("adam", 3)])
def test_training_holds_parameters_and_memory_once(optimizer, arrays, monkeypatch):
    net = MLP(2, 12, 2, "tanh", "he")
    size = 4 * net.count_parameters(3) * 4
    use_plan(monkeypatch, Plan(4, 4))

    def aliased() -> list[int]:
        ntkrobust.runtime.compiling.PROGRAMS.clear()
        run = train(net, X, Y, seeds=4, steps=2, learning_rate=0.02, record_steps=[1, 2], optimizer=optimizer)
        assert not np.array_equal(run.snapshots[0].weights[0], run.snapshots[1].weights[0])
        return [
            program.memory_analysis().alias_size_in_bytes
            for (function, *_), program in ntkrobust.runtime.compiling.PROGRAMS.items()
            if hasattr(function, "loss")
        ]

    (in_place,) = aliased()
    assert arrays * size <= in_place < arrays * size + 100
    monkeypatch.setattr(
        ntkrobust.finite.training.attempts, "run_over_seeds", lambda *given, **_: run_over_seeds(*given[:4])
    )
    assert aliased() == [0]


@pytest.mark.fast
def test_pieces_share_the_seeds_evenly():
    for group, chunk, side_by_side, devices in itertools.product((1, 4, 16), (16, 64), (1, 2, 3), (1, 2)):
        for n_seeds in (1, 2, 3, 7, 16, 17, 40, 129):
            pieces = Plan(group, chunk * devices, side_by_side, devices).pieces(n_seeds)
            parts = list(pieces)
            assert [index for part in parts for index in range(part.start, part.stop)] == list(range(n_seeds))
            sizes = [part.stop - part.start for part in parts]
            assert max(sizes) <= pieces.size <= pieces.capacity <= chunk * devices
            assert pieces.capacity % (pieces.group * devices) == 0
            assert len(set(sizes[:-1])) <= 1
            # no stream has more than its share, rounded up to whole groups on each device
            rounds = -(-len(parts) // side_by_side)
            assert pieces.size - pieces.group * devices < -(-n_seeds // (rounds * side_by_side))
            assert pieces.streams == (side_by_side if len(parts) > 1 else 1)


def test_programs_are_few():
    plan = Plan(4, 64, 2)
    shapes = {(pieces.group, pieces.capacity) for n_seeds in range(1, 500) for pieces in [plan.pieces(n_seeds)]}
    assert len(shapes) <= 3 * 7
    assert (
        len({(pieces.group, pieces.capacity) for n_seeds in range(64, 500) for pieces in [plan.pieces(n_seeds)]}) <= 9
    )


# --- how a plan is chosen


@pytest.mark.fast
def test_plans(monkeypatch):
    monkeypatch.setattr(ntkrobust.runtime.layout, "side_by_side", lambda: 2)
    devices = jax.local_device_count()
    for net in (MLP(2, 16), MLP(2, 4096), MLP(8, 1024), MLP(3, 30_000)):
        for points in (10, 100_000):
            plan = choose_plan(net, 784, points)
            assert plan.devices == devices
            assert plan.chunk % (devices * plan.group) == 0
            assert plan.chunk <= MAX_CHUNK * devices
    # what does not fit shrinks the chunk
    assert choose_plan(MLP(3, 30_000), 784, 10).chunk == devices
    if jax.default_backend() == "cpu" and devices == 1:
        # narrow networks share products, wide ones fill the cores
        assert [choose_plan(MLP(4, m), 64, 256).group for m in (4, 16, 64, 256)] == [32, 8, 2, 1]
        assert [choose_plan(MLP(4, m), 64, 256).streams for m in (16, 512, 1024)] == [2, 2, 1]
        assert [choose_plan(MLP(4, m), 64, 256).exact for m in (512, 4096)] == [False, True]


def test_programs_run_side_by_side_on_cpus_only(monkeypatch):
    monkeypatch.setattr(accelerated, "cores", lambda: 3)
    for backend, expected in (("cpu", 3), ("gpu", 1)):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert accelerated.side_by_side() == expected


THREADS = """
import json, os, sys
from pathlib import Path
import jax
if sys.argv[1] == "late":
    jax.random.key(0)
import ntkrobust as ntr
import numpy as np

def threads():
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return names.count("tf_XLAEigen")

jax.numpy.zeros(3).block_until_ready()
before = threads()
run = ntr.train(ntr.MLP(2, 16), np.eye(4), np.ones(4), seeds=8, steps=3, learning_rate=0.1)
from ntkrobust.runtime.accelerated import side_by_side
print(json.dumps([before, threads(), side_by_side(), run.plan, os.environ.get("PJRT_NPROC")]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system doesn't list threads")
@pytest.mark.parametrize(("when", "pool"), [("early", None), ("late", None), ("early", "5")])
def test_each_stream_has_one_thread_of_its_own(when, pool):
    """Whatever was computed before, and however many threads the user gives to everything else."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PJRT_NPROC", "NPROC", "XLA_FLAGS")
    }
    done = subprocess.run(
        [sys.executable, "-c", THREADS, when], check=True, capture_output=True, text=True,
        env=environment | {"JAX_PLATFORMS": "cpu"} | ({"PJRT_NPROC": pool} if pool else {}),
    )  # fmt: skip
    before, after, programs, plan, left = json.loads(done.stdout)
    assert programs == cores()
    assert before == int(pool or cores())
    assert left == pool
    if programs > 1:
        assert f"{programs} stream(s)" in plan
        assert after == before + programs


def scaled(shared: jax.Array, one: dict) -> dict:
    return {"y": jnp.tanh(one["x"] @ shared).sum()}


def printed(shared: jax.Array, one: dict) -> dict:
    jax.debug.callback(SEEN.append, one["x"][0, 0])
    return scaled(shared, one)


SEEN: list = []


@pytest.mark.skipif(jax.default_backend() != "cpu" or jax.local_device_count() > 1, reason="no streams there")
def test_streams_compute_the_same_to_the_bit(monkeypatch):
    monkeypatch.setattr(accelerated, "cores", lambda: 2)
    x = np.random.default_rng(0).standard_normal((8, 5, 7)).astype(np.float32)
    shared = np.random.default_rng(1).standard_normal((7, 3)).astype(np.float32)
    alone = run_over_seeds(scaled, Plan(2, 2), shared, {"x": x})
    # seeds in the other order: each is on the other stream then
    for function in (scaled, printed):
        SEEN.clear()
        there = run_over_seeds(function, Plan(2, 2, 2), shared, {"x": x})
        back = run_over_seeds(function, Plan(2, 2, 2), shared, {"x": x[::-1].copy()})
        np.testing.assert_array_equal(there["y"], back["y"][::-1])
        np.testing.assert_array_equal(there["y"], alone["y"])
        jax.effects_barrier()
        # what calls back into Python is compiled for each stream instead of being carried over
        assert len(SEEN) == (0 if function is scaled else 16)
    programs = {signature[0]: len(program) for signature, program in PROGRAMS.items() if signature[2][2] > 1}
    assert programs[printed] == 2


@pytest.mark.skipif(jax.default_backend() != "cpu" or jax.local_device_count() > 1, reason="no streams there")
def test_streams_know_about_float64():
    x = np.random.default_rng(0).standard_normal((4, 5, 7))
    with jax.enable_x64(True):
        found = run_over_seeds(scaled, Plan(2, 2, 2), np.eye(7), {"x": x})["y"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.tanh(x).sum(axis=(1, 2)), rtol=1e-14)


@pytest.mark.parametrize("side_by_side", [1, 2, 3])
@pytest.mark.parametrize("n_seeds", [1, 5])
def test_several_times_in_one_go(side_by_side, n_seeds):
    shared = np.eye(7, dtype=np.float32)
    at_times = [
        {"x": np.random.default_rng(time).standard_normal((n_seeds, 5, 7)).astype(np.float32)} for time in range(4)
    ]
    for times in (1, 2, 3, 4):
        together = run_over_times(scaled, Plan(2, 2, side_by_side), shared, at_times[:times])
        assert len(together) == times
        for found, one in zip(together, at_times, strict=False):
            np.testing.assert_allclose(found["y"], np.tanh(one["x"]).sum(axis=(1, 2)), rtol=1e-5)


def failing(shared: jax.Array, one: dict) -> dict:
    def fail(_: np.ndarray) -> np.ndarray:
        raise ValueError("broken on purpose")

    return {"y": jax.pure_callback(fail, jax.ShapeDtypeStruct((), jnp.float32), one["x"][0, 0])}


def test_what_fails_on_a_stream_is_raised_and_leaves_the_others_free():
    x = np.ones((4, 5, 7), np.float32)
    for _ in range(2):
        with pytest.raises(Exception, match="broken on purpose"):
            run_over_seeds(failing, Plan(1, 1, 2), np.eye(7, dtype=np.float32), {"x": x})
    assert run_over_seeds(scaled, Plan(1, 1, 2), np.eye(7, dtype=np.float32), {"x": x})["y"].shape == (4,)


class OnAnyStream:
    """A program that is its stream's number."""

    def make_ready(self, streams: int) -> None:
        pass

    def on(self, stream: int) -> int:
        return stream


# 40: more streams than there are threads for
@pytest.mark.fast
@pytest.mark.parametrize("streams", [1, 2, 3, 40])
def test_every_task_is_done_once_by_threads_that_are_kept(streams):
    number, done = 0, []
    for _ in range(5):
        done.clear()
        over_streams(lambda *task_and_stream: done.append(task_and_stream), list(range(50)), OnAnyStream(), streams)
        assert sorted(task for task, _ in done) == list(range(50))
        assert {stream for _, stream in done} <= set(range(streams))
        number = number or threading.active_count()
        assert threading.active_count() <= number + cores()


@pytest.mark.parametrize("broken", [0, 1])
def test_where_one_stream_fails_the_others_begin_nothing_more(broken):
    both = threading.Barrier(2)
    done: list = []

    def run(task: int, stream: int) -> None:
        if task < 2:
            both.wait(timeout=60)
        if stream == broken:
            raise queue.Empty
        time.sleep(0.2)
        done.append(task)

    with pytest.raises(queue.Empty):
        over_streams(run, list(range(50)), OnAnyStream(), 2)
    assert len(done) == 1


def test_a_function_is_traced_once():
    traced = []

    def counted(shared: jax.Array, one: dict) -> dict:
        traced.append(one)
        return scaled(shared, one)

    run_over_seeds(counted, Plan(2, 8), np.eye(7, dtype=np.float32), {"x": np.ones((8, 5, 7), np.float32)})
    assert len(traced) == 1


@pytest.mark.skipif(jax.default_backend() != "cpu" or jax.local_device_count() > 1, reason="no streams there")
def test_programs_that_come_from_the_compilation_cache_run_on_all_streams(tmp_path):
    """XLA writes such a program out without its code: carried over it would fail."""
    done = subprocess.run(
        [sys.executable, "-c", FROM_CACHE, str(tmp_path)], check=True, capture_output=True, text=True,
        env=dict(os.environ) | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    hits, *losses = json.loads(done.stdout)
    assert hits > 0
    assert losses[0] == losses[1]


FROM_CACHE = """
import json, sys
import jax
import numpy as np
for name, value in (
    ("jax_compilation_cache_dir", sys.argv[1]),
    ("jax_persistent_cache_min_compile_time_secs", 0),
    ("jax_persistent_cache_min_entry_size_bytes", -1),
):
    jax.config.update(name, value)
import ntkrobust as ntr
from ntkrobust.runtime import accelerated
from ntkrobust.runtime.compiling import PROGRAMS
accelerated.cores = lambda: 2
x = np.linspace(-1, 1, 30).reshape(10, 3)
losses = []
for _ in range(2):
    hits = accelerated.CACHE_EVENTS.found().hits
    losses.append(ntr.train(ntr.MLP(2, 16), x, x[:, 0], seeds=8, steps=3, learning_rate=0.01).loss.tolist())
    hits = accelerated.CACHE_EVENTS.found().hits - hits
    PROGRAMS.clear()
    jax.clear_caches()
print(json.dumps([hits, *losses]))
"""
