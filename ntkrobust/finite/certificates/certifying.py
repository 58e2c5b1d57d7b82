"""``certify``: what every network of a run surely does in balls around points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from ntkrobust.checks import check_choice, check_positive, takes
from ntkrobust.data.checks import check_same_index
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.given import test_points
from ntkrobust.finite.arrays import as_radius
from ntkrobust.finite.attacks import arguments
from ntkrobust.finite.certificates import enumeration
from ntkrobust.finite.certificates.bounds import METHODS, Method
from ntkrobust.finite.certificates.graph import check_has_layers
from ntkrobust.finite.certificates.programs import CertificateProgram, Setting
from ntkrobust.finite.representable import check_representable
from ntkrobust.finite.training.run import Run, a_run
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.network import Network, rows_of
from ntkrobust.networks.plans import choose_plan
from ntkrobust.norms import Norm, check_norm
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.layout import Plan

EVALUATIONS = ("float32", "real")
"""What a certificate is about: whatever float32 makes of the network too, or exact arithmetic alone."""

HALVINGS = 12
"""Halvings in which a certified radius is looked for."""


@takes(run=a_run)
def certify(
    run: Run,
    x: npt.ArrayLike | Dataset,
    y: npt.ArrayLike | None = None,
    *,
    epsilon: float | Sequence[float],
    norm: Norm = "linf",
    method: Method | Literal["exact"] = "crown",
    evaluation: Literal["float32", "real"] = "float32",
    largest_radius: float | None = None,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
    record: int = -1,
) -> xr.Dataset:
    """Bounds on what every network of a run does everywhere in balls around points.

    What is certified holds for every input in the ball and the range of the data, rounding included: attacks bound the
    same numbers from the other side. What is not certified may hold all the same.

    Args:
        run: what :func:`ntkrobust.train` returned, of networks of the package's layers (``MLP``, ``ConvNet``,
            ``WideResNet``) with an activation of its own.
        x: (n, d) inputs, or images. In place of both this and ``y``: a data set, its name or its file, of which the
            test points are looked at; or arrays (x, y), or (x_train, y_train, x_test, y_test).
        y: (n,) labels, which are those of training (``run.classes``), or (n, o) targets ±1 or one-hot. For one output
            the class is the sign.
        epsilon: radius in the units of x, or several.
        norm: ``"linf"``, ``"l2"`` or ``"l1"``.
        method: ``"crown"``, linear bounds of every layer; ``"crown-interval"``, linear bounds of the outputs, from
            intervals of the other layers, which is faster by the width and looser; ``"interval"``, intervals alone;
            ``"exact"``, all regions of a tiny fully connected network with relu or leaky relu, by linear programs, in
            ℓ∞ and ℓ1 and in exact arithmetic.
        evaluation: ``"float32"`` for bounds that hold for the network as float32 evaluates it, in any order of
            summation, at every float32 point that rounding has in the ball, and in exact arithmetic too; ``"real"``
            for exact arithmetic alone, which is tighter by the rounding of float32.
        largest_radius: where given, the largest radius up to it that the class a network predicts is certified at is
            looked for, by halving.
        bounds: the range of the inputs, numbers or (d,) arrays: by default the run's, never beyond it.
        movable: (d,) booleans, False for coordinates that stay as they are; by default the run's.
        record: which of the run's recorded times.

    Returns:
        A dataset with dimensions ``seed``, ``epsilon`` (a scalar coordinate for a single radius), ``point`` and
        ``output``. Networks that diverged are NaN. Variables carry their ``side``.

        - ``lower``, ``upper`` (seed, epsilon, point, output): ends around the outputs.
        - ``stability_margin`` (seed, epsilon, point): not above the margin of the predicted class, c·f for one output,
          f_c − max f_k for several; ``is_stable``: 1 where it is positive; ``certified_stability`` (seed, epsilon): the
          share of points where it is.
        - ``margin``, ``is_certified``, ``certified_accuracy``: the same of the true class; ``is_natural`` (seed,
          point) and ``natural_accuracy`` (seed): whether it is predicted at x; with ``y``.
        - ``local_lipschitz_upper`` (seed, epsilon, point): not below ‖f(x) − f(x')‖₁/‖x − x'‖ for any two points of the
          ball, in its norm; not from ``"exact"``.
        - ``certified_radius`` (seed, point); with ``largest_radius``.

    Raises:
        InputError: an argument is not what it should be, a label is one that training never saw, an input is outside
            the range, all networks have diverged, their outputs do not fit into single precision, their layers are not
            known, their activation is a function of one's own, or there are too many gates to enumerate.
    """
    x, y, *_ = test_points(x, y, run.classes)
    points = arguments.check_points(rows_of(run.net, x), run.d_in)
    radii = arguments.check_radii(epsilon, points)
    check_choice("method", method, (*METHODS, "exact"))
    check_choice("evaluation", evaluation, EVALUATIONS)
    norm = check_norm(norm)
    setting = None
    if method == "exact":
        enumeration.check_enumerable(run.net, norm)
        evaluation = "real"
    else:
        setting = Setting(norm, method, evaluation == "float32", slopes=True)
    if largest_radius is not None:
        as_radius(check_positive("largest_radius", largest_radius), points)
    check_has_layers(run.net)
    domain = run.domain.narrowed(bounds, movable)
    run.domain.check_points("x", points)
    domain.check_points("x", points, "bounds")
    shared: dict[str, Any] = {"scales": run.net.layer_scales(run.d_in), "x": points, **domain.arrays()}
    if y is not None:
        shared["label"] = arguments.check_labels(y, len(points), run.y_train, run.classes)
        check_same_index("x", x, "y", y)
    parameters, is_sound = arguments.snapshot(run, record)
    check_representable(run.net, shared["scales"], points, parameters, is_sound)
    plan = choose_plan(run.net, run.d_in, len(points))
    program = _Certificates(run.net, norm, setting, plan, shared, parameters)
    each = [program.at(radius) for radius in radii]
    found = {name: np.stack([one[name] for one in each], axis=1) for name in each[0]}
    if largest_radius is not None:
        found["certified_radius"] = program.radii(largest_radius)
    result = _labelled(run, found, radii, is_sound, y is not None, method == "exact")
    attributes = {"network": repr(run.net), "norm": norm, "method": method, "evaluation": evaluation,
                  "domain": domain.in_words(), "record": record, "plan": str(program.plan)}  # fmt: skip
    return (result.isel(epsilon=0) if np.ndim(epsilon) == 0 else result).assign_attrs(attributes)


class _Certificates(NamedTuple):
    """Certificates of the networks of a run, at any radius.

    Attributes:
        net: the networks.
        setting: of the programs; None where gates are enumerated.
    """

    net: Network
    norm: Norm
    setting: Setting | None
    plan: Plan
    shared: dict[str, Any]
    parameters: Any

    @property
    def shape(self) -> tuple[int, int]:
        """(seeds, points)"""
        return len(self.parameters.weights[0]), len(self.shared["x"])

    def at(self, radius: float | npt.NDArray[np.float32]) -> dict[str, np.ndarray]:
        """What is certified, at one radius or at those of each seed and point."""
        single = np.asarray(radius, np.float32)
        # A radius that float32 has as less is the next one.
        single = np.where(single < radius, np.nextafter(single, np.float32(np.inf)), single)
        each = np.ascontiguousarray(np.broadcast_to(single, self.shape))
        if self.setting is None:
            assert isinstance(self.net, MLP)
            return enumeration.at_points(self.net, self.norm, self.shared, self.parameters, each)
        program = CertificateProgram(self.net.model(), self.setting)
        given = {"parameters": self.parameters, "radius": each}
        found: dict[str, np.ndarray] = run_over_seeds(program, self.plan, self.shared, given)
        return found

    def radii(self, largest: float) -> npt.NDArray[np.float32]:
        """(seed, point) radii that are certified, near the largest ones up to ``largest``: lower ends of halvings."""
        low, high = np.zeros(self.shape, np.float32), np.full(self.shape, largest, np.float32)
        trial: npt.NDArray[np.float32] = high
        for _ in range(HALVINGS):
            is_stable = self.at(trial)["stability_margin"] > 0
            low, high = np.where(is_stable, trial, low), np.where(is_stable, high, trial)
            trial = (low + high) / np.float32(2)
        return low


def _labelled(
    run: Run,
    found: dict[str, np.ndarray],
    radii: npt.NDArray[np.float64],
    is_sound: npt.NDArray[np.bool_],
    has_labels: bool,
    is_exact: bool,
) -> xr.Dataset:
    def numbers(values: np.ndarray) -> np.ndarray:
        """As float32, NaN where a network has diverged."""
        return np.where(is_sound.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan).astype(np.float32)

    lower, upper = ({"side": "exact" if is_exact else side} for side in ("lower", "upper"))
    per_point = ("seed", "epsilon", "point")
    variables: dict[str, Any] = {
        "lower": ((*per_point, "output"), numbers(found["lower"]), lower),
        "upper": ((*per_point, "output"), numbers(found["upper"]), upper),
    }
    named = {"stability_margin": ("is_stable", "certified_stability")}
    if has_labels:
        named["margin"] = ("is_certified", "certified_accuracy")
        is_natural, exact = found["is_natural"][:, 0], {"side": "exact"}
        variables["is_natural"] = (("seed", "point"), numbers(is_natural), exact)
        variables["natural_accuracy"] = ("seed", numbers(is_natural.mean(axis=-1)), exact)
    for name, (holds, share) in named.items():
        is_kept = found[name] > 0
        variables |= {
            name: (per_point, numbers(found[name]), lower),
            holds: (per_point, numbers(is_kept), lower),
            share: (("seed", "epsilon"), numbers(is_kept.mean(axis=-1)), lower),
        }
    if "local_lipschitz_upper" in found:
        variables["local_lipschitz_upper"] = (per_point, numbers(found["local_lipschitz_upper"]), upper)
    if "certified_radius" in found:
        variables["certified_radius"] = (("seed", "point"), numbers(found["certified_radius"]), lower)
    return xr.Dataset(variables).assign_coords(seed=list(run.seeds), epsilon=radii, status=("seed", run.status))
