"""Data sets by name, as the command line's ``--data NAME|FILE`` takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt

from ntkrobust.checks import shown
from ntkrobust.data.arrays import arrays_in, from_arrays
from ntkrobust.data.bundled import digits
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.file_options import SUFFIXES
from ntkrobust.data.files import from_file
from ntkrobust.data.folders import Form, from_folder
from ntkrobust.data.openml import from_openml
from ntkrobust.data.synthetic import gaussian, sphere
from ntkrobust.data.tables import COLUMNS, TABLES, Columns, TableName, table
from ntkrobust.data.tasks import NORMALIZATIONS
from ntkrobust.errors import InputError

NAMES = (
    "digits", "digits-parity", "digits-classes", "digits-N-vs-rest", *TABLES, "sphere", "gaussian",
    "idx:FOLDER", "cifar10:FOLDER", "openml:NAME",
)  # fmt: skip
"""The names :func:`load` knows. N stands for a digit 0..9; ``:pixel`` or ``:raw`` may follow those of images, ``:unit``
or ``:raw`` those of tables; ``-N-vs-rest`` may follow tables of classes and, as ``-parity``, ``idx``, ``cifar10`` and
``openml``."""

_SYNTHETIC = {"sphere": sphere, "gaussian": gaussian}

SIZES = {"n": 400, "test": 100, "d": 16}
"""Of synthetic data, where nothing else is said."""

_DIGITS = re.compile(r"digits(?:-(?P<task>parity|classes|(?P<positive>[0-9])-vs-rest))?(?::(?P<normalization>\w+))?")
_TABLE = re.compile(
    rf"(?P<name>{'|'.join(TABLES)})(?:-(?P<task>classes|(?P<positive>[0-9])-vs-rest))?"
    rf"(?::(?P<columns>{'|'.join(COLUMNS)}))?"
)
_DRAWN = re.compile(rf"(?P<kind>{'|'.join(_SYNTHETIC)})(?::(?P<options>.*))?", re.DOTALL)
_IMAGES = re.compile(
    r"(?P<source>idx|cifar10|openml)(?:-(?P<task>parity|classes|(?P<positive>[0-9]{1,4})-vs-rest))?"
    rf":(?P<where>.+?)(?::(?P<normalization>{'|'.join(NORMALIZATIONS)}))?"
)

Data = str | os.PathLike[str] | Dataset | tuple[npt.ArrayLike, ...] | Mapping[str, npt.ArrayLike]
"""What is taken for a data set: a name or a file, one that there is, or arrays."""


def load(spec: Data, seed: int = 0) -> Dataset:
    """A data set by name, from a file, or of arrays.

    - ``"digits"`` or ``"digits-parity"``, ``"digits-classes"``, ``"digits-N-vs-rest"`` with N in 0..9: rows of unit
      norm; followed by ``":pixel"`` or ``":raw"``, pixels in [0, 1] or 0..16.
    - ``"breast-cancer"``, ``"wine"``, ``"iris"``, ``"diabetes"``: tables bundled with scikit-learn, as :func:`table`
      has them; followed by ``":unit"`` or ``":raw"`` for other columns, and by ``"-N-vs-rest"`` before that.
    - ``"sphere"``, ``"gaussian"``: 400 training and 100 test points in d = 16, ``"sign"`` target, no noise. Others are
      asked for as ``"sphere:d=64,n=512"``: ``d``, ``n`` and ``test`` (points), ``target``, ``noise`` and ``seed``.
    - ``"idx:FOLDER"``, ``"cifar10:FOLDER"``: image files in a folder, read by :func:`from_folder`; ten classes, rows
      of unit norm. ``"idx-parity:FOLDER"``, ``"idx-N-vs-rest:FOLDER"`` ask for another task, ``":pixel"`` and
      ``":raw"`` at the end for other inputs. ``"FOLDER"`` alone looks which files there are.
    - ``"openml:NAME"`` or ``"openml:NAME@VERSION"``, with the same variants: downloaded from openml.org on its first
      use, by :func:`from_openml`.
    - Arrays (x, y) or (x_train, y_train, x_test, y_test), or a mapping with these four names: as :func:`from_arrays`
      takes them. A :class:`Dataset` is itself.
    - Anything else that has a suffix or a path separator is a file, read by :func:`from_file`.

    ``seed`` is that of the split, or of the points of synthetic data.

    Raises:
        InputError: the name is unknown, or the file can't be used.
    """
    if isinstance(spec, Dataset):
        return spec
    if not isinstance(spec, str):
        return _of_objects(spec, seed)
    if (match := _IMAGES.fullmatch(spec)) is not None:
        where, source = match["where"], match["source"]
        if source != "openml":
            return from_folder(where, cast(Form, source), seed=seed, **_variant(match))
        name, _, version = where.rpartition("@")
        if not version.isdecimal():
            name, version = where, "1"
        return from_openml(name, int(version), seed=seed, **_variant(match))
    if (match := _DRAWN.fullmatch(spec)) is not None:
        return _drawn(match["kind"], match["options"], seed)
    # Options of a file may end in dots: FILE.csv:range=0..
    has_suffix = Path(spec).suffix or Path(spec.partition(":")[0]).suffix
    if has_suffix or any(separator in spec for separator in (os.sep, os.altsep) if separator):
        return _from_path(spec, seed)
    if (match := _TABLE.fullmatch(spec)) is not None:
        columns = cast(Columns, match["columns"] or "standard")
        return table(cast(TableName, match["name"]), columns=columns, seed=seed, **_variant(match))
    match = _DIGITS.fullmatch(spec)
    if match is not None and match["normalization"] in (None, *NORMALIZATIONS):
        return digits(seed=seed, **{"task": "parity", **_variant(match)})
    if spec and Path(spec).is_dir():
        return from_folder(spec, seed=seed)
    raise InputError(
        f"unknown data {spec!r}: expected one of {', '.join(NAMES)} (N a digit; those of images may be followed by "
        ":pixel or :raw, tables by -N-vs-rest, :unit or :raw, synthetic data by such as :d=64,n=512), or a file ending "
        f"in {' or '.join(SUFFIXES)}"
    )


def each(data: Data | Sequence[Data]) -> list[Data]:
    """One data set, or each of several: a list, or a tuple that holds no arrays.

    Raises:
        InputError: there is none in it.
    """
    several = isinstance(data, list) or (isinstance(data, tuple) and arrays_in(data) is None)
    if several and not data:
        raise InputError("data must be at least one name, file or data set, got none")
    return list(data) if several else [data]  # type: ignore[arg-type,list-item]


def _drawn(kind: str, options: str | None, seed: int) -> Dataset:
    """Synthetic data of the options NAME=VALUE, separated by commas."""
    chosen: dict[str, Any] = {"target": "sign", "noise": "0", "seed": seed, **SIZES}
    given = [] if options is None else [one.partition("=") for one in options.split(",")]
    for name, equals, value in given:
        if not equals or name not in chosen or [one[0] for one in given].count(name) > 1:
            raise InputError(
                f"{kind}: takes options out of {', '.join(chosen)}, each once, as {kind}:d=64,n=512, got "
                f"{shown(options)}"
            )
        chosen[name] = value
    n, test, d, seed = (_whole(kind, name, chosen[name]) for name in ("n", "test", "d", "seed"))
    try:
        noise = float(chosen["noise"])
    except ValueError:
        raise InputError(f"{kind}: noise must be a number, got {shown(chosen['noise'])}") from None
    return _SYNTHETIC[kind](n, test, d, target=chosen["target"], noise=noise, seed=seed)


def _whole(kind: str, name: str, value: int | str) -> int:
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) < 20):
        raise InputError(f"{kind}: {name} must be a natural number, got {shown(value)}")
    return int(value)


def _of_objects(given: object, seed: int) -> Dataset:
    """A data set of arrays, or at a path."""
    if isinstance(given, os.PathLike):
        return _from_path(given, seed)
    arrays = arrays_in(given)
    if arrays is not None:
        return from_arrays(*arrays.values(), seed=seed)
    hint = ""
    if hasattr(given, "columns"):
        hint = ": of a table of pandas give the columns, as (table.drop(columns=LABEL), table[LABEL])"
    raise InputError(
        "data must be a name, the path of a file, a Dataset, or arrays (x, y) or (x_train, y_train, x_test, y_test), "
        f"got {_kind(given)}{hint}"
    )


def _kind(given: object) -> str:
    """What was given, without its numbers."""
    if isinstance(given, list | tuple):
        return f"a {type(given).__name__} of {len(given)} ({', '.join(map(_kind, given[:4]))})"
    return f"{type(given).__name__} of shape {given.shape}" if hasattr(given, "shape") else shown(given)


def _from_path(path: str | os.PathLike[str], seed: int) -> Dataset:
    if Path(path).is_dir():
        return from_folder(path, seed=seed)
    return from_file(path, seed)


def _variant(match: re.Match[str]) -> dict[str, Any]:
    """The task and the normalization that a name asks for."""
    chosen: dict[str, Any] = {}
    if match["task"]:
        chosen["task"] = "one-vs-rest" if match["positive"] else match["task"]
    if match["positive"]:
        chosen["positive"] = int(match["positive"])
    if match.groupdict().get("normalization"):
        chosen["normalization"] = match["normalization"]
    return chosen
