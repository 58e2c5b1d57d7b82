"""Programs are kept, shared between threads, and let go."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.stages import Compiled

from ntkrobust.runtime import machine, programs
from ntkrobust.runtime.compiling import PROGRAMS
from ntkrobust.runtime.core_clients import StreamProgram
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.programs import Programs


def test_the_programs_used_last_are_kept() -> None:
    programs, compiled = Programs(most=2), []

    def find(name: str) -> str:
        def compile_it():
            compiled.append(name)
            return lambda: name

        return programs.find(name, compile_it)()

    assert [find(name) for name in "abab"] == list("abab")
    assert compiled == ["a", "b"]
    find("a")
    find("c")  # b is the one not used for longest
    assert list(programs) == ["a", "c"]
    find("b")
    assert compiled == ["a", "b", "c", "b"]
    assert len(programs) == 2
    programs.clear()
    assert not len(programs)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="streams are on CPUs only")
def test_a_program_counts_once_for_each_stream_that_has_it() -> None:
    programs = Programs(most=4)

    def compiled_for(device: jax.Device) -> Compiled:
        place = jax.sharding.SingleDeviceSharding(device)
        return jax.jit(jnp.negative).lower(jax.ShapeDtypeStruct((), jnp.float32, sharding=place)).compile()

    def on_streams() -> StreamProgram:
        return StreamProgram(compiled_for)

    for name in "abc":
        programs.find(name, on_streams)
    for name in "bc":
        for stream in range(2):
            assert programs.find(name, on_streams).on(stream)(np.float32(0.5)) == -0.5
    assert [len(program) for _, program in programs.items()] == [1, 2, 2]  # five: looked at when there is a new one
    programs.find("d", on_streams)  # copies go first, of what was not used for longest
    assert {name: len(program) for name, program in programs.items()} == {"a": 1, "b": 1, "c": 1, "d": 1}
    programs.find("e", on_streams)
    assert list(programs) == ["b", "c", "d", "e"]
    assert programs.find("b", on_streams).on(1)(np.float32(0.5)) == -0.5


def test_threads_that_want_one_program_compile_it_once() -> None:
    programs, compiled = Programs(), []
    together = threading.Barrier(4)

    def compile_it():
        time.sleep(0.1)
        compiled.append(1)
        return lambda: "found"

    def find(_: int) -> str:
        together.wait()
        return programs.find("one", compile_it)()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(find, range(4))) == ["found"] * 4
    assert compiled == [1]


def test_what_does_not_compile_can_be_tried_again() -> None:
    programs = Programs()

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        programs.find("one", fail)
    assert not len(programs)
    assert programs.find("one", lambda: lambda: 1)() == 1


on_linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are listed on Linux only")


def held() -> int:
    return len(Path("/proc/self/maps").read_text(encoding="ascii").splitlines())


def compile_one(size: int) -> None:
    run_over_seeds(of_size, Plan(1, 1), np.zeros(size, np.float32), {"x": np.ones((1, size), np.float32)})


@on_linux
def test_mappings_are_counted() -> None:
    found, allowed = machine.mappings()
    assert abs(found - held()) <= 5
    assert allowed == int(Path("/proc/sys/vm/max_map_count").read_text(encoding="ascii"))


@on_linux
def test_programs_let_go_give_their_mappings_back() -> None:
    compile_one(2)
    before, kept = held(), len(PROGRAMS)
    for size in range(3, 23):
        compile_one(size)
    taken = held() - before
    assert len(PROGRAMS) == kept + 20
    assert taken >= 20
    PROGRAMS.clear()
    jax.clear_caches()
    assert held() - before < taken / 2


@on_linux
@pytest.mark.parametrize("is_known", [True, False])
def test_programs_take_half_of_the_mappings_at_most(is_known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    PROGRAMS.clear()
    compile_one(2)
    before, most = held(), 0
    compile_one(3)
    each = held() - before
    # Room for a dozen programs, of the half that is for them: what is beside them counts, too.
    allowed = 2 * (before + 12 * each)
    monkeypatch.setattr(programs, "mappings", lambda: (held(), allowed) if is_known else (0, 0))
    for size in range(4, 34):
        compile_one(size)
        most = max(most, held())
    jax.clear_caches()
    assert (most < allowed / 2 + 4 * each) is is_known
    assert (len(PROGRAMS) < 20) is is_known


def of_size(shared: jax.Array, one: dict) -> jax.Array:
    return jnp.sin(shared + one["x"]) @ one["x"]
