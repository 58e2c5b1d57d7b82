"""What leans on private parts of JAX is taken away, one by one and altogether: slower, the same numbers, and named."""

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkrobust
from ntkrobust import MLP, Adversary, InputError, measure, train
from ntkrobust.runtime import accelerated, random_normals
from ntkrobust.runtime.accelerated import ACCELERATORS, CACHE_EVENTS, CARRYING, CORE_CLIENTS, PLAIN, THREEFRY_FROM
from ntkrobust.runtime.compiling import PROGRAMS
from ntkrobust.runtime.core_clients import CoreExecutor
from ntkrobust.runtime.executor import executor
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.plain import PlainExecutor
from ntkrobust.runtime.random_normals import BLOCK, normals
from ntkrobust.runtime.seeds import RawKeys, seed_keys, typed_keys
from ntkrobust.workflows.doctor import _normals

COMPILES_ANEW = True
OPTIMIZED = True

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu" or jax.local_device_count() > 1, reason="no streams there")

X = np.linspace(-1.2, 1.4, 24).reshape(8, 3)
Y = np.sign(np.sin(3 * X[:, :1]))
NET = MLP(2, 12, 1, "tanh", "he")
# Another layout adds products up in another order: some dozen roundings of 6e-8 in each of 5 small steps.
ROUNDING = 1e-5


def core(attacked: bool = False) -> dict[str, np.ndarray]:
    """Networks that are drawn, trained and measured, and attacked at every step if asked for: more to compile."""
    run = train(NET, X, Y, seeds=5, steps=5, learning_rate=0.02, record_steps=[5])
    found = {
        "drawn": run.initial_parameters().weights[0],
        "trained": run.parameters.weights[0],
        "measured": measure(run, X, ["jacobian_frobenius"]).jacobian_frobenius.to_numpy(),
    }
    if attacked:
        against = train(NET, X, Y, seeds=5, steps=3, learning_rate=0.02, adversary=Adversary(0.1, steps=2))
        found["attacked"] = against.parameters.weights[0]
    return found


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rounding: float = 0.0) -> None:
    np.testing.assert_array_equal(found["drawn"], expected["drawn"])
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=rounding, atol=rounding, err_msg=name)


def look_again() -> None:
    for accelerator in ACCELERATORS:
        accelerator.forget()
    PROGRAMS.clear()


@pytest.fixture(scope="module")
def reference() -> Iterator[dict[str, np.ndarray]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerated, "cores", lambda: 2)
        yield core(attacked=True)


