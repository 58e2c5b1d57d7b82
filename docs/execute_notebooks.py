"""Notebooks with their outputs, from their text sources: ``python docs/execute_notebooks.py [NAME ...]``.

Each ``notebooks/NAME.py`` is executed from top to bottom and written to ``notebooks/NAME.ipynb``, its pair. Nothing of
the machine is kept: no times, no names of kernels' processes, and ids of cells that are the same each time.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
LIMIT_S = 1800
WIDGET = "application/vnd.jupyter.widget-view+json"
"""What a page that is not a running notebook can't show."""

_PROGRESS = re.compile(r"\d+ of \d+ cells, ")


def executed(path: Path) -> Any:
    """The notebook of a source, with what came out."""
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=LIMIT_S, kernel_name="python3").execute()
    return notebook


def is_passing(output: Any) -> bool:
    """Whether an output is of the moment: a warning, a widget, or how far a run was."""
    if output.output_type == "stream":
        return bool(output.name == "stderr")
    data = output.get("data", {})
    return WIDGET in data or bool(_PROGRESS.match(data.get("text/plain", "")))


def kept(notebook: Any) -> Any:
    """A notebook without what differs from run to run or from machine to machine."""
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    count = 0
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{index}", {}
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = [one for one in cell.outputs if not is_passing(one)]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            output.pop("metadata", None)
            if output.output_type != "stream":
                output.metadata = {}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def write(path: Path) -> Path:
    """Execute a source and write its pair."""
    target = path.with_suffix(".ipynb")
    nbformat.write(kept(executed(path)), target)
    return target


def main() -> None:
    """Those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=sorted(path.stem for path in FOLDER.glob("*.py")))
    for name in parser.parse_args().names:
        print(write(FOLDER / f"{name}.py"), flush=True)


if __name__ == "__main__":
    main()
