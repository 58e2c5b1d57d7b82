"""What public names are given: each wrong call is refused in one sentence, at once, whatever stands in an argument."""

import importlib.util
import math
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import ntkrobust as ntr
import ntkrobust.workflows.verify  # its libraries take seconds, which are not counted below
from ntkrobust import checks
from ntkrobust.bounds.verdicts import planning
from ntkrobust.checks import check_flag, check_integer, check_not_negative, check_number, shown, takes, whole
from ntkrobust.cli import run
from ntkrobust.errors import InputError
from ntkrobust.runtime.seeds import check_seeds

Report = Callable[[str, object, object, str], None]
HUGE = 10**23


@pytest.fixture(scope="module")
def wrong_calls() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "wrong_calls.py"
    spec = importlib.util.spec_from_file_location("wrong_calls", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["wrong_calls"] = module
    spec.loader.exec_module(module)
    return module


X, Y = np.eye(2), np.array([1.0, -1.0])
GRID = {"depth": (2,), "width": (3,)}
CLAIM = ntr.Claim("mine/bound", "", ntr.AtMost(lambda width: 1.0), "jacobian_frobenius", GRID)

HANGING: dict[str, Callable[[], Any]] = {
    "looks": lambda: ntr.verify(CLAIM, looks=10**9),
    "seeds of verify": lambda: ntr.verify(CLAIM, seeds=10**9),
    "depth": lambda: ntr.MLP(HUGE, 3),
    "width": lambda: ntr.MLP(2, 10**12),
    "d_out": lambda: ntr.MLP(2, 3, d_out=HUGE),
    "depth of a grid": lambda: ntr.verify(CLAIM, at={"depth": HUGE, "width": 3}),
    "a grid's values": lambda: ntr.Claim("a", "", CLAIM.relation, "jacobian_frobenius", {"depth": range(2, 10**9)}),
    "seeds": lambda: check_seeds(10**12),
    "points": lambda: ntr.verify(CLAIM, points=10**12),
    "a data set": lambda: ntr.data.sphere(10**6, 10, 10**6),
    "draws": lambda: ntr.exact_law(ntr.MLP(2, 3), 4).sample(None, HUGE),  # type: ignore[arg-type]
    "moment": lambda: ntr.exact_law(ntr.MLP(2, 3), 4).moment(10**9),
    "budget of a search": lambda: ntr.search(CLAIM, budget=10**9),
    "steps of an adversary": lambda: ntr.Adversary(0.1, steps=10**12),
    "budget of a reading": lambda: ntr.Reading("equal loss", 0.1, budget=10**12),
    "fixed steps": lambda: ntr.Reading("fixed steps", 10**12),
    "seeds of power": lambda: ntr.power(CLAIM, seeds=10**9),
    "max_seeds": lambda: ntr.compare(ntr.MLP(2), max_seeds=10**12),
}


@pytest.mark.parametrize("name", HANGING)
def test_a_million_fold_number_is_refused_at_once(name: str, figure: Report) -> None:
    start = time.process_time()
    with pytest.raises(InputError):
        HANGING[name]()
    seconds = time.process_time() - start
    figure(f"seconds for {name} of a million times", seconds, "< 1", "process_time; it hung")
    assert seconds < 1


def test_a_check_without_a_largest_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without it looks come in, and the planned sizes are made one by one: stopped here instead of waiting.
    monkeypatch.setattr(checks, "LARGEST", math.inf)
    monkeypatch.setattr("ntkrobust.workflows.verify.look_sizes", lambda seeds, looks: looks_seen.append(looks) or 1 / 0)
    looks_seen: list[int] = []
    original = check_integer
    monkeypatch.setattr(
        checks,
        "check_integer",
        lambda name, value, minimum, because="", maximum=0: original(
            name,
            value,
            minimum,
            because,
            maximum=math.inf,  # type: ignore[arg-type]
        ),
    )
    with pytest.raises(ZeroDivisionError):
        ntr.verify(CLAIM, data="sphere", looks=10**9)
    assert looks_seen == [10**9]


NO_INTEGERS = (
    2.0,
    2.9,
    "2",
    True,
    np.bool_(True),
    None,
    np.array(2),
    np.array([2]),
    2 + 0j,
    math.nan,
    Fraction(2),
    b"2",
    [],
)


@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_no_integer_is_taken_for_one(value: object) -> None:
    with pytest.raises(InputError, match=r"^depth must be an integer of at least 1, got "):
        check_integer("depth", value, 1)


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2), np.int8(2)], ids=repr)
def test_integers_of_any_size_are(value: Any) -> None:
    found = check_integer("depth", value, 1)
    assert (found, type(found)) == (2, int)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 10**400, Fraction(10**400, 3), "1.0", True, None, 1j, np.array(1.0), np.float64("nan")],
    ids=lambda value: shown(value, 20),
)  # fmt: skip
def test_no_number_is_taken_for_one(value: object) -> None:
    with pytest.raises(InputError, match=r"^rate must be a finite number, got ") as caught:
        check_number("rate", value)
    assert len(str(caught.value)) < 150


def test_numbers_come_out_as_floats() -> None:
    assert [check_number("x", value) for value in (1, np.float32(0.5), Fraction(1, 4))] == [1.0, 0.5, 0.25]
    assert math.copysign(1, check_not_negative("x", -0.0)) == 1
    assert check_flag("x", np.bool_(True)) is True
    with pytest.raises(InputError):
        check_flag("x", 1)


