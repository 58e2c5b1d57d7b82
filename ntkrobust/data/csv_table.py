"""The numbers and labels of a text table, or the line and column that keeps them from being read."""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ntkrobust.data.checks import Array, first_bad_norm
from ntkrobust.data.csv_layout import (
    MISSING,
    TRUTH,
    Layout,
    as_number,
    has_decimal_comma,
    is_number,
    label_column,
    layout_of,
    may_number_rows,
    rows_of,
)
from ntkrobust.data.labels import EXACT_INTEGERS, FEW, Kind
from ntkrobust.errors import InputError

_MISSING_LABELS = ("", "na", "n/a", "#n/a", "#na", "nan", "-nan", "null", "<na>", "?")
"""Fewer than of numbers: "none" may be the name of a class."""


@dataclasses.dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        x: (n, d) inputs.
        y: (n,) labels, of integers, booleans or text; or floating-point targets.
        label: what the column of labels is called, or "the last column".
        notes: what was decided about columns, in words.
    """

    x: Array
    y: npt.NDArray[np.generic]
    label: str
    notes: str


def read_table(
    stream: BinaryIO, kind: Kind | None = None, name: str | None = None, without: Sequence[str] = ()
) -> Table:
    """The inputs and labels of a table.

    Args:
        stream: the file.
        kind: what the label is: a class or a real target; None decides by what is there.
        name: of the label's column.
        without: names of columns that are no inputs.

    Raises:
        InputError: something can't be read, is missing or could mean two things; the sentence has line and column.
    """
    layout = layout_of(stream, name)
    cells = _Cells(stream, layout, name, without)
    cells.read()
    x = cells.numbers()
    y = _labels(cells, kind)
    notes = []
    if cells.label != layout.columns - 1:
        notes.append(f"label column {cells.label_name}")
    if cells.left_out:
        notes.append(f"without column {', '.join(str(at + 1) for at in cells.left_out)}, which numbers the rows")
    if without:
        notes.append(f"without {', '.join(map(repr, without))}")
    return Table(x, y, cells.label_name, ", ".join(notes))


class _Cells:
    """The rows of a file as they come: inputs as numbers, labels and what may number the rows as text."""

    def __init__(self, stream: BinaryIO, layout: Layout, name: str | None, without: Sequence[str]) -> None:
        self._stream, self._layout = stream, layout
        self.names = layout.names
        self.label = label_column(self.names, layout.columns, name)
        dropped = {label_column(self.names, layout.columns, one) for one in without}
        if self.label in dropped:
            raise InputError(f"{self.label_name} holds the labels and can't be left out: say which does, :label=NAME")
        others = [at for at in range(layout.columns) if at != self.label and at not in dropped]
        self._may_number = [at for at in others if may_number_rows(self.names, at)]
        self._inputs = [at for at in others if at not in self._may_number]
        self._numbers = array.array("d")
        self._texts: dict[int, list[str]] = {at: [] for at in (self.label, *self._may_number)}
        self._truths = dict.fromkeys(self._inputs, 0)
        self._commas = self._points = 0
        self.lines: list[int] = []
        self.left_out: list[int] = []

    @property
    def separator(self) -> str:
        """Between cells."""
        return self._layout.separator

    @property
    def label_name(self) -> str:
        """What to call the column of labels in a sentence."""
        if self.label == self._layout.columns - 1:
            return "the last column"
        return repr(self.names[self.label]) if self.names else f"column {self.label + 1}"

    @property
    def labels(self) -> list[str]:
        """The cells of the label's column."""
        return self._texts[self.label]

    def place(self, row: int, column: int) -> str:
        """Where a cell is, in words."""
        named = f" ({self.names[column]!r})" if self.names and self.names[column] else ""
        return f"line {self.lines[row]}, column {column + 1}{named}"

    def read(self) -> None:
        """Go through the file.

        Raises:
            InputError: a row has another number of cells, or an input is not a number.
        """
        layout = self._layout
        head: list[str] = []
        for line, cells in rows_of(self._stream, layout.separator):
            if line == layout.first and layout.names is not None and layout.above:
                head = cells
                continue
            if len(cells) != layout.width:
                raise InputError(
                    f"line {line} must have {layout.width} columns as line {layout.first} has, got {len(cells)}"
                )
            if layout.ends_in_separator and cells.pop():
                raise InputError(f"line {line} must have {layout.columns} columns as others have, got {layout.width}")
            self._take(line, cells)
        if not self.lines:
            raise InputError("expected lines of numbers, got a header only")
        if layout.what in ("names unless", "point unless"):
            self._settle(head)
        if self._commas and self._points:
            raise InputError("it has numbers with decimal commas as well as with points, such as 1,5 and 1.5")
        for column, count in self._truths.items():
            if count not in (0, len(self.lines)):
                raise InputError(f"column {column + 1} must hold numbers, or True and False, got both")
        self._sort_out()

    def _take(self, line: int, cells: list[str]) -> None:
        self.lines.append(line)
        for at, texts in self._texts.items():
            texts.append(cells[at])
        picked = [cells[at] for at in self._inputs]
        together = "".join(picked)
        self._points += "." in together
        try:
            if "_" not in together:
                self._numbers.extend([float(cell) for cell in picked])
                return
        except ValueError:
            pass
        self._numbers.extend([self._number(cell, at) for cell, at in zip(picked, self._inputs, strict=True)])

    def _number(self, cell: str, column: int) -> float:
        number = as_number(cell, self.separator)
        if number is not None:
            self._commas += "," in cell
            return number
        if cell.lower() in TRUTH:
            self._truths[column] += 1
            return TRUTH[cell.lower()]
        hint = f"; a column that is no input is left out by FILE.csv:without={self.names[column]}" if self.names else ""
        raise InputError(f"{self.place(-1, column)} must be a number, got {_shown(cell)}{hint}")

    def _settle(self, head: list[str]) -> None:
        """See that a first row that counts was taken for what it is: names, or a point.

        Raises:
            InputError: its last number is a label of other rows, so that names could be a point; or of no other row
                while others share theirs, so that a point could be names.
        """
        labels = [as_number(cell, self.separator) for cell in self.labels]
        if self._layout.what == "names unless":
            is_doubtful = as_number(head[self.label], self.separator) in labels
        else:
            others = labels[1:]
            is_doubtful = labels[0] not in others and len(set(others)) < len(others)
            head = [f"{self._numbers[at]:g}" for at in range(len(self._inputs))]
        if is_doubtful:
            raise InputError(
                f"line {self._layout.first} counts {', '.join(head[:3])} and may hold the names of columns or a point: "
                "give names that are no numbers, or move the point down"
            )

    def _sort_out(self) -> None:
        """Leave out the columns that number or name the rows; others, whatever they are called, are inputs.

        Raises:
            InputError: the rows are numbered in a column that nothing says is no input.
        """
        kept: list[int] = []
        for at in self._may_number:
            cells = self._texts[at]
            counts = all(cell.isdecimal() for cell in cells)
            are_distinct = len(set(cells)) == len(cells)
            is_named = bool(self.names) and self.names[at].lower() in ("index", "id")  # type: ignore[index]
            are_texts = not any(is_number(cell, self.separator) for cell in cells)
            if (counts or are_texts) and (are_distinct or not is_named):
                self.left_out.append(at)
            else:
                kept.append(at)
        if kept:
            table = np.array(self._numbers, dtype=np.float64).reshape(len(self.lines), len(self._inputs))
            for at in kept:
                column = []
                for row, cell in enumerate(self._texts[at]):
                    number = as_number(cell, self.separator)
                    if number is None:
                        raise InputError(f"{self.place(row, at)} must be a number, got {_shown(cell)}")
                    column.append(number)
                place = sum(one < at for one in self._inputs)
                table = np.insert(table, place, column, axis=1)
                self._inputs.insert(place, at)
            self._numbers = array.array("d", table.ravel())
        if not self._inputs:
            raise InputError("expected at least one column of inputs beside the label, got none")

    def numbers(self) -> Array:
        """The inputs (n, d).

        Raises:
            InputError: one is not finite, an input has no norm, or the first column numbers the rows.
        """
        x = np.array(self._numbers, dtype=np.float64).reshape(len(self.lines), len(self._inputs))
        bad = np.argwhere(~np.isfinite(x))
        if bad.size:
            row, column = bad[0]
            raise InputError(
                f"{self.place(int(row), self._inputs[column])} must be a finite number, got {x[row, column]:g}"
            )
        n, first = len(x), x[:, 0]
        for start, least in ((0, 3), (1, 10)):
            if self.names is None and n >= least and np.array_equal(first, np.arange(start, start + n)):
                raise InputError(
                    f"column 1 numbers the lines from {start} to {start + n - 1}, and may be an input or not: leave it "
                    "out, or put a line of names above (none for the numbers of rows)"
                )
        bad_norm = first_bad_norm(x)
        if bad_norm is not None:
            row, norm = bad_norm
            raise InputError(f"every input must have a positive norm, but that of line {self.lines[row]} is {norm:g}")
        return x


