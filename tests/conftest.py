"""What all tests share."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from hypothesis import settings

from ntkrobust.runtime.compiling import PROGRAMS

# The same examples in every run; others with --hypothesis-profile=default --hypothesis-seed=N.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    """Where Python is told to leave no bytecode, processes that tests start share some in a folder of this session.

    Each would compile all that it imports again: some six seconds.
    """
    if not sys.dont_write_bytecode or hasattr(config, "workerinput"):
        return
    folder, told = tempfile.mkdtemp(prefix="ntkrobust-bytecode-"), os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = folder

    def undo() -> None:
        del os.environ["PYTHONPYCACHEPREFIX"]
        if told is not None:
            os.environ["PYTHONDONTWRITEBYTECODE"] = told
        shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(undo)


@pytest.fixture(autouse=True, scope="module")
def _programs_of_one_file() -> Iterator[None]:
    """No process keeps the programs of all files: each takes some 70 mappings of memory, and Linux allows 65 530."""
    yield
    PROGRAMS.clear()
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _same_draws_in_any_order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test draws the same numbers whichever tests of its file ran before it, in this process or in another."""
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests in ``tests/sceptic`` saw beside what is right (also under xdist: reports carry it)."""
    rows = [
        (report.nodeid.partition("sceptic/")[2].partition("::")[0], *row)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if report.when == "call"
        for name, row in report.user_properties
        if name == "figure"
    ]
    if not rows or "sceptic" not in (terminalreporter.config.option.markexpr or ""):
        return
    terminalreporter.section("what was seen, and what is right")
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in sorted(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        terminalreporter.write_line(f"{'  '.join(cells)}  ({row[4]})")
