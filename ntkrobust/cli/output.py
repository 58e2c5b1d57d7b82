"""What commands print, and where."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rich.console import Console

from ntkrobust.errors import UndrawnWarning, printable
from ntkrobust.studies.progress import in_words, time_left

MINUTE = 60.0
"""Seconds between two lines of progress in a log."""

BROKEN_PIPE = 141
"""The exit status where the reader has gone, as of other commands: 128 + SIGPIPE."""


UNDRAWN = 3
"""The exit status of a finished run whose report lacks a figure that could not be drawn."""


class _Console(Console):
    """A console that goes on in silence when the reader of a pipe has gone: what is to be written still is."""

    def on_broken_pipe(self) -> None:
        give_up_output()


def console(piped: int = 150) -> Console:
    """Standard output. In a file or a pipe, lines of so many columns: there is room for whole ids.

    Texts are printed as they are but for what markup asks for in them; ``:name:`` is no picture, numbers aren't
    coloured.
    """
    width = None if sys.stdout.isatty() else piped
    return _Console(width=width, emoji=False, highlight=False)


def complain(sentence: str) -> int:
    """Say what was wrong, on stderr; returns the exit status."""
    print(f"ntkrobust: {printable(' '.join(sentence.split()))}", file=sys.stderr)
    return 2


@contextmanager
def complaining_of_figures() -> Iterator[list[str]]:
    """Inside, warnings of figures that can't be drawn are sentences on stderr; yields those that were printed."""
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", UndrawnWarning)
        show = warnings.showwarning

        def complain_or_show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, UndrawnWarning):
                said.append(str(message))
                complain(said[-1])
            else:
                show(message, category, *where, **more)

        warnings.showwarning = complain_or_show
        yield said


def print_json(inputs: dict[str, Any], values: dict[str, Any]) -> None:
    """Print the one JSON object of a command; letters beyond ASCII as they are where the output can take them."""
    document = {"schema_version": 1, "inputs": inputs, "values": values}
    escaped = (sys.stdout.encoding or "ascii").lower().replace("-", "") not in ("utf8", "utf8sig")
    print(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=escaped))


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; where that is no terminal, a line each minute.

    Args:
        quiet: whether to show nothing.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = _Console(stderr=True, emoji=False)
    if quiet or not console.is_terminal:
        yield (lambda text, index, total: None) if quiet else line_each_minute()
        return
    # What a cell is called is cut where the line ends; the rest never is.
    described = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
    left = TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True))
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn(), left, described)
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("compiling", total=None, left="")

        def show(text: str, index: int, total: int) -> None:
            bar.update(task, description=printable(text), completed=index, total=total, left=time_left(text))

        yield show


def line_each_minute() -> Callable[[str, int, int], None]:
    """For logs: how far it is, at the first cell that ends a minute or more after the last line."""
    started = said = time.monotonic()

    def show(text: str, index: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= MINUTE:
            said = now
            print(f"ntkrobust: {in_words(text, index, total, now - started)}", file=sys.stderr, flush=True)

    return show


def prepare_streams() -> None:
    """Let no sign that standard output or error can't encode, and no closed stream, end a command."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:  # closed by the shell: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  it lives as long as we do
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")


def flush_output() -> None:
    """Let what was printed be out of our hands, if there is still somebody to take it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_output()


def finish_output(status: int) -> int:
    """Write out what is left; the exit status, which is another one than ``status`` if that can't be done."""
    try:
        flush_output()
    except OSError as error:
        give_up_output()
        return complain(f"standard output can't be written to: {error.strerror or error}")
    return BROKEN_PIPE if _reader_has_gone and not status else status


_reader_has_gone = False


def give_up_output() -> int:
    """Write nothing more, so that leaving Python doesn't try; returns the exit status of a broken pipe."""
    global _reader_has_gone
    _reader_has_gone = True
    with suppress(OSError, ValueError):  # there may be no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
