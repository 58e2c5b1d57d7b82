"""The adapter itself: what importing it costs, what it leaves behind, and what it says when something can't work."""

import json
import re
import sys
from pathlib import Path

import neural_tangents_reference as reference
import pytest

import ntkrobust.kernels

SNAPSHOT = """
import sys

def public():
    return {n: m for n, m in sys.modules.items() if n.split(".")[0] == "jax" and "._" not in n}

def snapshot():
    "Every name in every public module of jax, and what it is bound to."
    return {n: {k: id(v) for k, v in vars(m).items()} for n, m in public().items()}

def imported(name):
    "Whether a module was found and loaded from a file, as JAX does with some of its own on first use."
    return getattr(getattr(sys.modules.get(name), "__spec__", None), "origin", None) is not None

def differences(before):
    found = [n for n in before if n not in public()]
    for n, names in snapshot().items():
        if n not in before and not imported(n):
            found.append(n)
        old = before.get(n, names)
        found += [f"{n}.{k}" for k in old.keys() | names.keys()
                  if old.get(k) != names.get(k) and not (k not in old and imported(f"{n}.{k}"))]
    return sorted(found)
"""
USE = """
import jax, jax.numpy as jnp
x, y = jax.random.normal(jax.random.key(0), (4, 3)), jnp.ones((4, 1))
init_fn, f, kernel_fn = nt.stax.serial(nt.stax.Dense(8), nt.stax.Relu(), nt.stax.Dense(1))
p = init_fn(jax.random.key(1), x.shape)[1]
for i in (1, 3):
    assert nt.empirical_ntk_fn(f, implementation=i)(x, None, p).shape == (4, 4)
assert nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y, diag_reg=1e-3)(1.0, x, "ntk").shape == (4, 1)
assert nt.predict.max_learning_rate(kernel_fn(x, None, "ntk")) > 0
"""
# What neural-tangents imports of jax by itself, in plain import statements; to import is not to leave something behind.
PLAIN_IMPORTS = """
import jax, jax.example_libraries.stax, jax.experimental.ode, jax.extend.core, jax.extend.linear_util
import jax.extend.source_info_util, jax.interpreters.ad, jax.scipy
"""


def test_public_jax_modules_are_the_same_before_and_after():
    code = f"""
{PLAIN_IMPORTS}
{SNAPSHOT}
before = snapshot()
assert sum(map(len, before.values())) > 2000
from ntkrobust.kernels import neural_tangents as nt
{USE}
print(differences(before))
"""
    assert reference.run_python(code, "-Werror").strip() == "[]"


def test_the_snapshot_notices_leftovers():
    code = f"""
import types
{PLAIN_IMPORTS}
{SNAPSHOT}
before = snapshot()
jax.core.Jaxpr = jax.extend.core.Jaxpr
jax.interpreters.ad.zeros_like_p = object()
sys.modules["jax.util"] = types.ModuleType("jax.util")
jax.core.eval_context = jax.ensure_compile_time_eval
print(" ".join(differences(before)))
"""
    found = reference.run_python(code).split()
    assert {"jax.core.Jaxpr", "jax.core.eval_context", "jax.interpreters.ad.zeros_like_p", "jax.util"} == set(found)


def test_nothing_else_in_the_interpreter_changes():
    """Finders, builtins and the import function are what they were; only modules that were imported are new."""
    code = """
import builtins, sys
import ntkrobust.kernels._neural_tangents
before = list(sys.meta_path), builtins.__import__, list(sys.path_hooks), list(sys.path)
from ntkrobust.kernels import neural_tangents
assert before == (list(sys.meta_path), builtins.__import__, list(sys.path_hooks), list(sys.path))
assert type(sys.modules["jax"]) is type(sys.modules["jax.numpy"]) is type(sys)
"""
    reference.run_python(code, "-Werror")


def test_import_is_quick_and_without_tensorflow():
    code = """
import sys, time
import jax, jax.numpy, jax.scipy, jax.experimental.ode, jax.example_libraries.stax, scipy.linalg
start = time.process_time()
import ntkrobust.kernels
assert not any(name.split(".")[0] == "neural_tangents" for name in sys.modules)
lazily = time.process_time() - start
from ntkrobust.kernels import neural_tangents, stax
assert not any(name.split(".")[0] in ("tensorflow", "tf2jax", "keras") for name in sys.modules)
print(lazily, time.process_time() - start)
"""
    lazily, whole = map(float, reference.run_python(code, "-Werror").split())
    assert lazily < 0.1
    assert whole < 1.0


