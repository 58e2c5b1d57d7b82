"""Commands in any pipe, locale and width of terminal; text from users is shown, not obeyed."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ntkrobust as ntr
from ntkrobust.cli import output, run
from ntkrobust.cli.output import BROKEN_PIPE, console, finish_output, prepare_streams, print_json
from ntkrobust.errors import InputError, one_line, printable
from ntkrobust.reports.latex import renders
from ntkrobust.reports.terminal import verdict_table

Report = Callable[[str, object, object, str], None]
LAW = ["law", "--depth", "3", "--width", "4", "--d-in", "5"]


class Ascii(io.TextIOWrapper):
    """Standard output as PYTHONIOENCODING=ascii has it."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii", write_through=True)

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode("ascii")


def ascii_output(monkeypatch: pytest.MonkeyPatch) -> Ascii:
    """Takes the place of standard output from here on."""
    stream = Ascii()
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def test_what_ascii_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch, figure: Report) -> None:
    stream = ascii_output(monkeypatch)
    prepare_streams()
    status = run(LAW)
    figure("status of law where output is ASCII", status, 0, "the command finished")
    assert status == 0
    assert "second_moment" in stream.text()
    assert "?" in stream.text()


def test_streams_that_are_not_prepared_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ascii_output(monkeypatch)
    with pytest.raises(UnicodeEncodeError):
        run(LAW)


def test_json_keeps_every_letter_where_output_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ascii_output(monkeypatch)
    prepare_streams()
    print_json({"name": "Größe ×"}, {})
    assert json.loads(stream.text())["inputs"]["name"] == "Größe ×"


@pytest.mark.parametrize("columns", ["20", "40", "80", "200", "0", "-5", "nonsense"])
def test_any_width_of_terminal(columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal, raising=False)
        assert run(LAW) == 0
        said = capsys.readouterr().out
        assert "\x1b" not in said or terminal
        if not terminal:
            assert "perturbation_stability" in said, "in a pipe nothing is cut"


NAMES = ("[red]x[/red]", "[/]", ":smile:", "[link=file:///etc]x", "$x_1$", "a{b}", "%s", "\\", "é×≤")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch, figure: Report) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    console().print(verdict_table({"values": {"verdicts": [described(f"mine/{name}")]}}))
    figure(f"the claim mine/{name} in a terminal", f"mine/{name}" in stream.getvalue(), True, "the text itself")
    assert f"mine/{name}" in stream.getvalue()


def described(claim: str) -> dict:
    return {
        "claim": claim, "label": "inconclusive", "effect": None, "p_value": None, "seeds": 3, "vacuous": False,
        "reading": {"text": "at initialization", "time": "initialization", "value": None, "optimizer": "gd",
                    "functional": "mean", "learning_rate": "auto", "loss": "squared", "batch_size": None,
                    "adversary": None},
        "relation": {"kind": "at_most", "text": "at most"}, "reason": "", "tightness": None, "cells": [],
    }  # fmt: skip


def test_markup_that_is_obeyed_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr("ntkrobust.reports.terminal._text", lambda text: text)
    console().print(verdict_table({"values": {"verdicts": [described("mine/[red]x[/red]")]}}))
    assert "mine/x" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb\bc", "a\\rb\\x08c"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udcff", "\\udcff"),
        ("Größe ×≤ 数", "Größe ×≤ 数"),
    ],
)
def test_what_a_terminal_would_obey_is_written_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_errors_show_names_of_files(capfd: pytest.CaptureFixture, tmp_path: Path) -> None:
    for name in ("\x1b[31mred.csv", "[red]x.csv", "$x$.csv", "a\nb.csv", "x" * 200 + ".csv"):
        (tmp_path / name).write_text("1,2\n3,nonsense\n4,5,6\n")
        assert run(["verify", "law/jensen", "--data", str(tmp_path / name)]) == 2
        said = capfd.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert said.err.rstrip("\n").isprintable()
        assert printable(name.replace("\n", " ")) in said.err


def test_a_sentence_that_is_long_keeps_both_ends() -> None:
    text = one_line(f"first {'x' * 10_000} last", 100)
    assert (len(text), text[:5], text[-4:]) == (100, "first", "last")
    assert str(InputError("two\n  lines")) == "two lines"


def test_formulas_that_would_take_long_are_shown_as_text() -> None:
    assert renders(r"\frac{1}{2}")
    assert not renders("x" * 5000)
    assert not renders("{" * 500)


HELP = ("verify", "power", "claims", "law", "infinite", "compare", "report", "doctor")


def test_help_and_unknown_words(capsys: pytest.CaptureFixture) -> None:
    for command in HELP:
        assert run([command, "--help"]) == 0
        assert "Usage" in capsys.readouterr().out
        assert run([command, "--nonsense", "1"]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
    for words in (["nonsense"], ["--nonsense"], ["law", "--depth"], ["law", "--depth", "3", "4", "5"]):
        assert run(words) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert run(["--help"]) == 0
    assert run(["--version"]) == 0


class Gone(io.TextIOBase):
    """A pipe whose reader has gone."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError

    def close(self) -> None:
        """Nothing to flush: the interpreter closes what it drops."""


def test_a_pipe_whose_reader_has_gone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(output, "_reader_has_gone", False)
    monkeypatch.setattr(sys, "stdout", Gone())
    assert finish_output(run(LAW)) == BROKEN_PIPE
    assert run(["claims"]) == BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_interruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ntkrobust.bounds.formulas.exact_law.exact_law", interrupted)
    assert run(LAW) == 130
    assert capsys.readouterr().err == ""


SHELL = {
    "a pipe that is closed": ("ntkrobust claims | head -1; echo ${PIPESTATUS[0]}", ("0", "141")),
    "standard output closed": ("ntkrobust claims >&-; echo $?", ("0",)),
    "all closed": ("ntkrobust claims <&- >&- 2>&-; echo $?", ("0",)),
    "a full device": ("ntkrobust claims > /dev/full; echo $?", ("2",)),
    "ASCII, no home, no terminal": (
        "env -u HOME PYTHONUTF8=0 PYTHONIOENCODING=ascii LC_ALL=C TERM=dumb NO_COLOR=1 ntkrobust claims > /dev/null; "
        "echo $?", ("0",)),
}  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="the shell is bash")
@pytest.mark.parametrize("name", ["a pipe that is closed", "standard output closed", "a full device"])
def test_in_a_shell(name: str, tmp_path: Path, figure: Report) -> None:
    in_a_shell(name, tmp_path, figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHELL)
def test_in_a_shell_all(name: str, tmp_path: Path, figure: Report) -> None:
    in_a_shell(name, tmp_path, figure)


def in_a_shell(name: str, tmp_path: Path, figure: Report) -> None:
    script, right = SHELL[name]
    function = f'ntkrobust() {{ "{sys.executable}" -m ntkrobust "$@"; }}\nexport -f ntkrobust\n'
    script = script.replace(" ntkrobust claims > /dev/null", f' "{sys.executable}" -m ntkrobust claims > /dev/null')
    path = os.pathsep.join([str(Path(ntr.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", "-c", function + script], capture_output=True, text=True, cwd=tmp_path, check=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    status = done.stdout.split()[-1]
    figure(f"status with {name}", status, " or ".join(right), "the documented one")
    assert status in right
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
