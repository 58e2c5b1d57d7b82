"""``verify``: from claims, by name or as objects, to verdicts, a report and data."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import jax
import numpy as np

from ntkrobust.bounds.claims import Claim
from ntkrobust.bounds.statistics.sequential import SequentialPlan, look_sizes
from ntkrobust.bounds.verdicts import Label, Verdict
from ntkrobust.checks import (
    MOST_SEEDS,
    check_flag,
    check_path,
    check_positive,
    check_text,
    instance,
    or_none,
    shown,
    takes,
    whole,
)
from ntkrobust.data import Data, Dataset, each, load
from ntkrobust.errors import InputError
from ntkrobust.files.atomic import reserved
from ntkrobust.reports.several import SEVERAL_NAMES, folders, store_several
from ntkrobust.reports.stored import NAMES
from ntkrobust.runtime.seeds import check_key
from ntkrobust.studies.engines.choosing import engine_of
from ntkrobust.studies.engines.crew import Engine
from ntkrobust.studies.evidence import evidence_tree, verdicts_document
from ntkrobust.studies.examining import Examination, Part, examine
from ntkrobust.studies.facts import facts_of
from ntkrobust.studies.formulas import Known
from ntkrobust.studies.pilot import settled, stored_pilot
from ntkrobust.studies.running import Progress
from ntkrobust.studies.store.store import CellStore, open_store
from ntkrobust.studies.timed import Clock, Outlook, examine_within
from ntkrobust.workflows import showing  # noqa: F401  lets verdicts draw themselves
from ntkrobust.workflows.delivering import delivered
from ntkrobust.workflows.progress import shown_progress
from ntkrobust.workflows.resolving import claim_at, resolve, single_ids
from ntkrobust.workflows.verdicts import Verdicts, VerdictsByData

SEEDS = {"quick": 16, "standard": 32, "paper": 64}
"""Networks per trained cell, by preset."""

LOOKS = {"quick": 1, "standard": 3, "paper": 3}
"""How often verdicts are sought, by preset: what is decided early takes no more networks."""

MOST_LOOKS = 100
"""More looks than this say nothing that fewer don't."""

POINTS = 64
"""Test points over which measures are averaged."""


class Options(TypedDict, total=False):
    """What beside claims and data :func:`verify` takes, for those who check types."""

    at: Mapping[str, Any] | None
    only: str | None
    everything: bool
    preset: str
    seeds: int | None
    looks: int | None
    minutes: float | None
    points: int
    out: str | Path | None
    fresh: bool
    unchanged: bool
    client: Any
    key: jax.Array | None
    progress: Callable[[str, int, int], None] | None
    announce: Callable[[Any], None] | None
    foretell: Callable[[Sequence[Outlook]], None] | None
    reached: Callable[[str, Label], None] | None


# A claim has a verdict, several have verdicts; a name may stand for one or several, and a text is a sequence, too.
@overload
def verify(claims: Claim, *, data: Data = ..., **options: Unpack[Options]) -> Verdict: ...
@overload
def verify(  # type: ignore[overload-overlap]
    claims: str | None = ..., *, data: Data = ..., **options: Unpack[Options]
) -> Verdict | Verdicts: ...
@overload
def verify(claims: Sequence[Claim | str], *, data: Data = ..., **options: Unpack[Options]) -> Verdicts: ...
@overload
def verify(
    claims: Claim | str | Sequence[Claim | str] | None = ..., *, data: Data | Sequence[Data], **options: Unpack[Options]
) -> Verdict | Verdicts | VerdictsByData: ...


