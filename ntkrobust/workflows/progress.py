"""Progress where nobody asked for it: one line in a notebook, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from ntkrobust.studies.progress import in_words

Progress = Callable[[str, int, int], None]

PAUSE = 0.5
"""Seconds between two changes of the line."""


def shown_progress(given: Progress | None) -> Progress:
    """The callback that was given; without one, a line in a notebook, and elsewhere nothing."""
    if given is not None:
        return given
    return _line() if _in_a_notebook() else lambda text, index, total: None


def _in_a_notebook() -> bool:
    """Whether this process is the kernel of one."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _line() -> Progress:
    from IPython.display import display

    handle: Any = None
    shown, started = 0.0, time.monotonic()

    def show(text: str, index: int, total: int) -> None:
        nonlocal handle, shown
        now = time.monotonic()
        if now - shown < PAUSE and index < total:
            return
        shown = now
        line = {"text/plain": in_words(text, index, total, now - started)}
        if handle is None:
            handle = display(line, raw=True, display_id=True)
        else:
            handle.update(line, raw=True)

    return show
