"""What a run is made of, in a file beside its cells: the next one in the folder can say what was changed since.

Which cells are used again is decided by their names (:mod:`ntkrobust.studies.store.identity`); here is kept what tells
a reader why some are not. A file holds what those before it held, and takes their place. No clock is asked for their
order: each has a number.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import secrets
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ntkrobust.files.atomic import write_text
from ntkrobust.files.listing import files_named
from ntkrobust.studies.store.identity import Identities, numerics

if TYPE_CHECKING:
    from ntkrobust.studies.store.schema import MadeOf

_FILE = re.compile(r"made-of-[0-9a-f]{16}\.json")
_MOST_BYTES = 2**26
_MOST_NAMED = 5_000
"""Networks and measures that are kept, those of the last runs."""

_CALLED = {"jax": "JAX", "numerics": "the numerics of this package"}


class Former:
    """What the runs before in a folder were made of, and what is changed in this one.

    Attributes:
        known: whether any run has left word.
    """

    def __init__(self, folder: Path, data: str, identities: Identities) -> None:
        """Of a folder of cells, for a run on data of this name."""
        self._folder, self._identities = folder, identities
        self._path = folder / f"made-of-{secrets.token_hex(8)}.json"
        self._older = files_named(folder, _FILE)
        self._before = _folded(self._older)
        self.known = self._before.number > 0
        self._written: MadeOf | None = None
        self._data = data

    def changed(self) -> list[str]:
        """What of the data, this package, JAX and precision is another than in the last run, in a few words each."""
        if not self.known:
            return []
        before, now, own = self._before, self._now(), self._identities.data
        found = [] if before.data.get(self._data, own) == own else [f"the data {self._data}"]
        if before.package != now.package:
            found.append(f"this package ({before.package} \N{RIGHTWARDS ARROW} {now.package})")
        elif before.sources != now.sources:
            found.append("the code of this package")
        for name, value in now.numerics.items():
            if before.numerics.get(name, value) != value:
                found.append(f"{_CALLED.get(name, name)} ({before.numerics[name]} \N{RIGHTWARDS ARROW} {value})")
        return found

    def changed_code(self) -> list[str]:
        """The networks and measures seen so far that are others than those that showed themselves so before."""
        before = self._before.code
        return [
            shown for shown, names in self._identities.code.items() if shown in before and not names & {*before[shown]}
        ]

    def write(self) -> None:
        """Leave word for the next run.

        Raises:
            NotWrittenError: it can't be written.
        """
        now = self._now()
        if now != self._written:
            write_text(self._path, now.model_dump_json())
            self._written = now
            for path in self._older:  # what they say is said
                with contextlib.suppress(OSError):
                    path.unlink()
            self._older = []

    def _now(self) -> MadeOf:
        from ntkrobust.studies.store.schema import MadeOf

        seen = {shown: sorted(names) for shown, names in self._identities.code.items()}
        code = {shown: names for shown, names in self._before.code.items() if shown not in seen} | seen
        return MadeOf(
            number=self._before.number + 1,
            package=_package(),
            sources=_sources(),
            numerics=numerics(),
            data=self._before.data | {self._data: self._identities.data},
            code=dict(list(code.items())[-_MOST_NAMED:]),
        )


def _folded(paths: list[Path]) -> MadeOf:
    """What several files say together; damaged ones say nothing."""
    from ntkrobust.studies.store.schema import MadeOf

    found = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            if path.stat().st_size <= _MOST_BYTES:
                found.append(MadeOf.model_validate_json(path.read_bytes()))
    found.sort(key=lambda one: one.number)
    if not found:
        return MadeOf()
    data = {name: digest for one in found for name, digest in one.data.items()}
    code = {shown: names for one in found for shown, names in one.code.items()}
    return found[-1].model_copy(update={"data": data, "code": code})


def _package() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version("ntkrobust")
    return ""


@functools.cache
def _sources() -> str:
    """SHA-256 of the files of this package."""
    folder = Path(__file__).parents[2]
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()