@takes(
    at=or_none(instance(Mapping, "axis → value")),
    only=or_none(check_text),
    everything=check_flag,
    out=or_none(check_path),
    fresh=check_flag,
    unchanged=check_flag,
    seeds=or_none(whole(1, MOST_SEEDS)),
    looks=or_none(whole(1, MOST_LOOKS)),
    minutes=or_none(check_positive),
    points=whole(1),
)
def verify(
    claims: Claim | str | Sequence[Claim | str] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    only: str | None = None,
    everything: bool = False,
    data: Data | Sequence[Data] = "digits",
    preset: str = "quick",
    seeds: int | None = None,
    looks: int | None = None,
    minutes: float | None = None,
    points: int = POINTS,
    out: str | Path | None = None,
    fresh: bool = False,
    unchanged: bool = False,
    client: Any = None,
    key: jax.Array | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    announce: Callable[[Any], None] | None = None,
    foretell: Callable[[Sequence[Outlook]], None] | None = None,
    reached: Callable[[str, Label], None] | None = None,
) -> Verdict | Verdicts | VerdictsByData:
    """Check claims on networks and say which hold.

    Args:
        claims: a :class:`Claim`, the id of one, a paper's name, a ``.py`` or ``.toml`` file that defines claims, or
            several of these; by default the overview of the catalogue.
        at: axis → value: examine a single cell instead of the grid, as a search prints it.
        only: of several claims, the one with this id.
        everything: of papers that are named, also what is known from recollection only; by default the whole catalogue.
        data: a name (``digits``, ``digits-classes``, …), an ``.npz`` or ``.csv`` file, a
            :class:`~ntkrobust.data.Dataset`, or arrays (x, y) or (x_train, y_train, x_test, y_test); or a list of
            names, files and data sets, on which the claims are judged together.
        preset: ``quick`` (minutes on a laptop), ``standard`` or ``paper``: sizes of the catalogue's grids.
        seeds: networks per trained cell; claims about untrained networks draw ``claim.draws`` times as many. By default
            16, 32 or 64 by preset.
        looks: verdicts are sought so many times, with ever more networks up to ``seeds``; a claim that is decided takes
            no more of them. Error rates stay what they are. By default 1, 3 or 3 by preset.
        minutes: the time to spend, in place of ``seeds`` and ``looks``: networks of a pilot tell which claims it is
            enough for, which get as many networks as it allows; the others are not run, and say how long they would
            take. A run ends when its time is over, to some 10 %, and no sooner: more networks make intervals narrower.
        points: test points that measures are averaged over (the first so many).
        out: folder for ``report.html``, ``verdicts.json`` and ``evidence/``, which appear together or not at all; None
            writes nothing. It is this run's alone until that ends. What cells gave is stored in ``cells/`` there as
            they end: a run that was interrupted goes on when it is called again, and others take what they share.
        fresh: compute all cells, also those that are stored in ``out``.
        unchanged: refuse to go on in a folder whose last run was on other data, networks or measures, or by another
            version of this package or of JAX; by default, that is said.
        client: where cells are computed: a ``distributed.Client`` or a ``submitit.Executor``; by default, here. Numbers
            are the same to the bit. Pilots, which choose times and losses, are run here.
        key: a typed key, by default ``jax.random.key(0)``.
        progress: called after each cell with its description, how many are done, and the number of cells. The
            description is a text with attributes ``networks``, ``seconds`` and ``seconds_left``, of the whole job, by
            what cells of their sizes cost. It is called once before the first cell, too. By default a line in a
            notebook, else nothing.
        announce: called with the verdicts before anything is written or drawn.
        foretell: called with a list, an :class:`~ntkrobust.studies.timed.Outlook` for each data set, once the pilot
            has told what ``minutes`` are enough for.
        reached: called with the id of a claim and its label as soon as that is certain, whatever the others show; what
            is told of no claim may still be decided in the end. Not with several looks, nor with ``minutes``.

    Returns:
        A :class:`Verdict` for a single claim; :class:`Verdicts` for several, a file or a paper;
        :class:`VerdictsByData` for a list of data sets.

    Raises:
        InputError: anything about the arguments that can't work, before anything is run.
        NotWrittenError: the results can't be written; its ``found`` are the :class:`Verdicts`.
    """
    clock = None if minutes is None else Clock(60 * minutes)
    if clock is not None:
        _check_alone(seeds, looks, client)
    tasks = [_task(claims, one, preset, everything, only, at) for one in each(data)]
    _check_apart(tasks)
    seeds = SEEDS[preset] if seeds is None else seeds
    looks = LOOKS[preset] if looks is None else looks
    plan = SequentialPlan(look_sizes(seeds, looks))
    key, engine = check_key(key), engine_of(client)
    started = datetime.now(UTC), time.monotonic()

    def work() -> list[Verdicts]:
        with contextlib.ExitStack() as stack:
            stores = [
                stack.enter_context(open_store(place, task.loaded, key, points, reuse=not fresh, unchanged=unchanged))
                for task, place in zip(tasks, _places(tasks, out), strict=True)
            ]
            parts = [_part(task, points, kept, engine) for task, kept in zip(tasks, stores, strict=True)]
            shown = shown_progress(progress)
            if clock is not None:
                found = examine_within(parts, clock, key=key, progress=shown, foretell=foretell)
            else:
                settle = functools.partial(_settled, key=key, seeds=seeds, progress=shown)
                found = examine(parts, looks=plan, key=key, progress=shown, reached=reached, settle=settle)
            return [
                _verdicts(examination, task, tasks, kept, preset=preset, points=points, key=key, at=at, started=started)
                for examination, task, kept in zip(found, tasks, stores, strict=True)
            ]

    if len(tasks) > 1:
        by_name = [task.name for task in tasks]
        return delivered(
            lambda: VerdictsByData(dict(zip(by_name, work(), strict=True))),
            out=out, names=SEVERAL_NAMES, announce=announce, store=write_several,
        )  # fmt: skip
    verdicts = delivered(lambda: work()[0], out=out, names=NAMES, announce=announce, store=write)
    single = isinstance(claims, Claim) or (isinstance(claims, str) and claims in single_ids(preset))
    return verdicts[0] if single else verdicts


