"""Writing results: files that appear whole or not at all, alone or several together, in folders seen to be writable.

A file is written under a name of its own beside its place, forced to the disk, and moved there. Several files that
belong together are first written into a hidden folder, ``.ntkrobust-….partial``. Renaming that to ``….complete`` is the
one moment at which they count: from then on, whoever comes next, if it must be after a kill, moves them into place.
Before it, nothing has changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ntkrobust.errors import InputError, NotWrittenError, one_line, printable
from ntkrobust.files.locks import NO_FOLLOWING, held, is_at, try_lock

LOCK = ".ntkrobust.lock"
ROOM = 2**16
"""Bytes that must fit into a folder of results before anything is begun: fewer hold no report."""
PATIENCE = 10.0
"""Seconds that a process which ends waits for a disk; then it leaves what a killed one leaves."""

_PARTIAL = re.compile(r"\.ntkrobust-[0-9a-f]{16}\.partial")
_COMPLETE = re.compile(r"\.ntkrobust-[0-9a-f]{16}\.complete")

_RESERVED: list[tuple[Path, contextlib.ExitStack]] = []
"""Folders that this process has reserved, with what gives them free."""
_CHANGING = threading.Lock()
"""Held while files are moved into place and while a folder is given free, which nobody may cut short."""


def named(path: str | os.PathLike[str]) -> str:
    """A path as a sentence can hold it: line breaks and control characters as their escapes."""
    return printable(str(path))


def prepare_folder(out: str | os.PathLike[str]) -> Path:
    """Make the folder, with its parents, and see that it can be written to.

    Raises:
        InputError: it can't.
    """
    folder = as_path("a folder", out)
    _make(folder)
    _probe(folder, 0)
    return folder


def as_path(what: str, given: object) -> Path:
    """A path that some file system might have.

    Raises:
        InputError: it is no path, is empty, or holds a NUL.
    """
    if not isinstance(given, str | os.PathLike) or not isinstance(os.fspath(given), str):
        raise InputError(f"{what} must be a path, got {given!r}")
    if not os.fspath(given) or "\0" in os.fspath(given):
        raise InputError(f"{what} must be a path, got {os.fspath(given)!r}")
    return Path(given)


@contextlib.contextmanager
def reserved(out: str | os.PathLike[str], names: Sequence[str]) -> Iterator[Path]:
    """A folder for files of these names that no other run writes to, inside; made if it isn't there.

    What runs that are no more had begun in it is finished or removed first. A folder made here that stays empty is
    removed again.

    Args:
        out: the folder.
        names: of the files that may be written with :func:`write_together`, ``evidence/evidence.nc`` for one below.

    Raises:
        InputError: it can't be written to, another run writes to it, or something else stands in a file's place.
    """
    folder = as_path("a folder for results", out)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, _make(folder))
        _check_places(folder, names)
        busy = f"another run is writing to {named(folder)}: wait for it, or give another folder"
        try:
            stack.enter_context(held(folder / LOCK, busy))
            finish(folder, names)
            tidy(folder, alone=True)
            _probe(folder, ROOM)
        except OSError as error:
            raise InputError(f"cannot write to {named(folder)}: {_reason(error)}") from None
        mine = folder.absolute(), stack
        _RESERVED.append(mine)
        try:
            yield folder
        finally:
            with _CHANGING:
                _RESERVED.remove(mine)
                stack.close()


def give_up_folders() -> None:
    """Remove what this process had begun in folders that it has reserved, and give them free: the last thing it does.

    It is for a thread that ends the process whatever the others do; they change none of these folders any more.
    """
    if not _CHANGING.acquire(timeout=PATIENCE):  # and for good
        return
    for folder, stack in list(_RESERVED):
        with contextlib.suppress(OSError):
            tidy(folder, alone=True)
        stack.close()


def write_whole(target: str | os.PathLike[str], writer: Callable[[BinaryIO], Any]) -> None:
    """Write a file with ``writer``, which is called with it opened; it appears when it is whole.

    A symbolic link in its place is replaced, never followed.

    Raises:
        InputError: the path is none, or that of something that is no file.
        NotWrittenError: it can't be written. Nothing of it is left.
    """
    place = as_path("a file", target)
    _check_file(place)
    try:
        tidy(place.parent)
        with _CHANGING, _own_file(place.parent) as (partial, file):
            if place.is_file() and not place.is_symlink():
                os.fchmod(file.fileno(), stat.S_IMODE(place.stat().st_mode))
            writer(file)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(place)
        _sync(place.parent)
    except OSError as error:
        raise NotWrittenError(f"cannot write {named(place)}: {_reason(error)}") from None


def write_bytes(target: str | os.PathLike[str], content: bytes) -> None:
    """The same for a content that is there already."""
    write_whole(target, lambda file: file.write(content))


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """The same for a text, in UTF-8."""
    write_bytes(target, text.encode())


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write several files, by names as :func:`reserved` was given them, so that they appear together or not at all.

    To be called inside :func:`reserved`.

    Raises:
        NotWrittenError: they can't be written. What stood in their places is still there.
    """
    with _CHANGING:
        complete = _completed(folder, files)
        try:
            _sync(folder)
            finish(folder, tuple(files))
        except OSError as error:
            raise NotWrittenError(
                f"files for {named(folder)} are whole in {complete.name} there but can't be moved into place: "
                f"{_reason(error)}; the next run does so"
            ) from None
        except BaseException:
            finish(folder, tuple(files))  # interrupted: there is only renaming left
            raise