@pytest.fixture
def looked_at_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two cores, whose accelerators are looked for once more, and again afterwards."""
    monkeypatch.setattr(accelerated, "cores", lambda: 2)
    look_again()
    yield
    look_again()


class Unwritable(dict):
    def __setitem__(self, name: str, value: str) -> None:
        if name.startswith("PJRT"):
            raise PermissionError("the environment is read-only")
        super().__setitem__(name, value)


TAKEN_AWAY: dict[str, tuple[accelerated.Accelerator, Callable[[pytest.MonkeyPatch], None]]] = {
    "make_cpu_client": (CORE_CLIENTS, lambda patch: patch.delattr("jaxlib.xla_client.make_cpu_client")),
    "os.environ": (CORE_CLIENTS, lambda patch: patch.setattr(os, "environ", Unwritable(os.environ))),
    "PJRT_NPROC": (CORE_CLIENTS, lambda patch: patch.setattr(accelerated, "POOL_SIZE", "PJRT_OF_ANOTHER_NAME")),
    "serialize_executable": (
        CARRYING, lambda patch: patch.setitem(sys.modules, "jax.experimental.serialize_executable", None)
    ),
    "register_event_listener": (CACHE_EVENTS, lambda patch: patch.delattr(jax.monitoring, "register_event_listener")),
    "jax.extend.random": (THREEFRY_FROM, lambda patch: patch.setitem(sys.modules, "jax.extend.random", None)),
    "threefry_2x32": (THREEFRY_FROM, lambda patch: patch.delattr("jax.extend.random.threefry_2x32")),
}  # fmt: skip


@on_cpu
@pytest.mark.parametrize("name", TAKEN_AWAY)
def test_without_one_everything_works_and_it_is_named(
    name: str, reference: dict[str, np.ndarray], looked_at_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator, take_away = TAKEN_AWAY[name]
    if name == "PJRT_NPROC" and (os.cpu_count() == 1 or not Path("/proc/self/task").is_dir()):
        pytest.skip("threads of a client can't be told from those of all others")
    take_away(monkeypatch)
    # With all other cores' clients the layout is the same, and so are the numbers, to the bit.
    assert_same(core(), reference, ROUNDING if accelerator is CORE_CLIENTS else 0.0)
    (line,) = accelerated.missing()
    assert line.startswith(f"{accelerator.name}: missing (")
    assert accelerator.cost in line
    assert "\n" not in line
    assert type(executor()) is (PlainExecutor if accelerator is CORE_CLIENTS else CoreExecutor)


@on_cpu
def test_with_all_nothing_is_missing(looked_at_again: None) -> None:
    assert accelerated.missing() == []
    assert isinstance(executor(), CoreExecutor)


@on_cpu
def test_plain_if_the_user_says_so(
    reference: dict[str, np.ndarray], looked_at_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLAIN, "1")
    assert_same(core(), reference, ROUNDING)
    assert [line.partition(";")[0] for line in accelerated.missing()] == [
        f"{one.name}: missing (turned off by {PLAIN}=1" for one in (CORE_CLIENTS, THREEFRY_FROM)
    ]
    look_again()
    monkeypatch.setenv(PLAIN, "yes")
    with pytest.raises(InputError, match=f"{PLAIN} must be 0 or 1, got 'yes'"):
        core()


ALL_AT_ONCE = """
import json, os, sys
import jax

jax.devices()  # JAX makes its own client by one of the names
import jaxlib.xla_client
del jaxlib.xla_client.make_cpu_client, jax.monitoring.register_event_listener
for name in ("jax.experimental.serialize_executable", "jax.extend.random", "jax.experimental.multihost_utils"):
    sys.modules[name] = None

