"""The user's own data: ``.npz`` and ``.csv``, read as data only; nothing in a file can execute."""

from __future__ import annotations

import array
import csv
import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import check_integer
from ntkrobust.data.checks import Array, as_points, check_same_rows, first_bad_norm
from ntkrobust.data.dataset import TEST_SHARE, Dataset, split
from ntkrobust.data.encoding import describe_task, encode, task_of
from ntkrobust.data.labels import Classes
from ntkrobust.errors import InputError

SUFFIXES = (".npz", ".csv")

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_EXACT_INTEGERS = 2.0**53
"""Below this every integer is a float64, so a label read as float64 is the label that was written."""


def from_file(path: str | os.PathLike[str], seed: int = 0) -> Dataset:
    """A data set from a file; inputs are taken as they are, not normalized.

    - ``.npz``: arrays ``x_train`` (n, d) and ``y_train`` (n,) or (n, o), and optionally ``x_test``, ``y_test``; other
      arrays are ignored. Labels and targets are told apart as in :func:`~ntkrobust.data.targets`.
    - ``.csv``: UTF-8, comma separated, one point per line, label in the last column, d from the data. A first line
      in which no cell is a number is a header. Labels that are all integers (``3`` or ``3.0``) are classes; otherwise
      they are real targets.

    Without a test part, the points are shuffled and split 80/20 with ``seed``; the classes are those of the whole
    file. The task is classification for labels, and for targets that are ±1 or one-hot already.

    Raises:
        InputError: the file can't be read or isn't what it says; the sentence names the file and the place: array, row
            and column counting from 0 in an ``.npz``, line and column counting from 1 in a ``.csv``.
    """
    rng = np.random.default_rng(check_integer("seed", seed, 0))
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"a data file must be given by its path, got {path!r}")
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError("expected a file, got a directory")
        if not path.exists():
            raise InputError("there is no such file")
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"expected a file ending in {' or '.join(SUFFIXES)}, got {path.suffix or 'no suffix'!r}")
        # A named pipe would have us wait for a writer, and could not be read twice.
        if not path.is_file():
            raise InputError("expected a regular file")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
            if stream.tell() == 0:
                raise InputError("the file is empty")
            stream.seek(0)
            read = _read_npz if path.suffix.lower() == ".npz" else _read_csv
            x_train, y_train, x_test, y_test, classes = read(stream)
        if x_test is None or y_test is None:
            train, test = split(len(x_train), TEST_SHARE, rng)
            x_train, y_train, x_test, y_test = x_train[train], y_train[train], x_train[test], y_train[test]
            origin = f"split {1 - TEST_SHARE:.0%} train, {TEST_SHARE:.0%} test with seed {seed}"
        else:
            origin = "train and test parts of the file"
        task = task_of(y_train, y_test)
        # Two files of one name aren't the same data: the digest tells them apart in stored evidence.
        name = f"{path.name} (sha256 {digest}), {describe_task(task, y_train.shape[1])}, not normalized, {origin}"
        return Dataset(x_train, y_train, x_test, y_test, name, task, classes=classes)
    except InputError as error:
        raise InputError(f"data file {path}: {error}") from None
    except OSError as error:
        raise InputError(f"data file {path}: it can't be read ({error.strerror or error})") from None


_Parts = tuple[Array, Array, Array | None, Array | None, Classes | None]
"""x_train, y_train, x_test, y_test, checked and encoded, and the classes of labels; x_test and y_test are None where
the file has no test part."""


def _read_npz(stream: BinaryIO) -> _Parts:
    arrays = _load_arrays(stream)
    x_train = as_points("x_train", arrays["x_train"])
    if "x_test" not in arrays:
        (y_train,), classes = encode([("y_train", arrays["y_train"])])
        check_same_rows("x_train", x_train, "y_train", y_train)
        return x_train, y_train, None, None, classes
    (y_train, y_test), classes = encode([("y_train", arrays["y_train"]), ("y_test", arrays["y_test"])])
    return x_train, y_train, as_points("x_test", arrays["x_test"]), y_test, classes


