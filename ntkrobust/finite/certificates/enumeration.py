"""The exact range of a tiny network in a ball, region by region.

A network of layers with relu or leaky relu is affine wherever its gates stay as they are. The gates that can change
in the ball are decided one after the other, layer by layer: within the gates that are decided, the next
pre-activation is an affine function of the input, and a linear program says whether it can be positive, and negative,
there. Where all are decided, a linear program finds the least value. So there are as many programs as regions that the
ball meets, up to a factor of the gates: networks of a dozen units, and small balls around larger ones.

Programs are solved by HiGHS, to a feasibility of 1e-10; that is how exact the values are, and they are no certificates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ntkrobust.errors import InputError
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network
from ntkrobust.norms import Norm

MOST_PROGRAMS = 20_000
"""Linear programs for one point at most."""

_TOLERANCE = 1e-10

Array = npt.NDArray[np.float64]


class Affine(NamedTuple):
    """z = A h + b of one layer, in float64: (fan_out, fan_in) and (fan_out,)."""

    matrix: Array
    bias: Array


class Ball(NamedTuple):
    """{x' : ‖x' − x‖ ≤ r, lower ≤ x' ≤ upper} in ℓ∞ or ℓ1, with lower ≤ x ≤ upper (d,)."""

    norm: Norm
    centre: Array
    radius: float
    lower: Array
    upper: Array


def check_enumerable(net: Network, norm: Norm) -> None:
    """Raise InputError unless the gates of a network can be enumerated."""
    if not isinstance(net, MLP) or net.phi.negative_slope is None:
        raise InputError(
            f"method 'exact' decides gates of fully connected networks with relu, leaky_relu or linear, got {net!r}: "
            "'crown', 'crown-interval' and 'interval' bound it"
        )
    if norm == "l2":
        raise InputError("method 'exact' solves linear programs, in linf and l1: in l2 'crown' gives bounds")


def layers_of(net: MLP, parameters: Any, d_in: int) -> list[Affine]:
    """The layers of one network, weights and biases times their gains."""
    scales = net.layer_scales(d_in)
    found = []
    for index, weight in enumerate(parameters.weights):
        matrix = np.float64(scales.weight_gain[index]) * np.asarray(weight, np.float64)
        bias = np.zeros(len(matrix))
        if parameters.biases:
            bias = np.float64(scales.bias_gain) * np.asarray(parameters.biases[index], np.float64)
        found.append(Affine(matrix, bias))
    return found


def least(layers: Sequence[Affine], slope: float, ball: Ball, rows: Array) -> Array:
    """min C f over the ball, for each row of C (k, o); slope a of φ on the negative half-line.

    Raises:
        InputError: it takes more than ``MOST_PROGRAMS``.
    """
    search = _Search(layers, slope, ball, rows)
    search.descend(0, 0, np.eye(len(ball.centre)), np.zeros(len(ball.centre)), [])
    return search.best


@dataclasses.dataclass
class _Search:
    layers: Sequence[Affine]
    slope: float
    ball: Ball
    rows: Array
    count: int = 0

    def __post_init__(self) -> None:
        self.best = np.full(len(self.rows), np.inf)

    def descend(self, layer: int, gates: int, matrix: Array, shift: Array, cuts: list[tuple[Array, float]]) -> None:
        """Below what is decided: h of this layer is ``matrix`` x + ``shift`` where all ``cuts`` (a, b), a·x ≤ b, hold;
        its first ``gates`` units are φ(z) in it already, and others z."""
        if gates == 0:
            weights = self.layers[layer]
            matrix, shift = weights.matrix @ matrix, weights.matrix @ shift + weights.bias
        if layer == len(self.layers) - 1:
            for index, row in enumerate(self.rows):
                value = self._least(row @ matrix, cuts)
                if value is not None:
                    self.best[index] = min(self.best[index], value + row @ shift)
            return
        if gates == len(matrix) or self.slope == 1:
            self.descend(layer + 1, 0, matrix, shift, cuts)
            return
        a, b = matrix[gates], shift[gates]
        for sign, factor in ((-1, 1.0), (1, self.slope)):
            # z ≥ 0, then z ≤ 0: whether there is more than the border of it.
            most = self._least(sign * a, cuts)
            if most is None or (sign == -1 and -most + b < 0) or (sign == 1 and most + b > 0):
                continue
            # Where z has this sign all over, nothing is cut off.
            other = self._least(-sign * a, cuts)
            whole = other is not None and ((sign == -1 and other + b >= 0) or (sign == 1 and -other + b <= 0))
            cut = [] if whole else [(sign * a, -sign * b)]
            scaled, moved = matrix.copy(), shift.copy()
            scaled[gates], moved[gates] = factor * a, factor * b
            self.descend(layer, gates + 1, scaled, moved, [*cuts, *cut])
            if whole:
                return

    def _least(self, slope: Array, cuts: list[tuple[Array, float]]) -> float | None:
        """min slope·x where the cuts hold; None where there is no such x."""
        self.count += 1
        if self.count > MOST_PROGRAMS:
            raise InputError(
                f"method 'exact' would take more than {MOST_PROGRAMS} linear programs at a point: give fewer units, a "
                "smaller radius, or method 'crown'"
            )
        return _solved(self.ball, slope, cuts)


def at_points(
    net: MLP,
    norm: Norm,
    shared: dict[str, Any],
    parameters: Any,
    radius: npt.NDArray[np.float32],
) -> dict[str, np.ndarray]:
    """The same as :class:`~ntkrobust.finite.certificates.programs.CertificateProgram` gives, exactly, for each network.

    Args:
        net: the networks.
        norm: of the balls.
        shared: ``x`` (n, d), ``lower``, ``upper`` and perhaps ``movable`` (d,), and perhaps ``label`` (n,).
        parameters: of the ensemble, with a leading seed axis.
        radius: (seed, n).

    Raises:
        InputError: there are too many gates.
    """
    assert net.phi.negative_slope is not None
    x = np.asarray(shared["x"], np.float64)
    found = []
    for seed in range(len(radius)):
        own = type(parameters)(*(tuple(one[seed] for one in group) for group in parameters))
        layers = layers_of(net, own, x.shape[1])
        for index, point in enumerate(x):
            ball = _ball(norm, point, float(radius[seed, index]), shared)
            found.append(_of_point(layers, net.phi.negative_slope, ball, shared.get("label"), index))
    each = {name: np.array([one[name] for one in found]) for name in found[0]}
    return {name: values.reshape(*radius.shape, *values.shape[1:]) for name, values in each.items()}


def _ball(norm: Norm, x: Array, radius: float, shared: dict[str, Any]) -> Ball:
    lower = np.maximum(x - radius, np.asarray(shared["lower"], np.float64))
    upper = np.minimum(x + radius, np.asarray(shared["upper"], np.float64))
    if "movable" in shared:
        lower, upper = (np.where(shared["movable"], end, x) for end in (lower, upper))
    return Ball(norm, x, radius, lower, upper)


def _of_point(layers: Sequence[Affine], slope: float, ball: Ball, labels: Any, index: int) -> dict[str, Any]:
    h = ball.centre
    for number, layer in enumerate(layers):
        h = layer.matrix @ (np.where(h >= 0, h, slope * h) if number else h) + layer.bias
    o = len(h)
    predicted = int(np.sign(h[0])) if o == 1 else int(np.argmax(h))
    label = predicted if labels is None else int(labels[index])
    each = np.eye(o)

    def rows(of: int) -> Array:
        return of * each if o == 1 else np.delete(each[of] - each, of, axis=0)

    parts = (each, -each, rows(label), rows(predicted))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    lower, below, margin, stability = np.split(least(layers, slope, ball, np.concatenate(parts)), ends)
    return {"lower": lower, "upper": -below, "margin": np.min(margin), "stability_margin": np.min(stability),
            "is_natural": predicted == label}  # fmt: skip


def _solved(ball: Ball, slope: Array, cuts: list[tuple[Array, float]]) -> float | None:
    d, centre = len(slope), ball.centre
    below, above = ball.lower - centre, ball.upper - centre
    if not cuts and ball.norm == "linf":
        return float(slope @ centre + np.sum(np.where(slope > 0, slope * below, slope * above)))
    from scipy.optimize import linprog

    limits: list[tuple[Array, float]] = [(a, float(b - a @ centre)) for a, b in cuts]
    if ball.norm == "linf":
        objective, table = slope, np.array([a for a, _ in limits]).reshape(-1, d)
        bounds = np.stack([below, above], axis=1)
    else:
        # δ = p − q with p, q ≥ 0 and Σ(p + q) ≤ r.
        objective = np.concatenate([slope, -slope])
        table = np.array([np.concatenate([a, -a]) for a, _ in limits] + [np.ones(2 * d)])
        bounds = np.stack([np.zeros(2 * d), np.concatenate([above, -below])], axis=1)
        limits = [*limits, (np.ones(2 * d), ball.radius)]
    right = np.array([one for _, one in limits])
    found = linprog(
        objective, A_ub=table if len(right) else None, b_ub=right if len(right) else None, bounds=bounds,
        method="highs",
        options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
    )  # fmt: skip
    return float(found.fun + slope @ centre) if found.status == 0 else None
