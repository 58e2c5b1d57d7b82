"""Signals end a command soon and without a trace, whatever it is in the middle of."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ntkrobust.cli import cache

DEAF = """
import os, signal, sys, time
import ntkrobust.cli as cli, ntkrobust.cli.signals as signals
from ntkrobust.files.atomic import reserved

def work(_):
    with reserved({out!r}, ("a",)) as folder:
        (folder / ".ntkrobust-0123456789abcdef.partial").mkdir()
        try:
            os.kill(os.getpid(), {number})
            time.sleep(60)
        except BaseException:
            time.sleep({seconds})  # whoever catches it goes on
        return 7

{more}
cli.run = work
cli.main()
"""
COMPUTING = """
import os, signal, sys, threading
import jax
import ntkrobust.cli as cli, ntkrobust.workflows.verify as workflow

def examine(*_, **__):
    endless = jax.jit(lambda: jax.lax.while_loop(lambda i: i >= 0, lambda i: (i + 1) % 7, 0)).lower().compile()
    threading.Timer(0.5, os.kill, (os.getpid(), {number})).start()
    jax.block_until_ready(endless())

workflow.examine = examine
sys.argv = ["ntkrobust", "verify", {claims!r}, "--data", "sphere", "--out", {out!r}]
cli.main()
"""


def ended(code: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_swallowed_ends_the_run_all_the_same(number, tmp_path):
    code = DEAF.format(out=str(tmp_path / "out"), number=int(number), seconds=60, more="")
    assert ended(code) == (128 + number, "", "")
    assert list(tmp_path.iterdir()) == []


def test_without_the_watching_thread_it_would_be_lost(tmp_path):
    deaf = DEAF.format(out=str(tmp_path / "out"), number=15, seconds=0, more="signals._watch = lambda _: None")
    assert ended(deaf)[0] == 7


def test_a_run_that_computes_ends(tmp_path):
    (tmp_path / "claims.py").write_text(
        "import ntkrobust as ntr\n"
        'claim = ntr.Claim("mine/rises", "", ntr.IncreasesIn("width"), "jacobian_frobenius", '
        '{"width": (2, 3, 4), "depth": (2,)})\n'
    )
    code = COMPUTING.format(out=str(tmp_path / "out"), number=2, claims=str(tmp_path / "claims.py"))
    assert ended(code) == (130, "", "")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py"] in ([], ["__pycache__"])


def test_a_signal_that_the_process_was_told_to_ignore_stays_ignored():
    ignoring = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"  # as nohup does
    code = "import ntkrobust.cli as cli\ncli.run = lambda _: os.kill(os.getpid(), signal.SIGHUP) or 0\ncli.main()"
    assert ended(ignoring + code) == (0, "", "")
    assert ended("import os, signal\n" + code)[0] == 128 + signal.SIGHUP


def test_programs_that_were_cut_short_are_forgotten(tmp_path, monkeypatch, recwarn):
    damaged, whole = tmp_path / "jit_f-0123-cache", tmp_path / "jit_g-0123-cache"
    for path in (damaged, whole):
        path.write_bytes(b"")
    monkeypatch.setattr(warnings, "showwarning", lambda *given, **_: shown.append(str(given[0])))
    shown: list[str] = []
    cache._forget_damaged(Path(tmp_path))
    for text in ("Error reading persistent compilation cache entry for 'jit_f': Error -5", "something else"):
        warnings.showwarning(UserWarning(text), UserWarning, "compiler.py", 1)
    assert shown == ["something else"]
    assert os.listdir(tmp_path) == [whole.name]
