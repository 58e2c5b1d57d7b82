"""Runs neural-tangents' own test files through ntkrobust's adapter and prints a table of what passed.

    git clone --branch v0.6.5 https://github.com/google/neural-tangents
    python benchmarks/neural_tangents_own_tests.py neural-tangents [FILE ...]

The tests are copied to a temporary folder; each file runs in a process of its own. They were written for an old JAX
too, so they see the same views of JAX as neural-tangents does, and ``jax.tree_map``. They draw some of their cases at
random from a fixed seed: NT_NUM_GENERATED_CASES (4) says how many. Needs pytest 9, absl-py, flax and more-itertools.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

CONFTEST = """
import sys

import jax

from ntkrobust.kernels import neural_tangents
from ntkrobust.kernels._neural_tangents import JAX_REWRITE, loading
from ntkrobust.kernels._neural_tangents.views import make_views

views = make_views(jax.__version_info__ >= JAX_REWRITE)
views["jax"].__dict__["tree_map"] = jax.tree.map
sys.meta_path.insert(0, loading.ViewFinder("tests", views))
"""
RUN_EXAMPLES = (
    "elementwise_numerical_test.py",
    "elementwise_test.py",
    "empirical_ntk_test.py",
    "function_space_test.py",
    "imdb_test.py",
    "infinite_fcn_test.py",
    "weight_space_test.py",
)
"""Files that only run an example script, which TensorFlow's data sets feed."""
OUTCOMES = ("passed", "subtests passed", "failed", "skipped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=pathlib.Path, help="a checkout of neural-tangents")
    parser.add_argument("files", nargs="*", help="test files, relative to its folder tests; all by default")
    parser.add_argument("--tracebacks", action="store_true", help="print the tracebacks of what failed, too")
    arguments = parser.parse_args()
    tests = arguments.checkout / "tests"
    if not tests.is_dir():
        sys.exit(f"expected a checkout of neural-tangents, but there is no folder {tests}")
    found = [path.relative_to(tests).as_posix() for path in sorted(tests.rglob("*_test.py"))]
    files = arguments.files or [f for f in found if f not in RUN_EXAMPLES and not f.startswith("experimental/")]

    print("| file | passed | subtests passed | failed | skipped | seconds |\n|---|---|---|---|---|---|")
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        shutil.copytree(tests, root / "tests")
        (root / "conftest.py").write_text(CONFTEST)
        for file in files:
            start = time.monotonic()
            output = run(root, file)
            counts = " | ".join(str(count(output, outcome)) for outcome in OUTCOMES)
            print(f"| {file} | {counts} | {time.monotonic() - start:.0f} |", flush=True)
            lines = re.findall(r"^(?:FAILED|ERROR|SUBFAILED).*$", output, re.MULTILINE)
            failures += [output] if arguments.tracebacks and lines else lines
    print("\n" + "\n".join(failures))


def run(root: pathlib.Path, file: str) -> str:
    """What pytest prints about one test file."""
    options = ["-q", "-rfE", "--tb=short", "--assert=plain", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(root), str(root / "tests" / file)]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def count(output: str, outcome: str) -> int:
    """How many had this outcome, by pytest's last line; errors while collecting count as failed."""
    last = output.rstrip().rpartition("\n")[2]
    names = {"failed": ("failed", "error", "errors", "subtests failed")}.get(outcome, (outcome,))
    return sum(int(number) for number, name in re.findall(r"(\d+) ((?:subtests )?[a-z]+)", last) if name in names)


if __name__ == "__main__":
    main()
