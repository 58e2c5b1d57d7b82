"""What may follow the name of a file: ``FILE.csv:label=NAME:without=NAME:range=0..1:standard``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ntkrobust.checks import shown
from ntkrobust.data.labels import Kind
from ntkrobust.errors import InputError

SUFFIXES = (".npz", ".csv", ".tsv")
OPTIONS = ":label=NAME, :target=NAME, :without=NAME, :range=LOW..HIGH and :standard"

_FILE = re.compile(r"(?P<path>.+?\.(?:csv|tsv|npz))(?P<options>:.*)", re.IGNORECASE | re.DOTALL)
_NEXT = re.compile(r":(?=(?:label|target)(?:=|:|$)|range=|without=|standard(?::|$))", re.IGNORECASE)
"""Where an option begins: names of columns may hold colons."""


class FileOptions(NamedTuple):
    """A file, and what is said of it.

    Attributes:
        path: of the file.
        kind: whether its labels are classes or real targets; None where nothing is said.
        label: the column of labels.
        without: columns that are no inputs.
        range: of the inputs, as it was written.
        standard: whether columns are to have mean 0 and variance 1/d.
    """

    path: Path
    kind: Kind | None = None
    label: str | None = None
    without: tuple[str, ...] = ()
    range: str | None = None
    standard: bool = False


def options_of(path: str | os.PathLike[str]) -> FileOptions:
    """A path taken apart. A file of that name is itself, whatever it holds.

    Raises:
        InputError: something is said twice, or is none of the options.
    """
    text = os.fsdecode(path)
    match = _FILE.fullmatch(text)
    if match is None or os.path.exists(path):
        return FileOptions(Path(text))
    unknown, *given = _NEXT.split(match["options"])
    if unknown:
        raise InputError(f"data file {match['path']}: it may be followed by {OPTIONS}, got {shown(unknown)}")
    said: dict[str, str] = {}
    without: list[str] = []
    for one in given:
        name, _, value = one.partition("=")
        name = name.lower()
        if name == "without":
            without.append(value)
            continue
        if name in said or {name, *said} >= {"label", "target"}:
            raise InputError(f"data file {match['path']}: :{name} can't be said {'twice' if name in said else 'too'}")
        said[name] = value
    kind: Kind | None = "label" if "label" in said else "target" if "target" in said else None
    label = said.get(kind) if kind else None
    return FileOptions(Path(match["path"]), kind, label or None, tuple(without), said.get("range"), "standard" in said)


def range_of(text: str) -> tuple[float, float]:
    """``0..1``, ``0..`` and ``..1`` as two numbers.

    Raises:
        InputError: it is none of them.
    """
    ends = text.split("..")
    try:
        low, high = (float(end) if end.strip() else inf for end, inf in zip(ends, (-np.inf, np.inf), strict=True))
    except ValueError:
        low = high = np.nan
    if not low < high or (np.isinf(low) and np.isinf(high)):
        raise InputError(f"a range is written LOW..HIGH, such as :range=0..1 or :range=-1..1, got {shown(text)}")
    return low, high