def _completed(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The hidden folder in which all files are complete."""
    staging = folder / f".ntkrobust-{secrets.token_hex(8)}.partial"
    complete = staging.with_suffix(".complete")
    made: list[Path] = []
    try:
        staging.mkdir()
        for name, content in files.items():
            made += _make((folder / name).parent)
            with (staging / Path(name).name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _sync(staging)
        staging.rename(complete)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(made)
        if isinstance(error, OSError | InputError):
            raise NotWrittenError(f"cannot write to {named(folder)}: {_reason(error)}") from None
        raise
    return complete


def finish(folder: Path, names: Sequence[str]) -> None:
    """Move files into place that were complete when their run was killed.

    Raises:
        OSError: they can't be moved.
    """
    for complete in _complete(folder):
        for name in names:
            staged = complete / Path(name).name
            if _is_file(staged):
                (folder / name).parent.mkdir(exist_ok=True)
                staged.replace(folder / name)
        for name in names:
            _sync((folder / name).parent)
        shutil.rmtree(complete)


def place_of(folder: Path, name: str) -> Path:
    """Where to read a file from: its place, or where it waits to be moved there after a kill."""
    for complete in reversed(_complete(folder)):
        if _is_file(complete / Path(name).name):
            return complete / Path(name).name
    return folder / name


def tidy(folder: Path, alone: bool = False) -> None:
    """Remove what runs that are no more had begun to write here.

    Args:
        folder: the folder.
        alone: whether it is reserved, so that no folder in it can be another run's.

    Raises:
        OSError: the folder can't be read.
    """
    with os.scandir(folder) as entries:
        begun = [Path(entry.path) for entry in entries if _PARTIAL.fullmatch(entry.name)]
    for path in begun:
        with contextlib.suppress(OSError):
            if _is_file(path):
                _remove_abandoned(path)
            elif alone and not path.is_symlink():
                shutil.rmtree(path)


def _remove_abandoned(path: Path) -> None:
    """Remove a file unless a process that lives is writing it: such a one holds its lock."""
    descriptor = os.open(path, os.O_RDWR | NO_FOLLOWING)
    try:
        if try_lock(descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _own_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in the folder under a name of its own, open for writing and locked; gone afterwards unless moved."""
    while True:
        path = folder / f".ntkrobust-{secrets.token_hex(8)}.partial"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | NO_FOLLOWING, 0o666)
        # Before it was locked, others may have taken it for abandoned.
        if try_lock(descriptor) is not False and is_at(descriptor, path):
            break
        os.close(descriptor)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def _complete(folder: Path) -> list[Path]:
    """Folders of files that wait to be moved into place, the oldest first."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        found = [
            (entry.stat(follow_symlinks=False).st_mtime_ns, Path(entry.path))
            for entry in entries
            if _COMPLETE.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
        return [path for _, path in sorted(found)]
    return []


def _make(folder: Path) -> list[Path]:
    """Make a folder with its parents; returns those that were not there, outermost first."""
    missing: list[Path] = []
    try:
        at = folder
        while not os.path.lexists(at) and at != at.parent:
            missing.insert(0, at)
            at = at.parent
        for path in missing:
            path.mkdir(exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError("it is a link to nothing" if folder.is_symlink() else "it is not a folder")
    except OSError as error:
        _remove_empty(missing)
        raise InputError(f"cannot write to {named(folder)}: {_reason(error)}") from None
    return missing


def _remove_empty(made: Sequence[Path]) -> None:
    """Remove folders that were made, outermost first, as far as they are empty."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            path.rmdir()


def _probe(folder: Path, room: int) -> None:
    """See that so many bytes can be written to a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(room))
            file.flush()
    except OSError as error:
        raise InputError(f"cannot write to {named(folder)}: {_reason(error)}") from None


def _check_places(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        _check_file(folder / name)
        below = (folder / name).parent
        # Files are moved there, which must not cross to another disk, nor leave the folder.
        if below != folder and (below.is_symlink() or (below.exists() and not below.is_dir())):
            raise InputError(f"{named(below)} must be a folder of its own, or not there")
        if below.is_dir() and below.stat().st_dev != folder.stat().st_dev:
            raise InputError(f"{named(below)} must be on the disk of {named(folder)}")


def _check_file(place: Path) -> None:
    with contextlib.suppress(OSError):
        mode = place.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise InputError(f"{named(place)} must be a file, or not there, to be written")


def _is_file(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _sync(folder: Path) -> None:
    """Force the names in a folder to the disk, where its file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: Exception) -> str:
    return one_line(error.strerror if isinstance(error, OSError) and error.strerror else str(error))
