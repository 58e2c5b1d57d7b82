"""The rooms of the package, and the direction in which they may import."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fast import FAST

PACKAGE = Path(__file__).parents[1] / "ntkrobust"
MODULE = re.compile(r"ntkrobust(\.\w+)+")

# From the bottom up: a module imports only from its own room or from rooms before it.
LAYERS = (
    ("errors", "checks", "values"),
    ("numerics",),
    ("runtime",),
    ("files",),
    ("norms", "domain", "adversary"),
    ("networks",),
    ("data",),
    ("kernels",),
    ("finite.arrays", "finite.representable", "finite.differences"),
    ("finite.attacks.balls",),
    ("finite.training",),
    ("finite.attacks",),
    ("finite.certificates",),
    ("finite.measures",),
    ("bounds.formulas",),
    ("bounds.claims",),
    ("bounds.papers",),
    ("bounds.statistics",),
    ("bounds.verdicts",),
    ("studies",),
    ("reports",),
    ("plots",),
    ("workflows",),
    ("cli",),
)
# Rooms that do not know of each other, although the order alone would allow it.
STRANGERS = {
    "finite": ("kernels",),
    "bounds.formulas": ("finite", "kernels", "data"),
    "bounds.claims": ("finite", "kernels", "data"),
    "bounds.papers": ("finite", "kernels", "data"),
    "bounds.statistics": ("finite", "kernels", "data", "bounds.claims", "bounds.papers", "bounds.formulas"),
    "bounds.verdicts": ("finite", "kernels", "data", "bounds.papers"),
    "reports": ("finite", "kernels", "data", "bounds", "studies"),
    "plots": ("finite", "kernels", "data", "studies"),
}
FREE = ("__init__", "__main__", "finite", "bounds")


def layer_of(module: str) -> int:
    for index, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return index
    raise AssertionError(f"{module} has no place among the layers")


@functools.cache
def imports_of(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            # `from ntkrobust.finite import measures` names a module, `from ntkrobust.errors import InputError` doesn't
            for alias in node.names:
                full = f"{module}.{alias.name}"
                place = PACKAGE.parent / Path(*full.split("."))
                found.append(full if place.is_dir() or place.with_suffix(".py").exists() else module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            # A name in a string is imported by importlib, if by anything.
            place = PACKAGE.parent / Path(*node.value.split("."))
            found += [node.value] * (place.is_dir() or place.with_suffix(".py").exists())
    return [name.removeprefix("ntkrobust.") for name in found if name.startswith("ntkrobust.")]


def modules() -> dict[str, str]:
    """Module name without the package → source."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def wrong_imports(sources: dict[str, str]) -> list[str]:
    wrong = []
    for module, source in sources.items():
        if module in FREE:
            continue
        for imported in imports_of(source):
            forbidden = next((names for room, names in STRANGERS.items() if _within(module, room)), ())
            if layer_of(imported) > layer_of(module) or any(_within(imported, name) for name in forbidden):
                wrong.append(f"{module} imports {imported}")
    return wrong


def _within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def rooms_without(sources: dict[str, str]) -> list[str]:
    """Rooms that no fast test imports from."""
    imported = {
        module
        for name, source in sources.items()
        if name in FAST or "pytest.mark.fast" in source
        for module in imports_of(source)
    }
    return [names[0] for names in LAYERS if not any(_within(one, name) for one in imported for name in names)]


def test_every_room_has_fast_tests() -> None:
    sources = {path.stem: path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py")}
    assert sources.keys() >= FAST
    assert rooms_without(sources) == []
    assert "cli" in rooms_without({"test_data": sources["test_data"]})


def test_modules_import_only_from_layers_before_theirs() -> None:
    assert wrong_imports(modules()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("finite.training.train", "from ntkrobust.bounds.claims import Claim"),
        ("bounds.claims.claim", "from ntkrobust.finite import measures"),
        ("reports.page", "from ntkrobust.bounds.verdicts import Verdict"),
        ("networks.network", "import ntkrobust.finite.training.run"),
        ("finite.training.train", "from ntkrobust.kernels import recursion"),
        ("bounds.verdicts.types", "def show():\n    from ntkrobust.workflows.verify import verdict_html"),
        ("bounds.verdicts.types", "import importlib\nimportlib.import_module('ntkrobust.workflows.verify')"),
        ("studies.cells", "importlib.import_module(name='ntkrobust.reports')"),
    ],
)
def test_an_import_the_wrong_way_is_noticed(module: str, line: str) -> None:
    sources = modules()
    sources[module] = f"{sources[module]}\n{line}\n"
    assert len(wrong_imports(sources)) == 1


