"""The command ``law``."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from ntkrobust.cli.arguments import Whole
from ntkrobust.cli.output import console, print_json


def law(
    *,
    depth: Whole,
    width: Whole,
    d_in: Whole,
    d_out: Whole = 1,
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
    from ntkrobust.networks.mlp import MLP

    net = MLP(depth=depth, width=width, d_out=d_out, activation=activation, initialization=initialization)
    found = exact_law(net, d_in)
    log_moments = found.log_moments()
    moments = {
        "second_moment": found.moment(2),
        "fourth_moment": found.moment(4),
        "abs_moment": found.abs_moment(1),
        "jacobian_frobenius_sq": found.jacobian_frobenius_sq(),
        "jacobian_frobenius_fourth": found.jacobian_frobenius_fourth(),
        "perturbation_stability": found.perturbation_stability(),
    }
    # No moment is zero: one that float64 has as zero, with digits lost, or as infinite, is beyond its range.
    outside = [name for name, value in moments.items() if not sys.float_info.min <= value < float("inf")]
    numbers = moments | {"log_mean": log_moments.mean, "log_variance": log_moments.variance, "p_zero": found.p_zero}
    if as_json:
        inputs = {"depth": depth, "width": width, "d_in": d_in, "d_out": d_out, "initialization": initialization,
                  "activation": str(net.activation), "scales": found.scales._asdict()}  # fmt: skip
        status = f"beyond the range of float64: {', '.join(outside)}" if outside else "ok"
        finite = {name: None if name in outside else value for name, value in numbers.items()}
        print_json(inputs, {**finite, "status": status})
        return
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
        shown = "beyond float64" if name in outside else f"{value:.12g}"
        table.add_row(name, shown, meanings[name])
    out = console(100)
    out.print(f"{net!r} at d = {d_in}, any x ≠ 0, u any fixed unit vector", markup=False, soft_wrap=True)
    out.print(table)
