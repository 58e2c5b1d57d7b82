"""What a notebook and a prompt show of objects: a few facts, right ones, and never their arrays."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.values import Value, briefly

DATA = ntr.data.gaussian(n_train=40, n_test=6, d=5)
NET = ntr.MLP(2, 30)
PNG = b"\x89PNG"


class Cells(HTMLParser):
    """The rows of a table, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


def facts(shown) -> dict[str, str]:
    table = Cells(shown._repr_html_())
    assert table.open == []
    return dict(table.rows)


@pytest.fixture(scope="module")
def objects():
    run = ntr.train(NET, DATA, seeds=3, steps=4, record_steps=(0, 4))
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(2), DATA)
    claim = ntr.Claim(
        "mine/x", "$P<1$ & more", ntr.AtMost(lambda depth: 1.0), "output_rms", {"depth": (2, 3), "width": (8,)}
    )
    return {
        "run": run,
        "net": NET,
        "convolutional": ntr.ConvNet(3, 8, image_shape=(4, 4, 1)),
        "own": ntr.from_function(lambda key, x: np.ones(3), lambda p, x: x @ p, d_out=1),
        "law": ntr.exact_law(NET, d_in=5),
        "ensemble": ensemble,
        "at": ensemble.at(1.0),
        "claim": claim,
        "data": DATA,
        "measure": ntr.measures.RobustAccuracy(epsilon=0.1),
        "attack": ntr.attacks.PGD(),
        "adversary": ntr.Adversary(epsilon=0.1),
        "reading": ntr.Reading("equal loss", 0.3),
        "initialization": ntr.Initialization.from_gains(first=2.0, hidden=2.0, last=1.0),
    }


ARRAYS = re.compile(r"array\(|\[\[|dtype=|0\.\d+,? +-?0\.\d+")


@pytest.mark.fast
def test_nothing_prints_its_arrays(objects):
    for name, one in objects.items():
        assert len(repr(one)) < 400, name
        assert not ARRAYS.search(repr(one)), name
        if hasattr(one, "_repr_html_"):
            assert facts(one), name
            assert not ARRAYS.search(one._repr_html_()), name
    # The form that dataclasses have by themselves does.
    assert ARRAYS.search(Value.__repr__(objects["run"]))


def test_all_that_one_looks_at_has_a_table(objects):
    without = {name for name, one in objects.items() if not hasattr(one, "_repr_html_")}
    assert without == set()


def test_the_facts_of_a_run_are_right(objects):
    run = objects["run"]
    told = facts(run)
    assert told["network"] == repr(NET)
    assert told["networks"] == "3"
    assert told["training"] == "4 steps of gd, squared loss"
    assert told["points"] == "40 in 5 dimensions"
    first, last = (run.loss[:, at].astype(float).mean() for at in (0, -1))
    assert told["loss"] == f"{first:.4g} → {last:.4g}, mean over networks"
    assert told["status"] == "3 budget"
    assert f"{last:.4g}" in repr(run)
    assert "3 × MLP(depth=2, width=30" in repr(run)


def test_the_facts_of_a_law_are_right(objects):
    # He, one output: E (∂_u f)² = 2/d at every depth and width.
    assert facts(objects["law"])["E (∂_u f)²"] == f"{2 / 5:.6g}"


def test_texts_of_users_are_no_markup(objects):
    shown = objects["claim"]._repr_html_()
    assert "P&lt;1$ &amp; more" in shown
    assert facts(objects["claim"])["statement"] == "$P<1$ & more"


def test_long_values_are_cut():
    assert briefly(np.zeros((3, 4))) == "float64 (3, 4)"
    assert len(briefly("x" * 1000)) == 160
    assert briefly(1 / 3) == "0.333333"


def test_figures_are_shown_in_a_notebook_that_has_not_imported_pyplot() -> None:
    """By IPython's own formatter, in a process in which pyplot has not told it how."""
    program = """
import sys
import ntkrobust as ntr
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
formatter = InteractiveShell().display_formatter
run = ntr.train(ntr.MLP(2, 4), ntr.data.gaussian(n_train=8, n_test=4, d=3), seeds=2, steps=1)
shown = formatter.format(ntr.plots.time_course(ntr.measure(run, run.x_train[:2], ["output_rms"]), against="step"))[0]
assert "matplotlib.pyplot" not in sys.modules
print(shown["image/png"][:4], "image/png" in formatter.format(Figure())[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == f"{PNG} False", done.stderr
