"""The command line. Errors are one sentence on stderr with exit status 2; a finished run exits 0 whatever it found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
import numpy as np
from cyclopts import Parameter

import ntkrobust
from ntkrobust.checks import check_integer
from ntkrobust.errors import InputError

if TYPE_CHECKING:
    import jax

app = cyclopts.App(
    name="ntkrobust",
    version=ntkrobust.__version__,
    help="Check robustness theorems about neural networks against reality.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


def main() -> None:
    """Entry point of the ``ntkrobust`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out a command line; returns its exit status."""
    try:
        status = app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        return _complain(" ".join(str(error).split()))
    except InputError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0


def _complain(sentence: str) -> int:
    print(f"ntkrobust: {sentence}", file=sys.stderr)
    return 2


def _print_json(inputs: dict[str, Any], values: dict[str, Any]) -> None:
    document = {"schema_version": 1, "inputs": inputs, "values": values}
    print(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False))


@app.command
def verify(
    *claims: str,
    preset: Literal["quick", "standard", "paper"] = "quick",
    data: str = "digits",
    seeds: int | None = None,
    looks: int | None = None,
    points: int = 64,
    key: int = 0,
    everything: Annotated[bool, Parameter("--all", negative="")] = False,
    at: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    only: str | None = None,
    search: Annotated[bool, Parameter(negative="")] = False,
    budget: int = 32,
    out: str = "ntkrobust-results",
) -> None:
    """Check claims on networks: a table, a report, and the data behind them.

    Parameters
    ----------
    claims
        Ids, papers, or .py and .toml files that define claims (see `ntkrobust claims`); by default an overview of the
        catalogue that takes a few minutes.
    preset
        Sizes of the networks: quick takes minutes on a laptop.
    data
        digits, digits-classes, digits-3-vs-rest, sphere, gaussian, or a .npz or .csv file.
    seeds
        Networks per trained cell; untrained cells draw many more. 16, 32 or 64 by preset.
    looks
        Seek verdicts so many times, with ever more networks up to `seeds`: what is decided takes no more of them, at
        unchanged error rates. 1, 3 or 3 by preset.
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
        Folder for report.html, verdicts.json and evidence/.
    """
    from rich.console import Console

    from ntkrobust.reports import words
    from ntkrobust.reports.terminal import counterexample_lines, summary_line, verdict_table
    from ntkrobust.workflow import Verdicts
    from ntkrobust.workflow import verify as run_verification

    _use_compilation_cache()
    if search:
        _search(claims, data=data, preset=preset, seeds=seeds, budget=budget)
        return
    with _progress() as progress:
        verdicts = run_verification(
            list(claims) or None, at=_cell(at), only=only, everything=everything, data=data, preset=preset,
            seeds=seeds, looks=looks, points=points, key=_typed(key), out=out, progress=progress,
        )  # fmt: skip
    assert isinstance(verdicts, Verdicts)
    # In a file or a pipe there is room for whole ids.
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(verdict_table(verdicts.document))
    console.print(summary_line(verdicts.document))
    console.print(words.networks_used(verdicts.document), soft_wrap=True)
    for line in counterexample_lines(verdicts.document):
        console.print(line, soft_wrap=True)
    console.print(f"report: {out}/report.html   data: {out}/evidence/evidence.nc", soft_wrap=True)


@app.command
def power(
    *claims: str,
    preset: Literal["quick", "standard", "paper"] = "quick",
    data: str = "digits",
    seeds: int | None = None,
    points: int = 64,
    cv: float | None = None,
) -> None:
    """What `verify` will be able to show with so many networks, before they are trained.

    Parameters
    ----------
    claims
        As of `verify`.
    preset
        As of `verify`.
    data
        As of `verify`.
    seeds
        Networks per trained cell. 16, 32 or 64 by preset.
    points
        As of `verify`.
    cv
        Standard deviation over mean between the networks of a cell; by default seen on 12 networks in two cells.
    """
    from rich.console import Console
    from rich.table import Table

    from ntkrobust.bounds.verdict import POWER
    from ntkrobust.foresight import power as run_power

    _use_compilation_cache()
    with _progress() as progress:
        found = run_power(
            list(claims) or None, data=data, preset=preset, seeds=seeds, points=points, cv=cv, progress=progress
        )
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("claim", "networks", "CV", "if true, supported from", "if false, refuted from"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for one in found:
        spread = "–" if one.cv is None else f"{one.cv:.2g}"
        table.add_row(one.claim.id, str(one.networks), spread, one.supported, one.refuted)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print(f"each with probability {POWER:g}, on {len(found)} claim{'s' * (len(found) > 1)} judged together")


@app.command(name="claims")
def list_claims(
    *, preset: Literal["quick", "standard", "paper"] = "quick", as_json: Annotated[bool, Parameter("--json")] = False
) -> None:
    """List the claims that `verify` knows, each with its reading and provenance.

    Parameters
    ----------
    preset
        Whose grids to show.
    as_json
        Print one JSON object.
    """
    from ntkrobust.bounds.claims import catalogue

    known = catalogue(preset)
    if as_json:
        _print_json({"preset": preset}, {"claims": [claim.describe() for claim in known]})
        return
    rows = [("claim", "says", "reading", "known from")]
    for claim in known:
        reading = claim.describe()["reading"]["text"]
        rows.append((claim.id, f"{claim.measure_name} {claim.relation}", reading, claim.provenance))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Plain lines: ids are there to be copied and searched, so nothing is wrapped or cut.
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command
def law(
    *,
    depth: int,
    width: int,
    d_in: int,
    d_out: int = 1,
    initialization: str = "he",
    activation: str = "relu",
    as_json: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """The exact law of the input Jacobian at initialization, at finite width.

    Parameters
    ----------
    depth
        L, the number of weight matrices.
    width
        m, of every hidden layer.
    d_in
        d, dimension of the inputs.
    d_out
        o, number of outputs.
    initialization
        lecun, he, ntk, xavier or mean_field.
    activation
        relu, leaky_relu(SLOPE) or linear.
    as_json
        Print one JSON object.
    """
    from ntkrobust.bounds.formulas.exact_law import exact_law
    from ntkrobust.networks import MLP

    net = MLP(depth=depth, width=width, d_out=d_out, activation=activation, initialization=initialization)
    found = exact_law(net, d_in)
    log_moments = found.log_moments()
    numbers = {
        "second_moment": found.moment(2),
        "fourth_moment": found.moment(4),
        "abs_moment": found.abs_moment(1),
        "jacobian_frobenius_sq": found.jacobian_frobenius_sq(),
        "jacobian_frobenius_fourth": found.jacobian_frobenius_fourth(),
        "perturbation_stability": found.perturbation_stability(),
        "log_mean": log_moments.mean,
        "log_variance": log_moments.variance,
        "p_zero": found.p_zero,
    }
    outside = [name for name, value in numbers.items() if not abs(value) < float("inf")]
    if as_json:
        inputs = {"depth": depth, "width": width, "d_in": d_in, "d_out": d_out, "initialization": initialization,
                  "activation": str(net.activation), "scales": found.scales._asdict()}  # fmt: skip
        status = f"beyond the range of float64: {', '.join(outside)}" if outside else "ok"
        finite = {name: None if name in outside else value for name, value in numbers.items()}
        _print_json(inputs, {**finite, "status": status})
        return
    from rich.console import Console
    from rich.table import Table

    of = "∂_u f" if d_out == 1 else "‖Ju‖"
    meanings = {
        "second_moment": f"E ({of})²",
        "fourth_moment": f"E ({of})⁴",
        "abs_moment": "E |∂_u f|" if d_out == 1 else "E ‖Ju‖",
        "jacobian_frobenius_sq": "E ‖J‖_F²",
        "jacobian_frobenius_fourth": "E ‖J‖_F⁴",
        "perturbation_stability": "P/ε, averaged over initializations",
        "log_mean": "E log ‖Ju‖², given J ≠ 0",
        "log_variance": "Var log ‖Ju‖², given J ≠ 0",
        "p_zero": "P(J = 0)",
    }
    table = Table("", "value", "what it is", box=None, header_style="bold", pad_edge=False)
    for name, value in numbers.items():
        table.add_row(name, f"{value:.12g}", meanings[name])
    console = Console()
    console.print(f"{net!r} at d = {d_in}, any x ≠ 0, u any fixed unit vector")
    console.print(table)


@app.command
def infinite(
    *,
    depth: int,
    width: int | None = None,
    initialization: str = "he",
    parameterization: Literal["ntk", "standard"] = "ntk",
    bias_std: float | None = None,
    activation: str = "relu",
    data: str = "digits",
    time: float = float("inf"),
    learning_rate: float | None = None,
    ridge: float = 0.0,
    kernel: Literal["ntk", "nngp"] = "ntk",
    points: int | None = None,
    as_json: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Input gradients of infinitely wide trained networks, in closed form, at the test points of a data set.

    Parameters
    ----------
    depth
        L, the number of weight matrices.
    width
        m; needed by the standard parameterization and by the initializations ntk, xavier and mean_field.
    initialization
        lecun, he, ntk, xavier or mean_field.
    parameterization
        ntk, or standard: layers trained at the speeds of a finite network of that width.
    bias_std
        Standard deviation of the biases; no biases by default.
    activation
        relu, leaky_relu(SLOPE), linear, erf, gelu or tanh.
    data
        digits, digits-classes, digits-3-vs-rest, sphere, gaussian, or a .npz or .csv file.
    time
        Training time of gradient flow on half the sum of squares, or inf.
    learning_rate
        Of gradient descent instead of gradient flow; the time is then a multiple of it.
    ridge
        Added to the eigenvalues of the training kernel.
    kernel
        ntk, or nngp: only the last layer is trained, and time inf is the Bayesian posterior.
    points
        Test points, at most; all by default.
    as_json
        Print one JSON object.
    """
    from ntkrobust.data import load
    from ntkrobust.infinite import MEANINGS, conditioning_document, summarize
    from ntkrobust.kernels.ensemble import InfiniteEnsemble
    from ntkrobust.networks import MLP

    _check_time(time)
    loaded = load(data)
    if points is not None:
        loaded = loaded.subset(loaded.n, min(check_integer("points", points, 1), len(loaded.x_test)))
    net = MLP(depth=depth, width=width, d_out=loaded.o, activation=activation, initialization=initialization,
              parameterization=parameterization, bias_std=bias_std)  # fmt: skip
    _use_compilation_cache()
    ensemble = InfiniteEnsemble(net, loaded.x_train, loaded.y_train, parameterization=parameterization, kernel=kernel,
                                learning_rate=learning_rate, ridge=ridge, announce=_announce_memory)  # fmt: skip
    found = summarize(ensemble, loaded, time)
    if as_json:
        inputs = {"depth": depth, "width": width, "d_in": loaded.d, "d_out": loaded.o,
                  "initialization": initialization, "parameterization": ensemble.parameterization,
                  "bias_std": bias_std, "activation": str(net.activation), "data": loaded.name, "n": loaded.n,
                  "points": len(loaded.x_test), "time": "inf" if time == float("inf") else time,
                  "learning_rate": learning_rate, "ridge": ridge, "kernel": kernel}  # fmt: skip
        values = {"per_point": {name: array.tolist() for name, array in found.per_point.items()},
                  "average": found.average, "conditioning": conditioning_document(ensemble)}  # fmt: skip
        _print_json(inputs, values)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", "average", "smallest", "median", "largest", "what it is", box=None, header_style="bold")
    for name, meaning in MEANINGS.items():
        smallest, median, largest = np.quantile(found.per_point[name], (0.0, 0.5, 1.0))
        row = (found.average[name], smallest, median, largest)
        table.add_row(name, *(f"{value:.5g}" for value in row), meaning)
    print(f"{net!r}")
    print(
        f"{ensemble.parameterization} parameterization, {kernel} at time {time:g}, {loaded.n} training and "
        f"{len(loaded.x_test)} test points of {loaded.name}"
    )
    c = ensemble.conditioning
    print(
        f"training kernel: eigenvalues {c.smallest:.4g} to {c.largest:.4g}, condition number {c.condition_number:.3g}"
    )
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def _search(claims: tuple[str, ...], *, data: str, preset: str, seeds: int | None, budget: int) -> None:
    """The worst cell of every bound among the claims."""
    from ntkrobust.bounds.claims import AtLeast, AtMost
    from ntkrobust.searching import search
    from ntkrobust.workflow import resolve

    meant = resolve(list(claims) or None, preset)
    bounds = [(claim, origin) for claim, origin in meant if isinstance(claim.relation, AtMost | AtLeast)]
    if not bounds:
        raise InputError("a search needs a bound with its constant, and none of these claims is one")
    for claim, origin in bounds:
        with _progress() as progress:
            found = search(
                claim, origin=origin, data=data, preset=preset, budget=budget, seeds=seeds, progress=progress
            )
        where = ", ".join(f"{axis}={value}" for axis, value in found.at.items())
        print(f"{claim.id}: worst of {len(found.tried)} cells, by a factor {found.ratio:.4g}, at {where}")
        print(f"on fresh networks {found.verdict.label}: {found.verdict.reason}")
        print(f"  {found.command}")


def _cell(at: tuple[str, ...]) -> dict[str, Any] | None:
    """``width=17`` as axis → value."""
    found: dict[str, Any] = {}
    for text in at:
        axis, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"a cell is given as AXIS=VALUE, got {text!r}")
        found[axis.strip()] = _value(value.strip())
    return found or None


def _value(text: str) -> int | float | str | None:
    if text == "None":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _typed(key: int) -> jax.Array:
    import jax

    from ntkrobust.finite.seeds import THREEFRY

    if check_integer("key", key, 0) >= 2**32:
        raise InputError(f"key must be below 2³², got {key}")
    return jax.random.key(key, impl=THREEFRY)


def _announce_memory(estimate: object) -> None:
    print(f"memory: about {estimate}", file=sys.stderr)


def _check_time(time: float) -> None:
    if not time >= 0:
        raise InputError(f"time must be a number that is not negative (inf is allowed), got {time:g}")


@app.command
def compare(
    *,
    depth: int = 2,
    activation: str = "relu",
    widths: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (64, 128, 256, 512),
    initialization: str = "he",
    parameterization: Literal["ntk", "standard"] = "ntk",
    bias_std: float | None = None,
    data: str = "digits",
    n: int = 16,
    points: int = 32,
    label_scale: float = 1.0,
    steps: Annotated[tuple[int, ...] | None, Parameter(consume_multiple=True)] = None,
    rate: float = 1.0,
    seeds: int = 64,
    half_width: float | None = None,
    max_seeds: int = 512,
    key: int = 0,
    out: str | None = None,
    as_json: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Finite ensembles against the infinite-width prediction, as width grows.

    Parameters
    ----------
    depth
        L, the number of weight matrices.
    activation
        relu, leaky_relu(SLOPE), linear, erf, gelu or tanh.
    widths
        m, of every hidden layer: three or more, increasing.
    initialization
        lecun, he, ntk, xavier or mean_field.
    parameterization
        ntk, or standard, whose prediction depends on the width.
    bias_std
        Standard deviation of the biases; no biases by default.
    data
        digits, digits-classes, digits-3-vs-rest, sphere, gaussian, or a .npz or .csv file.
    n
        Training points, the first so many.
    points
        Test points, the first so many.
    label_scale
        Factor on the targets: small ones train with smaller steps of the parameters.
    steps
        Numbers of gradient-descent steps to compare at. By default 0, early, intermediate and converged.
    rate
        Learning rate in units of 1/λ_max(Θ) at infinite width, below 2.
    seeds
        Networks per width.
    half_width
        Half-width asked of the 90 % interval of the slope between the last two widths, which may take more networks.
    max_seeds
        Networks per width at most.
    key
        Seed of all randomness.
    out
        Folder for comparison.json and comparison.svg.
    as_json
        Print one JSON object.
    """
    from rich.console import Console

    from ntkrobust.comparison import compare as run_comparison
    from ntkrobust.comparison import scale_labels
    from ntkrobust.data import load
    from ntkrobust.networks import MLP
    from ntkrobust.reports.terminal import comparison_lines, comparison_table

    _use_compilation_cache()
    loaded = scale_labels(load(data), label_scale)
    net = MLP(
        depth, d_out=loaded.o, activation=activation, initialization=initialization,
        parameterization=parameterization, bias_std=bias_std,
    )  # fmt: skip
    with _progress() as progress:
        found = run_comparison(
            net, loaded, widths=widths, steps=steps, rate=rate, n=n, points=points, seeds=seeds,
            half_width=half_width, max_seeds=max_seeds, key=_typed(key), out=out, progress=progress,
        )  # fmt: skip
    if as_json:
        _print_json(found.document["inputs"], found.document["values"])
        return
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(f"{net!r} on {found.document['inputs']['data']['name']}", soft_wrap=True, markup=False)
    console.print(comparison_table(found.document))
    for line in comparison_lines(found.document):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if out is not None:
        console.print(f"data: {out}/comparison.json   figure: {out}/comparison.svg", soft_wrap=True, markup=False)


@app.command
def report(folder: str) -> None:
    """Write the report again from stored evidence.

    Parameters
    ----------
    folder
        What `verify --out` wrote.
    """
    from ntkrobust.reports.page import write_report

    print(write_report(folder))


@app.command
def doctor() -> int:
    """Versions, devices, memory, and a self-test of the numerics on this machine (exit status 1 if it fails)."""
    from rich.console import Console
    from rich.table import Table

    from ntkrobust.doctor import examine_machine, self_test

    console = Console()
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in examine_machine().items():
        facts.add_row(name, value)
    console.print(facts)
    checks = self_test()
    table = Table("self-test", "", "figure", box=None, header_style="bold", pad_edge=False)
    for check in checks:
        table.add_row(check.name, "[green]ok[/]" if check.passed else "[red]FAILED[/]", check.figure)
    console.print(table)
    return 0 if all(check.passed for check in checks) else 1


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda text, index, total: bar.update(task, description=text, completed=index, total=total)


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs, in a folder that only the user can write (unless one is already set)."""
    import os
    from pathlib import Path

    import jax

    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ntkrobust" / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        # A program planted in a folder that others can write would be run as ours.
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            return
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


if __name__ == "__main__":
    main()