def test_a_table_of_checks_stands_before_a_function() -> None:
    @takes(n=whole(1, 10))
    def doubled(n: int, by: float = 2.0) -> float:
        """Twice."""
        return n * by

    assert doubled(np.int64(3)) == 6.0  # type: ignore[arg-type]
    assert doubled.__doc__ == "Twice."
    for wrong in (0, 11, 2.5):
        with pytest.raises(InputError, match="n must be an integer"):
            doubled(n=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        doubled(m=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("path", [1, True, None, b"run.npz", "", "a\0b", 2.0], ids=repr)
def test_a_number_is_no_file(path: Any) -> None:
    # open(1) is standard output, which would be closed with the file.
    with pytest.raises(InputError, match="a saved run must be a path"):
        ntr.Run.load(path)


class _Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_sentence_is_one_line_whatever_arrived() -> None:
    for value in (np.eye(30), "a\nb", "\x1b[31mred", 10**5000, _Hostile(), "x" * 10**6, "\ud800"):
        with pytest.raises(InputError) as caught:
            ntr.MLP(2, value)  # type: ignore[arg-type]
        sentence = str(caught.value)
        assert sentence.isprintable()
        assert len(sentence) < 200


@pytest.mark.parametrize(
    "words",
    [
        "law --depth 2.9 --width 4 --d-in 5",
        "law --depth 3 --width 4.0 --d-in 5",
        "law --depth 3 --width 4 --d-in 1e3",
        "law --depth 3 --width 1_0 --d-in 5",
        "law --depth 3 --width ٣ --d-in 5",
        f"law --depth {'9' * 23} --width 4 --d-in 5",
        f"law --depth {'9' * 5000} --width 4 --d-in 5",
        "law --depth 3 --width 1000000000000 --d-in 5",
        "verify law/jensen --seeds 16.9",
        "verify law/jensen --looks 1000000000",
        "verify law/jensen --at depth=2.5 --at width=4",
        "verify law/jensen --at depth=99999999999999999999999",
        "verify law/jensen --points 2.5",
        "verify law/jensen --key -1",
        "infinite --depth 2 --points 2.5",
        "infinite --depth 2 --ridge 1_0",
        "compare --widths 2.5 3 4",
        "compare --seeds 16.9",
        "power law/jensen --seeds 16.9",
    ],
)
def test_commands_round_nothing(words: str, capsys: pytest.CaptureFixture, figure: Report) -> None:
    status = run(words.split())
    said = capsys.readouterr()
    figure(f"ntkrobust {words[:60]}", status, 2, "the documented status of a refusal")
    assert (status, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


def test_conversion_as_the_library_does_it_would_be_noticed() -> None:
    # cyclopts rounds 2.9 to 3: what its own converter makes of it.
    import cyclopts

    app = cyclopts.App()
    seen = []
    app.default(lambda *, depth: seen.append(depth))
    function = app.default_command
    function.__annotations__["depth"] = int
    app(["--depth", "2.9"], exit_on_error=False, result_action="return_value")
    assert seen in ([2], [3])


def test_wrong_calls_end_in_one_sentence(wrong_calls: ModuleType, figure: Report) -> None:
    found = wrong_calls.campaign(40, 3)
    bad = [(call, outcome) for call, outcome in found if outcome not in ("refused", "right")]
    figure("bare exceptions and hangs of 40 wrong calls", len(bad), 0, "benchmarks/wrong_calls.py counts thousands")
    assert not bad
    assert [call for call, _ in wrong_calls.wrong_calls(40, 3)] == [call for call, _ in found]


RAGGED = [[1.0], [1.0, 2.0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ntr.Activation(np.array([1.0, 2.0])), "unknown activation"),  # type: ignore[arg-type]
        (lambda: ntr.Equals(lambda width: 1.0, margin=10**400), "a margin must be a finite number"),
        (lambda: ntr.ScalesAs("width", 1.0, over=np.array([])), "an exponent is read over"),  # type: ignore[arg-type]
        (lambda: ntr.train(ntr.MLP(2, 3), X, Y, learning_rate=10**400), "or a positive number, got 1000"),
        (lambda: ntr.train(ntr.MLP(2, 3), X, Y, learning_rate=True), "or a positive number, got True"),
        (lambda: ntr.train(ntr.MLP(2, 3), X, Y, bounds=np.ma.masked), "bounds must be None or a pair"),
        (lambda: ntr.train(ntr.MLP(2, 3), X, Y, movable=RAGGED), "movable must be None or 2 booleans"),
    ],
)
def test_what_numpy_and_floats_choke_on_is_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_a_spread_beyond_all_effects_shows_none() -> None:
    # Lognormal networks whose standard deviation is a million times their mean: no mean is ever seen.
    assert planning.detectable_effect(ntr.DecreasesIn("width"), cv=1e6, n=16, repetitions=40) == math.inf


def test_a_campaign_sees_bare_exceptions_and_hangs(wrong_calls: ModuleType) -> None:
    def bare() -> None:
        raise ValueError("shapes (2,) and (3,)")

    def hanging() -> None:
        while True:
            pass

    def rambling() -> None:
        error = InputError("one")
        error.args = ("one\ntwo",)
        raise error

    assert wrong_calls.outcome_of(bare)[0] == "bare"
    assert wrong_calls.outcome_of(rambling)[0] == "bare"
    assert wrong_calls.outcome_of(hanging, seconds=0.05)[0] == "slow"
    assert wrong_calls.outcome_of(lambda: ntr.MLP(1, 3))[0] == "refused"
    assert wrong_calls.outcome_of(lambda: ntr.MLP(2, 3)) == ("right", "")