def _check_alone(seeds: int | None, looks: int | None, client: Any) -> None:
    """Raise InputError if something stands beside a time that can't."""
    if seeds is not None or looks is not None:
        raise InputError("minutes say how many networks there are: give no seeds or looks beside them")
    if client is not None:
        raise InputError("minutes are counted on the processors of this machine: give no client beside them")


def write(verdicts: Verdicts, folder: Path) -> None:
    """Write ``verdicts.json``, ``evidence/evidence.nc`` and ``report.html`` into a reserved folder.

    Raises:
        NotWrittenError: they can't be written.
    """
    from ntkrobust.reports.storing import store  # with all that draws: a second that no network waits for

    verdicts.document = store(verdicts.document, verdicts.evidence, folder)


def write_several(found: VerdictsByData, folder: Path) -> None:
    """Write the files of each data set into a folder of its own, and what they say together above them.

    Raises:
        NotWrittenError: they can't be written.
    """
    for place, verdicts in zip(folders(list(found)), found.values(), strict=True):
        with reserved(folder / place, NAMES) as own:
            write(verdicts, own)
    store_several(found.document, folder)


@dataclasses.dataclass(frozen=True)
class _Task:
    """Claims, each with what names it on the command line, on a data set, with what names that."""

    chosen: Sequence[tuple[Claim, str | None]]
    loaded: Dataset
    data: str | Path | Dataset

    @property
    def name(self) -> str:
        """What the data are called beside others: as they were asked for, or what they say of themselves."""
        return self.loaded.name if isinstance(self.data, Dataset) else str(self.data)


def _task(
    claims: Claim | str | Sequence[Claim | str] | None,
    data: Data,
    preset: str,
    everything: bool,
    only: str | None,
    at: Mapping[str, Any] | None,
) -> _Task:
    """What arguments of :func:`verify` mean on a data set."""
    loaded = load(data)
    chosen = resolve(claims, preset, everything, facts_of(loaded))
    if only is not None:
        chosen = [(claim, origin) for claim, origin in chosen if claim.id == only]
        if not chosen:
            raise InputError(f"there is no claim {only!r} among those given")
    if at is not None:
        chosen = [(claim_at(claim, at), origin) for claim, origin in chosen]
    return _Task(chosen, loaded, data if isinstance(data, str | Path) else loaded)


def _check_apart(tasks: Sequence[_Task]) -> None:
    """Raise InputError if two data sets have one name."""
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of the data sets are {shown(name)}: give each once, or other names")