def circles(sources: dict[str, str]) -> list[str]:
    """Modules that import one another, by way of others or not, lazily or not; what only types need is left out."""
    graph = {}
    for module, source in sources.items():
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = [ast.Pass()]
        graph[module] = {name for name in imports_of(ast.unparse(tree)) if name in sources and name != module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_one_another() -> None:
    assert circles(modules()) == []


def test_a_circle_is_noticed() -> None:
    sources = modules()
    sources["finite.arrays"] += "\ndef late():\n    from ntkrobust.finite import representable\n"
    sources["finite.representable"] += "\nfrom ntkrobust.finite import arrays\n"
    assert set(circles(sources)) == {"finite.arrays", "finite.representable"}


LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, source: str) -> int:
    """Lines from ``def`` to the end, without the docstring, comments and blank lines; functions inside it count."""
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    aside = range(0) if docstring is None else range(docstring.lineno, (docstring.end_lineno or 0) + 1)
    lines = enumerate(source.splitlines(), 1)
    within = [text.strip() for number, text in lines if function.lineno <= number <= (function.end_lineno or 0)
              and number not in aside]  # fmt: skip
    return sum(bool(text) and not text.startswith("#") for text in within)


def too_long(sources: dict[str, str]) -> list[str]:
    found = []
    for module, source in sources.items():
        if len(source.splitlines()) > LONGEST_FILE:
            found.append(module)
        found += [
            f"{module}:{node.name}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node, source) > LONGEST_FUNCTION
        ]
    return found


def test_no_file_and_no_function_is_long() -> None:
    assert too_long(modules()) == []


def function_of(statements: int, aside: str = "") -> str:
    """``statements`` lines of code with the first one, and a docstring of a hundred."""
    docstring = '    """Text.' + 98 * "\n    text" + '\n    """\n'
    return f"def planted():\n{docstring}{aside}" + (statements - 1) * "    x = 1\n"


@pytest.mark.parametrize(
    ("addition", "noticed"),
    [
        (function_of(60, "\n    # why\n"), []),
        (function_of(61), ["values:planted"]),
        ("async " + function_of(61), ["values:planted"]),
        ("class Planted:\n" + textwrap.indent(function_of(61), "    "), ["values:planted"]),
        ("def around():\n" + textwrap.indent(function_of(60), "    "), ["values:around"]),
    ],
    ids=["60 lines", "61 lines", "async", "method", "a function inside one"],
)
def test_a_long_function_is_noticed(addition: str, noticed: list[str]) -> None:
    assert too_long({"values": addition}) == noticed


def test_a_long_file_is_noticed() -> None:
    assert too_long({"values": LONGEST_FILE * "x = 1\n"}) == []
    assert too_long({"values": (LONGEST_FILE + 1) * "x = 1\n"}) == ["values"]


def rooms_that_are_not(described: str) -> set[str]:
    """Rooms that the map has and the package has not, or the other way round."""
    on_the_map = {
        name for first in re.findall(r"(?m)^\| (`.*?) \|", described) for name in re.findall(r"`(.*?)`", first)
    }
    there = {
        name.replace(".", "/") + "/" * (PACKAGE / name.replace(".", "/")).is_dir() for names in LAYERS for name in names
    }
    # Modules that lie beside the rooms of finite/ have layers of their own only.
    return on_the_map ^ {name for name in there if name.endswith("/") or "/" not in name}


def test_the_map_has_every_room() -> None:
    described = (PACKAGE.parent / "docs" / "structure.md").read_text(encoding="utf-8").partition("The public names")[0]
    assert rooms_that_are_not(described) == set()
    assert rooms_that_are_not(described.replace("`studies/`", "`studios/`")) == {"studies/", "studios/"}


def test_only_the_adapter_imports_neural_tangents() -> None:
    users = [name for name, source in modules().items() if "import neural_tangents" in source]
    assert all(name.startswith("kernels._neural_tangents") for name in users)


def test_public_names_resolve() -> None:
    import ntkrobust

    for name in ntkrobust.__all__:
        assert getattr(ntkrobust, name) is not None
    assert callable(ntkrobust.exact_law)
    assert callable(ntkrobust.verify)
    assert ntkrobust.claims.load("law/jensen").id == "law/jensen"
    assert sorted(ntkrobust.__all__) == sorted(ntkrobust._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ntkrobust.nonsense  # noqa: B018


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_touches_no_device_and_sets_no_flag() -> None:
    state = run_python(
        "import jax\n"
        "before = dict(jax.config.values)\n"
        "import ntkrobust, ntkrobust.finite.training.train, ntkrobust.workflows.verify, ntkrobust.cli\n"
        "from jax._src import xla_bridge\n"
        "print(before == dict(jax.config.values), bool(xla_bridge._backends))"
    )
    assert state == "True False"


def seconds_beyond_jax(statement: str, times: int) -> float:
    """CPU seconds of this process that a statement takes after JAX: the least of several, since others' work on the
    machine can only add to them."""
    code = f"import jax, time; start = time.process_time(); {statement}; print(time.process_time() - start)"
    return min(float(run_python(code)) for _ in range(times))


def test_importing_takes_under_half_a_second_beyond_jax() -> None:
    assert seconds_beyond_jax("import ntkrobust, ntkrobust.cli", times=3) < 0.5
    # Planted: what statistics, evidence and figures need, imported at once.
    assert seconds_beyond_jax("import ntkrobust, scipy.stats, xarray, matplotlib.figure", times=1) > 0.5


def test_tensorflow_is_not_imported() -> None:
    loaded = run_python(
        "import sys, ntkrobust.workflows.verify, ntkrobust.workflows.doctor\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'tensorflow'])"
    )
    assert loaded == "[]"
