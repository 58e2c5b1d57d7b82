"""Data sets by name, as the command line's ``--data NAME|FILE`` takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt

from ntkrobust.checks import shown
from ntkrobust.data.arrays import arrays_in, from_arrays
from ntkrobust.data.bundled import digits
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.files import from_file
from ntkrobust.data.folders import Form, from_folder
from ntkrobust.data.openml import from_openml
from ntkrobust.data.synthetic import gaussian, sphere
from ntkrobust.data.tasks import NORMALIZATIONS
from ntkrobust.errors import InputError

NAMES = (
    "digits", "digits-parity", "digits-classes", "digits-N-vs-rest", "sphere", "gaussian",
    "idx:FOLDER", "cifar10:FOLDER", "openml:NAME",
)  # fmt: skip
"""The names :func:`load` knows. N stands for a digit 0..9; ``:pixel`` or ``:raw`` may follow those of images; for
``idx``, ``cifar10`` and ``openml``, ``-parity`` or ``-N-vs-rest`` too."""

_SYNTHETIC = {"sphere": sphere, "gaussian": gaussian}

_DIGITS = re.compile(r"digits(?:-(?P<task>parity|classes|(?P<positive>[0-9])-vs-rest))?(?::(?P<normalization>\w+))?")
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
    - ``"sphere"``, ``"gaussian"``: 400 training and 100 test points in d = 16, ``"sign"`` target, no noise.
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
    # Options of a file may end in dots: FILE.csv:range=0..
    has_suffix = Path(spec).suffix or Path(spec.partition(":")[0]).suffix
    if has_suffix or any(separator in spec for separator in (os.sep, os.altsep) if separator):
        return _from_path(spec, seed)
    if spec in _SYNTHETIC:
        return _SYNTHETIC[spec](400, 100, 16, seed=seed)
    match = _DIGITS.fullmatch(spec)
    if match is not None and match["normalization"] in (None, *NORMALIZATIONS):
        return digits(seed=seed, **{"task": "parity", **_variant(match)})
    if spec and Path(spec).is_dir():
        return from_folder(spec, seed=seed)
    raise InputError(
        f"unknown data {spec!r}: expected one of {', '.join(NAMES)} (N a digit; those of images may be followed by "
        ":pixel or :raw), or a file ending in .npz or .csv"
    )


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
        return f"a {type(given).__name__} of {len(given)} ({', '.join(type(one).__name__ for one in given[:4])})"
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
    if match["normalization"]:
        chosen["normalization"] = match["normalization"]
    return chosen