def _places(tasks: Sequence[_Task], out: str | Path | None) -> list[Path | str | None]:
    """The folder of each task."""
    if out is None or len(tasks) == 1:
        return [out for _ in tasks]
    return [Path(out) / place for place in folders([task.name for task in tasks])]


def _part(task: _Task, points: int, stored: CellStore | None, engine: Engine | None) -> Part:
    """A task as it is examined."""
    claims = [claim for claim, _ in task.chosen]
    return Part(claims, Known.of(task.loaded, points), stored, engine)


def _settled(part: Part, *, key: jax.Array, seeds: int, progress: Progress) -> list[Claim]:
    """The claims at the values of their readings that a pilot chose."""
    with stored_pilot(part.data, key, part.points, part.store, seeds, part.job) as drawn:
        claims = settled(part.claims, part.known, drawn=drawn, seeds=seeds, progress=progress)
        drawn.expect({})  # what was not tried need not be
        return claims


def _verdicts(
    examination: Examination,
    task: _Task,
    tasks: Sequence[_Task],
    stored: CellStore | None,
    *,
    preset: str,
    points: int,
    key: jax.Array,
    at: Mapping[str, Any] | None,
    started: tuple[datetime, float],
) -> Verdicts:
    """What was found on a data set, with what reproduces it."""
    sizes = examination.looks.sizes
    judged = [
        dataclasses.replace(
            verdict,
            # As many networks as the verdict rests on, at once.
            command=_command(
                claim, origin, task.data, preset=preset, seeds=used or sizes[-1], points=points, key=key, at=at
            ),
            data=task.loaded.name,
        )
        for verdict, used, (claim, origin) in zip(examination.verdicts, examination.seeds, task.chosen, strict=True)
    ]
    inputs = {
        "claims": [claim.id for claim, _ in task.chosen],
        "data": task.loaded.as_json(),
        "preset": preset,
        "seeds": sizes[-1],
        "looks": list(sizes),
        **examination.outlook,
        "points": examination.points,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        **({} if len(tasks) == 1 else {"judged_with": [one.name for one in tasks if one is not task]}),
    }
    timing = {
        "started": started[0].isoformat(timespec="seconds"),
        "seconds": time.monotonic() - started[1],  # whatever becomes of the clock meanwhile
        "cells": len(examination.records),
        **({} if stored is None else {"cells_reused": len(stored.reused)}),
    }
    complete = dataclasses.replace(examination, verdicts=tuple(judged))
    document = verdicts_document(complete, inputs, timing) | {"run": {"id": secrets.token_hex(8)}}
    return Verdicts(judged, evidence_tree(complete, inputs), document)


def _command(
    claim: Claim,
    origin: str | None,
    data: str | Path | Dataset,
    *,
    preset: str,
    seeds: int,
    points: int,
    key: jax.Array,
    at: Mapping[str, Any] | None,
) -> str:
    """What reproduces a verdict: a command line where names are enough, a call where objects were given."""
    key_words = np.asarray(jax.random.key_data(key)).tolist()
    seed = key_words[-1] if len(key_words) == 2 and key_words[0] == 0 else None
    if origin is None or isinstance(data, Dataset) or seed is None:
        shown = repr(data) if isinstance(data, Dataset) else repr(str(data))
        more = "" if points == POINTS else f", points={points}"
        more += "" if seed == 0 else f", key={f'jax.random.key({seed})' if seed is not None else key_words}"
        more += "" if at is None else f", at={dict(at)}"
        return f"ntkrobust.verify(<claim {claim.id}>, data={shown}, seeds={seeds}{more})"
    more = "" if points == POINTS else f" --points {points}"
    more += "" if seed == 0 else f" --key {seed}"
    more += "" if LOOKS[preset] == 1 else " --looks 1"
    if at is not None:
        more += f" --only {claim.id}" if origin != claim.id else ""
        more += "".join(f" --at {shlex.quote(f'{axis}={value}')}" for axis, value in at.items())
    of = f"{shlex.quote(origin)} --preset {preset} --data {shlex.quote(str(data))} --seeds {seeds}"
    return f"ntkrobust verify {of}{more}"
