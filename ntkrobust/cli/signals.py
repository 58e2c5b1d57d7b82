"""Signals that end a command: soon, whatever it is in the middle of, and without a trace.

Python turns a signal into an exception of the main thread, which unwinds what was begun. That may come late, where the
thread waits for a compilation or for networks that train; or never, where a library that is being imported swallows
it. So another thread hears of the signal too: it gives the exception ``GRACE`` seconds, gives up the folders that are
still reserved, and ends the process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from ntkrobust.files.atomic import give_up_folders

GRACE = 0.5
"""Seconds in which a command that was told to end may do so by itself; a second signal ends them."""

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


_WORDS: list[Callable[[], str]] = []
"""What gives the sentence to leave with, while there is one."""


@contextlib.contextmanager
def leaving_with(words: Callable[[], str]) -> Iterator[None]:
    """Should a signal end the process inside, a sentence is printed on stderr: what ``words`` gives, if anything."""
    _WORDS.append(words)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        _say_last_words()
        raise
    finally:
        _WORDS.clear()


def _say_last_words() -> None:
    """Once, whichever thread comes first."""
    with contextlib.suppress(IndexError, OSError):
        sentence = _WORDS.pop()()
        if sentence:
            # What a progress bar has on its line is written over.
            start = "\r\x1b[K" if os.isatty(2) else ""
            os.write(2, f"{start}{sentence}\n".encode(errors="backslashreplace"))


def end_on_signals() -> None:
    """From here on, Ctrl-C, SIGTERM and SIGHUP end the process with 128 and their number.

    Those that the process was started to ignore (``nohup``) stay ignored. To be called in the main thread.
    """
    for number in ENDING:
        # Ctrl-C raises KeyboardInterrupt as it is.
        if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    sys.unraisablehook = _unless_leaving
    if os.name != "posix":  # elsewhere the descriptor has to be that of a socket
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), name="signals", daemon=True).start()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End by an exception, so that what was begun is removed on the way out."""
    raise SystemExit(128 + number)


def _unless_leaving(event: sys.UnraisableHookArgs) -> None:
    """Where no exception can be raised, such as in a destructor, the other thread ends the process: nothing to tell."""
    if not issubclass(event.exc_type, SystemExit | KeyboardInterrupt):
        sys.__unraisablehook__(event)


def _watch(reader: int) -> None:
    # Each signal that Python handles writes its number; others than ours may.
    while (number := os.read(reader, 1)[0]) not in ENDING:
        pass
    select.select([reader], [], [], GRACE)
    give_up_folders()
    _say_last_words()
    if sys.stderr is not None and sys.stderr.isatty():  # a progress bar hides the cursor
        os.write(2, b"\x1b[?25h")
    os._exit(128 + number)
