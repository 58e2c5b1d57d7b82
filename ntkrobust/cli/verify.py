"""The command ``verify``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ntkrobust.cli.arguments import NumberIfAny, Whole, WholeIfAny, cell_of, typed_key
from ntkrobust.cli.cache import use_compilation_cache
from ntkrobust.cli.engines import HERE, Where
from ntkrobust.cli.going_on import how_to_go_on
from ntkrobust.cli.output import console as standard_output
from ntkrobust.cli.output import flush_output, progress_bar
from ntkrobust.cli.signals import leaving_with
from ntkrobust.errors import InputError, printable
from ntkrobust.files.atomic import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ntkrobust.studies.timed import Outlook
    from ntkrobust.workflows.verdicts import Verdicts, VerdictsByData


def verify(
    *claims: str,
    preset: Literal["quick", "standard", "paper"] = "quick",
    data: tuple[str, ...] = ("digits",),
    seeds: WholeIfAny = None,
    looks: WholeIfAny = None,
    minutes: NumberIfAny = None,
    points: Whole = 64,
    key: Whole = 0,
    everything: Annotated[bool, Parameter("--all", negative="")] = False,
    at: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    only: str | None = None,
    search: Annotated[bool, Parameter(negative="")] = False,
    budget: Whole = 32,
    out: str = "ntkrobust-results",
    fresh: Annotated[bool, Parameter(negative="")] = False,
    unchanged: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
    quiet: Annotated[bool, Parameter(negative="")] = False,
    figures: Literal["pdf", "svg", "png"] | None = None,
) -> None:
    """Check claims on networks: a table, a report, and the data behind them.

    A figure of the report that can't be drawn says so in its place; all else is written, and the exit status is 3.

    Parameters
    ----------
    claims
        Ids, papers, or .py and .toml files that define claims (see `ntkrobust claims`); by default an overview of the
        catalogue that takes a few minutes.
    preset
        Sizes of the networks: quick takes minutes on a laptop.
    data
        digits, digits-classes, digits-3-vs-rest, breast-cancer, wine, iris, diabetes, sphere or sphere:d=64,n=512,
        gaussian, idx:FOLDER, or a .npz or .csv file
        (FILE.csv:label=NAME says which column is the label, :without=NAME which is no input, :standard gives all
        columns one scale, :range=0..1 says the range of the inputs). Given more
        than once: the same claims on several data sets, judged together, with a column for each.
    seeds
        Networks per trained cell; untrained cells draw many more. 16, 32 or 64 by preset.
    looks
        Seek verdicts so many times, with ever more networks up to `seeds`: what is decided takes no more of them, at
        unchanged error rates. 1, 3 or 3 by preset.
    minutes
        The time to spend, in place of `seeds` and `looks`: as many networks as it allows, for the claims that it is
        enough for. Which ones it is not enough for is said before it is spent.
    points
        Test points that measures are averaged over.
    key
        Draw other networks: the number that the random key is made of.
    everything
        Everything: of papers that are named, also claims known from recollection only; by default the whole catalogue.
    at
        AXIS=VALUE: examine a single cell instead of the grid (give it once for each axis).
    only
        Of several claims, the one with this id.
    search
        Look for the worst cell of each bound in the hull of its grid, and confirm it on fresh networks.
    budget
        Cells that a search tries.
    out
        Folder for report.html, verdicts.json and evidence/. What cells gave is stored in cells/ there as they end: the
        same command again goes on after an interruption, and other commands take what they share with it.
    fresh
        Compute everything, also what is stored in cells/.
    unchanged
        Refuse to go on where the data, the networks, the measures, this package or JAX were changed since the last run
        in the folder. Without it, that is said.
    quiet
        Show no progress: neither a bar, nor a line a minute where the output is no terminal.
    figures
        Write the figure of each claim into figures/ of the folder, too.
    """
    from ntkrobust.reports.several import folders
    from ntkrobust.workflows.verify import verify as run_verification

    use_compilation_cache()
    if search:
        if len(data) > 1:
            raise InputError("a search is on one data set: give --data once")
        if minutes is not None:
            raise InputError("a search takes seeds and a budget, not minutes")
        search_bounds(claims, data=data[0], preset=preset, seeds=seeds, budget=budget)
        return
    with leaving_with(lambda: how_to_go_on(out)), contextlib.ExitStack() as bar:
        client = bar.enter_context(where.client(out))
        progress = bar.enter_context(progress_bar(quiet))

        def announce(found: Verdicts | VerdictsByData) -> None:
            bar.close()
            print_found(found)

        run_verification(
            list(claims) or None, at=cell_of(at), only=only, everything=everything,
            data=list(data) if len(data) > 1 else data[0], preset=preset,
            seeds=seeds, looks=looks, minutes=minutes, points=points, key=typed_key(key), out=out, fresh=fresh,
            unchanged=unchanged, client=client, progress=progress, announce=announce, foretell=print_outlooks,
            reached=None if quiet else print_reached,
        )  # fmt: skip
    data_in = f"{named(out)}/evidence/evidence.nc" if len(data) == 1 else f"a folder for each data set in {named(out)}"
    print(f"report: {named(out)}/report.html   data: {data_in}")
    if figures is not None:
        for folder in [out] if len(data) == 1 else [os.path.join(out, place) for place in folders(data)]:
            print_figures(folder, figures)


def print_figures(folder: str, kind: Literal["pdf", "svg", "png"]) -> None:
    """Write figures as files of their own, and say where."""
    from ntkrobust.reports.figure_files import FIGURES, write_figures
    from ntkrobust.reports.words import count

    written = write_figures(folder, kind)
    print(f"figures: {named(folder)}/{FIGURES}/   {count(len(written), 'file')}")


def print_reached(claim: str, label: str) -> None:
    """A verdict that is certain already, on stderr: a bar leaves room above itself."""
    print(printable(f"ntkrobust: {label}: {claim}"), file=sys.stderr, flush=True)


def print_outlooks(outlooks: Sequence[Outlook]) -> None:
    """What a time is enough for, before it is spent."""
    for one in outlooks:
        claims = len(one.within) + len(one.beyond)
        of = f" on {one.data.partition(',')[0]}" if len(outlooks) > 1 else ""
        print(printable(f"in {one.minutes:g} min{of}: {len(one.within)} of {claims} claims about networks"), end="")
        print("; out of reach, and not run:" if one.beyond else "")
        for prospect in one.beyond:
            print(printable(f"  {prospect.claim.id}: {prospect.in_words}"))
    flush_output()


def print_found(found: Verdicts | VerdictsByData) -> None:
    """What was found on one data set, or on each and then on all together."""
    from ntkrobust.reports.terminal import several_lines, several_table
    from ntkrobust.workflows.verdicts import VerdictsByData

    if not isinstance(found, VerdictsByData):
        print_verdicts(found)
        return
    for verdicts in found.values():
        print_verdicts(verdicts)
        print()
    console = standard_output()
    console.print(several_table(found.document))
    for line in several_lines(found.document):
        console.print(line, soft_wrap=True)
    flush_output()


def print_verdicts(verdicts: Verdicts) -> None:
    """The table and what goes with it, out of our hands when this returns."""
    from ntkrobust.reports import words
    from ntkrobust.reports.terminal import (
        counterexample_lines,
        data_line,
        size_line,
        summary_line,
        undecided_lines,
        verdict_table,
    )

    console = standard_output()
    for line in filter(None, (data_line(verdicts.document), size_line(verdicts.document))):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(verdict_table(verdicts.document))
    console.print(summary_line(verdicts.document), markup=False)
    console.print(words.networks_used(verdicts.document), soft_wrap=True, markup=False)
    reused = verdicts.document["timing"].get("cells_reused", 0)
    if reused:
        told = f"{reused} of {verdicts.document['timing']['cells']} cells: what earlier runs had stored in the folder"
        console.print(told, soft_wrap=True, markup=False)
    for line in [*undecided_lines(verdicts.document), *counterexample_lines(verdicts.document)]:
        console.print(line, soft_wrap=True)
    flush_output()


def search_bounds(claims: tuple[str, ...], *, data: str, preset: str, seeds: int | None, budget: int) -> None:
    """The worst cell of every bound among the claims."""
    from ntkrobust.bounds.claims import AtLeast, AtMost
    from ntkrobust.data import load
    from ntkrobust.workflows.resolving import resolve
    from ntkrobust.workflows.search import search

    meant = resolve(list(claims) or None, preset)
    bounds = [(claim, origin) for claim, origin in meant if isinstance(claim.relation, AtMost | AtLeast)]
    if not bounds:
        raise InputError("a search needs a bound with its constant, and none of these claims is one")
    searched = load(data)
    print(f"data: {printable(searched.name)}\n{printable(searched.size.in_words())}")
    inside = "" if searched.domain.is_whole else f", {searched.domain.in_words()}"
    for claim, origin in bounds:
        with progress_bar() as progress:
            found = search(
                claim, origin=origin, data=data, preset=preset, budget=budget, seeds=seeds, progress=progress
            )
        where = ", ".join(f"{axis}={value}" for axis, value in found.at.items())
        worst = f"worst of {len(found.tried)} cells, by a factor {found.ratio:.4g}, at {where}{inside}"
        print(f"{printable(claim.id)}: {worst}")
        print(f"on fresh networks {found.verdict.label}: {found.verdict.reason}")
        print(f"  {printable(found.command)}")