def _load_arrays(stream: BinaryIO) -> dict[str, npt.NDArray[np.generic]]:
    """``x_train``, ``y_train``, and if the archive has them ``x_test`` and ``y_test``, as they are."""
    magic = stream.read(4)
    stream.seek(0)
    if magic not in _ZIP_MAGIC:
        raise InputError("it is not an .npz archive (a zip file, as numpy.savez writes)")
    try:
        archive = np.load(stream, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"the archive is truncated or corrupt ({_one_line(error)})") from None
    with archive:
        _check_directory(stream, archive.zip)
        found = archive.files
        missing = [name for name in ("x_train", "y_train") if name not in found]
        if missing:
            shown = ", ".join(found) if found else "none"
            raise InputError(
                f"expected the arrays x_train and y_train, missing {' and '.join(missing)}; arrays found: {shown}"
            )
        tests = [name for name in ("x_test", "y_test") if name in found]
        if len(tests) == 1:
            raise InputError(f"expected both x_test and y_test or neither, got only {tests[0]}")
        return {name: _load_array(archive, name) for name in ("x_train", "y_train", *tests)}


def _check_directory(stream: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Raise InputError unless the archive lists as many members as its last record counts.

    ``zipfile`` doesn't compare them, so one damaged length could hide x_test and y_test, and we would make a split.
    """
    # The end-of-central-directory record: 22 bytes, the number of members at 10; 0xFFFF says it's stored elsewhere.
    stream.seek(-22 - len(archive.comment), os.SEEK_END)
    record = stream.read(22)
    counted, listed = int.from_bytes(record[10:12], "little"), len(archive.infolist())
    if record[:4] != _ZIP_MAGIC[1] or counted not in (listed, 0xFFFF):
        raise InputError(f"the archive is truncated or corrupt (it lists {listed} members, not those it counts)")


def _load_array(archive: np.lib.npyio.NpzFile, name: str) -> npt.NDArray[np.generic]:
    try:
        value = archive[name]
    # Damaged bytes surface as whatever the zip, zlib or header parser meets first, down to OverflowError, MemoryError.
    except Exception as error:
        if "allow_pickle" in str(error):
            raise InputError(f"{name} must hold real numbers, got an array of Python objects") from None
        raise InputError(f"the archive is truncated or corrupt: {name} can't be read ({_one_line(error)})") from None
    if not isinstance(value, np.ndarray):
        raise InputError(f"{name} must be an array, got a member of the archive that is not in numpy's format")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read_csv(stream: BinaryIO) -> _Parts:
    table, lines = _parse_csv(stream)
    bad = np.argwhere(~np.isfinite(table))
    if bad.size:
        row, column = bad[0]
        raise InputError(f"line {lines[row]}, column {column + 1} must be a finite number, got {table[row, column]:g}")
    x, label = table[:, :-1], table[:, -1]
    bad_norm = first_bad_norm(x)
    if bad_norm is not None:
        row, norm = bad_norm
        raise InputError(f"every input must have a positive norm, but that of line {lines[row]} is {norm:g}")
    are_classes = bool(np.all((label == np.rint(label)) & (np.abs(label) < _EXACT_INTEGERS)))
    (y,), classes = encode([("the last column", label.astype(np.int64) if are_classes else label)])
    return x, y, None, None, classes


def _parse_csv(stream: BinaryIO) -> tuple[Array, list[int]]:
    """The numbers of the file, (points, columns), and the line each point ends on."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    reader = csv.reader(text)
    numbers = array.array("d")
    lines: list[int] = []
    width = first_line = 0
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells) and len(cells) < 2:
                continue
            if not width:
                width, first_line = len(cells), line
                if width < 2:
                    raise InputError(f"line {line} must hold inputs and a label separated by commas, got one column")
                if not any(_is_number(cell) for cell in cells):
                    continue
            if len(cells) != width:
                raise InputError(f"line {line} must have {width} columns as line {first_line} has, got {len(cells)}")
            numbers.extend(_parse_row(cells, line))
            lines.append(line)
    except UnicodeDecodeError:
        raise InputError("it is not text in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} is not comma-separated text ({error})") from None
    finally:
        # Otherwise the wrapper closes the stream, which belongs to the caller.
        text.detach()
    if not lines:
        raise InputError("expected lines of numbers, got " + ("a header only" if width else "blank lines only"))
    return np.array(numbers, dtype=np.float64).reshape(len(lines), width), lines


def _parse_row(cells: list[str], line: int) -> list[float]:
    try:
        # float() reads 1_000 as a number, but a cell with an underscore is a name or a mistake.
        if "_" not in "".join(cells):
            return [float(cell) for cell in cells]
    except ValueError:
        pass
    column = next(index for index, cell in enumerate(cells) if not _is_number(cell))
    shown = repr(cells[column]) if cells[column].strip() else "an empty cell"
    raise InputError(f"line {line}, column {column + 1} must be a number, got {shown}")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
