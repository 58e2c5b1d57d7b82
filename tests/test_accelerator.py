"""The command that shows what an accelerator does, in its small form."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

OPTIMIZED = True

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "accelerator.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
        return runpy.run_path(str(SCRIPT))


def test_the_small_form_shows_everything(script: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "accelerator.txt"
    script["main"](["--small", "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    for begin in ("1 x cpu|[0-9]+ x ", "largest difference from the CPU: drawn 0.0e", r"tests: passed \(1 passed"):
        assert re.search(begin, text), text
    number = r"[0-9.]+"
    assert re.search(f"GFLOP/s: {number} with all of float32, {number} by default", text), text
    assert re.search(f"drawing: {number} million normals per second", text), text
    rows = [line for line in text.splitlines() if "seed(s) per product" in line]
    assert [int(row.split()[0]) for row in rows] == list(script["SMALL_WIDTHS"]), text


def test_numbers_of_another_device_are_told_apart(script: dict[str, Any]) -> None:
    one = {name: [1.0, 2.0] for name in ("drawn", "loss", "measured", "attacked")}
    assert script["agreement"](one, one) == "drawn 0.0e+00, loss 0.0e+00, measured 0.0e+00, attacked 0.0e+00"
    assert "loss 5.0e-01" in script["agreement"](one, one | {"loss": [1.0, 4.0]})


class Slow:
    """A session in which each width takes half of what is left."""

    def __init__(self) -> None:
        self.seconds = 0.1

    def left(self) -> float:
        return self.seconds

    def run(self, part: str, width: int, *_: float) -> dict[str, Any]:
        self.seconds = 0.0
        return {"seeds": 1, "steps": 8, "ours": 50.0, "plain": 40.0, "one": 0.1, "peak": 2**20, "plan": "plan"}


def test_what_does_not_fit_into_the_time_is_left_out_and_named(script: dict[str, Any]) -> None:
    rates = {"float32": 100.0, "default": 200.0}
    _, first, second, third = script["by_width"](Slow(), (64, 128, 256), 16, 0.1, rates)
    assert first.split()[:6] == ["64", "1", "8", "50", "50%", "25%"]
    assert "left out" not in first
    for width, row in ((128, second), (256, third)):
        assert re.match(rf" *{width}  left out: up to \d+ s more, and 0 s are left", row)


def test_a_part_that_fails_or_takes_too_long_is_named(script: dict[str, Any]) -> None:
    session = script["Session"](60, apart=True)
    assert session.run("matmul", "wide")["left_out"].startswith("TypeError: ")
    assert script["Session"](0, apart=True).run("matmul", 4)["left_out"] == "the time was over"
