"""Data sets by name, as the command line's ``--data NAME|FILE`` takes them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import cast

from ntkrobust.data.bundled import NORMALIZATIONS, DigitsTask, Normalization, digits
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.files import from_file
from ntkrobust.data.synthetic import gaussian, sphere
from ntkrobust.errors import InputError

NAMES = ("digits", "digits-parity", "digits-classes", "digits-N-vs-rest", "sphere", "gaussian")
"""The names :func:`load` knows; N stands for a digit 0..9, and ``:pixel`` or ``:raw`` may follow those of digits."""

_SYNTHETIC = {"sphere": sphere, "gaussian": gaussian}


def load(spec: str | os.PathLike[str], seed: int = 0) -> Dataset:
    """A data set by name, or from a file.

    - ``"digits"`` or ``"digits-parity"``, ``"digits-classes"``, ``"digits-N-vs-rest"`` with N in 0..9: rows of unit
      norm; followed by ``":pixel"`` or ``":raw"``, pixels in [0, 1] or 0..16.
    - ``"sphere"``, ``"gaussian"``: 400 training and 100 test points in d = 16, ``"sign"`` target, no noise.
    - Anything that has a suffix or a path separator is a file, read by :func:`from_file`.

    ``seed`` is that of the split, or of the points of synthetic data.

    Raises:
        InputError: the name is unknown, or the file can't be used.
    """
    if not isinstance(spec, str):
        return from_file(spec, seed)
    if Path(spec).suffix or any(separator in spec for separator in (os.sep, os.altsep) if separator):
        return from_file(spec, seed)
    if spec in _SYNTHETIC:
        return _SYNTHETIC[spec](400, 100, 16, seed=seed)
    match = re.fullmatch(r"digits(?:-(parity|classes|([0-9])-vs-rest))?(?::(\w+))?", spec)
    if match is None or match[3] not in (None, *NORMALIZATIONS):
        raise InputError(
            f"unknown data {spec!r}: expected one of {', '.join(NAMES)} (N a digit; those of digits may be followed by "
            ":pixel or :raw), or a file ending in .npz or .csv"
        )
    normalization = cast(Normalization, match[3] or "unit")
    if match[2] is not None:
        return digits("one-vs-rest", positive=int(match[2]), normalization=normalization, seed=seed)
    return digits(cast(DigitsTask, match[1] or "parity"), normalization=normalization, seed=seed)
