"""``measure``: every network of a run at every recorded time, or networks as they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt
import xarray as xr

from ntkrobust.checks import check_integer, check_number, shown, takes
from ntkrobust.data.checks import check_same_index
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.encoding import check_have_classes, encode_like
from ntkrobust.data.given import test_points
from ntkrobust.domain import Domain
from ntkrobust.errors import InputError
from ntkrobust.finite.arrays import as_radius, single_precision
from ntkrobust.finite.measures.base import MOST_SAMPLES, Measure, check_measure
from ntkrobust.finite.measures.functions import check_traceable, is_packaged, measure_of
from ntkrobust.finite.measures.programs import Measurements, check_architecture, place
from ntkrobust.finite.representable import check_representable
from ntkrobust.finite.training.run import Run, a_run
from ntkrobust.networks.drawing import run_over_draws
from ntkrobust.networks.network import Network, a_network, rows_of
from ntkrobust.networks.plans import choose_plan
from ntkrobust.numerics.scaling import Scaled, resolved
from ntkrobust.runtime.executor import run_over_times
from ntkrobust.runtime.layout import Plan
from ntkrobust.runtime.seeds import check_seeds, seed_keys

DRAWN_ONCE_BYTES = 2**26
"""Parameters of an ensemble, up to which they are drawn again for all times at once."""

COORDINATES = ("seed", "time", "point", "layer", "step", "gradient_flow_time", "status")
"""Of results; measures have other names."""

Measured = str | Measure | Callable[..., Any]
"""What can be measured: by name, as an object, or by a function."""


@takes(run=a_run)
def measure(
    run: Run,
    x_test: npt.ArrayLike | Dataset,
    measures: Measured | Sequence[Measured] = ("perturbation_stability",),
    *,
    y_test: np.ndarray | None = None,
    epsilon: float | None = None,
    samples: int = 64,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
    room: int | None = None,
) -> xr.Dataset:
    """Measure every network of a run at every recorded time.

    Args:
        run: what :func:`ntkrobust.train` returned.
        x_test: (n', d) inputs, or images. In place of both this and ``y_test``: a data set, its name or its file, of
            which the test points are taken; or arrays (x, y), or (x_train, y_train, x_test, y_test).
        measures: names out of ``ntkrobust.measures.MEASURES``; objects of :mod:`ntkrobust.measures` or of one's own
            (:class:`ntkrobust.Measure`), with parameters of their own; or functions, which ask for what they need by
            the names of their arguments, see :func:`ntkrobust.finite.measures.functions.measure_of`.
        y_test: (n',) labels, which are those of training (``run.classes``), or (n', o) targets; for measures that
            compare with them.
        epsilon: radius of finite perturbations, in the units of x, for measures that have none of their own.
        samples: perturbations drawn per point by measures that sample and have no number of their own.
        bounds: the range in which measures that attack stay, numbers or (d,) arrays: by default the run's, never beyond
            it.
        movable: (d,) booleans, False for coordinates that they leave alone; by default the run's.
        room: networks of the largest call that shares its compiled programs with this one; by default there is none.

    Returns:
        A dataset with dimensions ``seed``, ``time`` (records) and, where a measure has them, ``point`` or ``layer``;
        coordinates ``gradient_flow_time`` (seed, time), ``step`` (seed, time) and ``status`` (seed). Each variable
        carries its ``definition``, ``side`` and ``source``. Numbers are float32; squares, fourth powers and losses
        that it can't hold are float64.

    Raises:
        InputError: an unknown measure, two of one name, a radius that no measure takes, inputs of the wrong shape, with
            NaN or outside the range, a range beyond the run's, a label that training never saw, a target without a
            class for a measure of accuracy, something a measure needs is missing, one that JAX can't trace or that
            gives another shape than it says, or networks whose Jacobians or outputs single precision can't hold.
    """
    domain = run.domain.narrowed(bounds, movable)
    points = test_points(x_test, y_test, run.classes)
    y = None
    if points.y is not None:
        y = encode_like("y_test", points.y, run.y_train, run.classes)
        check_same_index("x_test", points.x, "y_test", points.y)
    chosen, program, data = _prepare(run.net, domain, points.x, measures, y, epsilon, samples, len(run.x_train))
    if any(one.of_classes for one in chosen) and y is not None:
        check_have_classes("y_test", y)
    if any(one.of_classes and one.needs_training_data for one in chosen):
        check_have_classes("y_train", run.y_train)
    if program.needs_initial:
        run.check_has_initial_parameters()
    if program.needs_training_data:
        data |= {"x_train": run.x_train, "y_train": run.y_train}
    plan = choose_plan(run.net, run.d_in, len(data["x"]))
    if room is not None:
        plan = plan.with_room_for(check_integer("room", room, 1))
    shared: dict[str, Any] = {"scales": run.net.layer_scales(run.d_in), "data": data}
    for snapshot in run.snapshots:
        check_representable(run.net, shared["scales"], data["x"], snapshot, np.asarray(run.status) != "diverged")
    values = _at_all_times(program, plan, shared, run)
    leading = ("seed", "time")
    labels = {
        "seed": list(run.seeds),
        "step": (leading, run.step),
        "gradient_flow_time": (leading, run.time),
        "status": ("seed", run.status),
    }
    return _labelled(chosen, values, leading, labels, run.net, plan, domain)


def _at_all_times(program: Measurements, plan: Plan, shared: dict[str, Any], run: Run) -> tuple[Any, ...]:
    """Each measure (seed, time, …)."""
    keys = seed_keys(run.key, run.seeds)
    at_times: list[dict[str, Any]] = [{"parameters": one, "key": keys} for one in run.snapshots]
    if not program.needs_initial:
        times = run_over_times(program, plan, shared, at_times)
    elif sum(leaf.nbytes for leaf in jax.tree.leaves(run.snapshots[0])) <= DRAWN_ONCE_BYTES:
        initial = run.initial_parameters()
        times = run_over_times(program, plan, shared, [one | {"initial": initial} for one in at_times])
    else:
        times = [run_over_draws(program, plan, shared, run.net, run.d_in, one, "initial") for one in at_times]
    stacked: tuple[Any, ...] = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *times)
    return stacked


@takes(net=a_network)
def measure_untrained(
    net: Network,
    x_test: np.ndarray,
    measures: Measured | Sequence[Measured] = ("perturbation_stability",),
    *,
    seeds: int | Sequence[int] = 1024,
    key: jax.Array | None = None,
    epsilon: float | None = None,
    samples: int = 64,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    movable: npt.ArrayLike | None = None,
) -> xr.Dataset:
    """Measure networks as they are drawn: the same numbers as for an untrained run, without keeping their parameters.

    Args:
        net: the network.
        x_test: (n', d) inputs.
        measures: as for :func:`measure`, of those that need neither training data nor labels.
        seeds: a number n for the seeds 0 … n−1, or the seeds themselves.
        key: a typed key, by default ``jax.random.key(0)``.
        epsilon: radius of finite perturbations, in the units of x, for measures that have none of their own.
        samples: perturbations drawn per point by measures that sample and have no number of their own.
        bounds, movable: as for :func:`measure`, by default no range, and all coordinates.

    Returns:
        A dataset with dimensions ``seed`` and, where a measure has them, ``point`` or ``layer``.

    Raises:
        InputError: as for :func:`measure`.
    """
    seeds = check_seeds(seeds)
    d_in = single_precision("x_test", rows_of(net, x_test)).shape[1]
    domain = Domain.of(d_in, bounds, movable)
    chosen, program, data = _prepare(net, domain, x_test, measures, None, epsilon, samples)
    for one in chosen:
        if one.needs_training_data:
            raise InputError(f"the measure {one.name!r} needs training data, which untrained networks do not have")
    plan = choose_plan(net, d_in, len(data["x"]))
    shared: dict[str, Any] = {"scales": net.layer_scales(d_in), "data": data}
    check_representable(net, shared["scales"], data["x"])
    values = run_over_draws(program, plan, shared, net, d_in, {"key": seed_keys(key, seeds)})
    return _labelled(chosen, values, ("seed",), {"seed": list(seeds)}, net, plan, domain)


class _Prepared(NamedTuple):
    """The measures of a call, their program, and the test data it wants."""

    measures: tuple[Measure, ...]
    program: Measurements
    data: dict[str, Any]


def _prepare(
    net: Network,
    domain: Domain,
    x_test: npt.ArrayLike,
    measures: Any,
    y_test: np.ndarray | None,
    epsilon: float | None,
    samples: int,
    n: int = 0,
) -> _Prepared:
    """What a call is about, checked; n is the number of training points."""
    chosen = _chosen(measures)
    x = single_precision("x_test", rows_of(net, x_test))
    if x.shape[1] != domain.d:
        raise InputError(f"x_test must have shape (n, {domain.d}), got {x.shape}")
    domain.check_points("x_test", x)
    data: dict[str, Any] = {"x": x, **domain.arrays()}
    if y_test is not None:
        data["y"] = single_precision("y_test", y_test)
        if data["y"].shape != (len(x), net.d_out):
            raise InputError(f"y_test must have shape ({len(x)}, {net.d_out}), got {data['y'].shape}")
    if epsilon is not None:
        if check_number("epsilon", epsilon) <= 0:
            raise InputError(f"epsilon must be positive, got {epsilon!r}")
        data["epsilon"] = as_radius(epsilon, x)
        _check_used(epsilon, chosen)
    given = {"y_test": y_test is not None, "epsilon": epsilon is not None}
    for one in chosen:
        for need in one.asks_for:
            if not given[need]:
                raise InputError(f"the measure {one.name!r} needs {need}")
        check_architecture(one, net)
        if one.radius is not None:
            as_radius(one.radius, x)
    samples = check_integer("samples", samples, 2, maximum=MOST_SAMPLES)
    for one in chosen:
        if not is_packaged(one) and (n or not one.needs_training_data):
            check_traceable(one, net, x.shape, n)
    placed, data["numbers"] = place(chosen, data.get("epsilon"))
    return _Prepared(chosen, Measurements(net.model(), placed, samples), data)


def _chosen(measures: Any) -> tuple[Measure, ...]:
    """The measures that are asked for, each once.

    Raises:
        InputError: there are none, one is unknown or not what a measure has to be, or two different ones, or a measure
            and a coordinate of the result, have the same name.
    """
    named = [measures] if isinstance(measures, str | Measure) or callable(measures) else measures
    if not isinstance(named, Sequence) or not named:
        raise InputError(f"measures must be names of measures, Measure objects or functions, got {shown(measures)}")
    chosen: dict[str, Measure] = {}
    for one in (check_measure(measure_of(each)) for each in named):
        if chosen.setdefault(one.name, one) != one:
            both = f"{chosen[one.name]!r} and {one!r}"
            raise InputError(f"two measures of a call have the name {one.name!r}, {both}: rename one of them")
        if one.name in COORDINATES:
            raise InputError(f"the name {one.name!r} is that of a coordinate of the result: rename the measure")
    return tuple(chosen.values())


def _check_used(epsilon: float, chosen: Sequence[Measure]) -> None:
    """Raise InputError if all measures with a radius have another one than that of the call."""
    own = [one for one in chosen if one.radius is not None]
    if own and not any("epsilon" in one.asks_for or one.radius == epsilon for one in chosen):
        raise InputError(
            f"epsilon={epsilon:g} contradicts {own[0]!r}: the epsilon of a call is for measures that have none"
        )


def _labelled(
    measures: Sequence[Measure],
    values: Sequence[Any],
    leading: tuple[str, ...],
    labels: dict[str, Any],
    net: Network,
    plan: Plan,
    domain: Domain,
) -> xr.Dataset:
    return xr.Dataset(
        {
            one.name: (
                (*leading, *_dims(one, found, len(leading))),
                resolved(found),
                {"definition": one.stated, "side": one.side, "source": one.source},
            )
            for one, found in zip(measures, values, strict=True)
        },
        coords=labels,
        attrs={"network": repr(net), "plan": str(plan), "domain": domain.in_words()},
    )


def _dims(measure: Measure, values: Any, leading: int) -> tuple[str, ...]:
    """The axes of a measure's result, after so many that all have."""
    if measure.dims is not None:
        return measure.dims
    return ("point",) * (np.ndim(values.value if isinstance(values, Scaled) else values) - leading)
