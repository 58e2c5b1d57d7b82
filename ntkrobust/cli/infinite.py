"""The command ``infinite``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter

from ntkrobust.checks import check_integer
from ntkrobust.cli.arguments import Number, NumberIfAny, Whole, WholeIfAny
from ntkrobust.cli.cache import use_compilation_cache
from ntkrobust.cli.output import console, print_json
from ntkrobust.errors import InputError, printable

if TYPE_CHECKING:
    from ntkrobust.workflows.infinite import Summary


def infinite(
    *,
    depth: Whole,
    width: WholeIfAny = None,
    initialization: str = "he",
    parameterization: Literal["ntk", "standard"] = "ntk",
    bias_std: NumberIfAny = None,
    activation: str = "relu",
    data: str = "digits",
    time: Number = float("inf"),
    learning_rate: NumberIfAny = None,
    ridge: Number = 0.0,
    kernel: Literal["ntk", "nngp"] = "ntk",
    points: WholeIfAny = None,
    order: Whole = 0,
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
        digits, digits-classes, digits-3-vs-rest, breast-cancer, wine, iris, diabetes, sphere or sphere:d=64,n=512,
        gaussian, idx:FOLDER, or a .npz or .csv file
        (FILE.csv:label=NAME says which column is the label, :without=NAME which is no input, :standard gives all
        columns one scale, :range=0..1 says the range of the inputs).
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
    order
        1 adds the coefficient of 1/m, for two layers and smooth activations: what width does to first order.
    as_json
        Print one JSON object.
    """
    from ntkrobust.data import load
    from ntkrobust.kernels.ensemble import InfiniteEnsemble
    from ntkrobust.networks.mlp import MLP
    from ntkrobust.workflows.infinite import conditioning_document, summarize

    _check_time(time)
    loaded = load(data)
    if points is not None:
        loaded = loaded.subset(loaded.n, min(check_integer("points", points, 1), len(loaded.x_test)))
    net = MLP(depth=depth, width=width, d_out=loaded.o, activation=activation, initialization=initialization,
              parameterization=parameterization, bias_std=bias_std)  # fmt: skip
    use_compilation_cache()
    ensemble = InfiniteEnsemble(net, loaded.x_train, loaded.y_train, parameterization=parameterization, kernel=kernel,
                                learning_rate=learning_rate, ridge=ridge, announce=_announce_memory)  # fmt: skip
    found = summarize(ensemble, loaded, time, order)
    if as_json:
        inputs = {"depth": depth, "width": width, "d_in": loaded.d, "d_out": loaded.o,
                  "initialization": initialization, "parameterization": ensemble.parameterization,
                  "bias_std": bias_std, "activation": str(net.activation), "data": loaded.name, "n": loaded.n,
                  "points": len(loaded.x_test), "scale": loaded.size.as_json(),
                  "time": "inf" if time == float("inf") else time,
                  "learning_rate": learning_rate, "ridge": ridge, "kernel": kernel, "order": order}  # fmt: skip
        values = {"per_point": {name: array.tolist() for name, array in found.per_point.items()},
                  "average": found.average, "conditioning": conditioning_document(ensemble)}  # fmt: skip
        print_json(inputs, values)
        return
    print(f"{net!r}")
    print(
        f"{ensemble.parameterization} parameterization, {kernel} at time {time:g}, {loaded.n} training and "
        f"{len(loaded.x_test)} test points of {printable(loaded.name)}"
    )
    print(printable(loaded.size.in_words()))
    c = ensemble.conditioning
    print(
        f"training kernel: eigenvalues {c.smallest:.4g} to {c.largest:.4g}, condition number {c.condition_number:.3g}"
    )
    _print_table(found)


def _print_table(found: Summary) -> None:
    """The spread over points of each quantity that was asked for."""
    from rich.table import Table

    from ntkrobust.workflows.infinite import MEANINGS

    table = Table("", "average", "smallest", "median", "largest", "what it is", box=None, header_style="bold")
    for name in MEANINGS:
        if name in found.per_point:
            smallest, median, largest = np.quantile(found.per_point[name], (0.0, 0.5, 1.0))
            row = (found.average[name], smallest, median, largest)
            table.add_row(name, *(f"{value:.5g}" for value in row), MEANINGS[name])
    console().print(table)


def _announce_memory(estimate: object) -> None:
    print(f"memory: about {estimate}", file=sys.stderr)


def _check_time(time: float) -> None:
    if not time >= 0:
        raise InputError(f"time must be a number that is not negative (inf is allowed), got {time:g}")