def _shown(cell: str) -> str:
    if not cell:
        return "an empty cell"
    return f"{cell!r}, which says that it is missing" if cell.lower() in MISSING else repr(cell)


def _labels(cells: _Cells, kind: Kind | None) -> npt.NDArray[np.generic]:
    """The labels (n,), of integers, booleans or text; or real targets."""
    texts = cells.labels
    numbers = [as_number(text, cells.separator) for text in texts]
    for row, (text, number) in enumerate(zip(texts, numbers, strict=True)):
        if text.lower() in _MISSING_LABELS:
            raise InputError(f"{cells.place(row, cells.label)} must be a label, got {_shown(text)}")
        if number is not None and not np.isfinite(number):
            raise InputError(f"{cells.place(row, cells.label)} must be a finite number, got {number:g}")
        if (number is None) != (numbers[0] is None):
            raise InputError(
                f"{cells.place(row, cells.label)} must be a {'text' if numbers[0] is None else 'number'} as the labels "
                f"above it, got {text!r}"
            )
    if numbers[0] is None:
        if kind == "target":
            raise InputError(f"{cells.place(0, cells.label)} must be a real target, got {texts[0]!r}")
        if cells.separator == "," and all(has_decimal_comma(text) for text in texts):
            raise InputError(
                f"{cells.place(0, cells.label)} must be a text or a number with a decimal point in a file separated by "
                f"commas, got {texts[0]!r}: write decimal points, or separate the columns by semicolons"
            )
        are_truths = all(text.lower() in TRUTH for text in texts)
        found = np.array([text.lower() == "true" for text in texts]) if are_truths else np.array(texts)
    else:
        values = np.array(numbers, dtype=np.float64)
        are_whole = (values == np.rint(values)) & (np.abs(values) < EXACT_INTEGERS)
        if kind == "label" and not are_whole.all():
            row = int(np.argmin(are_whole))
            raise InputError(f"{cells.place(row, cells.label)} must be a whole number or text, got {texts[row]!r}")
        if kind == "target" or not are_whole.all():
            return values
        found = values.astype(np.int64)
    distinct = len(np.unique(found))
    if kind is None and FEW < distinct <= 1000 and 2 * distinct > len(found):
        raise InputError(
            f"{cells.label_name} holds {distinct} different labels on {len(found)} lines, and may be a class or a real "
            "target: say which as FILE.csv:label=NAME or FILE.csv:target=NAME (or :label, :target for the last column)"
        )
    return found
