"""One run at a time: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ntkrobust.errors import InputError

try:
    import fcntl
except ImportError:  # not a Unix: nothing is locked, and files still appear whole
    fcntl = None  # type: ignore[assignment]

NO_FOLLOWING = getattr(os, "O_NOFOLLOW", 0)
_OWNER = re.compile(r"process \d{1,10} on [\w.-]{1,64}, since [\w:+-]{1,40}")


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file for its descriptor.

    Returns:
        Whether it could be; False if another descriptor holds it, here or on another machine that shares the disk; None
        if this file system knows no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock of this path inside; the file says who does, and is gone afterwards.

    The kernel frees a lock when its process ends, so what a killed one leaves is an empty name that stops nobody.
    Where the file system knows no locks, nobody is stopped.

    Raises:
        InputError: another run holds it (``busy``, with who that is), or the path is no file.
        OSError: the file can't be made.
    """
    descriptor = _acquired(path, busy)
    try:
        with contextlib.suppress(OSError):  # a full disk has no room for names
            os.ftruncate(descriptor, 0)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquired(path: Path, busy: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | NO_FOLLOWING, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError(f"{path} must be a file, or not there")
            if try_lock(descriptor) is False:
                owner = _OWNER.match(os.read(descriptor, 200).decode(errors="replace"))
                raise InputError(f"{busy} ({owner[0]})" if owner else busy)
            # Who held it before may have removed it between our opening and our locking.
            if is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
