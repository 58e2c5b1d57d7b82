"""A network, an attack, a measure and a paper of one's own, a file each outside the package; the page on them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.cli import run as command

HERE = Path(__file__).parent
OWN = HERE / "own"
PAGE = HERE.parent / "docs" / "bring-your-own.md"
FRAMEWORKS = ("flax", "equinox")

DATA = ntr.data.gaussian(n_train=12, n_test=6, d=4)


def of_file(name):
    """A module of one file of ``tests/own``, which no package holds."""
    spec = importlib.util.spec_from_file_location(name, OWN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run():
    return ntr.train(of_file("random_features").RandomFeatures(width=8), DATA, seeds=2, steps=5)


def f_in_float64(run, seed, x):
    """f(x) and its gradient, written out."""
    v, w, b = (np.asarray(run.parameters[name][seed], np.float64) for name in "vwb")
    phases = x @ w.T + b
    scale = np.sqrt(2 / len(b))
    return scale * np.cos(phases) @ v[0], -scale * (np.sin(phases) * v[0]) @ w


def test_a_network_in_one_file_is_trained(run):
    for seed in range(2):
        value, gradient = f_in_float64(run, seed, DATA.x_train)
        residual = value - DATA.y_train[:, 0]
        assert run.loss[seed, -1] == pytest.approx((residual**2).sum() / 2, rel=1e-4)
        assert run.loss[seed, -1] < run.loss[seed, 0]
        measured = ntr.measure(run, DATA.x_train, ["jacobian_frobenius"]).jacobian_frobenius.isel(seed=seed, time=-1)
        np.testing.assert_allclose(measured, np.linalg.norm(gradient, axis=1), rtol=1e-4)
        assert not np.allclose(measured, np.linalg.norm(1.01 * gradient, axis=1), rtol=1e-4)


def test_a_measure_in_one_file_is_measured(run):
    excess = of_file("excess").Excess(limit=0.5)
    found = ntr.measure(run, DATA.x_test, [excess])[excess.name].isel(time=-1)
    for seed in range(2):
        value, _ = f_in_float64(run, seed, DATA.x_test)
        assert float(found[seed]) == pytest.approx(np.maximum(abs(value) - 0.5, 0).mean(), rel=1e-4)
        assert float(found[seed]) != pytest.approx(np.maximum(abs(value) - 0.4, 0).mean(), rel=1e-4)


def test_an_attack_in_one_file_attacks(run):
    corners = of_file("corners").Corners(queries=30)
    radius = 0.2
    found = ntr.attack(
        run, DATA.x_test, DATA.y_test, epsilon=radius, methods=[corners], steps=2, queries=2, keep_examples=True
    )
    for seed in range(2):
        before, _ = f_in_float64(run, seed, DATA.x_test)
        after, _ = f_in_float64(run, seed, found.example.isel(seed=seed).to_numpy())
        label = DATA.y_test[:, 0]
        np.testing.assert_allclose(found.margin.isel(seed=seed), label * after, rtol=1e-3, atol=1e-5)
        assert (label * after <= label * before + 1e-6).all()
        assert (label * after < label * before - 1e-3).any()
    moved = abs(found.example.to_numpy() - DATA.x_test).max(axis=-1)
    assert (moved < radius * (1 + 1e-5)).all()
    assert (found.outside == 0).all()


def test_a_paper_in_one_file_is_verified(tmp_path, capsys):
    paper = str(OWN / "rahimi2007.py")
    asked = ["verify", paper, "--data", "gaussian", "--seeds", "1", "--points", "8", "--out", str(tmp_path / "out")]
    assert command(asked) == 0
    said = capsys.readouterr().out
    assert re.findall(r"(rahimi2007/\w+) +(\w+)", said) == [
        ("rahimi2007/variance", "supported"),
        ("rahimi2007/gradient", "supported"),
    ]
    # The planted fault: a paper that says 3/2 of it is refuted.
    (tmp_path / "wrong.py").write_text(
        (OWN / "rahimi2007.py").read_text(encoding="utf-8").replace("lambda d_in: d_in", "lambda d_in: 1.5 * d_in")
    )
    (tmp_path / "random_features.py").write_text((OWN / "random_features.py").read_text(encoding="utf-8"))
    (wrong,) = ntr.verify(str(tmp_path / "wrong.py"), only="rahimi2007/gradient", data="gaussian", seeds=1, points=8)
    assert wrong.label == "refuted"


# --- the page


def blocks(text):
    """(line, code, file) of the Python of a page; the file that it is said to be, if any."""
    for match in re.finditer(r"(?:`(\w+\.py)`:\n\n)?```python\n(.*?)```", text, flags=re.DOTALL):
        yield text[: match.start(2)].count("\n") + 1, match[2], match[1]


def lacking(code):
    """The framework that a block needs and this environment lacks."""
    needed = re.findall(r"(?m)^(?:import|from) (\w+)", code)
    return [name for name in FRAMEWORKS if name in needed and importlib.util.find_spec(name) is None]


def test_every_block_of_the_page_runs(tmp_path, capsys):
    names = {"__name__": "page"}
    for line, code, file in blocks(PAGE.read_text(encoding="utf-8")):
        if file:
            (tmp_path / file).write_text(code, encoding="utf-8")
        elif not lacking(code):
            # As far down as it stands on the page, so that a failure names the line.
            exec(compile("\n" * (line - 1) + code, PAGE.name, "exec"), names)
    assert names["verdict"].label == "supported"
    assert re.search(r"must treat each point by itself, and gives \S+ at a point alone", capsys.readouterr().out)
    paper = ntr.verify(str(tmp_path / "mypaper.py"), data="gaussian", seeds=1, points=8)
    assert [verdict.label for verdict in paper] == ["supported", "supported"]


def test_a_block_that_fails_is_noticed():
    (one, two) = blocks("Text.\n\n```python\nfirst = 1\n```\n\n`my.py`:\n\n```python\n1 / 0\n```\n")
    assert one == (4, "first = 1\n", None)
    assert two == (10, "1 / 0\n", "my.py")
    assert lacking("import no_framework\n") == []


def test_the_table_names_files_that_are_there():
    linked = re.findall(r"\]\(\.\./(tests/own/\w+\.py)\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(Path(path).name for path in linked) == sorted(path.name for path in OWN.glob("*.py"))


FRAMEWORKS_LOADED = "print(sorted({'flax', 'equinox'} & {name.partition('.')[0] for name in sys.modules}))"


def python(code):
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_frameworks_are_imported_by_nobody_who_does_not_use_them():
    used = python(
        "import sys, ntkrobust as ntr\n"
        "data = ntr.data.gaussian(n_train=4, n_test=2, d=2)\n"
        "run = ntr.train(ntr.MLP(2, 4), data, seeds=1, steps=1)\n"
        "ntr.measure(run, data.x_test, ['jacobian_frobenius'])\n"
        "net = ntr.from_function(lambda key, x: {'w': x[0][:, None]}, lambda p, x: x @ p['w'])\n"
        f"ntr.train(net, data, seeds=1, steps=1)\n{FRAMEWORKS_LOADED}"
    )
    assert used == "[]"


def test_a_framework_that_is_imported_is_noticed():
    pytest.importorskip("equinox")
    assert python(f"import sys, equinox\n{FRAMEWORKS_LOADED}") == "['equinox']"
