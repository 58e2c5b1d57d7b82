"""The command ``certify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ntkrobust.checks import check_integer
from ntkrobust.cli.arguments import Number, WholeIfAny
from ntkrobust.cli.cache import use_compilation_cache
from ntkrobust.cli.output import console, print_json
from ntkrobust.errors import printable

if TYPE_CHECKING:
    from ntkrobust.workflows.certified import Between


def certify(
    *,
    run: str,
    data: str,
    epsilon: Number,
    norm: Literal["linf", "l2", "l1"] = "linf",
    method: Literal["crown", "crown-interval", "interval"] = "crown",
    points: WholeIfAny = None,
    exact: bool = False,
    as_json: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Robust accuracy of stored networks between two numbers: what is certified, and what an attack leaves.

    Parameters
    ----------
    run
        Networks that were trained, in a file of `run.save`.
    data
        digits, digits-classes, digits-3-vs-rest, breast-cancer, wine, iris, diabetes, sphere or sphere:d=64,n=512,
        gaussian, idx:FOLDER, or a .npz or .csv file
        (FILE.csv:label=NAME says which column is the label, :without=NAME which is no input, :standard gives all
        columns one scale, :range=0..1 says the range of the inputs): the test
        points are looked at.
    epsilon
        Radius, in the units of the inputs.
    norm
        linf, l2 or l1.
    method
        crown, crown-interval (faster, looser) or interval.
    points
        Test points, the first so many; all by default.
    exact
        Decide every point by enumeration of gates, too: fully connected networks of a dozen units with relu or
        leaky_relu, in linf and l1. Others are refused.
    as_json
        Print one JSON object.
    """
    from ntkrobust.data import load
    from ntkrobust.data.given import test_points
    from ntkrobust.finite.training.run import Run
    from ntkrobust.workflows.certified import between

    networks = Run.load(run)
    loaded = load(data)
    if points is not None:
        loaded = loaded.subset(loaded.n, min(check_integer("points", points, 1), len(loaded.x_test)))
    use_compilation_cache()
    x, y, *_ = test_points(loaded, None, networks.classes)
    found = between(networks, x, y, epsilon=epsilon, norm=norm, method=method, exact=exact)
    if as_json:
        inputs = {"run": run, "network": repr(networks.net), "data": loaded.name, "points": len(loaded.x_test),
                  "epsilon": epsilon, "norm": norm, "method": method, "attack": found.attack}  # fmt: skip
        print_json(inputs, {"networks": found.rows()})
        return
    out = console(100)
    out.print(f"{networks.net!r}", markup=False, soft_wrap=True)
    print(f"{len(loaded.x_test)} test points of {printable(loaded.name)}, {norm} balls of radius {epsilon:g}, {method}")
    print(printable(loaded.size.in_words()))
    _print(found)


def _print(found: Between) -> None:
    from rich.table import Table

    rows = found.rows()
    columns = {name: heading for name, heading in _COLUMNS.items() if name in rows[0]}
    table = Table("seed", *columns.values(), box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(str(row["seed"]), *(_shown(row[name]) for name in columns))
    console(100).print(table)
    order = "certified ≤ robust accuracy ≤ attacked" if found.exact is None else "certified ≤ exact ≤ attacked"
    print(f"{order}, network by network; so for the share that keeps its class")


_COLUMNS = {
    "natural_accuracy": "natural",
    "attacked": "attacked",
    "exact": "exact",
    "certified": "certified",
    "gap": "gap",
    "attacked_stability": "keeps class, attacked",
    "exact_stability": "exact",
    "certified_stability": "certified",
}


def _shown(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.4f}"
