"""Every block of the README and of the documentation runs, and every command in them is one that exists.

Pages whose blocks train take minutes and are marked slow; some with less of everything than they say.
"""

import dataclasses
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from ntkrobust.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

ELSEWHERE = {
    "docs/bring-your-own.md": "test_bring_your_own.py",
    "docs/plots.md": "test_plots.py",
}
"""Pages whose blocks another test runs, with more to say of what comes out."""

GIVEN = """
import jax
import jax.numpy as jnp
import ntkrobust as ntr

data = ntr.data.gaussian(n_train=24, n_test=6, d=4)
net = ntr.MLP(2, 8)
run = ntr.train(net, data, seeds=2, steps=5)
x, y, x_test, y_test = data.x_test, data.y_test, data.x_test, data.y_test
"""

LABELLED = """
import numpy as np
import ntkrobust as ntr

given = ntr.data.load("iris")
labels = given.y_train.argmax(axis=1) + 1
net = ntr.MLP(2, 8, 3)
x, y, x_held, y_held = given.x_train[:60], labels[:60], given.x_train[60:80], labels[60:80]
x_test, y_test = given.x_train[80:90], labels[80:90]
"""

RESULTS = """
import ntkrobust as ntr

names = [f"zhu2022/depth-{name}/measured@initialization" for name in ("he", "lecun")]
ntr.verify(names, data="sphere", seeds=1, points=2, out="ntkrobust-results")
"""


@dataclasses.dataclass(frozen=True)
class Page:
    """How the blocks of a page are run.

    Attributes:
        before: what the page takes for granted.
        smaller: what is written there → what runs in its place.
        slow: whether that takes more than some seconds.
    """

    before: str = ""
    smaller: tuple[tuple[str, str], ...] = ()
    slow: bool = False


HOW = {
    "README.md": Page(smaller=(('load("digits")', 'load("digits").subset(64, 8)'), ("seeds=8", "seeds=2")), slow=True),
    "docs/adversarial-training.md": Page(smaller=(('"steps": 200', '"steps": 20'),), slow=True),
    "docs/attacks.md": Page(GIVEN, slow=True),
    "docs/certified.md": Page(slow=True),
    "docs/data.md": Page(LABELLED, slow=True),
    "docs/files.md": Page(RESULTS, slow=True),
    "docs/finite-width.md": Page(slow=True),
    "docs/first-hour.md": Page(slow=True),
    "docs/first-order-width.md": Page(slow=True),
    "docs/general-architectures.md": Page(slow=True),
    "docs/infinite-width.md": Page(slow=True),
    "docs/measures.md": Page(GIVEN, slow=True),
    "docs/neural-tangents.md": Page(slow=True),
    "docs/statements/depth-and-initialization.md": Page(slow=True),
    "docs/sweeps.md": Page(smaller=(("(2, 3, 4)", "(2, 3)"), ("(16, 64)", "(16, 32)")), slow=True),
    "docs/training.md": Page(
        smaller=(
            ("steps=100_000", "steps=2000"),
            ("seeds=8", "seeds=2"),
            ("width=64", "width=16"),
            ("width=512", "width=16"),
        ),
        slow=True,
    ),
    "docs/verdicts.md": Page(RESULTS, smaller=(("(64, 128, 256)", "(16, 32, 64)"),), slow=True),
}
"""Pages that need something; others run as they are."""


def blocks(text: str) -> list[tuple[int, str]]:
    """(line, code) of the Python of a page."""
    return [
        (text[: match.start(2)].count("\n"), textwrap.dedent(match[2]))
        for match in re.finditer(r"(?m)^( *)```python\n(.*?)^ *```", text, flags=re.DOTALL)
    ]


def with_python() -> list[str]:
    """Pages with blocks of Python; those of the reference show signatures, which are not there to be run."""
    names = [path.relative_to(ROOT).as_posix() for path in PAGES if blocks(path.read_text(encoding="utf-8"))]
    return [name for name in names if not name.startswith("docs/api/") and name not in ELSEWHERE]


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * HOW.get(name, Page()).slow) for name in with_python()]
)
def test_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how, path = HOW.get(name, Page()), ROOT / name
    text = path.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    exec(how.before, names)
    for written, _ in how.smaller:
        assert any(written in code for _, code in blocks(text)), f"{written} is no longer on the page"
    for line, code in blocks(text):
        for written, shorter in how.smaller:
            code = code.replace(written, shorter)
        # As far down as it stands on the page, so that a failure names the line.
        exec(compile("\n" * line + code, name, "exec"), names)


def test_other_pages_are_run_where_it_is_said() -> None:
    for name, test in ELSEWHERE.items():
        assert Path(name).name in (Path(__file__).parent / test).read_text(encoding="utf-8")
    assert set(HOW) | set(ELSEWHERE) <= {path.relative_to(ROOT).as_posix() for path in PAGES}


# --- commands


def commands(text: str) -> list[str]:
    """Commands of ntkrobust that a page tells to type, one a line."""
    told = re.findall(r"(?s)```console\n(.*?)```", text)
    lines = [line.strip() for body in told for line in body.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ntkrobust ")]


def understood(command: str) -> str:
    """Why the command line can't be understood, or "" if it can."""
    try:
        app.parse_args(shlex.split(command, comments=True)[1:], print_error=False, exit_on_error=False)
    except Exception as error:
        return f"{command}: {type(error).__name__} {error}"
    return ""


def test_commands_are_understood() -> None:
    told = [line for path in PAGES for line in commands(path.read_text(encoding="utf-8"))]
    assert len(told) > 10
    assert [why for line in told if (why := understood(line))] == []
    assert "nonsense" in understood("ntkrobust verify --nonsense 3")
    assert understood("ntkrobust verfy")


def test_a_block_that_fails_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "planted.md"
    page.write_text(
        "Text.\n\n```python\nx = 1\n```\n\n- item\n\n  ```python\n  assert x == 2\n  ```\n", encoding="utf-8"
    )
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    with pytest.raises(AssertionError) as failed:
        test_blocks_run("planted.md", tmp_path, monkeypatch)
    assert failed.traceback[-1].lineno + 1 == 10
