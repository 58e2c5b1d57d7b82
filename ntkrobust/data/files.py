"""The user's own data: ``.npz`` and ``.csv``, read as data only; nothing in a file can execute."""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ntkrobust.checks import LARGEST_SEED, check_integer
from ntkrobust.data.csv_table import read_table
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.encoding import encode
from ntkrobust.data.file_options import SUFFIXES, FileOptions, options_of, range_of
from ntkrobust.data.parts import Parts, assembled, parts_of
from ntkrobust.data.standard import standardized
from ntkrobust.errors import InputError
from ntkrobust.files.archives import check_archive, check_size

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


def from_file(
    path: str | os.PathLike[str],
    seed: int = 0,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
) -> Dataset:
    """A data set from a file; inputs are taken as they are, not normalized.

    - ``.npz``: arrays ``x_train`` (n, d) and ``y_train`` (n,) or (n, o), and optionally ``x_test``, ``y_test``; the
      range of the inputs ``bounds``, (2,) or (2, d), lower ends first; ``movable`` (d,), booleans; and ``image_shape``,
      (height, width, channels). Other arrays are ignored. What :func:`from_arrays` says of arrays holds for these.
    - ``.csv``, ``.tsv``: text in UTF-8, one point per line: inputs, d of them, and a label.

    Of a ``.csv``:

    - *Separator*: comma, semicolon, tab, bar, or blanks: the one that splits most of the first 50 lines alike. Where it
      isn't the comma, numbers may have decimal commas. Cells may be quoted, lines may end in a separator; blank lines,
      and comments after ``#``, are skipped.
    - *Names of columns*: the first line, if no cell of it is a number; or if its numbers count 0, 1, 2, …, as the
      default names of pandas do, and something shows that it is no point: an empty cell before them, a text where
      others have numbers, decimals in all of a column below, or a label that no point has. Where nothing does, it is
      refused. A first line 1, 2, 3, … or 0.0, 1.0, 2.0, … is a point, and refused where it has a label of its own and
      others share theirs.
    - *Row numbers*: a first column without a name (or ``Unnamed: 0``), or a column ``index`` or ``id`` with no value
      twice, that holds natural numbers or texts, is left out. A first column in a file without names that counts the
      lines is refused.
    - *Label*: the last column; or, where the last is not called so, the one called ``label``, ``target``, ``class`` or
      ``y`` (or a plural). ``FILE.csv:label=NAME`` says which. Whole numbers (``3`` or ``3.0``), texts, and True and
      False are classes; other numbers are real targets. ``FILE.csv:target=NAME`` takes whole numbers for real targets
      too. Without ``=NAME`` both speak of the column that is taken by default, and of ``y_train`` in an ``.npz``. Whole
      numbers or texts with more than 20 different values, most of which occur once, are refused without either.
    - Inputs are numbers, or True and False. What is missing (an empty cell, ``NA``, ``nan``, ``?``, …) is refused.

    ``FILE.csv:without=NAME`` leaves out a column that is no input, such as a name; said again, another one.
    ``FILE:standard`` gives all columns mean 0 and variance 1/d, as :func:`standardized` does: columns of different
    units need it. ``FILE:range=LOW..HIGH``, such as ``pixels.csv:range=0..255`` or
    ``pixels.csv:label=NAME:range=0..255``, states the range of all inputs as they are in the file. One end may be left
    out.

    Without a test part, the points are shuffled and split 80/20 with ``seed``; the classes are those of the whole
    file. The task is classification for labels, and for targets that are ±1 or one-hot already.

    Args:
        path: the file.
        seed: of the split.
        bounds: the range of the inputs, as in :class:`~ntkrobust.data.Dataset`; by default what ``:range`` says, or
            what an ``.npz`` states, or none.
        movable: which coordinates may move, likewise.

    Raises:
        InputError: the file can't be read or isn't what it says; the sentence names the file and the place: array, row
            and column counting from 0 in an ``.npz``, line and column counting from 1 in a ``.csv``.
    """
    check_integer("seed", seed, 0, maximum=LARGEST_SEED)
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"a data file must be given by its path, got {path!r}")
    asked = options_of(path)
    path = asked.path
    try:
        if asked.range is not None:
            in_words = range_of(asked.range)
            if bounds is not None:
                raise InputError(f"its range is given twice, as :range={asked.range} and as bounds")
            bounds = in_words
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
            found = read(stream, asked)
        made = assembled(f"{path.name} (sha256 {digest})", found, seed, bounds, movable, "of the file")
        return standardized(made) if asked.standard else made
    except InputError as error:
        raise InputError(f"data file {path}: {error}") from None
    except OSError as error:
        raise InputError(f"data file {path}: it can't be read ({error.strerror or error})") from None


_STATED = ("bounds", "movable", "image_shape")
"""What an ``.npz`` may state of its inputs."""


def _read_npz(stream: BinaryIO, asked: FileOptions) -> Parts:
    for name in (asked.label, *asked.without):
        if name is not None:
            raise InputError(f"an .npz file has no columns with names, got {name!r}: give :label or :target alone")
    return parts_of(_load_arrays(stream), asked.kind)


def _load_arrays(stream: BinaryIO) -> dict[str, npt.NDArray[np.generic]]:
    """``x_train``, ``y_train``, and if the archive has them ``x_test``, ``y_test``, and what it states: as they are."""
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
        check_archive(stream, archive.zip, ("x_train", "y_train", "x_test", "y_test"))
        found = archive.files
        masks = [name for name in found if "mask" in name.lower()]
        if masks:
            raise InputError(f"the archive has a mask, {masks[0]}, and masked points are not read: leave them out")
        missing = [name for name in ("x_train", "y_train") if name not in found]
        if missing:
            shown = ", ".join(found) if found else "none"
            raise InputError(
                f"expected the arrays x_train and y_train, missing {' and '.join(missing)}; arrays found: {shown}"
            )
        known = ("x_train", "y_train", "x_test", "y_test", *_STATED)
        return {name: _load_array(archive, name) for name in known if name in found}


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


def _read_csv(stream: BinaryIO, asked: FileOptions) -> Parts:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    # A number takes two bytes at least: a digit and what separates it.
    check_size("the table", size, size, size // 2)
    table = read_table(stream, asked.kind, asked.label, asked.without)
    (y,), classes = encode([(table.label, table.y)])
    return Parts(table.x, y, None, None, classes, table.notes)
