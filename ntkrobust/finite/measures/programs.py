"""Measures of one network as one compiled program."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ntkrobust.errors import InputError, failed
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import Network
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.scaling import Scaled


@dataclasses.dataclass(frozen=True)
class Placed:
    """A measure in a program.

    Attributes:
        measure: without the numbers that the program is given at run time.
        places: names of these numbers, and where they are among those that the program is given.
    """

    measure: Measure
    places: tuple[tuple[str, int], ...] = ()

    def __call__(self, probe: Probe, numbers: Sequence[Any]) -> jax.Array | Scaled:
        """What it gives with these numbers; InputError, with its name, where it can't."""
        measure = self.measure.with_numbers({name: numbers[place] for name, place in self.places})
        try:
            return measure(probe)
        except InputError as error:
            raise InputError(f"the measure {self.measure.name!r}: {error}") from error
        except Exception as error:  # a user's own code
            raise failed(f"the measure {self.measure.name!r}", error) from error


def place(measures: Sequence[Measure], epsilon: np.float32 | None) -> tuple[tuple[Placed, ...], tuple[np.generic, ...]]:
    """Measures in a program, and the numbers that it is given: of equal ones each only once, so that they are shared.

    Args:
        measures: the measures.
        epsilon: radius of the call, which those without one, or with this one, take.
    """
    numbers: dict[tuple[str, Any], np.generic] = {}
    placed = []
    for measure in measures:
        places = []
        for name, value in measure.numbers().items():
            if name == "epsilon" and value == epsilon:
                continue
            key = (value.dtype.char, value.item())
            numbers.setdefault(key, value)
            places.append((name, list(numbers).index(key)))
        placed.append(Placed(measure.static(), tuple(places)))
    return tuple(placed), tuple(numbers.values())


@dataclasses.dataclass(frozen=True)
class Measurements:
    """All chosen measures of one network, as one program in which common parts are shared.

    Shared arrays: ``scales``; ``data``: ``x``, what measures need of ``y``, ``x_train``, ``y_train``, ``epsilon``, the
    domain, and ``numbers``, see :func:`place`. Of each network: ``parameters``, ``key``, and perhaps ``initial``.

    Results: one for each measure, in order.
    """

    model: Model
    measures: tuple[Placed, ...]
    samples: int

    @property
    def needs_initial(self) -> bool:
        """Whether a measure looks at parameters as they were drawn."""
        return any(one.measure.needs_initial for one in self.measures)

    @property
    def needs_training_data(self) -> bool:
        """Whether a measure looks at the training set."""
        return any(one.measure.needs_training_data for one in self.measures)

    def __call__(self, shared: dict, one: dict) -> tuple[jax.Array | Scaled, ...]:
        """All measures of one network."""
        probe = Probe(
            self.model,
            shared["scales"],
            one["parameters"],
            # An untrained network is as it was drawn.
            one.get("initial", one["parameters"]) if self.needs_initial else None,
            shared["data"],
            # Index past the layers' draws, so that perturbations are independent of the weights.
            jax.random.fold_in(one["key"], 2**32 - 1),
            self.samples,
        )
        return tuple(measure(probe, shared["data"]["numbers"]) for measure in self.measures)


def check_architecture(measure: Measure, net: Network) -> None:
    """Raise InputError if the measure says nothing about networks of this architecture."""
    if measure.fully_connected and not isinstance(net, MLP):
        raise InputError(
            f"the measure {measure.name!r} is for fully connected networks, since the norm of a convolution is not "
            f"that of its weight matrix; 'lipschitz_upper' also holds for {net.architecture} ones"
        )


def abstract_values(measure: Measure, net: Network, points: tuple[int, int], n: int) -> jax.ShapeDtypeStruct:
    """The shape and type of what ``measure`` gives for one network, found by tracing it: nothing is computed.

    Args:
        measure: the measure.
        net: the network.
        points: (n', d), shape of the test points.
        n: training points.
    """
    n_test, d = points

    def array(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, TRAINING_DTYPE)

    placed, numbers = place([measure], None)
    program = Measurements(net.model(), placed, samples=2)
    data = {"x": array(n_test, d), "y": array(n_test, net.d_out), "epsilon": array(), "numbers": numbers}
    data |= {"lower": array(d), "upper": array(d)}
    if program.needs_training_data:
        data |= {"x_train": array(n, d), "y_train": array(n, net.d_out)}
    scales = net.layer_scales(d)
    key = jax.eval_shape(lambda: jax.random.key(0))
    found: Any = jax.eval_shape(
        lambda data, one: program({"scales": scales, "data": data}, one),
        data,
        {"parameters": net.parameter_shapes(d), "key": key},
    )[0]
    return found.value if isinstance(found, Scaled) else found
