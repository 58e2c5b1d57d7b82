"""IDX files, the format of MNIST and its relatives, plain or gzipped.

Two zero bytes, the type of the entries (08: unsigned bytes), the number of dimensions; the dimensions as big-endian
32-bit integers; the entries, the last index fastest.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.files.archives import check_size

_UNSIGNED_BYTES = 8
_CHUNK = 2**20


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The unsigned bytes of an IDX file, which must have so many dimensions.

    A file that promises more than there is costs no memory: entries are read as they come, and counted.

    Raises:
        InputError: the file is something else, or truncated; the sentence says what was expected and what arrived.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        packed = os.fstat(file.fileno()).st_size
        if path.suffix != ".gz":
            return _parse(file, dimensions, packed, is_packed=False)
        start = file.read(2)
        if start != b"\x1f\x8b":
            raise InputError(f"expected gzip data, as the name ends in .gz, got {_shown(start)} at the start")
        file.seek(0)
        try:
            with gzip.open(file) as stream:
                return _parse(stream, dimensions, packed, is_packed=True)  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"the gzip data are truncated or corrupt ({error})") from None


def _parse(stream: BinaryIO, dimensions: int, packed: int, is_packed: bool) -> npt.NDArray[np.uint8]:
    expected = bytes((0, 0, _UNSIGNED_BYTES, dimensions))
    length = 4 * (1 + dimensions)
    header = stream.read(length)
    if header[:4] != expected:
        raise InputError(
            f"expected an IDX file of unsigned bytes in {dimensions} dimension{'s' * (dimensions > 1)}, which starts "
            f"with {_shown(expected)}, got {_shown(header[:4])}"
        )
    if len(header) < length:
        raise InputError(f"expected a header of {length} bytes, got a file of {len(header)} bytes")
    shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4", offset=4))
    size, product = math.prod(shape), " × ".join(map(str, shape))
    if not size:
        raise InputError(f"expected at least one entry, got dimensions {product}")
    # Of a file as it is, what is missing is seen before anything else.
    if is_packed or packed - length >= size:
        check_size("the file", packed, size, size)
    parts, left = [], size + 1
    while left and (part := stream.read(min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    if left != 1:
        arrived = "more" if not left else f"{size + 1 - left} bytes"
        raise InputError(f"expected {size} bytes of data for the dimensions {product} of the header, got {arrived}")
    return np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(shape)


def _shown(some: bytes) -> str:
    return f"the bytes {some.hex(' ')}" if some else "an empty file"
