"""How long the rest of a run takes, and how that is shown."""

import io
import re
import sys
from functools import partial
from types import SimpleNamespace

import pytest

import ntkrobust as ntr
from ntkrobust.cli import output
from ntkrobust.studies import progress as telling
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.progress import Estimate, Told, duration, time_left
from ntkrobust.workflows.progress import shown_progress

CELLS = [
    Cell(ntr.MLP(depth, width), n=50, time="fixed steps", value=steps, budget=steps)
    for depth in (2, 3, 4)
    for width in (8, 16, 32, 64, 128)
    for steps in (100, 200, 400)
]
MULTIPLICATIONS = 1e9
"""That the machine of these tests does in a second."""


class Clock:
    """A clock that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(telling, "time", clock)
        monkeypatch.setattr(output, "time", clock)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def cost(cell: Cell) -> float:
    """Seconds: multiplications of all products, forwards and twice back, counted by hand; compiling takes 0.2 s."""
    m, depth = cell.net.width, cell.net.depth
    weights = 16 * m + (depth - 2) * m * m + m
    return 0.2 + 20 * 3 * 2 * weights * (cell.n * cell.budget + 8) / MULTIPLICATIONS


def told_along(clock: Clock, side_by_side: int) -> list[tuple[float, float, float]]:
    """(what is done of the time, seconds left as estimated, as they are) after each cell, the quick ones first."""
    order = sorted(CELLS, key=lambda cell: cell.net.count_parameters(16))
    estimate = Estimate(dict.fromkeys(order, 20), 16, 8, side_by_side)
    start, free, ends = clock.now, [clock.now] * side_by_side, []
    for cell in order:
        first = min(range(side_by_side), key=free.__getitem__)
        free[first] += cost(cell)
        ends.append((free[first], cell))
    ends.sort(key=lambda one: one[0])
    total, told = ends[-1][0] - start, []
    for when, cell in ends:
        clock.now = when
        estimate.done(cell, cost(cell))
        told.append(((when - start) / total, estimate.seconds_left(), start + total - when))
    return told


@pytest.mark.fast
@pytest.mark.parametrize("side_by_side", [1, 4])
def test_the_time_left_is_that_of_cells_of_their_size(side_by_side, clock):
    told = told_along(clock, side_by_side)
    total = told[0][2] / (1 - told[0][0])
    later = [one for one in told if one[0] > 0.1]
    assert len(later) > 10
    assert max(abs(left - true) for _, left, true in later) < 0.25 * total
    assert told[-1][1] == 0
    # By the number of cells it would be far off.
    done = [(index + 1, share, true) for index, (share, _, true) in enumerate(told) if share > 0.1]
    by_number = [abs((total - true) * (len(told) - count) / count - true) for count, _, true in done]
    assert max(by_number) > 0.25 * total


UNTRAINED = [
    Cell(ntr.MLP(depth, width), n=1, time="initialization") for depth in (2, 3, 4) for width in range(8, 68, 4)
]


def mixed_cost(cell: Cell) -> float:
    """Of untrained cells mostly what is compiled, so per multiplication a thousand times what trained ones cost."""
    return 0.05 if cell.time == "initialization" else 0.5 + cost(cell)


@pytest.mark.fast
def test_what_untrained_cells_cost_says_nothing_of_trained_ones(clock, monkeypatch):
    order = [*UNTRAINED, *sorted(CELLS, key=lambda cell: cell.net.count_parameters(16))]
    start, total, told = clock.now, sum(map(mixed_cost, order)), []
    estimate = Estimate(dict.fromkeys(order, 20), 16, 8)
    spent = work = 0.0
    for index, cell in enumerate(order, 1):
        clock.now += mixed_cost(cell)
        estimate.done(cell, mixed_cost(cell))
        told.append(((clock.now - start) / total, estimate.seconds_left(), start + total - clock.now))
        if index == len(UNTRAINED):
            # The planted fault: what trained cells would cost at the price of untrained ones, per multiplication.
            spent = clock.now - start
            work, left = (sum(telling._size(one, 20, 16, 8).work for one in cells) for cells in (UNTRAINED, CELLS))
            assert spent * left / work > 10 * total
    assert all(left is None for _, left, _ in told[: len(UNTRAINED)]), "nothing is known of trained cells"
    assert told[len(UNTRAINED)][0] < 0.1
    later = [one for one in told if one[0] > 0.1]
    assert max(abs(left - true) for _, left, true in later) < 0.25 * total


def test_nothing_is_told_before_a_cell_is_done(clock):
    estimate = Estimate({CELLS[0]: 2, CELLS[1]: 2}, 16, 8)
    assert estimate.seconds_left() is None
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
