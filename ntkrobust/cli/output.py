"""What commands print, and where."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def complain(sentence: str) -> int:
    """Say what was wrong, on stderr; returns the exit status."""
    print(f"ntkrobust: {sentence}", file=sys.stderr)
    return 2


def print_json(inputs: dict[str, Any], values: dict[str, Any]) -> None:
    """Print the one JSON object of a command."""
    document = {"schema_version": 1, "inputs": inputs, "values": values}
    print(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False))


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda text, index, total: bar.update(task, description=text, completed=index, total=total)
