"""What a text table looks like before its numbers are read: separator, names of columns, label, row numbers."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

from ntkrobust.errors import InputError

SAMPLE = 50
"""Lines from which the separator is told."""

LABEL_NAMES = ("label", "labels", "target", "targets", "class", "classes", "y")
"""What the column of labels is called, in any case of letters, where it isn't the last."""

INDEX_NAMES = ("index", "id")

_SEPARATORS = ("\t", ";", "|", ",")
"""In order of preference: a comma may be that of a number such as 1,5."""

_UNNAMED = re.compile(r"(Unnamed: 0(\.\d+)?)?")
"""How pandas names a column of row numbers: not at all, or so once it is read and written again."""

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d*(?:[eE][+-]?\d+)?")
_EXPLICIT = re.compile(r"sep=(.)\s*")

TRUTH = {"true": 1.0, "false": 0.0}
MISSING = ("", "na", "n/a", "#n/a", "#na", "nan", "-nan", "null", "none", "nil", "<na>", "nat", "?", "-", "--", ".")
"""What stands for a missing number, in lower case."""

FirstRow = Literal["names", "point", "names unless", "point unless"]
"""What the first row is. Where it counts 0, 1, 2, …: names, unless its last number is a label of other rows too; where
it counts otherwise (1, 2, 3 or 0.0, 1.0, 2.0): a point, unless its last number is the label of no other row."""

Row = tuple[int, list[str]]
"""The number of the line that a row ends on, from 1, and its cells."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How to read the lines of a table.

    Attributes:
        separator: between cells; a blank stands for any blanks.
        first: line number of the first row; what it is, names or a point, ``names`` and ``doubt`` say.
        names: of the columns, if the file has such.
        above: whether the names are the first row: False where a comment line above the points has them.
        what: that row is, as :data:`FirstRow` has it.
        width: cells of each row, with the empty one behind a separator at its end.
        ends_in_separator: whether every row has such an empty cell.
    """

    separator: str
    first: int
    names: tuple[str, ...] | None
    above: bool
    what: FirstRow
    width: int
    ends_in_separator: bool

    @property
    def columns(self) -> int:
        """Columns that hold something."""
        return self.width - self.ends_in_separator


def rows_of(stream: BinaryIO, separator: str) -> Iterator[Row]:
    """The rows that are not blank, from the start; comments, which begin with #, are skipped.

    Raises:
        InputError: the file is not text in UTF-8, or a line can't be taken apart.
    """
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    reader = csv.reader(_lines(text, separator), delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if len(stripped) > 1 or any(stripped):
                yield reader.line_num, stripped
    except UnicodeDecodeError:
        raise InputError("it is not text in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} is not comma-separated text ({error})") from None
    finally:
        # Otherwise the wrapper closes the stream, which belongs to the caller.
        text.detach()


def _lines(text: Iterable[str], separator: str) -> Iterator[str]:
    """Lines with comments blanked, so that their numbers stay those of the file."""
    for number, line in enumerate(text):
        if line.lstrip().startswith("#") or (not number and _EXPLICIT.fullmatch(line)):
            yield "\n"
        else:
            yield line.replace("\t", " ").strip() + "\n" if separator == " " else line


def layout_of(stream: BinaryIO, label: str | None) -> Layout:
    """The layout of a table.

    The first row holds names if no cell of it is a number, or if its numbers count 0, 1, 2, … as the columns of pandas
    do by default and something shows that they are no point: an empty cell before them, a text where other rows have
    numbers, the name ``label``, or decimal points in all other rows of a column. (The labels are the last resort.)
    Beside a text above numbers, any numbers that count will do.

    Args:
        stream: the file.
        label: the name of a column that the user gave.

    Raises:
        InputError: there are no rows of two columns, or the file is no text.
    """
    separator, comment = _separator_and_comment(stream)
    sample = list(itertools.islice(rows_of(stream, separator), SAMPLE))
    if not sample:
        raise InputError("expected lines of numbers, got blank lines only")
    (line, first), rest = sample[0], [cells for _, cells in sample[1:]]
    if len(first) < 2:
        raise InputError(f"line {line} must hold inputs and a label separated by commas, got one column")
    width = len(first)
    below = Counter(map(len, rest)).most_common(1)[0][0] if rest else width
    empty_ends = bool(rest) and all(cells[-1] == "" for cells in rest if len(cells) == below)
    texts_only = not any(is_number(cell, separator) for cell in first)
    if below == width + 1 and texts_only:
        # Names for all columns but one: that of the row numbers, as R writes them, or the nothing at the end of lines.
        names = tuple(first) if empty_ends else ("", *first)
        return Layout(separator, line, names, True, "names", below, empty_ends)
    ends = empty_ends and below == width and first[-1] == ""
    first = first[: width - ends]
    what = _what_it_is(first, [cells for cells in rest if len(cells) == width], separator, label)
    if what in ("names", "names unless"):
        return Layout(separator, line, tuple(first), True, what, width, ends)
    said = _cells_of(comment, separator) if comment else []
    if len(said) == len(first) and not any(is_number(cell, separator) for cell in said):
        return Layout(separator, line, tuple(said), False, what, width, ends)
    return Layout(separator, line, None, True, what, width, ends)


def _separator_and_comment(stream: BinaryIO) -> tuple[str, str]:
    """The separator that splits most of the first lines alike, and the last comment above them, without its #."""
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    comment, explicit = "", None
    try:
        for number, line in enumerate(text):
            if not number and (explicit := _EXPLICIT.fullmatch(line)):
                continue
            if line.lstrip().startswith("#"):
                comment = line.lstrip().lstrip("#").strip("\r\n")
            elif line.strip():
                break
    except UnicodeDecodeError:
        raise InputError("it is not text in UTF-8") from None
    finally:
        text.detach()
    if explicit:
        return explicit[1], comment
    alike = {separator: _alike(stream, separator) for separator in _SEPARATORS}
    best = max(alike, key=lambda separator: alike[separator])  # the first of equals
    if not alike[best]:
        best = " " if _alike(stream, " ") else ","
    return best, comment


def _alike(stream: BinaryIO, separator: str) -> int:
    """How many of the first rows have the same number of cells, more than one."""
    counts: Counter[int] = Counter()
    try:
        for _, cells in itertools.islice(rows_of(stream, separator), SAMPLE):
            counts[len(cells)] += len(cells) > 1
    except InputError:  # is said where the rows are read
        pass
    return max(counts.values(), default=0)


def _cells_of(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line.strip()], delimiter=separator, skipinitialspace=True), [])]