sys.path.insert(0, sys.argv[1])
from ntkrobust.runtime import accelerated
from test_runtime import core
from ntkrobust.workflows.doctor import examine_machine
accelerated.cores = lambda: 2
found = {name: value.tolist() for name, value in core(attacked=True).items()}
print(json.dumps([found, examine_machine()["accelerators"].splitlines()]))
"""


@on_cpu
def test_without_all_of_them_from_the_start(reference: dict[str, np.ndarray]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALL_AT_ONCE, str(Path(__file__).parent)], capture_output=True, text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, named = json.loads(done.stdout)
    assert found.keys() == reference.keys()
    assert_same({name: np.array(value, np.float32) for name, value in found.items()}, reference, ROUNDING)
    assert [line.partition(": ")[0] for line in named] == [CORE_CLIENTS.name, THREEFRY_FROM.name]


# --- draws


@pytest.mark.parametrize("shape", [(1,), (7, 3), (BLOCK,), (BLOCK + 1,), (9, 1000)])
def test_normals_are_those_of_jax_without_positions(
    shape: tuple[int, ...], looked_at_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = seed_keys(jax.random.key(7), (0, 3, 4))
    wanted = jax.vmap(lambda key: jax.random.normal(key, shape))(typed_keys(keys))
    monkeypatch.setitem(sys.modules, "jax.extend.random", None)
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(normals(keys, *shape), wanted)
    assert THREEFRY_FROM.why_not is not None


@pytest.mark.fast
def test_sizes_that_have_programs_are_few_and_waste_little() -> None:
    sizes = range(1, 2**15)
    drawn = [random_normals._size_from(size) for size in sizes]
    assert all(size <= more < max(size + BLOCK, 1.13 * size) for size, more in zip(sizes, drawn, strict=True))
    assert len(set(drawn)) <= 1 + random_normals.SIZES * (15 - 9)


@on_cpu
def test_a_form_that_draws_other_numbers_is_caught(
    reference: dict[str, np.ndarray], looked_at_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_partitionable(_: dict, key: jax.Array) -> jax.Array:
        with jax.threefry_partitionable(False):
            return jax.random.normal(key, (1024,), dtype=jnp.float32)

    assert _normals().passed
    monkeypatch.setitem(sys.modules, "jax.extend.random", None)
    THREEFRY_FROM.forget()
    assert _normals().passed
    monkeypatch.setattr(random_normals, "_FromZero", lambda _: not_partitionable)
    monkeypatch.setattr(random_normals, "_size_from", lambda _: 1024)
    assert not _normals().passed
    with pytest.raises(AssertionError):
        assert_same(core(), reference, ROUNDING)


# --- executors


def wave(shared: jax.Array, one: dict) -> dict:
    return {"y": jnp.tanh(one["x"] @ shared), "bits": jax.random.bits(one["key"])}


@pytest.mark.fast
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("make", [PlainExecutor, pytest.param(CoreExecutor, marks=on_cpu)])
def test_what_runs_is_jit_of_map(make: type, group: int) -> None:
    rng = np.random.default_rng(0)
    x, shared = rng.standard_normal((6, 5, 7)).astype(np.float32), rng.standard_normal((7, 3)).astype(np.float32)
    keys = seed_keys(jax.random.key(1), tuple(range(6)))
    plan = Plan(group, 2, streams=2)
    (found,) = make().over_times(wave, plan, shared, [{"x": x, "key": keys}])
    of_one = functools.partial(wave, shared)
    wanted = jax.jit(lambda given: jax.lax.map(of_one, given, batch_size=group))({"x": x, "key": typed_keys(keys)})
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    jax.tree.map(np.testing.assert_array_equal, found["bits"], np.asarray(wanted["bits"]))
    (other,) = make().over_times(wave, plan, shared, [{"x": x[::-1].copy(), "key": RawKeys(keys.data[::-1].copy())}])
    assert (other["y"] != found["y"]).any()


def test_whether_a_program_came_from_the_cache_is_never_guessed(
    tmp_path: Path, looked_at_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiles(*events: str) -> Callable[[], str]:
        def make() -> str:
            for event in events:
                jax.monitoring.record_event(f"/jax/compilation_cache/{event}")
            return "program"

        return make

    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        assert accelerated.compiled_or_read(compiles()) == ("program", True)
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        asked = "compile_requests_use_cache"
        assert accelerated.compiled_or_read(compiles(asked, "cache_misses")) == ("program", True)
        assert accelerated.compiled_or_read(compiles(asked, "cache_hits")) == ("program", False)
        # events by other names, or none
        assert accelerated.compiled_or_read(compiles("asked", "found")) == ("program", False)
        CACHE_EVENTS.forget()
        monkeypatch.delattr(jax.monitoring, "register_event_listener")
        assert accelerated.compiled_or_read(compiles(asked, "cache_misses")) == ("program", False)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


# --- private names are in one file


PRIVATE = ("jaxlib", "jax._src", "jax.extend", "jax.experimental", "jax.monitoring", "jax.interpreters", "jax.lib")
PACKAGE = Path(ntkrobust.__file__).parent


def private_names(source: str) -> list[str]:
    """Names of JAX that are not its public API, and variables of the environment that XLA reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value.startswith(("PJRT_", "XLA_")) else []
            found += names
        else:
            continue
        found += [name for name in names if any(name == of or name.startswith(f"{of}.") for of in PRIVATE)]
    return found


def test_private_names_are_in_one_file() -> None:
    using = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        # what makes neural-tangents work on a JAX that it was not written for
        if "_neural_tangents" not in path.parts and private_names(path.read_text(encoding="utf-8"))
    }
    assert using == {str(Path("runtime", "accelerated.py"))}


@pytest.mark.parametrize(
    "line",
    [
        "from jax._src import prng",
        "import jaxlib",
        "from jaxlib import xla_client",
        "from jax.experimental.serialize_executable import serialize",
        "from jax import monitoring",
        "jax.monitoring.record_event('x')",
        "import os\nos.environ['PJRT_NPROC'] = '1'",
    ],
)
def test_a_private_name_is_noticed(line: str) -> None:
    assert private_names(line)
    assert not private_names("import jax\njax.random.normal\n'jaxlib'")
