"""Measures of one network as one compiled program."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from ntkrobust.errors import InputError
from ntkrobust.finite.measures.base import Measure
from ntkrobust.finite.measures.probe import Probe
from ntkrobust.networks.mlp import MLP
from ntkrobust.networks.models import Model
from ntkrobust.networks.network import Network
from ntkrobust.numerics.precision import TRAINING_DTYPE
from ntkrobust.numerics.scaling import Scaled


@dataclasses.dataclass(frozen=True)
class Measurements:
    """All chosen measures of one network, as one program in which common parts are shared."""

    model: Model
    measures: tuple[Measure, ...]
    samples: int

    @property
    def needs_initial(self) -> bool:
        """Whether a measure looks at parameters as they were drawn."""
        return any(measure.needs_initial for measure in self.measures)

    @property
    def needs_training_data(self) -> bool:
        """Whether a measure looks at the training set."""
        return any(measure.needs_training_data for measure in self.measures)

    def __call__(self, shared: dict, one: dict) -> dict[str, jax.Array | Scaled]:
        """Each measure by its name."""
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
        return {measure.name: measure.compute(probe) for measure in self.measures}


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

    program = Measurements(net.model(), (measure,), samples=2)
    data = {"x": array(n_test, d), "y": array(n_test, net.d_out), "epsilon": array()}
    data |= {"lower": array(d), "upper": array(d)}
    if program.needs_training_data:
        data |= {"x_train": array(n, d), "y_train": array(n, net.d_out)}
    scales = net.layer_scales(d)
    key = jax.eval_shape(lambda: jax.random.key(0))
    found: Any = jax.eval_shape(
        lambda data, one: program({"scales": scales, "data": data}, one),
        data,
        {"parameters": net.parameter_shapes(d), "key": key},
    )[measure.name]
    return found.value if isinstance(found, Scaled) else found
