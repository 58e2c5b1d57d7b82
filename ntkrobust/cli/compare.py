"""The command ``compare``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ntkrobust.cli.arguments import Number, NumberIfAny, Whole, Wholes, WholesIfAny, typed_key
from ntkrobust.cli.cache import use_compilation_cache
from ntkrobust.cli.output import console as standard_output
from ntkrobust.cli.output import flush_output, print_json, progress_bar
from ntkrobust.errors import printable
from ntkrobust.files.atomic import named

if TYPE_CHECKING:
    from ntkrobust.networks.mlp import MLP
    from ntkrobust.workflows.compare import Comparison


def compare(
    *,
    depth: Whole = 2,
    activation: str = "relu",
    widths: Wholes = (64, 128, 256, 512),
    initialization: str = "he",
    parameterization: Literal["ntk", "standard"] = "ntk",
    bias_std: NumberIfAny = None,
    data: str = "digits",
    n: Whole = 16,
    points: Whole = 32,
    label_scale: Number = 1.0,
    steps: WholesIfAny = None,
    rate: Number = 1.0,
    seeds: Whole = 64,
    half_width: NumberIfAny = None,
    max_seeds: Whole = 512,
    key: Whole = 0,
    out: str | None = None,
    as_json: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Finite ensembles against the infinite-width prediction, as width grows.

    Where the figure can't be drawn, it says so in its place; all else is written, and the exit status is 3.

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
        digits, digits-classes, digits-3-vs-rest, breast-cancer, wine, iris, diabetes, sphere or sphere:d=64,n=512,
        gaussian, idx:FOLDER, or a .npz or .csv file
        (FILE.csv:label=NAME says which column is the label, :without=NAME which is no input, :standard gives all
        columns one scale, :range=0..1 says the range of the inputs).
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
    from ntkrobust.data import load
    from ntkrobust.networks.mlp import MLP
    from ntkrobust.workflows.compare import compare as run_comparison
    from ntkrobust.workflows.compare import scale_labels

    use_compilation_cache()
    loaded = scale_labels(load(data), label_scale)
    net = MLP(
        depth, d_out=loaded.o, activation=activation, initialization=initialization,
        parameterization=parameterization, bias_std=bias_std,
    )  # fmt: skip
    with contextlib.ExitStack() as bar:
        progress = bar.enter_context(progress_bar())

        def announce(found: Comparison) -> None:
            bar.close()
            if as_json:
                print_json(found.document["inputs"], found.document["values"])
            else:
                print_comparison(net, found)
            flush_output()

        run_comparison(
            net, loaded, widths=widths, steps=steps, rate=rate, n=n, points=points, seeds=seeds, half_width=half_width,
            max_seeds=max_seeds, key=typed_key(key), out=out, progress=progress, announce=announce,
        )  # fmt: skip
    if out is not None and not as_json:
        print(f"data: {named(out)}/comparison.json   figure: {named(out)}/comparison.svg")


def print_comparison(net: MLP, found: Comparison) -> None:
    """The table and the rates."""
    from ntkrobust.reports.terminal import comparison_lines, comparison_table, size_line

    console = standard_output()
    console.print(f"{net!r} on {printable(found.document['inputs']['data']['name'])}", soft_wrap=True, markup=False)
    console.print(size_line(found.document), soft_wrap=True, markup=False, highlight=False)
    console.print(comparison_table(found.document))
    for line in comparison_lines(found.document):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