def _what_it_is(first: list[str], rest: list[list[str]], separator: str, label: str | None) -> FirstRow:
    """What the first row is, above the others."""
    numeric = [is_number(cell, separator) for cell in first]
    if not any(numeric):
        # A point of truth values, or with several gaps, is no row of names.
        gaps = sum(cell.lower() in MISSING for cell in first)
        return "point" if gaps > 1 or any(cell.lower() in TRUTH for cell in first) else "names"
    counted = [cell for cell, is_one in zip(first, numeric, strict=True) if is_one]
    by_default = counted == [str(number) for number in range(len(counted))]
    values = [as_number(cell, separator) or 0.0 for cell in counted]
    counts = len(values) > 1 and values == [values[0] + at for at in range(len(values))]
    if not rest or not (by_default or counts):
        return "point"
    if label is not None and label in first:
        return "names"
    others = [index for index, is_one in enumerate(numeric) if not is_one]
    if others:
        unnamed_first = others == [0] and not first[0]
        texts = [at for at in others if first[at].lower() not in MISSING]
        above_numbers = any(is_number(cells[at], separator) for at in texts for cells in rest)
        named_label = any(first[at].lower() in LABEL_NAMES for at in others)
        return "names" if unnamed_first or above_numbers or named_label else "point"
    if not by_default:
        return "point unless" if values[0] in (0, 1) else "point"
    decimal = any(all(not cells[at].lstrip("+-").isdecimal() for cells in rest) for at in range(len(first)))
    return "names" if decimal else "names unless"


def label_column(names: tuple[str, ...] | None, columns: int, label: str | None) -> int:
    """Which column holds the labels: the one named so, or else the last.

    Raises:
        InputError: no column or several have the name, or several columns are called like labels and the last isn't.
    """
    if names is None:
        if label:
            raise InputError(f"expected a column named {label!r}, got a file without names of columns")
        return columns - 1
    if label:
        found = [at for at, name in enumerate(names) if name == label]
        if len(found) != 1:
            shown = ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")
            raise InputError(f"expected one column named {label!r}, got {len(found)} such among {shown}")
        return found[0]
    lower = [name.lower() for name in names]
    # Of x, y and z the second is a coordinate.
    known = [name for name in LABEL_NAMES if name != "y" or "x" not in lower]
    found = [at for at, name in enumerate(lower) if name in known]
    if not found or columns - 1 in found:
        return columns - 1
    if len(found) > 1:
        raise InputError(
            f"expected one column of labels, got {' and '.join(repr(names[at]) for at in found)}: say which as "
            "FILE.csv:label=NAME"
        )
    return found[0]


def may_number_rows(names: tuple[str, ...] | None, column: int) -> bool:
    """Whether a column is called as one that numbers or names the rows: it has no name, or is an index or id."""
    if names is None:
        return False
    name = names[column]
    return (column == 0 and _UNNAMED.fullmatch(name) is not None) or name.lower() in INDEX_NAMES


def is_number(cell: str, separator: str = ",") -> bool:
    """Whether a cell is a number (NaN and infinities are); with a decimal comma where that doesn't separate."""
    return as_number(cell, separator) is not None


def as_number(cell: str, separator: str) -> float | None:
    """A cell as a number, or None."""
    if separator != "," and has_decimal_comma(cell):
        cell = cell.replace(",", ".")
    try:
        # float() reads 1_000 as a number, but a cell with an underscore is a name or a mistake.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def has_decimal_comma(cell: str) -> bool:
    """Whether a cell is a number written with a decimal comma."""
    return "," in cell and _DECIMAL_COMMA.fullmatch(cell) is not None
