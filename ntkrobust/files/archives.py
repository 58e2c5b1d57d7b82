"""How much a file may become: bounded before any of it is unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Container, Iterable
from typing import Any, BinaryIO

import numpy as np

from ntkrobust.errors import InputError
from ntkrobust.runtime.machine import available_bytes, gibibytes, resident_bytes

COPIES = 3
"""Arrays of float64 that are held of a file's numbers while they are read and checked, at most."""

UNSUSPICIOUS = 2**28
"""Bytes that a packed file may become, however small it is."""

LARGEST_RATIO = 100
"""Beyond those, how many times its size. Deflate reaches 1 000 where all bytes are alike; images and measurements,
2 to 20."""


def check_size(what: str, packed: int, unpacked: int, numbers: int) -> None:
    """See that there is room for what a file holds, and that it is no file made to fill memory.

    Args:
        what: to be said of the file, for the sentence.
        packed: its bytes.
        unpacked: those of what it holds.
        numbers: how many numbers these are.

    Raises:
        InputError: there isn't, or it is.
    """
    _check_ratio(what, packed, unpacked)
    needed, available = resident_bytes() + unpacked + COPIES * 8 * numbers, available_bytes()
    if available and needed > available:
        raise InputError(
            f"{what} holds {numbers} numbers, which need about {gibibytes(needed)}, and {gibibytes(available)} are "
            "there: take fewer points"
        )


def _check_ratio(what: str, packed: int, unpacked: int) -> None:
    """Raise InputError for a file made to fill memory."""
    if unpacked > UNSUSPICIOUS and unpacked > LARGEST_RATIO * max(packed, 1):
        raise InputError(
            f"{what} would unpack to {gibibytes(unpacked)}, more than {LARGEST_RATIO} times its {packed} bytes, which "
            "no measured data do: store them uncompressed if they are"
        )


def check_archive(stream: BinaryIO, archive: zipfile.ZipFile, names: Iterable[str] | None = None) -> None:
    """The same for the arrays of an ``.npz`` file, whose sizes its directory and their headers state.

    The directory is believed in one direction only: ``zipfile`` unpacks no more of a member than it states, and an
    array whose header asks for more than its member holds is refused here, before room is made for it.

    Args:
        stream: the file, at any place; it is left there.
        archive: its directory.
        names: of the arrays that will be read; all by default.

    Raises:
        InputError: they need too much memory, or a header says more than there is.
    """
    at = stream.tell()
    packed = stream.seek(0, 2)
    stream.seek(at)
    wanted = None if names is None else {f"{name}.npy" for name in names}
    members = [one for one in archive.infolist() if wanted is None or one.filename in wanted]
    unpacked = sum(one.file_size for one in members)
    _check_ratio("the archive", packed, unpacked)
    forms = [_form(archive, one) for one in members]
    check_size("the archive", packed, unpacked, sum(math.prod(form[0]) for form in forms if form is not None))


def _form(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and type of an array, by its header; None where that can't be read, which reading it will say."""
    try:
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in readers:
                return None
            shape, _, dtype = readers[version](stream)
    except Exception:  # damaged bytes surface as whatever the zip, zlib or header parser meets first
        return None
    count = math.prod(shape)
    if count * dtype.itemsize > member.file_size:
        raise InputError(
            f"the archive is truncated or corrupt: {member.filename.removesuffix('.npy')} states "
            f"{gibibytes(count * dtype.itemsize)} in its header and has {member.file_size} bytes"
        )
    return shape, dtype


def load_arrays(stream: BinaryIO, names: Container[str] | None = None) -> dict[str, Any]:
    """Arrays of an ``.npz`` file, without pickles: all of them, or those of these names that are there.

    Raises:
        InputError: it is no such file, or as for :func:`check_archive`.
        Exception: of as many kinds as there are ways to damage a file.
    """
    # Of a single array numpy would make room for what its header states.
    if stream.read(4)[:2] != b"PK":
        raise InputError("it is not an .npz archive")
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as archive:
        wanted = [name for name in archive.files if names is None or name in names]
        check_archive(stream, archive.zip, wanted)
        return {name: archive[name] for name in wanted}


def forms_of(stream: BinaryIO) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each array of an ``.npz`` file whose header can be read; nothing else is.

    Raises:
        InputError: a header says more than there is.
        Exception: of as many kinds as there are ways to damage a file.
    """
    with zipfile.ZipFile(stream) as archive:
        forms = {one.filename.removesuffix(".npy"): _form(archive, one) for one in archive.infolist()}
    return {name: form for name, form in forms.items() if form is not None}
