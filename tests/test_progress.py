"""How what is told of a job is shown: a bar, a line a minute, a line in a notebook."""

import io
import re
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from ntkrobust.cli import output
from ntkrobust.studies.progress import Told, duration, time_left
from ntkrobust.workflows.progress import shown_progress


class Clock:
    """A clock that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_is_not_known_is_not_told():
    assert time_left(Told("a cell", 2, 0.0, None)) == ""
    assert time_left("a plain text") == ""
    assert time_left(Told("a cell", 2, 5.0, 200.0)) == "about 3 min left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5999, "1 h 40 min"), (7800, "2 h 10 min"),
     (60 * 99, "99 min"), (270_000, "3 d 3 h")],
)  # fmt: skip
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


LONG = "MLP(depth=4, width=1024, activation='leaky_relu(0.2)', initialization=Initialization.from_gains(1, 1, 1)) steps"


def test_at_80_columns_only_the_name_is_cut(monkeypatch):
    stream = io.StringIO()
    terminal = partial(output._Console, file=stream, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "_Console", lambda stderr, emoji: terminal(emoji=emoji))
    with output.progress_bar() as show:
        show(Told(LONG, 16, 10.0, 200.0), 12, 40)
    lines = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9?;]*[a-zA-Z]", "", stream.getvalue()))
    shown = [line for line in lines if "12/40" in line]
    assert shown
    assert all(len(line) <= 80 for line in lines)
    assert all("about 3 min left" in line and "0:00:0" in line and "MLP(depth=4" in line for line in shown)


def test_a_log_gets_a_line_a_minute(clock, capsys):
    with output.progress_bar() as show:
        for index in range(1, 201):
            clock.now += 1
            show(Told("a\ncell", 16, 10.0, 100.0), index, 200)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"ntkrobust: {n} of 200 cells" for n in (60, 120, 180)]
    assert lines[0] == r"ntkrobust: 60 of 200 cells, 60 s, about 2 min left, a\ncell"
    with output.progress_bar(quiet=True) as show:
        clock.now += 100
        show("a cell", 1, 200)
    assert capsys.readouterr().err == ""


def test_a_notebook_shows_a_line(monkeypatch):
    shown: list[str] = []
    handle = SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))

    def display(data: dict, raw: bool, display_id: bool) -> SimpleNamespace:
        handle.update(data, raw)
        return handle

    def mine(text: str, index: int, total: int) -> None:
        pass

    assert shown_progress(mine) is mine
    for kernel, seen in ((None, 0), (object(), 2)):
        python = SimpleNamespace(get_ipython=lambda kernel=kernel: SimpleNamespace(kernel=kernel))
        monkeypatch.setitem(sys.modules, "IPython", python)
        monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
        show = shown_progress(None)
        for index in (1, 2, 3, 4):
            show(Told("a cell", 16, 10.0, 30.0), index, 4)
        assert len(shown) == seen, "the first and the last: the others came too soon"
    assert shown[0] == "1 of 4 cells, 0 s, about 30 s left, a cell"