def test_other_imports_give_the_adapted_module():
    code = """
from ntkrobust.kernels import neural_tangents as nt
import neural_tangents, neural_tangents.predict
from neural_tangents import stax
from neural_tangents._src import empirical
assert neural_tangents is nt and stax is nt.stax and neural_tangents.predict is nt.predict
from ntkrobust import kernels
assert kernels.neural_tangents is nt
import importlib, inspect, pickle
assert "def Dense" in inspect.getsource(nt.stax.Dense)
assert pickle.loads(pickle.dumps(nt.NtkImplementation.AUTO)) is nt.NtkImplementation.AUTO
assert importlib.reload(nt) is nt
"""
    reference.run_python(code, "-Werror")


def test_an_earlier_failed_import_is_cleared_away():
    code = f"""
import sys
try:
    import neural_tangents
except ImportError:
    left = [name for name in sys.modules if name.startswith("neural_tangents")]
    assert left, "this JAX leaves nothing behind"
else:
    raise AssertionError("neural-tangents works by itself here")
from ntkrobust.kernels import neural_tangents as nt
{USE}
"""
    reference.run_python(code)


def test_an_earlier_import_with_names_put_on_jax_keeps_working():
    """Users who patch jax themselves get their module back, with the rest adapted in place."""
    code = f"""
import sys, types
import jax, jax.extend.core, jax.interpreters.ad
for name in ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var"):
    setattr(jax.core, name, getattr(jax.extend.core, name))
jax.interpreters.ad.zeros_like_p = jax.extend.core.Primitive("zeros_like")
util = sys.modules["jax.util"] = types.ModuleType("jax.util")
util.safe_map = lambda f, *a: list(map(f, *a))
util.safe_zip = lambda *a: list(zip(*a))
sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
import neural_tangents as theirs
kernel_type = theirs.Kernel
from ntkrobust.kernels import adapter_state, neural_tangents as nt
assert nt is theirs and nt.Kernel is kernel_type
{USE}
assert adapter_state()["imported_by"] == "other code"
"""
    reference.run_python(code)


def test_what_needs_tensorflow_says_so():
    code = """
from ntkrobust.kernels import neural_tangents as nt
def use():
    return nt.experimental.empirical_ntk_fn_tf
def name_from():
    from neural_tangents.experimental import get_apply_fn_and_params
def deep():
    from neural_tangents.experimental.empirical_tf.empirical import empirical_ntk_fn_tf
for attempt in (use, name_from, deep):
    try:
        attempt()
    except ImportError as error:
        print(error)
"""
    lines = reference.run_python(code).splitlines()
    assert len(lines) == 3
    assert all("TensorFlow" in line and "neural_tangents.empirical_ntk_fn computes" in line for line in lines)


def test_neural_tangents_missing_is_one_sentence():
    code = """
import sys
sys.modules["neural_tangents"] = None  # as if it were not installed
from ntkrobust.kernels import adapter_state
state = adapter_state()
assert not state["works"] and state["neural_tangents"] is None
print(state["problem"])
try:
    from ntkrobust.kernels import neural_tangents
except ImportError as error:
    print(error)
"""
    lines = reference.run_python(code).splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0].startswith("neural_tangents can't be imported: 'pip install")


def test_two_threads_get_one_module():
    code = """
from concurrent.futures import ThreadPoolExecutor
from ntkrobust.kernels._neural_tangents import load
with ThreadPoolExecutor(4) as pool:
    modules = list(pool.map(lambda _: load(), range(4)))
assert len(set(map(id, modules))) == 1
"""
    reference.run_python(code)


def test_adapter_state_is_plain_data():
    state = ntkrobust.kernels.adapter_state()
    assert json.loads(json.dumps(state)) == state
    assert state["works"]
    assert state["problem"] is None
    assert state["neural_tangents"] == sys.modules["neural_tangents"].__version__
    assert state["left_out"] == [
        f"neural_tangents.experimental{rest}" for rest in ("", ".empirical_tf", ".empirical_tf.empirical")
    ]
    assert len(state["adapted"]) >= 5


def test_examples_of_the_documentation():
    page = (Path(__file__).parents[1] / "docs" / "neural-tangents.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    check = "import numpy; numpy.testing.assert_allclose(finite_ntk, ntk, atol=0.3 * numpy.max(ntk))"
    reference.run_python("\n".join([*examples, check]), "-Werror")


def test_names_that_do_not_exist():
    with pytest.raises(AttributeError, match="no attribute 'neural_tangent'"):
        _ = ntkrobust.kernels.neural_tangent
    assert {"neural_tangents", "stax", "adapter_state"} <= set(dir(ntkrobust.kernels))
