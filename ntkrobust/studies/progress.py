"""What is told of a job while it runs, and in which words."""

from __future__ import annotations

from ntkrobust.errors import printable


class Told(str):
    """What a progress callback is given as its text: the cell that ended, and beside it how the run stands.

    Attributes:
        networks: that were drawn for the cell.
        seconds: since the job began.
        seconds_left: until it ends, about; None where nothing is known of it.
    """

    networks: int
    seconds: float
    seconds_left: float | None

    def __new__(cls, text: str, networks: int, seconds: float, seconds_left: float | None) -> Told:
        """A text with how the run stands."""
        told = super().__new__(cls, text)
        told.networks, told.seconds, told.seconds_left = networks, seconds, seconds_left
        return told


def in_words(text: str, done: int, total: int, seconds: float) -> str:
    """What a progress callback is given, as a line: ``3 of 8 cells, 62 s, about 19 s left, MLP(…) initialization``."""
    left = time_left(text) if done < total else ""
    return ", ".join(filter(None, (f"{done} of {total} cells", duration(seconds), left, printable(text))))


def time_left(text: str) -> str:
    """``about 3 min left``, where the text of a progress callback knows it; else nothing."""
    seconds = getattr(text, "seconds_left", None)
    return "" if seconds is None else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Seconds in the units that they fill: ``45 s``, ``3 min``, ``2 h 10 min``, ``4 d 3 h``."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
