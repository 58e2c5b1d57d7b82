"""What all tests share."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from fast import FAST
from hypothesis import settings
from jax.experimental.compilation_cache import compilation_cache

from ntkrobust.runtime.compiling import PROGRAMS

UNOPTIMIZED = "JAX_DISABLE_MOST_OPTIMIZATIONS"
"""JAX's environment variable, and in small letters its option, for compiling with little optimization."""

# The same examples in every run; others with --hypothesis-profile=default --hypothesis-seed=N.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    """Processes that tests start share what they compile, in folders that end with the session.

    Programs of XLA, so that what runs twice is compiled once; JAX writes them bit by bit, so each worker of xdist has a
    folder of its own. (In the process of the tests, hardly any program is needed a second time after it was let go.)
    Bytecode of Python, where it is told to leave none: each process would compile all that it imports again, some six
    seconds.
    Workers of xdist have a thread of BLAS each: threads of several workers on one core wait for each other in a busy
    loop.
    Three quarters of the tests' time is compilation: programs are compiled with little optimization, here and in the
    processes that tests start, unless ``JAX_DISABLE_MOST_OPTIMIZATIONS`` is set to 0 or the file says
    ``OPTIMIZED = True``.
    """
    environment = pytest.MonkeyPatch()
    config.add_cleanup(environment.undo)
    if UNOPTIMIZED not in os.environ:
        environment.setenv(UNOPTIMIZED, "1")
        jax.config.update(UNOPTIMIZED.lower(), True)

    def folder_of(what: str) -> str:
        folder = tempfile.mkdtemp(prefix=f"ntkrobust-{what}-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder

    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        environment.setenv("PYTHONPYCACHEPREFIX", folder_of("bytecode"))
    # This process and the workers, which begin with another environment, have imported JAX before.
    if getattr(config.option, "numprocesses", None):
        environment.setenv("OPENBLAS_NUM_THREADS", "1")
    else:
        environment.setenv("JAX_COMPILATION_CACHE_DIR", folder_of("programs"))
        environment.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in FAST:
            item.add_marker(pytest.mark.fast)


@pytest.fixture(autouse=True, scope="module")
def _programs_of_one_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """No process keeps the programs of all files: each takes up to 260 mappings of memory, and Linux allows 65 530.

    Processes of files that say ``COMPILES_ANEW = True`` read no programs: they show how they are compiled, or what
    memory that takes. Files that say ``OPTIMIZED = True`` are about programs as users have them, or compute for longer
    than they compile.
    """
    is_unoptimized = jax.config.read(UNOPTIMIZED.lower())
    with pytest.MonkeyPatch.context() as environment:
        if getattr(request.module, "COMPILES_ANEW", False):
            environment.delenv("JAX_COMPILATION_CACHE_DIR")
        if getattr(request.module, "OPTIMIZED", False):
            environment.setenv(UNOPTIMIZED, "0")
            jax.config.update(UNOPTIMIZED.lower(), False)
        kept = jax.config.jax_compilation_cache_dir
        yield
    jax.config.update(UNOPTIMIZED.lower(), is_unoptimized)
    if jax.config.jax_compilation_cache_dir != kept:
        # A command that ran in this process has switched the users' cache on.
        jax.config.update("jax_compilation_cache_dir", kept)
        compilation_cache.reset_cache()
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
