"""Measures that users write: plain functions of a network and of points, by the names of their arguments."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ntkrobust.checks import shown
from ntkrobust.errors import InputError
from ntkrobust.finite.attacks.base import Attack
from ntkrobust.finite.measures.base import Computed, Measure, formula_in
from ntkrobust.finite.measures.catalogue import MEASURES, get
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.finite.measures.programs import abstract_values
from ntkrobust.networks.network import Network
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.values import Value

ARGUMENTS: dict[str, Callable[[Probe], Any]] = {
    "apply": lambda probe: partial(probe.model.outputs, probe.scales),
    "parameters": lambda probe: probe.parameters,
    "initial_parameters": lambda probe: probe.initial,
    "x": lambda probe: probe.x,
    "y": lambda probe: probe.labels,
    "outputs": lambda probe: probe.outputs,
    "jacobian": lambda probe: probe.jacobian,
    "x_train": lambda probe: probe.x_train,
    "y_train": lambda probe: probe.y_train,
    "epsilon": lambda probe: probe.epsilon,
    "lower": lambda probe: probe.domain["lower"],
    "upper": lambda probe: probe.domain["upper"],
    "movable": lambda probe: probe.domain.get("movable", jnp.ones(probe.x.shape[1], bool)),
    "key": lambda probe: probe.key,
    "probe": lambda probe: probe,
}
"""What a measure can ask for by name.

``apply(parameters, x)``: f(x) (n, o) of one network; ``parameters`` and ``initial_parameters``, with ``weights`` (W_1 …
W_L as they are trained) and ``biases``; the test points ``x`` (n', d) and their targets ``y`` (n', o); ``outputs``
(n', o) and ``jacobian`` ∂f/∂x (n', o, d) there; the training set ``x_train`` (n, d), ``y_train`` (n, o); the radius
``epsilon``; the range of the data, ``lower`` and ``upper`` (d,), ∓∞ where it has none, and which of its coordinates may
be ``movable`` (d,); a typed ``key`` of this network, for measures that sample; and the ``probe`` that has all this,
:class:`~ntkrobust.finite.measures.probe.Probe`, as far as ``Measure(name, definition, compute, needs=…)`` says more.
"""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Called(Value):
    """A function of named arguments as one of a :class:`Probe`; equal for equal functions, so they share a program."""

    function: Callable[..., Any]
    names: tuple[str, ...]

    def __call__(self, probe: Probe) -> jax.Array:
        found = jnp.asarray(self.function(**{name: ARGUMENTS[name](probe) for name in self.names}))
        if jnp.issubdtype(found.dtype, jnp.complexfloating):
            raise InputError("it must give real numbers, got complex ones")
        return found.astype(TRAINING_DTYPE)


def measure_of(measure: str | Measure | Callable[..., Any], name: str = "") -> Measure:
    """A measure by name, itself, or made of a function.

    The function is traced by JAX, for one network at a time, and mapped over the networks of an ensemble. It asks for
    what it needs by the names of its arguments (:data:`ARGUMENTS`), and gives one number or one per test point. LaTeX
    between dollar signs in the first line of its docstring is its definition. For example::

        def largest_gradient(jacobian):
            r"$\\max_x \\|J(x)\\|_F$"
            return jnp.max(jnp.linalg.norm(jacobian, axis=(-2, -1)))

    Args:
        measure: what is asked for.
        name: of the result, for a function; by default its own.

    Raises:
        InputError: the name is unknown, or a function asks for something that a network does not have.
    """
    if isinstance(measure, str | Measure):
        return get(measure)
    if not callable(measure):
        raise InputError(f"a measure is a name, a function or a Measure, got {shown(measure)}")
    if isinstance(measure, type):
        raise InputError(f"a measure is an object, such as {measure.__name__}(), got the class {measure.__name__}")
    name = name or getattr(measure, "__name__", "")
    if not name.isidentifier():
        raise InputError(f"a function that measures needs a name, for its variable, got {shown(name)}: write it by def")
    if name in MEASURES:
        raise InputError(f"the measure {name!r} exists: give the function another name")
    try:
        asked = tuple(inspect.signature(measure).parameters)
    except ValueError:
        raise InputError(f"the arguments of the measure {name!r} have no names") from None
    for one in asked:
        if one not in ARGUMENTS:
            raise InputError(f"the measure {name!r} asks for {one!r}; there are {', '.join(ARGUMENTS)}")
    return Computed(
        name,
        formula_in(measure),
        _Called(measure, asked),
        dims=None,
        needs=tuple(need for argument, need in (("y", "y_test"), ("epsilon", "epsilon")) if argument in asked),
        source=f"the function {name}",
        needs_training_data=bool({"x_train", "y_train"} & set(asked)),
        needs_initial="initial_parameters" in asked,
    )


def is_packaged(measure: Measure) -> bool:
    """Whether all of it comes with the package, and is tested: then nothing has to be tried."""
    parts = [measure, *(getattr(measure, field.name) for field in dataclasses.fields(measure))]  # type: ignore[arg-type]
    kinds = [type(one) for one in parts if isinstance(one, Measure | Attack)]
    return not isinstance(measure, Computed) and all(kind.__module__.startswith("ntkrobust.") for kind in kinds)


def check_traceable(measure: Measure, net: Network, points: tuple[int, int], n: int) -> None:
    """See that a measure gives what it should for a network, without computing anything.

    Args:
        measure: the measure.
        net: the network.
        points: (n', d), shape of the test points.
        n: training points.

    Raises:
        InputError: it fails, or gives something of another shape than its dims say.
    """
    found = abstract_values(measure, net, points, n)
    name, shape = measure.name, getattr(found, "shape", None)
    if measure.dims is None:
        if shape not in ((), points[:1]):
            per_point = f"one per test point (shape {points[:1]})"
            raise InputError(f"the measure {name!r} must give one number, or {per_point}, got shape {shape}")
    elif shape is None or len(shape) != len(measure.dims):
        raise InputError(f"the measure {name!r} must have the axes {measure.dims}, got shape {shape}")
    elif "point" in measure.dims and shape[measure.dims.index("point")] != points[0]:
        raise InputError(f"the measure {name!r} must give one number per test point, {points[0]}, got shape {shape}")
