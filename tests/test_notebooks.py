"""Notebooks run from top to bottom; their own assertions are the check. What is committed of them is what they say."""

import json
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))
SLOW = (
    "certificates", "first_order_in_width", "own_network", "own_theorem", "trained_gradients", "wider_networks",
)  # fmt: skip
"""Those that take longest."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*zmq:RuntimeWarning")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in SLOW)) for path in NOTEBOOKS],
)
def test_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel then draws into the notebook
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))


LARGEST = 600_000
"""Bytes of a notebook with its outputs."""


def differences(source: nbformat.NotebookNode, pair: nbformat.NotebookNode) -> list[int]:
    """Cells in which a notebook is not its text source."""
    if len(source.cells) != len(pair.cells):
        return [min(len(source.cells), len(pair.cells))]
    both = enumerate(zip(source.cells, pair.cells, strict=True))
    return [at for at, (one, other) in both if (one.cell_type, one.source) != (other.cell_type, other.source)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_pair_of_a_source_is_in_step_and_executed(path: Path) -> None:
    source, pair = jupytext.read(path), nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(pair)
    assert differences(source, pair) == [], "run `python docs/execute_notebooks.py`"
    code = [cell for cell in pair.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, 1 + len(code)))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert pair.metadata.jupytext.formats == "ipynb,py:percent"
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert not [one for one in ("/home/", "/root/", "/tmp/", "Traceback") if one in json.dumps(pair.cells)]


def test_a_pair_out_of_step_is_noticed() -> None:
    source = jupytext.read(NOTEBOOKS[0])
    other = jupytext.read(NOTEBOOKS[0])
    other.cells[2].source += "\n1 + 1"
    assert differences(source, other) == [2]
    del other.cells[2]
    assert differences(source, other) != []
