"""A file of claims runs as ``python FILE.py`` would: compared with what Python itself prints for the same file."""

import importlib
import json
import pickle
import subprocess
import sys
import textwrap

import cloudpickle
import pytest

from ntkrobust.bounds.claims.python_file import claims_in_python
from ntkrobust.errors import InputError

CLAIM = """
    import ntkrobust as ntr

    def claim(id, value=1.0):
        grid = {"depth": (2,), "width": (8,)}
        return ntr.Claim(id, "", ntr.AtMost(lambda depth: value), "perturbation_stability", grid)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    # Folders and modules that files leave behind belong to one test; those of other tests' files are not seen.
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.startswith("claims_of_")]:
        monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)

    def to(text, name="mine.py", folder="a"):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    yield to
    for name in set(sys.modules) - before:
        if name.startswith("claims_of_") or name in ("shared", "parts", "random_"):
            del sys.modules[name]


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        claims_in_python(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in (str(path), *words):
        assert word in sentence, sentence


SEEN = """
    import json, os, sys
    from shared import claim, ENVIRONMENT
    seen = {
        "file": __file__, "argv": sys.argv, "path": sys.path[0], "cwd": os.getcwd(), "beside": ENVIRONMENT,
        "package": __package__, "spec": __spec__,
    }
    one = claim("mine/one")
"""


def test_a_file_sees_what_python_would_show_it(write, figure):
    write(CLAIM + "\n    ENVIRONMENT = 'its own folder'\n", "shared.py")
    path = write(SEEN)
    claims_in_python(path)
    seen = sys.modules["claims_of_mine"].seen
    script = write(SEEN + "\n    print(json.dumps(seen))", "script.py")
    printed = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    right = json.loads(printed.replace("script.py", "mine.py"))
    figure("sys.path[0] of a file of claims", seen["path"], right["path"], "python FILE.py")
    assert seen == right
    assert sys.argv != seen["argv"]
    assert sys.path[0] != seen["path"]
    assert sys.path[-1] == seen["path"]


def test_an_import_machinery_without_the_folder_is_noticed(write):
    """The planted fault: what importlib makes of the file alone knows neither its folder nor its arguments."""
    write(CLAIM, "shared.py")
    path = write("from shared import claim\none = claim('mine/one')\n")
    spec = importlib.util.spec_from_file_location("planted", path)
    with pytest.raises(ModuleNotFoundError):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert [one.id for one in claims_in_python(path)] == ["mine/one"]


def test_each_folder_has_its_own_neighbours(write):
    paths = []
    for folder, value in (("a", 1.0), ("b", 2.0)):
        write(CLAIM + f"\n    VALUE = {value}\n", "shared.py", folder)
        paths.append(write("from shared import VALUE, claim\none = claim(f'mine/{VALUE}')\n", "mine.py", folder))
    first, second = paths
    assert [claims_in_python(path)[0].id for path in (first, second, first)] == ["mine/1.0", "mine/2.0", "mine/1.0"]
    # Files of one folder share what lies beside them, so that a measure of it is one measure.
    other = write("from shared import VALUE, claim\ntwo = claim(f'mine/{VALUE}')\n", "other.py", "a")
    claims_in_python(first)
    shared = sys.modules["shared"]
    claims_in_python(other)
    assert sys.modules["shared"] is shared
    # What has been edited is read again.
    write(CLAIM + "\n    VALUE = 'another'\n", "shared.py", "a")
    assert claims_in_python(first)[0].id == "mine/another"
    for word in ("one", "two"):  # within a second, and with as many bytes
        path = write(CLAIM + f"\n    one = claim('mine/{word}')\n", "edited.py", "a")
        assert claims_in_python(path)[0].id == f"mine/{word}"


def test_main_blocks_do_not_run_and_dataclasses_and_pickles_do(write):
    path = write(
        CLAIM
        + """
    import dataclasses, pickle, typing

    @dataclasses.dataclass
    class Settings:
        depth: "typing.ClassVar[int]" = 2
        width: int = 8

    def twice(x):
        return 2 * x

    assert pickle.loads(pickle.dumps(Settings(9))) == Settings(9)
    one = claim("mine/one")

    if __name__ == "__main__":
        raise AssertionError("not twice")
    """
    )
    assert [one.id for one in claims_in_python(path)] == ["mine/one"]
    module = sys.modules["claims_of_mine"]
    assert pickle.loads(pickle.dumps(module.twice)) is module.twice
    # Another process has no such module: the function goes there as code.
    sent = cloudpickle.dumps(module.twice)
    code = f"import pickle; print(pickle.loads({sent!r})(21))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "42"


def test_files_that_fail_say_where(write):
    refused(write("a = 1\n\n\nb = nothing\n"), "could not be run, line 4: NameError: name 'nothing' is not defined")
    refused(write("a = 1\nif a\n    b\n"), "could not be run, line 2: SyntaxError: expected ':'")
    refused(write("def f():\n    return 1 / 0\n\nf()\n"), "line 2: ZeroDivisionError: division by zero")
    refused(write("raise ValueError('two\\nlines')\n"), "line 1: ValueError: two lines")
    refused(write("a = 'é'\x00\n"), "could not be run")
    write("def half():\n    raise KeyError('gone')\n", "shared.py")
    refused(write("import shared\nshared.half()\n"), "line 2 (shared.py, line 2): KeyError: 'gone'")
    write("def (:\n", "shared.py")
    refused(write("a = 1\nimport shared\n"), "line 2 (shared.py, line 1): SyntaxError")
    refused(write(CLAIM + "\n    one = ntr.Claim('x', '', 3, 'perturbation_stability', {})\n"), ", line 8")
    refused(write("a = 1\n"), "defines no Claim")


def test_files_that_end_themselves(write):
    one = CLAIM + "\n    one = claim('mine/one')\n    import sys\n"
    for end in ("sys.exit()", "sys.exit(0)", "raise SystemExit"):
        assert len(claims_in_python(write(one + f"    {end}\n"))) == 1
    refused(write(one + "    sys.exit(3)\n"), "ended itself, line 10 with 3")
    refused(write(one + "    sys.exit('no data')\n"), "with 'no data'")
    with pytest.raises(KeyboardInterrupt):
        claims_in_python(write("raise KeyboardInterrupt\n"))


def test_names_of_modules_are_their_own(write):
    before = sys.modules["json"]
    first = write(CLAIM + "\n    one = claim('mine/a')\n", "json.py", "a")
    second = write(CLAIM + "\n    one = claim('mine/b')\n", "json.py", "b")
    assert [claims_in_python(path)[0].id for path in (first, second, first)] == ["mine/a", "mine/b", "mine/a"]
    assert sys.modules["json"] is before
    assert sys.modules["claims_of_json"].__file__ == str(first)
    assert sys.modules["claims_of_json_2"].__file__ == str(second)
