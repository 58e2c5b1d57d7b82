"""Claims from a Python file: the user's own code, run as ``python FILE.py`` would run it."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path

from ntkrobust.bounds.claims.claim import Claim
from ntkrobust.errors import InputError

_neighbours: dict[str, tuple[str, float, int]] = {}
"""Modules that files which were run have imported from beside them: their file, when it was changed, and its size."""


def claims_in_python(path: str | Path) -> list[Claim]:
    """The :class:`Claim` objects that a Python file defines at its top level, in order.

    As under ``python FILE.py``, modules beside the file can be imported, ``__file__`` is its absolute path,
    ``sys.argv`` holds its path alone, and relative paths start from where the process runs. A module of the file stays
    in ``sys.modules``, for dataclasses and pickle. Its ``__name__`` is not ``"__main__"``: a block under that name,
    which may well call :func:`ntkrobust.verify` itself, does not run. A file may end itself by ``sys.exit()``.

    Raises:
        InputError: there is no such file, it fails (the sentence says on which line), or it defines no claims.
    """
    if not Path(path).is_file():
        raise InputError(f"no such file: {path}")
    module = types.ModuleType(_free_name(path))
    filename = module.__file__ = os.path.abspath(path)
    linecache.checkcache(filename)
    sys.modules[module.__name__] = module
    try:
        with _as_script(path):
            # Not by an importer, which would take bytecode that is a second older than the file for that of the file.
            exec(compile(Path(path).read_bytes(), filename, "exec", dont_inherit=True), module.__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):
            del sys.modules[module.__name__]
            raise InputError(f"{path} ended itself{_line_of(error, filename)} with {error.code!r}") from None
    except InputError as error:
        del sys.modules[module.__name__]
        raise InputError(f"{path}{_line_of(error, filename)}: {error}") from error
    except Exception as error:
        del sys.modules[module.__name__]
        said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
        raise InputError(
            f"{path} could not be run{_line_of(error, filename)}: {type(error).__name__}{': ' if said else ''}{said}"
        ) from error
    found = [value for value in vars(module).values() if isinstance(value, Claim)]
    if not found:
        raise InputError(f"{path} defines no Claim at its top level")
    _travel_by_value(module)
    return found


def _free_name(path: str | Path) -> str:
    """A name for the file's module that no module but an earlier one of the same file has."""
    stem, number = f"claims_of_{Path(path).stem}", 1
    name = stem
    while name in sys.modules and getattr(sys.modules[name], "__file__", None) != os.path.abspath(path):
        number += 1
        name = f"{stem}_{number}"
    return name


@contextlib.contextmanager
def _as_script(path: str | Path) -> Iterator[None]:
    """``sys.path`` and ``sys.argv`` as a script has them.

    Afterwards the folder stays, at the end of ``sys.path``: what the file's functions import when they are called is
    found, and nothing of ours is hidden by a file of the same name.
    """
    folder = os.path.dirname(os.path.realpath(path))
    _forget_others(folder)
    before, arguments = set(sys.modules), sys.argv
    sys.path.insert(0, folder)
    sys.argv = [str(path)]
    try:
        yield
    finally:
        sys.argv = arguments
        if folder in sys.path:
            sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)
        # Of packages, all that has the package's name before the first dot.
        roots = {name for name in set(sys.modules) - before if "." not in name and _lies_in(_file_of(name), folder)}
        _neighbours.update(
            {name: _state(_file_of(name)) for name in sys.modules if name.partition(".")[0] in roots and _file_of(name)}
        )


def _forget_others(folder: str) -> None:
    """Have modules imported anew that lie beside other files, which may have names in common, or have been edited."""
    is_edited = any(_state(file) != (file, *state) for file, *state in _neighbours.values())
    for name, (file, *_) in list(_neighbours.items()):
        if is_edited or not _lies_in(file, folder, deep=True):
            sys.modules.pop(name, None)
            del _neighbours[name]


def _file_of(name: str) -> str:
    return getattr(sys.modules[name], "__file__", None) or ""


def _state(file: str) -> tuple[str, float, int]:
    """A file, when it was changed, and its size; numbers that no file has where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return file, -1.0, -1
    return file, found.st_mtime, found.st_size


def _lies_in(file: str, folder: str, deep: bool = False) -> bool:
    """Whether a file is one of the folder, or the start of a package in it; ``deep``: anywhere in it."""
    if deep:
        return file.startswith(folder + os.sep)
    return bool(file) and folder in (os.path.dirname(file), os.path.dirname(os.path.dirname(file)))


def _line_of(error: BaseException, filename: str) -> str:
    """Where in the file an error came up, in words, and where in a file beside it, if there."""
    if isinstance(error, SyntaxError) and error.filename == filename:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == filename]
    folder = os.path.dirname(os.path.realpath(filename))
    beside = [frame for frame in frames if os.path.dirname(frame.filename) == folder and frame.filename != filename]
    if isinstance(error, SyntaxError) and error.filename:
        other = f" ({os.path.basename(error.filename)}, line {error.lineno})"
    else:
        other = f" ({os.path.basename(beside[-1].filename)}, line {beside[-1].lineno})" if beside else ""
    return f", line {own[-1]}{other}" if own else other


def _travel_by_value(module: types.ModuleType) -> None:
    """Let cloudpickle, where it is installed, send the file's functions as code: other processes can't import them."""
    try:
        import cloudpickle  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return
    cloudpickle.register_pickle_by_value(module)
